"""Keep the mark of a ledger that went back, e.g. to a backup, or in a failover that lost the newest commits.

Recotap has deliveries then that the ledger does not know. To go on is safe. Rows and watermarks went back together,
so each CRM is read again from there, and Recotap creates an activity once. Only a label is open: "already exists"
is the answer to our own delivery. So it counts as `duplicate` for each activity that the lost part may have
delivered, as in an adoption, until each stream is read again.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from syncd import clock
from syncd.ledger.dialect import listed
from syncd.ledger.reader import CLOCK, RECOTAP, LedgerReader
from syncd.ledger.rows import Writer

REWOUND = "@rewound"  # under RECOTAP: when it was noticed. Under a source: when the mark of each stream ended

_TIMES = f"""
    SELECT activities.id, source, stream, first_seen_at, modified_at, occurred_at
    FROM activities JOIN streams ON streams.id = stream_id WHERE activities.id IN {listed("ids")}
"""  # nosec B608 # our own text


@dataclass(frozen=True, slots=True)
class Rewind:
    """The last time that a ledger went back. Times are of the local clock."""

    at: datetime  # when it was noticed
    ended: Mapping[tuple[str, str], datetime] = field(default_factory=dict)  # (source, stream) to the end of its mark
    ahead: Mapping[str, timedelta] = field(default_factory=dict)  # by which each CRM's clock is ahead of the local one

    def ended_at(self, source: str, stream: str) -> datetime | None:
        """Return when the stream was read again, or None. An end before `at` belongs to an earlier rewind."""
        ended_at = self.ended.get((source, stream))
        return ended_at if ended_at is not None and ended_at >= self.at else None

    def to_report(self, streams: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """Return it as `syncd status` reports it, with those of `streams` that are still to be read again."""
        left = [f"{source} {stream}" for source, stream in streams if self.ended_at(source, stream) is None]
        ended_at = None if left else max([self.at, *self.ended.values()])
        return {"at": clock.text(self.at), "ended_at": clock.optional_text(ended_at), "streams": left}

    def covers(
        self, source: str, stream: str, *, first_seen_at: datetime, modified_at: datetime, occurred_at: datetime | None
    ) -> bool:
        """Tell whether the lost part of the ledger may have delivered an activity. Pure.

        It may if the record existed when the rewind was noticed, and was first seen before the stream was read again.
        A record that was changed since then existed if its call or email had happened. `modified_at` and `occurred_at`
        are of the CRM's clock. A later record is nobody's but another sender's.
        """
        ended_at = self.ended_at(source, stream)
        if ended_at is not None and first_seen_at > ended_at:
            return False
        by_crm = clock.later(self.at, self.ahead.get(source, timedelta(0)))
        existed = modified_at <= by_crm or (occurred_at is not None and occurred_at <= by_crm)
        return existed or first_seen_at <= self.at


def rewind_of(glance: LedgerReader) -> Rewind | None:
    """Return the last rewind of a ledger, or None if it never went back."""
    kept = glance.kept(REWOUND, [RECOTAP]).get(RECOTAP)
    if kept is None:
        return None
    sources = [*glance.sources()]
    ended = {
        (source, stream): clock.instant(at)
        for source, streams in glance.kept(REWOUND, sources).items()
        for stream, at in streams.items()
    }
    clocks = glance.kept(CLOCK, sources)
    return Rewind(clock.instant(kept["at"]), ended, {name: _ahead(each) for name, each in clocks.items()})


def _ahead(kept: Mapping[str, Any]) -> timedelta:
    return timedelta(0) if kept["moves"] is False else timedelta(seconds=kept["skew_s"])


class RewindWriter(Writer):
    """Notice that the ledger went back, and answer for its rows within the transaction that acts on the answer."""

    def went_back(self) -> bool:
        """Tell whether the ledger lacks what was once committed. Call it while the ledger is held."""
        return self.handle.went_back(self._db)

    def take_history(self) -> bool:
        """Take the present history for that of the ledger, within a transaction. False if another process has."""
        return self.handle.take_history(self._db)

    def remember(self) -> None:
        """Note outside the ledger how far it is, so that a later `went_back` can tell. LedgerError if that fails."""
        self.handle.remember(self._db)

    def lost_deliveries(self, ids: Sequence[int], rewind: Rewind) -> set[int]:
        """Return those of `ids`, row ids, that the lost part of the ledger may have delivered."""
        rows = self._db.execute(_TIMES, {"ids": json.dumps([*ids])}).fetchall()
        return {
            row_id
            for row_id, source, stream, seen, modified, occurred in rows
            if rewind.covers(
                source, stream, first_seen_at=clock.instant(seen), modified_at=clock.instant(modified),
                occurred_at=clock.optional_instant(occurred),
            )
        }  # fmt: skip


__all__ = ["REWOUND", "Rewind", "RewindWriter", "rewind_of"]
