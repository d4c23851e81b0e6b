"""Name what a process holds: a whole ledger, or lanes of it. A lane is one source of a ledger in PostgreSQL."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

WHOLE = "@ledger"  # the lane of nobody: who holds the whole ledger holds it, too. No source may begin with @


@dataclass(frozen=True, slots=True)
class Hold:
    """A ledger, or some lanes of it, that this process holds."""

    ledger: Any  # its handle, to be opened: it refuses to write once the hold is lost
    is_held: Callable[[], bool]  # asks no server


class Release(Protocol):
    """Give a lane back."""

    def __call__(self, in_s: float | None, *, reads_in_s: float | None = None, failures: int = 0) -> None:
        """Note in how many seconds its next pass is due, and its source is to be read. None: at once, and as before.

        `failures`: the passes in a row that have failed. If the lane is lost, nothing happens.
        """


@dataclass(frozen=True, slots=True)
class Taken:
    """One lane that a replica has taken, for one pass over its source. Times are by the database's clock."""

    source: str
    epoch: int  # how often the lane was taken
    was_orphan: bool  # its last holder died, or lost it
    late_s: float  # since its pass was due
    reads_in_s: float  # until its source is to be read. 0 or less: now. Otherwise the pass is for the outbox alone
    failures: int  # passes in a row that have failed
    ledger: Any  # its handle, to be opened: it sees what is to be done for this lane alone
    is_held: Callable[[], bool]  # asks no server
    release: Release


__all__ = ["WHOLE", "Hold", "Release", "Taken"]
