"""Decide when a lane is due again, when a replica looks for one, and whose turn is over. Pure. Durations are seconds.

    take ──► pass ──► coming ──► release(pass_in_s, reads_in_s, failures) ──► due again, for any replica

A lane is due for its source (`reads_in_s`), or earlier for its outbox alone (`pass_in_s`). The release writes all
that a later pass needs to know, so any replica may make that pass.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from hashlib import sha256

from syncd.daemon.agenda import PROBE_FIRST_S, PROBE_MOST_S
from syncd.types.schedule import EVERY, Schedule

IDLE_S = 0.5  # between two looks for a lane, at least
FULL_S = 1.0  # and at most: a replica with free slots takes an orphan within that time
PATIENCE_S = 2.0  # a lane that is later than this found no other replica with a free slot
JITTER = 0.25  # of the time between two looks
CRON_JITTER_S = 60.0  # at most, after the time of a cron expression
SEND_AGAIN_S = 300.0  # until an activity is sent again that a pass left due
AGAIN_S = 5.0  # until a lane is tried again after the first failure of the ledger
PASS_S = 300.0  # after which a pass ends soon even if no lane is overdue, so that its end is never far


class Reading(Enum):
    """How the reading of a lane's source ended."""

    WHOLE = auto()  # it was read to its end, or the configuration lacks it
    FAILED = auto()
    CUT = auto()  # it gave way, or the pass was stopped
    LEFT_OUT = auto()  # it was not due


@dataclass(frozen=True, slots=True)
class LaneEnd:
    """The end of one pass over a lane."""

    reading: Reading
    could_send: bool  # False: sending has failed
    was_cut: bool  # it was told to end before all was sent
    failures: int  # passes in a row that failed before this one
    send_in_s: float | None  # until the first pending activity is due, 0 or less for now. None: none is pending
    pause_s: float  # that is left of the source's pause
    recotap_pause_s: float  # and of Recotap's


@dataclass(frozen=True, slots=True)
class Coming:
    """When a lane is due again, as its release writes it."""

    pass_in_s: float
    reads_in_s: float | None  # until the source is to be read. None: as before
    failures: int  # passes in a row that have failed


def coming(end: LaneEnd, *, regular_s: float, planned_s: float) -> Coming:
    """Return when a lane is due after a pass.

    `regular_s`: until the next time of its schedule. `planned_s`: until the reading that was planned before the pass.
    """
    failed = end.reading is Reading.FAILED or not end.could_send
    failures = end.failures + 1 if failed else end.failures if end.reading is Reading.LEFT_OUT else 0
    reads_in_s = {
        Reading.WHOLE: regular_s,
        Reading.FAILED: min(regular_s, probe_s(failures)),
        Reading.CUT: 0.0,
        Reading.LEFT_OUT: max(0.0, planned_s),
    }[end.reading]
    reads_in_s = max(reads_in_s, end.pause_s)
    return Coming(min(reads_in_s, _sends_in_s(end, failures)), reads_in_s, failures)


def after_error(failures: int, *, regular_s: float) -> Coming:
    """Return when a lane is due after an error that left no facts, e.g. of the ledger or of Recotap's key."""
    pass_in_s = AGAIN_S if failures == 0 else min(regular_s, probe_s(failures))
    return Coming(pass_in_s, None, failures + 1)


def _sends_in_s(end: LaneEnd, failures: int) -> float:
    if end.send_in_s is None:
        return float("inf")
    if not end.could_send:
        wait_s = probe_s(failures)
    elif end.send_in_s > 0:
        wait_s = end.send_in_s
    else:
        wait_s = 0.0 if end.was_cut else SEND_AGAIN_S
    return max(wait_s, end.recotap_pause_s)


def probe_s(failures: int) -> float:
    """Return the time from the last of so many failures in a row to the next probe."""
    return float(min(PROBE_FIRST_S * 2 ** min(max(failures - 1, 0), 10), PROBE_MOST_S))


def regular_s(schedule: Schedule, name: str, *, lasted_s: float, now: datetime) -> float:
    """Return the time from `now` to the next regular one of lane `name`, whose pass has lasted for `lasted_s`.

    Each name has a fixed share of the interval, so that lanes with the same schedule do not all meet. After a pass of a
    lane come at least half of its interval and at most one and a half. A time that came during the pass is made up at
    once.
    """
    began = now - timedelta(seconds=lasted_s)
    if schedule.cron is None:
        every_s = (schedule.every or EVERY).total_seconds()
        earliest = began.timestamp() + every_s / 2
        at = earliest + (share(name) * every_s - earliest) % every_s
        return max(0.0, at - now.timestamp())
    coming = schedule.after(began)
    if coming <= now:
        return 0.0
    most_s = min(CRON_JITTER_S, (schedule.after(coming) - coming).total_seconds() / 10)
    return (coming - now).total_seconds() + share(name) * most_s


def share(name: str) -> float:
    """Return a number from 0 up to 1 that is always the same for `name`."""
    return int.from_bytes(sha256(name.encode()).digest()[:6]) / 2**48


def poll_in_s(held: int, slots: int, *, found_late_s: float | None, chance: float) -> float:
    """Return the time until a replica looks for a lane again.

    It waits longer as more of its slots are `held`. Otherwise one replica would take all lanes, and its death would
    stop all. `found_late_s`: how late the lane was that it has just found, None if there was none. `chance`: 0 to 1.
    """
    wait_s = (held / slots) ** 2 * FULL_S
    if found_late_s is None:
        return min(FULL_S, max(IDLE_S, wait_s) * (1 + JITTER * chance))
    return 0.0 if found_late_s > PATIENCE_S else wait_s


def turns_over(lasted_s: Mapping[str, float], ending: Collection[str], *, overdue: int, turn_s: float) -> list[str]:
    """Return the lanes whose passes are to end now: one for each overdue lane, the longest pass first.

    `lasted_s`: of the passes under way. `ending`: those that were told to end before. A pass ends in any case after
    PASS_S.
    """
    longest = sorted((name for name in lasted_s if name not in ending), key=lambda name: -lasted_s[name])
    over = [name for name in longest if lasted_s[name] >= turn_s][: max(0, overdue - len(ending))]
    return [name for name in longest if name in over or lasted_s[name] >= PASS_S]


__all__ = [
    "AGAIN_S", "FULL_S", "IDLE_S", "PASS_S", "PATIENCE_S", "SEND_AGAIN_S", "Coming", "LaneEnd", "Reading",
    "after_error", "coming", "poll_in_s", "probe_s", "regular_s", "share", "turns_over",
]  # fmt: skip
