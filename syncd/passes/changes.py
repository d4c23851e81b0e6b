"""Compare the configuration with the one that the ledger has seen."""

from collections.abc import Sequence
from datetime import datetime

from syncd.connector import Source
from syncd.ledger import CONNECTOR, Ledger


def note_sources(ledger: Ledger, sources: Sequence[Source], now: datetime) -> None:
    """Keep the connector of each source, by which a later pass knows whose records to compare."""
    known = ledger.kept(CONNECTOR, [source.name for source in sources])
    for source in sources:
        if source.name not in known:
            ledger.keep(source.name, {CONNECTOR: source.config.connector}, now)


__all__ = ["note_sources"]
