"""Compare the configuration with what the ledger remembers of both ends. Nothing is written."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from syncd import clock
from syncd.config import Config
from syncd.connector import Finding, Source
from syncd.errors import LedgerError
from syncd.ledger import chosen
from syncd.passes import narrowing, removed, windows, wiring
from syncd.passes.destination import NotingSender, host_and_port
from syncd.passes.narrowing import Narrowed

WHAT = "recotap destination"


def destination(config: Config, to: NotingSender) -> Iterator[Finding]:
    """Yield whether a pass may send to the configured Recotap. Only a new key costs a request."""
    with suppress(LedgerError), chosen(config.ledger).read() as glance:  # the ledger has its own line
        found = wiring.review(config, glance, to)
        if found.refusal is not None:
            why = found.refusal
            yield Finding(WHAT, False, why.message, why.hint, exit_code=why.exit_code)
        elif found.is_new:
            at = host_and_port(config.recotap.base_url)
            yield Finding(WHAT, True, f"the next pass pins this ledger to {at}")
        elif found.accounts is not None:
            yield Finding(WHAT, True, f"the key is new, and finds {found.accounts} accounts that were delivered to")
        else:
            yield Finding(WHAT, True, "the one that this ledger delivers to")


def changes_of(config: Config) -> Iterator[Finding]:
    """Yield a warning for each source that is gone."""
    with suppress(LedgerError), chosen(config.ledger).read() as glance:
        for name, since in removed.gone_since(glance, [source.name for source in config.sources]).items():
            yield Finding(name, False, removed.gone_text(since), removed.BRING_BACK, warning=True)


def narrowed(config: Config, source: Source) -> Narrowed:
    """Return a source as the next pass reads it."""
    kept = narrowing.kept_of(None, source)
    with suppress(LedgerError), chosen(config.ledger).read() as glance:
        kept = narrowing.kept_of(glance, source)
    return narrowing.narrowed(source, kept, clock.now())


def unread_of(found: Narrowed) -> Iterator[Finding]:
    """Yield which streams keep an earlier rule, and a warning for each whose changed rule leaves records unread."""
    if found.stays:
        message = f"{', '.join(found.stays)} stay as in earlier passes, because the file names no other"
        yield Finding("rules", True, message)
    for each in found.unread:
        hint = f"if you want them: {each.remedy(found.source.name)}"
        yield Finding(each.stream, False, each.told(), hint, warning=True)


def ranges_of(config: Config, source: Source) -> Iterator[Finding]:
    """Yield each range that an earlier `start` added, and how far it is read, or that the next pass will add."""
    with suppress(LedgerError), chosen(config.ledger).read() as glance:
        for each in glance.ranges(source.name):
            if each.why == "start":
                read = f"is read up to {clock.text(each.read_to)}" if each.read_to else "is not read yet"
                yield _range(each.stream, each.since, each.until, read)
        for stream in source.streams:
            state = glance.stream(source.name, stream.name)
            added = windows.added_by(source.config.start, state.start, state.watermark)
            if added is not None and added.until is not None:
                yield _range(stream.name, added.since, added.until, "is added by the next pass")


def _range(stream: str, since: datetime, until: datetime, read: str) -> Finding:
    message = f"{stream} modified from {clock.text(since)} to {clock.text(until)}, by an earlier start: {read}"
    return Finding("range", True, message)


__all__ = ["changes_of", "destination", "narrowed", "ranges_of", "unread_of"]
