"""`syncd resume` lifts a pause, and a running daemon goes on at once."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncd.daemon.queries import DueQueries
from syncd.ledger import RECOTAP, LedgerHandle
from tests.conftest import Command
from tests.daemons import wait_until
from tests.ledgers import book, reading
from tests.test_service import seldom, serving
from tests.world import World

NOW = datetime.now(UTC)
LATER = NOW + timedelta(hours=6)


def pause(world: World, *names: str) -> None:
    with LedgerHandle(world.ledger).open() as ledger:
        for name in names:
            ledger.pause_until(name, LATER, "the daily limit is reached", now=NOW)


def pauses(world: World) -> set[str]:
    return {name for (name,) in world.sql("SELECT name FROM pauses")}


def test_a_pass_after_resume_reads_the_source_again(live: World, command: Command) -> None:
    call = live.call()
    live.hubspot.faults.add("daily")
    assert command("sync", "-c", live.config_file).code == 69
    live.hubspot.faults.clear()
    for line, code in (("sync", 69), ("check", 0)):
        ran = command(line, "-c", live.config_file)
        assert ran.code == code
        assert "end it: syncd resume hubspot" in ran.out + ran.err
    ran = command("resume", "hubspot", "-c", live.config_file)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("hubspot: the pause until 20")
    assert "daily limit" in ran.out
    assert command("sync", "-c", live.config_file).code == 0
    assert live.delivered == {call}


def test_it_lifts_the_named_pause_or_all_and_says_which(live: World, command: Command) -> None:
    pause(live, "hubspot", RECOTAP)
    assert command("resume", "recotap", "-c", live.config_file).out.startswith("recotap: the pause until ")
    assert pauses(live) == {"hubspot"}
    assert command("resume", "recotap", "-c", live.config_file).out == "recotap is not paused\n"
    pause(live, RECOTAP)
    lines = command("resume", "-c", live.config_file).out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [RECOTAP.removeprefix("@"), "hubspot"]
    assert pauses(live) == set()
    ran = command("resume", "-c", live.config_file)
    assert (ran.code, ran.out) == (0, "nothing is paused\n")


@pytest.mark.parametrize("name", ["salesforce", "@recotap"])
def test_a_name_that_is_not_configured_is_2(live: World, command: Command, name: str) -> None:
    pause(live, "hubspot")
    ran = command("resume", name, "-c", live.config_file)
    assert (ran.code, ran.out) == (2, "")
    assert "expected one of recotap, hubspot" in ran.err
    assert pauses(live) == {"hubspot"}


def test_the_daemon_hears_of_each_lifted_pause_once(tmp_path: Path) -> None:
    handle = LedgerHandle(tmp_path / "ledger.db")
    with handle.open() as ledger:
        book(ledger, reading(1))  # an activity to send
        for name in ("hubspot", "files", RECOTAP):
            ledger.pause_until(name, LATER, "busy", now=NOW)
    queries = DueQueries(handle)
    with handle.operate() as operator:
        assert queries.newly_requested() is None
        operator.resume("hubspot", now=NOW)
        operator.resume("nobody", now=NOW)
        assert queries.newly_requested() == ["hubspot"], "Recotap still pauses"
        assert queries.newly_requested() is None
        operator.resume(None, now=NOW)
        assert queries.newly_requested() == ["files", RECOTAP]
        operator.trust_recotap(NOW)
        assert queries.newly_requested() == [RECOTAP], "a later request does not repeat it"
        operator.trust_source("files", NOW)
        assert queries.newly_requested() == ["files", RECOTAP]
    queries.close()


def test_a_running_daemon_reads_the_source_at_once(live: World) -> None:
    call = live.call()
    live.hubspot.faults.add("daily")
    with serving(seldom(live)) as running:
        running.after(1)
        live.hubspot.faults.clear()
        assert pauses(live) == {"hubspot"}
        with LedgerHandle(live.ledger).operate() as operator:
            operator.resume("hubspot", now=live.now())
        wait_until(lambda: call in live.delivered, at_most=5.0)
