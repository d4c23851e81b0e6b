"""`syncd sync --dry-run` ends in a table by state and reason, with the most frequent domains and owners."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from syncd.cli import dry_run
from syncd.ledger import LedgerHandle
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import State
from syncd.lifecycle.transitions import Reading
from syncd.passes import reader, tally
from syncd.passes.dry_run import DryRun
from syncd.passes.tally import Names, Tally
from syncd.signals import StopRequest
from tests.conftest import Command
from tests.orgs import OrgWorld
from tests.world import THEIRS, World

AT = datetime(2026, 10, 5, tzinfo=UTC)


def reading(reason: Reason | None = None, **more: Any) -> Reading:
    wanted = reason.state if reason else State.PENDING
    return Reading("1", AT, "crm-call-1", "call", AT, wanted=wanted, reason=reason, **more)


def counted(*readings: Reading) -> list[dict[str, Any]]:
    found = Tally()
    for each in readings:
        found.add(each)
    return dry_run.groups(found)


MIXED = (
    *(reading(Reason.INTERNAL) for _ in range(2)),
    *(reading(Reason.NO_DOMAIN, owner_id="77") for _ in range(3)),
    *(reading(Reason.TOO_OLD, domain="amber-bolts.com") for _ in range(4)),
    *(reading(domain=f"account-{number % 8}.com", owner_id=str(number % 2)) for number in range(12)),
)


def test_each_state_and_reason_is_counted_with_its_most_frequent_names() -> None:
    found = counted(*MIXED)
    assert [(each["state"], each["reason"], each["count"]) for each in found] == [
        ("incomplete", "no_domain", 3), ("pending", None, 12), ("excluded", "too_old", 4), ("excluded", "internal", 2),
    ]  # fmt: skip
    assert found[0]["owners"] == {"77": 3}
    assert found[0]["domains"] == {}
    assert list(found[1]["domains"].items()) == [(f"account-{number}.com", 2) for number in range(4)] + [
        ("account-4.com", 1)
    ]
    assert found[1]["owners"] == {"0": 6, "1": 6}


def test_names_are_counted_in_bounded_memory_and_the_frequent_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "KEPT", 10)
    names = Names()
    for number in range(1_000):
        names.add(f"rare-{number}.com")
        names.add(THEIRS)
    assert names.top(1) == {THEIRS: 1_000}
    assert len(names.top(1_000)) <= 20


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits_the_terminal(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    dry_run.table(counted(*MIXED), console)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert max(map(len, said.splitlines())) <= width
    assert "\\" not in said
    assert all(word in said for word in ("no_domain", "too_old", "excluded", "12", "77 3", "amber-bolts.com 4"))


def test_lines_of_the_table_are_found_by_grep(live: World, command: Command) -> None:
    live.calls(2)
    live.call(contacts=[])
    ran = command("sync", "--dry-run", "-c", live.config_file)
    assert len(ran.out.splitlines()) == 3, "stdout has the activities alone"
    lines = ran.err.splitlines()
    assert "would be pending: 2" in lines
    assert f"would be pending, domains: {THEIRS} 2" in lines
    assert "would be incomplete (no_contact): 1" in lines
    assert f"would be incomplete (no_contact), owners: {live.owner} 1" in lines


def test_a_record_that_the_ledger_lacks_is_judged_by_id_as_in_a_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task is asked for as a call and as an email. One that the ledger holds stays in its stream."""
    with OrgWorld(tmp_path) as world:
        call, email = world.task(), world.task(TaskSubtype="Email", ago=timedelta(hours=6))

        def streams() -> list[tuple[str, str]]:
            config = world.config()
            ids = {"salesforce": {stream: [call[:15], email] for stream in ("calls", "email_tasks")}}
            run = DryRun(
                config.sources, config.rules.to_rules(), ledger=LedgerHandle(world.ledger), stop=StopRequest(),
                now=world.now, ids=ids, traced=2,
            )  # fmt: skip
            found = list(run.activities())
            assert run.errors == []
            assert all("ownerEmail" in each.provenance for each in found)
            return [(each.stream, each.reading.crm_id) for each in found]

        assert streams() == [("calls", call), ("email_tasks", email)]
        monkeypatch.setattr(reader, "LOOK_UPS_AT_ONCE", 1)
        assert streams() == [("calls", call), ("email_tasks", email)], "however many ids one request may have"
        world.sync()
        world.configure("sources.salesforce.calls", match=[{"TaskSubtype": "Email"}])
        assert ("email_tasks", email) in streams()


def test_json_has_the_counts_alone(live: World, command: Command) -> None:
    live.call()
    ran = command("sync", "--dry-run", "--json", "-c", live.config_file)
    assert (ran.code, json.loads(ran.out)) == (0, {
        "activities": [
            {"state": "pending", "reason": None, "count": 1, "domains": {THEIRS: 1}, "owners": {live.owner: 1}}
        ],
        "pending_already": 0,
        "errors": [],
    })  # fmt: skip
    assert not live.ledger.parent.exists()


def test_json_has_the_errors_too_and_needs_a_dry_run(live: World, command: Command) -> None:
    live.hubspot.faults.add("daily", match="search", count=None)
    ran = command("sync", "--dry-run", "--json", "-c", live.config_file)
    (error,) = json.loads(ran.out)["errors"]
    assert (ran.code, error["exit_code"]) == (69, 69)
    assert error["message"] in ran.err
    assert command("sync", "--json", "-c", live.config_file).code == 2
    assert not live.ledger.exists()
