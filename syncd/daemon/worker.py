"""Make passes, one after the other, in the only thread that writes to the ledger."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

import structlog

from syncd import memory
from syncd.config import Config
from syncd.connector import Source
from syncd.errors import REPORT, ConfigError, LedgerHeld, SyncdError
from syncd.ledger import AnyLedger, Booked, Ledger, chosen
from syncd.lifecycle.states import MEANINGS, State
from syncd.passes import wiring
from syncd.passes.control import PassControl
from syncd.passes.dispatch import Totals
from syncd.passes.report import Observer, PassResult
from syncd.signals import StopRequest

log = structlog.get_logger()

MANY = 1000  # records read in one pass; after more than this, its memory is returned to the system


@dataclass(frozen=True, slots=True)
class Order:
    """One pass to make."""

    config: Config
    sources: tuple[Source, ...]  # empty: only send the due activities


@dataclass(frozen=True, slots=True)
class SourceEnded:
    """The end of one source's reading, while the pass may go on with others."""

    name: str
    error: SyncdError | None  # why it was not read to its end


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a pass: its result, or the error that kept it from one."""

    outcome: PassResult | None = None
    error: SyncdError | None = None

    def failed(self, names: Iterable[str]) -> Mapping[str, SyncdError]:
        """Return the errors by name. `names` are all names in the pass."""
        if self.outcome is not None:
            return self.outcome.failed
        return dict.fromkeys(names, self.error) if self.error else {}


class PassProgress:
    """The progress of a pass so far. An Observer in the worker's thread, read by the main thread."""

    wants_totals = False

    def __init__(self) -> None:
        self.at = time.monotonic()
        self.read_count = 0
        self.delivered = 0
        self.where = ""  # the stream of the last page

    def expected(self, source: str, stream: str, count: int) -> None:
        """Do nothing."""

    def on_progress(self) -> None:
        """Note the time of the progress."""
        self.at = time.monotonic()

    def read(self, source: str, stream: str, booked: Booked, count: int) -> None:
        """Count `count` records that were read."""
        self.read_count += count
        self.where = f"{source} {stream}"

    def range_read(self, source: str, stream: str, count: int) -> None:
        """Do nothing: `read` has counted them."""

    def sent(self, totals: Totals) -> None:
        """Note the number of delivered activities."""
        self.delivered = sum(n for verdict, n in totals.verdicts.items() if MEANINGS[verdict].state is State.DELIVERED)


class Worker:
    """Make the ordered passes in a thread. `ended` is called there after each pass, and after each of its sources."""

    def __init__(self, stop: StopRequest, ended: Callable[[Ended | SourceEnded], None]) -> None:
        self._stop = stop
        self._ended = ended
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="passes", daemon=True)
        self.progress = PassProgress()
        self._control = PassControl()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def order(self, order: Order) -> None:
        """Order a pass. Only one at a time."""
        self.progress = PassProgress()
        self._control = PassControl(lambda name, error: self._ended(SourceEnded(name, error)))
        self._orders.put(order)

    def join(self, source: Source) -> None:
        """Read `source` in the pass under way, too. There may be no time for it."""
        self._control.join(source)

    def end_soon(self) -> None:
        """Have the pass under way end soon: each source gives way at the end of its turn."""
        self._control.end_soon()

    def stop(self) -> None:
        """End the thread. Call it only between passes."""
        self._orders.put(None)
        self._thread.join()

    def is_alive(self) -> bool:
        """Tell whether the thread is running."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            ended = self._pass(order)
            if self.progress.read_count >= MANY:
                memory.give_back()
            self._ended(ended)

    def _pass(self, order: Order) -> Ended:
        return make_pass(
            order.config, order.sources, ledger=chosen(order.config.ledger), stop=self._stop, observer=self.progress,
            control=self._control,
        )  # fmt: skip


def make_pass(
    config: Config, sources: Sequence[Source], *, ledger: AnyLedger, stop: StopRequest, observer: Observer,
    control: PassControl, at_end: Callable[[Ledger], None] = lambda opened: None,
) -> Ended:  # fmt: skip
    """Make one pass, as `wiring.one_pass` does, and log why it could not be made. No error ends the thread."""
    try:
        outcome = wiring.one_pass(
            config, ledger=ledger, sources=sources, stop=stop, observer=observer, control=control, at_end=at_end
        )
    except LedgerHeld as error:  # another replica has the lane, and goes on: its taker logs it
        return Ended(error=error)
    except SyncdError as error:  # e.g. the ledger, or Recotap's key: the whole pass ended
        _log_failure(error)
        return Ended(error=error)
    except Exception as error:  # a bug must not end the service: the next pass tries again
        log.exception("pass.bug", hint="report it. The next pass tries again")
        return Ended(error=SyncdError(f"a bug: {type(error).__name__}", hint=REPORT))
    for each in outcome.errors:
        if isinstance(each, ConfigError):
            _log_failure(each)
    return Ended(outcome)


def _log_failure(error: SyncdError) -> None:
    """Log the error that ended a pass."""
    if not log_problems(error):
        log.error("pass.failed", error=error.message, hint=error.hint)


def log_problems(error: SyncdError) -> bool:
    """Log each mistake of a configuration. Return whether there was any."""
    problems = getattr(error, "problems", ())
    for problem in problems:
        log.error("config.problem", key=problem.path, error=problem.message, hint=problem.hint or error.hint)
    return bool(problems)
