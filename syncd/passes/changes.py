"""Note in the ledger how the configuration changed since the last pass: connectors and removed sources."""

from collections.abc import Sequence
from datetime import datetime

import structlog

from syncd import clock
from syncd.connector import Source
from syncd.http.server_clock import is_confirmed
from syncd.ledger import CONNECTOR, FIRST_DUE, GONE, Ledger
from syncd.passes.removed import BRING_BACK, gone_since, gone_text
from syncd.recotap.sender import Sender

log = structlog.get_logger()


def note_sources(ledger: Ledger, sources: Sequence[Source], now: datetime) -> None:
    """Keep the connector of each source, by which a later pass knows whose records to compare.

    Also keep since when it is due, by which `syncd health` tells that its first reading takes too long.
    """
    names = [source.name for source in sources]
    known, due = ledger.kept(CONNECTOR, names), ledger.kept(FIRST_DUE, names)
    for source in sources:
        if source.name not in known:
            ledger.keep(source.name, {CONNECTOR: source.config.connector}, now)
        if source.name not in due:
            ledger.keep(source.name, {FIRST_DUE: clock.text(now)}, now)


def note_removed(ledger: Ledger, configured: Sequence[str], to: Sender, now: datetime) -> None:
    """Keep since when a source is gone, and let its waiting activities die of age. A source that is back resumes.

    The holder of some lanes does so for their sources alone, because the rows of others are not its own to write.
    Nothing is stamped, and nothing dies, unless a server confirms the clock. If no server was asked in this pass, this
    asks Recotap once, and only if the clock matters.
    """
    scope = ledger.handle.scope()
    for name in ledger.kept(GONE, [name for name in configured if scope is None or name in scope]):
        ledger.keep(name, {GONE: None}, now)
        log.info("source.back", source=name)
    gone = gone_since(ledger, configured)
    for name, since in ((name, since) for name, since in gone.items() if scope is None or name in scope):
        if since is None and _is_certain(ledger, to):
            ledger.keep(name, {GONE: clock.text(now)}, now)
            log.warning("source.gone", source=name, error=gone_text(now), hint=BRING_BACK)
        elif since is not None and ledger.is_over(name, gone_at=since, now=now) and _is_certain(ledger, to):
            died = ledger.age_removed(name, gone_at=since, now=now)
            log.warning("source.aged", source=name, died=died, hint="`syncd status` counts them by reason")


def _is_certain(ledger: Ledger, to: Sender) -> bool:
    if to.clock.report("Recotap") is None:
        to.ask_the_time()
    told = to.clock.report("Recotap")
    return told is not None and is_confirmed([told]) and not ledger.clock_doubted()


__all__ = ["note_removed", "note_sources"]
