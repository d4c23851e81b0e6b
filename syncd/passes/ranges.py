"""Read a slice of one source's ranges, after its windows and look-ups.

oldest first: pages move the range's position up
newest first: whole slices move it down (slices.py)
"""

from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta

from syncd.connector import Window
from syncd.errors import Unauthorized, Unavailable
from syncd.ledger import LedgerReader, Range
from syncd.lifecycle import timing
from syncd.passes import slices, windows
from syncd.passes.events import RangeFailed, RangeRead, SliceRead, StreamFailed, reached
from syncd.passes.intake import Intake
from syncd.passes.slices import Slice
from syncd.passes.spans import Part, SpanReader
from syncd.passes.windows import Span

RANGE_PAGES = 20  # of one source in one pass: the next windows must not wait for a span of years
OUTAGE_FOR = timedelta(days=30)  # how long a gap counts as an outage (exit 69); afterwards it is a warning


class Ranges:
    """Read one source's ranges in one pass."""

    def __init__(
        self, intake: Intake, glance: LedgerReader, spans: SpanReader, *, range_pages: int | None = None
    ) -> None:
        """`range_pages`: the share of this pass. None: RANGE_PAGES."""
        self._intake = intake
        self._glance = glance
        self._spans = spans
        self._pages = range_pages or RANGE_PAGES
        self._held: Sequence[Range] = ()

    def read(self, streams: Collection[str]) -> None:
        """Read the due ranges of `streams`, each as far as its share of the pages goes.

        A range that fails waits, and the others are read. Only a pause or a missing permission ends its reading.
        """
        now = self._intake.now()
        self._held = self._glance.ranges(self._intake.source.name)
        due = [each for each in self._held if each.stream in streams and is_due(each, now)]
        pages = self._pages
        while due and pages > 0:
            first, *due = due
            share = -(-pages // (len(due) + 1))
            try:
                pages -= (self._slices if first.newest_first else self._slice)(first, share)
            except Unauthorized as error:
                self._intake.channel.send(StreamFailed(first.stream, error))
                return
            except Unavailable as error:
                self._intake.channel.send(
                    RangeFailed(first.id, first.stream, first.why, error, again_at(first, self._intake.now()))
                )
                pages -= 1
                if error.pause_until is not None:
                    self._intake.channel.send(StreamFailed(first.stream, error))
                    return

    def _slice(self, this: Range, most: int) -> int:
        """Read about `most` pages of a range and return their number.

        Reading goes on until the position has moved, because many records may share one instant.
        """
        began_at = this.read_to or this.since
        spans = [Span(began_at, this.until)]
        if this.why != "gap":
            spans = windows.without(spans[0], gaps_of(self._held, this.stream))
        count, has_moved = 0, False
        with closing(
            self._spans.read(this.stream, spans, may_cut=this.attempts > 0, is_past=this.why != "gap")
        ) as parts:
            for part in parts:
                if count >= most and has_moved:
                    return count
                self._send(this, part)
                count += 1
                has_moved = has_moved or (reached(part.page) or began_at) > began_at
        self._intake.channel.send(RangeRead(this.id))
        return count

    def _slices(self, this: Range, most: int) -> int:
        """Read about `most` pages of a range from its end, in whole slices, and return their number."""
        channel, count = self._intake.channel, 0
        left, length = slices.rest(this), None
        while left is not None and count < most:
            part = slices.newest(left, lambda span: self._count(this, span), length=length)
            count += max(1, self._whole(this, part))
            channel.send(SliceRead(this.id, part.since))
            channel.exit_if_giving_way()
            left, length = slices.rest(replace(this, read_to=part.since)), part.next_length()
        if left is None:
            channel.send(RangeRead(this.id))
        return count

    def _whole(self, this: Range, part: Slice) -> int:
        """Read a slice whole, and return the number of its pages. It does not give way in its middle."""
        channel, count = self._intake.channel, 0
        spans = windows.without(Span(part.since, part.until), gaps_of(self._held, this.stream))
        channel.holds_on = True
        try:
            for each in self._spans.read(this.stream, spans, may_cut=this.attempts > 0, is_past=this.why != "gap"):
                self._send(this, each, in_slice=True)
                count += 1
        finally:
            channel.holds_on = False
        return count

    def _count(self, this: Range, span: Span) -> int:
        """Return the number of a span's records. If the CRM cannot count them alone, they count as too many."""
        self._intake.channel.exit_if_stopping()
        try:
            return self._intake.connector.count(this.stream, Window(span.since, span.until, lambda refs: ()))
        except Unavailable as error:
            self._spans.require_cut(this.stream, error, may_cut=this.attempts > 0)
            return slices.SLICE_RECORDS + 1

    def _send(self, this: Range, part: Part, *, in_slice: bool = False) -> None:
        self._intake.page(this.stream, part.page, gaps=part.gaps, range_id=this.id, in_slice=in_slice)


def gaps_of(held: Iterable[Range], stream: str) -> list[Span]:
    """Return the spans of a stream that the CRM does not serve. They are left out until they are tried again."""
    return [Span(each.since, each.until) for each in held if each.stream == stream and each.why == "gap"]


def is_due(this: Range, now: datetime) -> bool:
    """Tell whether a range is to be read now. A time that only a wrong clock can have booked counts as past."""
    at = this.next_attempt_at
    return at is None or at <= now or at > now + timing.LONGEST_WAIT


def again_at(this: Range, now: datetime) -> datetime | None:
    """Return when a failed range is tried again: a gap on the look-up schedule, others in the next pass."""
    return gap_again_at(this.created_at, now) if this.why == "gap" else None


def gap_again_at(created_at: datetime, now: datetime) -> datetime:
    """Return when to try a gap again, by its age."""
    return timing.look_up_at(waiting_since=min(created_at, now), occurred_at=None, due_at=None, now=now)


def is_outage(this: Range, now: datetime) -> bool:
    """Tell whether a gap counts as an outage. An old one is only a warning."""
    return this.why == "gap" and now - this.created_at < OUTAGE_FOR


__all__ = ["Ranges", "again_at", "gap_again_at", "gaps_of", "is_due", "is_outage"]
