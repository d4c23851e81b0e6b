"""Open, create, migrate and lock the ledger's file, and explain its faults."""

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlite_utils import Database

from syncd import files
from syncd.errors import LedgerError, LedgerHeld
from syncd.ledger import marks, place
from syncd.ledger.lock import lock_file, open_lock, sign, signature
from syncd.ledger.schema import MIGRATIONS, VERSION

BUSY_MS = 5000  # of a pass: `retry` and `forget` of another process write for milliseconds, and let it in between
OPERATOR_MS = 30_000  # of an operator's command: a busy pass leaves the file free for short moments only
MIGRATE = (
    "run `syncd sync`, or restart `syncd run`: its next pass brings the ledger up to date. Back it up before that if "
    "you may go back, because an older syncd refuses it afterwards"
)
LOOK_S = 0.01  # if a shared lock succeeds, nobody holds the ledger: another process is only checking
LOOKS = 10
CACHE_KIB = 8 * 1024  # of the file's pages in the writer's memory, however large the file is
LOOK_CACHE_KIB = 1024  # in a reader's memory. The system caches the others


def create(path: Path) -> Database:
    """Open the ledger for writing. It is created and migrated as needed. LedgerError if that fails.

    ConfigError for a ledger that `syncd ledger copy` has moved, or a copy for reading.
    """
    with explained(path), _reachable(path):
        at = place.resolve(path)
        files.make_folders(at.parent)
        _make_private(at)
        db = _connect(at)
        try:
            _set_up(db, path)
        except BaseException:
            db.close()
            raise
    return db


def _make_private(path: Path) -> None:
    """Create the file if there is none, readable by its owner alone, because it may hold payloads.

    An existing file is never opened here. Closing it would drop every lock that this process's other connections
    have on it, and the next one to close would remove the WAL under them (sqlite.org/howtocorrupt.html, 2.2).
    Its mode changes only if its content is a ledger's.
    """
    if place.inspect(path) is None:
        with suppress(FileExistsError):
            os.close(_create(path))
            return
    ours = _require_ours(path)
    with files.pinned(path) as handle:
        files.require_regular(handle, path, one_name=True)
        if ours:
            try:
                files.make_private(handle)
            except PermissionError as error:  # only its owner may change its mode: a backup put there by root
                raise files.Refused(error.strerror or "", path, remedy=files.OWNER) from error
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error


def _create(path: Path) -> int:
    """Create a file and return its descriptor. If root creates it, it belongs to the owner of the directory.

    Otherwise a pass that root starts by hand would close the ledger to the service that owns the directory.
    SQLite does the same with the WAL. If the file cannot be given away, it is removed.
    """
    handle = files.create(path)
    try:
        if os.geteuid() == 0:
            _give(handle, path)
    except BaseException:
        if _is(handle, path):
            with suppress(OSError):
                path.unlink()
        os.close(handle)
        raise
    return handle


def _give(handle: int, path: Path) -> None:
    """Give a file to the owner of its directory. Refused if root may not (no CAP_CHOWN, an NFS root_squash)."""
    owner = path.parent.stat()
    try:
        os.fchown(handle, owner.st_uid, owner.st_gid)
    except OSError as error:
        if os.fstat(handle).st_uid == owner.st_uid:
            return  # only the group differs, and it has no right to the file
        remedy = (
            f"run syncd as user {owner.st_uid}, to whom {path.parent} belongs, or let root change owners (CAP_CHOWN)"
        )
        raise files.Refused(
            f"cannot be given to user {owner.st_uid}: {files.why(error)}", path, remedy=remedy
        ) from error


def _require_ours(path: Path) -> bool:
    """Tell whether the file at `path` is certainly a ledger. LedgerError if it is certainly not."""
    ours = place.is_ours(path)
    if ours is False:
        raise _not_a_ledger(path)
    return bool(ours)


def exists(path: Path) -> bool:
    """Tell whether a ledger exists at `path`. LedgerError if that cannot be told, or if it is something else."""
    with explained(path), _reachable(path):
        at = place.resolve(path)
        return place.inspect(at) is not None and _require_ours(at) is not None


def operate(path: Path) -> Database:
    """Open an existing ledger as `view` does, for short writes that wait for a pass. Never creates one.

    ConfigError as for `create`.
    """
    db = view(path)
    try:
        marks.require_use(marks_of(db), path)
        db.execute(f"PRAGMA busy_timeout = {OPERATOR_MS}")
    except BaseException:
        db.close()
        raise
    return db


def view(path: Path, *, older_too: bool = False, unfinished_too: bool = False) -> Database:
    """Open an existing ledger for reading, of this schema unless `older_too`. Never creates one.

    LedgerError for an unfinished copy, unless one of the two is wanted.
    """
    if not exists(path):
        hint = "the first `syncd sync` makes it. See [ledger] path"
        raise LedgerError(f"there is no ledger at {path}", hint=hint)
    with explained(path), _reachable(path):
        db = _connect(place.resolve(path), cache_kib=LOOK_CACHE_KIB)
        try:
            _refuse_newer(db, path)
            _refuse_foreign(db, path)
            if not older_too:
                _refuse_older(db, path)
                if not unfinished_too:
                    marks.require_whole(marks_of(db), path)
        except BaseException:
            db.close()
            raise
    return db


def _connect(path: Path, *, cache_kib: int = CACHE_KIB) -> Database:
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1000)
    try:
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(
            "PRAGMA secure_delete = ON"
        )  # an erased payload leaves no trace in the file (FAST would, in free pages)
        connection.execute("PRAGMA synchronous = FULL")
        return Database(connection, execute_plugins=False)
    except BaseException:
        connection.close()
        raise


def _set_up(db: Database, path: Path) -> None:
    _refuse_newer(db, path)
    _refuse_foreign(db, path)
    marks.require_use(marks_of(db), path)
    if _version(db) == 0:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # must stand before the first table
    db.execute("PRAGMA journal_mode = WAL").fetchone()
    for version in range(_version(db), VERSION):
        with writing(db, path):
            MIGRATIONS[version](db)
            db.execute(f"PRAGMA user_version = {version + 1}")


def marks_of(db: Database) -> marks.Marks:
    """Return the marks of an open ledger, which may be empty."""
    return marks.in_store(db) if _version(db) else marks.Marks()


def _version(db: Database) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _refuse_newer(db: Database, path: Path) -> None:
    found = _version(db)
    if found > VERSION:
        raise LedgerError(
            f"the ledger at {path} has schema {found}, newer than this syncd's {VERSION}",
            hint="install the syncd that wrote it, or a later one. Nothing was changed",
        )


def _refuse_older(db: Database, path: Path) -> None:
    """Raise LedgerError for a ledger that a pass of this syncd has to migrate before it is read."""
    found = _version(db)
    if found == 0:
        raise LedgerError(f"the ledger at {path} is empty", hint="the next `syncd sync` fills it")
    if found < VERSION:
        message = f"the ledger at {path} is of an older syncd (schema {found}, this one reads {VERSION})"
        raise LedgerError(message, hint=MIGRATE)


def _refuse_foreign(db: Database, path: Path) -> None:
    """Raise LedgerError for another program's database, because a wrong [ledger] path must not add tables to it."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if ("activities" in tables) if _version(db) else not tables:
        return
    raise _not_a_ledger(path)


def _not_a_ledger(path: Path) -> LedgerError:
    what, hint = _HINTS["SQLITE_NOTADB"]
    return LedgerError(f"the ledger at {path} cannot be used: {what}", hint=hint)


@contextmanager
def writing(db: Database, path: Path, *, is_beside: bool = False) -> Iterator[None]:
    """Run one transaction. It is committed whole or not at all.

    `is_beside`: no hold keeps `syncd ledger copy` away, which may have moved the ledger since it was opened.
    """
    with explained(path):
        db.execute("BEGIN IMMEDIATE")
        try:
            if is_beside:
                marks.require_use(marks_of(db), path)
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.conn.in_transaction:
                db.conn.execute("ROLLBACK")
            raise


@contextmanager
def snapshot(db: Database) -> Iterator[None]:
    """Read from one snapshot, whatever another process commits meanwhile. A second one within is part of the first."""
    if db.conn.in_transaction:
        yield
        return
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("COMMIT")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into LedgerError with a hint. IntegrityError stays, because it is a bug in syncd."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.Error as error:
        raise _sqlite_error(path, error) from error


@contextmanager
def _reachable(path: Path) -> Iterator[None]:
    """Turn the system's errors into LedgerError with a hint."""
    try:
        yield
    except OSError as error:
        raise _os_error(path, error) from error


_HINTS = {
    "SQLITE_FULL": ("the disk is full", "make room. Nothing booked is lost, and the next pass goes on"),
    "SQLITE_IOERR_SHMSIZE": ("the disk is full", "make room. Nothing booked is lost, and the next pass goes on"),
    "SQLITE_READONLY": ("it is read-only", "let syncd's user write the file and its directory"),
    "SQLITE_CANTOPEN": ("it cannot be opened", "let syncd's user write the directory and the file in it"),
    "SQLITE_PERM": ("it may not be opened", "let syncd's user write the directory and the file in it"),
    "SQLITE_CORRUPT": (
        "it is damaged",
        "keep the file, restore a backup, then run `syncd sync`: what it lacks is read again",
    ),
    "SQLITE_NOTADB": ("it is not a ledger", "set [ledger] path to the ledger, or move that file away"),
    "SQLITE_BUSY": (
        "another program holds it locked",
        "end the program that has it open (`lsof` names it), then run again",
    ),
    "SQLITE_LOCKED": (
        "another program holds it locked",
        "end the program that has it open (`lsof` names it), then run again",
    ),
    "SQLITE_IOERR": ("the disk answers with errors", "look at the disk and the kernel's log. Then run again"),
}


def _sqlite_error(path: Path, error: sqlite3.Error) -> LedgerError:
    name = str(getattr(error, "sqlite_errorname", ""))
    found = next((pair for code, pair in _HINTS.items() if name.startswith(code)), None)
    what, hint = found or (f"SQLite says {name or type(error).__name__}", "run `syncd check`")
    return LedgerError(f"the ledger at {path} cannot be used: {what}", hint=hint)


def _os_error(path: Path, error: OSError) -> LedgerError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what, hint = _HINTS["SQLITE_FULL"]
    else:
        what = f"{files.why(error)} ({error.filename or path})"
        hint = getattr(error, "remedy", "")
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises if a directory above is closed
            hint = f"set [ledger] path to a file, e.g. {path / 'ledger.db'}. Nothing was changed"
        hint = hint or "let syncd's user write there, or set [ledger] path to a place where it can"
    return LedgerError(f"the ledger at {path} cannot be used: {what}", hint=hint)


@contextmanager
def held(path: Path, command: str) -> Iterator[Callable[[], bool]]:
    """Hold the ledger for `command`. LedgerHeld at once, with the holder's name, if another process holds it.

    Yields a function that tells whether it is still held. It is not if somebody has removed the lock's file.

    The lock is the kernel's (flock on `<ledger>.lock`), so a killed holder leaves nothing behind.
    """
    with explained(path), _reachable(path):
        at = place.resolve(path)  # one file has one lock, whichever link led here
        files.make_folders(at.parent)
        if place.inspect(at) is not None:
            _require_ours(at)  # otherwise the lock would be created beside another program's file
        handle = _lock(at)
    try:
        sign(handle, {"pid": os.getpid(), "command": command})
        yield lambda: _is(handle, lock_file(at))
    finally:
        sign(handle, {})
        os.close(handle)


def holder(path: Path) -> str | None:
    """Return the holder of the ledger, e.g. "`syncd run`, process 12", or None if it is free.

    This shares the lock for an instant. `held` can tell that from a holder, and waits until it is over.
    """
    with _reachable(path):
        try:
            handle = open_lock(lock_file(place.resolve(path)), os.O_RDONLY)
        except FileNotFoundError:
            return None
    try:
        return (signature(handle) or "another syncd") if _is_held(handle) else None
    finally:
        os.close(handle)


def require_lock(path: Path) -> None:
    """Raise LedgerError if a lock exists that the caller cannot open as a pass does. Changes nothing."""
    with _reachable(path), suppress(FileNotFoundError):
        os.close(open_lock(lock_file(place.resolve(path)), os.O_RDWR))


def _is_held(handle: int) -> bool:
    """Tell whether another process has the lock, by trying to share it for an instant."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(handle, fcntl.LOCK_UN)
    return False


def _lock(path: Path) -> int:
    """Return a descriptor that has the lock. LedgerHeld if another process has it."""
    lock = lock_file(path)
    looks_left = LOOKS
    while True:
        try:
            handle = _create(lock)
        except FileExistsError:
            try:
                handle = open_lock(lock, os.O_RDWR)
            except FileNotFoundError:
                continue  # somebody removed it meanwhile
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(handle, lock):
                return handle
        except BlockingIOError:
            who = signature(handle) or "another syncd"
            if _is_held(handle) or not looks_left:
                os.close(handle)
                raise _held_by(path, who) from None
            looks_left -= 1
            time.sleep(LOOK_S)
        os.close(handle)  # somebody removed the file meanwhile: that lock keeps no process out


def _is(handle: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), lock.lstat())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # unknown. The next use of the ledger reports the error


def _held_by(path: Path, who: str) -> LedgerHeld:
    return LedgerHeld(
        f"the ledger at {path} is held by {who}", hint="let it finish, or stop it. Two at once would not be safe"
    )
