"""List the tables of a ledger, as the migrations make them. A copy takes exactly these and their columns.

Another kind of ledger has the same tables, and may have more of its own, which a copy does not take.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter

from sqlite_utils import Database

from syncd.ledger.marks import MOVED, ORIGIN
from syncd.ledger.reader import RECOTAP
from syncd.ledger.schema import MIGRATIONS

ROWS = 2000  # of a batch
LARGE_ROWS = 50  # of a batch of a table whose rows have no bound that matters for memory
LARGE = ("payloads", "store")
# The marks of a copy say something about one ledger, and are not part of another.
_NO_MARKS = f" WHERE NOT (source = '{RECOTAP}' AND key IN ('{MOVED}', '{ORIGIN}'))"


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the schema."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]  # the columns of the primary key

    @property
    def batch(self) -> int:
        """The rows that are read or written at once."""
        return LARGE_ROWS if self.name in LARGE else ROWS

    @property
    def listed(self) -> str:
        """The columns, for a statement."""
        return ", ".join(self.columns)

    @property
    def select(self) -> str:
        """The statement that reads all rows in the order of the key, which is the same in every kind of ledger."""
        return f"SELECT {self.listed} FROM {self._rows} ORDER BY {', '.join(self.key)}"  # nosec B608 # of the schema

    @property
    def count(self) -> str:
        """The statement that counts the rows of `select`."""
        return f"SELECT count(*) FROM {self._rows}"  # nosec B608 # of the schema

    @property
    def insert(self) -> str:
        """The statement that writes one row."""
        return f"INSERT INTO {self.name} ({self.listed}) VALUES ({', '.join('?' * len(self.columns))})"  # nosec B608 # of the schema

    @property
    def _rows(self) -> str:
        return self.name + (_NO_MARKS if self.name == "store" else "")


@cache
def tables() -> tuple[Table, ...]:
    """Return the tables of the newest schema, each after those that it refers to."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        db = Database(connection, execute_plugins=False)
        for migrate in MIGRATIONS:
            migrate(db)
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
        parents = {name: [row[2] for row in db.execute(f"PRAGMA foreign_key_list({name})")] for name in names}
        return tuple(_table(db, name) for name in TopologicalSorter(parents).static_order())


def _table(db: Database, name: str) -> Table:
    columns = db.execute(f"PRAGMA table_info({name})").fetchall()
    ranked = sorted((rank, column) for _, column, _, _, _, rank in columns if rank)
    return Table(name, tuple(column[1] for column in columns), tuple(column for _, column in ranked))


__all__ = ["Table", "tables"]
