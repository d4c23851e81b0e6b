"""Count the ledger's rows, once a day or on request, and correct the kept counts by them."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlite_utils import Database

from syncd import clock
from syncd.ledger.contract import Handle
from syncd.ledger.counts import KIND, Changes, Kind
from syncd.ledger.dialect import locked
from syncd.ledger.reader import RECOTAP, RECOUNT

SPAN = 50_000  # row ids of one statement: a stop waits for no more

COUNT = f"""
    SELECT {KIND}, count(*) FROM activities WHERE id > :after AND id <= :last GROUP BY 1, 2, 3, 4, 5, 6
"""  # nosec B608 # our own text
_KEEP = """
    INSERT INTO store (source, key, value, at) VALUES (:source, :key, :value, :at)
    ON CONFLICT (source, key) DO UPDATE SET value = excluded.value, at = excluded.at
"""


class Unequal(NamedTuple):
    """A stream whose rows are not as many as were counted when they were booked."""

    source: str
    stream: str
    rows: int
    seen: int


@dataclass(frozen=True, slots=True)
class Recount:
    """The rows as of one moment, compared with `seen` and with the kept counts."""

    rows: int
    unequal: tuple[Unequal, ...]
    wrong: dict[Kind, int]  # kept counts that differ from the rows: by how many rows
    last_at: str | None = None  # of the recount before, at that moment

    @property
    def corrected(self) -> bool:
        """Tell whether `correct` changes a kept count. If the rows do not agree with `seen`, none is changed."""
        return bool(self.wrong) and not self.unequal


def count(db: Database, handle: Handle[Any], *, stopping: Callable[[], bool]) -> Recount | None:
    """Count the rows from one snapshot, which keeps no other process waiting. None if it was stopped."""
    with handle.snapshot(db):
        rows = _rows(db, stopping)
        if rows is None:
            return None
        kept: dict[Kind, int] = {(*kind,): n for *kind, n in db.execute("SELECT * FROM counts")}
        streams = db.execute("SELECT id, source, stream, seen FROM streams ORDER BY source, stream").fetchall()
        last_at = _last_at(db)
    of_stream: Counter[int] = Counter()
    for (stream_id, *_), n in rows.items():
        of_stream[stream_id] += n
    unequal = tuple(
        Unequal(source, stream, of_stream[stream_id], seen)
        for stream_id, source, stream, seen in streams
        if of_stream[stream_id] != seen
    )
    differences = {kind: rows[kind] - kept.get(kind, 0) for kind in rows.keys() | kept.keys()}
    return Recount(rows.total(), unequal, {kind: n for kind, n in differences.items() if n}, last_at)


def _rows(db: Database, stopping: Callable[[], bool]) -> Counter[Kind] | None:
    found: Counter[Kind] = Counter()
    last = int(db.execute("SELECT coalesce(max(id), 0) FROM activities").fetchone()[0])
    for after in range(0, last, SPAN):
        if stopping():
            return None
        for *kind, n in db.execute(COUNT, {"after": after, "last": after + SPAN}):
            found[(*kind,)] += n
    return found


def correct(db: Database, found: Recount, now: datetime) -> bool:
    """Correct the kept counts in the transaction that is open, and keep whether the rows agree with `seen`.

    Differences are added. So whatever was booked since the snapshot stays counted. False, and nothing is written, if
    another process has corrected the counts since then.
    """
    db.execute(f"SELECT id FROM recotap {locked('recotap')}").fetchall()  # nosec B608 # our own text
    if _last_at(db) != found.last_at:
        return False
    if found.corrected:
        changes = Changes()
        changes.add(found.wrong.items())
        changes.write(db)
    value = json.dumps([list(each) for each in found.unequal])
    db.execute(_KEEP, {"source": RECOTAP, "key": RECOUNT, "value": value, "at": clock.text(now)})
    return True


def _last_at(db: Database) -> str | None:
    sql = "SELECT at FROM store WHERE source = :source AND key = :key"
    row = db.execute(sql, {"source": RECOTAP, "key": RECOUNT}).fetchone()
    return None if row is None else str(row[0])


__all__ = ["COUNT", "Recount", "Unequal", "correct", "count"]
