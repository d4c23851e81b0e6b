"""Put the parts together as the configuration says; `cli` and whatever else runs passes start here."""

from collections.abc import Callable, Sequence
from datetime import datetime

from syncd import clock, memory
from syncd.config import Config
from syncd.connector import Source
from syncd.errors import ConfigError, Problem
from syncd.ledger import Ledger, held
from syncd.passes.engine import Pass
from syncd.passes.report import Observer, PassResult
from syncd.recotap.sender import Sender
from syncd.signals import StopRequest


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
    stop: StopRequest,
    observer: Observer | None = None,
    now: Callable[[], datetime] = clock.now,
) -> PassResult:
    """Hold the ledger, make one pass over `sources`, let go.

    LedgerHeld at once when another syncd has it; LedgerError when it fails.
    """
    memory.collect_less_often()
    with held(config.ledger.path, command):
        return one_pass(config, sources=sources, stop=stop, observer=observer, now=now)


def one_pass(
    config: Config,
    *,
    sources: Sequence[Source],
    stop: StopRequest,
    observer: Observer | None = None,
    now: Callable[[], datetime] = clock.now,
) -> PassResult:
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
            stop=stop,
            observer=observer,
            now=now,
        ).run()
