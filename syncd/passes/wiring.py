"""Build the parts of a pass from the configuration. Every caller that runs passes starts here."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from syncd import clock, memory
from syncd.config import Config
from syncd.connector import Source
from syncd.errors import ConfigError, Problem
from syncd.ledger import chosen
from syncd.passes import changes
from syncd.passes.engine import Pass
from syncd.passes.report import Observer, PassResult
from syncd.recotap.sender import Sender
from syncd.signals import StopRequest


def sender(config: Config, *, now: Callable[[], datetime] = clock.now) -> Sender:
    """Return the only client for Recotap. Raises ConfigError if its key, its CA file or the proxy is invalid."""
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
    stop: StopRequest,
    observer: Observer | None = None,
    now: Callable[[], datetime] = clock.now,
) -> PassResult:
    """Hold the ledger, make one pass over `sources`, and release it.

    Raises LedgerHeld at once if another syncd holds it, and LedgerError if the ledger fails.
    """
    memory.collect_less_often()
    with chosen(config.ledger).hold(command):
        return one_pass(config, sources=sources, stop=stop, observer=observer, now=now)


def one_pass(
    config: Config,
    *,
    sources: Sequence[Source],
    stop: StopRequest,
    observer: Observer | None = None,
    now: Callable[[], datetime] = clock.now,
    monotonic: Callable[[], float] = time.monotonic,
) -> PassResult:
    """Make one pass over `sources`, which may be empty, while the ledger is `held`.

    Opens the ledger and reads every key again, so a rotated key is used from this pass on.
    """
    with chosen(config.ledger).open() as ledger, sender(config, now=now) as to:
        changes.note_sources(ledger, config.sources, now())
        return Pass(
            ledger,
            sources,
            to,
            config.rules.to_rules(),
            concurrency=config.recotap.concurrency,
            max_age=config.recotap.max_age,
            stop=stop,
            observer=observer,
            now=now,
            monotonic=monotonic,
        ).run()
