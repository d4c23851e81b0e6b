"""A range that is read from its end: in whole slices, short where records are dense, and across kills."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from syncd.connector import Page
from syncd.errors import Exit
from syncd.ledger import Backfill, Ledger, LedgerHandle, Range, ranges
from syncd.ledger.backfills import continued
from syncd.passes import slices
from syncd.passes.intake import Intake
from syncd.passes.ranges import Ranges
from syncd.passes.windows import Span
from tests.conftest import Command
from tests.drops import Drop, call
from tests.poisoned import poisoned
from tests.world import World

DAY, SECOND, MS = timedelta(days=1), timedelta(seconds=1), timedelta(milliseconds=1)
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def span_of(read_to: datetime | None = None, *, newest_first: bool = True, **how: Any) -> Range:
    values = {"id": 1, "stream": "calls", "since": AT, "until": AT + 10 * DAY, "why": "backfill", **how}
    return Range(
        **values, read_to=read_to, last_error=None, attempts=0, next_attempt_at=None, created_at=AT,
        newest_first=newest_first,
    )  # fmt: skip


# -- slices ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read_to", "newest_first", "left", "share"),
    [
        (None, True, Span(AT, AT + 10 * DAY), 0.0),
        (AT + 4 * DAY, True, Span(AT, AT + 4 * DAY - MS), 0.6),
        (AT, True, None, 1.0),
        (None, False, Span(AT, AT + 10 * DAY), 0.0),
        (AT + 4 * DAY, False, Span(AT + 4 * DAY, AT + 10 * DAY), 0.4),
    ],
)
def test_what_is_left_of_a_range_and_the_share_that_is_read(
    read_to: datetime | None, newest_first: bool, left: Span | None, share: float
) -> None:
    this = span_of(read_to, newest_first=newest_first)
    assert slices.rest(this) == left
    assert ranges.share(this.since, this.until, read_to, newest_first=newest_first) == pytest.approx(share)
    assert ranges.share(AT, AT, AT, newest_first=newest_first) == 0.0


def counting(*times: datetime) -> Callable[[Span], int]:
    def count(span: Span) -> int:
        assert span.until is not None
        return sum(span.since <= at <= span.until for at in times)

    return count


def test_slices_cover_a_range_without_overlap_and_are_short_where_it_is_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_RECORDS", 10)
    dense = [AT + 5 * DAY + number * 30 * SECOND for number in range(200)]
    instant = [AT + 7 * DAY] * 50
    times = [*dense, *instant, *(AT + number * DAY for number in range(10))]
    left: Span | None = Span(AT, AT + 10 * DAY)
    length, found, asked = None, [], 0

    def count(span: Span) -> int:
        nonlocal asked
        asked += 1
        return counting(*times)(span)

    while left is not None:
        part = slices.newest(left, count, length=length)
        found.append(part)
        length = part.next_length()
        left = slices.rest(span_of(part.since))
    assert [a.since - MS for a in found[:-1]] == [b.until for b in found[1:]]
    assert (found[0].until, found[-1].since) == (AT + 10 * DAY, AT)
    assert sum(each.records for each in found) == len(times)
    assert [each.records for each in found if each.records > 10] == [51], "one second is read whole"
    assert asked < 3 * len(found), "a guess of the length spares counts"


# -- a span that is asked for again ------------------------------------------------------


def asked(since: datetime = AT, until: datetime = AT + 10 * DAY, *, newest_first: bool = True) -> Backfill:
    return Backfill("hubspot", "calls", since, until, newest_first)


@pytest.mark.parametrize(
    ("held", "wanted", "rule_changed", "found", "added"),
    [
        ([], asked(), False, 0, asked()),
        ([span_of()], asked(), True, 1, None),
        ([span_of(AT + DAY)], asked(), False, 1, None),
        ([span_of(AT + DAY)], asked(), True, 0, asked()),  # its first part was read under the old rule
        ([span_of(AT + DAY)], asked(newest_first=False), False, 0, asked(newest_first=False)),
        ([span_of()], asked(newest_first=False), False, 1, None),
        ([span_of(AT + DAY)], asked(until=AT + 11 * DAY), False, 1, asked(AT + 10 * DAY + MS, AT + 11 * DAY)),
        ([span_of(AT + DAY)], asked(AT - DAY), False, 0, asked(AT - DAY)),
        ([span_of(AT + DAY, why="start")], asked(), False, 0, asked()),
        (
            [span_of(since=AT + 10 * DAY + MS, until=AT + 11 * DAY), span_of(AT + DAY)],
            asked(until=AT + 11 * DAY), False, 2, None,
        ),
    ],
)  # fmt: skip
def test_a_span_asked_for_again_goes_on(
    held: list[Range], wanted: Backfill, rule_changed: bool, found: int, added: Backfill | None
) -> None:
    kept, new = continued(wanted, held, rule_changed=rule_changed)
    assert (len(kept), new) == (found, added)


# -- passes ------------------------------------------------------------------------------


@pytest.fixture
def small(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose pages, slices and share of a pass are small. It has made a pass."""
    monkeypatch.setattr("syncd.passes.ranges.RANGE_PAGES", 3)
    monkeypatch.setattr(slices, "SLICE_RECORDS", 4)
    monkeypatch.setattr("connectors.hubspot.search.gather.__kwdefaults__", {"group": 2, "refs": 10})
    world.configure("sources.hubspot", start=world.now() - 2 * DAY)
    world.call()
    world.sync()
    return world


def book(world: World, command: Command, *options: object) -> None:
    """Book a span for the next passes, as beside a daemon."""
    with LedgerHandle(world.ledger).hold("run"):
        ran = command("backfill", *options, "-c", world.write_config())
    assert (ran.code, "holds the ledger" in ran.out) == (0, True), ran.err


def backfill(world: World, command: Command, *, days: int = 30) -> None:
    since = (world.now() - timedelta(days=days)).date()
    book(world, command, "--since", since, "--newest-first")


def test_the_newest_records_come_first_and_the_range_moves_down(small: World, command: Command) -> None:
    old = [small.call(ago=timedelta(days=20 - number)) for number in range(16)]  # oldest first
    backfill(small, command)
    reads, positions, shares = [], [], []
    for _ in range(12):
        small.sync()
        reads.append([each in small.delivered for each in old])
        held = [each for each in small.status()["ranges"] if each["stream"] == "calls"]
        positions += [each["read_to"] for each in held]
        shares += [each["share"] for each in held]
        told = " ".join(command("status", "-c", small.config_file).out.split())
        assert all(f"read down to {each['read_to']}, {each['share']:.0%} of it" in told for each in held)
    assert all(had == sorted(had) for had in reads), "what is read is always the newest part"
    assert len({sum(had) for had in reads}) > 2, "in slices"
    assert reads[-1] == [True] * len(old)
    assert positions == sorted(positions, reverse=True)
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1
    assert small.status()["ranges"] == []
    assert small.recotap.doubled == 0


@pytest.mark.parametrize(
    ("write", "killed_at"),
    [*(("book", number) for number in (7, 8, 9, 11)), *(("range_read_to", number) for number in (3, 5))],
)
def test_a_slice_that_a_kill_cuts_short_is_read_again(
    small: World, command: Command, monkeypatch: pytest.MonkeyPatch, write: str, killed_at: int
) -> None:
    """The process dies while it books the n-th page or position, and its transaction with it."""
    monkeypatch.setattr("syncd.passes.ranges.RANGE_PAGES", 40)
    old = [small.call(ago=timedelta(days=4, minutes=-number)) for number in range(12)]
    backfill(small, command)
    steps, before = 0, getattr(Ledger, write)

    class Killed(BaseException):
        pass

    def dying(self: Ledger, *what: Any, **how: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == killed_at:
            raise Killed
        return before(self, *what, **how)

    monkeypatch.setattr(Ledger, write, dying)
    for _ in range(3):
        with suppress(Killed):
            small.sync()
        small.later(minutes=5)
    assert steps > killed_at
    assert set(old) <= small.delivered
    assert (small.status()["ranges"], small.status()["balanced"]) == ([], True)
    assert len(small.recotap.stored) == len(small.delivered)


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_second_at_the_end_that_is_not_served_holds_up_nothing(
    small: World, command: Command, newest_first: bool
) -> None:
    old = [small.call(ago=timedelta(days=4, minutes=-number)) for number in range(6)]
    bad = small.call(ago=timedelta(days=3, hours=5))
    at = small.now() - timedelta(days=3, hours=5)
    since, until = (small.now() - timedelta(days=30)).date(), (at + SECOND).isoformat()
    order = ["--newest-first"] if newest_first else []
    book(small, command, "--since", since, "--until", until, *order)
    with poisoned(small.hubspot, f'"{bad}"', path="calls/search", answers=True):
        for _ in range(14):
            outcome = small.sync()
            small.later(minutes=1)
        assert small.delivered >= {*old}
        assert bad not in small.delivered
        assert [each["why"] for each in small.status()["ranges"]] == ["gap"]
        assert outcome.exit_code == Exit.UNAVAILABLE
    small.later(days=1)
    small.sync()
    assert bad in small.delivered
    assert small.status()["ranges"] == []


def test_a_source_gives_way_between_two_slices_and_not_within_one(
    small: World, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a slice that takes longer than a turn would be begun again and again."""
    monkeypatch.setattr("syncd.passes.ranges.RANGE_PAGES", 40)
    old = {small.call(ago=timedelta(days=4, minutes=-number)) for number in range(12)}
    backfill(small, command)
    seen: list[str] = []
    page, read_slice = Intake.page, Ranges._whole
    slices_read = []

    def wanted_elsewhere(self: Intake, stream: str, read: Page, **how: Any) -> None:
        if how.get("in_slice"):
            seen.extend(ref.crm_id for ref in read.refs if ref.crm_id in old)
            self.channel.gives_way = len(seen) < 2 * len(old)
        page(self, stream, read, **how)

    def whole(self: Ranges, *what: Any) -> int:
        count = read_slice(self, *what)
        slices_read.append(count)
        return count

    monkeypatch.setattr(Intake, "page", wanted_elsewhere)
    monkeypatch.setattr(Ranges, "_whole", whole)
    with structlog.testing.capture_logs() as logged:
        small.sync()
    assert max(slices_read) > 1, "pages of one slice"
    assert sorted(seen) == sorted(old), "each record is listed once"
    assert "pull.gave_way" in [each["event"] for each in logged]
    assert old <= small.delivered


def test_files_that_were_filtered_are_read_again_from_the_latest_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE_RECORDS", 2)
    drop = Drop(tmp_path, calls={"match": [{"title": "Nothing"}]})
    for number in range(6):
        drop.file(f"{number}.jsonl", call(f"c{number}"))
        drop.file(f"kept-{number}.jsonl", call(f"k{number}", title="Nothing"))
        drop.sync()
    assert drop.states() == dict.fromkeys((f"k{number}" for number in range(6)), "delivered")
    drop.table["calls"] = {"match": [{"title": "*"}]}
    with LedgerHandle(drop.ledger).operate() as operator:
        start = drop.config.start
        operator.backfill([("files", "calls", start)], start, None, newest_first=True, now=drop.now())
    drop.sync()
    drop.sync()
    assert drop.states() == dict.fromkeys((f"{a}{number}" for a in "ck" for number in range(6)), "delivered")
    assert drop.sql("SELECT count(*) FROM ranges") == [(0,)]
