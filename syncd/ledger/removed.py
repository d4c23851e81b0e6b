"""Age the waiting rows of a source that the configuration lacks. Nothing can look them up."""

from datetime import datetime
from typing import Any

from syncd import clock
from syncd.ledger.rows import ROW_COLUMNS, Held, Writer, row_of
from syncd.lifecycle import timing, transitions

AT_ONCE = 1000  # rows of one transaction
# Each uses an index that holds waiting rows alone.
_LOOKED_UP = "state <> 'pending' AND next_attempt_at IS NOT NULL"
_WAITING = (
    f"{_LOOKED_UP} AND state = 'incomplete' AND coalesce(reason, '') <> 'redacted'",
    "state = 'incomplete' AND reason = 'redacted'",
)


class RemovedSources(Writer):
    """Write the rows of removed sources."""

    def is_over(self, source: str, *, gone_at: datetime, now: datetime) -> bool:
        """Tell whether an activity of `source` that waits for a look-up is to die."""
        return gone_at <= now - timing.GIVE_UP_AFTER and any(
            self._over(stream, which, now, 1) for stream in self._ids(source) for which in _WAITING
        )

    def age_removed(self, source: str, *, gone_at: datetime, now: datetime) -> int:
        """Book the death of age of what waits since the removal of `source`, and return the number.

        `now` is of a clock that a server confirms.
        """
        return sum(self._age(stream, which, gone_at, now) for stream in self._ids(source) for which in _WAITING)

    def _age(self, stream_id: int, which: str, gone_at: datetime, now: datetime) -> int:
        if gone_at > now - timing.GIVE_UP_AFTER:
            return 0
        died = 0
        while rows := self._over(stream_id, which, now, AT_ONCE):
            with self.transaction():
                for row_id, *columns in rows:
                    held = Held(row_id, stream_id, row_of(columns))
                    self._write(held, transitions.after_removal(held.row, gone_at=gone_at, now=now), now)
            died += len(rows)
        return died

    def _ids(self, source: str) -> list[int]:
        return [row[0] for row in self._db.execute("SELECT id FROM streams WHERE source = :source", {"source": source})]

    def _over(self, stream_id: int, which: str, now: datetime, limit: int) -> list[Any]:
        """Return waiting rows that happened 30 days ago. They leave the index once they are dead."""
        sql = f"""
            SELECT id, {", ".join(ROW_COLUMNS)} FROM activities
            WHERE stream_id = :stream_id AND {which} AND coalesce(occurred_at, '') <= :happened_by LIMIT :limit
        """  # nosec B608 # our own text
        happened_by = clock.text(now - timing.GIVE_UP_AFTER)
        return self._db.execute(sql, {"stream_id": stream_id, "happened_by": happened_by, "limit": limit}).fetchall()


__all__ = ["RemovedSources"]
