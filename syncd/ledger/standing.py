"""Tell how far a ledger's file is, by numbers that only rise.

A copy of them stands in `<ledger>.lock`. A restored backup of the file alone does not bring the lock back, so the two
differ then. Nothing is claimed if the lock was removed or restored, too, or if the ledger is another one. The copy is
made after each pass. So it does not show if a ledger goes back to a moment of a pass that was killed.
"""

from secrets import token_hex
from typing import Any, NamedTuple

from sqlite_utils import Database

from syncd import clock
from syncd.ledger.reader import RECOTAP

NAME = "@name"  # under RECOTAP: random, so that a backup of this ledger is told from another ledger

_OF = """
    SELECT (SELECT value FROM store WHERE source = :recotap AND key = :key),
        (SELECT max(id) FROM passes), (SELECT max(id) FROM posts)
"""
_NAME = """
    INSERT INTO store (source, key, value, at) VALUES (:recotap, :key, :value, :at) ON CONFLICT DO NOTHING
"""


class Standing(NamedTuple):
    """How far a ledger is."""

    ledger: str  # its name, or "" if it has none yet
    passes: int  # that it ever had
    posts: int


def of(db: Database) -> Standing:
    """Return how far a ledger is."""
    name, passes, posts = db.execute(_OF, {"recotap": RECOTAP, "key": NAME}).fetchone()
    return Standing((name or "").strip('"'), passes or 0, posts or 0)


def name(db: Database) -> None:
    """Give the ledger a name, unless it has one, in a transaction."""
    values = {"recotap": RECOTAP, "key": NAME, "value": f'"{token_hex(8)}"', "at": clock.text(clock.now())}
    db.execute(_NAME, values)


def went_back(kept: Standing | None, found: Standing) -> bool:
    """Tell whether a ledger is less far than it was. Pure."""
    if kept is None or not found.ledger or kept.ledger != found.ledger:
        return False
    return found.passes < kept.passes or found.posts < kept.posts


def parsed(value: Any) -> Standing | None:
    """Return what the lock's file holds, or None if that is nothing or damaged."""
    match value:
        case [str(ledger), int(passes), int(posts)]:
            return Standing(ledger, passes, posts)
    return None


__all__ = ["NAME", "Standing", "name", "of", "parsed", "went_back"]
