"""Open a ledger's file as one end of a copy."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from sqlite_utils import Database

from syncd.ledger import file, lock, marks, place, standing, upkeep
from syncd.ledger.copying import Row, removed_by_hand
from syncd.ledger.marks import Mark, Marks
from syncd.ledger.reader import RECOTAP
from syncd.ledger.schema import MIGRATIONS
from syncd.ledger.tables import Table, tables

_KEEP = """
    INSERT INTO store (source, key, value, at) VALUES (:source, :key, :value, :at)
    ON CONFLICT (source, key) DO UPDATE SET value = excluded.value, at = excluded.at
"""
_MADE = "SELECT type, name FROM sqlite_schema WHERE type IN ('view', 'trigger', 'table') AND name NOT LIKE 'sqlite_%'"
_TRIGGERS = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name"


class FileEnd:
    """A file that is copied, or the copy."""

    def __init__(self, db: Database, path: Path) -> None:
        self._db = db
        self._path = path

    def marks(self) -> Marks:
        """Return its marks."""
        return file.marks_of(self._db)

    def went_back(self) -> bool:
        """Tell whether the lock's file knows of a later state."""
        return standing.went_back(lock.kept_standing(place.resolve(self._path)), standing.of(self._db))

    def count(self, table: Table) -> int:
        """Return the number of rows."""
        with file.explained(self._path):
            return int(self._db.execute(table.count).fetchone()[0])

    def rows(self, table: Table) -> Iterator[Sequence[Row]]:
        """Yield all rows in the order of the key, in batches."""
        with file.explained(self._path), closing(self._db.execute(table.select)) as cursor:
            while rows := cursor.fetchmany(table.batch):
                yield rows

    @contextmanager
    def filling(self, mark: Mark) -> Iterator[None]:
        """Make all tables again, and mark the file as a copy. Its triggers come last: the copied counts have them."""
        with self._rewriting():
            for kind, name in self._db.execute(_MADE).fetchall():
                self._db.execute(f"DROP {kind} IF EXISTS {name}")  # a table takes its triggers along
            for migrate in MIGRATIONS:
                migrate(self._db)
            for table in tables():
                self._db.execute(f"DELETE FROM {table.name}")  # nosec B608 # a name of the schema
            triggers = self._db.execute(_TRIGGERS).fetchall()
            for name, _ in triggers:
                self._db.execute(f"DROP TRIGGER {name}")
            self._write_mark(marks.ORIGIN, mark)
        yield
        with file.writing(self._db, self._path):
            for _, sql in triggers:
                self._db.execute(sql)

    def write(self, table: Table, rows: Sequence[Row]) -> None:
        """Write rows in one transaction. LedgerError if they refer to rows that are missing."""
        with file.writing(self._db, self._path):
            try:
                self._db.conn.executemany(table.insert, rows)
            except sqlite3.IntegrityError as error:
                raise removed_by_hand(table) from error

    def mark(self, *, moved: Mark | None = None, origin: Mark | None = None) -> None:
        """Write the marks that are given: at once, or with the transaction that is open."""
        for key, mark in ((marks.MOVED, moved), (marks.ORIGIN, origin)):
            if mark is not None:
                self._write_mark(key, mark)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read from one snapshot."""
        with file.snapshot(self._db):
            yield

    @contextmanager
    def _rewriting(self) -> Iterator[None]:
        """Run a transaction in which a table may be dropped to which another one refers."""
        self._db.execute("PRAGMA foreign_keys = OFF")
        try:
            with file.writing(self._db, self._path):
                yield
        finally:
            self._db.execute("PRAGMA foreign_keys = ON")

    def _write_mark(self, key: str, mark: Mark) -> None:
        values = {"source": RECOTAP, "key": key, "value": mark.written(), "at": mark.at}
        self._db.execute(_KEEP, values)


@contextmanager
def leaving(path: Path, *, alone: bool) -> Iterator[FileEnd]:
    """Open a file as the source, in one transaction. `alone`: operators wait until it is over."""
    db = file.view(path)
    try:
        with file.explained(path), file.writing(db, path) if alone else file.snapshot(db):
            yield FileEnd(db, path)
    finally:
        db.close()


@contextmanager
def arriving(path: Path) -> Iterator[FileEnd]:
    """Open a file as the target. It is created if there is none. An older ledger is not migrated: LedgerError."""
    db = file.view(path, unfinished_too=True) if _was_used(path) else file.create(path)
    try:
        with file.explained(path):
            db.execute(f"PRAGMA cache_size = -{file.CACHE_KIB}")
            yield FileEnd(db, path)
            upkeep.tidy(db)
    finally:
        db.close()


def _was_used(path: Path) -> bool:
    """Tell whether a ledger of any schema exists that a pass or a copy has written to.

    A kill while it was being created leaves an empty file, or the tables of an older schema.
    """
    if not file.exists(path):
        return False
    db = file.view(path, older_too=True)
    try:
        if not db.execute("PRAGMA user_version").fetchone()[0]:
            return False
        return any(db.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() for name in ("streams", "passes", "store"))  # nosec B608 # ours
    finally:
        db.close()


__all__ = ["FileEnd", "arriving", "leaving"]
