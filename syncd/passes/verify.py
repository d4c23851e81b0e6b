"""Compare what the CRMs hold with the ledger, for `syncd verify`. Writes nothing and sends nothing.

    listing ─► ids without a row ──► looked up ─► an activity: missing
       └─────► rows without an id ─► looked up ─► not found:   unexpected

Only records behind a stream's watermark are compared, because the next pass reads the others. So do spans that the
ledger still has to read.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from syncd import clock
from syncd.connector import Connector, Context, Page, Record, Ref, Source, Stream, Window
from syncd.errors import Exit, OutsideWindow, Stopped, SyncdError, Unauthorized
from syncd.http.server_clock import ServerClock
from syncd.ledger import CLOCK, AnyLedger, Comparison
from syncd.normalize import incoming
from syncd.passes import narrowing, pins, windows
from syncd.passes.pausing import pausing
from syncd.passes.reader import PassStore, as_told
from syncd.passes.windows import MS, Span
from syncd.signals import StopRequest
from syncd.text import is_stand_in

LOOK_S = 0.2  # seconds between two looks whether to stop

Closed = tuple[datetime, datetime]  # a span of modification time, both ends inclusive


@dataclass(frozen=True, slots=True)
class Compared:
    """One stream of the CRM, compared with the ledger."""

    source: str
    stream: str
    crm: int = 0  # records that the CRM has within the spans
    ledger: int = 0  # rows of the ledger within the spans
    missing: Sequence[str] = ()  # crm_ids of activities without a row
    unexpected: Sequence[str] = ()  # crm_ids of rows that the CRM does not find any more
    since: datetime | None = None  # of what was compared; None: nothing was read yet
    until: datetime | None = None
    left_out: int = 0  # spans in between that the ledger still has to read
    error: SyncdError | None = None  # why the comparison is not complete
    whole: bool = False  # every record behind the watermark was listed, as far back as any row of the stream

    @property
    def exit_codes(self) -> list[Exit]:
        """The codes of its error and of missing activities, see `errors.worst`."""
        return [*([self.error.exit_code] if self.error else []), *([Exit.UNBALANCED] if self.missing else [])]


class Watcher(Protocol):
    """Follow a comparison, e.g. as progress bars."""

    wants_totals: bool  # one more request for each stream

    def begin(self, source: str, stream: str, what: str, total: int | None) -> None:
        """Hear that a stream's days, records or look-ups (`what`) follow. `total`: their number, if it is known."""

    def advance(self, count: int) -> None:
        """Hear that `count` more of them are done."""


class Silent:
    """Ignore everything."""

    wants_totals = False

    def begin(self, source: str, stream: str, what: str, total: int | None) -> None:
        """Do nothing."""

    def advance(self, count: int) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Compare the sources with the ledger, one after another.

    `quick`: count the records of each day, and list only those of days whose count differs from the ledger's. A record
    that is missing beside one that is unexpected on the same day is not found then.
    """

    ledger: AnyLedger
    stop: StopRequest
    since: datetime | None = None  # None: each source's start
    quick: bool = False
    watcher: Watcher = field(default_factory=Silent)
    now: Callable[[], datetime] = field(default_factory=lambda: clock.now)

    def streams(self, sources: Sequence[Source]) -> Iterator[Compared]:
        """Yield each stream that the sources read, as soon as it is compared. A failure of one stops no other source.

        LedgerError if there is no ledger, or if it cannot be used.
        """
        with self.ledger.compare() as rows:
            for source in sources:
                if not self.stop.requested:
                    yield from self._source(rows, source)

    def _source(self, rows: Comparison, source: Source) -> Iterator[Compared]:
        left = [stream.name for stream in source.streams]
        try:
            source = narrowing.narrowed(source, narrowing.kept_of(rows, source), self.now()).source
            self._expect_no_pause(rows, source)
            unbooked: set[str] = set()
            with closing(source.connector(source.config, self._context(rows, source, unbooked))) as connector:
                pins.refuse_stranger(rows, source, incoming.identity(connector.identity()))
                asking = _Asking(connector, source, rows, unbooked, self)
                for stream in source.streams:
                    yield asking.compared(stream, self.since)
                    left.remove(stream.name)
        except Exception as error:  # noqa: BLE001 - a connector may raise anything, and the other sources are compared
            told = as_told(source.name, error)
            yield from (Compared(source.name, name, error=told) for name in left)

    def _expect_no_pause(self, rows: Comparison, source: Source) -> None:
        if (pause := rows.pause(source.name, self.now())) is not None:
            raise pausing(source.name, *pause)

    def _context(self, rows: Comparison, source: Source, unbooked: set[str]) -> Context:
        store = PassStore(rows.store(source.name), self.now)
        server_clock = ServerClock(self.now, store.get(CLOCK))
        return Context(
            source.name, store, self.now, self._sleep, read_only=True, clock=server_clock, unbooked=unbooked
        )  # fmt: skip

    def _sleep(self, seconds: float) -> None:
        """Sleep in short steps, because nothing wakes this thread when a signal comes."""
        until = time.monotonic() + seconds
        self.expect_no_stop()
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_S))
            self.expect_no_stop()

    def expect_no_stop(self) -> None:
        """Raise Stopped if a signal asks for the end."""
        if self.stop.requested:
            raise Stopped("stopped by a signal")


@dataclass(frozen=True, slots=True)
class _Asking:
    """One source that is being compared."""

    connector: Connector
    source: Source
    rows: Comparison
    unbooked: set[str]  # as `Context.unbooked`
    how: Verification

    def compared(self, stream: Stream, since: datetime | None) -> Compared:
        """Compare one stream. A missing permission is its error alone."""
        name, state = self.source.name, self.rows.stream(self.source.name, stream.name)
        if state.watermark is None:
            return Compared(name, stream.name)
        start = self.source.config.start
        begin = (since or max(start, state.start or start)).astimezone(UTC)
        unread = [each for each in self.rows.ranges(name) if each.stream == stream.name]
        left_out = [Span(each.read_to or each.since, each.until) for each in unread]
        spans = closed(windows.without(Span(begin, state.watermark), left_out))
        self.rows.begin(name, stream.name, spans)
        ledger = self.rows.rows()
        try:
            counted, spans = self._days(stream, spans) if self.how.quick else (None, spans)
            self.rows.within(spans)
            error = self._list(stream, spans)
            missing, unexpected = self._differences(stream, state.watermark)
        except Unauthorized as failed:
            return Compared(name, stream.name, error=failed)
        crm = self.rows.listed() if counted is None else counted
        firsts = (start, state.start, self.rows.first_modified())
        whole = counted is None and error is None and not left_out and all(not at or begin <= at for at in firsts)
        return Compared(
            name, stream.name, crm, ledger, missing, unexpected, begin, state.watermark, len(left_out), error, whole
        )  # fmt: skip

    def _days(self, stream: Stream, spans: Sequence[Closed]) -> tuple[int, list[Closed]]:
        """Count the records of each day, and of days without rows together.

        Return their sum, and the days whose count differs from the ledger's.
        """
        held, found = self.rows.rows_by_day(), Counter[str]()
        days = [day for span in spans for day in by_day(span)]
        without = [day for day in days if day_of(day[0]) not in held]
        days = sorted([*joined(without), *(day for day in days if day_of(day[0]) in held)])
        self.how.watcher.begin(self.source.name, stream.name, "days", len(days))
        for since, until in days:
            self.how.expect_no_stop()
            found[day_of(since)] += self.connector.count(stream.name, Window(since, until, _none))
            self.how.watcher.advance(1)
        differing = [day for day in days if found[day_of(day[0])] != held.get(day_of(day[0]), 0)]
        return found.total(), joined(differing)

    def _list(self, stream: Stream, spans: Sequence[Closed]) -> SyncdError | None:
        """List the records of the spans, without reading them in full. Return why something beside them is unread."""
        total = None
        if self.how.watcher.wants_totals:
            total = sum(self.connector.count(stream.name, Window(*span, _none)) for span in spans)
        self.how.watcher.begin(self.source.name, stream.name, "records", total)
        try:
            for span in spans:
                for page in self.connector.fetch(stream.name, Window(*span, _none)):
                    self.how.expect_no_stop()
                    refs = incoming.page(page).refs
                    self.rows.add(ref.crm_id for ref in refs)
                    self.how.watcher.advance(len(refs))
        except OutsideWindow as beside:
            return beside
        return None

    def _differences(self, stream: Stream, until: datetime) -> tuple[list[str], list[str]]:
        """Return the missing and the unexpected ids. Each was looked up."""
        streams = streams_of(self.source, stream.name)
        self.how.watcher.begin(self.source.name, stream.name, "look-ups", None)
        missing = [crm_id for some in self.rows.unheld(streams) for crm_id in self._activities(stream, some, until)]
        unexpected = [crm_id for some in self.rows.unlisted() for crm_id in self._gone(stream, some)]
        booked = self.rows.held(self.source.name, streams, missing)  # meanwhile, by a pass
        return [crm_id for crm_id in missing if crm_id not in booked], unexpected

    def _activities(self, stream: Stream, crm_ids: Sequence[str], until: datetime) -> list[str]:
        """Return the ids of activities. A record that has changed since the watermark is left to the next pass.

        A record that the CRM does not serve counts: a pass would book it.
        """
        found = [crm_id for crm_id in crm_ids if is_stand_in(crm_id)]
        self.unbooked.clear()
        self.unbooked.update(crm_ids)
        for page in self._look_up(stream, crm_ids):
            found += page.unserved
            found += [
                record.ref.crm_id
                for record in page.records
                if record.ref.modified_at <= until and self._is_activity(stream, record)
            ]
        return found

    def _gone(self, stream: Stream, crm_ids: Sequence[str]) -> list[str]:
        """Return the ids that the CRM does not find."""
        self.unbooked.clear()
        return [crm_id for page in self._look_up(stream, crm_ids) for crm_id in page.missing]

    def _look_up(self, stream: Stream, crm_ids: Sequence[str]) -> Iterator[Page]:
        self.how.expect_no_stop()
        known = [crm_id for crm_id in crm_ids if not is_stand_in(crm_id)]
        for page in self.connector.fetch_ids(stream.name, known) if known else ():
            yield incoming.page(page, by_id=True)
        self.how.watcher.advance(len(crm_ids))

    def _is_activity(self, stream: Stream, record: Record) -> bool:
        """Tell whether a pass books a record. One that the connector cannot interpret is a dead row, too."""
        try:
            return self.connector.normalize(stream.name, record) is not None
        except Exception:  # noqa: BLE001 - of one record, which a pass books as `unreadable`
            return True


def streams_of(source: Source, stream: str) -> list[str]:
    """Return a stream, and those that share the ids of its object."""
    of = next(each.object for each in source.connector.streams if each.name == stream)
    return [
        stream,
        *(each.name for each in source.connector.streams if of and each.object == of and each.name != stream),
    ]


def _none(refs: Sequence[Ref]) -> Sequence[str]:
    """Read no record in full."""
    return ()


# -- spans and days. Pure ---------------------------------------------------------------------


def closed(spans: Sequence[Span]) -> list[Closed]:
    """Return the spans that have an end and are not empty."""
    return [(span.since, span.until) for span in spans if span.until is not None and span.since <= span.until]


def by_day(span: Closed) -> Iterator[Closed]:
    """Yield the parts of a span by day, in UTC."""
    since, until = (at.astimezone(UTC) for at in span)
    while since <= until:
        midnight = datetime(since.year, since.month, since.day, tzinfo=UTC) + timedelta(days=1)
        yield since, min(until, midnight - MS)
        since = midnight


def day_of(at: datetime) -> str:
    """Return a day as the ledger writes it, e.g. 2026-01-31."""
    return clock.text(at)[:10]


def joined(spans: Sequence[Closed]) -> list[Closed]:
    """Join spans that follow each other without a gap."""
    found: list[Closed] = []
    for since, until in spans:
        if found and since <= found[-1][1] + MS:
            found[-1] = found[-1][0], until
        else:
            found.append((since, until))
    return found


__all__ = ["Compared", "Silent", "Verification", "Watcher", "by_day", "closed", "day_of", "joined", "streams_of"]
