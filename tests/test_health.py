"""`syncd health`: alive, ready, fresh, answered from the ledger alone."""

import json
import os
import time
from datetime import timedelta

import pytest

from syncd.ledger import LedgerHandle
from syncd.reporting import health
from syncd.sandbox import Fault
from tests.conftest import Command
from tests.daemons import daemon, wait_until
from tests.planted import NOBODY, ROOT_ONLY
from tests.world import World


def answers(live: World, *, later: timedelta = timedelta(0)) -> dict[str, bool]:
    document = health.document(list(health.findings(live.config(), live.now() + later)))
    return {probe: document[probe] for probe in health.PROBES}


def problems(live: World, *, later: timedelta = timedelta(0)) -> list[str]:
    """Return what is not fresh."""
    found = health.findings(live.config(), live.now() + later)
    return [each.message for each in found if each.what == "fresh" and not each.ok]


ALL = {"alive": True, "ready": True, "fresh": True}


def test_a_daemon_at_work_is_alive_ready_and_fresh(live: World, command: Command) -> None:
    live.configure("schedule", every="300ms")
    with daemon(live.write_config()) as running:
        running.hear("pass.finished")
        requests = dict(live.hubspot.requests)
        ran = command("health", "-c", live.config_file, "--json")
        assert (ran.code, json.loads(ran.out)) == (0, {**ALL, "problems": []})
        shown = command("health", "-c", live.config_file).out.splitlines()
        assert [line.split()[1] for line in shown] == ["alive:", "ready:", "fresh:", "fresh:"]
        assert command("health", "--probe", "alive", "-c", live.config_file).out.count("\n") == 1
        assert running.stop() == 0
    assert requests
    ran = command("health", "-c", live.config_file, "--json")
    document = json.loads(ran.out)
    assert ran.code == 69
    assert (document["alive"], document["ready"]) == (False, False)
    hints = {problem["probe"]: problem["hint"] for problem in document["problems"]}
    assert hints["alive"] == hints["ready"] == "start `syncd run`"


@pytest.mark.parametrize("way", ["a link to the file", "a link to the folder", "a link to a link"])
def test_a_daemon_is_alive_whatever_links_lead_to_its_ledger(live: World, command: Command, way: str) -> None:
    live.configure("schedule", every="300ms", stuck_after="1s")
    live.sync()
    (live.path / "folder").symlink_to(live.ledger.parent.name)
    (live.path / "file.db").symlink_to(live.ledger)
    (live.path / "again.db").symlink_to("file.db")
    name = {"a link to the file": "file.db", "a link to the folder": "folder/ledger.db"}.get(way, "again.db")
    live.configure("ledger", path=str(live.path / name))
    with daemon(live.write_config()) as running:
        running.hear("pass.finished")
        os.utime(live.ledger, (0, 0))  # as if only the log had been written for long
        ran = command("health", "-c", live.config_file, "--json")
        assert (ran.code, json.loads(ran.out)) == (0, {**ALL, "problems": []})
        assert command("health", "--probe", "alive", "-c", live.config_file).code == 0
        assert command("sync", "-c", live.config_file).code == 75
        assert running.stop() == 0
    assert not list(live.path.glob("*.lock"))


@ROOT_ONLY
@pytest.mark.parametrize("where", ["the file", "the folder"])
def test_a_link_of_another_user_is_refused_in_the_same_words_by_every_command(
    live: World, command: Command, where: str
) -> None:
    live.sync()
    live.sync()
    link = live.path / "theirs"
    link.symlink_to(live.ledger if where == "the file" else live.ledger.parent)
    os.lchown(link, NOBODY, NOBODY)
    live.configure("ledger", path=str(link if where == "the file" else link / "ledger.db"))
    file = live.write_config()
    said = "symbolic link of user 65534"
    for line in ("sync", "run", "status", "status --json", "explain x", "retry x", "ledger recount", "sync --dry-run"):
        ran = command(*line.split(), "-c", file)
        assert (ran.code, said in ran.err) == (74, True), (line, ran)
    for line in ("health", "health --probe alive", "check"):
        ran = command(*line.split(), "-c", file)
        assert (ran.code, said in ran.out + ran.err) == (74, True), (line, ran)


def test_it_asks_nobody_and_writes_nothing(live: World, command: Command) -> None:
    live.sync()
    before, asked = live.ledger.read_bytes(), dict(live.hubspot.requests)
    command("health", "-c", live.config_file)
    assert live.ledger.read_bytes() == before
    assert dict(live.hubspot.requests) == asked
    assert not list(live.ledger.parent.glob("*-wal"))


@pytest.mark.parametrize(
    ("schedule", "fresh_until"),
    [({"every": "5m"}, timedelta(minutes=15)), ({"cron": "0 * * * *"}, timedelta(hours=2))],
)
def test_three_intervals_without_a_successful_pass_are_not_fresh(live: World, schedule, fresh_until) -> None:
    live.configure("schedule", **schedule)
    live.sync()
    with LedgerHandle(live.ledger).hold("run"):
        assert answers(live) == ALL
        assert answers(live, later=fresh_until - timedelta(seconds=30))["fresh"]
        assert not answers(live, later=fresh_until + timedelta(hours=1))["fresh"]


def test_a_first_pass_may_take_its_time(live: World) -> None:
    with LedgerHandle(live.ledger).hold("run"), LedgerHandle(live.ledger).open() as ledger:
        assert not answers(live)["fresh"], "nobody has begun"
        pass_id = ledger.begin_pass(live.now())
        assert answers(live)["fresh"]
        ledger.end_pass(pass_id, exit_code=69, now=live.now())
        assert not answers(live)["fresh"]


def test_a_recotap_that_takes_nothing_is_not_fresh_however_well_the_crm_is_read(live: World) -> None:
    """Else a key that Recotap refuses would never be noticed by whoever watches health alone."""
    live.calls(2)
    live.recotap.faults.add(Fault(match="sales-activities", status=401, count=None))
    live.sync()
    with LedgerHandle(live.ledger).hold("run"):
        assert answers(live)["fresh"]
        live.sql("UPDATE streams SET last_success_at = '2026-12-31T00:00:00.000Z'")
        document = health.document(list(health.findings(live.config(), live.now() + timedelta(minutes=16))))
    messages = [problem["message"].split(" since ")[0] for problem in document["problems"]]
    assert "Recotap was sent activities, and has taken none" in messages
    hints = {problem["hint"] for problem in document["problems"]}
    assert "`syncd status` shows the last error, the log a remedy" in hints
    live.recotap.faults.clear()
    live.sync()
    with LedgerHandle(live.ledger).hold("run"):
        assert answers(live)["fresh"]


def test_what_recotap_refuses_and_what_backs_off_is_an_answer(live: World) -> None:
    live.calls(2)
    live.recotap.rule("refuse")
    live.sync()
    assert live.status()["activities"]["pending"] == 2
    live.sql("UPDATE streams SET last_success_at = '2026-12-31T00:00:00.000Z'")
    with LedgerHandle(live.ledger).hold("run"):
        found = list(health.findings(live.config(), live.now() + timedelta(hours=5)))
    assert all("Recotap was sent" not in finding.message for finding in found)


def test_a_time_that_is_yet_to_come_proves_nothing(live: World) -> None:
    live.sync()
    live.sql("UPDATE streams SET last_success_at = '2099-01-01T00:00:00.000Z'")
    with LedgerHandle(live.ledger).hold("run"):
        assert answers(live) == {**ALL, "fresh": False}


def test_intervals_that_pass_while_a_pass_is_under_way_count_for_each_source(live: World) -> None:
    """Otherwise a source that reads for hours would hide itself, and every source that waits."""
    live.configure("sources.hubspot")
    live.configure("sources.nightly", **live.source(), schedule={"cron": "0 3 * * *"})
    live.sync(sources=live.config().sources[:1])
    with LedgerHandle(live.ledger).hold("run"), LedgerHandle(live.ledger).open() as ledger:
        ledger.stream_id("nightly", "calls")
        live.sql("UPDATE streams SET last_success_at = (SELECT max(last_success_at) FROM streams)")
        ledger.begin_pass(live.now())
        assert problems(live, later=timedelta(minutes=14)) == []
        (problem,) = problems(live, later=timedelta(minutes=16))
        assert "hubspot was last read to its end" in problem, "each source has its own freshness"


@pytest.mark.parametrize(("schedule", "long"), [({"every": "5m"}, 15), ({"every": "300ms"}, 1)])
def test_a_first_import_that_takes_longer_than_three_intervals_is_not_fresh(live: World, schedule, long) -> None:
    live.configure("schedule", **schedule)
    live.hubspot.faults.add(Fault(match="calls/search", status=503, count=None))
    live.sync()
    with LedgerHandle(live.ledger).hold("run"), LedgerHandle(live.ledger).open() as ledger:
        pass_id = ledger.begin_pass(live.now())
        assert problems(live, later=timedelta(minutes=long - 0.5)) == []
        (problem,) = problems(live, later=timedelta(minutes=long + 0.5))
        assert problem.startswith("hubspot is in its first import since 20")
        hints = [each.hint for each in health.findings(live.config(), live.now() + timedelta(minutes=long + 0.5))]
        assert "`syncd status` shows its watermark and its last error. Without an error it goes on by itself" in hints
        (wrong_clock,) = problems(live, later=-timedelta(days=3))
        assert wrong_clock == problem
        ledger.end_pass(pass_id, exit_code=0, now=live.now())
        assert problems(live) == [], "between two passes, too"
    assert problems(live) == ["hubspot was never read to its end"], "nobody reads it"
    live.hubspot.faults.clear()
    live.sync()
    with LedgerHandle(live.ledger).hold("run"):
        assert problems(live) == []


def test_a_pass_that_was_killed_is_not_one_that_hangs(live: World) -> None:
    """Else a daemon by cron, started again, would be restarted for it until cron's next time."""
    live.configure("schedule", cron="0 0 1 1 *")
    live.sync()
    with LedgerHandle(live.ledger).open() as ledger:
        ledger.begin_pass(live.now())
    with daemon(live.write_config()) as running:
        running.hear("run.started")
        wait_until(lambda: running.told)
        assert answers(live, later=timedelta(hours=1))["alive"]
        assert running.stop() == 0


def test_the_source_with_the_longest_silence_decides(live: World) -> None:
    live.sync()
    live.sql("UPDATE streams SET last_success_at = '2026-01-01T00:00:00.000Z' WHERE stream = 'emails'")
    with LedgerHandle(live.ledger).hold("run"):
        assert answers(live) == {**ALL, "fresh": False}


def test_a_pass_that_writes_nothing_for_too_long_is_not_alive(live: World) -> None:
    live.sync()
    with LedgerHandle(live.ledger).hold("run"), LedgerHandle(live.ledger).open() as ledger:
        ledger.begin_pass(live.now())
        assert answers(live, later=timedelta(minutes=14))["alive"]
        assert not answers(live, later=timedelta(minutes=16))["alive"]
        old = time.time() - 16 * 60
        for part in live.ledger.parent.iterdir():
            os.utime(part, (old, old))
        (found,) = [each for each in health.findings(live.config(), live.now()) if each.what == "alive"]
        assert (found.ok, found.hint) == (False, "restart it: nothing is lost")
        ledger.pause_until("hubspot", live.now(), "whatever a pass writes", now=live.now())
        assert answers(live)["alive"]


def test_a_pass_by_hand_is_alive_but_no_daemon(live: World) -> None:
    live.sync()
    with LedgerHandle(live.ledger).hold("sync"):
        assert answers(live) == {**ALL, "ready": False}


def test_a_clock_that_no_server_confirms_is_not_fresh_and_named(live: World) -> None:
    live.sync()
    with LedgerHandle(live.ledger).open() as ledger:
        ledger.doubt_clock(live.now())
    with LedgerHandle(live.ledger).hold("run"):
        (found,) = [each for each in health.findings(live.config(), live.now()) if not each.ok]
    assert found.message == "no server confirms this machine's clock, so nothing settles"
    assert (found.hint, found.exit_code) == ("`syncd check` names the wrong clock", 69)


def test_books_that_do_not_balance_are_not_ready_and_4(live: World, command: Command) -> None:
    live.calls(2)
    live.sync()
    live.sql("DELETE FROM activities WHERE id = 1")
    with LedgerHandle(live.ledger).hold("run"):
        assert answers(live) == {**ALL, "ready": False}
        ran = command("health", "--probe", "ready", "-c", live.config_file)
        assert ran.code == 4
        assert "rows were removed by hand: restore a backup, or let `syncd verify --repair` book them again" in ran.out


def test_a_ledger_that_is_not_there_or_damaged_is_74(live: World, command: Command) -> None:
    ran = command("health", "-c", live.config_file)
    assert ran.code == 74
    assert "no ledger" in ran.out
    live.ledger.parent.mkdir()
    live.ledger.write_bytes(b"no ledger" * 1000)
    assert command("health", "-c", live.config_file).code == 74


def test_an_unknown_probe_is_a_wrong_command_line(live: World, command: Command) -> None:
    assert command("health", "--probe", "happy", "-c", live.config_file).code == 2
