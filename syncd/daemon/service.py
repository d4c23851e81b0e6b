"""The daemon's main thread: handle events, choose the next pass by the agenda, and check that all threads work."""

import os
import signal
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import structlog

from syncd import __version__, clock, memory, web
from syncd.alerts import Watching
from syncd.config import Config, load, locate
from syncd.connector import Source
from syncd.daemon import status_line
from syncd.daemon.agenda import Agenda
from syncd.daemon.failures import Failures
from syncd.daemon.process import Stopping, WallClock, check_books, read_again, still_served
from syncd.daemon.queries import DueQueries
from syncd.daemon.reporter import Reporter
from syncd.daemon.scheduler import Jobs
from syncd.daemon.systemd import Notifier
from syncd.daemon.worker import Ended, Order, SourceEnded, Worker
from syncd.errors import Exit, SyncdError, worst
from syncd.ledger import RECOTAP, chosen
from syncd.signals import StopRequest
from syncd.types.schedule import Schedule

log = structlog.get_logger()

TICK_S = 1.0  # between two checks of the clock and the watchdog
LOOK_S = 2.0  # between two checks for an operator's requests (a daemon acts within 5 s: design 4.1)
KEYS_S = 5.0  # between two checks of refused keys
CLOCK_S = 10.0  # between two checks of a clock that was never set
RELEASED = datetime(2026, 1, 1, tzinfo=UTC)  # an earlier date is wrong on any machine that runs this syncd
SEND_AGAIN_S = 300.0  # until an activity is sent again that a pass left due
PASS_S = 300.0  # after which a pass ends soon, even if a source has more to read: see `_must_end`

if TYPE_CHECKING:
    from syncd.web.server import Page

# The number of a signal, the name of a job whose time has come, or the end of a pass or of one source in it.
_Event = int | str | SourceEnded | Ended


def serve(config_file: Path | None, events: "SimpleQueue[_Event]") -> int:
    """Check the ledger, hold it, and run the service. `events` has the signals that came so far. Returns 0.

    ConfigError, LedgerError or LedgerHeld if it cannot begin.
    """
    if not _clock_is_set(events):
        return int(Exit.OK)
    if config_file is None:
        log.info("config.found", file=str(locate()))
    config = load(config_file)
    handle = chosen(config.ledger)
    if (sharing := handle.replica("run")) is not None:
        from syncd.daemon.replica import serve_lanes

        return serve_lanes(config, events, sharing, handle, config_file=config_file)
    with handle.hold("run") as hold:
        with handle.open() as ledger:
            ledger.cut_short(clock.now())
            check_books(ledger)
        memory.collect_less_often()
        memory.share_one_arena()
        with web.serving(config) as page:
            notifier = Notifier.from_environment()
            return Service(config, events, notifier, hold.is_held, config_file=config_file, page=page).run()


def _clock_is_set(events: "SimpleQueue[_Event]") -> bool:
    """Wait until a machine without a battery has set its clock. False if a signal asks to stop before.

    Until then every `start` lies in the future. That would be an invalid configuration, and syncd would exit.
    """
    logged = False
    while clock.now() < RELEASED:
        if not logged:
            logged = True
            hint = "set the clock, or let NTP do it: syncd waits until it is set"
            log.warning("clock.behind", now=clock.text(clock.now()), hint=hint)
        with suppress(Empty):
            if events.get(timeout=CLOCK_S) in (signal.SIGTERM, signal.SIGINT):
                return False
    return True


class Service:
    """The daemon. It never writes to the ledger itself. One worker thread makes all passes."""

    def __init__(
        self, config: Config, events: "SimpleQueue[_Event]", notifier: Notifier, still_held: Callable[[], bool], *,
        config_file: Path | None = None, page: "Page | None" = None,
    ) -> None:  # fmt: skip
        self._config = config
        self._config_file = config_file
        self._new_config: Config | None = None  # after a SIGHUP; it takes effect with the next pass
        self._events = events
        self._page = page  # None unless [web] names an address
        self._notifier = notifier
        self._reporter = Reporter(notifier)
        self._still_held = still_held
        self._stop_request = StopRequest()
        self._agenda = Agenda()
        self._jobs = Jobs(events.put)
        self._worker = Worker(self._stop_request, events.put)
        self._ledger_handle = chosen(config.ledger)  # a reload cannot change it
        self._ledger = DueQueries(self._ledger_handle)
        self._clock = WallClock()
        self._busy = False
        self._began_at = 0.0  # monotonic: the pass under way
        self._read: list[str] = []  # the sources that the pass under way reads, or read last
        self._ends_soon = False  # the pass under way was told to end
        self._passes = 0
        self._last = Ended()  # the last pass
        self._ended_at: datetime | None = None
        self._counts: dict[str, int] = {}
        self._failures = Failures()
        self._alerts = Watching(config)
        self._keys: dict[str, str] = {}  # by name: fingerprint of the keys when its last reading began
        self._stopping = Stopping()
        self._requests_at = self._keys_at = float("-inf")

    def run(self) -> int:
        """Make passes until a signal asks to stop. Returns 0."""
        log.info(
            "run.started", version=__version__, pid=os.getpid(), ledger=str(self._ledger_handle),
            sources={source.name: str(schedule) for source, schedule in self._source_schedules()},
        )  # fmt: skip
        self._worker.start()
        self._agenda.want(self._ledger.due_at_start(self._source_schedules()))
        self._plan_to_send(time.monotonic())
        self._handle_events(0.0)  # after a stop signal during the start no pass begins
        if not self._stopping.is_asked:
            self._begin()
            self._notifier.ready()
        self._jobs.start()
        self._jobs.set(self._schedules())
        while not self._stopping.is_asked or self._busy:
            self._handle_events(self._tick_s())
            self._run_checks()
        self._jobs.stop()
        self._worker.stop()
        self._ledger.close()
        self._alerts.close()
        log.info("run.finished", passes=self._passes, skipped_ticks=self._agenda.skipped.total())
        return int(Exit.OK)

    def _schedules(self) -> dict[str, Schedule]:
        own = {source.name: schedule for source, schedule in self._source_schedules()}
        return {RECOTAP: self._config.schedule, **own}

    def _source_schedules(self) -> list[tuple[Source, Schedule]]:
        return [(source, self._config.schedule_for(source)) for source in self._config.sources]

    # -- events ---------------------------------------------------------------------------

    def _handle_events(self, wait_s: float) -> None:
        """Handle all events so far, or the first one within `wait_s` seconds."""
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
            case SourceEnded(name, error):
                self._end([name], {} if error is None else {name: error}, time.monotonic())
            case Ended():
                self._end_pass(event)
            case signal.SIGHUP:
                self._reload()
            case int(number):
                self._stop(number)

    def _tick(self, name: str) -> None:
        """Note a regular time: the sender's if an activity is due, a source's unless it pauses."""
        if name == RECOTAP and self._busy:  # every pass sends
            return
        if self._ledger.can_send() if name == RECOTAP else self._ledger.pause_s(name) == 0.0:
            self._agenda.tick(name)

    def _end_pass(self, ended: Ended) -> None:
        self._busy, self._last, self._ended_at = False, ended, clock.now()
        self._passes += 1
        names, now = self._agenda.running, time.monotonic()
        left = [name for name in names if name != RECOTAP] if ended.outcome else []  # the others have ended before
        failed = {name: error for name, error in ended.failed(names).items() if name in names and name not in left}
        self._end(names, failed, now, left=left)
        self._agenda.want(left)
        if RECOTAP not in failed:
            self._plan_to_send(now)
        self._counts = self._ledger.counts()
        self._report_to_alerts(ended, names)

    def _report_to_alerts(self, ended: Ended, names: Collection[str]) -> None:
        """Report the end of a pass over `names`. A source that failed in an earlier one still counts."""
        outcome = ended.outcome
        own = [int(outcome.exit_code)] if outcome else []
        code = worst([*own, *self._failures.codes])
        self._alerts.pass_ended(code, failed=ended.failed(names), flooded=outcome.flooded if outcome else ())

    def _end(
        self, names: Collection[str], failed: Mapping[str, SyncdError], now: float, *, left: Collection[str] = ()
    ) -> None:
        """Note that the reading of `names` has ended, each with its error in `failed` or well.

        Those in `left` gave way, or were not begun, so nothing is known of them.
        """
        pauses = {name: now + self._ledger.pause_s(name) for name in failed}
        skipped = self._agenda.ended(names, failed, now, not_before=pauses)
        for name, count in skipped.items():
            hint = "nothing is lost. If this repeats, passes take longer than the interval: raise it"
            log.warning("tick.skipped", source=name, ticks=count, since_start=self._agenda.skipped[name], hint=hint)
        self._failures.record([name for name in names if name not in left], failed, keys=self._keys)

    def _plan_to_send(self, now: float) -> None:
        """Plan a pass for the end of the first back-off. An activity that stayed due waits SEND_AGAIN_S.

        A pass that was told to end may have left many due: they are sent at once.
        """
        wait_s = self._ledger.send_in_s()
        if self._ends_soon and self._ledger.can_send():
            self._agenda.want([RECOTAP])
        elif wait_s is not None:
            wait_s = wait_s if wait_s > 0 else SEND_AGAIN_S
            self._agenda.wake(RECOTAP, now + max(wait_s, self._ledger.pause_s(RECOTAP)))

    def _stop(self, number: int) -> None:
        self._stopping.ask(number, self._config, self._reporter, self._page, busy=self._busy)
        self._stop_request.request(number)

    def _reload(self) -> None:
        """Read the configuration again. A valid one takes effect with the next pass, otherwise the old one stays."""
        new = read_again(
            self._config_file, self._config, self._ledger_handle, self._notifier, takes_effect="between passes"
        )
        self._new_config = new or self._new_config

    # -- regular checks -------------------------------------------------------------------

    def _run_checks(self) -> None:
        now = time.monotonic()
        self._stopping.exit_if_over(now, busy=self._busy)
        if not (self._worker.is_alive() and self._jobs.is_alive()):
            raise RuntimeError("a thread of the daemon has ended: without it no pass would be made")
        self._check_clock()
        self._check_page()
        if not self._stopping.is_asked:
            self._check_requests(now)
            self._check_keys(now)
            self._agenda.look(now)
            self._begin()
            if self._must_end(now):
                self._ends_soon = True
                self._worker.end_soon()
        self._report(now)

    def _must_end(self, now: float) -> bool:
        """Tell whether the pass under way is to end soon. A source in it that has more to read goes on in the next.

        That is so if a new configuration waits, or a name that is in the pass, such as RECOTAP. It is also so after
        PASS_S, so that all that is done at a pass's end is never far: what failed is sent again, the books are checked
        and counted, and the ledger's log is truncated.
        """
        if not self._busy or self._ends_soon:
            return False
        return self._agenda.has_work or self._new_config is not None or now - self._began_at >= PASS_S

    def _check_clock(self) -> None:
        if (by := self._clock.was_set_by()) is not None:
            self._jobs.clock_was_set(by, clock.now())

    def _check_page(self) -> None:
        """Log once if the page is no longer served. Passes go on."""
        if not self._stopping.is_asked:
            self._page = still_served(self._page)

    def _check_requests(self, now: float) -> None:
        """Have a pass for an operator's request, within 5 s."""
        if now - self._requests_at < LOOK_S:
            return
        self._requests_at = now
        names = self._ledger.newly_requested()
        if names is not None:
            log.info("operator.asked", passes=names)
            self._agenda.want(names)

    def _check_keys(self, now: float) -> None:
        """Have a pass at once over the names whose refused key has changed."""
        if not self._failures.has_refused_keys or now - self._keys_at < KEYS_S:
            return
        self._keys_at = now
        if changed := self._failures.take_changed(self._config.secrets_fingerprint()):
            log.info("keys.changed", passes=changed, hint="a refused key was replaced: syncd tries again")
            self._agenda.want(changed)

    def _begin(self) -> None:
        """Order a pass over the waiting names, or let them join the one under way.

        A new configuration takes effect between passes, so nothing joins while one waits.
        """
        if self._new_config is not None:
            if self._busy:
                return
            self._apply(self._new_config)
        sources = {source.name: source for source in self._config.sources}
        if not self._agenda.has_work or not (names := self._agenda.begin({*sources, RECOTAP})):
            return
        self._keys |= dict.fromkeys(names, self._config.secrets_fingerprint())
        if self._busy:
            for name in names:
                self._worker.join(sources[name])
        else:
            self._order(tuple(sources[name] for name in names if name in sources))

    def _order(self, sources: tuple[Source, ...]) -> None:
        if not self._still_held():
            raise self._ledger_handle.lost()
        if self._passes and self._ledger_handle.is_gone():
            hint = "restore a backup. Without one, stop syncd and run `syncd adopt`, so that nothing counts as foreign"
            log.error("ledger.gone", path=str(self._ledger_handle), hint=hint)
        self._busy, self._ends_soon, self._began_at = True, False, time.monotonic()
        self._read = [source.name for source in sources]
        self._reporter.pass_begins()
        self._alerts.pass_begins()
        self._worker.order(Order(self._config, sources))

    def _apply(self, config: Config) -> None:
        """Put a configuration into force. New sources are read as at the start, failed ones at once."""
        known = {source.name for source in self._config.sources}
        self._config, self._new_config = config, None
        if self._page:
            self._page.apply(config)
        self._jobs.set(self._schedules())
        self._alerts.configure(config)
        new = [(source, schedule) for source, schedule in self._source_schedules() if source.name not in known]
        self._agenda.want(self._ledger.due_at_start(new))
        self._failures.keep({source.name for source in config.sources} | {RECOTAP})
        self._agenda.want([name for name in self._failures.names if self._ledger.pause_s(name) == 0.0])
        log.info("config.in_force", file=str(config.path))

    def _report(self, now: float) -> None:
        """Report the state, and feed the watchdog unless a pass is stuck."""
        if self._busy:
            self._read = [name for name in self._agenda.running if name != RECOTAP] or self._read
            self._reporter.busy(
                self._read, self._worker.progress,
                failure=self._failures.first, stuck_after_s=self._config.schedule.stuck_after.total_seconds(), now=now,
            )  # fmt: skip
            return
        line = status_line.idle(
            self._last.outcome, self._failures.first, ended_at=self._ended_at, counts=self._counts,
            next_at=self._jobs.next_at([source.name for source in self._config.sources]), now=clock.now(),
        )  # fmt: skip
        self._reporter.idle(line, now=now)
