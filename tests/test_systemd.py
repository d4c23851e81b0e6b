"""The messages to systemd, over a real socket."""

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.daemon.systemd import Notifier


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def told(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    manager = Manager(address)
    yield manager
    manager.socket.close()


def test_systemd_hears_of_each_stage(manager):
    notifier = Notifier.from_environment()
    notifier.ready()
    notifier.status("idle")
    notifier.feed()
    notifier.reloading()
    notifier.stopping()
    *told, reloading, stopping = manager.told()
    assert told == ["READY=1", "STATUS=idle", "WATCHDOG=1"]
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", reloading)
    assert stopping == "STOPPING=1"


def test_the_same_status_is_told_once(manager):
    notifier = Notifier.from_environment()
    for line in ("idle", "idle", "busy", "idle"):
        notifier.status(line)
    assert manager.told() == ["STATUS=idle", "STATUS=busy", "STATUS=idle"]


def test_a_status_is_one_line_and_holds_nothing_private(manager):
    """A line break would start another message, and a connector's words may hold an address."""
    notifier = Notifier.from_environment()
    notifier.status("FAILED: kaya.ivorstone@amber-bolts.com\nWATCHDOG=1 \ud800")
    assert manager.told() == ["STATUS=FAILED: [redacted] WATCHDOG=1 ?"]


def test_an_abstract_socket_is_found_too(monkeypatch):
    name = f"syncd-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    Notifier.from_environment().ready()
    assert manager.told() == ["READY=1"]
    manager.socket.close()


def test_without_systemd_or_when_it_is_gone_nothing_fails(monkeypatch, tmp_path):
    for address in (None, str(tmp_path / "nobody")):
        notifier = Notifier(address)
        notifier.ready()
        notifier.status("idle")
        assert notifier.watchdog_s is None


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [("3000000", "", 3.0), ("3000000", "own", 3.0), ("3000000", "1", None), ("0", "", None), ("soon", "", None)],
)
def test_the_watchdogs_time_is_the_one_that_is_meant_for_this_process(manager, monkeypatch, usec, pid, expected):
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert Notifier.from_environment().watchdog_s == expected
