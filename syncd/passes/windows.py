"""Choose the window of modification times that a pass reads of one stream, and cut it. Pure.

Connectors read a window with both ends, to the millisecond or to the second. So a span is cut at whole seconds, and its
parts end a millisecond before the next one begins.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

SWEEP_EVERY = timedelta(days=1)
SWEEP_REACH = timedelta(hours=24)  # how far a sweep reaches back before the previous one
FIRST_SWEEP_REACH = timedelta(hours=48)

SECOND = timedelta(seconds=1)  # the shortest span: Salesforce's times have no milliseconds
MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Span:
    """A span of modification time, both ends inclusive, by the CRM's clock."""

    since: datetime
    until: datetime | None  # None: the pass's start, which the connector learns


def window_since(
    *,
    start: datetime,
    overlap: timedelta,
    watermark: datetime | None,
    swept_at: datetime | None,
    sweep: bool,
    now: datetime,
) -> datetime:
    """Return the lower end of the window to read. A sweep reaches further back, but never before `start`."""
    if watermark is None:
        return start
    since = watermark - overlap
    if sweep:
        # A sweep in the future was booked by a wrong clock: its reach is unknown.
        unknown = swept_at is None or swept_at > now + SWEEP_EVERY
        reach = now - FIRST_SWEEP_REACH if unknown or swept_at is None else swept_at - SWEEP_REACH
        since = min(since, reach)
    return max(start, since)


def sweep_due(*, swept_at: datetime | None, now: datetime) -> bool:
    """Tell whether the daily sweep is due: once a day, and at once if there was none yet.

    It is also due if the last one is dated tomorrow or later: a wrong clock booked that.
    """
    return swept_at is None or abs(now - swept_at) >= SWEEP_EVERY


def start_of(*, known: datetime | None, configured: datetime, watermark: datetime | None) -> datetime:
    """Return the `start` to remember: the earliest one from which a stream is read or has a range.

    A ledger that knows none takes the configured one. Before the first record each window begins at `start` anyway.
    """
    return configured if known is None or watermark is None else min(known, configured)


def added_by(start: datetime, known: datetime | None, watermark: datetime | None) -> Span | None:
    """Return the span that an earlier `start` adds to the windows. None if it adds nothing."""
    if known is None or watermark is None or start >= known:
        return None
    return Span(start, known - MS)


def without(span: Span, taken: Iterable[Span]) -> list[Span]:
    """Return the parts of `span` outside `taken`, in order."""
    parts: list[Span] = []
    since = span.since
    for each in sorted(taken, key=lambda each: each.since):
        if each.until is None or each.until < since or (span.until is not None and each.since > span.until):
            continue
        if each.since > since:
            parts.append(Span(since, each.since - MS))
        since = each.until + MS
    return parts if span.until is not None and since > span.until else [*parts, Span(since, span.until)]


def halves(span: Span, *, now: datetime) -> tuple[Span, Span] | None:
    """Return both halves of a span, the earlier first. None if it lies within one second.

    An open span counts up to `now`, and its later half stays open.
    """
    end = span.until or now
    middle = (span.since + (end - span.since) / 2).replace(microsecond=0)
    if middle <= span.since:
        middle = span.since.replace(microsecond=0) + SECOND
    return None if middle > end else (Span(span.since, middle - MS), Span(middle, span.until))


def whole_seconds(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """Return the least span of whole seconds around a span, because some CRMs read whole seconds."""
    return since.replace(microsecond=0), until.replace(microsecond=0) + SECOND - MS
