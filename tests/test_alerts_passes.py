"""Alerts and the heartbeat of `syncd sync`, of `syncd run`, and `syncd alerts test`."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd import alerts
from syncd.config import load
from syncd.ledger import LedgerHandle
from syncd.sandbox import Fault
from tests.conftest import Command
from tests.daemons import daemon, wait_until
from tests.receivers import Receiver, receiving
from tests.world import World

UNBALANCED = "syncd: the books do not balance"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as receiver:
        monkeypatch.setenv("TEST_ALERTS", receiver.address)
        yield receiver


def reported(live: World, receiver: Receiver, **table: Any) -> Path:
    ours = {"urls": ["env:TEST_ALERTS"], "heartbeat_url": receiver.beat, "after": "0s", "disk_free": "1B"}
    live.configure("alerts", **{**ours, **table})
    return live.write_config()


def test_sync_pings_start_and_success_only_if_the_books_balance(
    live: World, receiver: Receiver, command: Command
) -> None:
    live.calls(1)
    file = reported(live, receiver)
    assert command("sync", "-c", file).code == 0
    assert receiver.beats == ["/start", ""]
    assert receiver.alerts == []
    live.sql("UPDATE streams SET seen = seen + 1")
    assert command("sync", "-c", file).code == 4
    assert receiver.beats[2:] == ["/start", "/4"]
    assert receiver.alerts == [UNBALANCED]
    assert command("sync", "-c", file).code == 4
    assert receiver.alerts == [UNBALANCED]
    live.sql("UPDATE streams SET seen = seen - 1")
    live.hubspot.faults.add(Fault("close", count=None))
    assert command("sync", "-c", file).code == 69
    assert receiver.beats[-2:] == ["/start", "/69"]
    assert command("sync", "--limit", "1", "-c", file).code == 69
    assert len(receiver.beats) == 8, "a part of a pass is no heartbeat"


def test_sync_that_finds_the_ledger_held_reports_nothing(live: World, receiver: Receiver, command: Command) -> None:
    live.sync()
    live.sql("UPDATE streams SET seen = seen + 1")
    file = reported(live, receiver)
    with LedgerHandle(live.ledger).hold("sync"):
        began = time.monotonic()
        assert command("sync", "-c", file).code == 75
        assert time.monotonic() - began < 5
    time.sleep(0.5)
    with LedgerHandle(live.ledger).alerting() as alerting:
        assert alerting.kept_alerts() is None, "the holder looks by itself"
    assert receiver.requests == []
    live.token_file.unlink()
    assert command("sync", "-c", file).code == 78
    assert receiver.requests == [], "the configuration is not valid, so nothing is known"


def test_a_bug_in_a_pass_is_reported_as_1(live: World, receiver: Receiver) -> None:
    config = load(reported(live, receiver))

    def broken() -> None:
        with alerts.around(config, whole=True) as watching:
            watching.pass_begins()
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        broken()
    assert receiver.beats == ["/start", "/1"]


def test_an_error_after_the_pass_is_none_of_the_pass(live: World, receiver: Receiver) -> None:
    config = load(reported(live, receiver))

    def broken() -> None:
        with alerts.around(config, whole=True) as watching:
            watching.pass_begins()
            watching.pass_ended(69)
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        broken()
    assert receiver.beats == ["/start", "/69"]


def test_sync_prints_its_results_before_it_waits_for_a_receiver(
    live: World, receiver: Receiver, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = live.call()
    monkeypatch.setattr(alerts.Watching, "close", lambda *_: print("waits"))
    ran = command("sync", "--only", call, "-c", reported(live, receiver))
    assert ran.code == 0
    assert [line.split()[-1] for line in ran.out.splitlines()] == ["created", "waits"]


def test_the_daemon_reports_each_pass_and_a_failing_source_stays_a_failure(live: World, receiver: Receiver) -> None:
    live.calls(1)
    live.configure("schedule", every="300ms")
    file = reported(live, receiver)
    with daemon(file, TEST_ALERTS=receiver.address) as running:
        running.hear("pass.finished")
        wait_until(lambda: receiver.beats == ["/start", ""])
        live.hubspot.faults.add(Fault(status=401, count=None))
        wait_until(lambda: "/77" in receiver.beats)
        wait_until(lambda: "syncd: hubspot refuses the key" in receiver.alerts)
        live.hubspot.faults.clear()
        wait_until(lambda: receiver.beats[-1] == "", at_most=20)
        live.sql("UPDATE streams SET seen = seen + 1")
        wait_until(lambda: "/4" in receiver.beats)
        wait_until(lambda: UNBALANCED in receiver.alerts)
        assert running.stop() == 0
    assert receiver.alerts.count("syncd: hubspot refuses the key") == 1
    assert receiver.alerts.count(UNBALANCED) == 1
    with daemon(file, TEST_ALERTS=receiver.address) as running:
        running.hear("pass.finished", 3)
        assert running.stop() == 0
    assert receiver.alerts.count(UNBALANCED) == 1, "a restart repeats nothing"
    assert "canary-beat" not in str(running.lines)


def test_a_source_that_failed_in_an_earlier_pass_keeps_the_heartbeat_from_a_success(
    live: World, receiver: Receiver
) -> None:
    live.configure("sources.hubspot", schedule={"every": "300ms"})
    live.configure("sources.other", **live.source(base_url="http://127.0.0.1:9"), schedule={"every": "1h"})
    with daemon(reported(live, receiver, urls=[])) as running:
        running.hear("pass.finished", 5)
        wait_until(lambda: len(receiver.beats) >= 2)
        assert running.stop() == 0
    assert [line["exit_code"] for line in running.said("pass.finished")][1:4] == [0, 0, 0], "over hubspot alone"
    assert receiver.beats == ["/start", "/69"]


def test_receivers_that_hang_hold_up_no_pass_and_no_stop(live: World, receiver: Receiver) -> None:
    live.calls(1)
    live.configure("schedule", every="300ms")
    receiver.status = None
    with daemon(reported(live, receiver, disk_free="1TB"), TEST_ALERTS=receiver.address) as running:
        running.hear("pass.finished", 5)
        wait_until(lambda: receiver.beats)
        began = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - began < 4
    assert {line["exit_code"] for line in running.said("pass.finished")[:5]} == {0}


def test_a_reload_puts_addresses_and_a_heartbeat_into_force(live: World, receiver: Receiver) -> None:
    live.configure("schedule", every="300ms")
    live.sync()
    with daemon(live.write_config(), TEST_ALERTS=receiver.address) as running:
        running.hear("pass.finished")
        reported(live, receiver)
        running.signal(signal.SIGHUP)
        running.hear("config.in_force")
        wait_until(lambda: receiver.beats)
        live.sql("UPDATE streams SET seen = seen + 1")
        wait_until(lambda: UNBALANCED in receiver.alerts)
        assert running.stop() == 0


def test_the_command_tries_each_address_and_says_which_worked(
    live: World, receiver: Receiver, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = command("alerts", "test", "-c", live.write_config())
    assert ran.code == 78
    assert 'e.g. urls = ["env:SLACK_ALERTS"], or heartbeat_url = "env:HEARTBEAT_URL"' in ran.err
    file = reported(live, receiver)
    ran = command("alerts", "test", "-c", file)
    assert (ran.code, ran.out.splitlines()) == (
        0, ["ok    alerts.urls.0: it took the test", "ok    alerts.heartbeat_url: it took the test"],
    )  # fmt: skip
    assert receiver.alerts == ["syncd: test"]
    assert receiver.beats == ["/start"], "only a pass reports success"
    monkeypatch.setenv("TEST_SECOND", "json://127.0.0.1:9/canary")
    ran = command("alerts", "test", "-c", reported(live, receiver, urls=["env:TEST_SECOND", "env:TEST_ALERTS"]))
    assert ran.code == 69
    assert [line.split()[0] for line in ran.out.splitlines() if not line.startswith(" ")] == ["error", "ok", "ok"]
    assert "does this machine reach it? Apprise's wiki lists the form of each service" in ran.out
    assert "canary" not in ran.out + ran.err
    assert not live.ledger.exists(), "it needs none"


LOADED = """
import sys
code = 0
sys.argv = ["syncd", *sys.argv[1:]]
from syncd.cli.main import main
try:
    main()
except SystemExit as left:
    code = left.code
names = {"starlette", "jinja2", "uvicorn", "prometheus_client", "apprise", "syncd.alerts.watch"}
print(code, sorted(names & {*sys.modules}))
"""


@pytest.mark.parametrize("line", [["--version"], ["sync"], ["run"]], ids=" ".join)
def test_without_its_table_no_part_of_an_extra_is_loaded(live: World, line: list[str]) -> None:
    live.calls(1)
    place = ["-c", str(live.write_config())] if line != ["--version"] else []
    started = [sys.executable, "-c", LOADED, *line, *place]
    with subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as ran:
        if line == ["run"]:
            wait_until(lambda: live.delivered, at_most=60)
            ran.terminate()
        out, _ = ran.communicate(timeout=60)
    assert out.splitlines()[-1] == "0 []"
    assert len(live.delivered) == (1 if place else 0)


def test_without_the_table_nothing_is_started(world: World) -> None:
    watching = alerts.Watching(world.config())
    watching.pass_begins()
    watching.pass_ended(0)
    watching.close()
    assert (watching._watch, watching._heartbeat) == (None, None)
    assert timedelta(seconds=alerts.STOP_S) <= timedelta(seconds=1), "a stop has 2 s for all"
