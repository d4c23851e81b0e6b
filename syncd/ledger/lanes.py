"""Name what a process holds: a whole ledger, or lanes of it. A lane is one source of a ledger in PostgreSQL."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WHOLE = "@ledger"  # the lane of nobody: who holds the whole ledger holds it, too. No source may begin with @


@dataclass(frozen=True, slots=True)
class Hold:
    """A ledger, or some lanes of it, that this process holds."""

    ledger: Any  # its handle, to be opened: it refuses to write once the hold is lost
    is_held: Callable[[], bool]  # asks no server


@dataclass(frozen=True, slots=True)
class Taken:
    """One lane that a replica has taken, for one pass over its source."""

    source: str
    epoch: int  # how often the lane was taken
    was_orphan: bool  # its last holder died, or lost it
    late_s: float  # since its pass was due, by the database's clock
    ledger: Any  # its handle, to be opened: it sees what is to be done for this lane alone
    is_held: Callable[[], bool]  # asks no server
    release: Callable[
        [float | None], None
    ]  # gives the lane back. In how many seconds its next pass is due; None: at once


__all__ = ["WHOLE", "Hold", "Taken"]
