"""A wrong clock triggers nothing irrevocable, end to end: promise 13 of the design.

The real engine, connectors, sender and ledger against stand-ins over HTTP. The local clock is the test's; each
stand-in's clock, or its `Date` alone, can be moved, stopped and taken away.
"""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from structlog.testing import capture_logs

from connectors.jsonl import Jsonl, JsonlConfig
from syncd.cli.explanation import show
from syncd.connector import Source
from syncd.errors import Exit
from syncd.ledger import LedgerHandle
from syncd.reporting import health
from syncd.reporting.explanation import document_of
from syncd.reporting.overview import points
from syncd.reporting.times import Times
from syncd.sandbox.standin.clock import Clock
from tests.drops import call as line
from tests.orgs import OrgWorld
from tests.world import World

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
YEAR = 365 * DAY
ABSURD = "Fri, 31 Dec 9999 23:59:59 GMT"


@pytest.fixture
def org(tmp_path: Path) -> Iterator[OrgWorld]:
    with OrgWorld(tmp_path) as made:
        yield made


def own_clock(world: World, server: Any, ahead: timedelta) -> Callable[[], datetime]:
    """Give one server a clock that is `ahead` of the local one, its timestamps included. Returns the server."""
    server.clock = Clock(world.now)
    server.clock.offset_s = ahead.total_seconds()
    return lambda: world.now() + ahead


def set_local_clock(world: World, by: timedelta) -> None:
    """Set the local clock. The servers' clocks go on."""
    world.configure("sources.hubspot", start=datetime(2024, 1, 1, tzinfo=UTC))  # it may not lie in the future
    world.at += by
    world.box.clock.offset_s -= by.total_seconds()


def warned(logs: list[Any], event: str) -> list[Any]:
    return [entry for entry in logs if entry["event"] == event]


# -- the CRM's clock ------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [2 * HOUR, -2 * HOUR])
def test_13_settling_windows_and_in_future_go_by_hubspots_clock(world: World, ahead: timedelta) -> None:
    """Its clock is 2 h off, Recotap's is right: each call is sent when it has settled by HubSpot's clock."""
    crm_now = own_clock(world, world.hubspot, ahead)
    settled = world.call(ago=11 * MINUTE - ahead)
    young = world.call(ago=5 * MINUTE - ahead)
    coming = world.call(ago=MINUTE - ahead, happened=crm_now() + 30 * MINUTE)
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == {settled}
    assert (world.state(young), world.state(coming)) == ("incomplete settling", "incomplete in_future")
    world.later(minutes=4)
    world.sync()
    assert world.delivered == {settled}, "not before it has settled"
    world.later(minutes=2)
    world.sync()
    assert world.delivered == {settled, young}
    world.later(minutes=14)
    world.sync()  # the look-up of the first quarter of an hour
    world.later(minutes=14)
    world.sync()
    assert (world.delivered, world.state(coming)) == ({settled, young}, "incomplete settling")
    world.later(minutes=7)
    world.sync()
    assert world.delivered == {settled, young, coming}


@pytest.mark.parametrize("ahead", [2 * HOUR, -2 * HOUR])
def test_13_settling_goes_by_salesforces_clock(org: OrgWorld, ahead: timedelta) -> None:
    own_clock(org, org.org, ahead)
    settled, young = org.task(ago=11 * MINUTE - ahead), org.task(ago=5 * MINUTE - ahead)
    org.sync()
    assert org.delivered == {settled}
    assert org.state(young) == "incomplete settling"
    org.later(minutes=6)
    org.sync()
    assert org.delivered == {settled, young}


def test_13_recotaps_clock_is_a_day_off_and_nothing_depends_on_it(world: World) -> None:
    world.recotap.set_date(skew_s=DAY.total_seconds())
    call, young = world.call(), world.call(ago=MINUTE)
    with capture_logs() as logs:
        world.sync()
    assert world.delivered == {call}
    assert world.state(young) == "incomplete settling"
    (off,) = warned(logs, "clock.off")
    assert (off["server"], off["hint"]) == ("Recotap", "nothing is lost. `syncd check` compares all clocks")
    assert not warned(logs, "clock.unconfirmed")


# -- the local clock ------------------------------------------------------------------------


def test_13_a_local_clock_a_year_ahead_kills_nothing_and_sends_nothing_as_settled(world: World) -> None:
    waiting = world.call(contacts=[])
    sent = world.call()
    world.sync()
    assert world.state(waiting) == "incomplete no_contact"
    young = world.call(ago=MINUTE)
    set_local_clock(world, YEAR)
    with capture_logs() as logs:
        outcome = world.sync()
        world.later(minutes=20)
        world.sync()
    assert outcome.exit_code == Exit.OK
    assert world.state(waiting) == "incomplete no_contact"
    assert world.state(young) == "incomplete settling", "it has settled, but no clock is confirmed"
    (first, _) = warned(logs, "clock.unconfirmed")
    assert first["error"] == "this machine's clock is 365 d ahead of every server's"
    held = "nothing dies, and nothing is sent because it has settled, until a server's clock agrees with this machine's"
    assert first["hint"] == f"set this machine's clock, e.g. by NTP: {held}"
    set_local_clock(world, -YEAR)
    world.sync()
    assert world.delivered == {sent, young}, "everything goes on in the next pass"
    world.hubspot.associate("calls", waiting, "contacts", world.contact)
    world.later(hours=25)
    world.sync()
    assert world.delivered == {sent, young, waiting}
    assert world.status()["balanced"]


@pytest.mark.parametrize("ahead", [YEAR, 10 * HOUR, -10 * HOUR, -YEAR])
def test_13_times_that_a_wrong_clock_booked_hold_nothing_up_and_kill_nothing(world: World, ahead: timedelta) -> None:
    """A row first seen by a wrong clock ages from the first pass with the right one."""
    set_local_clock(world, ahead)
    waiting, young = world.call(ago=40 * DAY + ahead, contacts=[]), world.call(ago=MINUTE + ahead)
    world.sync()
    assert (world.state(waiting), world.state(young)) == ("incomplete no_contact", "incomplete settling")
    set_local_clock(world, -ahead)
    world.later(minutes=15)
    world.sync()
    assert (world.state(waiting), world.delivered) == ("incomplete no_contact", {young})
    world.later(days=29)
    world.sync()
    assert world.state(waiting) == "incomplete no_contact", "30 days of the right clock"
    world.later(days=2)
    world.sync()
    assert world.state(waiting) == "dead no_contact"


def refuse(world: World) -> None:
    """Have Recotap give a verdict about each item."""
    body = {"statusCode": 400, "message": "Validation failed", "errors": [{"field": "activities[0].domain"}]}
    world.recotap.faults.add("answer", status=400, body=body, method="POST", count=None)


@pytest.mark.parametrize("ahead", [YEAR, -YEAR])
def test_13_a_refused_activity_is_not_dead_by_a_wrong_clock(world: World, ahead: timedelta) -> None:
    refuse(world)
    call = world.call()
    world.sync()
    assert world.state(call) == "pending"
    set_local_clock(world, ahead)
    world.sync()
    world.later(days=8)
    world.sync()
    assert world.state(call) == "pending", "8 days, by a clock that nobody confirms"
    set_local_clock(world, -ahead)
    world.recotap.faults.clear()
    world.sync()
    assert world.delivered == {call}


def test_13_a_refusal_booked_by_a_clock_that_was_behind_is_no_age(world: World) -> None:
    refuse(world)
    call = world.call()
    world.recotap.faults.clear()
    world.recotap.faults.add("server_error", method="POST", count=None)
    world.sync()  # pending, by the right clock, and not refused yet
    world.recotap.faults.clear()
    refuse(world)
    set_local_clock(world, -YEAR)
    world.sync()
    set_local_clock(world, YEAR)
    world.later(hours=7)
    world.sync()
    assert world.state(call) == "pending"
    world.later(days=8)
    assert world.sync().exit_code == Exit.DIED
    assert world.state(call).startswith("dead")


def test_13_what_is_not_found_by_a_wrong_clock_is_not_booked_as_deleted(world: World) -> None:
    call = world.call(contacts=[])
    world.sync()
    world.hubspot.delete("calls", call)
    world.later(minutes=20)
    world.sync()
    set_local_clock(world, YEAR)
    world.sync()
    assert world.state(call) == "incomplete not_found"
    set_local_clock(world, -YEAR)
    world.later(hours=2)
    world.sync()
    world.later(hours=2)
    world.sync()
    assert world.state(call) == "excluded deleted"


# -- a Date that is no clock ----------------------------------------------------------------


@pytest.mark.parametrize("stopped_ago", [timedelta(0), 2 * HOUR, YEAR])
def test_13_a_hubspot_date_that_stands_still_holds_no_window_up(world: World, stopped_ago: timedelta) -> None:
    world.hubspot.set_date(skew_s=-stopped_ago.total_seconds(), frozen=True)
    calls = []
    for number in range(4):
        calls.append(world.call(ago=20 * MINUTE))
        with capture_logs() as logs:
            assert world.sync().exit_code == Exit.OK
        if number:
            assert world.delivered == set(calls), f"pass {number + 1} reads up to the local clock"
            assert [e["error"] for e in warned(logs, "clock.off")] == ["the Date of hubspot does not advance"]
        world.later(minutes=30)
    world.hubspot.set_date()
    world.sync()
    with capture_logs() as logs:
        world.later(minutes=5)
        world.sync()
    assert not warned(logs, "clock.off"), "a Date that advances again is believed again"


def test_13_a_salesforce_date_that_stands_still_holds_no_window_up(org: OrgWorld) -> None:
    org.org.set_date(skew_s=-YEAR.total_seconds(), frozen=True)
    calls = []
    for number in range(3):
        calls.append(org.task(ago=20 * MINUTE))
        org.sync()
        org.later(minutes=30)
        assert number == 0 or org.delivered == set(calls)


def test_13_a_date_in_the_future_that_stands_still_settles_nothing(world: World) -> None:
    """Even in the first pass: a second response three seconds later shows that it does not advance."""
    world.hubspot.set_date(skew_s=YEAR.total_seconds(), frozen=True)
    young = world.call(ago=MINUTE)
    world.sync()
    assert (world.state(young), world.delivered) == ("incomplete settling", set())
    world.later(minutes=15)
    world.sync()
    assert world.delivered == {young}


@pytest.mark.parametrize("date", ["", "soon", ABSURD, "Fri, 31 Dec 9999 23:59:59 -2359"])
def test_13_without_a_date_of_hubspots_the_local_clock_holds(world: World, date: str) -> None:
    world.hubspot.set_date(date)
    call, young = world.call(), world.call(ago=MINUTE)
    world.sync()
    assert (world.delivered, world.state(young)) == ({call}, "incomplete settling")
    world.later(minutes=10)
    world.sync()
    assert world.delivered == {call, young}


def test_13_if_no_server_tells_the_time_nothing_is_sent_as_settled_and_syncd_says_so(world: World) -> None:
    world.hubspot.set_date("")
    world.recotap.set_date("")
    call = world.call()
    with capture_logs() as logs:
        assert world.sync().exit_code == Exit.OK
    assert world.state(call) == "incomplete settling"
    (told,) = warned(logs, "clock.unconfirmed")
    assert told["error"] == "no server told the time"
    assert told["hint"].startswith("check this machine's clock, and that no proxy removes or caches the Date of")
    world.recotap.set_date()
    world.later(minutes=5)
    world.sync()
    assert world.delivered == {call}


def test_13_a_doubt_ends_with_an_idle_pass_too(world: World) -> None:
    """Recotap never sends a Date. HubSpot's Date returns, and only its idle requests show it."""
    world.hubspot.set_date("")
    world.recotap.set_date("")
    call = world.call()
    world.sync()
    world.hubspot.set_date()
    world.later(minutes=5)
    world.sync()
    world.later(seconds=10)
    world.sync()
    assert world.delivered == {call}


def test_13_a_date_that_stands_still_confirms_nothing(world: World) -> None:
    """Both Dates stopped two minutes ago: they are near the local clock, and tell nothing of it."""
    world.call()
    world.sync()
    for server in (world.hubspot, world.recotap):
        server.set_date(frozen=True)
    world.later(minutes=2)
    call = world.call()
    with capture_logs() as logs:
        world.sync()
    assert world.state(call) == "incomplete settling"
    assert len(warned(logs, "clock.off")) == 2
    assert len(warned(logs, "clock.unconfirmed")) == 1


# -- files alone ----------------------------------------------------------------------------


def files(world: World, tmp_path: Path, *lines: str) -> list[Source]:
    """Return a source over a folder into which a file with these lines was dropped 90 s ago."""
    folder = tmp_path / "drop"
    folder.mkdir(exist_ok=True)
    table = {"connector": "jsonl", "start": datetime(2026, 1, 1, tzinfo=UTC), "path": str(folder)}
    if lines:
        file = folder / "calls.jsonl"
        file.write_text("".join(f"{each}\n" for each in lines))
        os.utime(file, (world.now().timestamp() - 90,) * 2)
    return [Source("files", JsonlConfig(**table), Jsonl)]


def test_13_a_pass_over_files_alone_asks_recotap_for_its_clock_and_only_when_it_matters(
    world: World, tmp_path: Path
) -> None:
    with world.counted() as requests:
        world.sync(sources=files(world, tmp_path, line("c1")))
    assert requests == {"accounts": 2, "post": 1}  # the other one: which domains it delivered to are accounts
    assert world.delivered == {"c1"}
    world.later(minutes=5)
    with world.counted() as requests:
        world.sync(sources=files(world, tmp_path))
    assert requests == {}


def test_13_files_alone_and_a_local_clock_a_year_ahead(world: World, tmp_path: Path) -> None:
    happened = (world.now() - MINUTE).isoformat()
    set_local_clock(world, YEAR)
    world.sync(sources=files(world, tmp_path, line("c1", occurred_at=happened)))
    assert world.state("c1") == "incomplete settling"
    set_local_clock(world, -YEAR)
    world.later(minutes=15)
    world.sync(sources=files(world, tmp_path))
    assert world.delivered == {"c1"}


def test_13_files_alone_while_recotap_is_down_wait_and_go_on(world: World, tmp_path: Path) -> None:
    world.recotap.faults.add("close", count=None)
    world.sync(sources=files(world, tmp_path, line("c1")))
    assert world.state("c1") == "incomplete settling"
    world.recotap.faults.clear()
    world.later(minutes=5)
    world.sync(sources=files(world, tmp_path))
    assert world.delivered == {"c1"}


# -- what it costs, and what is shown -------------------------------------------------------


def test_13_an_idle_pass_asks_as_little_as_before(world: World) -> None:
    world.call()
    world.sync()
    world.later(minutes=5)
    with world.counted() as requests:
        world.sync()
    assert requests == {"search": 2}


def test_13_an_idle_pass_over_salesforce_asks_as_little_as_before(org: OrgWorld) -> None:
    org.task()
    org.sync()
    org.later(minutes=5)
    before = dict(org.org.requests)
    org.sync()
    after = {kind: count - before.get(kind, 0) for kind, count in org.org.requests.items()}
    # One for each stream. There were two before emails were read from tasks too.
    assert {kind: count for kind, count in after.items() if count} == {"token": 1, "query": 3}


def test_13_status_tells_how_far_the_local_clock_is_off(world: World) -> None:
    world.call()
    world.sync()
    assert abs(world.status()["clock_skew_s"]) < 2
    set_local_clock(world, 2 * HOUR)
    world.call()
    world.sync()
    assert abs(world.status()["clock_skew_s"] - 7200) < 2


def test_13_whoever_looks_hears_that_no_server_confirms_the_clock(world: World, capsys: pytest.CaptureFixture) -> None:
    """Not only the log: `status`, `explain` and `health` say it, and stop saying it once the clock is right."""
    crm_id = world.call(ago=DAY)
    set_local_clock(world, -40 * DAY)
    with capture_logs() as logs:
        world.sync()
    assert [entry["event"] for entry in logs if entry["event"].startswith("clock.")] == ["clock.unconfirmed"]
    assert all("no server confirms this machine's clock" in said for said in looked(world, crm_id, capsys))
    set_local_clock(world, 40 * DAY)
    world.sync()
    assert not any("no server confirms this machine's clock" in said for said in looked(world, crm_id, capsys))


def looked(world: World, crm_id: str, capsys: pytest.CaptureFixture) -> list[str]:
    """Return the answers of `status`, `explain` and the probe of freshness."""
    console = Console(width=400)
    with LedgerHandle(world.config().ledger.path).reports() as glance:
        document = glance.status(version="1", now=world.now())
        document |= {"held_by": None, "sources_gone": [], "warnings": [], "unread": []}
        status = " ".join(point.text for point in points(document, Times(world.now())))
        (name,) = glance.find(crm_id)
        document = document_of(name, glance, world.config(), world.now())
        show(document, world.now(), console)
    probes = [finding.message for finding in health.findings(world.config(), world.now())]
    return [status, capsys.readouterr().out, " ".join(probes)]
