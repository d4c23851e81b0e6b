"""Look at a ledger in PostgreSQL, and describe it for whoever looks for a fault in it. Writes nothing."""

from typing import Any

from syncd.ledger.diagnosis import Diagnosis
from syncd.ledger.examination import Examination
from syncd.ledger.postgres_session import nothing

SIZE = """
    SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
    WHERE relkind = 'r' AND relnamespace = to_regnamespace(current_schema())
"""
_COLUMNS = """
    SELECT 'CREATE TABLE ' || table_name || ' (' || string_agg(column_name || ' ' || data_type
        || CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END, ', ' ORDER BY ordinal_position) || ')'
    FROM information_schema.columns WHERE table_schema = current_schema() GROUP BY table_name ORDER BY table_name
"""
_INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY indexname"
_TUPLES = """
    SELECT relname, n_live_tup, n_dead_tup FROM pg_stat_user_tables
    WHERE schemaname = current_schema() ORDER BY relname
"""
SETTINGS = ("server_version", "synchronous_commit", "server_encoding", "default_transaction_isolation")


class PostgresExamination(Examination):
    """Answer questions about the tables of a ledger."""

    tested_by = "pg_amcheck of PostgreSQL"

    def schema(self) -> int:
        """Return the schema of the ledger, at most `newest`."""
        return int(self._db.execute("SELECT schema_version FROM meta").fetchone()[0])

    def size(self) -> int:
        """Return the bytes of the tables and indexes."""
        return int(self._db.execute(SIZE).fetchone()[0])

    def sound(self) -> bool | None:
        """Return None: no statement tells it."""
        return None


class PostgresDiagnosis(Diagnosis):
    """Describe the ledger's tables, their sizes and the plans of its statements."""

    def schema(self) -> list[str]:
        """Return each table with its columns, and the SQL of each index."""
        return [text for sql in (_COLUMNS, _INDEXES) for (text,) in self._db.execute(sql)]

    def sizes(self) -> dict[str, Any]:
        """Return PostgreSQL's version and settings, the size of the ledger, and the rows of its tables."""
        tables = {name: {"live": live, "dead": dead} for name, live, dead in self._db.execute(_TUPLES)}
        return {
            **{name: self._one(f"SELECT current_setting('{name}')") for name in SETTINGS},
            "bytes": self.handle.size(),
            "tables": tables,
        }

    def _plan(self, sql: str) -> list[str]:
        return [row[0] for row in self._db.execute(f"EXPLAIN {sql}", nothing(sql))]


__all__ = ["SIZE", "PostgresDiagnosis", "PostgresExamination"]
