"""The harness of one stream: its records, passes over it, and books like the engine's.

Every page is checked against the contract, in every test.
"""

import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from syncd.connector import Connector, Context, Page, Record, Ref, Window
from syncd.http.server_clock import ServerClock
from syncd.testing.crm import Crm

OVERLAP = timedelta(minutes=15)  # longer than any record is late
LATE_S = 60.0
ENDLESS = 3_000  # calls of sleep in a pass; each request is preceded by one, and no window takes 1,000 requests
LOOKED_UP = datetime.max.replace(tzinfo=UTC)  # in place of the unknown modification time of an unserved record
TITLE = "Zebra canary"  # in every record's title, and allowed in no message


class Store:
    """A connector's store, with values kept as JSON as in the ledger."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.kept: dict[str, tuple[datetime, str]] = {}
        self._now = now

    def get(self, key: str, *, max_age: timedelta | None = None) -> Any:
        """Return the value of `key`, or None if it is missing or older than `max_age`."""
        at, text = self.kept.get(key, (None, ""))
        if at is None or (max_age is not None and not timedelta(0) <= self._now() - at <= max_age):
            return None
        return json.loads(text)

    def put(self, key: str, value: Any) -> None:
        """Keep a value that JSON can hold."""
        self.kept[key] = (self._now(), json.dumps(value, allow_nan=False))


@dataclass(frozen=True, slots=True)
class Entry:
    """A record in the CRM or in the books."""

    modified_at: datetime
    title: str | None


class Harness:
    """A stream with the records that the suite wrote and those that passes have read.

    `truth` has the CRM's records, `books` those read so far. A pass is a new connector over the same store.
    """

    def __init__(self, crm: Crm, stream: str) -> None:
        self.crm = crm
        self.stream = stream
        self.store = Store(lambda: self.now())
        self.skew = timedelta(0)  # of the local clock
        self.clock = ServerClock(self.now)  # the CRM's clock, as the last pass estimated it
        self.slept: list[float] = []  # seconds; calls with 0 are not counted
        self.on_sleep: Callable[[], None] = lambda: None
        self.truth: dict[str, Entry] = {}
        self.books: dict[str, Entry] = {}
        self.unserved: dict[str, datetime] = {}  # by id: its modification time, or LOOKED_UP
        self.watermark: datetime | None = None
        self.start = crm.now().replace(microsecond=0) - timedelta(days=1)
        self._unsettled: set[str] = set()  # ids that were late, edited or deleted; `complete_until` does not cover them
        self._connectors: list[Connector] = []
        self.calls = 0  # of sleep, in this pass
        self._number = 0
        self._lock = threading.RLock()

    # -- the CRM ------------------------------------------------------------------------

    def at(self, granules: int) -> datetime:
        """Return the modification time `granules` after the start."""
        return self.start + granules * self.crm.granule

    def put(self, at: datetime, *, late_by: float = 0.0) -> str:
        """Write a record."""
        with self._lock:
            title = self._title()
            crm_id = self.crm.put(self.stream, modified_at=at, title=title, late_by=late_by)
            self.truth[crm_id] = Entry(at, title)
            if late_by:
                self._unsettled.add(crm_id)
            return crm_id

    def fill(self, granules: Iterable[int]) -> list[str]:
        """Write one record at each of these granules and return their ids."""
        return [self.put(self.at(each)) for each in granules]

    def edit(self, crm_id: str, *, touch: bool = True, late_by: float = 0.0) -> None:
        """Edit a record now. `touch` moves its modification time. Deleted records are ignored."""
        with self._lock:
            if crm_id in self.truth:
                title, at = self._title(), self.truth[crm_id].modified_at
                if touch:
                    self.crm.advance(self.crm.granule.total_seconds())  # otherwise a second edit would not be visible
                    at = self.crm_now()
                self._unsettled.add(crm_id)
                self.crm.edit(self.stream, crm_id, title=title, modified_at=at if touch else None, late_by=late_by)
                self.truth[crm_id] = Entry(at, title)

    def delete(self, crm_id: str) -> None:
        """Delete a record. Deleted ones are ignored."""
        with self._lock:
            if self.truth.pop(crm_id, None) is not None:
                self._unsettled.add(crm_id)
                self.crm.delete(self.stream, crm_id)

    def crm_now(self) -> datetime:
        """Return the CRM's time, rounded down to its granule."""
        return self.start + (self.crm.now() - self.start) // self.crm.granule * self.crm.granule

    def _title(self) -> str:
        self._number += 1
        return f"{TITLE} {self._number}"

    # -- a pass -------------------------------------------------------------------------

    def now(self) -> datetime:
        """Return the local time."""
        return self.crm.now() + self.skew

    def sleep(self, seconds: float) -> None:
        """Advance the clock instead of waiting."""
        self.on_sleep()
        self.calls += 1
        assert self.calls < ENDLESS, "requests without end"
        if seconds > 0:
            self.slept.append(seconds)
            self.crm.advance(seconds)

    def connect(self, **settings: Any) -> Any:
        """Start a pass, as a new process would, and return its connector."""
        made: type[Any] = self.crm.connector
        config = made.Config(**{**self.crm.table(), **settings})
        self.calls = 0
        self.clock = ServerClock(self.now, self.clock.to_keep())
        connector: Connector = made(config, Context("suite", self.store, self.now, self.sleep, clock=self.clock))
        self._connectors.append(connector)
        return connector

    def since(self, overlap: timedelta = timedelta(0)) -> datetime:
        """Return the start of the next window."""
        return self.start if self.watermark is None else max(self.start, self.watermark - overlap)

    def read(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        overlap: timedelta = timedelta(0),
        pages: int | None = None,
        between: Callable[[int], None] = lambda number: None,
        connector: Connector | None = None,
    ) -> list[Page]:
        """Read a window and book each page.

        The pass is killed after `pages` pages, if given. `between` is called after each booked page.
        """
        since = self.since(overlap) if since is None else since
        connector = connector or self.connect()
        asked = _WatchedNeeded(self._needed)
        got: list[Page] = []
        reading = connector.fetch(self.stream, Window(since, until, asked))
        try:
            for page in reading:
                self._book(connector, page, asked, window=(since, until), before=got)
                got.append(page)
                if len(got) == pages:
                    break
                between(len(got))
        finally:
            close(reading)
        if pages is None or len(got) < pages:
            assert got, "a window yields at least one page, which has its end"
            assert until is None or got[-1].complete_until == until, (
                "the last page's `complete_until` is the window's end"
            )
        return got

    def refs(self, since: datetime, until: datetime | None) -> list[Ref]:
        """Return the refs of a window, read by a separate pass with empty books."""
        other = Harness(self.crm, self.stream)
        other.store, other.skew, other.start = self.store, self.skew, since
        other.truth, other._unsettled = dict(self.truth), self._unsettled
        connector = self.connect()
        return [ref for page in other.read(since=since, until=until, connector=connector) for ref in page.refs]

    def window(self, until: datetime | None, *, since: datetime | None = None) -> Window:
        """Return a window that needs every record missing from the books. By default it begins at the start."""
        return Window(self.start if since is None else since, until, self._needed)

    def look_up(self, ids: Sequence[str], connector: Connector | None = None) -> tuple[dict[str, Record], list[str]]:
        """Return the records of `ids` by id, and the ids that the CRM did not find."""
        connector = connector or self.connect()
        records: list[Record] = []
        missing: list[str] = []
        unserved: list[str] = []
        for page in connector.fetch_ids(self.stream, ids):
            assert page.complete_until is None, "a look-up has no window"
            assert [ref.crm_id for ref in page.refs] == [each.ref.crm_id for each in page.records], (
                "a look-up has one record for each ref"
            )
            assert len(page.records) <= 1_100, "a page is about 1,000 records at most"
            records += page.records
            missing += page.missing
            unserved += page.unserved
        found = {record.ref.crm_id: record for record in records}
        assert not set(unserved) & {*found, *missing}, "an unserved id is neither found nor missing"
        assert len(set(unserved)) == len(unserved), "no unserved id comes twice"
        self.unserved |= dict.fromkeys(unserved, LOOKED_UP)
        assert len(found) == len(records), "no record comes twice"
        assert len(set(missing)) == len(missing), "no missing id comes twice"
        assert not set(missing) & set(found), "no id is both found and missing"
        return found, missing

    def title(self, record: Record, connector: Connector | None = None) -> str | None:
        """Return the title of a record's draft."""
        connector = connector or self.connect()
        draft = connector.normalize(self.stream, record)
        assert draft is not None, "this record is an activity"
        return draft.title

    # -- the books ----------------------------------------------------------------------

    def _needed(self, refs: Sequence[Ref]) -> Collection[str]:
        return {
            ref.crm_id
            for ref in refs
            if (held := self.books.get(ref.crm_id)) is None or held.modified_at < ref.modified_at
        }

    def _book(
        self,
        connector: Connector,
        page: Page,
        asked: "_WatchedNeeded",
        *,
        window: tuple[datetime, datetime | None],
        before: Sequence[Page],
    ) -> None:
        since, until = window
        refs = {ref.crm_id: ref for ref in page.refs}
        self._check_page(page, asked)
        assert page.complete_until is not None, "a window's page has `complete_until`"
        assert until is None or page.complete_until <= until, "no page is complete beyond the window"
        if before and before[-1].complete_until is not None:
            assert before[-1].complete_until <= page.complete_until, "`complete_until` never falls"
        settled = (ref for each in before for ref in each.refs if ref.crm_id not in self._unsettled)
        last = max((ref.modified_at for ref in settled), default=since)
        for ref in page.refs:
            if ref.crm_id not in self._unsettled:
                assert since <= ref.modified_at, "a record from before the window"
                assert until is None or ref.modified_at <= until, "a record from after the window"
                assert last <= ref.modified_at, "modification times ascend, page by page too"
                last = ref.modified_at
        again = {each.crm_id for earlier in before for each in earlier.refs} & refs.keys() - self._unsettled
        assert not again, f"{len(again)} records came twice in one window without an edit"
        for record in page.records:
            self.books[record.ref.crm_id] = Entry(record.ref.modified_at, self.title(record, connector))
        self.unserved |= {crm_id: refs[crm_id].modified_at for crm_id in page.unserved}
        if refs:
            mark = min(max(ref.modified_at for ref in page.refs), page.complete_until)
            self.watermark = mark if self.watermark is None else max(self.watermark, mark)
        self._check_watermark()

    def _check_page(self, page: Page, asked: "_WatchedNeeded") -> None:
        refs = {ref.crm_id: ref for ref in page.refs}
        assert len(refs) == len(page.refs), "a page has each ref once"
        for ref in page.refs:
            assert isinstance(ref.crm_id, str), "ids are text"
            assert ref.modified_at.utcoffset() == timedelta(0), "times are aware, in UTC"
            assert ref.modified_at.microsecond % 1_000 == 0, "times are whole milliseconds"
        for record in page.records:
            assert refs.get(record.ref.crm_id) == record.ref, "a page has the ref of each of its records"
        whole = {record.ref.crm_id for record in page.records}
        assert len(whole) == len(page.records), "a page has each record once"
        assert not [ref for ref in page.refs if ref not in asked.answers], "`needed` is called with every ref"
        assert not whole & page.unserved.keys(), "a record is whole or unserved"
        assert whole | page.unserved.keys() == {ref.crm_id for ref in page.refs if asked.answers[ref]}, (
            "a page has exactly the records that `needed` returned, and the unserved ones"
        )
        assert all(isinstance(why, str) and why for why in page.unserved.values()), "an unserved record has a message"
        assert page.missing == () or not page.missing, "`missing` is for look-ups"

    def _check_watermark(self) -> None:
        """Check the central promise: a pass that resumes at the watermark has lost nothing before it."""
        if self.watermark is not None:
            passed = [
                crm_id
                for crm_id, entry in list(self.truth.items())
                if self.start <= entry.modified_at < self.watermark
                and crm_id not in self._unsettled
                and self.books.get(crm_id) != entry
                and self.unserved.get(crm_id) != entry.modified_at  # syncd has a row for it
            ]
            assert not passed, f"the watermark passed {len(passed)} records that were in no page"

    def catch_up(self) -> None:
        """Run the next passes until every late or moved record has been read."""
        for _ in range(2):
            self.crm.advance(LATE_S + 10)
            self.read(overlap=OVERLAP)

    def assert_complete(self, what: str = "in the end", *, but: Collection[str] = ()) -> None:
        """Assert that the books have every record of the CRM in its present version, `but` for some ids."""
        lost = [crm_id for crm_id in self.truth if crm_id not in self.books and crm_id not in but]
        assert not lost, f"{what}: {len(lost)} of {len(self.truth)} records were never read"
        stale = [crm_id for crm_id, entry in self.truth.items() if crm_id not in but and self.books[crm_id] != entry]
        assert not stale, f"{what}: {len(stale)} of {len(self.truth)} records are stale"

    def clear_books(self) -> None:
        """Empty the books and the watermark."""
        self.books, self.unserved, self.watermark = {}, {}, None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Delete the records and close the connectors.

        After a failed test, errors of this clean-up are ignored.
        """
        self.crm.on_request(None)
        for connector in self._connectors:
            with suppress(*() if kind is None else (Exception,)):
                connector.close()
        for crm_id in list(self.truth) if kind is None else ():
            self.delete(crm_id)


class _WatchedNeeded:
    """A wrapper of `needed` that records its results.

    Only the reading thread may call it, because the ledger is behind it.
    """

    def __init__(self, needed: Callable[[Sequence[Ref]], Collection[str]]) -> None:
        self.answers: dict[Ref, bool] = {}
        self._needed = needed
        self._thread = threading.get_ident()

    def __call__(self, refs: Sequence[Ref]) -> Collection[str]:
        assert threading.get_ident() == self._thread, "only the reading thread calls `needed`"
        ids = self._needed(refs)
        self.answers.update({ref: ref.crm_id in ids for ref in refs})
        return ids


def harnesses(crm: Crm) -> Iterator[Harness]:
    """Yield a harness for each stream in turn."""
    for stream in crm.connector.streams:
        with Harness(crm, stream.name) as harness:
            yield harness
        crm.heal()


def close(reading: Iterator[Page]) -> None:
    """Close an iterator, if it can be closed."""
    getattr(reading, "close", lambda: None)()


__all__ = ["LATE_S", "OVERLAP", "TITLE", "Harness", "close", "harnesses"]
