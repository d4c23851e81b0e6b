"""Read a slice of one source's ranges, after its windows and look-ups."""

from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from datetime import datetime, timedelta

from syncd.errors import Unauthorized, Unavailable
from syncd.ledger import LedgerReader, Range
from syncd.lifecycle import timing
from syncd.passes import windows
from syncd.passes.events import RangeFailed, RangeRead, StreamFailed, reached
from syncd.passes.intake import Intake
from syncd.passes.spans import Part, SpanReader
from syncd.passes.windows import Span

RANGE_PAGES = 20  # of one source in one pass: the next windows must not wait for a span of years
OUTAGE_FOR = timedelta(days=30)  # how long a gap counts as an outage (exit 69); afterwards it is a warning


class Ranges:
    """Read one source's ranges in one pass."""

    def __init__(self, intake: Intake, glance: LedgerReader, spans: SpanReader) -> None:
        self._intake = intake
        self._glance = glance
        self._spans = spans
        self._held: Sequence[Range] = ()

    def read(self, streams: Collection[str]) -> None:
        """Read the due ranges of `streams`, each as far as its share of RANGE_PAGES goes.

        A range that fails waits, and the others are read. Only a pause or a missing permission ends its reading.
        """
        now = self._intake.now()
        self._held = self._glance.ranges(self._intake.source.name)
        due = [each for each in self._held if each.stream in streams and is_due(each, now)]
        pages = RANGE_PAGES
        while due and pages > 0:
            first, *due = due
            share = -(-pages // (len(due) + 1))
            try:
                pages -= self._slice(first, share)
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
        with closing(self._spans.read(this.stream, spans, may_cut=this.attempts > 0)) as parts:
            for part in parts:
                if count >= most and has_moved:
                    return count
                self._send(this, part)
                count += 1
                has_moved = has_moved or (reached(part.page) or began_at) > began_at
        self._intake.channel.send(RangeRead(this.id))
        return count

    def _send(self, this: Range, part: Part) -> None:
        self._intake.page(this.stream, part.page, gaps=part.gaps, range_id=this.id)


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
