"""Build the parts of a pass from the configuration. Every caller that runs passes starts here."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

import structlog

from syncd import clock, memory
from syncd.config import Config
from syncd.config.credentials import PUT_THE_KEY
from syncd.connector import Source
from syncd.errors import ConfigError, Exit, Problem, SyncdError
from syncd.ledger import ACCOUNTS, RECOTAP, AnyLedger, Ledger, LedgerReader, chosen
from syncd.passes import adoption, changes, destination, rewinding
from syncd.passes.control import PassControl
from syncd.passes.destination import NotingSender, Review
from syncd.passes.engine import Pass
from syncd.passes.limits import Limits
from syncd.passes.report import Observer, PassResult
from syncd.signals import StopRequest

log = structlog.get_logger()


def sender(
    config: Config, *, now: Callable[[], datetime] = clock.now, may_leave: Callable[[], bool] = lambda: True
) -> NotingSender:
    """Return the only client for Recotap. Raises ConfigError if its key, its CA file or the proxy is invalid.

    `may_leave` is asked right before each POST leaves.
    """
    return NotingSender(
        base_url=config.recotap.base_url,
        api_key=_key(config),
        timeout_s=config.recotap.timeout.total_seconds(),
        concurrency=config.recotap.concurrency,
        now=now,
        ca_file=config.recotap.ca_file,
        may_leave=may_leave,
    )


def _key(config: Config) -> str:
    try:
        return config.recotap.api_key.read_line()
    except ValueError as error:
        raise ConfigError([Problem("recotap.api_key", str(error), PUT_THE_KEY)]) from None


def sync(
    config: Config,
    *,
    sources: Sequence[Source],
    command: str,
    stop: StopRequest,
    observer: Observer | None = None,
    limits: Limits | None = None,
    begins: Callable[[], None] = lambda: None,
    now: Callable[[], datetime] = clock.now,
) -> PassResult:
    """Hold the ledger, make one pass over `sources`, and release it. `begins` is called once the ledger is held.

    Raises LedgerHeld at once if another syncd holds it, and LedgerError if the ledger fails.
    """
    memory.collect_less_often()
    with chosen(config.ledger).hold(command) as hold:
        begins()
        return one_pass(
            config, ledger=hold.ledger, sources=sources, stop=stop, observer=observer, limits=limits, now=now
        )


def one_pass(
    config: Config,
    *,
    ledger: AnyLedger,
    sources: Sequence[Source],
    stop: StopRequest,
    observer: Observer | None = None,
    control: PassControl | None = None,
    limits: Limits | None = None,
    at_end: Callable[[Ledger], None] = lambda opened: None,
    now: Callable[[], datetime] = clock.now,
    monotonic: Callable[[], float] = time.monotonic,
) -> PassResult:
    """Make one pass over `sources`, which may be empty. `ledger` is held, or it is the one of a lane that was taken.

    Opens it and reads every key again, so a rotated key is used from this pass on. `control` lets another
    thread take part. `limits`: what part of the work it does, by default all. `at_end` is called with the open ledger
    when the pass has ended.
    """
    with ledger.open() as opened, sender(config, now=now, may_leave=ledger.is_trusted) as to:
        began_at = now()
        rewinding.note(opened, began_at)
        making = Pass(
            opened,
            sources,
            to,
            config.rules.to_rules(),
            concurrency=config.recotap.concurrency,
            max_age=config.recotap.max_age,
            look_up=config.sources,
            stop=stop,
            observer=observer,
            control=control,
            limits=limits,
            now=now,
            monotonic=monotonic,
        )
        _compare(config, opened, to, making, now())
        result = making.run()
        if not stop.requested and (limits is None or limits.only is None):
            _conclude(config, opened, to, result, now())
            rewinding.conclude(opened, sources, began_at, now())
        opened.remember()
        at_end(opened)
    return result


def review(config: Config, glance: LedgerReader, to: NotingSender) -> Review:
    """Compare the configured Recotap with the one that the ledger delivers to. Only a new key costs a request."""
    kept = {key: value for key, (value, _) in glance.store(RECOTAP).items()}
    at = destination.host_and_port(config.recotap.base_url)
    return destination.review(kept, at=at, key=_key(config), has_sent=glance.has_sent, find=to.accounts)


def _compare(config: Config, ledger: Ledger, to: NotingSender, making: Pass, now: datetime) -> None:
    """Compare the configuration with what the ledger has seen, and let `making` send only to the pinned Recotap."""
    found = review(config, ledger, to)
    ledger.keep(RECOTAP, found.keep, now)
    if found.is_new:
        log.debug("destination.pinned", destination=destination.host_and_port(config.recotap.base_url))
    if found.accounts is not None:
        log.warning("key.accepted", accounts=found.accounts, hint="recotap.api_key is new. Nothing to do")
    changes.note_sources(ledger, config.sources, now)
    if found.refusal is not None:
        making.refuse_to_send(found.refusal)


def _conclude(config: Config, ledger: Ledger, to: NotingSender, result: PassResult, now: datetime) -> None:
    """Keep what the pass has taught. A mistaken configuration, e.g. a renamed table, proves no removal."""
    if RECOTAP not in result.failed:
        _learn_accounts(ledger, to, now)
    adoption.conclude(ledger, config.sources, now)
    if all(error.exit_code != Exit.CONFIG for error in result.errors):
        changes.note_removed(ledger, [source.name for source in config.sources], to, now)


def _learn_accounts(ledger: Ledger, to: NotingSender, now: datetime) -> None:
    """Keep how many of some domains the key finds, so that a key of another workspace is noticed later.

    Without an answer a later pass asks.
    """
    accounts = destination.learned(ledger.store(RECOTAP), to.domains, now)
    if accounts is not None:
        with suppress(SyncdError):
            ledger.keep(RECOTAP, {ACCOUNTS: {**accounts, "found": len(to.accounts(accounts["domains"]))}}, now)
