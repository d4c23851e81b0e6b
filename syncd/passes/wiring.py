"""Put the parts together as the configuration says; `cli` and whatever else runs passes start here."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import FrameType

from syncd import clock, log
from syncd.config import Config
from syncd.connector import Source
from syncd.errors import ConfigError, Problem
from syncd.ledger import Ledger, held
from syncd.passes.engine import Halt, Outcome, Pass, Watcher
from syncd.recotap.sender import Sender


def sender(config: Config, *, now: Callable[[], datetime] = clock.now) -> Sender:
    """Return the one client for Recotap. ConfigError if its key, its CA file or the proxy is invalid."""
    try:
        key = config.recotap.api_key.read_line()
    except ValueError as error:
        raise ConfigError([Problem("recotap.api_key", str(error))]) from None
    return Sender(
        base_url=config.recotap.base_url,
        api_key=key,
        timeout_s=config.recotap.timeout.total_seconds(),
        concurrency=config.recotap.concurrency,
        now=now,
        ca_file=config.recotap.ca_file,
    )


def sync(
    config: Config,
    *,
    sources: Sequence[Source],
    command: str,
    halt: Halt,
    watcher: Watcher | None = None,
    now: Callable[[], datetime] = clock.now,
) -> Outcome:
    """Hold the ledger, make one pass over `sources`, let go.

    LedgerHeld at once when another syncd has it; LedgerError when it fails.
    """
    collect_less_often()
    with held(config.ledger.path, command):
        return one_pass(config, sources=sources, halt=halt, watcher=watcher, now=now)


def one_pass(
    config: Config,
    *,
    sources: Sequence[Source],
    halt: Halt,
    watcher: Watcher | None = None,
    now: Callable[[], datetime] = clock.now,
) -> Outcome:
    """Make one pass over `sources`, perhaps none, and what is due, while the ledger is `held`.

    Everything is opened anew, the keys are read anew: what was rotated or mended in between counts.
    """
    with Ledger.open(config.ledger.path) as ledger, sender(config, now=now) as to:
        return Pass(
            ledger,
            sources,
            to,
            config.rules.to_rules(),
            concurrency=config.recotap.concurrency,
            max_age=config.recotap.max_age,
            halt=halt,
            watcher=watcher,
            now=now,
        ).run()


def collect_less_often() -> None:
    """Spare the garbage collector what can only cost: a tenth of a pass's CPU, measured, for no garbage.

    Records come and go by the hundred thousand, none of them in a cycle; what the
    imports made stays for good. Once a process: what is garbage by then stays for good too.
    """
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@contextmanager
def listening(halt: Halt) -> Iterator[None]:
    """Let SIGINT and SIGTERM ask for the end; a second one leaves at once, which the ledger survives."""

    def heard(number: int, frame: FrameType | None) -> None:
        if halt.asked:
            os._exit(128 + number)
        halt.ask(number)

    before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def watching(*, verbose: bool = False) -> Iterator[Watcher | None]:
    """Show progress bars where somebody looks, with the logs above them."""
    if not sys.stderr.isatty():
        log.configure(verbose)
        yield None
        return
    from rich.console import Console  # 60 ms that a pass by cron does not wait for

    from syncd.cli.progress import Bars

    with Bars(Console(stderr=True)) as bars:
        log.configure(verbose)  # to the stderr that the bars have taken over
        yield bars
    log.configure(verbose)
