"""Open, create and hold a ledger in PostgreSQL. psycopg is imported by the modules `postgres*` alone."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from syncd.errors import LedgerError, LedgerHeld
from syncd.ledger import postgres_history
from syncd.ledger.alerting import Alerting
from syncd.ledger.comparison import Comparison
from syncd.ledger.diagnosis import Diagnosis
from syncd.ledger.examination import Examination
from syncd.ledger.forgetting import Forget, Rest
from syncd.ledger.lanes import Hold
from syncd.ledger.marks import require_use, require_whole
from syncd.ledger.operator import Operator
from syncd.ledger.persistent import PersistentReader
from syncd.ledger.postgres_alerting import PostgresAlerting
from syncd.ledger.postgres_comparison import PostgresComparison, empty_list
from syncd.ledger.postgres_connection import Password, connect
from syncd.ledger.postgres_erasure import rewrite
from syncd.ledger.postgres_errors import explanation
from syncd.ledger.postgres_fleet import fleet
from syncd.ledger.postgres_key import PostgresKey
from syncd.ledger.postgres_keys import PostgresCipher, Reference
from syncd.ledger.postgres_lease import WAKE, WAKE_OWNERS, WAKE_SENDERS, Lease, fence, held, holder_of, taken
from syncd.ledger.postgres_looking import SIZE, PostgresDiagnosis, PostgresExamination
from syncd.ledger.postgres_marks import locked_marks, marks_of
from syncd.ledger.postgres_rekeying import Rekeying
from syncd.ledger.postgres_replica import Replica, replica
from syncd.ledger.postgres_schema import STATEMENTS
from syncd.ledger.postgres_session import Session
from syncd.ledger.reader import LedgerReader
from syncd.ledger.reports import Reports
from syncd.ledger.schema import VERSION
from syncd.ledger.writing import Ledger
from syncd.types import postgres_url

if TYPE_CHECKING:
    from syncd.ledger.copying import End

Opened = TypeVar("Opened")
# From the table itself: within a transaction, to_regclass may answer from a cache that does not know of other commits.
_IS_MADE = """
    SELECT EXISTS (SELECT 1 FROM pg_class WHERE relname = 'meta' AND relnamespace = to_regnamespace(current_schema()))
"""
_MAY_CREATE = "SELECT has_schema_privilege(current_schema(), 'CREATE')"


@dataclass(frozen=True, slots=True)
class PostgresLedger:
    """Name one ledger in PostgreSQL. Handles of the same ledger are equal."""

    url: str  # as [ledger] names it; only this module reads it
    password: Password | None = None
    lease: Lease | None = field(default=None, compare=False, repr=False)  # of the lanes that this process holds
    is_beside: bool = field(default=False, compare=False, repr=False)  # writes only what no pass writes
    master_key: Reference | None = field(default=None, compare=False)  # outside the database; None: nothing is sealed

    def __str__(self) -> str:
        return postgres_url.shown(self.url)

    # -- its contents -------------------------------------------------------------------

    def open(self) -> AbstractContextManager[Ledger]:
        """Open the ledger for writing, and create it as needed. LedgerError if that fails.

        ConfigError if it is encrypted with another key, or if `syncd ledger copy` has moved it.
        """
        return self._opened(_begun, create=True, writes=True)

    def read(self) -> AbstractContextManager[LedgerReader]:
        """Open an existing ledger for reading, in any thread. LedgerError if there is none, or if it is unusable."""
        return self._opened(LedgerReader)

    def reports(self) -> AbstractContextManager[Reports]:
        """Open an existing ledger for an operator's questions. LedgerError as for `read`."""
        return self._opened(Reports)

    def examine(self) -> AbstractContextManager[Examination]:
        """Open an existing ledger to look at its tables. LedgerError as for `read`."""
        return self._opened(lambda db, _: PostgresExamination(db))

    @contextmanager
    def compare(self) -> Iterator[Comparison]:
        """Open an existing ledger for a comparison with its CRMs. LedgerError as for `read`."""
        with empty_list() as ids, self._opened(lambda db, _: PostgresComparison(db, self, ids)) as comparison:
            yield comparison

    def operate(self) -> AbstractContextManager[Operator]:
        """Open an existing ledger for an operator's short writes. LedgerError as for `read`."""
        return self._opened(Operator, writes=True)

    def alerting(self) -> AbstractContextManager[Alerting]:
        """Open an existing ledger for the alerts. LedgerError as for `read`."""
        return replace(self, lease=None, is_beside=True)._opened(PostgresAlerting, writes=True)

    def diagnose(self) -> AbstractContextManager[Diagnosis]:
        """Open an existing ledger for a report on itself. LedgerError as for `read`."""
        return self._opened(PostgresDiagnosis)

    def forget(self) -> AbstractContextManager[Forget]:
        """Open an existing ledger to erase a person. LedgerError as for `read`."""
        return self._opened(Forget, writes=True)

    @contextmanager
    def rekeying(self) -> Iterator[Rekeying]:
        """Hold and open an existing ledger to change its master key. LedgerHeld if another process holds it.

        ConfigError if none is configured, or if it cannot be read. LedgerError as for `read`.
        """
        with self._session() as db:
            self._require(db, create=False)
        with self.hold("ledger rekey") as held, held.ledger._opened(Rekeying) as found:
            yield found

    def persistent(self) -> PersistentReader:
        """Return a reader for the life of a process. The ledger need not exist yet."""
        return PersistentReader(self)

    def leaving(self, *, alone: bool) -> AbstractContextManager["End"]:
        """Open an existing ledger to copy it, in one transaction. `alone`: no other process may write meanwhile."""
        from syncd.ledger import postgres_copying  # for one command alone

        return postgres_copying.leaving(self, alone=alone)

    def arriving(self) -> AbstractContextManager["End"]:
        """Open the ledger to write a copy into it, and create it as needed. Call only while it is held."""
        from syncd.ledger import postgres_copying

        return postgres_copying.arriving(self)

    # -- its holder ---------------------------------------------------------------------

    @contextmanager
    def hold(self, command: str, sources: Collection[str] | None = None) -> Iterator[Hold]:
        """Hold the lanes of `sources` for `command`, or the whole ledger if None.

        LedgerHeld if another process holds one of them. The ledger is created if there is none.
        """
        with self._session() as db:
            self._require(db, create=True)
        with self.explained(), held(self.connected, command, str(self), sources) as lease:
            yield Hold(self.under(lease), lease.is_held)

    @contextmanager
    def replica(self, command: str) -> Iterator[Replica]:
        """Take part in the work on the ledger: take its lanes one by one. The ledger is created if there is none."""
        with self._session() as db:
            self._require(db, create=True)
            require_use(marks_of(db), self)
        with replica(self, command) as one:
            yield one

    def under(self, lease: Lease) -> "PostgresLedger":
        """Return the ledger as the holder of `lease` opens it."""
        return replace(self, lease=lease)

    def holder(self) -> str | None:
        """Return the command and process that hold the ledger, or None if it is free."""
        with self._session() as db:
            return None if self._version(db) is None else holder_of(db)

    def require_lock(self) -> None:
        """Raise LedgerError if PostgreSQL cannot be used, or takes no writes. Changes nothing."""
        with self._session() as db:
            if db.one("SHOW transaction_read_only") == "on":
                raise psycopg.errors.ReadOnlySqlTransaction

    def is_trusted(self) -> bool:
        """Tell whether the last renewal is recent enough to rely on the lease, without asking PostgreSQL."""
        return self.lease is None or self.lease.is_held()

    def require_use(self) -> None:
        """Raise the error with which a pass refuses an existing ledger that was moved, or that is a copy."""
        with self._session() as db:
            require_use(marks_of(db), self)

    def lost(self) -> LedgerHeld:
        """Return the error for a holder that may no longer trust its lease."""
        return taken(str(self))

    # -- its place ----------------------------------------------------------------------

    def exists(self) -> bool:
        """Tell whether the ledger exists. LedgerError if that cannot be told."""
        with self._session() as db:
            return self._version(db) is not None

    def is_gone(self) -> bool:
        """Tell whether PostgreSQL holds no ledger. False if it cannot be asked."""
        try:
            return not self.exists()
        except LedgerError:
            return False

    def obstacle(self) -> tuple[str, str] | None:
        """Return the reason why a first pass could not create the ledger with the remedy, or None."""
        with self._session() as db:
            if db.one(_MAY_CREATE):
                return None
        return "its user may not make tables", "grant it CREATE on its schema, or let it own the database"

    def free_bytes(self) -> int | None:
        """Return None: PostgreSQL does not tell how much space is free."""
        return None

    def identity(self) -> tuple[int, int] | None:
        """Return a value that changes if another ledger takes this one's place. None if there is none.

        LedgerError if PostgreSQL cannot be asked.
        """
        with self._session() as db:
            found = db.execute("SELECT oid::bigint FROM pg_class WHERE oid = to_regclass('meta')").fetchone()
        return None if found is None else (int(found[0]), 0)

    def private_files(self) -> dict[Path, str]:
        """Return no file: the ledger has none on this machine."""
        return {}

    def folder(self) -> Path | None:
        """Return None: the ledger is no file."""
        return None

    # -- for this package ---------------------------------------------------------------

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn psycopg's errors into LedgerError with a hint. IntegrityError stays, because it is a bug in syncd."""
        try:
            yield
        except psycopg.IntegrityError:
            raise
        except psycopg.Error as error:
            raise explanation(error, self) from error

    @contextmanager
    def writing(self, db: Any) -> Iterator[None]:
        """Run one transaction of the holder, or of a writer beside all holders. It is committed whole or not at all.

        One that has written nothing is rolled back, because a commit waits for the disk: the fence has locked a row.
        LedgerHeld if another process has taken the lanes.
        """
        with self.explained():
            db.execute("BEGIN")
            try:
                if not self.is_beside:
                    fence(db, self.lease, str(self))
                if self.lease is None:  # without a hold, `syncd ledger copy` may have moved it since it was opened
                    require_use(locked_marks(db), self)
                db.has_written = False
                yield
                db.execute("COMMIT" if db.has_written else "ROLLBACK")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def scope(self) -> tuple[str, ...] | None:
        """Return the sources whose rows the holder writes. None: those of all."""
        return None if self.lease is None else self.lease.scope

    def fleet(self, db: Any) -> dict[str, list[dict[str, Any]]]:
        """Return the `lanes` and `replicas` of `syncd status --json`."""
        return fleet(db)

    def wake(self, db: Any, sources: Collection[str] | None) -> None:
        """Have a pass over each of `sources`, or of those with something to send if None. Call it in a transaction."""
        if sources is None:
            db.execute(WAKE_SENDERS)
        else:
            db.execute(WAKE, {"sources": [*sources]})

    def wake_owners(self, db: Any, ids: Sequence[int]) -> None:
        """Have a pass over each source that the activities `ids` belong to. Call it in a transaction."""
        db.execute(WAKE_OWNERS, {"ids": [*ids]})

    def new_ids(self, db: Any, count: int) -> Sequence[int]:
        """Return the ids of `count` new activities. No other process is given them."""
        sql = "SELECT nextval('activities_id_seq') FROM generate_series(1, :count)"
        return [row[0] for row in db.execute(sql, {"count": count}).fetchall()]

    def next_post(self, db: Any) -> int:
        """Return an id that is below those of all later POSTs, and above those of earlier POSTs of the same lanes."""
        return int(db.one("SELECT nextval('posts_id_seq')"))

    def shared_key(self, db: Any) -> PostgresKey:
        """Return the Recotap key that other lanes of the ledger may use at the same time."""
        return PostgresKey(db, self.lease.token if self.lease else "")

    def went_back(self, db: Any) -> bool:
        """Tell whether the ledger was written in another history of the database: see `postgres_history`."""
        return bool(db.history.differs)

    def take_history(self, db: Any) -> bool:
        """Take the served history for that of the ledger, in a transaction. False if another process has."""
        return postgres_history.take(db, db.history)

    def remember(self, db: Any) -> None:
        """Do nothing: the server tells its history."""

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
            if db.in_transaction:  # a lost connection has none
                db.execute("COMMIT")

    def cipher(self, db: Any) -> PostgresCipher:
        """Return the cipher of the ledger's payloads and values, for one connection."""
        return PostgresCipher(db, self)

    def size(self) -> int:
        """Return the bytes of the ledger's tables and indexes."""
        with self._session() as db:
            return int(db.one(SIZE))

    def written_at(self) -> datetime:
        """Return the time of the last write, as the holder's renewals note it: a few seconds late."""
        with self._session() as db:
            at: datetime = db.one("SELECT coalesce(max(written_at), (SELECT created_at FROM meta)) FROM lanes")
        return at.astimezone(UTC)

    def tidy(self, db: Any) -> None:
        """Leave free space to autovacuum."""

    def rebuild(self, db: Any, *, is_held: bool) -> str:
        """Rewrite the tables without what was erased. Return why that was not possible, or ""."""
        with self.explained():
            return rewrite(db, is_held=is_held)

    def rest(self) -> Rest:
        """Return in words where erased content may stay."""
        return Rest(
            "PostgreSQL",
            "syncd run, pg_dump, psql",
            "pg_stat_activity",
            "backups of PostgreSQL and its write-ahead log",
        )

    def explain(self, error: psycopg.Error) -> LedgerError:
        """Return the error to report for one of psycopg."""
        return explanation(error, self)

    def connected(self) -> Session:
        """Open a connection. LedgerError if the password cannot be read."""
        try:
            return connect(self.url, self.password)
        except ValueError as error:  # of the password
            raise LedgerError(
                f"the ledger at {self} cannot be used: {error}", hint="put the password where [ledger] password says"
            ) from error

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with self.explained():
            db = self.connected()
            try:
                yield db
            finally:
                db.close()

    @contextmanager
    def _opened(
        self, kind: Callable[[Any, Any], Opened], *, create: bool = False, writes: bool = False
    ) -> Iterator[Opened]:
        with self._session() as db:
            self._require(db, create=create)
            (require_use if writes else require_whole)(marks_of(db), self)
            yield kind(db, self)

    def _require(self, db: Session, *, create: bool) -> None:
        version = self._version(db)
        if version is None and create:
            self._create(db)
        elif version is None:
            raise LedgerError(f"there is no ledger at {self}", hint="the first `syncd sync` makes it. See [ledger] url")
        elif version != VERSION:
            raise LedgerError(
                f"the ledger at {self} has schema {version}, and this syncd uses {VERSION}",
                hint="install the syncd that wrote it. Nothing was changed",
            )

    def _create(self, db: Session) -> None:
        """Make the tables, unless another process has made them meanwhile."""
        with _transaction(db):
            db.execute("SELECT pg_advisory_xact_lock(hashtext(current_schema() || ' syncd'))")
            if not db.one(_IS_MADE):
                for statement in STATEMENTS:
                    db.execute(statement)

    def _version(self, db: Session) -> int | None:
        if db.one("SELECT to_regclass('meta')") is None:
            return None
        return int(db.one("SELECT schema_version FROM meta"))


def _begun(db: Any, handle: PostgresLedger) -> Ledger:
    db.history = postgres_history.history(db)
    handle.cipher(db).check()
    return Ledger(db, handle)


@contextmanager
def _transaction(db: Session) -> Iterator[None]:
    db.execute("BEGIN")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


__all__ = ["Password", "PostgresLedger", "connect"]
