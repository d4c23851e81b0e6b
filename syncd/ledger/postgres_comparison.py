"""Compare a stream in PostgreSQL with the ids that its CRM lists.

The ids stand in a file without a name on this machine: a temporary table belongs to a session, which a pooler in
transaction mode takes away, and a standby makes none.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain, islice
from typing import Any

from syncd import clock
from syncd.errors import LedgerError
from syncd.ledger import comparison
from syncd.ledger.comparison import KNOWN_TO_BE_GONE, Comparison, Spans, statements
from syncd.ledger.dialect import CLUSTERED, listed

_ROWS = statements(
    within="""
        EXISTS (SELECT 1 FROM unnest(:sinces[]::text[], :untils[]::text[]) AS spans (since, until)
            WHERE modified_at BETWEEN since AND until)
    """,
    unlisted="true",
)
_SOME = f"SELECT crm_id FROM listed WHERE crm_id IN {listed('ids')}"  # nosec B608 # our own text
_PAGE = "SELECT crm_id FROM listed WHERE crm_id > :after ORDER BY crm_id LIMIT :limit"


@contextmanager
def empty_list() -> Iterator[sqlite3.Connection]:
    """Yield a database for the ids, which is in a file once it grows. LedgerError if that has no room."""
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as ids:
            ids.execute("PRAGMA journal_mode = OFF")
            ids.execute(f"CREATE TABLE listed (crm_id TEXT PRIMARY KEY) {CLUSTERED}")
            yield ids
    except sqlite3.Error as error:
        raise LedgerError(
            f"the ids of the CRM cannot be kept in a temporary file: {error}",
            hint="make room in the temporary directory, or let SQLITE_TMPDIR name another one",
        ) from error


class PostgresComparison(Comparison):
    """Hold the ids of one stream beside PostgreSQL, and find those that differ from the ledger's rows."""

    def __init__(self, db: Any, handle: Any, ids: sqlite3.Connection) -> None:
        self._ids = ids
        super().__init__(db, handle)
        self._statements = _ROWS

    def _make_list(self) -> None:
        """Use the list of `empty_list`."""

    def begin(self, source: str, stream: str, spans: Spans) -> None:
        """Compare a stream from now on, within `spans`, with an empty list."""
        self._names = {"source": source, "stream": stream}
        self._ids.execute("DELETE FROM listed")
        self.within(spans)

    def within(self, spans: Spans) -> None:
        """Compare within other spans, and keep the list."""
        since, until = ([clock.text(span[end]) for span in spans] for end in (0, 1))
        self._names |= {"sinces": json.dumps(since), "untils": json.dumps(until)}

    def add(self, crm_ids: Iterable[str]) -> None:
        """Add ids to the list. One that is there stays."""
        self._ids.execute("BEGIN")
        self._ids.executemany("INSERT INTO listed VALUES (?) ON CONFLICT DO NOTHING", [(each,) for each in crm_ids])
        self._ids.execute("COMMIT")

    def listed(self) -> int:
        """Return the number of ids in the list."""
        return int(self._ids.execute("SELECT count(*) FROM listed").fetchone()[0])

    def unheld(self, streams: Iterable[str]) -> Iterator[list[str]]:
        """Yield the listed ids that none of the source's `streams` holds, at most AT_ONCE together."""
        source, streams = self._names["source"], [*streams]

        def lacking() -> Iterator[list[str]]:
            after = ""
            while page := self._of_list(_PAGE, {"after": after, "limit": comparison.AT_ONCE}):
                held = self.held(source, streams, page)
                yield [each for each in page if each not in held]
                after = page[-1]

        return _gathered(lacking())

    def unlisted(self) -> Iterator[list[str]]:
        """Yield the ids of the stream's rows within the spans that are not in the list, at most AT_ONCE together.

        Rows that the ledger knows to be gone are left out (KNOWN_TO_BE_GONE).
        """

        def lacking() -> Iterator[list[str]]:
            for page in self._pages(_ROWS.unlisted, self._names | {"gone": json.dumps(KNOWN_TO_BE_GONE)}):
                found = {*self._of_list(_SOME, {"ids": json.dumps(page)})}
                yield [each for each in page if each not in found]

        return _gathered(lacking())

    def _of_list(self, sql: str, values: dict[str, Any]) -> list[str]:
        return [row[0] for row in self._ids.execute(sql, values)]


def _gathered(pages: Iterable[list[str]]) -> Iterator[list[str]]:
    ids = chain.from_iterable(pages)
    while some := [*islice(ids, comparison.AT_ONCE)]:
        yield some


__all__ = ["PostgresComparison", "empty_list"]
