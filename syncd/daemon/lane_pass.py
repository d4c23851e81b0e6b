"""Make one pass over a lane in a thread of its own, and release the lane with the time of its next pass."""

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from syncd import clock, memory
from syncd.config import Config
from syncd.daemon.lane_schedule import Coming, LaneEnd, Reading, after_error, coming, regular_s
from syncd.daemon.worker import MANY, Ended, PassProgress, make_pass
from syncd.errors import LedgerHeld, SyncdError
from syncd.ledger import RECOTAP, Ledger, Taken
from syncd.passes.control import PassControl
from syncd.signals import StopRequest

log = structlog.get_logger()

LOST_HINT = "nothing: the replica that has it goes on where this one was"


@dataclass(frozen=True, slots=True)
class LaneEnded:
    """The end of a pass over a lane, which is released."""

    lane: "LanePass"
    ended: Ended


@dataclass(frozen=True, slots=True)
class _Facts:
    """The facts about the lane that a pass has left."""

    send_at: datetime | None
    pause: datetime | None
    recotap_pause: datetime | None


class LanePass:
    """One pass over the lane `taken`, by one configuration. `report` is called in its thread at the end."""

    def __init__(self, taken: Taken, config: Config, report: Callable[[LaneEnded], None]) -> None:
        self.taken = taken
        self.name = taken.source
        self.began_at = time.monotonic()
        self.progress = PassProgress()
        self.is_ending = False  # it was told to end soon
        self.is_over = False  # the lane is being released
        self.has_reported = False
        self.keys = config.secrets_fingerprint(self.name)  # with which it begins
        self._config = config
        self._report = report
        self._source = next((each for each in config.sources if each.name == self.name), None)
        self.reads = self._source is not None and taken.reads_in_s <= 0
        self._stop = StopRequest()
        self._control = PassControl(self._hear, turn_s=config.run.turn.total_seconds())
        self._was_read = False
        self._is_lost = False
        self._facts: _Facts | None = None
        self._thread = threading.Thread(target=self._run, name=f"lane {self.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Tell whether the thread is running."""
        return self._thread.is_alive()

    def end_soon(self) -> None:
        """Have the pass end after its next page. The lane is due again at once."""
        self.is_ending = True
        self._control.end_soon()

    def stop(self, number: int) -> None:
        """Begin nothing new because of signal `number`, and release the lane."""
        self._stop.request(number)

    def lose(self, why: str) -> None:
        """Log once that the lease may not be trusted, and begin nothing new."""
        if not self._is_lost:
            self._is_lost = True
            log.warning("lane.lost", source=self.name, error=why, hint=LOST_HINT)
            self._stop.request(signal.SIGTERM)

    def _run(self) -> None:
        with structlog.contextvars.bound_contextvars(lane=self.name):
            ended = make_pass(
                self._config, (self._source,) if self._source and self.reads else (), ledger=self.taken.ledger,
                stop=self._stop, observer=self.progress, control=self._control, at_end=self._note,
            )  # fmt: skip
            if isinstance(ended.error, LedgerHeld):
                self.lose(ended.error.message)
            if self.progress.read_count >= MANY:
                memory.give_back()
            due, self.is_over = self._coming(ended), True
            self.taken.release(due.pass_in_s, reads_in_s=due.reads_in_s, failures=due.failures)
        self.has_reported = True
        self._report(LaneEnded(self, ended))

    def _hear(self, name: str, error: SyncdError | None) -> None:
        self._was_read = self._was_read or (name == self.name and error is None)

    def _note(self, ledger: Ledger) -> None:
        now = clock.now()
        pauses = [ledger.pause(name, now) for name in (self.name, RECOTAP)]
        self._facts = _Facts(ledger.next_send_at(), *(pause and pause[0] for pause in pauses))

    def _coming(self, ended: Ended) -> Coming:
        now, lasted_s = clock.now(), time.monotonic() - self.began_at
        schedule = self._config.schedule_for(self._source) if self._source else self._config.schedule
        regular = regular_s(schedule, self.name, lasted_s=lasted_s, now=now)
        if self._facts is None:
            return after_error(self.taken.failures, regular_s=regular)
        failed = ended.failed((self.name, RECOTAP))
        end = LaneEnd(
            self._reading(was_failure=self.name in failed),
            could_send=RECOTAP not in failed,
            was_cut=self.is_ending or self._stop.requested,
            failures=self.taken.failures,
            send_in_s=_left_s(self._facts.send_at, now),
            pause_s=_left_s(self._facts.pause, now) or 0.0,
            recotap_pause_s=_left_s(self._facts.recotap_pause, now) or 0.0,
        )
        if self._source is None:  # another replica may know it, or it comes back
            return replace(coming(end, regular_s=regular, planned_s=regular), reads_in_s=None)
        return coming(end, regular_s=regular, planned_s=self.taken.reads_in_s - lasted_s)

    def _reading(self, *, was_failure: bool) -> Reading:
        if not self.reads:
            return Reading.LEFT_OUT
        if self._was_read and not was_failure:
            return Reading.WHOLE
        return Reading.CUT if self._stop.requested or not was_failure else Reading.FAILED


def _left_s(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else (at - now).total_seconds()


__all__ = ["LOST_HINT", "LaneEnded", "LanePass"]
