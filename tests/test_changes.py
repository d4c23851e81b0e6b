"""The configuration is compared with the one that the ledger has seen: removed sources."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd.errors import Exit
from syncd.ledger import Ledger, LedgerHandle
from syncd.lifecycle import transitions
from syncd.lifecycle.states import State
from syncd.lifecycle.transitions import Row
from syncd.passes import removed
from tests.conftest import Command
from tests.drops import call
from tests.ledgers import DAY, NOW
from tests.orgs import OrgWorld
from tests.test_pins import drop
from tests.world import World


@pytest.fixture
def both(tmp_path: Path) -> Any:
    with OrgWorld(tmp_path) as world:
        world.tables.clear()
        drop(world, "kept")
        yield world


def of_hubspot(world: OrgWorld) -> tuple[str, str]:
    world.configure("sources.old", **world.source())
    return world.call(), world.call(contacts=[])


def of_salesforce(world: OrgWorld) -> tuple[str, str]:
    world.configure("sources.old", **world.org_source())
    return world.task(), world.task(WhoId=None)


def of_a_folder(world: OrgWorld) -> tuple[str, str]:
    lines = call("c1", occurred_at="2026-09-20T10:00:00Z"), call("c2", contact_email="", account_domain="")
    drop(world, "old", *lines)
    return "c1", "c2"


Of = Callable[[OrgWorld], tuple[str, str]]
ANY = pytest.mark.parametrize("of", [of_hubspot, of_salesforce, of_a_folder])


def gone(world: World) -> dict[str, datetime | None]:
    with LedgerHandle(world.ledger).reports() as glance:
        return removed.gone_since(glance, [source.name for source in world.config().sources])


# -- a source is removed ------------------------------------------------------------------------


@ANY
def test_what_a_removed_source_left_is_sent_or_dies_30_days_after_the_removal(both: OrgWorld, of: Of) -> None:
    complete, waiting = of(both)
    both.recotap.faults.add("unavailable", count=None)
    both.sync()
    assert both.state(complete) == "pending"
    reason = both.state(waiting)
    assert reason.startswith("incomplete no_")
    both.later(days=20)
    both.sync()
    both.recotap.faults.clear()

    del both.tables["sources.old"]  # on day 20 of its waiting
    both.later(minutes=5)
    assert both.sync().exit_code == Exit.OK
    assert both.state(complete) == "delivered"
    assert gone(both) == {"old": both.now()}
    for days in (15, 14):
        both.later(days=days)
        assert both.sync().exit_code == Exit.OK
        assert both.state(waiting) == reason
    both.later(days=1)
    with capture_logs() as logs:
        assert both.sync().exit_code == Exit.OK
    (aged,) = [line for line in logs if line["event"] == "source.aged"]
    assert (aged["source"], aged["died"], aged["hint"]) == ("old", 1, "`syncd status` counts them by reason")
    assert both.state(waiting) == reason.replace("incomplete", "dead")
    assert both.row(waiting)["next_attempt_at"] is None
    assert both.status()["balanced"]


@ANY
def test_a_source_that_returns_resumes(both: OrgWorld, of: Of) -> None:
    _, waiting = of(both)
    both.sync()
    table = both.tables.pop("sources.old")
    both.later(minutes=5)
    both.sync()
    assert [*gone(both)] == ["old"]
    both.later(days=3)
    both.configure("sources.old", **table)
    looked_up = both.row(waiting)["next_attempt_at"]
    both.sync()
    assert gone(both) == {}
    assert both.sql("SELECT value FROM store WHERE source = 'old' AND key = '@gone'") == [("null",)]
    assert both.row(waiting)["next_attempt_at"] > looked_up  # it was looked up
    del both.tables["sources.old"]  # a second removal counts from its own day
    both.later(days=2)
    both.sync()
    assert gone(both) == {"old": both.now()}


def test_a_removed_emails_redacted_row_dies_too_and_one_of_the_future_does_not(both: OrgWorld) -> None:
    of_hubspot(both)
    late = both.call(hs_timestamp="9999-12-31T23:59:59.999Z")
    hidden = both.email(contacts=[])
    both.sync()
    both.sql("UPDATE activities SET reason = 'redacted', next_attempt_at = NULL WHERE crm_id = ?", hidden)
    del both.tables["sources.old"]
    both.later(minutes=5)
    both.sync()
    both.later(days=31)
    both.sync()
    assert both.state(hidden) == "dead redacted"
    assert both.state(late) == "incomplete in_future"
    both.later(minutes=5)
    with both.counted() as requests:  # it costs later passes nothing
        both.sync()
    assert requests == {}


def test_nothing_is_stamped_and_nothing_dies_by_a_clock_that_no_server_confirms(both: OrgWorld) -> None:
    _, waiting = of_hubspot(both)
    both.sync()
    del both.tables["sources.old"]
    real = both.at
    both.at = real + timedelta(days=365)
    both.box.clock.now = lambda: real  # the servers know better
    both.sync()
    assert gone(both) == {"old": None}
    both.at, both.box.clock.now = real + timedelta(minutes=5), both.now
    both.sync()
    both.later(minutes=5)
    both.sync()
    stamped = gone(both)["old"]
    assert stamped is not None
    assert abs(stamped - real) < timedelta(hours=1)
    both.at = real + timedelta(days=365)
    both.box.clock.now = lambda: real
    both.sync()
    assert both.state(waiting).startswith("incomplete")


def test_a_source_without_activities_is_not_missed(world: World) -> None:
    world.configure("sources.hubspot")
    drop(world, "empty")
    world.sync()
    del world.tables["sources.empty"]
    world.later(minutes=5)
    world.sync()
    assert gone(world) == {}


def test_a_pass_over_one_source_does_not_take_the_others_for_removed(world: World) -> None:
    world.configure("sources.hubspot")
    drop(world, "files", call("c1"))
    world.sync()
    world.later(minutes=5)
    world.sync(sources=[world.config().sources[0]])
    assert world.sql("SELECT source FROM store WHERE key = '@gone'") == []


def test_a_renamed_table_is_a_mistake_and_no_removal(world: World) -> None:
    world.call()
    world.sync()
    world.configure("sources.crm", **world.source())
    world.later(minutes=5)
    with world.counted() as requests:
        assert world.sync().exit_code == Exit.CONFIG
    assert gone(world) == {"hubspot": None}
    assert "accounts" not in requests


@pytest.mark.parametrize("state", [each for each in State if each is not State.INCOMPLETE])
def test_only_incomplete_rows_age_by_a_removal(state: State) -> None:
    row = Row(state, NOW, NOW)
    assert transitions.after_removal(row, gone_at=NOW - 99 * DAY, now=NOW) is row


def test_a_removal_that_a_clock_ahead_booked_counts_from_now() -> None:
    row = Row(State.INCOMPLETE, NOW, NOW - 99 * DAY, reason="no_contact", waiting_since=NOW - 50 * DAY)
    assert transitions.after_removal(row, gone_at=NOW + DAY, now=NOW) is row
    assert transitions.after_removal(row, gone_at=NOW - 30 * DAY, now=NOW).state is State.DEAD


def test_nothing_is_aged_before_its_time(world: World) -> None:
    waiting = world.call(contacts=[])
    world.sync()
    with LedgerHandle(world.ledger).open() as ledger:
        later = world.now() + 40 * DAY
        assert ledger.age_removed("hubspot", gone_at=later - 29 * DAY, now=later) == 0
        assert not ledger.is_over("hubspot", gone_at=later - 29 * DAY, now=later)
        assert ledger.is_over("hubspot", gone_at=later - 30 * DAY, now=later)
        assert ledger.age_removed("hubspot", gone_at=later - 30 * DAY, now=later) == 1
    assert world.state(waiting) == "dead no_contact"


# -- what is shown ----------------------------------------------------------------------------------


def test_status_and_check_name_removed_sources(live: World, command: Command) -> None:
    live.configure("sources.hubspot")
    drop(live, "files", call("c1"))
    assert command("sync", "-c", live.write_config()).code == Exit.OK
    assert json.loads(command("status", "--json", "-c", live.config_file).out)["sources_gone"] == []
    del live.tables["sources.files"]
    live.call()
    assert command("sync", "-c", live.write_config()).code == Exit.OK
    assert json.loads(command("status", "--json", "-c", live.config_file).out)["sources_gone"] == ["files"]
    told = command("status", "-c", live.config_file).out
    assert "source files: not in the configuration since " in told
    checked = command("check", "-c", live.config_file)
    assert "warn  files: not in the configuration since" in checked.out


def test_an_idle_pass_rewrites_nothing_of_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.call()
    world.sync()
    world.later(minutes=5)
    keys: list[str] = []
    keep = Ledger.keep

    def noted(self: Ledger, source: str, values: Any, now: datetime) -> None:
        keys.extend(values)
        keep(self, source, values, now)

    monkeypatch.setattr(Ledger, "keep", noted)
    world.sync()
    assert not {"@destination", "@accounts", "@connector", "@gone"} & set(keys)


@pytest.mark.parametrize("method", ["is_over", "held_under", "owners_of", "kept", "has_rows"])
def test_no_query_of_it_scans_the_activities(world: World, method: str) -> None:
    world.calls(3)
    world.sync()
    arguments: dict[str, Any] = {
        "is_over": (("hubspot",), {"gone_at": NOW - 40 * DAY, "now": NOW}),
        "held_under": ((["hubspot"], "calls", ["1"]), {}),
        "owners_of": ((["a"],), {}), "kept": (("@gone", ["hubspot"]), {}), "has_rows": (("hubspot",), {}),
    }  # fmt: skip
    with LedgerHandle(world.ledger).open() as ledger:
        asked: list[str] = []
        ledger._db.conn.set_trace_callback(asked.append)
        positional, named = arguments[method]
        getattr(ledger, method)(*positional, **named)
        ledger._db.conn.set_trace_callback(None)
        assert asked
        for sql in asked:
            plan = [row[3] for row in ledger._db.execute(f"EXPLAIN QUERY PLAN {sql}")]
            assert not [step for step in plan if step.startswith(("SCAN activities", "SCAN store"))], plan
