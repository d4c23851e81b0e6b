"""Book a reader's pages and ranges in the ledger."""

from datetime import datetime
from typing import Any

from syncd.connector import Source
from syncd.ledger import EARLY, Booked, Ledger
from syncd.normalize.normalizer import unconfirmed
from syncd.passes.events import PageRead, RangeEvent, RangeFailed, RangeRead, SliceRead, StartNoted
from syncd.passes.floods import Usual
from syncd.passes.ranges import gap_again_at
from syncd.passes.report import PassReport


def book_page(
    ledger: Ledger,
    stream_id: int,
    page: PageRead,
    *,
    now: datetime,
    certain: bool,
    start: datetime | None = None,
    exclude_copies: bool = False,
) -> Booked:
    """Book a page whole or not at all. `certain`: a server confirms the clock, or no row is written.

    `start` is the source's. `Booked.early` counts by it, unless the page is of a range, which an operator asked for.
    """
    readings = page.readings if certain else [unconfirmed(reading) for reading in page.readings]
    with ledger.transaction():
        booked = ledger.book(
            stream_id, page.refs, readings, now=now, watermark=page.watermark, looked_up_at=page.looked_up_at,
            certain=certain, start=start if page.range_id is None else None, exclude_copies=exclude_copies,
        )  # fmt: skip
        if page.looked_up_at is not None:
            ledger.book_missing(stream_id, page.missing, now=now, certain=certain)
            ledger.book_unserved(stream_id, page.unserved, now=now, certain=certain)
        for gap in page.gaps:
            again_at = gap_again_at(now, now)
            ledger.add_range(
                stream_id, gap.since, gap.until, why="gap", now=now, error=gap.error, next_attempt_at=again_at
            )
        if page.range_id is not None and page.read_to is not None:
            ledger.range_read_to(page.range_id, page.read_to, newest_first=False)
    return booked


def note_early(ledger: Ledger, report: PassReport, source: Source) -> dict[str, Any]:
    """Warn of a flood of activities that happened before `start`. Return the change to keep, in the source's store."""
    usual = Usual.of(ledger.kept(EARLY, [source.name]).get(source.name))
    early = report.early(source.name)
    if usual.is_flood(early):
        report.flooded(source.name, early, usual.mean, source.config.start)
    after = usual.after(early)
    return {} if after == usual else {EARLY: after.to_keep()}


def book_range_event(ledger: Ledger, source: str, event: RangeEvent, *, now: datetime) -> None:
    """Book a new start, a slice of a range, its end or its failure."""
    match event:
        case StartNoted(stream, start, added):
            stream_id = ledger.stream_id(source, stream)
            ledger.note_start(stream_id, start)
            if added is not None and added.until is not None:
                ledger.add_range(stream_id, added.since, added.until, why="start", now=now)
        case SliceRead(range_id, read_to):
            ledger.range_read_to(range_id, read_to, newest_first=True)
        case RangeRead(range_id):
            ledger.range_finished(range_id)
        case RangeFailed(range_id, _, _, error, next_attempt_at):
            ledger.range_failed(range_id, error.message, next_attempt_at=next_attempt_at)


__all__ = ["book_page", "book_range_event", "note_early"]
