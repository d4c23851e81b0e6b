"""The replicas of a campaign: start, kill, freeze and stop them, at named boundaries and at once."""

import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.campaigns.replica import KINDS
from tests.forked import Started, interpreters

ROOT = Path(__file__).resolve().parents[2]
REACH_S = 12.0  # in which a replica comes to a boundary, unless it has nothing to do
RUNNING, FROZEN, DEAD = "running", "frozen", "dead"


class Process:
    """One life of a replica: from its start to its end. Times are epoch seconds of this machine."""

    def __init__(self, number: int, pid: int) -> None:
        self.number, self.pid = number, pid
        self.began_at = time.time()
        self.ended_at: float | None = None
        self.freezes: list[list[float]] = []  # from and until


class Replica:
    """`syncd run`, started again after each death."""

    def __init__(self, number: int, config: Path, folder: Path, environ: Mapping[str, str]) -> None:
        self.number = number
        self.log = folder / f"replica{number}.log"
        self._config, self._order = config, folder / f"order{number}"
        self._environ = {**os.environ, **environ, "REPLICA": str(number), "ORDER": str(self._order)}
        self._started: Started | None = None
        self.lives: list[Process] = []
        self.exits: Counter[int] = Counter()  # codes of those that ended by themselves

    @property
    def life(self) -> Process:
        """Return the present or the last life."""
        return self.lives[-1]

    def start(self) -> None:
        """Begin a life."""
        self._order.unlink(missing_ok=True)
        self._started = interpreters().start(
            ["run", "-c", str(self._config), "--log-format", "json"], environ=self._environ, cwd=ROOT, output=self.log,
            main="tests.campaigns.replica",
        )  # fmt: skip
        self.lives.append(Process(self.number, self._started.pid))

    def state(self) -> str:
        """Return RUNNING, FROZEN or DEAD."""
        if self._started is None or self._started.poll() is not None:
            return DEAD
        with suppress(OSError):
            state = Path(f"/proc/{self.life.pid}/stat").read_text().rpartition(")")[2].split()[0]
            return FROZEN if state in "tT" else RUNNING
        return DEAD

    def order(self, number: signal.Signals, kind: str) -> None:
        """Let the process send itself a signal at its next boundary of this kind."""
        partial = self._order.with_suffix(".new")
        partial.write_text(f"{int(number)} {kind}")
        partial.rename(self._order)

    def withdraw(self) -> bool:
        """Withdraw the order. False if it was obeyed."""
        try:
            self._order.unlink()
        except FileNotFoundError:
            return False
        return True

    def send(self, number: signal.Signals) -> None:
        """Send a signal to a living process."""
        if self._started is not None:
            self._started.send_signal(number)

    def ended(self) -> None:
        """Note the end of a life that a signal ended, or that ended by itself."""
        assert self._started is not None
        code = self._started.wait(20)
        self.life.ended_at = time.time()
        if code != -signal.SIGKILL:
            self.exits[code] += 1

    def stop(self, *, at_most_s: float = 60.0) -> int:
        """Send SIGTERM, and return the exit code."""
        assert self._started is not None
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        code = self._started.wait(at_most_s)
        self.life.ended_at = time.time()
        return code

    def kill(self) -> None:
        """Kill it, whatever its state."""
        if self._started is not None and self.state() != DEAD:
            self._started.kill()

    def text(self) -> str:
        """Return the log of all lives."""
        return self.log.read_text() if self.log.exists() else ""


__all__ = ["DEAD", "FROZEN", "KINDS", "REACH_S", "RUNNING", "Process", "Replica"]
