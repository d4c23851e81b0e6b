"""What is still to be read: an earlier start and gaps, in slices, after the windows, and across kills."""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.hubspot import HubSpot
from connectors.jsonl import Jsonl
from syncd import clock
from syncd.connector import Page, Window
from syncd.errors import Exit
from syncd.isolation import TriedSize
from syncd.ledger import Ledger
from syncd.passes import windows
from syncd.passes.windows import Span
from tests.campaigns.poison import Poison, Poisons, above
from tests.conftest import Command
from tests.drops import Drop, call
from tests.orgs import OrgWorld
from tests.poisoned import poisoned
from tests.world import START, World

DAY, SECOND, MS = timedelta(days=1), timedelta(seconds=1), timedelta(milliseconds=1)
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def later(start: datetime = START - 2 * DAY) -> dict[str, Any]:
    return {"start": start}


# -- an earlier start --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "configured", "watermark", "kept", "added"),
    [
        (None, AT, None, AT, None),
        (None, AT, AT + DAY, AT, None),  # an older ledger takes the first configuration's
        (AT, AT, AT + DAY, AT, None),
        (AT, AT + DAY, AT + 2 * DAY, AT, None),
        (AT, AT - DAY, AT + DAY, AT - DAY, Span(AT - DAY, AT - MS)),
        (AT, AT - DAY, None, AT - DAY, None),  # nothing is read yet: the window itself begins earlier
        (AT, AT + DAY, None, AT + DAY, None),
    ],
)
def test_the_start_that_a_stream_keeps_and_what_an_earlier_one_adds(
    known: datetime | None, configured: datetime, watermark: datetime | None, kept: datetime, added: Span | None
) -> None:
    assert windows.start_of(known=known, configured=configured, watermark=watermark) == kept
    assert windows.added_by(kept, known, watermark) == added


def test_what_an_earlier_start_adds_is_read(world: World) -> None:
    world.configure("sources.hubspot", start=START - 2 * DAY)
    old = [world.call(ago=timedelta(days=days)) for days in (3, 5)]
    older = world.email(ago=timedelta(days=9))
    new = world.call()
    world.sync()
    assert world.delivered == {new}
    watermark = world.stream()["watermark"]
    world.configure("sources.hubspot", start=START - 7 * DAY)
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == {new, *old}
    assert world.stream()["watermark"] == watermark, "a range moves no watermark"
    assert world.status()["ranges"] == [], "it is read to its end"
    with world.counted() as counted:
        world.sync()
    assert counted["search"] == 2, "nothing is left to read"
    world.configure("sources.hubspot", start=START - 10 * DAY)
    world.sync()
    assert world.delivered == {new, *old, older}


def test_a_later_start_and_the_same_one_again_read_nothing_twice(world: World) -> None:
    world.configure("sources.hubspot", start=START - 5 * DAY)
    world.call(ago=timedelta(days=4))
    world.sync()
    for days in (2, 5):
        world.configure("sources.hubspot", start=START - days * DAY)
        with world.counted() as counted:
            world.sync()
        assert counted["search"] == 2


def test_a_range_is_read_in_slices_after_the_windows(
    world: World, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.setattr("syncd.passes.ranges.RANGE_PAGES", 2)
    monkeypatch.setattr("connectors.hubspot.search.gather.__kwdefaults__", {"group": 3, "refs": 10})
    world.configure("sources.hubspot", start=START - 2 * DAY)
    old = [world.call(ago=timedelta(days=4, minutes=-number)) for number in range(15)]
    world.call()
    world.email()
    world.sync()
    world.configure("sources.hubspot", start=START - 7 * DAY)
    order: list[tuple[str, datetime]] = []
    fetch = HubSpot.fetch

    def watched(self: HubSpot, stream: str, window: Window) -> Iterator[Page]:
        order.append((stream, window.since))
        return fetch(self, stream, window)

    monkeypatch.setattr(HubSpot, "fetch", watched)
    reads = []
    for _ in range(9):
        fresh = world.call()
        order.clear()
        world.sync()
        assert fresh in world.delivered, "the window comes first"
        assert [since > START - 2 * DAY - SECOND for _, since in order[:2]] == [True, True]
        reads.append(len(world.delivered & set(old)))
        (mine,) = [each for each in world.status()["ranges"] if each["stream"] == "calls"] or [None]
        if mine is None:
            break
        assert mine["why"] == "start"
        assert mine["read_to"] > mine["since"]
    assert reads[-1] == len(old)
    assert reads == sorted(reads)
    assert len(reads) > 2, "in slices"
    assert max(b - a for a, b in zip([0, *reads], reads, strict=False)) <= 6


def test_check_names_what_an_earlier_start_adds_and_how_far_it_is_read(
    live: World, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the pass that adds it, while it is read, and no more once it is read to its end."""
    monkeypatch.setattr("syncd.passes.ranges.RANGE_PAGES", 2)
    monkeypatch.setattr("connectors.hubspot.search.gather.__kwdefaults__", {"group": 3, "refs": 10})
    now = live.now()

    def named() -> list[str]:
        ran = command("check", "-c", live.write_config())
        assert ran.code == 0, ran
        return [line.partition("range: ")[2] for line in ran.out.splitlines() if "hubspot: range: " in line]

    live.configure("sources.hubspot", start=now - 2 * DAY)
    old = [live.call(ago=timedelta(days=4, minutes=-number)) for number in range(15)]
    new, mail = live.call(), live.email()
    live.sync()
    assert (live.delivered, named()) == ({new, mail}, [])
    live.configure("sources.hubspot", start=now - 7 * DAY)
    told = [re.sub(r"(?<=:)[\d:.]+Z", "", line) for line in named()]
    since, until = (clock.text(at)[:14] for at in (now - 7 * DAY, now - 2 * DAY))
    assert told == [
        f"{stream} modified from {since} to {until}, by an earlier start: is added by the next pass"
        for stream in ("calls", "emails")
    ]
    live.sync()
    (mine,) = [each for each in live.status()["ranges"] if each["stream"] == "calls"]
    assert [line for line in named() if line.startswith("calls")] == [
        f"calls modified from {mine['since']} to {mine['until']}, by an earlier start: "
        + (f"is read up to {mine['read_to']}" if mine["read_to"] else "is not read yet")
    ]
    for _ in range(9):
        live.sync()
    assert (live.delivered, named()) == ({new, mail, *old}, [])


def test_ranges_without_a_record_end_even_if_each_has_one_page_of_a_pass(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.passes.ranges.RANGE_PAGES", 2)
    world.call()
    world.sync()
    for day in range(1, 6):
        world.sql(
            "INSERT INTO ranges (stream_id, since, until, why, last_error, attempts, created_at) SELECT id, "
            f"'2026-02-0{day}T00:00:00.000Z', '2026-02-0{day}T00:00:00.999Z', 'gap', 'x', 1, '2026-02-10T00:00:00.000Z'"
            " FROM streams WHERE stream = 'calls'"
        )
    left = []
    for _ in range(3):
        world.sync()
        left.append(len(world.status()["ranges"]))
    assert left == [3, 1, 0]


def test_a_range_whose_records_share_one_instant_ends_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncd.passes.ranges.RANGE_PAGES", 1)
    monkeypatch.setattr("connectors.hubspot.search.gather.__kwdefaults__", {"group": 3, "refs": 10})
    world.configure("sources.hubspot", start=START - 2 * DAY)
    old = [world.call(ago=timedelta(days=4)) for _ in range(14)]
    world.call()
    world.sync()
    world.configure("sources.hubspot", start=START - 7 * DAY)
    for _ in range(4):
        world.sync()
    assert set(old) <= world.delivered
    assert world.status()["ranges"] == []


def test_status_shows_what_is_to_be_read(live: World, command: Command) -> None:
    live.call()
    command("sync", "-c", live.config_file)
    live.sql(
        "INSERT INTO ranges (stream_id, since, until, why, last_error, attempts, created_at) "
        "SELECT id, '2026-02-01T00:00:00.000Z', '2026-02-01T00:00:00.999Z', 'gap', 'answered 500', 1, "
        "'2026-02-02T00:00:00.000Z' FROM streams WHERE stream = 'calls'"
    )
    (shown,) = live.status()["ranges"]
    assert shown == {
        "source": "hubspot", "stream": "calls", "since": "2026-02-01T00:00:00.000Z",
        "until": "2026-02-01T00:00:00.999Z", "why": "gap", "read_to": None, "last_error": "answered 500",
        "next_attempt_at": None, "newest_first": False, "share": 0.0,
    }  # fmt: skip
    out = " ".join(command("status", "-c", live.config_file).out.split())
    assert "to read: hubspot calls 2026-02-01T00:00:00.000Z to 2026-02-01T00:00:00.999Z (a gap" in out


@pytest.mark.parametrize("killed_at", range(1, 9))
def test_a_killed_range_goes_on_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch, killed_at: int) -> None:
    """The process dies after the n-th page, and its transaction with it."""
    monkeypatch.setattr("syncd.passes.ranges.RANGE_PAGES", 3)
    monkeypatch.setattr("connectors.hubspot.search.gather.__kwdefaults__", {"group": 2, "refs": 10})
    world.configure("sources.hubspot", start=START - 2 * DAY)
    old = [world.call(ago=timedelta(days=4, minutes=-number)) for number in range(12)]
    new = world.call()
    world.sync()
    world.configure("sources.hubspot", start=START - 7 * DAY)
    steps = 0
    before = Ledger.book

    class Killed(BaseException):
        pass

    def book(self: Ledger, *what: Any, **how: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == killed_at:
            raise Killed
        return before(self, *what, **how)

    monkeypatch.setattr(Ledger, "book", book)
    for _ in range(8):
        with suppress(Killed):
            world.sync()
        world.later(minutes=5)
    assert world.delivered == {new, *old}
    assert world.status()["ranges"] == []
    assert world.status()["balanced"]
    assert len(world.recotap.stored) == len(world.delivered)


# -- gaps --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Span(AT, AT + 2 * SECOND), (Span(AT, AT + SECOND - MS), Span(AT + SECOND, AT + 2 * SECOND))),
        (Span(AT, AT + SECOND), (Span(AT, AT + SECOND - MS), Span(AT + SECOND, AT + SECOND))),
        (Span(AT, AT + SECOND - MS), None),
        (Span(AT, AT), None),
        (Span(AT + 3 * MS, AT + 1200 * MS), (Span(AT + 3 * MS, AT + SECOND - MS), Span(AT + SECOND, AT + 1200 * MS))),
        (Span(AT - 4 * SECOND, None), (Span(AT - 4 * SECOND, AT - 2 * SECOND - MS), Span(AT - 2 * SECOND, None))),
    ],
)  # fmt: skip
def test_a_span_is_cut_at_whole_seconds(span: Span, expected: tuple[Span, Span] | None) -> None:
    assert windows.halves(span, now=AT) == expected


@pytest.mark.parametrize(
    ("span", "taken", "left"),
    [
        (Span(AT, AT + DAY), [], [Span(AT, AT + DAY)]),
        (Span(AT, None), [Span(AT - DAY, AT + SECOND)], [Span(AT + SECOND + MS, None)]),
        (Span(AT, AT + DAY), [Span(AT - DAY, AT + 2 * DAY)], []),
        (
            Span(AT, AT + DAY),
            [Span(AT + 5 * SECOND, AT + 6 * SECOND), Span(AT + SECOND, AT + 2 * SECOND), Span(AT - DAY, AT - SECOND)],
            [
                Span(AT, AT + SECOND - MS), Span(AT + 2 * SECOND + MS, AT + 5 * SECOND - MS),
                Span(AT + 6 * SECOND + MS, AT + DAY),
            ],
        ),
        (Span(AT, AT + DAY), [Span(AT + DAY, AT + 2 * DAY)], [Span(AT, AT + DAY - MS)]),
        (Span(AT, AT + DAY), [Span(AT + 2 * DAY, AT + 3 * DAY)], [Span(AT, AT + DAY)]),
    ],
)  # fmt: skip
def test_a_window_leaves_out_its_gaps(span: Span, taken: list[Span], left: list[Span]) -> None:
    assert windows.without(span, taken) == left


def test_a_call_that_no_search_can_show_becomes_a_gap_and_holds_up_no_other(world: World) -> None:
    ids = [world.call(ago=timedelta(hours=20, seconds=-3 * number)) for number in range(30)]
    bad = ids[17]
    named = f'"{bad}"'
    with poisoned(world.hubspot, named, path="calls/search", answers=True):
        assert world.sync().exit_code == Exit.UNAVAILABLE
        assert world.status()["ranges"] == [], "one failure is no gap"
        world.later(minutes=5)
        outcome = world.sync()
        assert outcome.exit_code == Exit.UNAVAILABLE
        assert world.delivered == {*ids} - {bad}
        (gap,) = world.status()["ranges"]
        assert gap["why"] == "gap"
        assert gap["since"][:19] == gap["until"][:19], "one second"
        assert "does not serve 1 span" in outcome.errors[0].message
        again = "they are tried again by themselves. `syncd status` lists them. Ask the CRM's support about that time"
        assert outcome.errors[0].hint == again
        assert world.stream()["watermark"] > gap["until"], "the gap is in the ledger, so the watermark passes it"
        assert world.stream()["last_error"] is None
        world.later(minutes=5)
        fresh = world.call()
        with world.counted() as counted:
            assert world.sync().exit_code == Exit.UNAVAILABLE
        assert fresh in world.delivered
        assert counted["search"] <= 4, "the windows leave the gap out"
        world.later(days=31)
        assert world.sync().exit_code == Exit.OK, "from then on it is a warning"
        assert [each["why"] for each in world.status()["ranges"]] == ["gap"]
    world.later(days=1)
    world.sync()
    assert world.state(bad) == "delivered"
    assert world.status()["ranges"] == []
    assert world.status()["balanced"]


def test_a_gap_is_tried_again_on_the_look_up_schedule_and_closed(world: World) -> None:
    ids = world.calls(5)
    named = f'"{ids[2]}"'
    tried = []
    with poisoned(world.hubspot, named, path="calls/search", answers=True) as failed:
        for _ in range(2):
            world.sync()
        assert len(world.status()["ranges"]) == 1
        began = world.now()
        for minutes in (5, 16, 30, 61, 300, 361, 700, 1441, 2000, 2881):
            world.at = began + timedelta(minutes=minutes)
            before = len(failed)
            world.sync()
            if len(failed) > before:
                tried.append(minutes)
    assert tried == [16, 61, 361, 1441, 2881]
    world.at = began + timedelta(minutes=4400)
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == set(ids)


def test_an_outage_of_any_length_leaves_no_gap(world: World) -> None:
    ids = world.calls(5)
    world.hubspot.faults.add("unavailable", match="search", count=None)
    for _ in range(4):
        with world.counted() as counted:
            assert world.sync().exit_code == Exit.UNAVAILABLE
        assert counted["search"] <= 6, "three tries, and those of the smallest request"
        world.later(hours=3)
    assert world.status()["ranges"] == []
    world.hubspot.faults.clear()
    world.later(minutes=5)
    world.sync()
    assert world.delivered == set(ids)


def test_a_contact_that_cannot_be_served_makes_its_calls_crm_error_and_no_gap(world: World) -> None:
    bad = world.person("late.comer")
    stuck = [world.call(contacts=[bad], ago=timedelta(hours=hours)) for hours in (4, 9)]
    ids = world.calls(30)
    with poisoned(world.hubspot, f'"{bad}"', path="contacts/batch/read"):
        for _ in range(4):
            world.sync()
            world.later(minutes=5)
        assert world.delivered == set(ids)
        assert [world.state(each) for each in stuck] == ["incomplete crm_error"] * 2
        assert world.status()["ranges"] == []
        assert world.sync().exit_code == Exit.OK
    world.later(hours=7)
    world.sync()
    assert world.delivered == {*ids, *stuck}
    assert world.status()["balanced"]


def test_a_task_that_no_salesforce_query_can_show_becomes_a_gap(orgs: OrgWorld) -> None:
    ids = [orgs.task(ago=timedelta(hours=3, seconds=-2 * number)) for number in range(12)]
    body = [{"message": "An unexpected error occurred", "errorCode": "UNKNOWN_EXCEPTION"}]
    with poisoned(orgs.org, ids[5], path="/query", status=500, body=body, answers=True):
        for _ in range(3):
            assert orgs.sync().exit_code == Exit.UNAVAILABLE
            orgs.later(minutes=5)
        assert orgs.delivered == {*ids} - {ids[5]}
        assert [(each["why"], each["stream"]) for each in orgs.status()["ranges"]] == [("gap", "calls")]
    orgs.later(minutes=16)
    assert orgs.sync().exit_code == Exit.OK
    assert orgs.delivered == set(ids)
    assert orgs.status()["ranges"] == []


def test_a_folder_with_an_unreadable_file_has_no_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left where it is, and the window is read to its end."""
    asked: list[str] = []
    fetch = Jsonl.fetch

    def counted(self: Jsonl, stream: str, window: Window) -> Iterator[Page]:
        asked.append(stream)
        return fetch(self, stream, window)

    monkeypatch.setattr(Jsonl, "fetch", counted)
    drop = Drop(tmp_path, max_file_size="1KB")
    drop.file("a.jsonl", call("c1", title="x" * 2000))
    drop.file("b.jsonl", call("c2"))
    for _ in range(4):
        result = drop.sync()
        assert result is not None
        assert result.exit_code == Exit.UNAVAILABLE
    assert drop.states() == {"c2": "delivered"}
    assert asked == ["calls", "emails"] + ["calls", "emails"] * 3, "nothing is asked for in parts"
    assert drop.sql("SELECT count(*) FROM ranges") == [(0,)]


def test_a_window_that_must_be_cut_is_cut_at_once_in_the_next_passes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise each second pass would fail at a CRM that serves no large page, if its connector makes none smaller."""
    monkeypatch.setattr(TriedSize, "now", 200)
    poisons = Poisons(world.hubspot, "hubspot", seed=1, silent_s=0.0)
    poisons.add(Poison("page", above(5, "search"), heals_at=1))
    codes = []
    for number in range(5):
        world.calls(12, first_ago=timedelta(seconds=20), happened=world.now() - 2 * DAY)
        world.later(minutes=2)
        codes.append(int(world.sync().exit_code))
        assert len(world.delivered) == (12 * (number + 1) if number else 0)
    assert codes == [69, 0, 0, 0, 0]
    poisons.heal()
    world.later(minutes=2)
    world.sync()
    with world.counted() as counted:
        world.later(minutes=2)
        world.sync()
    assert counted["search"] == 2, "nothing is cut any more"
    poisons.add(Poison("page", above(0, "search"), heals_at=1))
    world.call()
    world.later(minutes=2)
    with world.counted() as counted:
        assert world.sync().exit_code == Exit.UNAVAILABLE
    assert counted["search"] == 3, "a first failure may be an outage, so it is only tried again"
