"""The window reader against an index in memory that moves, ties and lags as HubSpot's does."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.hubspot import mapping
from connectors.hubspot.search import (
    Group,
    SearchPage,
    Step,
    between,
    gather,
    read_ref,
    search_body,
    search_page,
    walk,
)
from syncd.connector import Ref
from syncd.errors import Malformed
from syncd.fields import from_ms, to_ms

START = 1_772_000_000_000


@dataclass
class Index:
    """Search as HubSpot does: sorted by the indexed values, showing the stored ones, ties in any order."""

    seed: int = 0
    indexed: dict[int, int] = field(default_factory=dict)  # id -> ms that filters and sorts go by
    stored: dict[int, int] = field(default_factory=dict)  # id -> ms that rows show
    queries: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    before: Callable[[int], None] = lambda number: None  # told each query's number, from 0

    def put(self, crm_id: int, ms: int) -> None:
        self.indexed[crm_id] = self.stored[crm_id] = ms

    def ask(self, filters: Sequence[dict[str, str]], sort: str, limit: int) -> SearchPage:
        self.before(len(self.queries))
        self.queries.append((tuple(f"{f['operator']} {f['value']}" for f in filters), sort))
        matching = [crm_id for crm_id in self.indexed if all(self._matches(crm_id, each) for each in filters)]
        random.Random(self.seed + len(self.queries)).shuffle(matching)
        matching.sort(key=lambda crm_id: crm_id if sort == "hs_object_id" else self.indexed[crm_id])
        rows = [(Ref(str(crm_id), from_ms(self.stored[crm_id])), {"id": crm_id}) for crm_id in matching[:limit]]
        return SearchPage(rows, len(matching) > limit)

    def _matches(self, crm_id: int, condition: dict[str, str]) -> bool:
        is_id = condition["propertyName"] == "hs_object_id"
        value, bound = (crm_id if is_id else self.indexed[crm_id]), int(condition["value"])
        return {"GTE": value >= bound, "LTE": value <= bound, "EQ": value == bound, "GT": value > bound}[
            condition["operator"]
        ]


def read(index: Index, *, since: int = START, until: int = START + 10_000, limit: int = 10) -> list[str]:
    steps = walk(index.ask, since=since, until=lambda: until, limit=limit)
    return [ref.crm_id for step in steps for ref, _ in step.rows]


def test_an_empty_window_costs_one_query():
    index = Index()
    assert read(index) == []
    assert index.queries == [((f"GTE {START}", f"LTE {START + 10_000}"), "hs_lastmodifieddate")]


def test_everything_is_read_once_in_order():
    index = Index()
    for number in range(1_000):
        index.put(number * 7 % 1_000 + 1, START + number)
    ids = read(index, limit=200)
    assert sorted(ids, key=int) == [str(number) for number in range(1, 1_001)]
    assert ids == [str(number * 7 % 1_000 + 1) for number in range(1_000)]
    assert len(index.queries) == 6  # 200 and four times 195, and the rest


def test_no_query_pages_by_offset_and_each_has_an_upper_bound_once_it_is_known():
    index, until = Index(), [None, START + 500]
    for number in range(60):
        index.put(number + 1, START + number * 20)
    steps = walk(index.ask, since=START, until=lambda: until[bool(index.queries)], limit=10)
    ids = [int(ref.crm_id) for step in steps for ref, _ in step.rows]
    assert ids == list(range(1, 27))  # up to START + 500
    assert len(index.queries[0][0]) == 1
    assert all(any(part == f"LTE {START + 500}" for part in query[0]) for query in index.queries[1:])


def test_rows_beyond_the_window_are_dropped_and_do_not_end_it():
    index, until = Index(), [None, START + 3]
    index.put(1, START)
    for number in range(2, 40):
        index.put(number, START + 100)
    index.before = lambda number: index.put(1, START + 2) if number == 1 else None
    index.put(1, START + 2)
    steps = list(walk(index.ask, since=START, until=lambda: until[bool(index.queries)], limit=10))
    assert [ref.crm_id for step in steps for ref, _ in step.rows] == ["1"]


def test_a_record_edited_between_two_pages_does_not_hide_its_neighbour():
    index = Index()
    for number in range(1, 101):
        index.put(number, START + number)
    # Each query finds the three records edited that were read last: offset paging would now skip three others.
    index.before = lambda number: [
        index.put(each, START + 50_000) for each in range(number * 5, number * 5 + 3) if each
    ]
    ids = read(index)
    assert {int(each) for each in ids} >= {each for each in index.stored if index.stored[each] < START + 10_000}
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("edited", [1, 2, 3, 4])
def test_a_row_that_shows_a_newer_time_than_it_was_sorted_by_does_not_make_us_jump(edited):
    index = Index()
    for number in range(1, 101):
        index.put(number, START + number)
    for number in range(10 - edited + 1, 11):  # the last rows of the first page, edited just now: the index lags
        index.stored[number] = START + 9_000 + number
    assert {int(each) for each in read(index)} == set(range(1, 101))


def test_a_whole_page_of_rows_edited_just_now_is_passed_by_halving():
    index = Index()
    for number in range(1, 101):
        index.put(number, START + number)
    for number in range(11, 41):
        index.stored[number] = START + 90_000  # a bulk edit under way: beyond the window, still in their old places
    expected = {*range(1, 11), *range(41, 101)}
    assert {int(each) for each in read(index)} == expected
    assert len(index.queries) < 200


@pytest.mark.parametrize("seed", range(5))
def test_more_records_in_one_instant_than_a_query_can_page_through(seed):
    """10,000 in one millisecond, shrunk: pages of 10 and 137 equals, in another order on every request."""
    index = Index(seed)
    for number in range(1, 20):
        index.put(number, START + number)
    for number in range(1_000, 1_137):
        index.put(number, START + 20)
    for number in range(2_000, 2_020):
        index.put(number, START + 21 + number % 3)
    ids = read(index)
    assert len(ids) == len(set(ids))
    assert {int(each) for each in ids} == set(index.stored)
    assert any(query[1] == "hs_object_id" for query in index.queries)


def test_ten_thousand_and_more_in_one_millisecond():
    index = Index()
    for number in range(1, 10_501):
        index.put(number, START + 5)
    ids = read(index, limit=1_000)
    assert len(ids) == len(set(ids)) == 10_500


def test_a_search_that_ignores_the_filter_is_noticed():
    rows = [(Ref(str(number), from_ms(START)), {}) for number in range(10)]
    steps = walk(lambda *_: SearchPage(rows, True), since=START, until=lambda: START + 10, limit=10)
    with pytest.raises(Malformed, check=lambda error: bool(error.hint)):
        list(steps)


def test_a_window_that_begins_after_its_end_is_not_asked_for():
    index = Index()
    assert read(index, since=START + 1, until=START) == []
    assert index.queries == []


TIMES = st.lists(st.integers(0, 30), max_size=60)


@settings(max_examples=200, deadline=None)
@given(times=TIMES, limit=st.integers(1, 12), seed=st.integers(0, 9), data=st.data())
def test_nothing_that_stands_still_is_missed_whatever_moves(times, limit, seed, data):
    """Every record that keeps its place is read exactly once. Records edited meanwhile may come later."""
    index = Index(seed)
    for number, at in enumerate(times):
        index.put(number + 1, START + at)
    edits = data.draw(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 60), st.booleans()), max_size=12))

    def edit(number: int) -> None:
        for when, crm_id, lags in edits:
            if when == number and crm_id in index.stored:
                index.stored[crm_id] = START + 50_000
                if not lags:
                    index.indexed[crm_id] = START + 50_000

    index.before = edit
    ids = [int(each) for each in read(index, limit=limit)]
    edited = {crm_id for _, crm_id, _ in edits}
    assert len(ids) == len(set(ids))
    assert {each for each in index.stored if each not in edited} == {each for each in ids if each not in edited}


def steps_of(*pages: tuple[list[int], int]) -> Iterator[Step]:
    """Make steps of rows named and timed by their number, each with the time before which all was read."""
    for numbers, safe in pages:
        rows = [(Ref(str(number), from_ms(START + number)), {"id": str(number)}) for number in numbers]
        yield Step(rows, START + safe)


def all_of(refs: Sequence[Ref]) -> list[str]:
    return [ref.crm_id for ref in refs]


def ids_of(group: Group) -> tuple[list[int], list[int]]:
    return [int(ref.crm_id) for ref in group.refs], [int(ref.crm_id) for ref, _ in group.rows]


def test_a_group_is_cut_after_exactly_so_many_needed_records():
    groups = list(gather(steps_of(([1, 2, 3], 3), ([4, 5, 6], 6), ([7], 8)), all_of, group=3))
    assert [ids_of(group)[1] for group in groups] == [[1, 2, 3], [4, 5, 6], [7]]


def test_known_refs_ride_along_without_their_rows():
    groups = list(gather(steps_of(([1, 2, 3, 4], 4), ([5, 6], 7)), lambda refs: {"2", "5"}, group=2))
    assert [ids_of(group) for group in groups] == [([1, 2, 3, 4, 5], [2, 5]), ([6], [])]


def test_many_known_refs_make_a_page_too():
    groups = list(gather(steps_of((list(range(1, 8)), 8)), lambda refs: (), group=2, refs=3))
    assert [ids_of(group) for group in groups] == [([1, 2, 3], []), ([4, 5, 6], []), ([7], [])]


def test_a_group_never_holds_what_is_newer_than_what_is_not_yet_read():
    """An edited row shows up early with a late time, which would pass later rows as a watermark."""
    groups = list(gather(steps_of(([1, 90, 2], 2), ([3, 4], 4), ([5], 91)), all_of, group=2))
    assert [ids_of(group)[1] for group in groups] == [[1, 2], [3, 4], [5, 90]]


def test_a_full_group_waits_until_what_comes_before_it_is_read():
    groups = list(gather(steps_of(([80, 90], 2), ([3], 95)), all_of, group=2))
    assert [ids_of(group)[1] for group in groups] == [[3, 80], [90]]


def test_a_record_read_twice_in_a_group_counts_once_with_its_newer_time():
    old, new = (Ref("1", from_ms(START + at)) for at in (1, 5))
    steps = iter([Step([(old, {"v": 1})], START + 1), Step([(new, {"v": 2})], START + 6)])
    (group,) = gather(steps, all_of)
    assert group == Group([new], [(new, {"v": 2})])


def test_needed_is_asked_once_a_page_and_never_about_nothing():
    asked: list[list[str]] = []

    def needed(refs: Sequence[Ref]) -> list[str]:
        asked.append(all_of(refs))
        return []

    list(gather(steps_of(([1, 2], 2), ([], 3), ([3], 4)), needed))
    assert asked == [["1", "2"], ["3"]]


def test_bodies_stay_far_under_three_thousand_characters():
    filters = between(START, START + 1)
    sizes = [
        len(str(search_body(filters, "hs_lastmodifieddate", 200, each))) for each in (mapping.CALLS, mapping.EMAILS)
    ]
    assert max(sizes) < 1_200


def test_a_lower_bound_is_never_zero():
    assert between(0, None)[0]["value"] == "1000"


def test_the_last_page_is_told_by_paging_or_by_total():
    row = {"id": "1", "properties": {"hs_lastmodifieddate": "2026-03-01T10:30:00.123Z"}}
    at, following = from_ms(START), {"next": {"after": "1"}}
    assert search_page({"results": [row], "total": 2, "paging": following}, otherwise=at).more
    assert not search_page({"results": [row], "total": 1, "paging": following}, otherwise=at).more
    assert not search_page({"results": [row], "total": 2}, otherwise=at).more
    assert not search_page({"results": [], "total": 2, "paging": following}, otherwise=at).more


def test_a_rows_time_is_its_property_else_the_envelopes_else_where_it_was_found():
    at = from_ms(START)
    assert (
        to_ms(read_ref({"id": 7, "properties": {"hs_lastmodifieddate": str(START)}}, otherwise=at).modified_at) == START
    )
    updated = read_ref({"id": "7", "properties": None, "updatedAt": "2026-03-01T10:30:00.123456Z"}, otherwise=at)
    assert updated == Ref("7", datetime(2026, 3, 1, 10, 30, 0, 123000, tzinfo=UTC))
    assert read_ref({"id": "7"}, otherwise=at) == Ref("7", at)
    with pytest.raises(Malformed, check=lambda error: bool(error.hint)):
        read_ref({"properties": {}}, otherwise=at)
