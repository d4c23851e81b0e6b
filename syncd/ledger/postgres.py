"""Open, create and explain a ledger in PostgreSQL. Only this module and `postgres_session` import psycopg."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg

from syncd.errors import LedgerError
from syncd.ledger.alerting import Alerting
from syncd.ledger.comparison import Comparison
from syncd.ledger.forgetting import Forget
from syncd.ledger.operator import Operator
from syncd.ledger.persistent import PersistentReader
from syncd.ledger.postgres_lease import Lease, fence, held, holder_of
from syncd.ledger.postgres_schema import STATEMENTS
from syncd.ledger.postgres_session import Session
from syncd.ledger.reader import LedgerReader
from syncd.ledger.reports import Reports
from syncd.ledger.schema import VERSION
from syncd.ledger.writing import Ledger

Opened = TypeVar("Opened")
SETTINGS = "-c idle_in_transaction_session_timeout=10s -c lock_timeout=30s -c client_min_messages=warning"
_HINTS = {
    "53100": ("its disk is full", "make room. Nothing booked is lost, and the next pass goes on"),
    "25006": ("it is read-only", "let [ledger] url name the primary"),
    "28P01": ("the password is wrong", "see [ledger] password"),
    "3D000": ("there is no such database", "create it, e.g. with createdb"),
    "42501": ("its user may not do that", "let syncd's user create tables in its schema"),
}


def connect(url: str) -> Session:
    """Return a connection of its own, which commits each statement unless a transaction is open."""
    return Session(psycopg.connect(url, autocommit=True, options=SETTINGS, connect_timeout=10))


@dataclass(frozen=True, slots=True)
class PostgresLedger:
    """Name one ledger in PostgreSQL. Handles of the same ledger are equal."""

    url: str
    schema: str = "public"

    def __str__(self) -> str:
        return f"{self.url}#{self.schema}"

    def open(self) -> AbstractContextManager[Ledger]:
        """Open the ledger for writing, and create it as needed. LedgerError if that fails."""
        return self._opened(Ledger, create=True)

    def read(self) -> AbstractContextManager[LedgerReader]:
        """Open an existing ledger for reading, in any thread. LedgerError if there is none, or if it is unusable."""
        return self._opened(LedgerReader)

    def reports(self) -> AbstractContextManager[Reports]:
        """Open an existing ledger for an operator's questions. LedgerError as for `read`."""
        return self._opened(Reports)

    def compare(self) -> AbstractContextManager[Comparison]:
        """Open an existing ledger for a comparison with its CRMs. LedgerError as for `read`."""
        return self._opened(Comparison)

    def operate(self) -> AbstractContextManager[Operator]:
        """Open an existing ledger for an operator's short writes. LedgerError as for `read`."""
        return self._opened(Operator)

    def alerting(self) -> AbstractContextManager[Alerting]:
        """Open an existing ledger for the alerts. LedgerError as for `read`."""
        return self._opened(Alerting)

    def forget(self) -> AbstractContextManager[Forget]:
        """Open an existing ledger to erase a person. LedgerError as for `read`."""
        return self._opened(Forget)

    def persistent(self) -> PersistentReader:
        """Return a reader for the life of a process. The ledger need not exist yet."""
        return PersistentReader(self)

    def identity(self) -> tuple[int, int] | None:
        """Return a value that changes if another ledger takes this one's place. None if there is none."""
        with self._session() as db:
            found = db.execute("SELECT oid::bigint FROM pg_class WHERE oid = to_regclass('meta')").fetchone()
        return None if found is None else (int(found[0]), 0)

    @contextmanager
    def hold(self, command: str) -> Iterator[Callable[[], bool]]:
        """Hold the ledger for `command`, and yield a function that tells whether the lease may be trusted.

        LedgerHeld at once if another process has it. The ledger is created if there is none.
        """
        with self._session() as db:
            self._require(db, create=True)
        with self.explained(), held(self._connect, command, str(self)) as lease:
            _HELD[self] = lease
            try:
                yield lease.is_held
            finally:
                del _HELD[self]

    def holder(self) -> str | None:
        """Return the command and process that hold the ledger, or None if it is free."""
        with self._session() as db:
            return None if self._version(db) is None else holder_of(db)

    def exists(self) -> bool:
        """Tell whether the ledger exists. LedgerError if that cannot be told."""
        with self._session() as db:
            return self._version(db) is not None

    # -- for this package ---------------------------------------------------------------

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn psycopg's errors into LedgerError with a hint. IntegrityError stays, because it is a bug in syncd."""
        try:
            yield
        except psycopg.IntegrityError:
            raise
        except psycopg.Error as error:
            what, hint = _HINTS.get(error.sqlstate or "", (f"PostgreSQL says {error.sqlstate}", "run `syncd check`"))
            raise LedgerError(f"the ledger at {self} cannot be used: {what}", hint=hint) from error

    @contextmanager
    def writing(self, db: Any) -> Iterator[None]:
        """Run one transaction, which no other writer is within. It is committed whole or not at all."""
        with self.explained():
            db.execute("BEGIN")
            try:
                fence(db, _HELD.get(self), str(self))
                yield
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self, db: Any) -> Iterator[None]:
        """Read from one snapshot, whatever another process commits meanwhile."""
        if db.in_transaction:
            yield
            return
        db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        try:
            yield
        finally:
            db.execute("COMMIT")

    def size(self) -> int:
        """Return the bytes of the ledger's tables and indexes."""
        sql = """
            SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
            WHERE relkind = 'r' AND relnamespace = to_regnamespace(current_schema())
        """
        with self._session() as db:
            return int(db.one(sql))

    def written_at(self) -> datetime:
        """Return the database's present time: it does not keep when it was written."""
        with self._session() as db:
            at: datetime = db.one("SELECT clock_timestamp()")
        return at.astimezone(UTC)

    def tidy(self, db: Any) -> None:
        """Leave free space to autovacuum."""

    def rebuild(self, db: Any, *, is_held: bool) -> str:
        """Rewrite the tables that held personal data. Copies in the write-ahead log and in backups stay."""
        with self.explained():
            db.execute("VACUUM FULL payloads")
        return ""

    def _connect(self) -> Session:
        db = connect(self.url)
        db.execute(f'SET search_path = "{self.schema}"')
        return db

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with self.explained():
            db = self._connect()
            try:
                yield db
            finally:
                db.close()

    @contextmanager
    def _opened(self, kind: Callable[[Any, Any], Opened], *, create: bool = False) -> Iterator[Opened]:
        with self._session() as db:
            self._require(db, create=create)
            yield kind(db, self)

    def _require(self, db: Session, *, create: bool) -> None:
        version = self._version(db)
        if version is None and create:
            with _transaction(db):
                for statement in STATEMENTS:
                    db.execute(statement)
        elif version is None:
            raise LedgerError(f"there is no ledger at {self}", hint="the first `syncd sync` makes it")
        elif version != VERSION:
            raise LedgerError(f"the ledger at {self} has schema {version}", hint="use the syncd that wrote it")

    def _version(self, db: Session) -> int | None:
        if db.one("SELECT to_regclass('meta')") is None:
            return None
        return int(db.one("SELECT schema_version FROM meta"))


@contextmanager
def _transaction(db: Session) -> Iterator[None]:
    db.execute("BEGIN")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


_HELD: dict[PostgresLedger, Lease] = {}  # the ledgers that this process holds

__all__ = ["PostgresLedger", "connect"]
