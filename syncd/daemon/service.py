"""The daemon's main thread: hear what happens, decide by the agenda, see that it goes on."""

import os
import signal
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue

import structlog

from syncd import __version__, clock, memory
from syncd.config import Config, load, locate
from syncd.connector import Source
from syncd.daemon import status_line
from syncd.daemon.agenda import Agenda
from syncd.daemon.queries import DueQueries
from syncd.daemon.scheduler import Jobs
from syncd.daemon.stacks import thread_stacks
from syncd.daemon.systemd import Notifier
from syncd.daemon.worker import Ended, Order, Worker, log_problems
from syncd.errors import ConfigError, Exit, LedgerHeld, Problem, SyncdError
from syncd.ledger import RECOTAP, chosen
from syncd.signals import StopRequest
from syncd.types.schedule import Schedule

log = structlog.get_logger()

TICK_S = 1.0  # between two looks at the clock and the watchdog
LOOK_S = 2.0  # between two looks at the ledger, for what an operator asked for (heard within 5 s: design 4.1)
KEYS_S = 5.0  # between two looks at refused keys
CLOCK_S = 10.0  # between two looks at a clock that was never set
RELEASED = datetime(2026, 1, 1, tzinfo=UTC)  # no machine that runs this syncd has an earlier date
CLOCK_STEP_S = 2.0  # the wall clock went another way than the monotonic one: it was set
GRACE_S = 2.0  # on top of the longest deadline, for a stop (design, promise 8)
SEND_AGAIN_S = 300.0  # until what was due in a pass, and stayed due, is sent again

# What the main thread hears: a signal's number, a job's name, how a pass ended.
_Event = int | str | Ended


def serve(config_file: Path | None, events: "SimpleQueue[_Event]") -> int:
    """See that everything is in order, hold the ledger, and serve; `events` has the signals heard so far."""
    if not _clock_is_set(events):
        return int(Exit.OK)
    if config_file is None:
        log.info("config.found", file=str(locate()))
    config = load(config_file)
    handle = chosen(config.ledger)
    with handle.hold("run") as still_held:
        with handle.open() as ledger:
            ledger.cut_short(clock.now())
            if not ledger.balanced():
                log.error("books.unbalanced", hint="rows were removed by hand: restore a backup")
        memory.collect_less_often()
        memory.share_one_arena()
        return Service(config, events, Notifier.from_environment(), still_held, config_file=config_file).run()


def _clock_is_set(events: "SimpleQueue[_Event]") -> bool:
    """Wait for a machine without a battery to learn what time it is; False when it is asked to end before that.

    By such a clock every start lies in the future, which is a wrong configuration, and nobody would try again.
    """
    said = False
    while clock.now() < RELEASED:
        if not said:
            said = True
            hint = "set the clock, or let NTP do it: syncd waits, and begins when it is set"
            log.warning("clock.behind", now=clock.text(clock.now()), hint=hint)
        with suppress(Empty):
            if events.get(timeout=CLOCK_S) in (signal.SIGTERM, signal.SIGINT):
                return False
    return True


class Service:
    """One daemon's life."""

    def __init__(
        self, config: Config, events: "SimpleQueue[_Event]", notifier: Notifier, still_held: Callable[[], bool], *,
        config_file: Path | None = None,
    ) -> None:  # fmt: skip
        self._config = config
        self._config_file = config_file
        self._new_config: Config | None = None  # read by a SIGHUP, in force from the next pass on
        self._events = events
        self._notifier = notifier
        self._still_held = still_held
        self._stop_request = StopRequest()
        self._agenda = Agenda()
        self._jobs = Jobs(events.put)
        self._worker = Worker(self._stop_request, events.put)
        self._ledger_handle = chosen(config.ledger)  # a reload cannot change it
        self._ledger = DueQueries(self._ledger_handle)
        self._wall_ahead_s = _wall_ahead()
        self._busy = False
        self._stuck_said = False
        self._passes = 0
        self._last = Ended()  # how the last pass came out
        self._ended_at: datetime | None = None
        self._counts: dict[str, int] = {}
        self._failures: dict[str, SyncdError] = {}  # what fails now, in the order in which it began to
        self._keys = ""  # as they were when the last pass began
        self._refused: dict[str, str] = {}  # with whom which keys were refused
        self._exit_at: float | None = None  # monotonic: when a stop is out of patience
        self._fed_at = self._requests_at = self._keys_at = float("-inf")

    def run(self) -> int:
        """Work until a signal asks for the end."""
        log.info(
            "run.started", version=__version__, pid=os.getpid(), ledger=str(self._ledger_handle),
            sources={source.name: str(schedule) for source, schedule in self._source_schedules()},
        )  # fmt: skip
        self._worker.start()
        self._agenda.want(self._ledger.due_at_start(self._source_schedules()))
        self._plan_to_send(time.monotonic())
        self._handle_events(0.0)  # who was asked to end while it started begins nothing
        if self._exit_at is None:
            self._begin()
            self._notifier.ready()
        self._jobs.start()
        self._jobs.set(self._schedules())
        while self._exit_at is None or self._busy:
            self._handle_events(self._tick_s())
            self._look_around()
        self._jobs.stop()
        self._worker.stop()
        self._ledger.close()
        log.info("run.finished", passes=self._passes, skipped_ticks=self._agenda.skipped.total())
        return int(Exit.OK)

    def _schedules(self) -> dict[str, Schedule]:
        own = {source.name: schedule for source, schedule in self._source_schedules()}
        return {RECOTAP: self._config.schedule, **own}

    def _source_schedules(self) -> list[tuple[Source, Schedule]]:
        return [(source, self._config.schedule_for(source)) for source in self._config.sources]

    # -- what happens -------------------------------------------------------------------

    def _handle_events(self, wait_s: float) -> None:
        """Handle what has happened, or happens within so many seconds."""
        with suppress(Empty):
            self._handle(self._events.get(timeout=wait_s))
            while True:
                self._handle(self._events.get_nowait())

    def _tick_s(self) -> float:
        watchdog_s = self._notifier.watchdog_s
        return TICK_S if watchdog_s is None else min(TICK_S, watchdog_s / 4)

    def _handle(self, event: _Event) -> None:
        match event:
            case str(name):
                self._tick(name)
            case Ended():
                self._end_pass(event)
            case signal.SIGHUP:
                self._reload()
            case int(number):
                self._stop(number)

    def _tick(self, name: str) -> None:
        """Note a regular time; the sender's only when there is something to send, a source's unless it pauses."""
        if name == RECOTAP and self._busy:  # every pass sends
            return
        if self._ledger.can_send() if name == RECOTAP else self._ledger.pause_s(name) == 0.0:
            self._agenda.tick(name)

    def _end_pass(self, ended: Ended) -> None:
        self._busy, self._last, self._ended_at = False, ended, clock.now()
        self._passes += 1
        names, now = self._agenda.running, time.monotonic()
        failed = ended.failed(names)
        pauses = {name: now + self._ledger.pause_s(name) for name in failed}
        skipped = self._agenda.finished(failed, now, not_before=pauses)
        for name, count in skipped.items():
            hint = "nothing is lost; if it goes on, passes take longer than their interval: raise it"
            log.warning("tick.skipped", source=name, ticks=count, since_start=self._agenda.skipped[name], hint=hint)
        if RECOTAP not in failed:
            self._plan_to_send(now)
        self._counts = self._ledger.counts()
        self._record_failures(names, failed)

    def _record_failures(self, names: Collection[str], failed: Mapping[str, SyncdError]) -> None:
        """Keep what fails, and whose keys were refused, until it is seen to go well."""
        for name in names:
            if name not in failed:
                self._failures.pop(name, None)
                self._refused.pop(name, None)
        for name, error in failed.items():
            error.__traceback__ = error.__context__ = error.__cause__ = None  # they hold the whole pass
            self._failures[name] = error
            if error.exit_code in (Exit.UNAUTHORIZED, Exit.CONFIG):
                self._refused[name] = self._keys

    def _plan_to_send(self, now: float) -> None:
        """Wake when the first of what backs off may go out; not at once for what was just tried and stays due."""
        wait_s = self._ledger.send_in_s()
        if wait_s is not None:
            wait_s = wait_s if wait_s > 0 else SEND_AGAIN_S
            self._agenda.wake(RECOTAP, now + max(wait_s, self._ledger.pause_s(RECOTAP)))

    def _stop(self, number: int) -> None:
        log.info("run.stopping", signal=signal.Signals(number).name, pass_under_way=self._busy)
        self._notifier.stopping()
        self._notifier.status("stopping" + (": the request under way ends first" if self._busy else ""))
        timeouts = [self._config.recotap.timeout, *(source.config.timeout for source in self._config.sources)]
        self._exit_at = time.monotonic() + max(timeouts).total_seconds() + GRACE_S
        self._stop_request.request(number)

    def _reload(self) -> None:
        """Read the configuration again: a valid one holds from the next pass on, else the old one stays."""
        self._notifier.reloading()
        try:
            new = load(self._config_file)
            if chosen(new.ledger) != self._ledger_handle:
                problem = Problem("ledger.path", "cannot change while syncd runs", "restart syncd for another ledger")
                raise ConfigError([problem], where=str(new.path))
        except ConfigError as error:
            log_problems(error)
            log.error("config.refused", error=error.message, hint="the old one stays in force: mend it, reload again")
        else:
            self._new_config = new
            log.info("config.read", file=str(new.path), takes_effect="between passes")
        self._notifier.ready()

    # -- what must be looked after ------------------------------------------------------

    def _look_around(self) -> None:
        now = time.monotonic()
        if self._exit_at and self._busy and now >= self._exit_at:
            log.warning("run.left", hint="a request did not end by its deadline; its outcome is asked again")
            os._exit(int(Exit.OK))
        if not (self._worker.is_alive() and self._jobs.is_alive()):
            raise RuntimeError("a thread of the daemon has ended: without it no pass would ever be made")
        self._check_clock()
        if self._exit_at is None:
            self._check_requests(now)
            self._check_keys(now)
            self._agenda.look(now)
            self._begin()
        self._report(now)

    def _check_clock(self) -> None:
        ahead = _wall_ahead()
        by_s = ahead - self._wall_ahead_s
        if abs(by_s) >= CLOCK_STEP_S:
            self._wall_ahead_s = ahead
            log.warning("clock.set", by_s=round(by_s, 1), hint="nothing to do: passes go on at their intervals")
            self._jobs.clock_was_set(timedelta(seconds=by_s), clock.now())

    def _check_requests(self, now: float) -> None:
        """Act on what an operator asked for, within 5 s."""
        if now - self._requests_at < LOOK_S:
            return
        self._requests_at = now
        names = self._ledger.newly_requested()
        if names is not None:
            log.info("operator.asked", passes=names)
            self._agenda.want(names)

    def _check_keys(self, now: float) -> None:
        """Have a pass at once where a key that was refused is another one now."""
        if not self._refused or self._busy or now - self._keys_at < KEYS_S:
            return
        self._keys_at = now
        keys = self._config.secrets_fingerprint()
        if changed := [name for name, refused in self._refused.items() if refused != keys]:
            log.info("keys.changed", passes=changed, hint="a key that was refused is another one now: trying again")
            self._refused = {name: refused for name, refused in self._refused.items() if name not in changed}
            self._agenda.want(changed)

    def _begin(self) -> None:
        """Hand what waits to the worker, when it has nothing to do; a new configuration comes into force first."""
        if self._busy:
            return
        if self._new_config is not None:
            self._apply(self._new_config)
        sources = {source.name: source for source in self._config.sources}
        if not self._agenda.has_work or not (names := self._agenda.begin({*sources, RECOTAP})):
            return
        if not self._still_held():
            raise LedgerHeld(
                f"the lock of {self._ledger_handle} was removed: another syncd may be at work",
                hint="leave <ledger>.lock where it is; syncd ends, so that whoever watches it starts it anew",
            )
        if self._passes and self._ledger_handle.is_gone():
            hint = "restore a backup; without it all is read anew, and Recotap answers that it has it"
            log.error("ledger.gone", path=str(self._ledger_handle), hint=hint)
        self._busy, self._stuck_said = True, False
        self._keys = self._config.secrets_fingerprint()
        self._worker.order(Order(self._config, tuple(sources[name] for name in names if name in sources)))

    def _apply(self, config: Config) -> None:
        """Let a configuration come into force: what is new is read as at a start, what failed at once."""
        known = {source.name for source in self._config.sources}
        self._config, self._new_config = config, None
        self._jobs.set(self._schedules())
        new = [(source, schedule) for source, schedule in self._source_schedules() if source.name not in known]
        self._agenda.want(self._ledger.due_at_start(new))
        kept = {source.name for source in config.sources} | {RECOTAP}
        self._failures = {name: error for name, error in self._failures.items() if name in kept}
        self._agenda.want([name for name in self._failures if self._ledger.pause_s(name) == 0.0])
        self._refused = {name: keys for name, keys in self._refused.items() if name in kept}
        log.info("config.in_force", file=str(config.path))

    def _report(self, now: float) -> None:
        """Show how it stands; feed the watchdog as long as work goes on."""
        progress, sources = self._worker.progress, tuple(n for n in self._agenda.running if n != RECOTAP)
        still_s = now - progress.at if self._busy else 0.0
        stuck = still_s >= self._config.schedule.stuck_after.total_seconds()
        if stuck and not self._stuck_said:
            self._stuck_said = True
            log.error(
                "pass.stuck", sources=sources, where=progress.where, for_s=round(still_s), stands_at=thread_stacks(),
                hint="nothing came of the pass for so long: a watchdog restarts syncd; without one, restart it",
            )  # fmt: skip
        if self._exit_at is None:
            self._notifier.status(self._status_line(sources, still_s, stuck=stuck))
        watchdog_s = self._notifier.watchdog_s
        if watchdog_s is not None and not stuck and now - self._fed_at >= watchdog_s / 3:
            self._fed_at = now
            self._notifier.feed()

    def _status_line(self, sources: tuple[str, ...], still_s: float, *, stuck: bool) -> str:
        progress, last = self._worker.progress, self._last
        failure = next(iter(self._failures.values()), None)
        if stuck:
            return status_line.stuck(sources, where=progress.where, for_s=still_s)
        if self._busy:
            return status_line.running(
                sources, where=progress.where, read=progress.read_count, delivered=progress.delivered, failure=failure
            )
        return status_line.idle(
            last.outcome, failure, ended_at=self._ended_at, counts=self._counts,
            next_at=self._jobs.next_at([source.name for source in self._config.sources]), now=clock.now(),
        )  # fmt: skip


def _wall_ahead() -> float:
    """Return how far the wall clock is ahead of the monotonic one, in seconds."""
    return time.time() - time.monotonic()
