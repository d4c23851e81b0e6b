"""Rewrite the tables of a ledger in PostgreSQL without what was erased.

An UPDATE or DELETE leaves the old row in place, and VACUUM may leave its bytes in the page. CLUSTER copies the living
rows into new files. Unlike VACUUM FULL it runs within a transaction, whose settings a pooler keeps.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

TABLES = (
    "pauses",
    "streams",
    "ranges",
    "store",
    "payloads",
    "past_attempts",
    "activities",
)  # that hold texts of people
LARGE = 128 * 2**20  # bytes of a table that is not rewritten beside another syncd, whose writes would wait
LOCK_S = 2  # to wait for a table. Meanwhile all others wait behind this process
READERS_S = 5  # to wait for the end of reads that began before the erasure
AGAIN_S = 0.1
READ = "another program reads the ledger, so PostgreSQL still has earlier content"

_LARGE = "SELECT relname FROM pg_class WHERE oid = to_regclass(:name) AND pg_total_relation_size(oid) > :bytes"
# A rewrite removes a dead row unless a snapshot may still see it. It notes in relfrozenxid the oldest transaction whose
# rows it kept.
_IS_CLEAN = "SELECT age(relfrozenxid) < age(:erased::xid) FROM pg_class WHERE oid = to_regclass(:name)"


def rewrite(db: Any, *, is_held: bool) -> str:
    """Rewrite the tables that hold texts of people. Return why that was not possible, or "".

    psycopg.Error if PostgreSQL fails. `is_held`: a large table stays as it is, because a pass would wait too long.
    """
    erased = db.one("SELECT pg_current_xact_id()::xid::text")  # later than each erasure
    ends = time.monotonic() + READERS_S
    while not (is_clean := _rewritten(db, TABLES[0], erased)) and time.monotonic() < ends:
        time.sleep(AGAIN_S)
    if not is_clean:
        return READ
    large = [name for name in TABLES[1:] if is_held and _is_large(db, name)]
    kept = [name for name in TABLES[1:] if name not in large and not _rewritten(db, name, erased)]
    if kept:
        return READ
    return f"too large to be rewritten while another syncd uses it: {', '.join(large)}" if large else ""


def _is_large(db: Any, name: str) -> bool:
    return db.execute(_LARGE, {"name": name, "bytes": LARGE}).fetchone() is not None


def _rewritten(db: Any, name: str, erased: str) -> bool:
    """Rewrite a table, and tell whether nothing is left that was erased in the transaction `erased` or before."""
    try:
        with _transaction(db):
            db.execute(f"SET LOCAL lock_timeout = '{LOCK_S}s'")
            db.execute(f"CLUSTER {name} USING {name}_pkey")
    except psycopg.errors.LockNotAvailable:
        return False
    return bool(db.execute(_IS_CLEAN, {"name": name, "erased": erased}).fetchone()[0])


@contextmanager
def _transaction(db: Any) -> Iterator[None]:
    db.execute("BEGIN")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a lost connection has none
            db.execute("ROLLBACK")
        raise


__all__ = ["READ", "rewrite"]
