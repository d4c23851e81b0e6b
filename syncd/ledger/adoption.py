"""Keep the mark of an adoption: this ledger is older than its deliveries, as the operator says (`syncd adopt`)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd import clock
from syncd.ledger.dialect import listed
from syncd.ledger.reader import RECOTAP, LedgerReader
from syncd.ledger.rows import Writer

ADOPTION = "@adoption"  # under RECOTAP in the store: the last adoption (`Adoption.to_json`)


@dataclass(frozen=True, slots=True)
class Adoption:
    """The last adoption of a ledger. Times are of the local clock, except `since`."""

    since: datetime  # modification time from which the CRMs are read again
    began_at: datetime  # what happened later, the lost ledger cannot have delivered
    ended_at: datetime | None = None  # what was first seen later, this ledger alone has seen; None: still reading
    adopted: int = 0  # activities that Recotap had already, in all adoptions of this ledger

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, for the store and for `syncd status`."""
        return {
            "since": clock.text(self.since), "began_at": clock.text(self.began_at),
            "ended_at": clock.optional_text(self.ended_at), "adopted": self.adopted,
        }  # fmt: skip


def adoption_of(glance: LedgerReader) -> Adoption | None:
    """Return the last adoption of a ledger, or None if there was none."""
    kept = glance.kept(ADOPTION, [RECOTAP]).get(RECOTAP)
    if kept is None:
        return None
    since, began_at = clock.instant(kept["since"]), clock.instant(kept["began_at"])
    return Adoption(since, began_at, clock.optional_instant(kept["ended_at"]), int(kept["adopted"]))


class AdoptionWriter(Writer):
    """Answer the questions of an adoption, within the transaction that acts on the answer."""

    def adoptable(self, ids: Sequence[int], adoption: Adoption) -> set[int]:
        """Return those of `ids`, row ids, that an older ledger may have delivered.

        They happened before the adoption began, and were first seen before it ended.
        """
        sql = f"""
            SELECT id FROM activities WHERE id IN {listed("ids")}
                AND coalesce(occurred_at, first_seen_at) <= :began_at
                AND (first_seen_at <= :ended_at OR :ended_at IS NULL)
        """  # nosec B608 # our own text
        values = {
            "ids": json.dumps([*ids]), "began_at": clock.text(adoption.began_at),
            "ended_at": clock.optional_text(adoption.ended_at),
        }  # fmt: skip
        return {row[0] for row in self._db.execute(sql, values)}

    def read_since(self, source: str, at: datetime) -> set[str]:
        """Return the streams of a source whose window was read to its end at or after `at`."""
        sql = "SELECT stream FROM streams WHERE source = :source AND last_success_at >= :at"
        return {row[0] for row in self._db.execute(sql, {"source": source, "at": clock.text(at)})}


__all__ = ["ADOPTION", "Adoption", "AdoptionWriter", "adoption_of"]
