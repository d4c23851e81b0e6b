"""`syncd adopt` takes over the deliveries of a lost ledger: nothing is doubled, and nothing counts as foreign."""

import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer

from syncd import clock
from syncd.cli import adopting, asking
from syncd.ledger import LedgerHandle
from syncd.passes import adoption
from tests.conftest import Command
from tests.daemons import ROOT, wait_until
from tests.test_adoption import begin
from tests.test_ledger_sqlite_schemas import of_schema
from tests.world import World

SINCE = "2026-02-01"
DAY = timedelta(days=1)
MAY = datetime(2026, 5, 1, 10, tzinfo=UTC)  # the watermarks of the ledgers of earlier schemas


def lose(world: World) -> None:
    shutil.rmtree(world.ledger.parent)


def keep(world: World) -> Path:
    return Path(shutil.copytree(world.ledger.parent, world.path / "backup"))


def restore(world: World, backup: Path) -> None:
    lose(world)
    shutil.copytree(backup, world.ledger.parent)


def sync(world: World, command: Command) -> None:
    assert command("sync", "-c", world.write_config()).code == 0


def adopt(world: World, command: Command, since: str = SINCE) -> str:
    ran = command("adopt", "--since", since, "--yes", "-c", world.config_file)
    assert ran.code == 0, ran.err
    return ran.out


def books(world: World) -> tuple[int, int, int, int]:
    """Return how many are created, duplicate, foreign duplicates and adopted."""
    status = world.status()
    assert status["balanced"]
    return (*status["verdicts"].values(), status["adopted"])


def test_a_lost_ledger_is_filled_again_and_nothing_is_doubled_or_foreign(live: World, command: Command) -> None:
    ids = [*live.calls(60), live.email()]
    sync(live, command)
    lose(live)
    new = live.calls(3)
    out = adopt(live, command)
    assert live.delivered == {*ids, *new}
    assert (live.recotap.doubled, books(live)) == (0, (3, 61, 0, 61))
    assert out == "read 64 records: 61 activities adopted, 3 created\n"
    assert live.status()["adoption"]["ended_at"] is not None
    assert live.row(ids[0])["attempts"][-1]["detail"] == adoption.ADOPTED
    assert "adopted: 61 of the duplicates. The adoption began " in command("status", "-c", live.config_file).out


def test_an_older_backup_goes_on_with_its_own_rows_and_adopts_what_was_delivered_since(
    live: World, command: Command
) -> None:
    """One row waits in the backup, and is delivered after it."""
    before = live.calls(5)
    nameless = live.person("lena.marsh", address=None)
    waiting = live.call(contacts=[nameless])
    sync(live, command)
    backup = keep(live)
    assert live.state(waiting) == "incomplete no_contact_email"
    live.hubspot.edit("contacts", nameless, email="lena.marsh@amber-bolts.com")
    after = live.calls(7, first_ago=timedelta(minutes=50))
    assert command("retry", waiting, "-c", live.config_file).code == 0
    sync(live, command)
    assert live.delivered == {*before, waiting, *after}
    restore(live, backup)
    assert command("retry", waiting, "-c", live.config_file).code == 0
    adopt(live, command)
    assert (live.recotap.doubled, books(live)) == (0, (5, 8, 0, 8))
    assert live.row(before[0])["verdict"] == "created"


def test_what_lies_before_the_watermark_of_a_backup_is_read_from_the_time_that_is_given(
    live: World, command: Command
) -> None:
    """E.g. records that a backfill brought into the lost ledger, or that were booked late."""
    live.calls(3)
    sync(live, command)
    backup = keep(live)
    late = live.call(ago=timedelta(days=20))
    assert command("backfill", "--since", SINCE, "-c", live.config_file).code == 0
    sync(live, command)
    restore(live, backup)
    sync(live, command)
    assert live.stream()["seen"] == 3, "neither the overlap nor the sweep reaches it"
    adopt(live, command)
    assert live.row(late)["verdict"] == "duplicate"
    assert (live.recotap.doubled, books(live)) == (0, (3, 1, 0, 1))


def test_an_earlier_time_than_the_start_reads_what_the_lost_ledger_had_backfilled(
    live: World, command: Command
) -> None:
    old = live.call(ago=timedelta(days=400))
    new = live.call()
    live.configure("sources.hubspot", start=datetime.now(UTC) - timedelta(days=500))
    sync(live, command)
    lose(live)
    live.configure("sources.hubspot", start=datetime.now(UTC) - timedelta(days=30))
    live.write_config()
    adopt(live, command, since="2025-01-01")
    assert {live.row(each)["verdict"] for each in (old, new)} == {"duplicate"}
    assert live.recotap.doubled == 0


def test_a_killed_adoption_goes_on_with_the_next_pass_of_any_command(live: World, command: Command) -> None:
    ids = live.calls(230)
    sync(live, command)
    lose(live)
    live.recotap.faults.add("slow", match="sales-activities", seconds=1.0, count=None)
    posts = live.recotap.requests["post"]
    line = [sys.executable, "-m", "syncd", "adopt", "--since", SINCE, "--yes", "-c", str(live.config_file)]
    with subprocess.Popen(line, stderr=subprocess.DEVNULL, cwd=ROOT) as process:
        try:
            wait_until(lambda: live.recotap.requests["post"] >= posts + 2)
        finally:
            process.kill()
    live.recotap.faults.clear()
    assert live.status()["adoption"]["ended_at"] is None
    sync(live, command)
    created, ours, foreign, adopted = books(live)
    assert (live.recotap.doubled, created, ours, foreign) == (0, 0, 230, 0)
    assert 0 < adopted <= 230, "those that were under way at the kill are our own by their unknown outcome"
    assert live.status()["adoption"]["ended_at"] is not None
    assert live.delivered == set(ids)


class TestTheQuestion:
    @pytest.mark.parametrize(("answer", "code", "adopted"), [(True, 0, True), (False, 0, False)])
    def test_the_cost_is_stated_first(
        self, live: World, command: Command, monkeypatch: pytest.MonkeyPatch, answer: bool, code: int, adopted: bool
    ) -> None:
        live.calls(60)
        live.write_config()
        monkeypatch.setattr(adopting, "has_terminal", lambda: True)
        monkeypatch.setattr(typer, "confirm", lambda text, err: answer)
        ran = command("adopt", "--since", SINCE, "-c", live.config_file)
        assert ran.code == code
        assert "hubspot calls: 60 records modified since 2026-01-01T00:00:00.000Z\n" in ran.err, "its start"
        assert "in all 60 records to read, and up to as many activities to push, in 2 requests\n" in ran.err
        assert live.ledger.exists() is adopted, "a `no` leaves no empty ledger in the way of a restored one"
        assert (adopting.NOTHING_DONE in ran.err) is not adopted

    def test_a_backup_of_an_older_syncd_counts_from_its_watermarks(self, live: World) -> None:
        backup = of_schema(7, live.path)
        live.configure("ledger", path=str(backup))
        found = [*adopting.costs(live.config(), LedgerHandle(backup), MAY + DAY)]
        overlap = timedelta(minutes=15)
        assert [(each.stream, each.since) for each in found] == [("calls", MAY - overlap), ("emails", MAY - overlap)]

    def test_without_a_terminal_it_needs_yes(self, live: World, command: Command) -> None:
        ran = command("adopt", "--since", SINCE, "-c", live.config_file)
        assert (ran.code, "--yes" in ran.err, live.hubspot.requests.total()) == (2, True, 0)

    def test_a_time_in_the_future_is_2(self, live: World, command: Command) -> None:
        ran = command("adopt", "--since", "2999-01-01", "--yes", "-c", live.config_file)
        assert (ran.code, "lies in the future" in ran.err) == (2, True)

    def test_an_interrupt_at_the_question_is_130(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: object, **__: object) -> bool:
            raise typer.Abort

        monkeypatch.setattr(typer, "confirm", interrupted)
        with pytest.raises(typer.Exit) as left:
            adopting.is_sure()
        assert left.value.exit_code == 130


class TestItFails:
    def test_before_anything_if_a_crm_cannot_be_counted(
        self, live: World, command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(asking, "sleep", lambda seconds: None)
        live.hubspot.faults.add("answer", match="search", status=500, count=None)
        ran = command("adopt", "--since", SINCE, "--yes", "-c", live.config_file)
        assert (ran.code, live.ledger.exists()) == (69, False)

    def test_at_once_if_another_syncd_holds_the_ledger(self, live: World, command: Command) -> None:
        with LedgerHandle(live.ledger).hold("sync"):
            ran = command("adopt", "--since", SINCE, "--yes", "-c", live.config_file)
        assert (ran.code, live.hubspot.requests.total()) == (75, 0)

    def test_with_what_ended_its_pass_and_says_that_it_goes_on(self, live: World, command: Command) -> None:
        live.calls(3)
        live.recotap.set(keys=["another-key"])
        ran = command("adopt", "--since", SINCE, "--yes", "-c", live.config_file)
        assert ran.code == 77
        assert live.status()["activities"]["pending"] == 3

    def test_without_the_end_of_its_reading_it_is_69(self, live: World, command: Command) -> None:
        """A range waits for its time. More passes would not read it."""
        live.calls(3)
        sync(live, command)
        begin(live)
        live.sql("UPDATE ranges SET next_attempt_at = ?", clock.text(live.now() + DAY))
        with live.counted() as requests:
            ran = command("adopt", "--since", SINCE, "--yes", "-c", live.config_file)
        assert (ran.code, adopting.GOES_ON in ran.err) == (69, True)
        assert live.sql("SELECT count(*) FROM passes") == [(3,)], "the second one of the command moved nothing"
        assert "post" not in requests
