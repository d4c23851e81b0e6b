"""The daemon's main thread, in this process with shortened waits: its reasons for a pass."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

import pytest

from syncd import clock, log
from syncd.config import load
from syncd.daemon import agenda, service
from syncd.daemon.service import Service
from syncd.daemon.systemd import Notifier
from syncd.errors import LedgerHeld
from syncd.ledger import LedgerHandle
from syncd.sandbox import Fault
from tests.daemons import wait_until
from tests.world import World


class Told(Notifier):
    """A notifier that records the status lines."""

    def __init__(self) -> None:
        super().__init__(None)
        self.lines: list[str] = [""]

    def status(self, line: str) -> None:
        if self.lines[-1] != line:
            self.lines.append(line)


class Running:
    """A service in its own thread."""

    def __init__(self, world: World, still_held: Callable[[], bool] = lambda: True) -> None:
        self.file, self.still_held = world.write_config(), still_held
        self.told = Told()
        self.events: SimpleQueue[Any] = SimpleQueue()
        self.error: Exception | None = None
        self.service: Service
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self.service = Service(load(self.file), self.events, self.told, self.still_held, config_file=self.file)
        try:
            self.service.run()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    @property
    def passes(self) -> int:
        return self.service._passes if hasattr(self, "service") else 0

    def after(self, count: int) -> None:
        """Wait for `count` passes in all."""
        wait_until(lambda: self.passes >= count and not self.service._busy, what=f"{count} passes")

    def no_more(self, *, for_s: float = 1.0) -> bool:
        """Tell whether no pass is made for `for_s` seconds."""
        count = self.passes
        time.sleep(for_s)
        return self.passes == count and not self.service._busy

    def end(self) -> None:
        self.events.put(int(signal.SIGTERM))
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the checks often, and shorten waits of minutes to half a second."""
    monkeypatch.setattr(service, "TICK_S", 0.02)
    monkeypatch.setattr(service, "LOOK_S", 0.05)
    monkeypatch.setattr(service, "KEYS_S", 0.05)
    monkeypatch.setattr(service, "SEND_AGAIN_S", 0.5)
    monkeypatch.setattr(agenda, "PROBE_FIRST_S", 0.5)
    monkeypatch.setattr(agenda, "PROBE_MOST_S", 1.0)


@pytest.fixture
def no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan no probe of a failed source during the test."""
    monkeypatch.setattr(agenda, "PROBE_FIRST_S", 3600.0)
    monkeypatch.setattr(agenda, "PROBE_MOST_S", 3600.0)


@contextmanager
def serving(world: World) -> Iterator[Running]:
    log.configure()
    with LedgerHandle(world.ledger).hold("run") as still_held:
        with LedgerHandle(world.ledger).open():
            pass
        running = Running(world, still_held)
        running.thread.start()
        try:
            yield running
        finally:
            running.end()
        assert running.error is None


def seldom(world: World, **schedule: str) -> World:
    world.configure("schedule", **({"every": "1h"} | schedule))
    return world


def two(world: World) -> World:
    """Configure a source beside hubspot whose key is refused."""
    other = world.path / "other.token"
    other.write_text("pat-na1-0000-revoked-long-ago")
    world.configure("sources.hubspot", schedule={"every": "300ms"})
    world.configure("sources.other", **world.source(access_token=f"file:{other}"), schedule={"every": "1h"})
    return seldom(world)


# -- sending --------------------------------------------------------------------------------


def test_what_backs_off_is_sent_when_its_time_has_come_without_another_word(live: World) -> None:
    live.calls(1)
    live.recotap.rule("refuse")
    with serving(seldom(live)) as running:
        running.after(1)
        assert running.no_more(), "it backs off for five minutes"
        live.recotap.clear_rules()
        live.sql("UPDATE activities SET next_attempt_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+2 seconds')")
        running.events.put("hubspot")  # the pass finds it not due yet, and plans for when it is
        running.after(2)
        assert live.delivered == set()
        asked = dict(live.hubspot.requests)
        wait_until(lambda: len(live.delivered) == 1)
        assert dict(live.hubspot.requests) == asked, "no source was read for it"


def test_a_recotap_that_is_down_is_looked_at_again_without_reading_the_crm(live: World) -> None:
    live.calls(1)
    down = live.recotap.faults.add(Fault(match="sales-activities", status=503, count=None))
    with serving(seldom(live)) as running:
        running.after(1)
        asked, hits = dict(live.hubspot.requests), down.hits
        running.after(2)
        assert down.hits > hits
        assert "FAILED: Recotap" in running.told.lines[-1]
        live.recotap.faults.clear()
        wait_until(lambda: len(live.delivered) == 1)
        assert dict(live.hubspot.requests) == asked
        wait_until(lambda: " ok" in running.told.lines[-1])


def test_a_recotap_that_pauses_costs_no_pass_until_then(live: World) -> None:
    live.calls(1)
    live.recotap.faults.add(Fault(match="sales-activities", status=429, headers={"Retry-After": "3600"}, count=None))
    with serving(seldom(live)) as running:
        running.after(1)
        assert running.no_more(for_s=2.0)


def test_what_backs_off_when_the_daemon_starts_goes_out_when_its_time_has_come(live: World) -> None:
    """Even if no source is due: otherwise a restart by day would delay it until cron's next night."""
    live.calls(1)
    live.recotap.rule("refuse")
    live.sync()
    live.recotap.clear_rules()
    live.sql("UPDATE activities SET next_attempt_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+2 seconds')")
    live.configure("schedule", cron="0 0 1 1 *")
    asked = dict(live.hubspot.requests)
    with serving(live) as running:
        assert running.no_more(for_s=0.5)
        wait_until(lambda: len(live.delivered) == 1)
        assert dict(live.hubspot.requests) == asked


def test_a_pause_of_recotaps_that_ends_after_the_start_is_noticed(live: World) -> None:
    live.calls(1)
    live.recotap.faults.add(Fault(match="sales-activities", status=429, headers={"Retry-After": "3600"}, count=1))
    live.sync()
    live.sql("UPDATE pauses SET until = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+2 seconds')")
    live.configure("schedule", cron="0 0 1 1 *")
    with serving(live) as running:
        assert running.no_more(for_s=0.5)
        wait_until(lambda: len(live.delivered) == 1)


# -- sources --------------------------------------------------------------------------------


def test_a_source_that_pauses_is_left_alone_by_its_regular_times_too(live: World) -> None:
    live.hubspot.faults.add(Fault(match="/crm/", status=429, headers={"Retry-After": "90"}, count=None))
    with serving(seldom(live, every="200ms")) as running:
        running.after(1)
        asked = dict(live.hubspot.requests)
        assert running.no_more(for_s=2.0)
        assert dict(live.hubspot.requests) == asked
        live.hubspot.faults.clear()
        live.sql("DELETE FROM pauses")
        running.after(2)


def test_a_source_that_fails_stays_in_the_status_while_another_goes_well(live: World) -> None:
    with serving(two(live)) as running:
        running.after(4)
        wait_until(lambda: not running.service._busy)
        assert "FAILED" in running.told.lines[-1]
        assert "refused" in running.told.lines[-1]


def test_a_source_that_a_reload_adds_is_read_at_once(live: World) -> None:
    live.configure("sources.hubspot")
    live.configure("schedule", cron="0 0 1 1 *")
    with serving(live) as running:
        running.after(1)
        live.configure("sources.second", **live.source(base_url="http://127.0.0.1:9"))
        live.write_config()
        running.events.put(int(signal.SIGHUP))
        wait_until(lambda: live.sql("SELECT count(*) FROM streams WHERE source = 'second'") == [(2,)])


@pytest.mark.usefixtures("no_probes")
def test_a_source_whose_configuration_a_reload_mends_is_read_at_once(live: World) -> None:
    right = live.box.hubspot_url
    live.configure("sources.hubspot", base_url="http://127.0.0.1:9")
    live.calls(1)
    with serving(seldom(live)) as running:
        running.after(1)
        live.configure("sources.hubspot", base_url=right)
        live.write_config()
        running.events.put(int(signal.SIGHUP))
        wait_until(lambda: len(live.delivered) == 1)


@pytest.mark.usefixtures("no_probes")
def test_times_that_come_while_a_source_waits_for_anothers_pass_are_counted_and_said(
    live: World, capsys: pytest.CaptureFixture[str]
) -> None:
    live.configure("sources.hubspot", schedule={"every": "1h"})
    live.configure("sources.other", **live.source(base_url="http://127.0.0.1:9"), schedule={"cron": "0 0 1 1 *"})
    with serving(seldom(live)) as running:
        running.after(1)
        slow = live.hubspot.faults.add(Fault("slow", match="search", seconds=1.0, count=1))
        running.events.put("hubspot")
        wait_until(lambda: slow.seen)
        for _ in range(3):
            running.events.put("other")
        running.after(3)
    (skipped,) = (line for line in capsys.readouterr().err.splitlines() if "tick.skipped" in line)
    assert '"source": "other", "ticks": 2' in skipped


# -- keys -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_probes")
def test_a_rotated_key_is_taken_at_once_though_another_source_has_passes_in_between(
    live: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(two(live)) as running:
        running.after(3)
        (live.path / "other.token").write_text("pat-na1-0000-another-that-is-revoked")
        running.after(running.passes + 4)
    said = capsys.readouterr().err
    assert said.count("keys.changed") == 1, "it is another key, and is tried once"
    assert said.count('"event": "pull.failed"') == 2


@pytest.mark.usefixtures("no_probes")
def test_a_key_that_changes_while_a_pass_runs_is_not_the_one_that_was_refused(live: World) -> None:
    right = live.key_file.read_text()
    live.calls(1)
    live.key_file.write_text("an-old-key-of-recotaps")
    slow = live.hubspot.faults.add(Fault("slow", match="search", seconds=1.0, count=1))
    with serving(seldom(live)):
        wait_until(lambda: slow.seen)
        live.key_file.write_text(right)
        wait_until(lambda: len(live.delivered) == 1)


# -- the start, and failures that must be reported ------------------------------------------


def test_who_is_asked_to_end_while_it_starts_begins_nothing(live: World) -> None:
    with LedgerHandle(live.ledger).hold("run"):
        running = Running(seldom(live))
        running.events.put(int(signal.SIGTERM))
        running.thread.start()
        running.thread.join(20)
    assert running.error is None
    assert not live.hubspot.requests
    assert running.passes == 0


def test_a_lock_that_somebody_removed_ends_the_daemon_loudly(live: World) -> None:
    """Otherwise a second syncd could work on the same ledger, unnoticed by both."""
    with LedgerHandle(live.ledger).hold("run") as still_held:
        running = Running(seldom(live), still_held)
        live.ledger.with_name("ledger.db.lock").unlink()
        running.thread.start()
        running.thread.join(20)
    assert isinstance(running.error, LedgerHeld)
    assert "was removed" in running.error.message
    assert not live.hubspot.requests


def test_a_directory_that_cannot_be_looked_into_ends_nothing(live: World) -> None:
    with serving(seldom(live)) as running:
        running.after(1)
        live.ledger.parent.rename(live.path / "elsewhere")
        live.ledger.parent.symlink_to(live.ledger.parent)  # too many levels of links
        running.events.put("hubspot")
        running.after(2)
        wait_until(lambda: "FAILED" in running.told.lines[-1], what="the failure in the status")
        live.ledger.parent.unlink()
        (live.path / "elsewhere").rename(live.ledger.parent)
        running.events.put("hubspot")
        running.after(3)
        wait_until(lambda: " ok" in running.told.lines[-1])


def test_a_ledger_that_is_gone_is_said(live: World, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(seldom(live)) as running:
        running.after(1)
        for part in ("", "-wal", "-shm"):
            live.ledger.with_name(f"ledger.db{part}").unlink(missing_ok=True)
        running.events.put("hubspot")
        running.after(2)
    assert "ledger.gone" in capsys.readouterr().err


def test_a_machine_that_does_not_know_the_time_yet_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure()
    monkeypatch.setattr(service, "CLOCK_S", 0.01)
    times = [datetime(1970, 1, 1, 0, 1, tzinfo=UTC)] * 2
    monkeypatch.setattr(clock, "now", lambda: times.pop() if times else datetime.now(UTC))
    events: SimpleQueue[Any] = SimpleQueue()
    assert service._clock_is_set(events)
    assert "clock.behind" in capsys.readouterr().err
    times += [datetime(1970, 1, 1, tzinfo=UTC)] * 9
    events.put(int(signal.SIGTERM))
    assert not service._clock_is_set(events)
