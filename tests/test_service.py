"""The daemon's main thread, in this process with shortened waits: its reasons for a pass."""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any

import pytest
from structlog.testing import capture_logs

from connectors.hubspot import search
from syncd import clock, log
from syncd.config import load
from syncd.daemon import agenda, service
from syncd.daemon.service import Service
from syncd.daemon.systemd import Notifier
from syncd.daemon.worker import Ended, SourceEnded
from syncd.errors import ConfigError, Exit, LedgerHeld, Unauthorized
from syncd.ledger import LedgerHandle
from syncd.passes import turns
from syncd.passes.jobs import Totals
from syncd.passes.report import PassResult
from syncd.sandbox import Fault
from tests.daemons import wait_until
from tests.drops import call as line
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
    with LedgerHandle(world.ledger).hold("run") as hold:
        with LedgerHandle(world.ledger).open():
            pass
        running = Running(world, hold.is_held)
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
def test_times_that_come_at_once_are_one_reading_and_are_counted_and_said(
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
        running.after(2)
    (skipped,) = (line for line in capsys.readouterr().err.splitlines() if "tick.skipped" in line)
    assert '"source": "other", "ticks": 2' in skipped
    assert "nothing is lost. If this repeats, passes take longer than the interval: raise it" in skipped


# -- a source that is read for hours --------------------------------------------------------


def importing(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Let HubSpot serve 100 calls in 20 pages of a fifth of a second. A folder beside it is read every 0.3 s."""
    for function, size in ((search.walk, {"limit": 10}), (search.gather, {"group": 5})):
        monkeypatch.setattr(function, "__kwdefaults__", {**(function.__kwdefaults__ or {}), **size})
    monkeypatch.setattr(turns, "TURN_S", 0.3)
    for number in range(100):
        world.call(ago=timedelta(minutes=60 + 20 * number))
    world.hubspot.faults.add(Fault("slow", match="calls/search", seconds=0.2, count=None))
    drop_file(world, line("a"))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    world.configure("sources.hubspot")
    world.configure(
        "sources.files", connector="jsonl", path=str(world.path / "drop"), start=start, schedule={"every": "300ms"}
    )
    return seldom(world)


def drop_file(world: World, content: str) -> None:
    """Put a file of one line into the folder, as if it had arrived a minute ago."""
    path = world.path / "drop" / "a.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content + "\n")
    os.utime(path, (time.time() - 60, time.time() - 60))


def times_read(world: World) -> Callable[[], int]:
    """Return a function that returns how often it has seen the folder read to its end, each time at another time."""
    seen: set[Any] = set()

    def look() -> int:
        with suppress(sqlite3.Error):
            seen.update(world.sql("SELECT last_success_at FROM streams WHERE source = 'files' AND stream = 'calls'"))
        return len(seen - {(None,)})

    return look


def is_importing(world: World) -> bool:
    return world.sql("SELECT 1 FROM streams WHERE source = 'hubspot' AND last_success_at IS NULL") != []


def test_a_source_is_read_at_its_times_while_another_is_read_for_long(
    live: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = times_read(importing(live, monkeypatch))
    with serving(live) as running:
        wait_until(lambda: read() >= 5)
        assert is_importing(live)
        assert running.passes == 0, "it joins the pass"
        wait_until(lambda: len(live.delivered) == 101)
        running.after(1)
        wait_until(lambda: " ok" in running.told.lines[-1])
    assert live.recotap.doubled == 0
    assert live.status()["balanced"]


@pytest.mark.parametrize("what", ["reload", "a source's key", "after PASS_S"])
def test_what_waits_for_the_end_of_a_pass_does_not_wait_for_a_long_import(
    live: World, monkeypatch: pytest.MonkeyPatch, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    importing(live, monkeypatch)
    token, right = live.path / "other.token", live.key_file.read_text()
    if what == "a source's key":
        token.write_text("pat-na1-0000-revoked-long-ago")
        monkeypatch.setattr(agenda, "PROBE_FIRST_S", 3600.0)
        monkeypatch.setattr(agenda, "PROBE_MOST_S", 3600.0)
        live.configure("sources.other", **live.source(access_token=f"file:{token}"))
    if what == "after PASS_S":
        live.key_file.write_text("an-old-key-of-recotaps")
        monkeypatch.setattr(service, "PASS_S", 0.6)
    with serving(live) as running:
        wait_until(lambda: live.ledger.exists() and live.sql("SELECT count(*) FROM activities") > [(10,)])
        if what == "reload":
            live.configure("sources.second", **live.source(base_url="http://127.0.0.1:9"))
            live.write_config()
            running.events.put(int(signal.SIGHUP))
            wait_until(lambda: live.sql("SELECT count(*) FROM streams WHERE source = 'second'") == [(2,)])
        elif what == "after PASS_S":
            assert live.delivered == set()
            live.key_file.write_text(right)
            wait_until(lambda: live.delivered)
            assert running.passes >= 1
        else:
            wait_until(lambda: "other" in running.service._failures.names)
            token.write_text(live.token_file.read_text())
            wait_until(lambda: isinstance(running.service._failures._errors["other"], ConfigError))
        assert is_importing(live)
        wait_until(lambda: len(live.delivered) == 101, at_most=60)
        assert live.hubspot.requests["calls/search"] < 45, "little is read again"
    said = capsys.readouterr().err
    assert ('"pull.gave_way"' in said) == (what != "a source's key"), "a key of its own is tried beside the import"
    assert not [each for each in said.splitlines() if "pull.failed" in each and '"source": "hubspot"' in each]
    assert live.recotap.doubled == 0


def test_a_backlog_that_a_pass_left_due_is_sent_at_once_by_the_next(
    live: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PASS_S", 0.5)
    monkeypatch.setattr(service, "SEND_AGAIN_S", 3600.0)
    live.recotap.faults.add(Fault("slow", match="sales-activities", seconds=0.2, count=None))
    drop_file(live, "\n".join(line(f"f{number}") for number in range(1500)))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    live.configure("sources.files", connector="jsonl", path=str(live.path / "drop"), start=start)
    with serving(seldom(live)) as running:
        wait_until(lambda: len(live.delivered) == 1500)
        assert running.passes >= 2
    assert live.recotap.doubled == 0


def test_an_operator_is_heard_while_a_source_is_read_for_long(live: World, monkeypatch: pytest.MonkeyPatch) -> None:
    importing(live, monkeypatch)
    live.configure("sources.files", schedule={"every": "1h"})
    drop_file(live, line("a", contact_email=""))
    read = times_read(live)
    with serving(live):
        wait_until(lambda: read() == 1)
        assert live.state("a") == "incomplete no_contact"
        with LedgerHandle(live.ledger).operate() as ledger:
            ledger.retry(["a"], state=None, reason=None, now=live.now())
        wait_until(lambda: read() == 2, at_most=3.0)
        assert is_importing(live)


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
    assert "a refused key was replaced: syncd tries again" in said
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


@pytest.mark.usefixtures("no_probes")
def test_a_source_that_joins_a_pass_too_late_is_read_in_the_next(live: World) -> None:
    """Its failure before, in the same pass, says nothing of the key that it was to be read with."""
    live.configure("sources.other", **live.source(access_token=f"file:{live.token_file}"))
    service = Service(load(live.write_config()), SimpleQueue(), Told(), lambda: True)
    service._agenda.want(["hubspot", "other"])
    service._begin()
    refused = Unauthorized("HubSpot refuses the token")
    service._handle(SourceEnded("other", refused))
    service._failures.take_changed("another key")
    service._agenda.want(["other"])
    service._begin()
    service._handle(Ended(PassResult(Exit.UNAUTHORIZED, Totals(), failed={"other": refused})))
    assert service._agenda.has_work
    service._begin()
    assert service._worker._orders.qsize() == 2
    assert "other" in service._agenda.running


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
    with LedgerHandle(live.ledger).hold("run") as hold:
        running = Running(seldom(live), hold.is_held)
        live.ledger.with_name("ledger.db.lock").unlink()
        running.thread.start()
        running.thread.join(20)
    assert isinstance(running.error, LedgerHeld)
    assert "was removed" in running.error.message
    assert running.error.hint == "never remove <ledger>.lock. syncd exits, so that its supervisor starts it again"
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
    said = capsys.readouterr().err
    assert "ledger.gone" in said
    assert "restore a backup. Without one, stop syncd and run `syncd adopt`, so that nothing counts as foreign" in said


def test_a_machine_that_does_not_know_the_time_yet_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure()
    monkeypatch.setattr(service, "CLOCK_S", 0.01)
    times = [datetime(1970, 1, 1, 0, 1, tzinfo=UTC)] * 2
    monkeypatch.setattr(clock, "now", lambda: times.pop() if times else datetime.now(UTC))
    events: SimpleQueue[Any] = SimpleQueue()
    assert service._clock_is_set(events)
    said = capsys.readouterr().err
    assert "clock.behind" in said
    assert "set the clock, or let NTP do it: syncd waits until it is set" in said
    times += [datetime(1970, 1, 1, tzinfo=UTC)] * 9
    events.put(int(signal.SIGTERM))
    assert not service._clock_is_set(events)


class EndedPage:
    """A status page whose thread has ended."""

    def is_alive(self) -> bool:
        return False


def test_a_page_that_has_ended_is_said_once_and_stops_no_pass(live: World) -> None:
    page: Any = EndedPage()
    daemon = Service(load(seldom(live).write_config()), SimpleQueue(), Told(), lambda: True, page=page)
    with capture_logs() as logs:
        daemon._check_page()
        daemon._check_page()
    (ended,) = [line for line in logs if line["event"] == "web.ended"]
    assert ended["hint"] == "report it with the lines above. Passes go on. Restart syncd for the page"
