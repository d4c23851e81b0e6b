"""Write the ranges. Each change commits with the page that it belongs to."""

from datetime import datetime

from syncd import clock
from syncd.ledger.rows import Writer
from syncd.text import fit


class RangeWriter(Writer):
    """Write ranges."""

    def note_start(self, stream_id: int, start: datetime) -> None:
        """Remember the `start` from which a stream is read."""
        sql = "UPDATE streams SET start = :start WHERE id = :id"
        with self.transaction():
            self._db.execute(sql, {"id": stream_id, "start": clock.text(start)})

    def add_range(
        self, stream_id: int, since: datetime, until: datetime, *, why: str, now: datetime,
        error: str | None = None, next_attempt_at: datetime | None = None,
    ) -> None:  # fmt: skip
        """Add a span to read. With `error` it could not be read, and is tried again at `next_attempt_at`."""
        sql = """
            INSERT INTO ranges (stream_id, since, until, why, last_error, attempts, next_attempt_at, created_at)
            VALUES (:stream_id, :since, :until, :why, :error, :attempts, :at, :now)
        """
        values = {
            "stream_id": stream_id, "since": clock.text(since), "until": clock.text(until), "why": why,
            "error": None if error is None else fit(error), "attempts": int(error is not None),
            "at": clock.optional_text(next_attempt_at), "now": clock.text(now),
        }  # fmt: skip
        with self.transaction():
            self._db.execute(sql, values)

    def range_read_to(self, range_id: int, read_to: datetime, *, newest_first: bool) -> None:
        """Book how far a range is read, upwards or, if `newest_first`, downwards. It never moves back.

        If an operator has turned the range meanwhile, nothing is booked: the position would count from the wrong end.
        """
        sql = """
            UPDATE ranges SET attempts = 0, last_error = NULL, next_attempt_at = NULL,
                read_to = CASE
                    WHEN newest_first = 1 AND read_to <= :read_to OR newest_first = 0 AND read_to >= :read_to
                    THEN read_to ELSE :read_to END
            WHERE id = :id AND newest_first = :newest_first
        """
        with self.transaction():
            values = {"id": range_id, "read_to": clock.text(read_to), "newest_first": int(newest_first)}
            self._db.execute(sql, values)

    def range_failed(self, range_id: int, error: str, *, next_attempt_at: datetime | None) -> None:
        """Book why the rest of a range could not be read, and when it is tried again. None: in the next pass."""
        sql = """
            UPDATE ranges SET attempts = attempts + 1, last_error = :error, next_attempt_at = :at WHERE id = :id
        """
        values = {"id": range_id, "error": fit(error), "at": clock.optional_text(next_attempt_at)}
        with self.transaction():
            self._db.execute(sql, values)

    def range_finished(self, range_id: int) -> None:
        """Remove a range that is read to its end."""
        with self.transaction():
            self._db.execute("DELETE FROM ranges WHERE id = :id", {"id": range_id})


__all__ = ["RangeWriter"]
