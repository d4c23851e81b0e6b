"""Name a ledger. The rest of syncd passes this handle around instead of a path or an address."""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

from sqlite_utils import Database

from syncd.errors import ConfigError, LedgerHeld
from syncd.ledger import file, lock, marks, place, standing, upkeep
from syncd.ledger.alerting import Alerting
from syncd.ledger.comparison import Comparison
from syncd.ledger.diagnosis import Diagnosis
from syncd.ledger.examination import Examination
from syncd.ledger.forgetting import Forget, Rest
from syncd.ledger.lanes import Hold
from syncd.ledger.operator import Operator
from syncd.ledger.persistent import PersistentReader
from syncd.ledger.reader import LedgerReader
from syncd.ledger.reports import Reports
from syncd.ledger.sealed import Cipher
from syncd.ledger.writing import Ledger

if TYPE_CHECKING:
    from syncd.ledger.copying import End
    from syncd.ledger.postgres import Password, PostgresLedger
    from syncd.ledger.postgres_keys import Reference
    from syncd.ledger.postgres_rekeying import Rekeying

Opened = TypeVar("Opened")


class Settings(Protocol):
    """The table [ledger] of the configuration."""

    @property
    def path(self) -> Path:
        """Return the path of the ledger's file, links followed."""

    @property
    def url(self) -> str:
        """Return the address of a ledger in PostgreSQL, without a password. "": it is a file."""

    @property
    def password(self) -> "Password | None":
        """Return the reference to the password of the user in `url`, if any."""

    @property
    def master_key(self) -> "Reference | Literal['none'] | None":
        """Return the reference to the key that encrypts payloads and values. Otherwise they stay readable."""


@dataclass(frozen=True, slots=True)
class LedgerHandle:
    """Name one ledger, open or not. Handles of the same ledger are equal."""

    path: Path  # of the SQLite file; only the modules that look after the file read it
    _is_beside: bool = field(default=False, compare=False, repr=False)  # opened for short writes, without a hold

    def __str__(self) -> str:
        return str(self.path)

    # -- its contents -------------------------------------------------------------------

    def open(self) -> AbstractContextManager[Ledger]:
        """Open the ledger for writing, and create or migrate it as needed. Call only while it is held.

        LedgerError if that fails.
        """
        return self._opened(file.create, Ledger)

    def read(self) -> AbstractContextManager[LedgerReader]:
        """Open an existing ledger for reading, in any thread. LedgerError if there is none, or if it is unusable."""
        return self._opened(file.view, LedgerReader)

    def reports(self) -> AbstractContextManager[Reports]:
        """Open an existing ledger for an operator's questions. LedgerError as for `read`."""
        return self._opened(file.view, Reports)

    def examine(self) -> AbstractContextManager[Examination]:
        """Open an existing ledger, perhaps of an older schema, to look at the file. LedgerError as for `read`."""
        return self._opened(partial(file.view, older_too=True), lambda db, _: Examination(db))

    def compare(self) -> AbstractContextManager[Comparison]:
        """Open an existing ledger for a comparison with its CRMs. LedgerError as for `read`."""
        return self._opened(file.view, Comparison)

    def operate(self) -> AbstractContextManager[Operator]:
        """Open an existing ledger for an operator's short writes, which need no hold. LedgerError as for `read`."""
        return replace(self, _is_beside=True)._opened(file.operate, Operator)

    def alerting(self) -> AbstractContextManager[Alerting]:
        """Open an existing ledger for the alerts, which need no hold. LedgerError as for `read`."""
        return replace(self, _is_beside=True)._opened(file.operate, Alerting)

    def diagnose(self) -> AbstractContextManager[Diagnosis]:
        """Open an existing ledger for a report on itself. LedgerError as for `read`."""
        return self._opened(file.view, Diagnosis)

    def forget(self) -> AbstractContextManager[Forget]:
        """Open an existing ledger to erase a person, which needs no hold. LedgerError as for `read`."""
        return replace(self, _is_beside=True)._opened(file.operate, Forget)

    def rekeying(self) -> AbstractContextManager["Rekeying"]:
        """Raise ConfigError: the file is not encrypted. LedgerError as for `read`."""
        with self.read():
            message = f"the ledger at {self} is a file, which has no master key"
            raise ConfigError(message=message, hint="nothing: syncd encrypts only a ledger in PostgreSQL")

    def persistent(self) -> PersistentReader:
        """Return a reader for the life of a process. The ledger need not exist yet."""
        return PersistentReader(self)

    def leaving(self, *, alone: bool) -> AbstractContextManager["End"]:
        """Open an existing ledger to copy it, in one transaction. `alone`: no other process may write meanwhile."""
        from syncd.ledger import file_copying  # for one command alone

        return file_copying.leaving(self.path, alone=alone)

    def arriving(self) -> AbstractContextManager["End"]:
        """Open the ledger to write a copy into it, and create it as needed. Call only while it is held."""
        from syncd.ledger import file_copying

        return file_copying.arriving(self.path)

    # -- its holder ---------------------------------------------------------------------

    @contextmanager
    def hold(self, command: str, sources: Collection[str] | None = None) -> Iterator[Hold]:
        """Hold the whole ledger for `command`, whatever `sources` are named. LedgerHeld if another process has it."""
        with file.held(self.path, command) as is_held:
            yield Hold(self, is_held)

    def replica(self, command: str) -> AbstractContextManager[Any] | None:
        """Return None: one process at a time works on a file."""
        return None

    def holder(self) -> str | None:
        """Return the command and process that hold the ledger, or None if it is free."""
        return file.holder(self.path)

    def require_lock(self) -> None:
        """Raise LedgerError if a lock exists that the caller cannot open as a pass does. Changes nothing."""
        file.require_lock(self.path)

    def is_trusted(self) -> bool:
        """Return True: a lock does not run out while its process lives."""
        return True

    def require_use(self) -> None:
        """Raise the error with which a pass refuses an existing ledger that was moved, or that is a copy."""
        with self._opened(partial(file.view, older_too=True), lambda db, _: file.marks_of(db)) as found:
            marks.require_use(found, self)

    def lost(self) -> LedgerHeld:
        """Return the error for a holder whose lock was removed."""
        return LedgerHeld(
            f"the lock of {self} was removed: another syncd may be at work",
            hint="never remove <ledger>.lock. syncd exits, so that its supervisor starts it again",
        )

    # -- its place ----------------------------------------------------------------------

    def exists(self) -> bool:
        """Tell whether the ledger exists. LedgerError if that cannot be told, or if it is something else."""
        return file.exists(self.path)

    def is_gone(self) -> bool:
        """Tell whether nothing at all stands in the ledger's place."""
        return not os.path.lexists(self._real_path())

    def obstacle(self) -> tuple[str, str] | None:
        """Return the reason why a first pass could not create the ledger with the remedy, or None."""
        parent = self._parent()
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            return None
        hint = "let syncd's user write there, or set [ledger] path to a place where it can"
        return f"{parent} is not writable", hint

    def free_bytes(self) -> int | None:
        """Return the free space of the file system that holds the ledger, or will. None if that cannot be told."""
        try:
            found = os.statvfs(self._parent())
        except OSError:
            return None
        return found.f_bavail * found.f_frsize

    def identity(self) -> tuple[int, int] | None:
        """Return a value that changes if another ledger takes this one's place. None if there is none."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def private_files(self) -> dict[Path, str]:
        """Return the files that only their owner may use, each with the harm if others can."""
        path = self._real_path()
        whoever = "whoever opens it can keep syncd from working"
        return {path: "the next pass closes it", lock.lock_file(path): whoever}

    def folder(self) -> Path | None:
        """Return the directory in which others could replace the ledger. None if it is not a file."""
        return self._real_path().parent

    # -- for this package ---------------------------------------------------------------

    def _real_path(self) -> Path:
        """Return the path without links, beside which the log and the lock stand. An invalid path stays as it is."""
        try:
            return place.resolve(self.path)
        except OSError:
            return self.path

    def _parent(self) -> Path:
        """Return the directory of the ledger, or the nearest one above that exists."""
        return next(each for each in self._real_path().absolute().parents if each.exists())

    def explained(self) -> AbstractContextManager[None]:
        """Turn the database's errors into LedgerError with a hint. IntegrityError stays, because it is a bug."""
        return file.explained(self.path)

    def writing(self, db: Database) -> AbstractContextManager[None]:
        """Run one transaction. It is committed whole or not at all. LedgerError if the database fails."""
        return file.writing(db, self.path, is_beside=self._is_beside)

    def scope(self) -> tuple[str, ...] | None:
        """Return None: who holds the ledger writes the rows of all sources."""
        return None

    def fleet(self, db: Database) -> dict[str, list[dict[str, Any]]]:
        """Return no `lanes` and no `replicas` for `syncd status --json`: a file has one writer."""
        return {"lanes": [], "replicas": []}

    def wake(self, db: Database, sources: Collection[str] | None) -> None:
        """Do nothing: the daemon looks for requests by itself."""

    def wake_owners(self, db: Database, ids: Sequence[int]) -> None:
        """Do nothing, as for `wake`."""

    def new_ids(self, db: Database, count: int) -> Sequence[int]:
        """Return the ids of `count` new activities. Call it in the transaction that adds them."""
        first = int(db.execute("SELECT coalesce(max(id), 0) + 1 FROM activities").fetchone()[0])
        return range(first, first + count)

    def next_post(self, db: Database) -> int:
        """Return the id of the next POST."""
        return int(db.execute("SELECT coalesce(max(id), 0) + 1 FROM posts").fetchone()[0])

    def shared_key(self, db: Database) -> None:
        """Return None: a file has one writer, which has the key for itself."""

    def went_back(self, db: Database) -> bool:
        """Tell whether the lock's file knows of a later state of this ledger."""
        return standing.went_back(lock.kept_standing(self._real_path()), standing.of(db))

    def take_history(self, db: Database) -> bool:
        """Return True: no other process is at work."""
        return True

    def remember(self, db: Database) -> None:
        """Keep in the lock's file how far the ledger is. LedgerError if the ledger fails."""
        if not standing.of(db).ledger:
            with self.writing(db):
                standing.name(db)
        with self.explained():
            lock.keep_standing(self._real_path(), standing.of(db))

    def snapshot(self, db: Database) -> AbstractContextManager[None]:
        """Read from one snapshot, whatever another process commits meanwhile."""
        return file.snapshot(db)

    def cipher(self, db: Database) -> Cipher | None:
        """Return None: `secure_delete` overwrites erased payloads, and only its owner can read the file."""

    def size(self) -> int:
        """Return the bytes of the file and its log. LedgerError if there is none."""
        return upkeep.size(self.path)

    def written_at(self) -> datetime:
        """Return the time of the last write to the file or its log. LedgerError if there is none."""
        return upkeep.written_at(self.path)

    def tidy(self, db: Database) -> None:
        """Release free pages, and truncate the log, which may hold erased payloads. LedgerError if that fails."""
        with self.explained():
            upkeep.tidy(db)

    def rebuild(self, db: Database, *, is_held: bool) -> str:
        """Rewrite the file without what was erased. Return why that was not possible, or ""."""
        with self.explained():
            return upkeep.rebuild(db, is_held=is_held)

    def rest(self) -> Rest:
        """Return in words where erased content may stay."""
        return Rest("the file", "syncd run, litestream, sqlite3", "lsof", "backups of the ledger")

    @contextmanager
    def _opened(
        self, database: Callable[[Path], Database], kind: Callable[[Database, "LedgerHandle"], Opened]
    ) -> Iterator[Opened]:
        db = database(self.path)
        try:
            with file.explained(self.path):
                yield kind(db, self)
        finally:
            db.close()


AnyLedger: TypeAlias = "LedgerHandle | PostgresLedger"  # each kind of ledger that `chosen` may return


def chosen(settings: Settings) -> AnyLedger:
    """Return the ledger that [ledger] names. Only this function chooses the kind of ledger."""
    if not settings.url:
        return LedgerHandle(settings.path)
    from syncd.ledger.postgres import PostgresLedger  # imports psycopg, which belongs to the extra `postgres`

    key = settings.master_key
    return PostgresLedger(settings.url, settings.password, master_key=None if isinstance(key, str) else key)
