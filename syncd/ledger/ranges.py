"""Describe the ranges: spans of modification time of a stream that are still to be read.

earlier `start` ─┐
gap, backfill   ─┴─► row ─► read in slices: `read_to` moves with each page ─► read to its end: no row
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
    read_to: datetime | None  # everything up to here is booked; None: nothing yet
    last_error: str | None
    attempts: int  # failures in a row
    next_attempt_at: datetime | None  # None: at once
    created_at: datetime


COLUMNS = "ranges.id, stream, since, until, why, read_to, ranges.last_error, attempts, next_attempt_at, created_at"


def range_of(columns: tuple[int, str, str, str, str, str | None, str | None, int, str | None, str]) -> Range:
    """Read COLUMNS."""
    row_id, stream, since, until, why, read_to, error, attempts, at, created_at = columns
    return Range(
        row_id, stream, clock.instant(since), clock.instant(until), why, clock.optional_instant(read_to), error,
        attempts, clock.optional_instant(at), clock.instant(created_at),
    )  # fmt: skip


__all__ = ["COLUMNS", "Range", "range_of"]
