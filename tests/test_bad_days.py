"""Faults of the machine: clock, disk and network. `sync` reports them, and `run` survives them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.sandbox import Fault
from tests.conftest import Command
from tests.daemons import ROOT, Daemon, daemon, wait_until
from tests.disks import fill, mounted, read_only
from tests.world import World

SOURCE = Path(__file__).parent / "wallclock.c"


def often(world: World, **schedule: str) -> Path:
    world.configure("schedule", **({"every": "300ms"} | schedule))
    return world.write_config()


def passes(running: Daemon) -> int:
    return len(running.said("pass.finished"))


def goes_on(running: Daemon, *, by: int = 3, at_most: float = 30) -> None:
    """Assert that further passes are made."""
    running.hear("pass.finished", passes(running) + by, at_most=at_most)


# -- the clock ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build the library that moves the wall clock of one process."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None and not os.environ.get("CI"):
        pytest.skip("needs a C compiler")
    library = tmp_path_factory.mktemp("shim") / "wallclock.so"
    subprocess.run([str(compiler), "-shared", "-fPIC", "-O2", "-o", library, SOURCE], check=True)
    return str(library)


class Clock:
    """The wall clock of one daemon."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set(0)

    def set(self, ahead_s: int) -> None:
        partial = self.file.with_suffix(".partial")
        partial.write_text(str(ahead_s))
        partial.rename(self.file)


@pytest.fixture
def clocked(live: World, shim: str, tmp_path: Path) -> Iterator[tuple[Daemon, Clock]]:
    """A daemon with frequent passes, and its wall clock."""
    clock = Clock(tmp_path / "ahead")
    live.calls(2)
    with daemon(often(live), LD_PRELOAD=shim, WALL_CLOCK_AHEAD=str(clock.file)) as running:
        goes_on(running)
        yield running, clock
        assert running.stop() == 0
    assert not running.said("pull.failed")


@pytest.mark.parametrize("by_s", [-30, -3600, 7200, -20 * 365 * 86400])
def test_a_clock_that_is_set_stops_nothing_and_brings_no_burst(live: World, clocked, by_s: int) -> None:
    """Unmodified APScheduler 3.11.3 makes no pass after a step back until the clock has caught up."""
    running, clock = clocked
    clock.set(by_s)
    said = running.hear("clock.set", at_most=5)
    assert said["by_s"] == pytest.approx(by_s, abs=2)
    assert said["hint"] == "nothing to do: passes continue at their intervals"
    goes_on(running)
    before, began = passes(running), time.monotonic()
    time.sleep(1.5)
    assert passes(running) - before <= (time.monotonic() - began) / 0.3 + 2
    live.calls(2)
    goes_on(running)
    clock.set(0)
    running.hear("clock.set", 2, at_most=5)
    wait_until(lambda: len(live.delivered) == 4)
    assert live.recotap.doubled == 0


def test_what_waits_and_what_pauses_is_not_lost_in_a_future_that_was_none(live: World, clocked) -> None:
    """A back-off and a pause booked two years ahead delay nothing after the clock is corrected."""
    running, clock = clocked
    down = live.recotap.faults.add("unavailable", match="sales-activities", count=None)
    live.calls(1)
    running.hear("push.failed")  # pending, because a new call is not sent under a wrong clock
    clock.set(2 * 365 * 86400)
    running.hear("clock.set", at_most=5)
    live.recotap.faults.add(Fault(match="sales-activities", status=429, headers={"Retry-After": "3600"}, count=1))
    down.count = 0  # one more POST, then the 429
    wait_until(lambda: [line for line in running.said("push.failed") if "pause" in line["error"]])
    clock.set(0)
    running.hear("clock.set", 2, at_most=5)
    wait_until(lambda: len(live.delivered) == 3)


# -- the disk -------------------------------------------------------------------------------


@pytest.fixture
def disk(live: World) -> Iterator[Path]:
    """A small file system for the ledger."""
    with mounted(live.ledger.parent, "size=2m") as disk:
        yield disk


def test_a_disk_that_is_full_ends_sync_with_74_and_nothing_is_lost(live: World, disk: Path, command: Command) -> None:
    live.calls(3)
    file = live.write_config()
    assert command("sync", "-c", file).code == 0
    taken = fill(disk)
    live.calls(100, hs_call_title="x" * 900)
    ran = command("sync", "-c", file)
    assert ran.code == 74
    assert "disk is full" in ran.err
    assert "make room" in ran.err
    taken.unlink()
    assert command("sync", "-c", file).code == 0
    assert len(live.delivered) == 103
    assert live.recotap.doubled == 0
    assert live.status()["balanced"]


def test_the_daemon_outlives_a_disk_that_is_full_for_a_while(live: World, disk: Path) -> None:
    live.calls(3)
    with daemon(often(live)) as running:
        wait_until(lambda: len(live.delivered) == 3)
        taken = fill(disk)
        live.calls(100, hs_call_title="x" * 900)
        failed = running.hear("pass.failed")
        assert "disk is full" in failed["error"]
        assert "make room" in failed["hint"]
        assert "FAILED" in wait_until(lambda: "FAILED" in running.status and running.status)
        taken.unlink()
        wait_until(lambda: len(live.delivered) == 103, at_most=30)
        assert running.stop() == 0
    assert live.recotap.doubled == 0
    assert live.status()["balanced"]


def test_a_state_directory_that_is_read_only_is_74_for_run_and_for_sync(
    live: World, disk: Path, command: Command
) -> None:
    live.calls(1)
    file = live.write_config()
    assert command("sync", "-c", file).code == 0
    read_only(disk)
    try:
        for name in ("sync", "run"):
            ran = command(name, "-c", file)
            assert ran.code == 74
            assert "write" in ran.err, "the hint says who must be able to write where"
            assert "Traceback" not in ran.err
    finally:
        read_only(disk, yes=False)
    assert command("sync", "-c", file).code == 0


def test_the_daemon_outlives_a_state_directory_that_is_read_only_for_a_while(live: World, disk: Path) -> None:
    """The daemon outlives a ledger's directory that cannot be written for a while.

    An ext4 with errors turns read-only with open files. A tmpfs cannot, so the directory's files are removed first.
    """
    live.calls(1)
    with daemon(often(live)) as running:
        wait_until(lambda: len(live.delivered) == 1)
        moved = disk.with_name("elsewhere")
        shutil.copytree(disk, moved)
        for part in disk.glob("*.db*"):
            if part.suffix != ".lock":
                part.unlink()
        (disk / "ledger.db").mkdir()  # its entry cannot be opened
        assert running.hear("pass.failed")["hint"]
        (disk / "ledger.db").rmdir()
        for part in moved.iterdir():
            if part.suffix != ".lock":
                shutil.copy(part, disk)
        live.calls(2)
        wait_until(lambda: len(live.delivered) >= 3)
        assert running.stop() == 0
    assert live.recotap.doubled == 0


def test_the_daemon_outlives_a_log_that_cannot_be_written(live: World) -> None:
    live.calls(1)
    line = [sys.executable, "-m", "syncd", "run", "-c", str(often(live))]
    with Path("/dev/full").open("w") as full, subprocess.Popen(line, stderr=full, cwd=ROOT) as process:
        try:
            wait_until(lambda: len(live.delivered) == 1)
            live.calls(1)
            wait_until(lambda: len(live.delivered) == 2)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            if process.poll() is None:
                process.kill()


# -- the network ----------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["recotap", "sources.hubspot"])
def test_a_name_that_cannot_be_resolved_is_69_and_the_daemon_goes_on(live: World, command: Command, where: str) -> None:
    live.calls(1)
    right = live.box.recotap_url if where == "recotap" else live.box.hubspot_url
    live.configure(where, base_url="https://crm.syncd.invalid/api/v1")
    file = often(live)
    ran = command("sync", "-c", file)
    assert ran.code == 69
    with daemon(file) as running:
        goes_on(running, by=2)
        assert {line["exit_code"] for line in running.said("pass.finished")} == {69}
        live.configure(where, base_url=right)
        live.write_config()
        running.signal(signal.SIGHUP)
        wait_until(lambda: len(live.delivered) == 1)
        assert running.stop() == 0


def test_a_recotap_that_hangs_costs_its_deadline_and_is_probed(live: World, command: Command) -> None:
    live.configure("recotap", timeout="1s")
    live.calls(60)
    live.recotap.faults.add(Fault("hang", match="sales-activities", seconds=60, count=None))
    file = often(live)
    began = time.monotonic()
    ran = command("sync", "-c", file)
    assert ran.code == 69
    assert "nothing is lost" in ran.err
    assert time.monotonic() - began < 8, "the first POST, and one probe"
    with daemon(file) as running:
        running.hear("push.failed")
        assert "FAILED" in wait_until(lambda: "FAILED" in running.status and running.status)
        live.recotap.faults.clear()
        wait_until(lambda: len(live.delivered) == 60)
        assert running.stop() == 0
    assert live.recotap.doubled == 0
    assert live.status()["verdicts"]["foreign_duplicate"] == 0
