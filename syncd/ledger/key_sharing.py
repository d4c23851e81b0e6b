"""Decide how many POSTs one lane may book, if the lanes of a ledger share a Recotap key. Pure.

The open intents of all lanes are the semaphore. Nothing leaks: an intent that nobody closes stops counting once its
request has met its deadline. Lanes that find no room wait in a queue, so that a long backlog starves no other lane.
"""

from datetime import datetime
from typing import NamedTuple, Protocol

POLL_S = 0.05  # before the next question of the first in the queue; each lane ahead adds as much
POLL_MOST_S = 0.2
QUEUED_S = 3.0  # a lane that does not ask again for so long is not in the queue any more
GRACE_S = 2.0  # after the deadline of a POST, until it is certainly over


class Standing(NamedTuple):
    """The state of a key, as one lane finds it while no other lane may book."""

    open_posts: int = 0  # of all lanes
    ahead: int = 0  # lanes that wait for room, and have waited longer than this one
    others: int = 0  # all other lanes that wait for room
    closed_s: float = 0.0  # until a POST may leave; 0: now
    is_failing: bool = False  # the last POST of some lane has met an outage
    failed_probes: int = 0  # how often the probe of an outage has failed, for all time
    cause: str = ""  # of the outage, for the operator
    queued_s: float = 0.0  # until this lane's place in the queue ends; 0: it has none
    pause: tuple[datetime, str] | None = None  # a pause that is kept: its end and its reason


class Admission(NamedTuple):
    """What one lane may do."""

    room: int  # POSTs that it may book within the present transaction
    wait_s: float  # without room: before it asks again
    standing: Standing

    @property
    def may_wait(self) -> bool:
        """Whether there is no room, and nothing to write either: this lane has its place in the queue."""
        held = self.standing.closed_s > 0 or self.standing.pause is not None
        return not self.room and (held or self.standing.queued_s > QUEUED_S / 2)


class Key(Protocol):
    """A key that lanes share. Each method but `look` is called in a transaction, and locks the key until it ends."""

    def lock(self) -> None:
        """Lock the key. Rows that lanes share are written after that alone, so lanes cannot wait for each other."""

    def look(self, most: int, *, now: datetime) -> Admission:
        """Return what `admit` would at the moment. Locks and writes nothing."""

    def admit(self, most: int, *, timeout_s: float, now: datetime) -> Admission:
        """Return how many POSTs may be booked, of `most` of all lanes. `timeout_s`: the deadline of each.

        A lane that finds no room queues up for a few seconds.
        """

    def close(self, for_s: float, cause: str, *, probe_failed: bool) -> None:
        """Let no lane send for so long, and one POST alone after it."""

    def open(self) -> None:
        """Let all lanes send again: the probe of an outage was answered."""

    def hold_back(self, post_id: int, ids: str) -> float:
        """Hold back the activities of another holder's POST (JSON) until it is over. Return the seconds, or 0."""

    def end_posts(self) -> None:
        """Book that no POST of this lane is on its way any more."""


def admission(standing: Standing, most: int) -> Admission:
    """Decide about one lane. While an outage lasts, one POST of all lanes is the probe.

    If other lanes wait, a lane gets room for one POST, and those that have waited longer come first.
    """
    free = (1 if standing.is_failing else most) - standing.open_posts - standing.ahead
    room = max(0, min(free, 1) if standing.others else free)
    if standing.pause or standing.closed_s > 0:
        room = 0
    return Admission(room, standing.closed_s or min(POLL_MOST_S, POLL_S * (1 + standing.ahead)), standing)


__all__ = ["GRACE_S", "POLL_MOST_S", "QUEUED_S", "Admission", "Key", "Standing", "admission"]
