"""Count what is left of ranges before they are read, and estimate what that costs."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from syncd.connector import Context, HasPrice, Source
from syncd.errors import SyncdError
from syncd.http.server_clock import ServerClock
from syncd.ledger import CLOCK, AnyLedger
from syncd.passes import counting, narrowing, slices
from syncd.passes.backfill import Left
from syncd.passes.reader import as_told
from syncd.passes.store import PassStore
from syncd.passes.windows import Span

TURN_S = 30.0  # the longest wait for limits and failures. Without a forecast the ranges are read all the same


@dataclass(frozen=True, slots=True)
class Forecast:
    """The records of one source that are left to read, and their price."""

    source: str
    records: dict[str, int]  # by stream
    requests: int | None  # at most; None: the connector does not know
    per_1000: int | None
    error: SyncdError | None = None  # why they could not be counted

    @property
    def total(self) -> int:
        """The records of all streams."""
        return sum(self.records.values())


def forecast(
    source: Source, left: Sequence[Left], ledger: AnyLedger, *, now: Callable[[], datetime],
    sleep: Callable[[float], None],
) -> Forecast:  # fmt: skip
    """Ask the CRM for the number of records left of each range, as the next pass would read it. Raises LedgerError."""
    with ledger.read() as glance:
        read_as = narrowing.narrowed(source, narrowing.kept_of(glance, source), now()).source
        store = PassStore(glance.store(source.name), now)
    clock = ServerClock(now, store.get(CLOCK))
    context = Context(source.name, store, now, sleep, read_only=True, turn_s=TURN_S, clock=clock)
    per_1000 = source.connector.requests_per_1000 if isinstance(source.connector, HasPrice) else None
    try:
        with closing(read_as.connector(read_as.config, context)) as connector:
            spans = {stream: _spans(left, stream) for stream in dict.fromkeys(each.range.stream for each in left)}
            records = {stream: counting.records(connector, stream, spans[stream]) for stream in spans}
    except Exception as error:  # noqa: BLE001 - a connector may raise anything, and reading will tell
        return Forecast(source.name, {}, None, per_1000, as_told(source.name, error))
    return Forecast(source.name, records, price(sum(records.values()), per_1000), per_1000)


def _spans(left: Sequence[Left], stream: str) -> list[Span]:
    rests = [slices.rest(each.range) for each in left if each.range.stream == stream]
    return [span for span in rests if span is not None]


def price(records: int, per_1000: int | None) -> int | None:
    """Return the number of requests for `records`, rounded up. None if it is not known. Pure."""
    return None if per_1000 is None else -(-records * per_1000 // 1000)


__all__ = ["Forecast", "forecast", "price"]
