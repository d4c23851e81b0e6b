"""The parts of the daemon that do not depend on the kind of ledger: its clock, its page, its reloads and its end."""

import os
import signal
import time
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from syncd.config import Config, load
from syncd.daemon.reporter import Reporter
from syncd.daemon.systemd import Notifier
from syncd.daemon.worker import log_problems
from syncd.errors import ConfigError, Exit, Problem
from syncd.ledger import AnyLedger, LedgerReader, chosen
from syncd.lifecycle.remedies import ROWS_GONE

log = structlog.get_logger()

CLOCK_STEP_S = 2.0  # the wall clock was set if it differs this much from the monotonic one
GRACE_S = 2.0  # for a stop, in addition to the longest deadline (design, promise 8)

if TYPE_CHECKING:
    from syncd.web.server import Page


class WallClock:
    """Notice that the wall clock was set."""

    def __init__(self) -> None:
        self._ahead_s = _wall_ahead()

    def was_set_by(self) -> timedelta | None:
        """Return by how much the clock was set since the last call, and log it. None if it was not."""
        ahead = _wall_ahead()
        by_s = ahead - self._ahead_s
        if abs(by_s) < CLOCK_STEP_S:
            return None
        self._ahead_s = ahead
        log.warning("clock.set", by_s=round(by_s, 1), hint="nothing to do: passes continue at their intervals")
        return timedelta(seconds=by_s)


class Stopping:
    """The end of the process: asked for by a signal, and due by a deadline."""

    def __init__(self) -> None:
        self._exit_at: float | None = None  # monotonic

    @property
    def is_asked(self) -> bool:
        """Whether a signal asked for the end."""
        return self._exit_at is not None

    def ask(self, number: int, config: Config, reporter: Reporter, page: "Page | None", *, busy: bool) -> None:
        """Note signal `number`, and report it. The requests under way have their deadline and GRACE_S."""
        log.info("run.stopping", signal=signal.Signals(number).name, pass_under_way=busy)
        reporter.stopping(busy=busy)
        timeouts = [config.recotap.timeout, *(source.config.timeout for source in config.sources)]
        self._exit_at = time.monotonic() + max(timeouts).total_seconds() + GRACE_S
        if page:
            page.stop_soon()

    def exit_if_over(self, now: float, *, busy: bool) -> None:
        """Exit at once if the deadline is over, and something is under way."""
        if self._exit_at and busy and now >= self._exit_at:
            log.warning("run.left", hint="a request missed its deadline. The next pass finds out its outcome")
            os._exit(int(Exit.OK))


def check_books(ledger: LedgerReader) -> None:
    """Log if the books do not balance."""
    if not ledger.balanced():
        log.error("books.unbalanced", hint=ROWS_GONE)


def still_served(page: "Page | None") -> "Page | None":
    """Return the status page, or None from the time on when it is no longer served. Log that."""
    if page and not page.is_alive():
        log.error("web.ended", hint="report it with the lines above. Passes go on. Restart syncd for the page")
        return None
    return page


def read_again(
    file: Path | None, old: Config, ledger: AnyLedger, notifier: Notifier, *, takes_effect: str
) -> Config | None:
    """Read the configuration again, and return a valid one. Otherwise log why the old one stays."""
    notifier.reloading()
    new = None
    try:
        read = load(file)
        _refuse(read, _need_a_restart(read, old, ledger))
        new = read
        log.info("config.read", file=str(new.path), takes_effect=takes_effect)
    except ConfigError as error:
        log_problems(error)
        log.error(
            "config.refused",
            error=error.message,
            hint="the old one stays: correct the file, and reload again",
        )
    notifier.ready()
    return new


def _need_a_restart(new: Config, old: Config, ledger: AnyLedger) -> Collection[Problem]:
    """Return a problem for each setting that differs and cannot change while syncd runs."""
    message = "cannot change while syncd runs"
    found = []
    if chosen(new.ledger) != ledger:
        found.append(Problem("ledger", message, "restart syncd for another ledger"))
    if new.web.listen != old.web.listen:
        found.append(Problem("web.listen", message, "restart syncd for another address"))
    return found


def _refuse(config: Config, problems: Collection[Problem]) -> None:
    if problems:
        raise ConfigError(problems, where=str(config.path))


def _wall_ahead() -> float:
    """Return by how many seconds the wall clock is ahead of the monotonic one."""
    return time.time() - time.monotonic()


__all__ = ["CLOCK_STEP_S", "GRACE_S", "Stopping", "WallClock", "check_books", "read_again", "still_served"]
