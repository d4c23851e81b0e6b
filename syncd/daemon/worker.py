"""One pass after another, in the one thread that writes the ledger."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue

import structlog

from syncd import memory
from syncd.config import Config
from syncd.connector import Source
from syncd.errors import ConfigError, SyncdError
from syncd.ledger import Booked
from syncd.lifecycle.states import MEANINGS, State
from syncd.passes import wiring
from syncd.passes.dispatch import Totals
from syncd.passes.report import PassResult
from syncd.signals import StopRequest

log = structlog.get_logger()

MANY = 1000  # records read in one pass: far more than a regular one, and their memory is free now


@dataclass(frozen=True, slots=True)
class Order:
    """One pass to make."""

    config: Config
    sources: tuple[Source, ...]  # perhaps none: send what is due


@dataclass(frozen=True, slots=True)
class Ended:
    """How a pass came out: an outcome, or why there was none."""

    outcome: PassResult | None = None
    error: SyncdError | None = None

    def failed(self, names: Iterable[str]) -> Mapping[str, SyncdError]:
        """Return which of `names`, all that were in the pass, failed, and why."""
        if self.outcome is not None:
            return self.outcome.failed
        return dict.fromkeys(names, self.error) if self.error else {}


class PassProgress:
    """What a pass has come to so far, and when it last went on; a Watcher. Read by another thread."""

    def __init__(self) -> None:
        self.at = time.monotonic()
        self.read_count = 0
        self.delivered = 0
        self.where = ""  # the stream that was read last

    def on_progress(self) -> None:
        """Note the time."""
        self.at = time.monotonic()

    def read(self, source: str, stream: str, booked: Booked, count: int) -> None:
        """Note what was read."""
        self.read_count += count
        self.where = f"{source} {stream}"

    def sent(self, totals: Totals) -> None:
        """Note what was delivered."""
        self.delivered = sum(n for verdict, n in totals.verdicts.items() if MEANINGS[verdict].state is State.DELIVERED)


class Worker:
    """Make the passes that are ordered; `ended` is called in the worker's thread."""

    def __init__(self, stop: StopRequest, ended: Callable[[Ended], None]) -> None:
        self._stop = stop
        self._ended = ended
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="passes", daemon=True)
        self.progress = PassProgress()

    def start(self) -> None:
        """Begin to wait for orders."""
        self._thread.start()

    def order(self, order: Order) -> None:
        """Have a pass made; one at a time."""
        self.progress = PassProgress()
        self._orders.put(order)

    def stop(self) -> None:
        """End the thread; no pass may be under way."""
        self._orders.put(None)
        self._thread.join()

    def is_alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            ended = self._pass(order)
            if self.progress.read_count >= MANY:
                memory.give_back()
            self._ended(ended)

    def _pass(self, order: Order) -> Ended:
        try:
            outcome = wiring.one_pass(order.config, sources=order.sources, stop=self._stop, observer=self.progress)
        except SyncdError as error:  # the ledger, or Recotap's key: nothing could begin, or it broke off
            _log_failure(error)
            return Ended(error=error)
        except Exception as error:  # a bug must not end the service: the next pass is another try
            log.exception("pass.bug", hint="report it; the next pass tries again")
            return Ended(error=SyncdError(f"a bug: {type(error).__name__}", hint="report it"))
        for each in outcome.errors:
            if isinstance(each, ConfigError):
                _log_failure(each)
        return Ended(outcome)


def _log_failure(error: SyncdError) -> None:
    """Log what kept a pass from its work."""
    if not log_problems(error):
        log.error("pass.failed", error=error.message, hint=error.hint)


def log_problems(error: SyncdError) -> bool:
    """Log a configuration's mistakes one by one, for there is nobody to print to; tell whether there were any."""
    problems = getattr(error, "problems", ())
    for problem in problems:
        log.error("config.problem", key=problem.path, error=problem.message, hint=problem.hint or error.hint)
    return bool(problems)
