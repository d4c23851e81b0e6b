"""Take the lanes of a shared ledger in a thread, as long as a slot is free.

    replica ──take──► Taken ──► events: a pass over the lane begins ──► freed
       ▲                 └ none: wait, the longer the fuller the replica is
       └──overdue, failing: once a second, and every 15 s

This thread alone asks the database for lanes. So a database that hangs delays no signal and no watchdog.
"""

import random
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

import structlog

from syncd.daemon.lane_schedule import poll_in_s
from syncd.errors import LedgerError, LedgerHeld
from syncd.ledger import Taken

log = structlog.get_logger()

FULL_LOOK_S = 1.0  # between two counts of the overdue lanes while no slot is free
LOOK_S = 15.0  # between two looks which lanes are missing, and which fail, whoever made their passes
REPORT_S = 3.0  # between two reports that this replica is alive
RETRY_S = 1.0  # after an error of the ledger; up to twice as long


class Replica(Protocol):
    """One of the processes that share a ledger. Its methods raise LedgerError, and may be called in any thread.

    `ledger.postgres_replica.Replica` is it.
    """

    def enrol(self, sources: Collection[str]) -> None:
        """Make a lane for each source that has none."""

    def take(self) -> Taken | None:
        """Take the lane that should be taken first, or return None if none is due."""

    def wake(self, sources: Collection[str]) -> None:
        """Have passes over the lanes of `sources` as soon as possible."""

    def overdue(self) -> int:
        """Return the number of lanes that are due and held by no replica."""

    def failing(self) -> frozenset[str]:
        """Return the sources whose last pass has failed."""

    def report(self, *, slots: int, held: int) -> None:
        """Note that this replica is alive, and how many of its slots are in use."""

    def is_alive(self) -> bool:
        """Tell whether the leases are being renewed."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """The number of lanes that wait for a free slot."""

    count: int


@dataclass(frozen=True, slots=True)
class StillFailing:
    """The sources whose last pass has failed, in whichever replica."""

    names: frozenset[str]


class Taker:
    """Take lanes while fewer than `slots` are held. `report` is called in the thread, and must return quickly."""

    def __init__(
        self, replica: Replica, slots: int, sources: Collection[str],
        report: Callable[["Taken | Overdue | StillFailing"], None],
    ) -> None:  # fmt: skip
        self.slots = slots  # may be changed at any time, and so may `sources`
        self.sources = sources  # that have a lane, whichever replica makes it
        self._replica = replica
        self._report = report
        self._held = 0
        self._lock = threading.Lock()
        self._freed, self._over = threading.Event(), threading.Event()
        self._orders: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._is_cut_off = False
        self._random = random.Random()  # nosec B311 # no secret
        self._looked_at = self._reported_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="lanes", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more lanes. One that is being taken is still reported."""
        self._over.set()
        self._freed.set()

    def is_alive(self) -> bool:
        """Tell whether the thread is running, and the leases are being renewed."""
        return self._thread.is_alive() and self._replica.is_alive()

    @property
    def is_full(self) -> bool:
        """Whether no slot is free."""
        return self._held >= self.slots

    def freed(self) -> None:
        """Hear that the pass over a lane has ended."""
        with self._lock:
            self._held -= 1
        self._freed.set()

    def wake(self, sources: Collection[str]) -> None:
        """Have passes over the lanes of `sources`, in whichever replica, soon. A new source gets its lane before."""

        def order() -> None:
            self._replica.enrol(self.sources)
            self._replica.wake(sources)

        self._orders.put(order)

    def _run(self) -> None:
        wait_s = 0.0
        while not self._over.wait(wait_s):
            try:
                wait_s = self._look()
            except (LedgerError, LedgerHeld) as error:
                self._cut_off(error)
                wait_s = RETRY_S * (1 + self._random.random())

    def _look(self) -> float:
        """Do the next thing, and return the time until the one after it."""
        while not self._orders.empty():
            self._orders.get()()
        if time.monotonic() - self._looked_at >= LOOK_S:
            self._looked_at = time.monotonic()
            self._replica.enrol(self.sources)  # again and again: none is made while another process holds all
            self._report(StillFailing(self._replica.failing()))
        if time.monotonic() - self._reported_at >= REPORT_S:
            self._reported_at = time.monotonic()
            self._replica.report(slots=self.slots, held=self._held)
        if self.is_full:
            self._wait_for_a_slot()
            return 0.0
        taken = self._replica.take()
        self._reconnected()
        if taken is not None:
            with self._lock:
                self._held += 1
            self._report(taken)
        late_s = None if taken is None else float("inf") if taken.was_orphan else taken.late_s
        chance = self._random.random()
        return poll_in_s(self._held, self.slots, found_late_s=late_s, chance=chance)

    def _wait_for_a_slot(self) -> None:
        self._freed.clear()
        if self.is_full and not self._over.is_set():
            self._report(Overdue(self._replica.overdue()))
            self._reconnected()
            self._freed.wait(FULL_LOOK_S)

    def _cut_off(self, error: LedgerError | LedgerHeld) -> None:
        if not self._is_cut_off:
            self._is_cut_off = True
            log.error("lanes.cut_off", error=error.message, hint=f"{error.hint}. syncd tries again every few seconds")

    def _reconnected(self) -> None:
        if self._is_cut_off:
            self._is_cut_off = False
            log.info("lanes.back")


__all__ = ["Overdue", "Replica", "StillFailing", "Taker"]
