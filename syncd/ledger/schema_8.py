"""Bring a ledger to schema 8: people who were forgotten, and ranges that are read from their end."""

V8 = (
    # People who are left out from now on, each as a keyed hash of the address (the key is in `store`).
    """
    CREATE TABLE forgotten (
        hash TEXT PRIMARY KEY,
        at   TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    # 1: the newest records first. Then read_to moves down from `until`, a slice at a time.
    "ALTER TABLE ranges ADD COLUMN newest_first INTEGER NOT NULL DEFAULT 0",
)
