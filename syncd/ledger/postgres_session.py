"""Run the package's statements on PostgreSQL: other texts for the names of `dialect`, and psycopg's connection."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import psycopg
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus

from syncd.ledger.dialect import (
    BROKEN_OFF,
    CLUSTERED,
    IN_FLIGHT,
    NOT_HELD_BACK,
    OR_HELD_BACK,
    by_index,
    holds,
    listed,
    locked,
    pairs,
)

Values = Mapping[str, Any] | Sequence[Any]
# The settings of each transaction. A process that stands still in one would lock its lanes for ever. After 9 s it may
# not trust its lease either, and the lane must be free when the lease ends, 10 s after a renewal. Other transactions of
# the process may wait for that one. They give up after 7 s, otherwise each would stand still for 9 s in its turn.
# There is no statement_timeout: a COMMIT that waits for a standby must not be cancelled, because its rows would be seen
# before they are on the standby. JIT took 300 ms of a query of 1 ms over tables that no ANALYZE had seen (15.18).
SETTINGS = {"idle_in_transaction_session_timeout": "9s", "lock_timeout": "7s", "jit": "off"}
# One message begins the transaction with its settings: 20 us more than BEGIN alone.
BEGIN = "".join(f"; SET LOCAL {name} = '{value}'" for name, value in SETTINGS.items())


def _pattern(text: str, **words: str) -> str:
    """Return the pattern of a text that `dialect` wrote, in which each word of `words` may be another."""
    pattern = re.escape(text)
    for word, allowed in words.items():
        pattern = pattern.replace(word, f"({allowed})")
    return pattern


_WORD = r"\w+"
_HELD_BACK = "activities.id IN (SELECT activity_id FROM held_back WHERE until > clock_timestamp())"
_TEXTS = (
    (re.compile("^BEGIN[ A-Z]*$"), rf"\g<0>{BEGIN}"),
    (re.compile("NOT IN " + _pattern(listed("NAME"), NAME=_WORD)), r"<> ALL (:\1[])"),
    (re.compile("IN " + _pattern(listed("NAME"), NAME=_WORD)), r"= ANY (:\1[])"),
    (
        re.compile(_pattern(pairs("NAME", "ONE", "TWO"), NAME=_WORD, ONE=_WORD, TWO=_WORD)),
        (
            r"(SELECT (value ->> 0)::bigint AS \1, (value ->> 1)::bigint AS \2 "
            r"FROM json_array_elements(:\3::json) AS value)"
        ),
    ),
    (
        re.compile(re.escape(IN_FLIGHT)),
        "(SELECT value::bigint FROM posts, json_array_elements_text(members::json) AS value WHERE members IS NOT NULL)",
    ),
    (re.compile(_pattern(" " + by_index("NAME"), NAME=_WORD)), ""),
    (re.compile(_pattern(holds("TEXT", "NAME"), TEXT=".+?", NAME=_WORD)), r"strpos(lower(\1), :\2) > 0"),
    (re.compile(" " + CLUSTERED), ""),
    # Not FOR UPDATE: a copy in another lane may refer to the row meanwhile.
    (re.compile(_pattern(locked("NAME"), NAME=_WORD)), r"FOR NO KEY UPDATE OF \1"),
    (re.compile(re.escape(NOT_HELD_BACK)), f"AND NOT {_HELD_BACK}"),
    (
        re.compile(re.escape(OR_HELD_BACK)),
        f"UNION ALL SELECT min(next_attempt_at) FROM activities WHERE state = 'pending' AND {_HELD_BACK}",  # nosec B608 # our own text
    ),
    (
        re.compile(re.escape(BROKEN_OFF)),
        BROKEN_OFF
        + " AND NOT EXISTS (SELECT 1 FROM lanes WHERE lanes.token = passes.token AND until >= clock_timestamp()"
        " AND lanes.token <> current_setting('syncd.token', true))",  # nosec B608 # our own text
    ),
)
_NAME = re.compile(r"(?<!:):([a-z]\w*)(\[\])?")


class Translated(NamedTuple):
    """A statement as psycopg takes it."""

    text: str
    arrays: frozenset[str]  # the names that are bound as JSON, and go out as arrays


@lru_cache(maxsize=1000)
def translated(sql: str) -> Translated:
    """Return a statement of the package for psycopg. Pure."""
    for pattern, text in _TEXTS:
        sql = pattern.sub(text, sql)
    arrays = frozenset(name for name, is_array in _NAME.findall(sql) if is_array)
    sql = _NAME.sub(r"%(\1)s", sql.replace("%", "%%")).replace("?", "%s")
    return Translated(sql, arrays)


class Unwritable(psycopg.DataError, ValueError):
    """A value that PostgreSQL cannot hold: a text with NUL, a number that is too large."""


class Whole(Loader):
    """Load a sum or a count, which PostgreSQL returns as numeric, as a whole number."""

    def load(self, data: Any) -> int:
        """Return the number."""
        return int(bytes(data))


class Session:
    """One connection, used as the package uses sqlite-utils' `Database`, whose `conn` it is too."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection
        self.total_changes = 0
        self.has_written = False  # since it was set to False; True if that is not certain
        self.history: Any = None  # the `History` of a ledger that was opened for writing
        self._trace: Callable[[str, Any], object] = lambda sql, values: None
        connection.adapters.register_loader("numeric", Whole)

    @property
    def conn(self) -> "Session":
        """Return the connection itself."""
        return self

    @property
    def in_transaction(self) -> bool:
        """Tell whether a transaction is open."""
        return self._connection.info.transaction_status in _OPEN

    def execute(self, sql: str, values: Values = ()) -> "psycopg.Cursor[Any]":
        """Run one statement. Unwritable for a value that cannot be held."""
        self._trace(sql, values)
        text, arrays = translated(sql)
        with _writable():
            cursor = self._connection.execute(text, _bound(values, arrays), prepare=None)
        return self._counted(sql, cursor)

    def executemany(self, sql: str, rows: Sequence[Values] | Iterator[Values]) -> "psycopg.Cursor[Any]":
        """Run one statement for each of `rows`. Unwritable as for `execute`."""
        text, arrays = translated(sql)
        cursor = self._connection.cursor()
        with _writable():
            cursor.executemany(text, [_bound(each, arrays) for each in rows])
        return self._counted(sql, cursor)

    @contextmanager
    def tracer(self, trace: Callable[[str, Any], object]) -> Iterator[None]:
        """Call `trace` with each statement within and its values."""
        before, self._trace = self._trace, trace
        try:
            yield
        finally:
            self._trace = before

    def batches(self, sql: str, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a statement, `size` at once, from the server's cursor. Only within a transaction."""
        with self._connection.cursor(name="batches") as cursor:
            cursor.execute(sql.encode())
            while rows := cursor.fetchmany(size):
                yield rows

    def load(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        """Write rows by COPY. Unwritable as for `execute`."""
        with (
            _writable(),
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as copying,
        ):
            for row in rows:
                copying.write_row(row)
        self.has_written = True

    def one(self, sql: str) -> Any:
        """Return the one value of a statement."""
        (row,) = self.execute(sql).fetchall()
        return row[0]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _counted(self, sql: str, cursor: "psycopg.Cursor[Any]") -> "psycopg.Cursor[Any]":
        status = cursor.statusmessage or ""
        if status.startswith(("INSERT", "UPDATE", "DELETE")):
            self.total_changes += cursor.rowcount
            self.has_written = self.has_written or cursor.rowcount > 0
        elif not status.startswith(_READING) or sql.lstrip().startswith("WITH"):
            self.has_written = True
        return cursor


_READING = ("SELECT", "BEGIN", "COMMIT", "ROLLBACK")  # how the status of a statement that writes nothing begins
_OPEN = (TransactionStatus.ACTIVE, TransactionStatus.INTRANS, TransactionStatus.INERROR)


@contextmanager
def _writable() -> Iterator[None]:
    try:
        yield
    except psycopg.DataError as error:
        raise Unwritable(*error.args) from error


def nothing(sql: str) -> dict[str, Any]:
    """Return no value for each name of a statement: NULL, or an empty array. A plan does not depend on the values."""
    arrays = translated(sql).arrays
    return {name: "[]" if name in arrays else None for name, _ in _NAME.findall(sql)}


def _bound(values: Values, arrays: frozenset[str]) -> Values:
    if not arrays or not isinstance(values, Mapping):
        return values
    return {
        name: json.loads(value) if name in arrays and value is not None else value for name, value in values.items()
    }


__all__ = ["SETTINGS", "Session", "Unwritable", "nothing", "translated"]
