"""Keep when the record of a pending row was last read, and find the rows that were not read for long."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime

from syncd.ledger.dialect import NOT_HELD_BACK, listed
from syncd.ledger.reader import times
from syncd.ledger.rows import Writer
from syncd.lifecycle import timing

REWRITTEN = 1000  # payloads at most that are written again at the end of a pass: about 1 MB

_KEPT = """
    INSERT INTO payloads (activity_id, body, read_at) VALUES (:id, :body, :at)
    ON CONFLICT (activity_id) DO UPDATE SET body = excluded.body, read_at = excluded.read_at
"""
_TOUCHED = f"UPDATE payloads SET read_at = :at WHERE activity_id IN {listed('ids')}"  # nosec B608 # our own text
_STALE = f"""
    SELECT activity_id FROM payloads
    WHERE activity_id IN {listed("ids")}
      AND coalesce(read_at, 0) NOT BETWEEN :fresh_since AND :fresh_until
"""  # nosec B608 # our own text


# Each part reads one index of pending rows.
_COUNT_DUE = """
    SELECT count(*) FROM (
        SELECT 1 FROM activities WHERE state = 'pending' AND last_post = 0 {scope}
        UNION ALL
        SELECT 1 FROM activities
        WHERE state = 'pending' AND last_post > 0 AND refusals = 0 AND last_post < :first_post {held_back} {scope}
        UNION ALL
        SELECT 1 FROM activities
        WHERE state = 'pending' AND last_post > 0 AND refusals > 0 AND last_post < :first_post
          AND (next_attempt_at <= :now OR next_attempt_at > :nonsense) {held_back} {scope}
        LIMIT :most) AS due
"""
_ROW_IDS = f"""
    SELECT id FROM activities WHERE stream_id = :stream_id AND crm_id IN {listed("ids")}
"""  # nosec B608 # our own text


class Reads(Writer):
    """Read and write the times at which records of pending rows were read."""

    @property
    def writes(self) -> int:
        """The number of rows written since the ledger was opened. It tells whether an earlier answer still holds."""
        return self._db.conn.total_changes

    def stream_names(self) -> dict[int, tuple[str, str]]:
        """Return the source and the name of each stream, by its row id."""
        rows = self._db.execute("SELECT id, source, stream FROM streams")
        return {stream_id: (source, stream) for stream_id, source, stream in rows}

    def crm_ids(self, activity_ids: Sequence[int]) -> dict[int, str]:
        """Return the CRM's id of each activity."""
        sql = f"SELECT id, crm_id FROM activities WHERE id IN {listed('ids')}"  # nosec B608 # our own text
        return dict(self._db.execute(sql, {"ids": json.dumps(list(activity_ids))}).fetchall())

    def row_ids(self, stream_id: int, crm_ids: Collection[str]) -> list[int]:
        """Return the row ids of the activities of a stream, by the CRM's ids."""
        found = self._db.execute(_ROW_IDS, {"stream_id": stream_id, "ids": json.dumps(list(crm_ids))})
        return [row_id for (row_id,) in found]

    def count_due(self, most: int, *, first_post: int, now: datetime) -> int:
        """Return how many activities are due that this pass has not sent, at most `most`. See `Outbox.due`."""
        scope, streams = self._scope()
        values = {"most": most, "first_post": first_post, **times(now), **streams}
        return int(self._db.execute(_COUNT_DUE.format(scope=scope, held_back=NOT_HELD_BACK), values).fetchone()[0])

    def stale_of(self, activity_ids: Collection[int], now: datetime) -> set[int]:
        """Return those of `activity_ids` that are pending and were not read within an hour."""
        values = {"ids": json.dumps(list(activity_ids)), **fresh(now)}
        return {row[0] for row in self._db.execute(_STALE, values)}

    def _keep_payload(self, activity_id: int, body: str | None, at: datetime) -> None:
        """Keep the payload of a row that is pending, of a record that was read `at`."""
        ((_, sealed, _),) = self._sealed([(activity_id, body, read_at(at))])
        self._db.execute(_KEPT, {"id": activity_id, "body": sealed, "at": read_at(at)})
        self._has_erased = True

    def _rewrite_payloads(self) -> None:
        """Write the payloads again if some were erased and few are left, within a transaction.

        `secure_delete` overwrites what is deleted. But SQLite may have moved a row to another page before, and may have
        left its bytes between the rows of the first one. They go when a whole table is deleted. That is not
        done if other lanes have payloads in the table too.
        """
        if not self._has_erased or self._key is not None or self._cipher is not None:  # a cipher drops the keys instead
            return
        left = self._db.execute(f"SELECT activity_id, body, read_at FROM payloads LIMIT {REWRITTEN + 1}").fetchall()  # nosec B608 # a constant
        if len(left) <= REWRITTEN:
            self._db.execute("DELETE FROM payloads")
            self._db.conn.executemany("INSERT INTO payloads (activity_id, body, read_at) VALUES (?, ?, ?)", left)
            self._has_erased = False

    def _read_again(self, activity_ids: Sequence[int], at: datetime) -> None:
        """Book in one statement that records were read `at`, and that their payloads are as before."""
        if activity_ids:
            self._db.execute(_TOUCHED, {"at": read_at(at), "ids": json.dumps(list(activity_ids))})


def read_at(at: datetime) -> int:
    """Return a time of reading as the ledger holds it: epoch seconds."""
    return int(at.timestamp())


def is_stale(read: int | None, now: datetime) -> bool:
    """Tell whether a record that was last read then (epoch seconds) was not read within an hour."""
    first, last = timing.fresh_reads(now)
    return read is None or not first <= read <= last


def fresh(now: datetime) -> dict[str, int]:
    """Return `:fresh_since` and `:fresh_until`, between which a record was read within an hour."""
    first, last = timing.fresh_reads(now)
    return {"fresh_since": first, "fresh_until": last}


__all__ = ["Reads", "fresh", "is_stale", "read_at"]
