"""Describe a ledger to whoever looks for a fault in it, without a row's own data."""

from datetime import datetime
from typing import Any

from syncd.ledger.examination import Examination
from syncd.ledger.lists import Filter
from syncd.ledger.reports import Reports
from syncd.lifecycle.states import State

SIZES = ("page_size", "page_count", "freelist_count", "auto_vacuum", "journal_mode", "user_version")


class Diagnosis(Reports):
    """Describe the ledger's schema, its size and the plans of its statements."""

    def schema(self) -> list[str]:
        """Return the SQL of each table, index, view and trigger, tables first."""
        sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type <> 'table', type, name"
        return [statement for (statement,) in self._db.execute(sql)]

    def sizes(self) -> dict[str, Any]:
        """Return SQLite's version and figures, the size of the file with its log, and its soundness."""
        found = {name: self._one(f"PRAGMA {name}") for name in SIZES}
        return {
            "sqlite": self._one("SELECT sqlite_version()"),
            **found,
            "bytes": self.handle.size(),
            "intact": Examination(self._db).sound(),
        }

    def plans(self, now: datetime) -> dict[str, list[str]]:
        """Return the plan of each statement of `status`, `list`, `failures` and of the look-ups, by statement."""
        statements: dict[str, None] = {}
        with self._db.tracer(lambda sql, _: statements.setdefault(sql)):
            self.status(version="", now=now)
            self.activities(Filter(states=[State.DEAD]), limit=1)
            self.failures()
            self.next_send_at()
            for name in self.sources_with_rows():
                self.due_look_ups(name, "calls", now=now, limit=1)
        return {sql: self._plan(sql) for sql in statements if sql.lstrip().upper().startswith(("SELECT", "WITH"))}

    def _plan(self, sql: str) -> list[str]:
        return [row[3] for row in self._db.execute(f"EXPLAIN QUERY PLAN {sql}", _Nothing())]


class _Nothing(dict[str, None]):
    """Bind NULL to every name, because a plan does not depend on the values."""

    def __missing__(self, key: str) -> None:
        return None


__all__ = ["Diagnosis"]
