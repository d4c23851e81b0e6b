"""`syncd sync --only` reads and sends the named activities alone. `--limit` ends a pass with the N-th activity."""

import random
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd.cli import named
from syncd.errors import Exit
from syncd.ledger import LedgerHandle
from syncd.normalize.own_domains import Vouching
from syncd.passes import engine
from syncd.passes.events import PageRead
from syncd.passes.limits import Limits
from syncd.passes.reader import Reader
from syncd.passes.wanted import wanted
from syncd.sandbox.standin.faults import Fault
from tests.conftest import Command
from tests.drops import Drop, call, email
from tests.orgs import OrgWorld
from tests.poisoned import poisoned
from tests.world import World


def positions(world: World) -> Any:
    """Return all that says how far something was read."""
    streams = world.sql("SELECT source, stream, watermark, swept_at, start, last_success_at, last_error FROM streams")
    return {*streams}, {*world.sql("SELECT stream_id, since, until, read_to FROM ranges")}


# -- only these ids -------------------------------------------------------------------------


def test_only_the_named_record_is_read_and_sent(world: World) -> None:
    calls, email = world.calls(3), world.email()
    with world.counted() as requests:
        result = world.sync(limits=Limits(only={"hubspot": {"calls": [calls[1]]}}))
    assert result.exit_code == Exit.OK
    assert world.delivered == {calls[1]}
    assert "search" not in requests
    assert {(row[2], row[3], row[5]) for row in positions(world)[0]} == {(None, None, None)}
    world.sync()
    assert world.delivered == {*calls, email}
    assert world.status()["balanced"]


def test_other_pending_activities_are_not_sent_and_no_watermark_or_range_moves(world: World) -> None:
    first = world.calls(3)
    world.recotap.set(keys=["another"])
    world.sync()
    world.recotap.set(keys=[world.box.key])
    world.sql(
        "INSERT INTO ranges (stream_id, since, until, why, created_at) SELECT id, '2025-01-01T00:00:00.000Z', "
        "'2025-02-01T00:00:00.000Z', 'backfill', '2026-10-05T09:00:00.000Z' FROM streams"
    )
    world.later(hours=3)
    late, before = world.call(ago=timedelta(minutes=30)), positions(world)
    result = world.sync(limits=Limits(only={"hubspot": {"calls": [first[2], late]}}))
    assert result.exit_code == Exit.OK
    assert world.delivered == {first[2], late}
    assert {world.state(each) for each in first[:2]} == {"pending"}
    assert positions(world) == before


def test_what_is_due_goes_out_too_if_asked_for(world: World) -> None:
    first = world.calls(2)
    world.recotap.set(keys=["another"])
    world.sync()
    world.recotap.set(keys=[world.box.key])
    world.sync(limits=Limits(only={"hubspot": {"calls": [first[0]]}}, sends_all=True))
    assert world.delivered == {*first}


def test_a_source_without_an_id_is_not_read(world: World) -> None:
    world.call()
    with world.counted() as requests:
        assert world.sync(limits=Limits(only={"hubspot": {}})).exit_code == Exit.OK
    assert requests == {}


def test_ids_beyond_one_request_are_all_sent(orgs: OrgWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncd.passes.look_ups.LOOK_UPS_AT_ONCE", 2)
    calls = [orgs.task() for _ in range(5)]
    orgs.sync(limits=Limits(only={"salesforce": {"calls": calls}}))
    assert orgs.delivered == {*calls}


def test_a_record_that_the_crm_cannot_serve_keeps_no_other_back(world: World) -> None:
    calls = world.calls(4)
    limits = Limits(only={"hubspot": {"calls": calls}})
    with poisoned(world.hubspot, f'"{calls[2]}"'):
        result = world.sync(limits=limits)
    assert result.exit_code == Exit.OK
    assert world.delivered == {*calls} - {calls[2]}
    names = wanted([calls[2]], world.config().sources, LedgerHandle(world.ledger))
    (error,) = named.show(LedgerHandle(world.ledger), names, limits, result)
    assert error.exit_code == Exit.UNAVAILABLE
    assert error.message.startswith(f"hubspot does not serve record {calls[2]}: ")
    assert error.hint == "open the record in the CRM. If that fails too, ask the CRM's support"


def test_a_crm_that_is_down_blames_no_record(world: World) -> None:
    call = world.call()
    limits = Limits(only={"hubspot": {"calls": [call]}})
    with poisoned(world.hubspot, "", path="/batch/read"):
        assert world.sync(limits=limits).exit_code == Exit.UNAVAILABLE
    assert not limits.unserved
    assert {row[6] for row in positions(world)[0]} == {None}, "no window was read"


@pytest.mark.parametrize("form", ["hubspot-call-{}", "{}"])
def test_the_command_prints_what_became_of_each(live: World, command: Command, form: str) -> None:
    sent, waiting, other = live.call(), live.call(contacts=[]), live.call()
    ran = command("sync", "--only", form.format(sent), form.format(waiting), "-c", live.config_file)
    assert (ran.code, ran.out) == (
        0,
        f"hubspot-call-{sent}\tdelivered\tcreated\nhubspot-call-{waiting}\tincomplete\tno_contact\n",
    )
    assert live.delivered == {sent}
    assert other not in live.delivered


def test_an_id_that_no_source_knows_ends_with_66_after_the_others(live: World, command: Command) -> None:
    call = live.call()
    ran = command("sync", "--only", "4711", "--only", call, "-c", live.config_file)
    assert ran.code == Exit.NO_SUCH_ACTIVITY
    assert live.delivered == {call}
    assert "no source has an activity '4711'" in ran.err
    ran = command("sync", "--dry-run", "--only", "4711", call, "-c", live.config_file)
    assert ran.code == Exit.NO_SUCH_ACTIVITY
    assert "no source has an activity '4711'" in ran.err
    assert ran.out.startswith(f"hubspot-call-{call}\t")


def test_an_id_that_could_not_be_asked_for_is_not_unknown(live: World, command: Command) -> None:
    call = live.call()
    live.hubspot.set(tokens={})
    ran = command("sync", "--only", call, "-c", live.config_file)
    assert ran.code == Exit.UNAUTHORIZED
    assert "no source has" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["4711"], "an ID stands after --only"),
        (["--only", "4711", "--limit", "5"], "--only and --limit exclude each other"),
        (["--limit", "0"], "expected --limit from 1 to"),
        (["--json"], "--json needs --dry-run"),
    ],
)
def test_misuse_ends_with_2(live: World, command: Command, arguments: list[str], told: str) -> None:
    ran = command("sync", *arguments, "-c", live.config_file)
    assert ran.code == Exit.USAGE
    assert told in ran.err


# -- a number of activities -----------------------------------------------------------------


def test_a_limit_ends_reading_with_the_page_of_the_last_activity_and_sends_so_many(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.hubspot.gather.__kwdefaults__", {"group": 10, "refs": 100})
    calls, email = world.calls(55), world.email()
    with capture_logs() as logs:
        result = world.sync(limits=Limits(most=12))
    assert result.exit_code == Exit.OK
    assert [each["event"] for each in logs if each["event"].startswith("pull.")] == ["pull.finished"]
    assert len(world.delivered) == 12
    assert world.status()["seen"] == 20, "two pages"
    assert world.stream()["swept_at"] is None
    assert world.status()["activities"]["pending"] == 8
    world.sync()
    assert world.delivered == {*calls, email}
    assert world.status()["balanced"]


def test_what_waits_counts_first_and_then_nothing_is_read(world: World) -> None:
    calls = world.calls(5)
    world.sync(limits=Limits(most=2))
    late = world.call(ago=timedelta(minutes=20))
    world.later(minutes=5)
    with world.counted() as requests:
        world.sync(limits=Limits(most=3))
    assert world.delivered == {*calls}
    assert "search" not in requests
    world.sync()
    assert world.delivered == {*calls, late}


def test_a_stale_row_is_looked_up_before_it_counts(world: World) -> None:
    calls = world.calls(5)
    world.sync(limits=Limits(most=1))
    gone = min({*calls} - world.delivered)
    world.later(hours=3)
    world.hubspot.delete("calls", gone)
    result = world.sync(limits=Limits(most=4))
    assert result.exit_code == Exit.OK
    assert world.delivered == {*calls} - {gone}
    assert world.state(gone) == "incomplete not_found"


def test_what_was_read_ahead_changes_nothing_in_the_store(world: World) -> None:
    """The connector's store may say that a page was read which is dropped."""
    reader = Reader(
        world.config().sources[0], world.config().rules.to_rules(), ledger=None, now=world.now,
        stopping=threading.Event(), vouching=Vouching(world.config().rules.to_rules(), None),
    )  # fmt: skip
    reader.store.put("read", 1)
    assert reader.take_changes() == {"read": 1}
    reader.store.put("read", 2)
    while reader._channel.room.acquire(blocking=False):
        reader._put(PageRead("calls", (), ()))
    reader.read_no_more()
    assert reader.take_changes() == {}
    assert [reader.next_event(), reader.has_event] == [None, True]
    assert reader._channel.room.acquire(blocking=False), "the thread that waits for room must end"


def test_an_activity_that_is_sent_again_counts_once(world: World) -> None:
    world.calls(8)
    world.recotap.faults.add(Fault(match="sales-activities", status=503, count=1))
    result = world.sync(limits=Limits(most=6))
    assert result.exit_code == Exit.OK
    assert len(world.delivered) == 6


def test_a_limit_spans_the_sources(orgs: OrgWorld) -> None:
    for _ in range(4):
        orgs.task()
    orgs.sync(limits=Limits(most=3))
    assert len(orgs.delivered) == 3
    orgs.sync()
    assert len(orgs.delivered) == 4


def test_the_limit_of_a_dry_run_ends_the_list(live: World, command: Command) -> None:
    live.calls(6)
    live.call(contacts=[], ago=timedelta(days=2))
    ran = command("sync", "--dry-run", "--limit", "3", "-c", live.config_file)
    assert [line.split("\t")[2] for line in ran.out.splitlines()] == ["incomplete", *["pending"] * 3]


@pytest.mark.parametrize("seed", range(2))
def test_passes_with_any_limits_and_kills_lose_and_double_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The folder's connector moves files once they are read, so it must not hear of what is dropped."""
    monkeypatch.setattr(engine, "WAKE_S", 0.01)
    monkeypatch.setattr("connectors.jsonl.PAGE", 2)
    chance = random.Random(seed)
    with Drop(tmp_path) as drop:
        ids = [f"c{number}" for number in range(30)]
        for number in range(6):
            lines = [(call if chance.random() < 0.7 else email)(each) for each in ids[number::6]]
            drop.file(f"{number}.jsonl", *lines, age_s=600 - number)
        for _ in range(8):
            most, killed = chance.randint(1, 9), chance.choice((0, 0, chance.randint(1, 9)))
            drop.sync(limits=Limits(most=most), killed_at=killed)
            one = {"calls": [chance.choice(ids)]}
            drop.sync(limits=Limits(only={"files": one}))
        for _ in range(3):
            drop.sync()
        assert drop.states() == dict.fromkeys(ids, "delivered")
        assert {*drop.recotap.stored.values()} == {1}
        assert len(drop.recotap.stored) == len(ids)


def test_a_record_stays_in_the_stream_that_booked_it_whatever_streams_are_asked(orgs: OrgWorld) -> None:
    task = orgs.task()
    asked = {"salesforce": {"calls": [task], "email_tasks": [task]}}
    for _ in range(2):
        orgs.sync(limits=Limits(only=asked))
    assert orgs.delivered == {task}
    assert (orgs.stream("calls", "salesforce")["seen"], orgs.status()["seen"]) == (1, 1)


def test_what_was_sent_by_its_id_is_known_to_the_window_that_reads_its_counterpart(orgs: OrgWorld) -> None:
    """No watermark tells that the stream has rows."""
    task = orgs.task(TaskSubtype="Email", ago=timedelta(hours=9))
    orgs.sync(limits=Limits(only={"salesforce": {"email_tasks": [task]}}))
    assert orgs.delivered == {task}
    email = orgs.mail(ActivityId=task)
    orgs.sync()
    assert orgs.state(email) == "excluded duplicate_of"
    assert orgs.delivered == {task}


def test_an_id_without_its_check_characters_is_enough(orgs: OrgWorld) -> None:
    task, limits = orgs.task(), Limits(only={"salesforce": {"calls": []}})
    limits.only = wanted([task[:15]], orgs.config().sources, LedgerHandle(orgs.ledger)).ids
    with capture_logs() as logs:
        assert orgs.sync(limits=limits).exit_code == Exit.OK
    assert orgs.delivered == {task}
    assert not limits.unserved
    assert "records.unserved" not in {each["event"] for each in logs}


def test_an_activity_that_backs_off_does_not_count_before_it_is_due(world: World) -> None:
    refused = world.call()
    world.recotap.rule("refuse", ids=[f"hubspot-call-{refused}"], count=1)
    world.sync()
    new = world.call(ago=timedelta(minutes=20))
    world.later(seconds=30)
    world.sync(limits=Limits(most=1))
    assert world.delivered == {new}
    other = world.call(ago=timedelta(minutes=15))
    world.later(hours=1)
    world.sync(limits=Limits(most=1))
    assert world.delivered == {new, refused}
    world.sync()
    assert world.delivered == {new, refused, other}
