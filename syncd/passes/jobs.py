"""Name the parts of sending: who sends, the POSTs under way, and what a pass has sent."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from syncd.errors import Exit
from syncd.ledger import Claimed, Sendable
from syncd.lifecycle.states import Verdict
from syncd.recotap.responses import BatchResult


class Poster(Protocol):
    """Sends one batch. In production it is `recotap.sender.Sender`."""

    def post(self, sent: Sequence[tuple[str, str]], *, late_s: float = 0.0) -> BatchResult:
        """POST (externalActivityId, JSON object) pairs and return the result. Never raises.

        `late_s` of its deadline have passed since its intent.
        """

    def probe(self) -> BatchResult:
        """Make the smallest request. Its result is "answered" if Recotap is there. Never raises."""


@dataclass(slots=True)
class Totals:
    """Counts of one pass's POSTs, activities and verdicts."""

    posts: int = 0
    sent: int = 0
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    died: int = 0
    silent: int = 0  # activities whose last attempt of this pass had no readable answer


@dataclass(frozen=True, slots=True)
class SendingStopped:
    """The cause that ended sending in this pass. No activity is to blame."""

    exit_code: Exit
    message: str
    hint: str
    pause_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The activities of the next POST."""

    activities: Sequence[Sendable] = ()
    suspect: bool = False  # goes out with nothing else in flight
    silent: bool = False  # they are counted in `Totals.silent`
    trial: bool = False  # larger than batches are now


@dataclass(frozen=True, slots=True)
class Job:
    """A request whose intent is committed."""

    post_id: int
    activities: tuple[Claimed, ...]  # none: the smallest request
    probe: bool  # the circuit was not closed
    suspect: bool = False
    trial: bool = False
    shared_probe: bool = False  # the only POST of all lanes, as the probe of an outage that one of them has met
    booked_s: float = 0.0  # when its intent was booked, by `clock.since_boot_s`


LOOK = Job(0, (), probe=True)  # tells whether Recotap is there
PostReturned = tuple[Job, BatchResult]  # a request that has come back, to be passed to `Push.settle`

__all__ = ["LOOK", "Batch", "Job", "PostReturned", "Poster", "SendingStopped", "Totals"]
