"""Look after the ledger's file: its size, its free pages and its log."""

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlite_utils import Database

from syncd import files
from syncd.errors import LedgerError
from syncd.ledger import file, place

READERS_MS = 250  # to wait for readers at the end of a pass. Litestream reads all the time (seen: 5 s a pass lost)
REBUILD_MS = 5000  # to wait for readers of the log when the file was rewritten
VACUUM_PAGES = 1000  # free pages that are worth giving back at the end of a pass, and of one transaction
LARGE = 128 * 2**20  # bytes of a file that is not rewritten beside a pass: it waits 5 s (seen: 55 MB/s on a busy disk)


def size(path: Path) -> int:
    """Return the bytes of the file and its log. LedgerError if there is no file, or if it cannot be reached."""
    return sum(part.st_size for part in _parts(path))


def written_at(path: Path) -> datetime:
    """Return the time of the last write to the file or its log. LedgerError as for `size`."""
    return datetime.fromtimestamp(max(part.st_mtime for part in _parts(path)), UTC)


def _parts(path: Path) -> list[os.stat_result]:
    """Return the status of the ledger's file and of its log, which stands beside the file, not beside a link to it.

    The log may disappear at any moment.
    """
    try:
        path = place.resolve(path)
        found = [path.stat()]
    except OSError as error:
        raise LedgerError(
            f"the ledger at {path} cannot be used: {files.why(error)}",
            hint="let syncd's user enter the ledger's directory. If the ledger is gone, restore a backup",
        ) from error
    with suppress(OSError):
        found.append(path.with_name(path.name + "-wal").stat())
    return found


def tidy(db: Database) -> None:
    """Release free pages, and leave no copy of an erased payload in the log.

    A long read, such as a backup, keeps the log as it is. A later pass truncates it.
    """
    free = int(db.execute("PRAGMA freelist_count").fetchone()[0])
    for _ in range(0, free if free >= VACUUM_PAGES else 0, VACUUM_PAGES):
        # A plain execute would stop after the first page, because the pragma steps without yielding a row.
        db.conn.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
    db.execute(f"PRAGMA busy_timeout = {READERS_MS}")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    db.execute(f"PRAGMA busy_timeout = {file.BUSY_MS}")


def rebuild(db: Database, *, is_held: bool) -> str:
    """Rewrite the file and truncate its log. Return why that was not possible, or "".

    `secure_delete` overwrites what is deleted. SQLite may still have a copy between the cells of a page, where rows
    were moved. Only VACUUM removes it.
    """
    pages, page = (int(db.execute(f"PRAGMA page_{what}").fetchone()[0]) for what in ("count", "size"))
    is_large = is_held and pages * page > LARGE
    kept = "the ledger is too large to be rewritten while another syncd uses it" if is_large else ""
    if not kept:
        db.execute("VACUUM")
    db.execute(f"PRAGMA busy_timeout = {REBUILD_MS}")
    (is_busy, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return "another program reads the ledger, so its log still has earlier content" if is_busy else kept


__all__ = ["rebuild", "size", "tidy", "written_at"]
