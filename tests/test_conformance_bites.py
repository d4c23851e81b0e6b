"""The conformance suite itself: a small correct connector passes it, and each wrong one fails its test.

`Toy` is also the shortest example of a connector, and `ToyCrm` of its sandbox.
"""

import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from pydantic import ConfigDict

from syncd.activity import Draft, Owner, Person
from syncd.connector import Connector, Context, Finding, Page, Record, Ref, SourceConfig, Stream, Window
from syncd.errors import Stopped, SyncdError, Unavailable
from syncd.testing import ConnectorConformance, conduct, records

SIZE = 5  # rows per page of the toy's CRM
NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
TOKEN = "toy-token-0815"
OWNER = Owner("7", "rona.representer@lanternfield.com", "Rona Representer")
ADDRESS = "zinnia.zephyr@canary-bolts.com"
Key = tuple[datetime, str]


@dataclass(frozen=True)
class Row:
    """A call or email of the toy's CRM."""

    id: str
    modified: datetime
    title: str
    address: str = ADDRESS


class ToyCrm:
    """A CRM in memory. Late rows wait in a queue until they are due."""

    granule = timedelta(milliseconds=1)
    cuts: Sequence[int] = (SIZE,)
    secrets: Collection[str] = (TOKEN,)
    private: Collection[str] = (ADDRESS, str(OWNER.email))

    def __init__(self, connector: type[Any]) -> None:
        self.connector: type[Connector] = connector
        self.rows: dict[str, dict[str, Row]] = {stream.name: {} for stream in connector.streams}
        self.down = False
        self._at = NOON
        self._due: list[tuple[datetime, str, Row]] = []
        self._asked = self._written = 0
        self._act: Callable[[int], None] | None = None
        DOORS["front"] = self

    def answer(self) -> "ToyCrm":
        """Process a request."""
        self._asked += 1
        if self._act is not None:
            self._act(self._asked - 1)
        if self.down:
            raise ConnectionError(f"cannot serve {TOKEN}")
        for entry in [each for each in self._due if each[0] <= self._at]:
            self._due.remove(entry)
            self.rows[entry[1]][entry[2].id] = entry[2]
        return self

    def table(self) -> dict[str, Any]:
        return {"connector": "toy", "start": NOON - timedelta(days=9), "door": "front"}

    def now(self) -> datetime:
        return self._at

    def advance(self, seconds: float) -> None:
        self._at += timedelta(seconds=seconds)

    def put(self, stream: str, *, modified_at: datetime, title: str, late_by: float = 0.0) -> str:
        self._written += 1
        # ids do not rise with time, as in no CRM
        self._write(stream, Row(f"{self._written * 7919 % 10_007:05}", modified_at, title), late_by)
        return f"{self._written * 7919 % 10_007:05}"

    def edit(
        self, stream: str, crm_id: str, *, title: str, modified_at: datetime | None = None, late_by: float = 0.0
    ) -> None:
        row = self.rows[stream].get(crm_id) or next(row for _, _, row in self._due if row.id == crm_id)
        self._write(stream, replace(row, title=title, modified=modified_at or row.modified), late_by)

    def _write(self, stream: str, row: Row, late_by: float) -> None:
        self._due = [each for each in self._due if each[2].id != row.id]
        if late_by:
            self._due.append((self._at + timedelta(seconds=late_by), stream, row))
        else:
            self.rows[stream][row.id] = row

    def delete(self, stream: str, crm_id: str) -> None:
        self.rows[stream].pop(crm_id, None)
        self._due = [each for each in self._due if each[2].id != crm_id]

    def readdress(self, stream: str, crm_id: str, address: str) -> None:
        self.rows[stream][crm_id] = replace(self.rows[stream][crm_id], address=address)

    def unknown_id(self, stream: str) -> str:
        return "no-such-id"

    def golden(self, stream: str) -> Sequence[tuple[Record, Draft | None]]:
        record = Record(
            Ref("1", NOON), {"title": "Quote", "at": NOON.isoformat()}, {"address": "ada@northmill.example"}
        )
        kind: Any = stream.removesuffix("s")
        draft = Draft(kind, NOON, NOON, title="Quote", owner=OWNER, contacts=(Person("ada@northmill.example"),))
        return [(record, draft)]

    def outages(self) -> Mapping[str, Callable[[], None]]:
        return {"down": lambda: setattr(self, "down", True)}

    def heal(self) -> None:
        self.down = False

    def requests(self) -> int:
        return self._asked

    def on_request(self, act: Callable[[int], None] | None) -> None:
        self._act = act


DOORS: dict[str, ToyCrm] = {}


class ToyConfig(SourceConfig):
    """The keys of a toy's table."""

    door: str


class Toy:
    """A connector that pages by keyset: the rows after (modification time, id)."""

    Config: ClassVar[type[SourceConfig]] = ToyConfig
    streams: tuple[Stream, ...] = (Stream("calls", "call"), Stream("emails", "email"))

    def __init__(self, config: ToyConfig, context: Context) -> None:
        self._crm = DOORS[config.door]
        self._context = context

    def identity(self) -> str | None:
        return "toy-1"

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        until = window.until or self._context.now()  # the toy's CRM uses the local clock
        after: Key = (window.since, "")
        while True:
            rows = self.rows_after(stream, after, until)
            yield self.page(stream, rows, window, until)
            if len(rows) < SIZE:
                return
            after = key(rows[-1])

    def rows_after(self, stream: str, after: Key, until: datetime) -> list[Row]:
        found = (row for row in self._ask(stream).values() if after < key(row) and row.modified <= until)
        return sorted(found, key=key)[:SIZE]

    def page(self, stream: str, rows: Sequence[Row], window: Window, until: datetime) -> Page:
        refs = [Ref(row.id, row.modified) for row in rows]
        needed = set(window.needed(refs)) if refs else set()
        return Page(refs, [self.record(row) for row in rows if row.id in needed], until)

    def record(self, row: Row) -> Record:
        return Record(
            Ref(row.id, row.modified), {"title": row.title, "at": row.modified.isoformat()}, {"address": row.address}
        )

    def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        rows = self._ask(stream) if ids else {}
        found = [self.record(rows[each]) for each in dict.fromkeys(ids) if each in rows]
        yield Page(
            [each.ref for each in found], found, missing=[each for each in dict.fromkeys(ids) if each not in rows]
        )

    def normalize(self, stream: str, record: Record) -> Draft | None:
        at = datetime.fromisoformat(record.row["at"])
        if at.tzinfo is None:
            raise ValueError("a time without a zone")
        kind = next(each.kind for each in self.streams if each.name == stream)
        person = Person(record.related["address"])
        return Draft(kind, at, at, title=record.row["title"], owner=OWNER, contacts=(person,))

    def owners(self) -> Sequence[Owner]:
        return (OWNER,)

    def count(self, stream: str, window: Window) -> int:
        until = window.until or self._context.now()
        return sum(window.since <= row.modified <= until for row in self._ask(stream).values())

    def check(self) -> list[Finding]:
        try:
            self._ask("calls")
        except Unavailable as error:
            return [Finding("the CRM", False, error.message, hint=error.hint, exit_code=error.exit_code)]
        return [Finding("the CRM", True, "answers")]

    def close(self) -> None:
        """Release nothing, because there is nothing to release."""

    def _ask(self, stream: str) -> dict[str, Row]:
        self._context.sleep(0)  # raises Stopped on a stop
        try:
            return self._crm.answer().rows[stream]
        except ConnectionError:
            raise Unavailable("the toy CRM does not answer", hint="switch it on") from None


def key(row: Row) -> Key:
    return (row.modified, row.id)


class TestToy(ConnectorConformance):
    """The correct connector passes."""

    @pytest.fixture
    def crm(self) -> ToyCrm:
        return ToyCrm(Toy)


class Cautious(Toy):
    """A connector whose pages are complete up to their last row, and the last page up to the window's end."""

    def page(self, stream: str, rows: Sequence[Row], window: Window, until: datetime) -> Page:
        return super().page(stream, rows, window, until if len(rows) < SIZE else rows[-1].modified)


class TestCautious(ConnectorConformance):
    """A page may be complete up to less than its window's end."""

    @pytest.fixture
    def crm(self) -> ToyCrm:
        return ToyCrm(Cautious)


# -- wrong connectors, each with the tests that it must fail ------------------------------

WRONG: list[tuple[type[Toy], str, type[BaseException]]] = []


def fails(*tests: str, by: type[BaseException] = AssertionError) -> Callable[[type[Toy]], type[Toy]]:
    """Register the tests that this connector must fail."""

    def note(wrong: type[Toy]) -> type[Toy]:
        WRONG.extend((wrong, f"test_{test}", by) for test in tests)
        return wrong

    return note


@fails("both_ends_of_a_window_belong_to_it_and_nothing_beyond", "an_instant_is_a_window")
class LowerBoundIsStrict(Toy):
    def rows_after(self, stream, after, until):
        return super().rows_after(stream, after if after[1] else (after[0], "~"), until)


@fails("both_ends_of_a_window_belong_to_it_and_nothing_beyond", "an_instant_is_a_window")
class UpperBoundIsStrict(Toy):
    def rows_after(self, stream, after, until):
        return super().rows_after(stream, after, until - timedelta(microseconds=1))


@fails("both_ends_of_a_window_belong_to_it_and_nothing_beyond", "an_open_window_ends_at_the_passs_start")
class UpperBoundIsMissing(Toy):
    def rows_after(self, stream, after, until):
        return super().rows_after(stream, after, until + timedelta(days=1))


@fails("records_edited_while_they_are_read_hide_none_of_their_neighbours", "no_history_loses_a_record",
       "records_deleted_while_they_are_read_hide_none_of_their_neighbours")  # fmt: skip
class PagesByOffset(Toy):
    def fetch(self, stream, window):
        until = window.until or self._context.now()
        for start in range(0, 1_000, SIZE):
            found = [row for row in self._ask(stream).values() if window.since <= row.modified <= until]
            rows = sorted(found, key=key)[start : start + SIZE]
            yield self.page(stream, rows, window, until)
            if len(rows) < SIZE:
                return


@fails("records_of_one_instant_are_all_read_once", "a_crash_after_any_page_loses_nothing")
class LosesTies(Toy):
    def rows_after(self, stream, after, until):
        return super().rows_after(stream, (after[0], "~") if after[1] else after, until)


@fails("no_number_of_records_falls_between_two_pages", "records_of_one_instant_are_all_read_once")
class ReadsTheLastOneAgain(Toy):
    def rows_after(self, stream, after, until):
        return super().rows_after(stream, (after[0], after[1][:-1]), until)


@fails("no_number_of_records_falls_between_two_pages", "a_crash_after_any_page_loses_nothing",
       "a_pass_that_is_killed_after_every_page_gets_through")  # fmt: skip
class ReadsBackwards(Toy):
    def fetch(self, stream, window):
        return reversed(list(super().fetch(stream, window)))


@fails("no_number_of_records_falls_between_two_pages", "a_crash_after_any_page_loses_nothing")
class SortsById(Toy):
    def fetch(self, stream, window):
        until = window.until or self._context.now()
        found = [row for row in self._ask(stream).values() if window.since <= row.modified <= until]
        found.sort(key=lambda row: row.id)
        for start in range(0, len(found) + 1, SIZE):
            yield self.page(stream, found[start : start + SIZE], window, until)


@fails("no_number_of_records_falls_between_two_pages")
class StopsAtAFullPage(Toy):
    def fetch(self, stream, window):
        yield next(super().fetch(stream, window))


@fails("an_empty_window_tells_its_end")
class SaysNothingOfAnEmptyWindow(Toy):
    def fetch(self, stream, window):
        return (page for page in super().fetch(stream, window) if page.refs)


@fails("an_empty_window_tells_its_end", "an_open_window_ends_at_the_passs_start")
class TellsNoEnd(Toy):
    def page(self, *args):
        return replace(super().page(*args), complete_until=None)


@fails("both_ends_of_a_window_belong_to_it_and_nothing_beyond", "a_bound_between_two_granules_cuts_off_nothing_inside")
class VouchesForMore(Toy):
    def page(self, stream, rows, window, until):
        return super().page(stream, rows, window, until + timedelta(hours=1))


@fails("a_known_record_comes_as_a_ref_alone", "a_crash_after_any_page_loses_nothing")
class ReadsEverythingWhole(Toy):
    def page(self, stream, rows, window, until):
        page = super().page(stream, rows, window, until)
        return replace(page, records=[self.record(row) for row in rows])


@fails("a_known_record_comes_as_a_ref_alone")
class HidesWhatIsKnown(Toy):
    def page(self, *args):
        page = super().page(*args)
        return replace(page, refs=[record.ref for record in page.records])


@fails("no_number_of_records_falls_between_two_pages")
class AsksTheLedgerInAThreadOfItsOwn(Toy):
    def page(self, *args):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(Toy.page, self, *args).result()


@fails("a_record_that_appears_late_is_in_the_next_window", "no_history_loses_a_record",
       "a_crash_with_edits_and_late_rows_before_the_next_pass_loses_nothing")  # fmt: skip
class RemembersHowFarItRead(Toy):
    def fetch(self, stream, window):
        kept = self._context.store.get(stream)
        since = max(window.since, datetime.fromisoformat(kept)) if kept else window.since
        for page in super().fetch(stream, replace(window, since=since)):
            yield page
            if page.refs:
                self._context.store.put(stream, page.refs[-1].modified_at.isoformat())


@fails("edits_that_show_late_hide_none_of_their_neighbours")
class JumpsToTheTimeThatARowShows(Toy):
    def rows_after(self, stream, after, until):
        shown = {row.id: row for _, _, row in self._crm._due}
        return [shown.get(row.id, row) for row in super().rows_after(stream, after, until)]


@fails("it_counts_what_it_would_read")
class CountsOtherwise(Toy):
    def count(self, stream, window):
        return super().count(stream, replace(window, since=window.since + timedelta(milliseconds=1)))


@fails("a_look_up_accounts_for_every_id")
class HidesWhatIsMissing(Toy):
    def fetch_ids(self, stream, ids):
        return (replace(page, missing=()) for page in super().fetch_ids(stream, ids))


@fails("a_look_up_accounts_for_every_id")
class ReadsAnIdAsOftenAsItIsNamed(Toy):
    def fetch_ids(self, stream, ids):
        for each in ids:
            yield from super().fetch_ids(stream, [each])


@fails("a_thousand_ids_are_looked_up_at_once")
class LooksUpAHundred(Toy):
    def fetch_ids(self, stream, ids):
        return super().fetch_ids(stream, ids[:100])


@fails("a_look_up_bypasses_every_cache")
class BelievesItsCache(Toy):
    def record(self, row):
        cache = self.__dict__.setdefault("cache", {})
        return cache.setdefault((row.id, row.modified), super().record(row))


@fails("a_record_means_the_same_by_window_and_by_id")
class LooksUpWithoutPeople(Toy):
    def fetch_ids(self, stream, ids):
        for page in super().fetch_ids(stream, ids):
            yield replace(page, records=[Record(each.ref, each.row, {"address": None}) for each in page.records])


@fails("records_mean_what_the_golden_pairs_say")
class ShoutsTitles(Toy):
    def normalize(self, stream, record):
        draft = super().normalize(stream, record)
        return replace(draft, title=str(draft.title).upper())


@fails("normalizing_is_pure")
class WearsRecordsOut(Toy):
    def normalize(self, stream, record):
        record.row["seen"] = True
        return super().normalize(stream, record)


@fails("normalizing_is_pure", "a_malformed_record_neither_hangs_nor_stops_a_pass")
class TakesEverythingForACall(Toy):
    def normalize(self, stream, record):
        return super().normalize("calls", record)


@fails("a_malformed_record_neither_hangs_nor_stops_a_pass", by=SystemExit)
class LeavesOnDamage(Toy):
    def normalize(self, stream, record):
        if not isinstance(record.row.get("title"), str):
            raise SystemExit(1)
        return super().normalize(stream, record)


@fails("a_malformed_record_neither_hangs_nor_stops_a_pass")
class QuotesWhatItCannotRead(Toy):
    def normalize(self, stream, record):
        try:
            return super().normalize(stream, record)
        except (ValueError, TypeError) as error:
            raise SyncdError(f"cannot read {record.row} of {record.related}") from error


@fails("owners_are_known_after_a_page_without_a_request")
class AsksForOwnersEachTime(Toy):
    def owners(self):
        self._ask("calls")
        return super().owners()


@fails("owners_are_known_after_a_page_without_a_request")
class KnowsNobody(Toy):
    def owners(self):
        return ()


@fails("an_outage_ends_in_an_error_that_helps_and_tells_nothing_private")
class RepeatsWhatItGot(Toy):
    def _ask(self, stream):
        try:
            return self._crm.answer().rows[stream]
        except ConnectionError as error:
            raise Unavailable("the toy CRM does not answer", hint="switch it on") from error


@fails("an_outage_ends_in_an_error_that_helps_and_tells_nothing_private", by=ConnectionError)
class RaisesWhatItGot(Toy):
    def _ask(self, stream):
        return self._crm.answer().rows[stream]


@fails("an_outage_ends_in_an_error_that_helps_and_tells_nothing_private")
class KnowsNoRemedy(Toy):
    def _ask(self, stream):
        try:
            return super()._ask(stream)
        except Unavailable as error:
            raise Unavailable(error.message) from None


@fails("check_finds_nothing_wrong_if_all_is_well")
class FindsFaultAlways(Toy):
    def check(self):
        return [Finding("the weather", False, "it rains", hint="wait", exit_code=69)]


@fails("a_normal_pass_tells_nothing_private")
class PrintsTitles(Toy):
    def record(self, row):
        print(json.dumps({"reading": row.title}))
        return super().record(row)


@fails("a_normal_pass_tells_nothing_private")
class KeepsItsToken(Toy):
    def identity(self):
        self._context.store.put("token", TOKEN)
        return super().identity()


@fails("its_identity_is_the_same_in_every_pass")
class IsSomebodyElseEachTime(Toy):
    def identity(self):
        return f"toy-{id(self)}"


@fails("making_one_sends_no_request_and_closing_it_twice_does_no_harm")
class AsksWhenMade(Toy):
    def __init__(self, config, context):
        super().__init__(config, context)
        self._ask("calls")


@fails("making_one_sends_no_request_and_closing_it_twice_does_no_harm", by=AttributeError)
class ClosesOnce(Toy):
    def close(self):
        del self._crm


@fails("an_unknown_key_of_its_table_is_a_mistake")
class TakesAnyKey(Toy):
    class Config(ToyConfig):
        model_config = ConfigDict(extra="ignore")


@fails("it_declares_its_streams_and_a_configuration_of_its_own")
class HasTwoStreamsOfOneName(Toy):
    streams = (Stream("calls", "call"), Stream("calls", "email"))


@fails("the_engine_may_close_a_fetch_in_the_middle")
class LeavesAThreadBehind(Toy):
    def fetch(self, stream, window):
        threading.Thread(target=threading.Event().wait, args=(1.0,), daemon=True).start()
        return super().fetch(stream, window)


@fails("a_stop_is_passed_on_at_once")
class DoesNotStop(Toy):
    def _ask(self, stream):
        try:
            return super()._ask(stream)
        except Stopped:
            raise Unavailable("interrupted", hint="wait") from None


@pytest.mark.parametrize(("wrong", "test", "by"), WRONG)
def test_a_wrong_connector_fails_where_it_is_wrong(wrong, test, by, monkeypatch):
    for part in (conduct, records):
        monkeypatch.setattr(part, "BRIEF_S", 0.3)
    with pytest.raises(by):
        getattr(ConnectorConformance(), test)(ToyCrm(wrong))


def test_every_test_of_the_core_has_a_connector_that_it_fails():
    tests = {name for name in dir(ConnectorConformance) if name.startswith("test_")}
    assert {test for _, test, _ in WRONG} == tests
