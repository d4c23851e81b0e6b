"""Windows read to their end, against an org in memory: locators over a query's rows, which move while they are read."""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.salesforce import reading
from connectors.salesforce.reading import AT_ONCE, Read, read, strip_attributes, with_all_children
from connectors.salesforce.retry import LocatorGone, NotServed, QueryTimeout
from connectors.salesforce.seconds import AfterId, read_ref
from syncd.connector import Ref
from syncd.errors import Malformed


@pytest.fixture(autouse=True)
def no_transactions_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """These windows last seconds: within the longest transaction no page would be complete up to anything."""
    monkeypatch.setattr(reading, "LONGEST_TRANSACTION", timedelta(0))


T0 = datetime(2026, 3, 1, 10, tzinfo=UTC)
NEVER = 10**9


def at(second: int) -> datetime:
    return T0 + timedelta(seconds=second)


def second(moment: datetime) -> int:
    return round((moment - T0).total_seconds())


class Row(dict[str, Any]):
    """A row that can be watched for being let go of."""

    __slots__ = ("__weakref__",)


@dataclass
class Org:
    """Answer queries as Salesforce does: a query fixes the rows and their order. A page shows their present values."""

    page: int = 3
    live: bool = True  # pages show rows as they are then; otherwise as of the query
    stamps: dict[int, int] = field(default_factory=dict)  # id -> SystemModstamp, seconds after T0
    windows: list[tuple[int, int]] = field(default_factory=list)  # as asked
    too_many: int = NEVER  # rows that make a query time out
    before: Callable[[int], object] = lambda number: None  # told the number of each request, from 0
    fails: dict[int, Exception] = field(default_factory=dict)  # by request
    dead: set[str] = field(default_factory=set)  # locators
    living: list[weakref.ref[Row]] = field(default_factory=list)
    most: int = 0  # rows that were alive when a further page was asked for
    requests: int = 0
    poisoned: set[int] = field(default_factory=set)  # ids that no query can show
    by_id: list[tuple[int, int]] = field(default_factory=list)  # rows and OFFSET of each query for ids
    _snapshots: list[tuple[list[int], dict[int, int]]] = field(default_factory=list)

    def put(self, *ids: int, second: int) -> None:
        self.stamps.update(dict.fromkeys(ids, second))

    def ask(self, start: datetime, end: datetime) -> Any:
        self._begin()
        low, high = second(start), second(end)
        self.windows.append((low, high))
        found = sorted((stamp, crm_id) for crm_id, stamp in self.stamps.items() if low <= stamp <= high)
        if len(found) > self.too_many:
            raise QueryTimeout("Salesforce, calls: QUERY_TIMEOUT")
        if self.poisoned & {crm_id for _, crm_id in found}:
            raise NotServed("Salesforce, calls: UNKNOWN_EXCEPTION")
        self._snapshots.append(([crm_id for _, crm_id in found], dict(self.stamps)))
        return self._answer(len(self._snapshots) - 1, 0)

    def more(self, url: str) -> Any:
        self.living = [ref for ref in self.living if ref() is not None]
        self.most = max(self.most, len(self.living))
        self._begin()
        if url in self.dead:
            raise LocatorGone("Salesforce, calls: INVALID_QUERY_LOCATOR")
        snapshot, place = url.split("-")
        return self._answer(int(snapshot), int(place))

    def refs(self, moment: datetime) -> AfterId:
        """Answer queries for a second's ids, as Salesforce does: after an id, with LIMIT and OFFSET."""

        def after_id(after: str, most: int, skip: int) -> Any:
            self._begin()
            ids = sorted(each for each, stamp in self.stamps.items() if stamp == second(moment))
            ids = [each for each in ids if not after or each > int(after)][skip : skip + most]
            self.by_id.append((len(ids), skip))
            if set(ids) & self.poisoned:
                raise NotServed("Salesforce, calls: UNKNOWN_EXCEPTION")
            granted = [{"Id": f"{each:018}", "SystemModstamp": moment.isoformat()} for each in ids[: self.page]]
            return {"totalSize": len(ids), "done": len(ids) <= self.page, "records": granted}

        return after_id

    def _begin(self) -> None:
        number, self.requests = self.requests, self.requests + 1
        assert number < 5_000, "it goes on for ever"
        self.before(number)
        if number in self.fails:
            raise self.fails.pop(number)

    def _answer(self, snapshot: int, place: int) -> Any:
        ids, stamps = self._snapshots[snapshot]
        shown = self.stamps if self.live else stamps
        rows = [Row(Id=f"{crm_id:018}", SystemModstamp=at(shown[crm_id]).isoformat())
                for crm_id in ids[place : place + self.page] if crm_id in self.stamps]  # fmt: skip
        self.living += [weakref.ref(row) for row in rows]
        ends = place + self.page >= len(ids)
        following = {} if ends else {"nextRecordsUrl": f"{snapshot}-{place + self.page}"}
        return {"totalSize": len(ids), "done": ends, "records": rows, **following}

    def read(self, since: int, until: int, *, at_most: timedelta = timedelta(days=999)) -> Iterator[Read]:
        return read(self.ask, self.more, self.refs, since=at(since), until=at(until), at_most=lambda: at_most)


def ids_of(reads: Iterator[Read] | list[Read]) -> list[int]:
    return [int(ref.crm_id) for found in reads for ref in (*(ref for ref, _ in found.rows), *found.unread)]


def collect(reads: Iterator[Read], into: list[Read]) -> None:
    """Gather the pages read. If a read fails, extend() would keep none of them."""
    for found in reads:
        into.append(found)  # noqa: PERF402


def filled(count: int, *, each: int = 1, **how: Any) -> Org:
    """Make an org with `each` rows a second. Ids rise with time."""
    org = Org(**how)
    for number in range(count):
        org.put(number, second=number // each)
    return org


# -- a quiet window ---------------------------------------------------------------------


def test_an_empty_window_costs_one_query_and_is_complete_to_its_end() -> None:
    org = Org()
    assert list(org.read(0, 60)) == [Read([], at(60), last=True)]
    assert org.windows == [(0, 60)]


def test_everything_is_read_once_in_order() -> None:
    org = filled(100)
    reads = list(org.read(0, 99))
    assert ids_of(reads) == list(range(100))
    assert (org.windows, org.requests) == ([(0, 99)], 34)


def test_both_ends_are_inclusive() -> None:
    assert ids_of(filled(10).read(3, 6)) == [3, 4, 5, 6]


def test_ends_are_whole_seconds_as_stamps_are() -> None:
    org = filled(10)
    microseconds = timedelta(microseconds=900_000)
    found = read(org.ask, org.more, org.refs, since=at(3) + microseconds, until=at(6) + microseconds)
    assert ids_of(found) == [3, 4, 5, 6]
    assert org.windows == [(3, 6)]


def test_a_window_that_ends_before_it_begins_is_not_asked_for() -> None:
    """A clock was set back. The engine still hears how far it has read."""
    org = filled(10)
    assert list(org.read(6, 5)) == [Read((), at(5), last=True)]
    assert org.requests == 0


def test_a_window_of_one_second_is_read() -> None:
    assert ids_of(filled(9, each=3).read(1, 1)) == [3, 4, 5]


def test_ties_over_pages_are_read_once_each() -> None:
    org = filled(40, each=10)
    reads = list(org.read(0, 3))
    assert ids_of(reads) == list(range(40))


def test_fifteen_thousand_rows_and_more_of_one_second() -> None:
    org = Org(page=2_000)
    org.put(*range(15_500), second=5)
    org.put(99_999, second=6)
    reads = list(org.read(0, 60))
    assert ids_of(reads) == [*range(15_500), 99_999]
    assert org.windows == [(0, 60)]


def test_a_page_is_handed_on_in_parts_of_at_most_a_thousand() -> None:
    org = filled(4_500, page=2_000)
    reads = list(org.read(0, 4_499))
    assert [len(found.rows) for found in reads] == [1_000, 1_000, 1_000, 1_000, 500]
    assert AT_ONCE == 1_000
    assert [second(found.complete_until) for found in reads] == [999, 1_999, 2_999, 3_999, 4_499]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9, 1_000, 2_001])
@pytest.mark.parametrize("page", [3, 2_000])
def test_the_last_read_is_marked_and_no_other(count: int, page: int) -> None:
    reads = list(filled(count, page=page).read(0, 5_000))
    assert [found.last for found in reads] == [False] * (len(reads) - 1) + [True]
    assert reads[-1].complete_until == at(5_000)


def test_pages_that_everything_was_deleted_of_are_passed_over() -> None:
    org = filled(9)
    org.before = lambda number: org.stamps.clear() if number == 1 else None
    reads = list(org.read(0, 8))
    assert ids_of(reads) == [0, 1, 2]
    assert [found.last for found in reads] == [True]


def test_a_page_in_the_middle_that_everything_was_deleted_of_does_not_end_it() -> None:
    org = filled(9)
    org.before = lambda number: [org.stamps.pop(each) for each in (3, 4, 5)] if number == 1 else None
    reads = list(org.read(0, 60))
    assert ids_of(reads) == [0, 1, 2, 6, 7, 8]
    assert [second(found.complete_until) for found in reads] == [2, 60]


def test_not_more_than_two_pages_are_held() -> None:
    org = filled(600, page=20)
    for _ in org.read(0, 600):
        pass
    assert 20 <= org.most <= 40


# -- up to when a page is complete -------------------------------------------------------


def test_a_page_is_complete_up_to_the_times_shown_after_it_and_no_further() -> None:
    reads = list(filled(9).read(0, 60))
    assert [second(found.complete_until) for found in reads] == [2, 5, 60]


def test_a_row_that_shows_a_later_time_does_not_complete_what_comes_after_it() -> None:
    """The last row of the second page was changed by a transaction that began before the query and ended after it."""
    org = filled(9)
    org.before = lambda number: org.put(5, second=7) if number == 1 else None
    reads = list(org.read(0, 60))
    assert [second(found.complete_until) for found in reads] == [2, 6, 60]


def test_a_part_of_a_page_is_complete_no_further_than_what_the_next_part_shows() -> None:
    org = filled(4_000, page=2_000)
    org.before = lambda number: org.put(2_999, second=3_500) if number == 1 else None
    assert [second(found.complete_until) for found in org.read(0, 3_999)] == [999, 1_999, 3_000, 3_999]


def test_rows_edited_after_the_query_hold_nothing_up() -> None:
    org = filled(9)
    org.before = lambda number: org.put(3, second=90) if number == 1 else None
    assert [second(found.complete_until) for found in org.read(0, 60)] == [2, 5, 60]


@pytest.mark.parametrize("edited_at", [60, 90])
def test_pages_edited_as_a_whole_after_the_query_complete_nothing_after_them(edited_at: int) -> None:
    """A mass update runs over the rows in our order: 3 to 8 move to the window's last second, in which the query may
    be made too, or out of it; 9 to 11 are still to come.
    """
    org = filled(12)
    org.before = lambda number: org.put(*range(3, 9), second=edited_at) if number == 1 else None
    reads = org.read(0, 60)
    next(reads)
    found = next(reads)
    assert [int(ref.crm_id) for ref, _ in found.rows] == [3, 4, 5]
    assert second(found.complete_until) < 9


def test_a_crash_in_the_middle_of_a_mass_update_loses_nothing() -> None:
    org = filled(12)
    org.before = lambda number: org.put(*range(3, 9), second=90) if number == 1 else None
    reads = org.read(0, 60)
    seen = [next(reads), next(reads)]
    org.before = lambda number: None
    assert set(ids_of(seen)) | set(ids_of(org.read(watermark(seen), 100))) == set(range(12))


def watermark(reads: list[Read], *, start: int = 0) -> int:
    """Return the engine's watermark: the greatest time booked, but never beyond `complete_until`."""
    reached = start
    for found in reads:
        if found.rows:
            reached = max(
                reached, min(max(second(ref.modified_at) for ref, _ in found.rows), second(found.complete_until))
            )
    return reached


def assert_complete(org: Org, reads: list[Read], before: dict[int, int], moved: set[int]) -> None:
    """Assert that each unmoved row earlier than `complete_until` is in its page or an earlier one."""
    seen: set[int] = set()
    for found in reads:
        seen |= {int(ref.crm_id) for ref, _ in found.rows}
        until = second(found.complete_until) + found.last
        assert {each for each, stamp in before.items() if stamp < until} - moved <= seen


WINDOW = 30
STAMPS = st.lists(st.integers(0, WINDOW), max_size=40)
MOVES = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 39), st.sampled_from(["delete", "late", "new"])),
                 max_size=10)  # fmt: skip


def move(org: Org, moves: list[tuple[int, int, str]], moved: set[int]) -> Callable[[int], None]:
    """Return an action for each request: rows vanish, or rows appear with times that are long past."""

    def before(number: int) -> None:
        for when, crm_id, how in moves:
            if when != number:
                continue
            if how == "new":  # a transaction that began before the query commits after it: the overlap's affair
                org.put(1_000 + crm_id, second=crm_id % (WINDOW + 1))
            elif crm_id in org.stamps:
                moved.add(crm_id)
                if how == "delete":
                    del org.stamps[crm_id]
                else:
                    org.stamps[crm_id] = min(WINDOW, org.stamps[crm_id] + 1 + number)

    return before


@pytest.mark.parametrize("spared", [True, False])
@settings(max_examples=150)
@given(stamps=st.lists(st.integers(0, WINDOW), min_size=10, max_size=40), page=st.integers(1, 5), live=st.booleans(),
       edits=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 30), st.integers(1, 15)), min_size=1, max_size=4),
       crash=st.integers(1, 12))  # fmt: skip
def test_edits_between_pages_lose_nothing_whatever_crashes(
    spared: bool, stamps: list[int], page: int, live: bool, crash: int, edits: list[tuple[int, int, int]]
) -> None:
    """Before some request some rows in a row are edited, as a mass update does; `spared`: but one of each page."""
    org = Org(page=page, live=live)
    for crm_id, stamp in enumerate(stamps):
        org.put(crm_id, second=stamp)
    before = dict(org.stamps)
    order = [crm_id for _, crm_id in sorted((stamp, crm_id) for crm_id, stamp in before.items())]
    still = {order[place] for place in range(0, len(order), page)} if spared else set()
    moved = {crm_id for _, first, count in edits for crm_id in order[first : first + count]} - still

    def edit(number: int) -> None:
        for when, first, count in edits:
            if when == number:
                org.put(*set(order[first : first + count]) - still, second=WINDOW + 60 + number)

    org.before = edit
    reads = []
    for count, found in enumerate(org.read(0, WINDOW), 1):
        reads.append(found)
        assert_complete(org, reads, before, moved)
        if count == crash:
            break
    org.before = lambda number: None
    later = ids_of(org.read(watermark(reads), WINDOW + 100))
    assert set(before) <= set(ids_of(reads)) | set(later)


@settings(max_examples=150)
@given(stamps=STAMPS, page=st.integers(2, 7), moves=MOVES, crash=st.integers(1, 12))
def test_late_commits_and_deletions_lose_nothing_that_was_there(
    stamps: list[int], page: int, moves: list[tuple[int, int, str]], crash: int
) -> None:
    """Stamps that are long past when they appear: at most as many as leave one on each page where it was."""
    org = Org(page=page)
    for crm_id, stamp in enumerate(stamps):
        org.put(crm_id, second=stamp)
    before = dict(org.stamps)
    order = [crm_id for _, crm_id in sorted((stamp, crm_id) for crm_id, stamp in before.items())]
    still = {order[place] for place in range(0, len(order), page)}
    moved: set[int] = set()
    org.before = move(org, [each for each in moves if each[2] == "new" or each[1] not in still], moved)
    reads = []
    for count, found in enumerate(org.read(0, WINDOW), 1):
        reads.append(found)
        assert_complete(org, reads, before, moved)
        if count == crash:
            break
    org.before = lambda number: None
    later = ids_of(org.read(watermark(reads), WINDOW))
    assert {each for each in before if each in org.stamps} <= set(ids_of(reads)) | set(later)


@pytest.mark.parametrize("crash", range(1, 8))
def test_a_crash_after_any_page_loses_nothing_without_any_overlap(crash: int) -> None:
    """Ties stand on both sides of each page's edge."""
    org = filled(20, each=4)
    reads = [found for found, _ in zip(org.read(0, 60), range(crash), strict=False)]
    later = ids_of(org.read(watermark(reads), 60))
    assert set(ids_of(reads)) | set(later) == set(range(20))


# -- locators that die ------------------------------------------------------------------


def test_a_locator_that_dies_once_costs_a_query_from_where_all_is_certain() -> None:
    org = filled(20)
    org.fails[3] = LocatorGone("gone")
    reads = list(org.read(0, 19))
    assert ids_of(reads) == list(range(20)), "none comes twice"
    assert org.windows == [(0, 19), (5, 19)]  # two pages were handed on, the third was held back
    assert [found.last for found in reads].count(True) == 1
    assert reads[-1].last


def test_a_further_page_that_fails_costs_a_query_from_where_all_is_certain() -> None:
    """The failure may be the page's size. If the next query fails too, that is an error."""
    org = filled(20)
    org.fails[3] = NotServed("504")
    reads = list(org.read(0, 19))
    assert ids_of(reads) == list(range(20))
    assert org.windows == [(0, 19), (5, 19)]
    org.fails = {number: NotServed("504") for number in range(org.requests + 3, 99)}
    asked = org.requests
    with pytest.raises(NotServed):
        list(org.read(0, 19))
    assert org.requests - asked == 5


def test_a_further_page_that_asks_for_a_pause_ends_the_reading() -> None:
    org = filled(20)
    org.fails[3] = NotServed("503", pause_until=T0)
    with pytest.raises(NotServed):
        list(org.read(0, 19))
    assert org.requests == 4


def test_what_was_read_of_a_second_does_not_come_again_by_id() -> None:
    org = filled(0)
    org.put(*range(12), second=5)
    org.fails[3] = LocatorGone("gone")
    assert ids_of(org.read(5, 5)) == list(range(12))
    assert org.windows == [(5, 5)]


def test_a_locator_that_dies_after_a_row_showed_a_later_time_loses_nothing_behind_it() -> None:
    org = filled(15)
    org.before = lambda number: org.put(5, second=11) if number == 1 else None
    org.fails[3] = LocatorGone("gone")
    assert set(ids_of(org.read(0, 60))) == set(range(15))
    assert org.windows == [(0, 60), (6, 60)]


def test_a_locator_that_dies_in_a_mass_update_does_not_cost_what_was_certain_before() -> None:
    org = filled(15)
    org.before = lambda number: org.put(6, 7, 8, second=90) if number == 2 else None
    org.fails[3] = LocatorGone("gone")
    assert set(ids_of(org.read(0, 60))) == set(range(15)) - {6, 7, 8}  # these are the next window's
    assert org.windows[1][0] >= 2


@pytest.mark.parametrize("dies", [True, False])
def test_a_transaction_that_moves_more_than_a_page_loses_nothing(monkeypatch: pytest.MonkeyPatch, dies: bool) -> None:
    """Stamped a minute before the window's end, committed after the query: its rows show a time within the window."""
    monkeypatch.setattr(reading, "LONGEST_TRANSACTION", timedelta(seconds=200))
    org = filled(60, page=10)
    org.before = lambda number: org.put(*range(9, 20), second=940) if number == 1 else None
    if dies:
        org.fails[2] = LocatorGone("gone")
    reads: list[Read] = []
    collect(org.read(0, 1_000), reads)
    assert set(ids_of(reads)) == set(range(60))
    assert reads[0].complete_until == at(0), "rows that the transaction has moved complete nothing"


def test_within_the_longest_transaction_only_the_last_page_is_complete_up_to_its_end() -> None:
    org = filled(30, page=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "LONGEST_TRANSACTION", timedelta(minutes=15))
        reads = list(org.read(0, 60))
    assert [found.complete_until for found in reads] == [at(0), at(0), at(60)]


def test_locators_that_die_at_every_other_page_are_outrun() -> None:
    org = filled(30)
    for request in range(2, 60, 3):
        org.fails[request] = LocatorGone("gone")
    assert set(ids_of(org.read(0, 29))) == set(range(30))


class Forgetful(Org):
    """An org whose locators never live."""

    def more(self, url: str) -> Any:
        raise LocatorGone("gone")


def test_locators_that_always_die_are_done_without_by_halving() -> None:
    """If a second does not fit into one page, it is read by Id."""
    org = Forgetful(page=3)
    for number in range(40):
        org.put(number, second=number)
    reads = list(org.read(0, 39))
    assert ids_of(reads) == list(range(40))
    assert [found.last for found in reads].count(True) == 1
    assert reads[-1].complete_until == at(39)
    assert org.by_id == []
    org.put(*range(100, 104), second=7)
    reads = list(org.read(0, 39))
    assert sorted(ids_of(reads)) == [*range(40), *range(100, 104)]
    assert org.by_id, "one second"
    assert (reads[-1].last, reads[-1].complete_until) == (True, at(39))


def test_twenty_thousand_rows_of_one_second_are_read_by_id_if_locators_never_live() -> None:
    org = Forgetful(page=2_000)
    org.put(*range(20_000), second=5)
    reads = list(org.read(5, 5))
    assert ids_of(reads) == list(range(20_000))
    assert org.requests == 22, "a query and 20 pages by Id, the last of which is full"
    assert all(found.complete_until == at(5) for found in reads), "the second is complete with its last row"
    assert [found.last for found in reads] == [False] * (len(reads) - 1) + [True]


def test_a_second_is_read_by_id_however_few_rows_a_page_has() -> None:
    org = Forgetful(page=7)
    org.put(*range(100), second=5)
    assert ids_of(org.read(0, 60)) == list(range(100))


# -- rows that no query can show --------------------------------------------------------


def test_a_window_that_fails_is_not_halved_here() -> None:
    """The core cuts it, for every connector."""
    org = filled(10)
    org.poisoned = {4}
    with pytest.raises(NotServed):
        list(org.read(0, 9))
    assert (org.windows, org.by_id) == ([(0, 9)], [])


@pytest.mark.parametrize("poisoned", [{0}, {7}, {19}, {3, 4}, {2, 9, 17}, {18, 19}])
def test_of_a_second_all_is_read_but_the_rows_that_no_query_can_show(poisoned: set[int]) -> None:
    org = Org(page=5, poisoned=poisoned)
    org.put(*range(20), second=5)
    reads: list[Read] = []
    with pytest.raises(NotServed):
        collect(org.read(5, 5), reads)
    assert ids_of(reads) == sorted(set(range(20)) - poisoned)
    assert not any(found.last for found in reads), "the second is not complete"
    assert all(found.complete_until == at(5) for found in reads)
    assert org.requests < 60


def test_an_outage_in_one_second_costs_four_further_queries() -> None:
    org = Org(poisoned=set(range(20)))
    org.put(*range(20), second=5)
    with pytest.raises(NotServed):
        list(org.read(5, 5))
    assert org.requests == 5


def test_a_query_by_id_that_fails_once_hides_no_row() -> None:
    org = Forgetful(page=3)
    org.put(*range(10), second=5)
    org.fails = {number: NotServed("hiccup") for number in (2, 5, 7)}
    assert ids_of(org.read(5, 5)) == list(range(10))


def test_many_rows_that_no_query_can_show_end_the_reading_of_their_second() -> None:
    org = Org(page=50, poisoned=set(range(1, 2_000, 2)))
    org.put(*range(2_000), second=5)
    with pytest.raises(NotServed):
        list(org.read(5, 5))
    assert org.requests < 100


@pytest.mark.parametrize("row", [{"Id": "0' OR Id != '", "SystemModstamp": at(5).isoformat()}, {"Id": f"{1:018}"}, {}])
def test_an_id_that_is_none_gets_into_no_query(row: dict[str, Any]) -> None:
    org = Org(poisoned={1})
    org.put(1, second=5)
    answers = iter([{"done": False, "records": [row]}])
    with pytest.raises(Malformed):
        list(read(org.ask, org.more, lambda _: lambda *_: next(answers), since=at(5), until=at(5)))


@pytest.mark.parametrize("records", [[], [{"Id": f"{1:018}", "SystemModstamp": at(5).isoformat()}]])
def test_ids_that_come_again_end(records: list[dict[str, str]]) -> None:
    org = Org(poisoned={1})
    org.put(1, second=5)
    with pytest.raises(Malformed):
        list(read(org.ask, org.more, lambda _: lambda *_: {"done": False, "records": records},
                  since=at(5), until=at(5)))  # fmt: skip


def test_a_pause_ends_the_reading_of_a_second() -> None:
    org = Org(poisoned={1})
    org.put(1, second=5)
    paused = NotServed("later", pause_until=T0)
    asked: list[int] = []

    def refuse(after: str, most: int, skip: int) -> Any:
        asked.append(most)
        raise paused

    with pytest.raises(NotServed):
        list(read(org.ask, org.more, lambda _: refuse, since=at(5), until=at(5)))
    assert asked == [1]


# -- windows that are too large ---------------------------------------------------------


def test_a_query_that_takes_too_long_is_asked_in_halves_that_leave_no_second_out() -> None:
    org = filled(100, too_many=30)
    reads = list(org.read(0, 99))
    assert ids_of(reads) == list(range(100))
    done = [window for window in org.windows if window[1] - window[0] < 30]
    assert (done[0][0], done[-1][1]) == (0, 99)
    assert all(first[1] + 1 == then[0] for first, then in pairwise(done))
    assert [found.last for found in reads].count(True) == 1
    assert reads[-1].last


@pytest.mark.parametrize("length", range(1, 12))
def test_every_window_can_be_halved_down_to_its_seconds(length: int) -> None:
    org = filled(length, too_many=1)
    assert ids_of(org.read(0, length - 1)) == list(range(length))
    assert [window for window in org.windows if window[0] == window[1]] == [(each, each) for each in range(length)]


def test_one_second_that_takes_too_long_is_read_by_id() -> None:
    org = filled(10, too_many=3)
    org.put(*range(100, 105), second=4)
    assert sorted(ids_of(org.read(0, 9))) == [*range(10), *range(100, 105)]
    assert org.windows.count((4, 4)) == 1


def test_what_was_read_before_an_error_was_handed_on_in_order() -> None:
    org = filled(10, too_many=3)
    org.put(*range(100, 105), second=4)
    org.poisoned = {4, *range(100, 105)}
    reads: list[Read] = []
    with pytest.raises(NotServed):
        collect(org.read(0, 9), reads)
    assert ids_of(reads) == [0, 1, 2, 3]
    assert not any(found.last for found in reads)


def test_a_page_that_takes_too_long_halves_what_is_left() -> None:
    org = filled(20)
    org.fails[3] = QueryTimeout("too long")
    reads = list(org.read(0, 19))
    assert set(ids_of(reads)) == set(range(20))
    assert org.windows == [(0, 19), (5, 12), (13, 19)]
    assert [found.last for found in reads].count(True) == 1


@pytest.mark.parametrize("seconds", [1, 2, 3, 7, 9, 10, 11, 60])
def test_a_long_window_is_asked_for_in_stretches_that_leave_no_second_out(seconds: int) -> None:
    org = filled(10)
    reads = list(org.read(0, 9, at_most=timedelta(seconds=seconds)))
    assert ids_of(reads) == list(range(10))
    assert (org.windows[0][0], org.windows[-1][1]) == (0, 9)
    assert all(then[0] == first[1] + 1 for first, then in pairwise(org.windows))
    assert all(end - start < seconds for start, end in org.windows)
    assert [found.last for found in reads] == [False] * (len(reads) - 1) + [True]


def test_a_stretch_that_takes_too_long_is_halved_before_the_next_is_asked_for() -> None:
    org = filled(12, too_many=3)
    reads = list(org.read(0, 11, at_most=timedelta(seconds=6)))
    assert ids_of(reads) == list(range(12))
    assert org.windows == [(0, 5), (0, 2), (3, 5), (6, 11), (6, 8), (9, 11)]


@settings(max_examples=100)
@given(stamps=st.lists(st.integers(0, 20), max_size=30), page=st.integers(1, 5), too_many=st.integers(0, 20),
       dies=st.sets(st.integers(1, 40), max_size=8))  # fmt: skip
def test_whatever_fails_on_the_way_everything_is_read(
    stamps: list[int], page: int, too_many: int, dies: set[int]
) -> None:
    org = Org(page=page, too_many=too_many)
    for crm_id, stamp in enumerate(stamps):
        org.put(crm_id, second=stamp)
    gone = {request: LocatorGone("gone") for request in dies}
    more = org.more

    def brittle(url: str) -> Any:
        if org.requests in gone:
            org.requests += 1
            raise gone.pop(org.requests - 1)
        return more(url)

    reads: list[Read] = []
    collect(read(org.ask, brittle, org.refs, since=at(0), until=at(20)), reads)
    assert set(ids_of(reads)) == set(org.stamps)
    assert [found.last for found in reads] == [False] * (len(reads) - 1) + [True]


# -- answers of another shape -----------------------------------------------------------


def answers(*pages: dict[str, Any]) -> tuple[Callable[[datetime, datetime], Any], Callable[[str], Any]]:
    left = iter(pages)
    return lambda start, end: next(left), lambda url: next(left)


def page(number: int, **more: Any) -> dict[str, Any]:
    row = {"Id": f"{number:018}", "SystemModstamp": at(number).isoformat()}
    return {"totalSize": 9, "done": False, "records": [row], **more}


def test_a_page_that_comes_again_is_noticed() -> None:
    ask, more = answers(page(1, nextRecordsUrl="/x-1"), page(2, nextRecordsUrl="/x-1"), page(2, done=True))
    with pytest.raises(Malformed, match="same page", check=lambda error: bool(error.hint)):
        list(read(ask, more, Org().refs, since=at(0), until=at(9)))


@pytest.mark.parametrize("url", [{}, {"nextRecordsUrl": None}, {"nextRecordsUrl": ""}, {"nextRecordsUrl": {}}])
def test_a_page_that_is_not_the_last_and_names_no_next_one_is_an_error(url: dict[str, Any]) -> None:
    ask, more = answers(page(1, **url))
    with pytest.raises(Malformed, match="no next one", check=lambda error: bool(error.hint)):
        list(read(ask, more, Org().refs, since=at(0), until=at(9)))


def test_a_last_page_ends_it_whatever_it_names() -> None:
    ask, more = answers(page(1, done=True, nextRecordsUrl="/x-1"))
    assert ids_of(read(ask, more, Org().refs, since=at(0), until=at(9))) == [1]


@pytest.mark.parametrize(
    "row",
    [
        {}, {"Id": "1"}, {"SystemModstamp": "2026-03-01T10:00:00Z"}, {"Id": "1", "SystemModstamp": "soon"},
        {"Id": None, "SystemModstamp": None},
    ],
)  # fmt: skip
def test_a_row_without_id_or_stamp_is_an_error(row: dict[str, Any]) -> None:
    with pytest.raises(Malformed, check=lambda error: bool(error.hint)):
        read_ref(row)


def test_a_row_is_read_as_salesforce_writes_it() -> None:
    row = {"Id": "00Tx0000001a2BcEAI", "SystemModstamp": "2026-03-01T10:00:07.000+0000"}
    assert read_ref(row) == Ref("00Tx0000001a2BcEAI", at(7))


# -- children ---------------------------------------------------------------------------


def kids(*numbers: int, following: str | None = None) -> dict[str, Any]:
    rest = {"nextRecordsUrl": following} if following else {}
    return {"totalSize": 9, "done": following is None, "records": [{"RelationId": each} for each in numbers], **rest}


def test_children_whose_page_was_full_are_fetched_to_the_last() -> None:
    further = {"/k-2": kids(3, 4, following="/k-4"), "/k-4": kids(5)}
    row = with_all_children({"Id": "1", "Kids": kids(1, 2, following="/k-2")}, further.__getitem__, "Kids")
    assert row["Id"] == "1"
    assert row["Kids"] == {"totalSize": 5, "done": True, "records": [{"RelationId": each} for each in range(1, 6)]}


@pytest.mark.parametrize("found", [None, {}, [], "x", kids(1, 2), {"records": []}])
def test_children_that_are_all_there_cost_nothing(found: Any) -> None:
    row = {"Id": "1", "Kids": found}
    assert with_all_children(row, pytest.fail, "Kids") is row
    assert with_all_children(row, pytest.fail, None) is row


def test_children_come_whole_out_of_a_window() -> None:
    first = page(1, done=True)
    first["records"][0]["Kids"] = kids(1, following="/k-1")
    ask, more = answers(first, kids(2))
    (found,) = read(ask, more, Org().refs, since=at(0), until=at(9), children="Kids")
    assert [each["RelationId"] for each in found.rows[0][1]["Kids"]["records"]] == [1, 2]


def test_children_that_are_not_all_and_name_no_next_page_are_an_error() -> None:
    with pytest.raises(Malformed, check=lambda error: bool(error.hint)):
        with_all_children({"Kids": {**kids(1), "done": False}}, pytest.fail, "Kids")


def test_children_whose_page_comes_again_are_an_error() -> None:
    asked: list[str] = []

    def more(url: str) -> Any:
        asked.append(url)
        assert len(asked) < 5, "it goes on for ever"
        return kids(1, following="/k-1")

    with pytest.raises(Malformed, check=lambda error: bool(error.hint)):
        with_all_children({"Kids": kids(1, following="/k-1")}, more, "Kids")


def test_a_childs_locator_that_dies_is_the_windows_affair() -> None:
    org = filled(6)
    row = page(1, done=True)
    row["records"][0]["Kids"] = kids(1, following="/k-1")
    died: list[str] = []

    def more(url: str) -> Any:
        if not died:
            died.append(url)
            raise LocatorGone("gone")
        return kids(2)

    (found,) = read(lambda start, end: row, more, org.refs, since=at(0), until=at(9), children="Kids")
    assert len(found.rows[0][1]["Kids"]["records"]) == 2
    assert org.requests == 0


def test_a_row_is_handed_on_without_what_is_half_of_its_memory():
    row = {
        "attributes": {"type": "Task", "url": "/x"}, "Id": "1",
        "Owner": {"attributes": {"type": "Name"}, "Name": "Ada"},
        "Who": {"attributes": {"type": "Contact"}, "Account": {"attributes": {"type": "Account"}, "Name": "Amber"}},
        "Account": None,
    }  # fmt: skip
    assert strip_attributes(row) == {
        "Id": "1",
        "Owner": {"Name": "Ada"},
        "Who": {"Account": {"Name": "Amber"}},
        "Account": None,
    }


def test_of_the_last_page_only_its_last_part_is_complete_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "AT_ONCE", 5)
    reads = list(filled(10, page=10).read(0, 60))
    assert [(found.complete_until, found.last) for found in reads] == [(at(4), False), (at(60), True)]


@pytest.mark.parametrize("records", [{}, {"records": None}])
def test_children_of_another_shape_are_no_crash(records: dict[str, Any]) -> None:
    row = {"Id": "1", "Children": {"done": False, "nextRecordsUrl": "x", **records}}
    with pytest.raises(Malformed):
        with_all_children(row, lambda url: {}, "Children")
