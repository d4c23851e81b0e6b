"""Read the marks of a ledger in PostgreSQL, which stand in its table `meta`."""

from typing import Any

from syncd.ledger import marks

_READ = "SELECT moved, origin FROM meta"


def marks_of(db: Any) -> marks.Marks:
    """Return the marks of an open ledger."""
    return marks.marks_of(*db.execute(_READ).fetchone())


def locked_marks(db: Any) -> marks.Marks:
    """Return the marks, which stay so until the transaction ends. This waits for a copy that is under way."""
    return marks.marks_of(*db.execute(f"{_READ} FOR SHARE").fetchone())


def lock(db: Any) -> None:
    """Keep out all who ask for `locked_marks`, until the transaction ends."""
    db.execute(f"{_READ} FOR UPDATE")


__all__ = ["lock", "locked_marks", "marks_of"]
