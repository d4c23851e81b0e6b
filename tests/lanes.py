"""A stand-in for the rows of lanes that replicas share, in memory: one writer for each lane, by random tokens."""

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from syncd.errors import LedgerError
from syncd.ledger import Taken


@dataclass
class Lane:
    """One row. Times are seconds of the monotonic clock."""

    due_at: float
    reads_at: float
    token: str | None = None
    expired: bool = False  # its holder has not renewed the lease
    wake_at: float | None = None
    epoch: int = 0
    failures: int = 0
    releases: list[tuple[float, float | None, int]] = field(default_factory=list)  # as they were asked for


class SharedLanes:
    """The rows. Every change of them is one step, as a transaction is."""

    def __init__(self) -> None:
        self.rows: dict[str, Lane] = {}
        self.lock = threading.Lock()
        self.is_away = False

    def steal(self, name: str) -> None:
        """Take a lane from its holder, as another replica does after the lease has ended."""
        with self.lock:
            self.rows[name].token = "another"

    def due(self, now: float) -> list[str]:
        """Return the lanes that may be taken, in the order in which they are."""
        free = {name: row for name, row in self.rows.items() if row.token is None or row.expired}
        when = {name: min(row.due_at, row.wake_at or row.due_at) for name, row in free.items()}
        return sorted((n for n, at in when.items() if at <= now), key=lambda n: (free[n].token is None, when[n]))


class StandIn:
    """One replica."""

    def __init__(self, lanes: SharedLanes, ledger: Any) -> None:
        self._lanes = lanes
        self._ledger = ledger
        self.taken: list[str] = []

    def enrol(self, sources: Collection[str]) -> None:
        with self._lanes.lock:
            for name in sources:
                self._lanes.rows.setdefault(name, Lane(time.monotonic(), time.monotonic()))

    def take(self) -> Taken | None:
        with self._lanes.lock:
            if self._lanes.is_away:
                raise LedgerError("PostgreSQL is away", hint="start it")
            now = time.monotonic()
            if not (due := self._lanes.due(now)):
                return None
            row = self._lanes.rows[due[0]]
            when, token = min(row.due_at, row.wake_at or row.due_at), str(uuid4())
            was_orphan, row.token, row.expired, row.epoch = row.token is not None, token, False, row.epoch + 1
            if row.wake_at is not None and row.wake_at <= now:
                row.reads_at, row.wake_at = min(row.reads_at, row.wake_at), None
            row.due_at = min(row.due_at, now)
            self.taken.append(due[0])
        return Taken(
            due[0], row.epoch, was_orphan, now - when, row.reads_at - now, row.failures, self._ledger,
            lambda: row.token == token, partial(self._release, row, token),
        )  # fmt: skip

    def _release(
        self, row: Lane, token: str, in_s: float | None, *, reads_in_s: float | None = None, failures: int = 0
    ) -> None:
        with self._lanes.lock:
            if row.token == token:
                now = time.monotonic()
                row.releases.append((in_s or 0.0, reads_in_s, failures))
                row.token, row.due_at, row.failures = None, now + (in_s or 0.0), failures
                row.reads_at = row.reads_at if reads_in_s is None else now + reads_in_s

    def report(self, *, slots: int, held: int) -> None:
        assert 0 <= held <= slots

    def is_alive(self) -> bool:
        return True

    def wake(self, sources: Collection[str]) -> None:
        with self._lanes.lock:
            for name in sources:
                self._lanes.rows[name].wake_at = time.monotonic()

    def overdue(self) -> int:
        with self._lanes.lock:
            return len(self._lanes.due(time.monotonic()))

    def failing(self) -> frozenset[str]:
        with self._lanes.lock:
            return frozenset(name for name, row in self._lanes.rows.items() if row.failures)


__all__ = ["Lane", "SharedLanes", "StandIn"]
