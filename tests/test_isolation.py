"""Isolation: culprits stand alone, an outage blames nothing, and the size of a page that works is remembered."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import log2
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.errors import Malformed, Unauthorized, Unavailable
from syncd.isolation import PROBES, AdaptiveSize, Budget, TriedSize, in_halves

NOW = datetime(2026, 11, 28, tzinfo=UTC)


class Down(Unavailable):
    """The CRM does not serve a request."""


class Server:
    """Serves numbers. A request that holds a bad one fails, and so does each one during an outage."""

    def __init__(self, bad: Sequence[int] = (), *, down_after: int | None = None, error: type[Unavailable] = Down):
        self.bad = set(bad)
        self.down_after = down_after
        self.error = error
        self.asked: list[list[int]] = []

    def ask(self, numbers: Sequence[int]) -> list[str]:
        self.asked.append(list(numbers))
        if self.down_after is not None and len(self.asked) > self.down_after:
            raise self.error("down")
        if self.bad.intersection(numbers):
            raise self.error("cannot serve this")
        return [f"row {number}" for number in numbers]

    def witness(self) -> None:
        self.ask([-1])


def blamed(number: int, error: Unavailable) -> list[str]:
    return [f"{number} {error.message}"]


def read(server: Server, numbers: Sequence[int], **more: Any) -> list[str]:
    return in_halves(numbers, server.ask, **{"too_much": (Down,), "alone": blamed, **more})


@given(st.integers(0, 130).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, max(0, n - 1)), max_size=3))))
def test_every_item_is_served_or_blamed_and_the_order_stays(drawn):
    count, bad = drawn
    bad = {each for each in bad if each < count}
    server = Server(sorted(bad))
    expected = [f"{n} cannot serve this" if n in bad else f"row {n}" for n in range(count)]
    while count - len(bad) > 0 or not bad:
        try:
            found = read(server, range(count))
        except Down:  # both probes met a culprit by chance
            continue
        assert found == expected
        return


@given(st.integers(2, 1000), st.data())
def test_one_culprit_costs_few_requests(count, data):
    server = Server([data.draw(st.integers(0, count - 1))])
    read(server, range(count))
    assert len(server.asked) <= 1 + PROBES + 2 * (log2(count) + 1) + 2


@given(st.integers(1, 200), st.integers(0, 40), st.sets(st.integers(0, 199), max_size=2))
def test_nothing_is_blamed_that_was_not_bad_whenever_an_outage_begins(count, served, bad):
    server = Server(sorted(bad), down_after=served)
    suspects: list[int] = []

    def alone(number: int, error: Unavailable) -> list[str]:
        suspects.append(number)
        return []

    try:
        read(server, range(count), alone=alone, witness=server.witness)
    except Down:
        assert len(server.asked) - served <= 2 * PROBES + 3, "an outage costs few further requests"
    assert set(suspects) <= bad


def test_an_outage_costs_two_further_requests():
    server = Server(down_after=0)
    with pytest.raises(Down):
        read(server, range(100))
    assert [len(each) for each in server.asked] == [100, 1, 1]


def test_if_no_item_is_served_it_is_an_outage_even_if_the_witness_is():
    with pytest.raises(Down):
        read(server := Server(range(50)), range(50), witness=server.witness)


@pytest.mark.parametrize("count", [1, 2])
def test_of_very_few_items_all_may_be_culprits_if_the_witness_is_served(count):
    server = Server(range(count))
    assert read(server, range(count), witness=server.witness) == [f"{n} cannot serve this" for n in range(count)]
    with pytest.raises(Down):
        read(Server(range(count)), range(count))


def test_an_item_that_failed_by_chance_is_not_blamed():
    server = Server([3])
    heals = server.ask

    def ask(numbers: Sequence[int]) -> list[str]:
        if numbers == [3] and [3] in server.asked:
            server.bad.clear()
        return heals(numbers)

    server.ask = ask
    assert read(server, list(range(8))) == [f"row {n}" for n in range(8)]


def test_without_alone_the_error_of_the_culprit_is_raised():
    with pytest.raises(Down):
        read(Server([2]), range(8), alone=None)


def test_an_error_that_proves_service_blames_at_once():
    server = Server([0], error=Down)
    assert read(server, range(2), certain=(Down,)) == ["0 cannot serve this", "row 1"]
    assert server.asked == [[0, 1], [0], [1]]


def test_other_errors_and_pauses_are_raised_at_once():
    for error in (Unauthorized("no"), Malformed("odd"), Down("wait", pause_until=NOW)):
        asked = []

        def ask(numbers: Sequence[int], error=error, asked=asked) -> list[str]:
            asked.append(numbers)
            raise error

        with pytest.raises(type(error)):
            in_halves(range(9), ask, too_much=(Down,), alone=blamed)
        assert len(asked) == 1


@given(st.integers(0, 12), st.sets(st.integers(0, 255), min_size=1, max_size=40))
def test_a_budget_bounds_the_requests_and_what_is_left_is_blamed_in_a_block(most, bad):
    server, budget = Server(sorted(bad)), Budget(most)
    try:
        found = read(server, range(256), budget=budget)
    except Down:
        return
    assert set(found) >= {f"{n} cannot serve this" for n in bad}
    assert len(found) == 256
    assert len(server.asked) <= 1 + most + 3 * (PROBES + 1) * (most + 2)


def test_a_budget_that_is_used_up_divides_nothing_more():
    server, budget = Server([7]), Budget(0)
    found = read(server, range(8), budget=budget)
    assert found == [f"{n} cannot serve this" for n in range(8)]
    assert sorted(map(len, server.asked))[-2:] == [8, 8], "it is asked once more, whole"


class Refused(Unavailable):
    """The CRM refuses an item."""


def test_no_budget_lets_a_certain_error_blame_a_neighbour():
    server, errors = Server([7], error=Refused), []

    def alone(number: int, error: Unavailable) -> list[str]:
        errors.append((number, type(error)))
        return []

    wanted = {"too_much": (Down, Refused), "certain": (Refused,), "alone": alone}
    found = in_halves(range(32), server.ask, budget=Budget(0), **wanted)
    assert found == [f"row {n}" for n in range(32) if n != 7]
    assert errors == [(7, Refused)]
    errors.clear()
    down = Server([3])

    def ask(numbers: Sequence[int]) -> list[str]:
        return (server if len(down.asked) > 2 and 7 in numbers else down).ask(numbers)

    in_halves(range(32), ask, budget=Budget(0), **wanted)
    assert {kind for number, kind in errors if number != 7} == {Down}


def test_a_budget_bounds_the_time_too():
    server, at = Server(range(0, 256, 7)), [0.0]
    budget = Budget(1000, 300, monotonic=lambda: at[0])

    def ask(numbers: Sequence[int]) -> list[str]:
        at[0] += 30
        return server.ask(numbers)

    found = in_halves(range(256), ask, too_much=(Down,), alone=blamed, budget=budget)
    assert len(found) == 256
    assert budget.is_used_up
    assert at[0] < 300 + 30 * 3 * 16, "the parts that are left are judged"


class Kept:
    """A connector's store."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str, *, max_age: timedelta | None = None) -> Any:
        return self.values.get(key)

    def put(self, key: str, value: Any) -> None:
        self.values[key] = value


def run(store: Kept, works: int, requests: int = 20) -> list[int]:
    """Make requests of a pass to a server for which only sizes up to `works` are not too much."""
    size, tried = AdaptiveSize(store, "rows", 200), []
    for _ in range(requests):
        tried.append(size.size)
        if size.size > works:
            size.was_too_much(size.size)
        else:
            size.was_enough(size.size)
    return tried


def test_the_size_that_works_is_found_remembered_and_grows_again():
    store = Kept()
    assert run(store, 100, 4) == [200, 100, 100, 100]
    assert store.values == {"rows": 100}
    assert run(store, 100, 4) == [100, 200, 100, 100], "each pass tries one larger size"
    assert run(store, 1000, 3) == [100, 200, 200]
    assert store.values == {"rows": None}


@given(st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_no_pass_tries_a_size_again_that_failed_in_it(limits):
    store = Kept()
    for works in limits:
        tried = run(store, works)
        failed = [size for size in tried if size > works]
        assert len(failed) == len(set(failed))
        assert all(later < each for at, each in enumerate(tried) if each > works for later in tried[at + 1 :])
        assert tried[-1] <= works


@pytest.mark.parametrize(("kept", "size"), [(None, 200), (True, 200), ("9", 200), (7, 10), (999, 200), (50, 50)])
def test_an_odd_kept_size_is_ignored_or_limited(kept, size):
    store = Kept()
    store.put("rows", kept)
    assert AdaptiveSize(store, "rows", 200, least=10).size == size


def test_a_smaller_request_proves_nothing_and_the_least_stays():
    size = AdaptiveSize(store := Kept(), "rows", 200, least=80)
    size.was_too_much(200)
    size.was_too_much(100)
    assert size.size == 80
    size = AdaptiveSize(store, "rows", 200, least=80)
    size.was_enough(79)
    assert size.size == 80


class Crm:
    """Serves pages of rows. `fails` tells whether a request for so many rows fails, and `now` how."""

    def __init__(self, store: Kept, fails: Any, *, timed_out: bool = False) -> None:
        self.rows = TriedSize(AdaptiveSize(store, "rows", 200))
        self.fails = fails
        self.timed_out = timed_out
        self.tried: list[int] = []

    def page(self, *, full: bool = True) -> int | None:
        """Return the rows of a page, or None after three tries."""
        for _ in range(3):
            self.tried.append(self.rows.now)
            if not self.fails(self.rows.now):
                served = self.rows.now
                self.rows.served(full=full)
                return served
            self.rows.failed(timed_out=self.timed_out)
        self.rows.gave_up()
        return None


def test_a_time_out_halves_at_once_and_another_failure_after_two():
    crm = Crm(Kept(), lambda rows: rows > 100, timed_out=True)
    assert [crm.page() for _ in range(3)] == [100, 100, 100]
    assert crm.tried == [200, 100, 100, 100]
    crm = Crm(Kept(), lambda rows: rows > 100)
    assert [crm.page() for _ in range(3)] == [50, 100, 100]
    assert crm.tried == [200, 200, 50, 100, 100]


def test_one_failure_by_chance_makes_nothing_smaller():
    chance = iter([True, *[False] * 9])
    crm = Crm(store := Kept(), lambda rows: next(chance))
    assert [crm.page() for _ in range(3)] == [200, 200, 200]
    assert store.values == {}


def test_failures_now_and_then_do_not_end_with_tiny_pages():
    numbers = iter(range(10_000))
    crm = Crm(Kept(), lambda rows: next(numbers) % 50 == 49, timed_out=True)
    assert sum(filter(None, (crm.page() for _ in range(1000)))) > 195 * 1000


def test_a_size_that_has_worked_is_too_much_once_two_requests_in_a_row_fail_with_it():
    limits = iter([1000] * 5)
    crm = Crm(Kept(), lambda rows: rows > next(limits, 100), timed_out=True)
    assert [crm.page() for _ in range(8)] == [200] * 5 + [100] * 3
    assert crm.tried[5:] == [200, 100, 200, 100, 100]


def test_a_larger_size_is_tried_once_a_pass():
    store = Kept()
    store.put("rows", 100)
    crm = Crm(store, lambda rows: rows > 100)
    assert [crm.page() for _ in range(4)] == [100, 100, 100, 100]
    assert crm.tried == [100, 200, 100, 100, 100]


def test_a_page_that_is_not_full_proves_nothing():
    store = Kept()
    store.put("rows", 25)
    crm = Crm(store, lambda rows: False)
    assert [crm.page(full=False) for _ in range(3)] == [25] * 3
    assert [crm.page() for _ in range(4)] == [25, 50, 100, 200]


def test_failures_of_any_size_leave_the_size_as_it_is():
    crm = Crm(store := Kept(), lambda rows: True)
    assert [crm.page() for _ in range(3)] == [None] * 3
    assert store.values == {}


def test_time_outs_of_any_size_let_the_next_pass_begin_smaller_and_it_grows_again():
    crm = Crm(store := Kept(), lambda rows: True, timed_out=True)
    assert [crm.page() for _ in range(3)] == [None] * 3
    assert store.values == {"rows": 25}
    crm.fails = lambda rows: False
    assert crm.page(full=False) == 200, "this pass goes on with its size"
    assert store.values == {"rows": 25}
    assert crm.page() == 200
    assert store.values == {"rows": None}
    store.put("rows", 25)
    crm = Crm(store, lambda rows: False)
    assert [crm.page() for _ in range(5)] == [25, 50, 100, 200, 200]
    assert store.values == {"rows": None}


@given(st.integers(1, 200))
def test_whatever_size_works_without_a_time_out_is_found_in_a_few_passes(works):
    store = Kept()
    for _ in range(5):
        crm = Crm(store, lambda rows: rows > works, timed_out=True)
        served = [crm.page() for _ in range(20)]
    assert None not in served[1:]
    assert 2 * max(filter(None, served)) > works / 2


@pytest.mark.parametrize("timed_out", [True, False])
def test_a_span_that_no_size_can_read_makes_the_rest_of_the_pass_no_slower(timed_out):
    store, poison = Kept(), 2_000
    position = 0
    crm = Crm(store, lambda rows: position <= poison < position + rows, timed_out=timed_out)
    while (served := crm.page()) is not None:
        position += served
    assert poison - position < 8, "smaller pages read up to it"
    position = poison + 1
    assert [crm.page() for _ in range(3)] == [200] * 3
    assert store.values in ({}, {"rows": None})
