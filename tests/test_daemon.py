"""`syncd run` end to end: its own process, stand-ins over HTTP, signals, and a service manager."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from syncd.sandbox import Fault
from tests.conftest import Command
from tests.daemons import ROOT, Daemon, daemon, wait_until
from tests.drops import call as line
from tests.world import World


def often(world: World, **schedule: str) -> World:
    """Configure a pass every 300 ms, or by `schedule`."""
    world.configure("schedule", **({"every": "300ms"} | schedule))
    world.write_config()
    return world


def deadline(world: World, seconds: int) -> None:
    world.configure("recotap", timeout=f"{seconds}s")
    world.configure("sources.hubspot", timeout=f"{seconds}s")


# -- passes ---------------------------------------------------------------------------------


def test_it_delivers_goes_on_by_itself_and_ends_with_0_when_asked(live: World) -> None:
    live.calls(3)
    with daemon(often(live).config_file, alone=True) as running:
        wait_until(lambda: len(live.delivered) == 3)
        live.calls(2)
        wait_until(lambda: len(live.delivered) == 5)
        running.hear("pass.finished", 4)
        assert running.stop() == 0
    events = [line["event"] for line in running.lines]
    assert events[-1] == "run.finished"
    assert "run.stopping" in events[-4:-1], "nothing begins after the stop; one pass may have been under way"
    assert {line["exit_code"] for line in running.said("pass.finished")[:4]} == {0}
    assert live.recotap.doubled == 0
    assert live.status()["balanced"]


def test_each_source_has_its_own_interval(live: World) -> None:
    live.configure("sources.hubspot", schedule={"every": "300ms"}, external_id="{source}-{kind}-{id}")
    live.configure("sources.other", **live.source(base_url="http://127.0.0.1:9"), schedule={"every": "1h"})
    often(live, every="1h")
    with daemon(live.config_file) as running:
        running.hear("pass.finished", 4)
        started = running.hear("run.started")
        assert started["sources"] == {"hubspot": "every 0.3s", "other": "every 1h"}
        assert running.stop() == 0
    failed = [line for line in running.said("pull.failed") if line["source"] == "other"]
    assert len(failed) == 1, "a source that fails is asked at its own time, and stops no other"


def test_what_backs_off_is_sent_when_its_time_has_come_though_no_source_is_due(live: World) -> None:
    live.calls(1)
    live.recotap.faults.add(Fault("answer", match="sales-activities", status=503, count=None))
    with daemon(often(live, every="1h").config_file) as running:
        running.hear("pass.finished")
        live.recotap.faults.clear()
        assert live.delivered == set()
        assert running.stop() == 0
    live.configure("schedule", cron="0 0 1 1 *", every="")
    with daemon(live.write_config()) as running:
        wait_until(lambda: len(live.delivered) == 1)
        assert not running.said("pull.finished"), "by cron no source is due, but what waits is sent"
        assert running.stop() == 0


def test_by_cron_a_new_ledger_is_filled_at_once_and_what_was_missed_is_made_up_once(live: World) -> None:
    live.calls(1)
    live.configure("schedule", cron="0 0 1 1 *", timezone="Europe/Berlin")
    with daemon(live.write_config()) as running:
        wait_until(lambda: len(live.delivered) == 1)
        running.hear("pass.finished")
        assert running.stop() == 0
    live.sql("UPDATE streams SET last_success_at = '2020-05-01T00:00:00.000Z'")
    with daemon(live.write_config()) as running:
        running.hear("pass.finished")
        time.sleep(1.0)
        assert running.stop() == 0
    assert len(running.said("pass.finished")) == 1
    with daemon(live.write_config()) as running:
        running.hear("run.started")
        time.sleep(1.0)
        assert running.stop() == 0
    assert not running.said("pass.finished"), "it was made up already"


def test_a_pass_longer_than_its_interval_skips_times_and_says_so(live: World) -> None:
    live.hubspot.faults.add(Fault("slow", match="/calls/search", seconds=1.5, count=1))
    with daemon(often(live).config_file) as running:
        skipped = running.hear("tick.skipped")
        assert skipped["source"] == "hubspot"
        assert skipped["ticks"] >= 2
        assert "raise it" in skipped["hint"]
        running.hear("pass.finished", 2)
        assert running.stop() == 0
    assert running.said("run.finished")[0]["skipped_ticks"] >= skipped["ticks"]


def test_what_is_unreachable_ends_nothing_and_comes_when_it_is_back(live: World) -> None:
    live.calls(2)
    live.hubspot.faults.add(Fault("close", count=None))
    with daemon(often(live).config_file) as running:
        failed = running.hear("pull.failed")
        assert failed["hint"]
        wait_until(lambda: "FAILED" in running.status)
        live.hubspot.faults.clear()
        wait_until(lambda: len(live.delivered) == 2)
        wait_until(lambda: " ok" in running.status)
        assert running.stop() == 0


# -- the end --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_books_the_request_under_way_or_meets_its_deadline_and_2_s(live: World, number: signal.Signals) -> None:
    deadline(live, 2)
    live.calls(1)
    hang = live.recotap.faults.add(Fault("hang", match="sales-activities", after=True, seconds=60, count=1))
    with daemon(often(live).config_file) as running:
        wait_until(lambda: hang.hits == 1)
        began = time.monotonic()
        running.signal(number)
        assert running.wait() == 0
        assert time.monotonic() - began < 4.5
        assert "stopping" in running.status
        assert "STOPPING=1" in [message for _, message in running.told]
    ((verdict,),) = live.sql("SELECT verdict FROM attempts")
    assert verdict == "unanswered"
    live.recotap.faults.clear()
    with daemon(live.config_file) as running:
        wait_until(lambda: live.status()["verdicts"]["duplicate"] == 1)
        assert running.stop() == 0
    assert live.recotap.doubled == 0


def test_a_second_signal_leaves_at_once_and_nothing_is_lost_or_doubled(live: World) -> None:
    live.calls(1)
    hang = live.recotap.faults.add(Fault("hang", match="sales-activities", after=True, seconds=60, count=1))
    with daemon(often(live).config_file) as running:
        wait_until(lambda: hang.hits == 1)
        running.signal(signal.SIGTERM)
        running.hear("run.stopping")
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        assert running.wait() == 143
        assert time.monotonic() - began < 1.5
    live.recotap.faults.clear()
    with daemon(live.config_file) as running:
        wait_until(lambda: live.status()["verdicts"]["duplicate"] == 1)
        assert running.stop() == 0
    assert live.recotap.doubled == 0


@pytest.mark.parametrize(
    ("hangs", "end"),
    [
        ("Sleeper.identity", "run.finished"),
        ("Sleeper.normalize", "run.finished"),
        ("Ledger.book", "run.left"),
    ],
)
def test_what_does_not_end_by_its_deadline_is_left(live: World, hangs: str, end: str) -> None:
    """Here a connector that sleeps stands for a resolver that hangs: neither has a bound.

    A reader's thread is left by the pass, which ends as ever. The pass's own thread is left by the process.
    """
    (live.path / "sleeper.py").write_text(
        "import pathlib, time\n"
        "from connectors.hubspot import HubSpot\n"
        "from syncd.ledger import Ledger\n"
        "class Sleeper(HubSpot):\n"
        "    pass\n"
        "def sleep(*_, **more):\n"
        f"    pathlib.Path({str(live.path / 'asleep')!r}).touch()\n"
        "    time.sleep(60)\n"
        f"{hangs} = sleep\n"
    )
    package = live.path / "sleeper-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: sleeper\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[syncd.connectors]\nsleeper = sleeper:Sleeper\n")
    live.call()
    deadline(live, 1)
    live.configure("sources.hubspot", connector="sleeper")
    with daemon(often(live).config_file, PYTHONPATH=f"{live.path}:{ROOT}") as running:
        wait_until((live.path / "asleep").exists)
        began = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - began < 5
    assert running.lines[-1]["event"] == end
    left = "a request missed its deadline. The next pass finds out its outcome" if end == "run.left" else None
    assert running.lines[-1].get("hint") == left


def test_killed_it_leaves_nothing_behind_that_would_stop_the_next(live: World) -> None:
    live.calls(2)
    hang = live.recotap.faults.add(Fault("hang", match="sales-activities", after=True, seconds=60, count=1))
    with daemon(often(live).config_file) as running:
        wait_until(lambda: hang.hits == 1)
        running.signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
    live.recotap.faults.clear()
    with daemon(live.config_file) as running:
        wait_until(lambda: live.status()["activities"]["delivered"] == 2)
        assert running.stop() == 0
    assert live.recotap.doubled == 0
    assert live.status()["verdicts"]["foreign_duplicate"] == 0


def with_folder(world: World, lines: int) -> World:
    """Add a folder with a file of calls as a source beside HubSpot."""
    drop = world.path / "drop"
    drop.mkdir()
    (drop / "a.jsonl").write_text("".join(line(f"f{number}") + "\n" for number in range(lines)))
    os.utime(drop / "a.jsonl", (time.time() - 60, time.time() - 60))
    world.configure("sources.hubspot")
    world.configure("sources.files", connector="jsonl", path=str(drop), start=datetime(2026, 1, 1, tzinfo=UTC))
    return world


def has_delivered(world: World, least: int) -> bool:
    return len(world.delivered) >= least


def test_killed_while_two_sources_are_read_it_loses_and_doubles_nothing(live: World) -> None:
    live.calls(150)
    live.hubspot.faults.add(Fault("slow", match="batch/read", seconds=0.3, count=None))
    live.recotap.faults.add(Fault("slow", match="sales-activities", seconds=0.1, count=None))
    often(with_folder(live, 400))
    for least in (1, 120, 300):
        with daemon(live.config_file) as running:
            wait_until(partial(has_delivered, live, least))
            running.signal(signal.SIGKILL)
            assert running.wait() == -signal.SIGKILL
    with daemon(live.config_file) as running:
        wait_until(lambda: live.status()["activities"]["delivered"] == 550)
        assert running.stop() == 0
    status = live.status()
    assert (live.recotap.doubled, status["verdicts"]["foreign_duplicate"], status["balanced"]) == (0, 0, True)


def test_a_stop_while_two_sources_are_read_meets_the_deadline_and_2_s(live: World) -> None:
    live.calls(1)
    live.hubspot.faults.add(Fault("hang", match="/calls/search", seconds=60, count=None))
    with_folder(live, 2000)
    deadline(live, 2)
    live.configure("sources.files", timeout="2s", schedule={"every": "300ms"})
    with daemon(often(live).config_file) as running:
        wait_until(lambda: live.delivered)
        began = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - began < 4.5
    assert running.lines[-1]["event"] == "run.finished"
    assert live.status()["balanced"]


# -- the ledger is held ---------------------------------------------------------------------


def test_while_it_runs_the_ledger_is_held_and_can_be_looked_at(live: World, command: Command) -> None:
    with daemon(often(live).config_file) as running:
        running.hear("pass.finished")
        for held_up in ("run", "sync"):
            ran = command(held_up, "-c", live.config_file)
            assert ran.code == 75
            assert f"`syncd run`, process {running.pid}" in ran.err
        assert command("status", "-c", live.config_file).code == 0
        assert running.stop() == 0


def test_what_retry_asks_for_is_done_within_5_s(live: World, command: Command) -> None:
    stranger = live.person("no.address", address=None)
    call = live.call(contacts=[stranger])
    with daemon(often(live, every="1h").config_file) as running:
        running.hear("pass.finished")
        assert live.state(call) == "incomplete no_contact_email"
        live.hubspot.edit("contacts", stranger, email="found@amber-bolts.com")
        began = time.monotonic()
        assert command("retry", "--reason", "no_contact_email", "-c", live.config_file).code == 0
        wait_until(lambda: call in live.delivered, at_most=6)
        assert time.monotonic() - began < 5
        assert running.said("operator.asked")[0]["passes"] == ["hubspot"]
        assert running.stop() == 0


def test_what_backfill_asks_for_is_read_at_once(live: World, command: Command) -> None:
    live.configure("sources.hubspot", start=live.now() - timedelta(days=2))
    live.call()
    old = live.call(ago=timedelta(days=9))
    since = str((live.now() - timedelta(days=10)).date())
    with daemon(often(live, every="1h").config_file) as running:
        running.hear("pass.finished")
        ran = command("backfill", "--since", since, "-c", live.config_file)
        assert (ran.code, f"`syncd run`, process {running.pid} holds the ledger" in ran.out) == (0, True)
        running.hear("pass.finished", 2)
        assert running.said("operator.asked")[0]["passes"] == ["hubspot"]
        assert (old in live.delivered, live.status()["ranges"]) == (True, [])
        assert running.stop() == 0


def test_a_ledger_that_cannot_be_used_is_74_before_anything_is_asked(live: World) -> None:
    live.ledger.parent.mkdir()
    live.ledger.write_bytes(b"no ledger at all" * 300)
    with daemon(live.config_file) as running:
        assert running.wait() == 74
    assert not live.hubspot.requests
    assert not running.told


# -- the configuration and the keys ---------------------------------------------------------


def test_a_configuration_that_is_wrong_at_the_start_is_78(live: World) -> None:
    live.configure("schedule", every="soon")
    with daemon(live.write_config()) as running:
        assert running.wait() == 78
    assert not running.told


def test_sighup_takes_a_valid_configuration_between_passes(live: World) -> None:
    with daemon(often(live, every="1h").config_file) as running:
        running.hear("pass.finished")
        often(live)
        running.signal(signal.SIGHUP)
        running.hear("config.in_force")
        running.hear("pass.finished", 3)
        assert running.stop() == 0
    stages = [message.split("\n")[0] for _, message in running.told if not message.startswith("STATUS")]
    assert stages == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


@pytest.mark.parametrize(
    ("table", "wrong", "key"),
    [
        ("schedule", {"every": "soon"}, "schedule.every"),
        ("ledger", {"path": "/elsewhere/ledger.db"}, "ledger"),
    ],
)
def test_sighup_keeps_the_old_configuration_when_the_new_one_is_wrong(live: World, table, wrong, key) -> None:
    with daemon(often(live).config_file) as running:
        running.hear("pass.finished")
        live.configure(table, **wrong)
        live.write_config()
        running.signal(signal.SIGHUP)
        refused = running.hear("config.refused")
        assert refused["hint"] == "the old one stays: correct the file, and reload again"
        (problem,) = running.said("config.problem")
        assert problem["key"] == key
        assert key != "ledger" or problem["hint"] == "restart syncd for another ledger"
        running.hear("pass.finished", len(running.said("pass.finished")) + 2)
        assert running.stop() == 0


@pytest.mark.parametrize("key", ["key_file", "token_file"])
def test_a_rotated_key_needs_no_restart_and_no_next_pass(live: World, key: str) -> None:
    live.calls(1)
    file = getattr(live, key)
    right = file.read_text()
    file.write_text("pat-na1-0000-revoked-long-ago")
    with daemon(often(live, every="1h").config_file) as running:
        running.hear("pass.finished")
        assert live.delivered == set()
        assert "FAILED" in wait_until(lambda: "FAILED" in running.status and running.status)
        file.write_text(right)
        running.hear("keys.changed", at_most=10)
        wait_until(lambda: len(live.delivered) == 1)
        assert running.stop() == 0
    assert "revoked-long-ago" not in (live.path / "syncd.log").read_text()


def test_a_key_that_cannot_be_read_for_a_while_ends_nothing(live: World) -> None:
    live.calls(1)
    right = live.key_file.read_text()
    with daemon(often(live).config_file) as running:
        running.hear("pass.finished")
        live.key_file.unlink()
        problem = running.hear("config.problem")
        assert problem["key"] == "recotap.api_key"
        live.key_file.write_text(right)
        count = len(running.said("pass.finished"))
        running.hear("pass.finished", count + 1)
        assert running.stop() == 0


# -- systemd, and passes without progress ---------------------------------------------------


def feeds(running: Daemon) -> list[float]:
    return [at for at, message in running.told if message == "WATCHDOG=1"]


def test_ready_comes_after_the_checks_and_the_watchdog_is_fed(live: World) -> None:
    with daemon(often(live, every="1h").config_file, watchdog_s=1.5) as running:
        wait_until(lambda: len(feeds(running)) >= 6)
        assert next(message for _, message in running.told if "=1" in message) == "READY=1"
        gaps = [later - earlier for earlier, later in zip(feeds(running), feeds(running)[1:], strict=False)]
        assert max(gaps) < 1.5
        wait_until(lambda: " ok" in running.status)
        assert "next at" in running.status
        assert running.stop() == 0


def test_a_stuck_pass_is_said_and_the_watchdog_is_not_fed(live: World) -> None:
    live.hubspot.faults.add(Fault("hang", match="/calls/search", seconds=60, count=1))
    with daemon(often(live, stuck_after="1s").config_file, watchdog_s=0.6) as running:
        stuck = running.hear("pass.stuck")
        assert stuck["sources"] == ["hubspot"]
        assert "restart" in stuck["hint"]
        (reader,) = (places for name, places in stuck["stands_at"].items() if name.startswith("read "))
        assert any(place.startswith("hubspot/search.py:") for place in reader), "where it hangs"
        assert "STUCK" in wait_until(lambda: "STUCK" in running.status and running.status)
        fed = len(feeds(running))
        time.sleep(1.5)
        assert len(feeds(running)) == fed
        live.hubspot.faults.clear()
        wait_until(lambda: len(feeds(running)) > fed + 1)
        assert running.stop() == 0


@pytest.mark.parametrize("thread", ["passes", "APScheduler"])
def test_a_thread_that_ends_ends_the_daemon_loudly(live: World, thread: str) -> None:
    """Without it no pass would be made, and no one would notice. The supervisor restarts syncd."""
    (live.path / "broken.py").write_text(
        "import sys, threading, time\n"
        "from syncd.daemon import worker\n"
        "from syncd.cli import main as cli\n"
        "from syncd.passes import wiring\n"
        "def die(*args, **kwargs):\n"
        "    raise SystemExit\n"
        "def kill():\n"
        "    time.sleep(1)\n"
        "    from apscheduler.schedulers import blocking\n"
        "    blocking.BlockingScheduler._process_jobs = die\n"
        "if sys.argv[1] == 'passes':\n"
        "    wiring.one_pass = die\n"
        "else:\n"
        "    threading.Thread(target=kill, daemon=True).start()\n"
        "sys.argv = ['syncd', *sys.argv[2:]]\n"
        "cli.main()\n"
    )
    line = [sys.executable, str(live.path / "broken.py"), thread, "run", "-c", str(often(live).config_file)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=20, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 1
    assert "a thread of the daemon has ended" in done.stderr


def test_a_long_pass_that_goes_on_is_not_stuck(live: World) -> None:
    live.calls(30)
    live.recotap.faults.add(Fault("slow", match="sales-activities", seconds=0.4, count=None))
    live.hubspot.faults.add(Fault("slow", match="search", seconds=0.6, count=None))
    with daemon(often(live, stuck_after="1500ms").config_file, watchdog_s=0.9) as running:
        running.hear("pass.finished", 2)
        assert running.stop() == 0
    assert not running.said("pass.stuck")


# -- what it costs --------------------------------------------------------------------------


def test_from_the_start_to_the_first_request_it_takes_no_time(live: World) -> None:
    """The benchmark's figure is 1.5 s. This bound allows for a machine with other work."""
    began = time.monotonic()
    with daemon(often(live, every="1h").config_file, alone=True) as running:
        wait_until(lambda: bool(live.hubspot.requests))
        assert time.monotonic() - began < 6
        assert running.stop() == 0


def test_a_daemon_over_hubspot_loads_nothing_of_the_other_connectors(live: World) -> None:
    line = (
        "import sys; from syncd.daemon import service; from syncd.config import load; from pathlib import Path;"
        f"load(Path({str(live.config_file)!r}));"
        "print([m for m in sys.modules if m.split('.')[0] in ('simple_salesforce', 'zeep', 'trustme')])"
    )
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
