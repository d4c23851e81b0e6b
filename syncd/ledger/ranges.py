"""Describe the ranges: spans of modification time of a stream that are still to be read.

earlier `start` ─┐
gap, backfill   ─┴─► row ─► oldest first: `read_to` moves up with each page   ─┬─► read to its end: no row
                        └─► newest first: `read_to` moves down, slice by slice ─┘
"""

from dataclasses import dataclass
from datetime import datetime

from syncd import clock


@dataclass(frozen=True, slots=True)
class Range:
    """One span that is still to be read, both ends inclusive, by the CRM's clock."""

    id: int  # the ledger's
    stream: str
    since: datetime
    until: datetime
    why: str  # start, gap or backfill
    read_to: datetime | None  # up to here all is booked, or from here on if it is newest_first; None: nothing yet
    last_error: str | None
    attempts: int  # failures in a row
    next_attempt_at: datetime | None  # None: at once
    created_at: datetime
    newest_first: bool = False


COLUMNS = (
    "ranges.id, stream, since, until, why, read_to, ranges.last_error, attempts, next_attempt_at, created_at, "
    "newest_first"
)


def range_of(columns: tuple[int, str, str, str, str, str | None, str | None, int, str | None, str, int]) -> Range:
    """Read COLUMNS."""
    row_id, stream, since, until, why, read_to, error, attempts, at, created_at, newest_first = columns
    return Range(
        row_id, stream, clock.instant(since), clock.instant(until), why, clock.optional_instant(read_to), error,
        attempts, clock.optional_instant(at), clock.instant(created_at), bool(newest_first),
    )  # fmt: skip


def share(since: datetime, until: datetime, read_to: datetime | None, *, newest_first: bool) -> float:
    """Return the share of a range's span that is read, from 0 to 1."""
    if read_to is None:
        return 0.0
    read = until - read_to if newest_first else read_to - since
    whole = (until - since).total_seconds()
    return min(1.0, max(0.0, read.total_seconds() / whole)) if whole > 0 else 0.0


__all__ = ["COLUMNS", "Range", "range_of", "share"]
