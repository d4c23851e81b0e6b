"""Look at a ledger's file, whatever schema it has. Writes nothing."""

from sqlite_utils import Database

from syncd.ledger.schema import VERSION


class Examination:
    """Answer questions about the file that holds a ledger."""

    newest = VERSION  # the schema that this syncd uses
    tested_by = ""  # another program, if `sound` cannot tell

    def __init__(self, db: Database) -> None:
        self._db = db

    def schema(self) -> int:
        """Return the schema of the file, at most `newest`. 0: it is empty."""
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def size(self) -> int:
        """Return the bytes of the file, without its log."""
        pages, size = (self._db.execute(f"PRAGMA page_{what}").fetchone()[0] for what in ("count", "size"))
        return int(pages * size)

    def sound(self) -> bool | None:
        """Tell whether SQLite finds the file intact. Reads all of it. None if that cannot be told here."""
        return bool(self._db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")


__all__ = ["Examination"]
