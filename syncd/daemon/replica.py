"""The daemon on a ledger that replicas share: take lanes, make passes over them side by side, and release them.

    Taker (a thread): a lane that is due ──► Service ──► LanePass: a thread for each slot ──► released
    signals ───────────────────────────────► (the main thread)

Nothing is assigned: each replica takes what is due while it has a free slot. The rows of the lanes are the queue, the
leases and the schedule, so a replica that dies takes nothing with it.
"""

import os
import signal
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import structlog

from syncd import __version__, memory, web
from syncd.alerts import Watching
from syncd.config import Config
from syncd.daemon import status_line
from syncd.daemon.failures import Failures
from syncd.daemon.lane_pass import LaneEnded, LanePass
from syncd.daemon.lane_schedule import turns_over
from syncd.daemon.lanes import Overdue, Replica, StillFailing, Taker
from syncd.daemon.process import Stopping, WallClock, check_books, read_again, still_served
from syncd.daemon.reporter import Reporter
from syncd.daemon.systemd import Notifier
from syncd.errors import Exit, LedgerHeld, worst
from syncd.ledger import RECOTAP, AnyLedger, Taken

log = structlog.get_logger()

TICK_S = 1.0  # between two checks of the leases and the watchdog
STILL_S = 1.0  # until a lane is due whose last pass in this process has not ended
KEYS_S = 5.0  # between two checks of refused keys

if TYPE_CHECKING:
    from syncd.web.server import Page

# The number of a signal, a lane to make a pass over, its end, or a count of lanes.
_Event = int | Taken | LaneEnded | Overdue | StillFailing


def serve_lanes(
    config: Config, events: "SimpleQueue[Any]", sharing: AbstractContextManager[Replica], ledger: AnyLedger, *,
    config_file: Path | None,
) -> int:  # fmt: skip
    """Check the ledger, and take part in the work on it. `events` has the signals that came so far. Returns 0.

    ConfigError or LedgerError if it cannot begin.
    """
    with sharing as replica:
        with ledger.read() as reader:
            check_books(reader)
        memory.collect_less_often()
        memory.share_one_arena()
        with web.serving(config) as page:
            notifier = Notifier.from_environment()
            return ReplicaService(config, events, notifier, replica, ledger, config_file=config_file, page=page).run()


class ReplicaService:
    """One of the daemons that share a ledger. Its main thread writes to no ledger, and waits for none."""

    def __init__(
        self, config: Config, events: "SimpleQueue[_Event]", notifier: Notifier, replica: Replica, ledger: AnyLedger, *,
        config_file: Path | None = None, page: "Page | None" = None,
    ) -> None:  # fmt: skip
        self._config = config
        self._config_file = config_file
        self._events = events
        self._page = page  # None unless [web] names an address
        self._notifier = notifier
        self._reporter = Reporter(notifier)
        self._ledger = ledger  # a reload cannot change it
        self._taker = Taker(replica, config.run.passes, _names(config), events.put)
        self._lanes: dict[str, LanePass] = {}  # the passes under way, by source
        self._passes = 0  # that have ended
        self._overdue = 0  # when they were last counted
        self._failures = Failures()  # by source: its own error, otherwise Recotap's
        self._alerts = Watching(config)
        self._stopping = Stopping()
        self._clock = WallClock()
        self._keys_at = float("-inf")

    def run(self) -> int:
        """Make passes until a signal asks to stop. Returns 0."""
        schedules = {source.name: str(self._config.schedule_for(source)) for source in self._config.sources}
        log.info(
            "run.started", version=__version__, pid=os.getpid(), ledger=str(self._ledger), sources=schedules,
            slots=self._taker.slots,
        )  # fmt: skip
        self._handle_events(0.0)  # after a stop signal during the start no pass begins
        if not self._stopping.is_asked:
            self._taker.start()
            self._notifier.ready()
        while not self._stopping.is_asked or self._is_busy:
            self._handle_events(self._tick_s())
            self._run_checks()
        self._handle_events(0.0)  # a lane that was taken last is released
        self._alerts.close()
        log.info("run.finished", passes=self._passes)
        return int(Exit.OK)

    @property
    def _is_busy(self) -> bool:
        return bool(self._lanes) or self._taker.is_alive()

    # -- events ---------------------------------------------------------------------------

    def _handle_events(self, wait_s: float) -> None:
        """Handle all events so far, or the first one within `wait_s` seconds."""
        with suppress(Empty):
            self._handle(self._events.get(timeout=wait_s) if wait_s else self._events.get_nowait())
            while True:
                self._handle(self._events.get_nowait())

    def _tick_s(self) -> float:
        watchdog_s = self._notifier.watchdog_s
        return TICK_S if watchdog_s is None else min(TICK_S, watchdog_s / 4)

    def _handle(self, event: _Event) -> None:
        match event:
            case LaneEnded():
                self._end(event)
            case Overdue(count):
                self._overdue = count
                self._end_turns(count)
            case StillFailing(names):
                self._failures.keep(names)
            case signal.SIGHUP:
                self._reload()
            case int(number):
                self._stop(number)
            case taken:
                self._begin(taken)

    def _begin(self, taken: Taken) -> None:
        """Begin a pass over a lane, or release it at once if the daemon stops.

        A process that stood still may take a lane again before its last pass over it has noticed that it lost it.
        """
        if self._stopping.is_asked:
            taken.release(None, failures=taken.failures)
            return
        if taken.source in self._lanes:
            taken.release(STILL_S, failures=taken.failures)
            self._taker.freed()
            return
        log.debug("lane.taken", source=taken.source, epoch=taken.epoch, late_s=round(taken.late_s, 1))
        lane = LanePass(taken, self._config, self._events.put)
        self._lanes[lane.name] = lane
        lane.start()

    def _end(self, event: LaneEnded) -> None:
        lane, ended = event.lane, event.ended
        del self._lanes[lane.name]
        self._passes += 1
        self._taker.freed()
        if isinstance(ended.error, LedgerHeld):  # the replica that has the lane reports it
            return
        failed, outcome = ended.failed([lane.name]), ended.outcome
        cause = failed.get(lane.name) or failed.get(RECOTAP)
        if cause or lane.reads:  # a pass for the outbox alone says nothing of the source
            now_failing = {lane.name: cause} if cause else {}
            self._failures.record([lane.name], now_failing, keys={lane.name: lane.keys})
        codes = [int(outcome.exit_code)] if outcome else []
        self._alerts.pass_begins()  # passes overlap, so each is told at its end
        self._alerts.pass_ended(
            worst([*codes, *self._failures.codes]), failed=failed, flooded=outcome.flooded if outcome else ()
        )

    def _stop(self, number: int) -> None:
        self._stopping.ask(number, self._config, self._reporter, self._page, busy=bool(self._lanes))
        self._taker.stop()
        for lane in self._lanes.values():
            lane.stop(number)

    def _reload(self) -> None:
        """Read the configuration again. A valid one applies to the passes that begin from now on."""
        new = read_again(
            self._config_file, self._config, self._ledger, self._notifier, takes_effect="with the passes that begin"
        )
        if new is None:
            return
        added = _names(new) - _names(self._config)
        self._config = new
        self._taker.slots, self._taker.sources = new.run.passes, _names(new)
        self._taker.wake(added | set(self._failures.names))
        self._alerts.configure(new)
        if self._page:
            self._page.apply(new)
        log.info("config.in_force", file=str(new.path))

    # -- regular checks -------------------------------------------------------------------

    def _run_checks(self) -> None:
        now = time.monotonic()
        self._stopping.exit_if_over(now, busy=self._is_busy)
        if self._has_lost_a_thread():
            raise RuntimeError("a thread of the daemon has ended: without it no pass would be made")
        self._clock.was_set_by()  # a regular time is by the database's clock
        for lane in self._lanes.values():
            if not lane.taken.is_held() and not lane.is_over:
                lane.lose("its lease was not renewed in time")
        if not self._stopping.is_asked:
            self._page = still_served(self._page)
            self._check_keys(now)
            self._end_turns(0)
        self._report(now)

    def _has_lost_a_thread(self) -> bool:
        """Tell whether a thread has ended by a bug. A pass that has ended well has reported it."""
        if not (self._taker.is_alive() or self._stopping.is_asked):
            return True
        return any(not (lane.is_alive() or lane.has_reported) for lane in self._lanes.values())

    def _end_turns(self, overdue: int) -> None:
        now = time.monotonic()
        ending = [name for name, lane in self._lanes.items() if lane.is_ending]
        lasted = {name: now - lane.began_at for name, lane in self._lanes.items()}
        turn_s = self._config.run.turn.total_seconds()
        for name in turns_over(lasted, ending, overdue=overdue, turn_s=turn_s):
            self._lanes[name].end_soon()

    def _check_keys(self, now: float) -> None:
        """Have passes at once over the lanes whose refused key has changed."""
        if not self._failures.has_refused_keys or now - self._keys_at < KEYS_S:
            return
        self._keys_at = now
        changed = []
        for name in self._failures.refused:
            changed += self._failures.take_changed(self._config.secrets_fingerprint(name), among=[name])
        if changed:
            log.info("keys.changed", passes=changed, hint="a refused key was replaced: syncd tries again")
            self._taker.wake(changed)

    def _report(self, now: float) -> None:
        """Report the state, and feed the watchdog unless a pass is stuck."""
        if not self._taker.is_full:
            self._overdue = 0
        line = status_line.lanes(
            [*self._lanes], self._taker.slots, overdue=self._overdue, failures=self._failures.errors
        )
        passes = {name: lane.progress for name, lane in self._lanes.items()}
        stuck_after_s = self._config.schedule.stuck_after.total_seconds()
        self._reporter.slots(line, passes, stuck_after_s=stuck_after_s, now=now)


def _names(config: Config) -> frozenset[str]:
    return frozenset(source.name for source in config.sources)


__all__ = ["ReplicaService", "serve_lanes"]
