"""`syncd verify --repair` books what is missing, by passes that read and send nothing else."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncd import clock
from syncd.errors import Exit
from syncd.ledger import LedgerHandle
from syncd.passes import repair
from syncd.passes.verify import Compared, Verification
from syncd.sandbox import Fault
from tests.conftest import Command
from tests.drops import call, email
from tests.orgs import OrgWorld
from tests.test_verify import dig
from tests.world import World


@pytest.mark.parametrize("balanced", [True, False])
def test_holes_are_filled_nothing_is_doubled_and_the_books_balance(
    live: World, command: Command, *, balanced: bool
) -> None:
    calls, email = live.calls(6), live.email()
    live.sync()
    late = live.call(ago=timedelta(minutes=1))  # behind no watermark: left to the next pass
    watermarks = live.sql("SELECT watermark, swept_at FROM streams ORDER BY id")
    dig(live, [calls[1], calls[4], email], balanced=balanced)
    file = live.write_config()
    ran = command("verify", "--repair", "--json", "-c", file)
    found = json.loads(ran.out)["hubspot"]
    assert ran.code == 0, ran.err
    assert (found["calls"]["missing"], sorted(found["calls"]["repaired"])) == ([], sorted([calls[1], calls[4]]))
    assert (found["emails"]["missing"], found["emails"]["repaired"]) == ([], [email])
    assert "missing activities that were booked: 3" in ran.err
    assert ("its books balance again" in ran.err) is not balanced
    assert live.delivered == {*calls, email}
    assert len(live.recotap.stored) == 7, "Recotap holds each once"
    assert late not in live.delivered
    assert live.sql("SELECT watermark, swept_at FROM streams ORDER BY id") == watermarks
    assert live.sql("SELECT verdict, count(*) FROM activities GROUP BY 1 ORDER BY 1") == [
        ("created", 4), ("foreign_duplicate", 3),
    ]  # fmt: skip
    assert live.sql("SELECT sum(seen) FROM streams") == [(7,)]
    assert (command("ledger", "recount", "-c", file).code, command("status", "-c", file).code) == (0, 0)
    assert command("verify", "-c", file).code == 0


def test_only_what_is_missing_is_sent(live: World, command: Command) -> None:
    hole, waiting = live.calls(2)
    live.sync()
    fault = live.recotap.faults.add(Fault(match="sales-activities", status=503, count=None))
    pending = live.call(ago=timedelta(minutes=30))
    live.sync()
    assert (live.state(pending), fault.hits > 0) == ("pending", True)
    live.recotap.faults.clear()
    dig(live, [hole])
    live.recotap.stored.clear()
    assert command("verify", "--repair", "-c", live.write_config()).code == 0
    assert (live.delivered, live.state(pending)) == ({hole}, "pending")
    assert live.state(waiting) == "delivered"


def test_each_stream_of_salesforce_is_repaired(tmp_path: Path, command: Command) -> None:
    with OrgWorld(tmp_path, real_time=True) as world:
        ids = [world.task(ago=timedelta(days=2)), world.mail(ago=timedelta(days=2))]
        ids.append(world.task(TaskSubtype="Email", ago=timedelta(days=2)))
        world.task(ago=timedelta(hours=3))
        world.sync()
        before = {name: item for name, (item, _) in world.recotap.stored.items()}
        dig(world, ids)
        world.recotap.stored.clear()
        ran = command("verify", "--repair", "-c", world.write_config())
        assert ran.code == 0, ran.err
        assert {name: item for name, (item, _) in world.recotap.stored.items()} == {
            name: before[name] for name in before if name.rpartition("-")[2] in ids
        }, "as they were sent"
        assert [world.state(each) for each in ids] == ["delivered"] * 3


def test_files_are_compared_too_and_none_is_moved(live: World, command: Command) -> None:
    drop = live.path / "drop"
    drop.mkdir()
    live.configure("sources.files", connector="jsonl", path=str(drop), start=datetime(2026, 1, 1, tzinfo=UTC))
    (drop / "monday.jsonl").write_text("\n".join([call("c1"), email("e1"), call("c2"), "{", call("c3"), ""]))
    aged = time.time() - 120  # syncd leaves a file alone that may still grow
    os.utime(drop / "monday.jsonl", (aged, aged))
    file = live.write_config()
    assert command("sync", "-c", file).code == 0
    (drop / "tuesday.jsonl").write_text(call("c4"))  # the next pass reads it
    before = sorted(path.name for path in drop.rglob("*"))
    dig(live, ["c2", "e1"])
    ran = command("verify", "-c", file)
    assert (ran.code, "files calls: missing c2" in ran.out, "files emails: missing e1" in ran.out) == (4, True, True)
    assert ran.out.count("missing ") == 2, ran.out
    assert sorted(path.name for path in drop.rglob("*")) == before
    out = command("verify", "--repair", "-c", file).out.splitlines()
    assert "files calls: 4 in the CRM, 3 in the ledger, 0 missing, 0 unexpected, 1 repaired" in out
    assert "files calls: repaired c2" in out
    names = {"files-call-c1", "files-call-c2", "files-call-c3", "files-email-e1"}
    assert (set(live.recotap.stored), live.recotap.doubled) == (names, 0)


def test_what_cannot_be_booked_stays_missing_and_is_4(live: World, command: Command) -> None:
    calls = live.calls(3)
    live.sync()
    dig(live, [calls[0]])
    live.recotap.faults.add(Fault(match="sales-activities", status=503, count=None))
    ran = command("verify", "--repair", "-c", live.write_config())
    assert (ran.code, live.state(calls[0])) == (69, "pending"), "booked, and sent by a later pass"
    dig(live, [calls[1]])
    gone = Verification.streams

    def then_down(self: Verification, *arguments: object) -> object:
        yield from gone(self, *arguments)  # type: ignore[arg-type]
        live.hubspot.faults.add(Fault(match="batch/read", status=503, count=None))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Verification, "streams", then_down)
        patch.setattr("connectors.hubspot.client.Client._sleep", lambda self, seconds: None)
        ran = command("verify", "--repair", "-c", live.config_file)
    assert ran.code == 4
    assert f"hubspot calls: missing {calls[1]}" in ran.out
    assert "the log names the cause" in ran.err
    live.hubspot.faults.clear()


def test_deleted_rows_whose_record_the_crm_lacks_too_are_not_counted_any_more(live: World, command: Command) -> None:
    calls = live.calls(4)
    live.sync()
    dig(live, calls[:2])
    live.hubspot.delete("calls", calls[0])
    file = live.write_config()
    ran = command("verify", "--repair", "--json", "-c", file)
    assert json.loads(ran.out)["hubspot"]["calls"]["repaired"] == [calls[1]]
    assert "or that were booked again before: 1" in ran.err
    assert (ran.code, live.sql("SELECT seen FROM streams WHERE stream = 'calls'")) == (0, [(3,)])
    assert command("ledger", "recount", "-c", file).code == 0


def test_rows_that_an_ordinary_pass_booked_again_balance_and_later_ones_still_show(
    live: World, command: Command
) -> None:
    calls = live.calls(3, first_ago=timedelta(minutes=20))
    live.sync()
    dig(live, calls[2:])
    assert live.sync().exit_code == Exit.UNBALANCED, "the overlap has booked it again, as one more"
    file = live.write_config()
    assert command("ledger", "recount", "-c", file).code == Exit.UNBALANCED, "which lists nothing"
    assert command("verify", "-c", file).code == 0
    assert command("status", "-c", file).code == Exit.UNBALANCED, "it only looks"
    ran = command("verify", "--repair", "-c", file)
    assert (ran.code, "its books balance again" in ran.err) == (0, True), ran.err
    assert (command("status", "-c", file).code, live.sync().exit_code) == (0, Exit.OK)
    dig(live, calls[:1])
    assert command("status", "-c", file).code == Exit.UNBALANCED


@pytest.mark.parametrize("how", ["--quick", "--since", "range"])
def test_what_was_not_listed_whole_stays_unbalanced_and_the_remedy_is_named(
    live: World, command: Command, how: str
) -> None:
    calls = live.calls(3)
    live.sync()
    dig(live, calls[:1])
    live.hubspot.delete("calls", calls[0])
    since = str((live.now() - timedelta(days=3)).date())
    options = {"--quick": ["--quick"], "--since": ["--since", since]}.get(how, [])
    if how == "range":
        live.sql(
            "INSERT INTO ranges (stream_id, since, until, why, created_at) SELECT id, ?, ?, 'gap', ? FROM streams",
            *(clock.text(live.now() - timedelta(days=days)) for days in (40, 39, 1)),
        )
    ran = command("verify", "--repair", *options, "-c", live.write_config())
    assert (ran.code, live.sql("SELECT seen FROM streams WHERE stream = 'calls'")) == (Exit.UNBALANCED, [(3,)])
    assert "the books do not balance" in ran.err
    assert "syncd verify --repair --since TIME" in " ".join(ran.err.split())


def test_another_syncd_that_holds_the_ledger_is_75(live: World, command: Command) -> None:
    live.call()
    live.sync()
    file = live.write_config()
    with LedgerHandle(live.ledger).hold("run"):
        assert command("verify", "--repair", "-c", file).code == 75
        assert command("verify", "-c", file).code == 0, "which does not hold it"


def test_a_pass_takes_a_bounded_number_of_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "AT_ONCE", 3)
    found = [Compared("a", "calls", missing="12"), Compared("a", "emails", missing="345"), Compared("b", "calls")]
    assert [*repair.batches(found)] == [{"a": {"calls": ["1", "2"], "emails": ["3"]}}, {"a": {"emails": ["4", "5"]}}]
    assert [*repair.batches([Compared("a", "calls", missing="123")])] == [{"a": {"calls": ["1", "2", "3"]}}]
    assert Exit.UNBALANCED in found[0].exit_codes
