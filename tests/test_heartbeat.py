"""The heartbeat: which passes it reports, and a receiver that fails or hangs."""

import socket
import time
from collections.abc import Iterator

import pytest
import structlog

from syncd.alerts import heartbeat
from syncd.alerts.heartbeat import Heartbeat, Rhythm
from syncd.types.secrets import HiddenUrl, Secret
from tests.daemons import wait_until
from tests.loopback import served
from tests.receivers import Receiver, receiving


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as receiver:
        monkeypatch.setenv("TEST_ALERTS", receiver.address)
        yield receiver


def test_the_rhythm_reports_each_start_and_end_and_of_a_quick_row_only_what_differs() -> None:
    rhythm = Rhythm()
    assert [rhythm.begin(0), rhythm.end(0)] == ["/start", ""]
    assert [rhythm.begin(5), rhythm.end(0)] == [None, None]
    assert [rhythm.begin(10), rhythm.end(69)] == [None, "/69"]
    assert [rhythm.begin(15), rhythm.end(69)] == [None, None]
    assert [rhythm.begin(20), rhythm.end(0)] == [None, ""]
    assert [rhythm.begin(30), rhythm.end(0)] == ["/start", ""]
    assert [rhythm.begin(90), rhythm.end(143)] == ["/start", None], "a stop is neither"
    assert [rhythm.begin(91), rhythm.end(4)] == [None, "/4"]


def test_no_caller_waits_for_a_heartbeat_and_its_failure_is_said_once(receiver: Receiver) -> None:
    receiver.status = 500
    seconds = iter(range(0, 10_000, 60))
    with structlog.testing.capture_logs() as logs:
        beat = Heartbeat(HiddenUrl(receiver.beat), monotonic=lambda: float(next(seconds)))
        for _ in range(2):
            beat.begin()
            beat.end(0)
        wait_until(lambda: len(receiver.beats) == 4)
        receiver.status = 200
        beat.begin()
        beat.close(10)
    assert receiver.beats == ["/start", "", "/start", "", "/start"]
    assert [line["event"] for line in logs] == ["heartbeat.failed", "heartbeat.recovered"]
    assert logs[0]["hint"] == "is the address right, and does this machine reach it? `syncd alerts test` tries it"
    assert "canary" not in str(logs)
    receiver.status = None
    beat, began = Heartbeat(HiddenUrl(receiver.beat), monotonic=lambda: float(next(seconds))), time.monotonic()
    for _ in range(50):
        beat.begin()
        beat.end(0)
    beat.close(0.1)
    assert time.monotonic() - began < 1


def drip(connection: socket.socket) -> None:
    """Answer byte by byte, without an end."""
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(60):
        connection.sendall(b"a")
        time.sleep(0.1)


def test_a_heartbeat_obeys_its_deadline_and_follows_no_redirect(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "DEADLINE_S", 0.3)
    receiver.status = None
    began = time.monotonic()
    assert "no answer" in heartbeat.ping(HiddenUrl(receiver.beat), "")
    assert time.monotonic() - began < 2
    with served(drip) as server:
        began = time.monotonic()
        assert "no answer" in heartbeat.ping(HiddenUrl(server.url), "")
        assert time.monotonic() - began < 2, "though something comes all the time"
    receiver.status = 302
    assert heartbeat.ping(HiddenUrl(receiver.beat), "") == "HTTP 302"
    monkeypatch.setenv("HTTP_PROXY", "socks5h://canary:canary@127.0.0.1:9")
    assert "HTTP_PROXY names a SOCKS proxy" in (failure := heartbeat.ping(HiddenUrl("http://beats.example.com"), ""))
    assert "canary" not in failure
    monkeypatch.setenv("TEST_BEAT", "no address")
    assert "expected an address" in heartbeat.ping(Secret("env", "TEST_BEAT"), "")
