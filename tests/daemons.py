"""`syncd run` as a separate process: its log, its signals and its messages to systemd."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.forked import Started, interpreters

ROOT = Path(__file__).parent.parent
PATIENCE_S = 20.0  # seconds, for events that take a second or two on an idle machine


def wait_until(true: Callable[[], Any], *, at_most: float = PATIENCE_S, what: str = "") -> Any:
    """Return the first true result of `true`. Raises AssertionError after `at_most` seconds."""
    ends = time.monotonic() + at_most
    while not (found := true()):
        assert time.monotonic() < ends, f"not within {at_most:g} s: {what or true}"
        time.sleep(0.02)
    return found


class Daemon:
    """One `syncd run` and its output so far."""

    def __init__(self, process: "Started | subprocess.Popen[bytes]", log: Path, manager: socket.socket) -> None:
        self.process = process
        self.pid = process.pid
        self._log = log
        self._manager = manager
        self._told: list[tuple[float, str]] = []

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Return the log so far, line by line."""
        text = self._log.read_text()
        return [
            json.loads(line) for line in text.splitlines(keepends=True) if line.startswith("{") and line[-1] == "\n"
        ]

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        return [line for line in self.lines if line["event"] == event]

    def hear(self, event: str, count: int = 1, *, at_most: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for the `count`-th log line of an event, and return it.

        Meanwhile the messages to systemd are read, because its socket holds eleven, and more are dropped.
        """
        wait_until(
            lambda: (self.told, len(self.said(event)) >= count or self.process.poll() is not None)[1],
            at_most=at_most, what=event,
        )  # fmt: skip
        found = self.said(event)
        assert len(found) >= count, f"it ended without {event}: {self._log.read_text()}"
        return found[count - 1]

    @property
    def told(self) -> list[tuple[float, str]]:
        """Return the messages to systemd so far, each with its time.monotonic."""
        while self._manager.fileno() >= 0:
            try:
                self._told.append((time.monotonic(), self._manager.recv(4096).decode()))
            except BlockingIOError:
                break
        return self._told

    @property
    def status(self) -> str:
        """Return the last STATUS sent to systemd."""
        lines = [message for _, message in self.told if message.startswith("STATUS=")]
        return lines[-1].removeprefix("STATUS=") if lines else ""

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, *, at_most: float = PATIENCE_S) -> int:
        """Wait until it exits, and return its exit code."""
        return self.process.wait(at_most)

    def stop(self, *, at_most: float = PATIENCE_S) -> int:
        """Send SIGTERM, wait, and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(at_most=at_most)


def _own_interpreter(line: list[str], *, environ: dict[str, str], cwd: Path, output: Path) -> "subprocess.Popen[bytes]":
    with output.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "syncd", *line], env=environ, stderr=log, stdout=log, cwd=cwd
        )


@contextmanager
def daemon(config: Path, *, watchdog_s: float | None = None, alone: bool = False, **environ: str) -> Iterator[Daemon]:
    """Run the daemon under a fake systemd. It is killed at the end of the context.

    It is forked from an interpreter that has imported syncd, which spares 0.6 s of CPU. `alone`, and with another
    PYTHONPATH, an interpreter of its own imports syncd.
    """
    log, address = config.with_suffix(".log"), str(config.parent / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)
        environment = {**os.environ, "NOTIFY_SOCKET": address, "PYTHONPATH": str(ROOT), **environ}
        if watchdog_s is not None:
            environment["WATCHDOG_USEC"] = str(round(watchdog_s * 1e6))
        log.write_bytes(b"")
        started = _own_interpreter if alone or "PYTHONPATH" in environ else interpreters().start
        process = started(["run", "-c", str(config)], environ=environment, cwd=config.parent, output=log)
        running = Daemon(process, log, manager)
        try:
            yield running
        except BaseException:
            print(log.read_text())  # pytest shows it with the failure
            raise
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            assert running.told is not None, "the last messages are read while the socket is open"
            Path(address).unlink()
