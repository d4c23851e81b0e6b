"""Judge the file at the ledger's path before SQLite opens it by name. Nothing here changes a file.

A user who may write the ledger's directory can put another file there between this check and SQLite's open. Nothing
closes that race, because SQLite opens its files by name. Such a user could replace the ledger anyway. So only
syncd's user should be able to write the directory, and `syncd check` warns if others can.
"""

import os
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from syncd import files

BESIDE = ("-wal", "-shm", "-journal")  # SQLite opens these by name too
# One of these is in the page that holds the schema, wherever that page is. SQLite quotes the name of a renamed table.
MARKS = (b"CREATE TABLE activities", b'CREATE TABLE "activities"')
MOST_LOG = 64 * 2**20  # bytes of a write-ahead log that are searched; SQLite starts again from its top after 4 MiB
SMALLEST = 512  # bytes of a page of SQLite
LOG_HEADER, FRAME_HEADER = 32, 24  # bytes (sqlite.org/fileformat2.html, 4.1)


def resolve(path: Path) -> Path:
    """Return the ledger's real path. Its lock and its log have one name, whichever link leads there."""
    return files.resolve(path, owners=files.trusted())


def inspect(path: Path) -> os.stat_result | None:
    """Return the status of the ledger's file, or None if there is none.

    Refused unless it and the files beside it are regular, with one name (two names would have two locks), and belong
    to root, to the caller or to the owner of the directory.
    """
    try:
        owners = files.trusted() | {path.parent.stat().st_uid}
    except FileNotFoundError:
        return None
    found = _status(path, owners)
    for end in BESIDE:
        _status(path.with_name(path.name + end), owners)
    return found


def _status(path: Path, owners: Collection[int]) -> os.stat_result | None:
    try:
        with files.pinned(path) as handle:
            return files.require_regular(handle, path, owners=owners, one_name=True)
    except FileNotFoundError:
        return None


def is_ours(path: Path) -> bool | None:
    """Tell whether the file at `path` is a ledger, or empty. None if only opening it to write could tell.

    With `immutable`, SQLite takes no lock and creates nothing beside the file. It keeps the file open for as long as
    another connection of this process has a lock on it, so that no lock is dropped.
    """
    if 0 < path.stat().st_size < SMALLEST:  # SQLite treats a file of one byte as empty
        return False
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as db:
        db.execute("PRAGMA writable_schema = ON")  # otherwise it refuses a file with fewer pages than its header says
        try:
            version, application = (db.execute(f"PRAGMA {name}_{what}").fetchone()[0] for name, what in _NUMBERS)
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        except sqlite3.DatabaseError as error:
            if not error.sqlite_errorname.startswith("SQLITE_CORRUPT"):
                raise
            # The tables may be in the log alone: a kill while the log was being copied into the file.
            if _log_is_ours(path) is None:
                raise
            return None
    if version or application or tables:
        return application == 0 and version > 0 and "activities" in tables
    return _log_is_ours(path) is not False


_NUMBERS = (("user", "version"), ("application", "id"))


def _log_is_ours(path: Path) -> bool | None:
    """Tell whether the write-ahead log turns an empty file into a ledger. None if it commits nothing.

    The log may be opened and closed like any file: SQLite locks the ledger and the -shm only.
    """
    committed = None
    for commits, page in _frames(path.with_name(path.name + "-wal")):
        if any(mark in page for mark in MARKS):
            return True
        if commits:
            committed = False
    return committed


def _frames(log: Path) -> Iterator[tuple[bool, bytes]]:
    """Yield (ends a transaction, page) for each whole frame of a log."""
    try:
        handle = files.open_regular(log)
    except FileNotFoundError:
        return
    with os.fdopen(handle, "rb") as reading:
        header = reading.read(LOG_HEADER)
        size, salt = int.from_bytes(header[8:12], "big"), header[16:24]
        if len(header) < LOG_HEADER or not SMALLEST <= size <= 65536:
            return
        for _ in range(MOST_LOG // size):
            frame = reading.read(FRAME_HEADER + size)
            if len(frame) < FRAME_HEADER + size or frame[8:16] != salt:  # cut off, or of an earlier round
                return
            yield frame[4:8] != b"\0\0\0\0", frame[FRAME_HEADER:]
