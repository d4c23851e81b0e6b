"""Go on with a ledger that went back: mark it, and end the mark once each stream is read again.

    mark ─► the pass reads from the older watermarks ─► "already exists" is a delivery that was lost ─► end, by stream

The mark stands in the ledger, so that a pass that is killed changes nothing. `Adopting` judges by it.
"""

from collections.abc import Iterable
from datetime import datetime

import structlog

from syncd import clock
from syncd.connector import Source
from syncd.ledger import RECOTAP, REWOUND, Ledger, rewind_of

log = structlog.get_logger()

HINT = (
    "nothing, if a backup was restored or PostgreSQL has failed over: what was lost is read again, and nothing is sent "
    "twice. What was read by a backfill that was lost, too, needs `syncd backfill` again"
)


def note(ledger: Ledger, now: datetime) -> None:
    """Mark the ledger if it went back. Call it while it is held, before a pass."""
    if not ledger.went_back():
        return
    with ledger.transaction():
        first = ledger.take_history()
        if first:
            ledger.keep(RECOTAP, {REWOUND: {"at": clock.text(now)}}, now)
    if first:
        log.warning("ledger.rewound", hint=HINT)
    ledger.remember()


def conclude(ledger: Ledger, sources: Iterable[Source], began_at: datetime, now: datetime) -> None:
    """End the mark of each stream that the pass has read to its end. The pass began at `began_at`.

    What was first seen until now still counts when it is sent.
    """
    rewind = rewind_of(ledger)
    if rewind is None:
        return
    for source in sources:
        streams = [each.name for each in source.connector.streams if rewind.ended_at(source.name, each.name) is None]
        ended = [each for each in streams if each in _read(ledger, source, began_at)]
        if ended:
            kept = ledger.kept(REWOUND, [source.name]).get(source.name, {})
            ledger.keep(source.name, {REWOUND: {**kept, **dict.fromkeys(ended, clock.text(now))}}, now)


def _read(ledger: Ledger, source: Source, began_at: datetime) -> set[str]:
    """Return the streams of a source that were read since then, with all their ranges, and those that are not read.

    A gap does not count: the CRM may never serve it.
    """
    left = {each.stream for each in ledger.ranges(source.name) if each.why != "gap"}
    return (ledger.read_since(source.name, began_at) - left) | {each.name for each in source.unread}


__all__ = ["HINT", "conclude", "note"]
