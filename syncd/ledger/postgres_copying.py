"""Open a ledger in PostgreSQL as one end of a copy.

A copy leaves out the rows and columns that serve only processes at work: lanes, replicas, the tokens and deadlines of
requests, and how the lanes share Recotap's key. It also leaves out the data keys. Texts are opened at one end, and
sealed again at the other one.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import psycopg

from syncd.errors import LedgerError
from syncd.ledger import marks, postgres_history
from syncd.ledger.copying import Row, removed_by_hand
from syncd.ledger.marks import Mark, Marks
from syncd.ledger.postgres_keys import PostgresCipher
from syncd.ledger.postgres_marks import lock, marks_of
from syncd.ledger.postgres_session import Session
from syncd.ledger.sealed import is_secret
from syncd.ledger.tables import Table, tables

# The transaction of one end may wait while the other end works. If the process stands still, others wait as long.
_PATIENT = "SET LOCAL idle_in_transaction_session_timeout = '10min'"
_SEQUENCE = "SELECT pg_get_serial_sequence('{table}', 'id')"
_NEXT_ID = "SELECT setval('{sequence}', coalesce(max(id), 1), max(id) IS NOT NULL) FROM {table}"
_MOVED = "UPDATE meta SET moved = :mark"
_ORIGIN = "UPDATE meta SET origin = :mark"


class Handle(Protocol):
    """The part of a `PostgresLedger` that a copy uses."""

    def _session(self) -> AbstractContextManager[Session]: ...

    def _require(self, db: Session, *, create: bool) -> None: ...

    def cipher(self, db: Session) -> PostgresCipher:
        """Return the cipher of its payloads and values."""

    def went_back(self, db: Session) -> bool:
        """Tell whether it was written in another history than that of `db`."""

    def explained(self) -> AbstractContextManager[None]:
        """Turn the database's errors into LedgerError with a hint."""

    def writing(self, db: Session) -> AbstractContextManager[None]:
        """Run one transaction of the holder."""

    def snapshot(self, db: Session) -> AbstractContextManager[None]:
        """Read from one snapshot."""


class PostgresEnd:
    """A ledger that is copied, or the copy."""

    def __init__(self, db: Session, handle: Handle) -> None:
        self._db = db
        self._handle = handle
        self._cipher = handle.cipher(db)

    def marks(self) -> Marks:
        """Return its marks."""
        return marks_of(self._db)

    def went_back(self) -> bool:
        """Tell whether it was written in another history of the database."""
        return self._handle.went_back(self._db)

    def count(self, table: Table) -> int:
        """Return the number of rows."""
        with self._handle.explained():
            return int(self._db.one(table.count))

    def rows(self, table: Table) -> Iterator[Sequence[Row]]:
        """Yield all rows in the order of the key, in batches. LedgerError if one of them cannot be decrypted."""
        with self._handle.explained():
            for rows in self._db.batches(table.select, table.batch):
                yield self._opened(table, rows)

    @contextmanager
    def filling(self, mark: Mark) -> Iterator[None]:
        """Empty all tables and mark them as a copy. Then write all rows in one transaction, without triggers.

        The copied counts have their effect already. The copy begins a history: it is no ledger that went back.
        ConfigError if the master key is not that of the target.
        """
        self._cipher.check()
        with self._handle.writing(self._db):
            self._db.execute(f"TRUNCATE {', '.join(table.name for table in tables())} CASCADE")
            self._db.execute("UPDATE meta SET moved = NULL, history = ''")
            self.mark(origin=mark)
        with self._handle.writing(self._db):
            self._db.execute(_PATIENT)
            self._each("ALTER TABLE {} DISABLE TRIGGER USER")
            yield
            self._each("ALTER TABLE {} ENABLE TRIGGER USER")
            self._go_on_numbering()
        postgres_history.history(self._db)
        self._each("ANALYZE {}")

    def write(self, table: Table, rows: Sequence[Row]) -> None:
        """Write rows by COPY. LedgerError if they refer to rows that are missing."""
        try:
            self._db.load(table.name, table.listed, self._sealed(table, rows))
        except psycopg.IntegrityError as error:
            raise removed_by_hand(table) from error

    def mark(self, *, moved: Mark | None = None, origin: Mark | None = None) -> None:
        """Write the marks that are given: at once as the holder, or with the transaction that is open."""
        with nullcontext() if self._db.in_transaction else self._handle.writing(self._db):
            for sql, mark in ((_MOVED, moved), (_ORIGIN, origin)):
                if mark is not None:
                    self._db.execute(sql, {"mark": mark.written()})

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read from one snapshot."""
        with self._handle.snapshot(self._db):
            self._db.execute(_PATIENT)
            yield

    def _opened(self, table: Table, rows: Sequence[Row]) -> Sequence[Row]:
        match table.name:
            case "payloads":
                return [(row_id, self._body(row_id, body), *more) for row_id, body, *more in rows]
            case "store":
                open_value = self._cipher.open_value
                return [(source, key, open_value(source, key, text), at) for source, key, text, at in rows]
        return rows

    def _sealed(self, table: Table, rows: Sequence[Row]) -> Sequence[Row]:
        match table.name:
            case "payloads":
                return [(row_id, self._cipher.seal_body(row_id, body), *more) for row_id, body, *more in rows]
            case "store":
                return [(source, key, self._value(source, key, text), at) for source, key, text, at in rows]
        return rows

    def _body(self, activity_id: int, sealed: str) -> str:
        body = self._cipher.open_body(activity_id, sealed)
        if body is None:
            raise LedgerError(
                f"the ledger at {self._handle} holds a payload that cannot be decrypted",
                hint="run `syncd ledger rekey --lost --yes`, then `syncd sync`, which reads its record again",
            )
        return body

    def _value(self, source: str, key: str, text: str) -> str:
        return self._cipher.seal_value(source, key, text) if is_secret(key) else text

    def _each(self, sql: str) -> None:
        for table in tables():
            self._db.execute(sql.format(table.name))

    def _go_on_numbering(self) -> None:
        """Let the ids of new rows follow the copied ones."""
        for table in tables():
            sequence = self._db.one(_SEQUENCE.format(table=table.name)) if "id" in table.columns else None
            if sequence:
                self._db.execute(_NEXT_ID.format(sequence=sequence, table=table.name))


@contextmanager
def leaving(handle: Handle, *, alone: bool) -> Iterator[PostgresEnd]:
    """Open a ledger as the source, in one transaction. `alone`: operators and alerts wait until it is over."""
    with handle._session() as db:
        handle._require(db, create=False)
        marks.require_whole(marks_of(db), handle)
        if alone:
            db.history = postgres_history.history(db)
        with handle.writing(db) if alone else handle.snapshot(db):
            db.execute(_PATIENT)
            if alone:
                lock(db)
            yield PostgresEnd(db, handle)


@contextmanager
def arriving(handle: Handle) -> Iterator[PostgresEnd]:
    """Open a ledger as the target. It is created if there is none."""
    with handle._session() as db:
        handle._require(db, create=True)
        db.history = postgres_history.history(db)
        yield PostgresEnd(db, handle)


__all__ = ["PostgresEnd", "arriving", "leaving"]
