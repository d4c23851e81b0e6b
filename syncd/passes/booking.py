"""Book a reader's page in the ledger."""

from datetime import datetime

from syncd.ledger import Booked, Ledger
from syncd.normalize.normalizer import unconfirmed
from syncd.passes.events import PageRead


def book_page(ledger: Ledger, stream_id: int, page: PageRead, *, now: datetime, certain: bool) -> Booked:
    """Book a page whole or not at all. `certain`: a server confirms the clock, or no row is written."""
    readings = page.readings if certain else [unconfirmed(reading) for reading in page.readings]
    with ledger.transaction():
        booked = ledger.book(
            stream_id, page.refs, readings, now=now, watermark=page.watermark, looked_up_at=page.looked_up_at,
            certain=certain,
        )  # fmt: skip
        if page.looked_up_at is not None:
            ledger.book_missing(stream_id, page.missing, now=now, certain=certain)
            ledger.book_unserved(stream_id, page.unserved, now=now, certain=certain)
    return booked


__all__ = ["book_page"]
