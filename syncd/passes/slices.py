"""Cut a range that is read from its end into slices, which are short where records are dense. Pure except for `count`.

    since ◄──────────────── rest ───────────────► position ◄── read ──► until
                                    ◄─ newest ─►

Pages come oldest first, so a slice counts only once it is read whole. A slice that a kill cuts short is listed again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd.ledger import Range
from syncd.passes import windows
from syncd.passes.windows import MS, Span

SLICE_RECORDS = 2_000  # at most, unless one second holds more: as many are listed again after a kill


@dataclass(frozen=True, slots=True)
class Slice:
    """The part of a range that is read next, both ends inclusive."""

    since: datetime
    until: datetime
    records: int  # by the CRM's count

    def next_length(self) -> timedelta:
        """Return the length to try next. It grows while records are sparse."""
        growth = 8 if self.records * 8 <= SLICE_RECORDS else 2 if self.records * 2 <= SLICE_RECORDS else 1
        return (self.until - self.since + MS) * growth


def rest(of: Range) -> Span | None:
    """Return the span of a range that is still to be read. None if it is read to its end."""
    if of.read_to is None:
        return Span(of.since, of.until)
    if not of.newest_first:
        return Span(of.read_to, of.until)
    return Span(of.since, of.read_to - MS) if of.since < of.read_to else None


def newest(left: Span, count: Callable[[Span], int], *, length: timedelta | None = None) -> Slice:
    """Return the newest slice of what is left of a range. `length` is a guess, None takes all.

    `count` returns the CRM's number of records of a span. It is called once, and once for each halving.
    """
    assert left.until is not None
    tried = left
    if length is not None and left.until - length > left.since:
        tried = Span((left.until - length).replace(microsecond=0), left.until)
        tried = tried if tried.since > left.since else left
    while (records := count(tried)) > SLICE_RECORDS:
        halves = windows.halves(tried, now=left.until)
        if halves is None:
            break
        tried = halves[1]
    return Slice(tried.since, left.until, records)


__all__ = ["SLICE_RECORDS", "Slice", "newest", "rest"]
