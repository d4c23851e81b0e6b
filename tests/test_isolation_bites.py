"""The suite's part about isolation: a careful connector passes it, and each wrong one fails its test."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from syncd.connector import Context, Page, Record, Ref, Window
from syncd.errors import Unavailable
from syncd.isolation import AdaptiveSize, TriedSize, in_halves
from syncd.testing import FaultName, PartialFault
from syncd.testing.isolation import IsolationConformance
from tests.test_conformance_bites import SIZE, Key, Row, Toy, ToyCrm, key

Rule = Callable[[str, str, Sequence[str], int], bool]  # kind of request, stream, ids that it names or returns, rows


class FaultyCrm(ToyCrm):
    """A toy CRM with three kinds of request: rows of a window, rows by id, and people by the ids of their records."""

    reads_people_by_id = True
    query_rows = 100

    def __init__(self, connector: type[Any]) -> None:
        super().__init__(connector)
        self.rules: list[Rule] = []
        self.served: int | None = None  # requests before an outage; None: there is none

    def window(self, stream: str, after: Key, until: datetime, rows: int) -> list[Row]:
        found = [row for row in self.answer().rows[stream].values() if after < key(row) and row.modified <= until]
        found = sorted(found, key=key)[:rows]
        self._check("window", stream, [row.id for row in found], rows)
        return found

    def by_id(self, stream: str, ids: Sequence[str]) -> list[Row]:
        rows = self.answer().rows[stream]
        self._check("ids", stream, ids, len(ids))
        return [rows[each] for each in ids if each in rows]

    def people(self, stream: str, ids: Sequence[str]) -> dict[str, str]:
        rows = self.answer().rows[stream]
        self._check("people", stream, ids, len(ids))
        return {each: rows[each].address for each in ids if each in rows}

    def _check(self, kind: str, stream: str, ids: Sequence[str], rows: int) -> None:
        if any(rule(kind, stream, ids, rows) for rule in self.rules):
            raise ConnectionError("on order")
        if self.served is not None:
            self.served -= 1
            if self.served < 0:
                raise ConnectionError("an outage")

    def fail(self, fault: FaultName, *, times: int | None = 1, skip: int = 0) -> None:
        assert (fault, times) == ("unavailable", None), "the only fault that this part of the suite orders"
        self.served = skip

    def fail_id(self, stream: str, crm_id: str, fault: PartialFault, *, person: bool = False) -> None:
        named = "people" if person else "ids"
        self.rules.append(lambda kind, of, ids, rows: (kind, of) == (named, stream) and crm_id in ids)

    def fail_size(self, stream: str, rows: int, fault: PartialFault) -> None:
        self.rules.append(lambda kind, of, ids, asked: (kind, of) == ("window", stream) and asked > rows)

    def fail_span(self, stream: str, since: datetime, until: datetime, fault: PartialFault) -> None:
        def holds_one(kind: str, of: str, ids: Sequence[str], rows: int) -> bool:
            found = [self.rows[stream][each].modified for each in ids if each in self.rows[stream]]
            return (kind, of) == ("window", stream) and any(since <= at <= until for at in found)

        self.rules.append(holds_one)

    def heal(self) -> None:
        super().heal()
        self.rules.clear()
        self.served = None


class Careful(Toy):
    """Isolates with `syncd.isolation`."""

    _crm: FaultyCrm

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.unserved: dict[str, str] = {}
        self.sizes = {each.name: TriedSize(self.size(each.name)) for each in self.streams}

    def size(self, stream: str) -> AdaptiveSize:
        return AdaptiveSize(self._context.store, stream, SIZE)

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        until, after = window.until or self._context.now(), (window.since, "")
        while True:
            rows, size = self.some_rows(stream, after, until)
            yield self.careful_page(stream, rows, window, until)
            if len(rows) < size:
                return
            after = key(rows[-1])

    def some_rows(self, stream: str, after: Key, until: datetime) -> tuple[list[Row], int]:
        size = self.sizes[stream]
        for attempt in range(3):
            try:
                asked = size.now
                rows = self.request(self._crm.window, stream, after, until, asked)
                size.served(full=len(rows) >= asked)
                return rows, asked
            except Unavailable:
                size.failed(timed_out=False)
                if attempt == 2:
                    size.gave_up()
                    raise
                self._context.sleep(0.5)
        raise AssertionError

    def careful_page(self, stream: str, rows: Sequence[Row], window: Window, until: datetime) -> Page:
        refs = [Ref(row.id, row.modified) for row in rows]
        needed = set(window.needed(refs)) if refs else set()
        records = self.records(stream, [row for row in rows if row.id in needed])
        return Page(refs, records, until, unserved=self.told())

    def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        wanted = list(dict.fromkeys(ids))
        rows = self.isolated(partial(self.request, self._crm.by_id, stream), wanted) if wanted else []
        missing = {*wanted} - {row.id for row in rows} - self.unserved.keys()
        records = self.records(stream, rows)
        yield Page([each.ref for each in records], records, missing=sorted(missing), unserved=self.told())

    def records(self, stream: str, rows: Sequence[Row]) -> list[Record]:
        def people(ids: Sequence[str]) -> list[tuple[str, str]]:
            return list(self.request(self._crm.people, stream, ids).items())

        addresses = dict(self.isolated(people, [row.id for row in rows])) if rows else {}
        return [self.record(replace(row, address=addresses[row.id])) for row in rows if row.id in addresses]

    def isolated(self, ask: Callable[[Sequence[str]], list[Any]], ids: Sequence[str]) -> list[Any]:
        return in_halves(ids, ask, too_much=(Unavailable,), alone=self.alone)

    def alone(self, crm_id: str, error: Unavailable) -> list[Any]:
        self.unserved[crm_id] = error.message
        return []

    def told(self) -> dict[str, str]:
        told, self.unserved = self.unserved, {}
        return told

    def request(self, ask: Callable[..., Any], *what: Any) -> Any:
        self._context.sleep(0)
        try:
            return ask(*what)
        except ConnectionError:
            raise Unavailable("the toy CRM does not answer", hint="switch it on") from None


class TestCareful(IsolationConformance):
    """The careful connector passes."""

    @pytest.fixture
    def crm(self) -> FaultyCrm:
        return FaultyCrm(Careful)


# -- wrong connectors, each with the tests that it must fail ------------------------------

WRONG: list[tuple[type[Careful], str, type[BaseException]]] = []
WINDOW = "one_record_that_a_window_cannot_be_given_holds_up_no_other"
LOOK_UP = "one_record_that_a_look_up_cannot_be_given_holds_up_no_other"
OUTAGE = "an_outage_blames_no_record"
SIZES = "pages_that_are_too_large_become_smaller_and_later_larger_again"
SPAN = "one_span_that_cannot_be_read_holds_up_nothing_beside_it"


def fails(*tests: str, by: type[BaseException] = AssertionError) -> Callable[[type[Careful]], type[Careful]]:
    """Register the tests that this connector must fail."""

    def note(wrong: type[Careful]) -> type[Careful]:
        WRONG.extend((wrong, f"test_{test}", by) for test in tests)
        return wrong

    return note


@fails(WINDOW, LOOK_UP, by=Unavailable)
class IsolatesNothing(Careful):
    def isolated(self, ask, ids):
        return ask(ids)


@fails(WINDOW, LOOK_UP)
class BlamesTheWholeBatch(Careful):
    def isolated(self, ask, ids):
        try:
            return ask(ids)
        except Unavailable as error:
            return [each for crm_id in ids for each in self.alone(crm_id, error)]


@fails(WINDOW)
class LeavesTheCulpritOut(Careful):
    def told(self):
        super().told()
        return {}


@fails(LOOK_UP)
class CallsTheCulpritMissing(Careful):
    def fetch_ids(self, stream, ids):
        for page in super().fetch_ids(stream, ids):
            yield replace(page, missing=[*page.missing, *page.unserved], unserved={})


@fails(WINDOW)
class AsksWithoutEnd(Careful):
    def isolated(self, ask, ids):
        try:
            return ask(ids)
        except Unavailable as error:
            for _ in range(50):
                try:
                    return ask(ids)
                except Unavailable:
                    continue
            if len(ids) == 1:
                return self.alone(ids[0], error)
            return [*self.isolated(ask, ids[: len(ids) // 2]), *self.isolated(ask, ids[len(ids) // 2 :])]


@fails(OUTAGE)
class TakesAnOutageForACulprit(Careful):
    def isolated(self, ask, ids):
        try:
            return ask(ids)
        except Unavailable as error:
            if len(ids) == 1:
                return self.alone(ids[0], error)
            return [*self.isolated(ask, ids[: len(ids) // 2]), *self.isolated(ask, ids[len(ids) // 2 :])]


@fails(OUTAGE)
class TriesAnOutageOftenToo(Careful):
    def some_rows(self, stream, after, until):
        for _ in range(30):
            try:
                return super().some_rows(stream, after, until)
            except Unavailable:
                continue
        return super().some_rows(stream, after, until)


@fails(SIZES, by=Unavailable)
class KeepsItsPageSize(Careful):
    def some_rows(self, stream, after, until):
        return self.request(self._crm.window, stream, after, until, SIZE), SIZE


class Forgetful(AdaptiveSize):
    """A size that each pass begins with the most."""

    def _keep(self, size: int) -> None:
        self.size = size


@fails(SIZES)
class ForgetsThePageSize(Careful):
    def size(self, stream):
        return Forgetful(self._context.store, stream, SIZE)


class Shrinking(AdaptiveSize):
    """A size that never grows."""

    def was_enough(self, size: int) -> None:
        """Learn nothing."""


@fails(SIZES)
class StaysSmall(Careful):
    def size(self, stream):
        return Shrinking(self._context.store, stream, SIZE)


@fails(SPAN)
class YieldsNothingBeforeTheLastPage(Careful):
    def fetch(self, stream, window):
        yield from list(super().fetch(stream, window))


@fails(SPAN)
class SkipsWhatItCannotRead(Careful):
    def some_rows(self, stream, after, until):
        try:
            return super().some_rows(stream, after, until)
        except Unavailable:
            return [], SIZE


@pytest.mark.parametrize(("wrong", "test", "by"), WRONG)
def test_a_wrong_connector_fails_where_it_is_wrong(wrong, test, by):
    with pytest.raises(by):
        getattr(IsolationConformance(), test)(FaultyCrm(wrong))


def test_every_test_about_isolation_has_a_connector_that_it_fails():
    tests = {name for name in dir(IsolationConformance) if name.startswith("test_")}
    assert {test for _, test, _ in WRONG} == tests
