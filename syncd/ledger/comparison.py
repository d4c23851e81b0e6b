"""Compare the rows of a stream with the ids that its CRM lists, for `syncd verify`. The ledger stays as it is.

The ids stand in a temporary table of this connection, which SQLite keeps in a file without a name once it grows. No
statement lasts: rows are read in the order of an index, some at a time, so that no pass waits for a reader.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlite_utils import Database

from syncd import clock
from syncd.ledger.contract import Handle
from syncd.ledger.dialect import CLUSTERED, listed
from syncd.ledger.reader import LedgerReader

AT_ONCE = 1000  # ids: as many as `Connector.fetch_ids` takes
KNOWN_TO_BE_GONE = ("deleted", "not_found")  # reasons of rows whose record a look-up did not find

Spans = Sequence[tuple[datetime, datetime]]  # of modification time, both ends inclusive, in order

_STREAM = "stream_id = (SELECT id FROM streams WHERE source = :source AND stream = :stream)"
_UNHELD = f"""
    SELECT crm_id FROM listed WHERE crm_id > :after AND NOT EXISTS (
        SELECT 1 FROM activities WHERE activities.crm_id = listed.crm_id AND stream_id IN (
            SELECT id FROM streams WHERE source = :source AND stream IN {listed("streams")}))
    ORDER BY crm_id LIMIT :limit
"""  # nosec B608 # our own text
_FIRST = f"SELECT min(modified_at) FROM activities WHERE {_STREAM}"  # nosec B608 # our own text


class Statements(NamedTuple):
    """The statements about the rows within the spans."""

    rows: str
    days: str
    unlisted: str


def statements(within: str, unlisted: str) -> Statements:
    """Return the statements, with the condition of the spans, and that of a row that is not in the list."""
    rows = f"FROM activities WHERE {_STREAM} AND {within}"
    return Statements(
        rows=f"SELECT count(*) {rows}",
        days=f"SELECT substr(modified_at, 1, 10), count(*) {rows} GROUP BY 1",
        unlisted=f"""
            SELECT crm_id {rows} AND crm_id > :after AND {unlisted} AND coalesce(reason, '') NOT IN {listed("gone")}
            ORDER BY crm_id LIMIT :limit
        """,  # nosec B608 # our own text
    )


_IN_TABLES = statements(
    within="EXISTS (SELECT 1 FROM spans WHERE modified_at BETWEEN since AND until)",
    unlisted="NOT EXISTS (SELECT 1 FROM listed WHERE listed.crm_id = activities.crm_id)",
)


class Comparison(LedgerReader):
    """Hold the ids that a CRM lists of one stream, and find those that differ from the ledger's rows."""

    def __init__(self, db: Database, handle: Handle[LedgerReader]) -> None:
        super().__init__(db, handle)
        self._names: dict[str, str] = {}  # of the stream that is being compared
        self._statements = _IN_TABLES
        self._make_list()

    def _make_list(self) -> None:
        db = self._db
        db.execute(f"CREATE TEMP TABLE listed (crm_id TEXT PRIMARY KEY) {CLUSTERED}")
        db.execute("CREATE TEMP TABLE spans (since TEXT, until TEXT)")

    def begin(self, source: str, stream: str, spans: Spans) -> None:
        """Compare a stream from now on, within `spans`, with an empty list."""
        self._names = {"source": source, "stream": stream}
        self._db.execute("DELETE FROM listed")
        self.within(spans)

    def within(self, spans: Spans) -> None:
        """Compare within other spans, and keep the list."""
        rows = [(clock.text(since), clock.text(until)) for since, until in spans]
        self._all("DELETE FROM spans", [()])
        self._all("INSERT INTO spans (since, until) VALUES (?, ?)", rows)

    def add(self, crm_ids: Iterable[str]) -> None:
        """Add ids to the list. One that is there stays."""
        self._all("INSERT INTO listed (crm_id) VALUES (?) ON CONFLICT DO NOTHING", [(crm_id,) for crm_id in crm_ids])

    def listed(self) -> int:
        """Return the number of ids in the list."""
        return self._number("SELECT count(*) FROM listed")

    def rows(self) -> int:
        """Return the number of the stream's rows within the spans."""
        return int(self._db.execute(self._statements.rows, self._names).fetchone()[0])

    def first_modified(self) -> datetime | None:
        """Return the earliest modification time of the stream's rows, within the spans or not. None: it has none."""
        found: str | None = self._db.execute(_FIRST, self._names).fetchone()[0]
        return clock.optional_instant(found)

    def rows_by_day(self) -> dict[str, int]:
        """Return the number of the stream's rows by day of modification, e.g. "2026-01-31". Days without are left out.

        Within the spans, as `rows`.
        """
        return dict(self._db.execute(self._statements.days, self._names).fetchall())

    def unheld(self, streams: Iterable[str]) -> Iterator[list[str]]:
        """Yield the listed ids that none of the source's `streams` holds, at most AT_ONCE together."""
        return self._pages(_UNHELD, self._names | {"streams": json.dumps([*streams])})

    def unlisted(self) -> Iterator[list[str]]:
        """Yield the ids of the stream's rows within the spans that are not in the list, at most AT_ONCE together.

        Rows that the ledger knows to be gone are left out (KNOWN_TO_BE_GONE).
        """
        return self._pages(self._statements.unlisted, self._names | {"gone": json.dumps(KNOWN_TO_BE_GONE)})

    def held(self, source: str, streams: Iterable[str], crm_ids: Sequence[str]) -> set[str]:
        """Return those of `crm_ids` that one of the source's `streams` holds."""
        return {each for stream in streams for each in self.known(source, stream, crm_ids)}

    def lacking(self) -> dict[tuple[str, str], int]:
        """Return by how many rows each (source, stream) has fewer than it has seen, e.g. because they were deleted."""
        sql = """
            SELECT source, stream, seen - (SELECT count(*) FROM activities WHERE stream_id = streams.id) FROM streams
        """
        return {(source, stream): number for source, stream, number in self._db.execute(sql) if number > 0}

    def _pages(self, sql: str, values: dict[str, Any]) -> Iterator[list[str]]:
        after = ""
        while page := [row[0] for row in self._db.execute(sql, values | {"after": after, "limit": AT_ONCE})]:
            yield page
            after = page[-1]

    def _all(self, sql: str, rows: Sequence[tuple[str, ...]]) -> None:
        """Run a statement for each of `rows` in one transaction, which locks nothing but the temporary tables."""
        with self.handle.snapshot(self._db):
            self._db.conn.executemany(sql, rows)


__all__ = ["AT_ONCE", "Comparison", "Spans", "statements"]
