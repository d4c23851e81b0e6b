"""Take the lanes of a ledger in PostgreSQL one by one, as one of many processes."""

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol, TypeVar

import psycopg

from syncd.errors import LedgerError
from syncd.ledger import postgres_lease
from syncd.ledger.lanes import Taken
from syncd.ledger.postgres_lease import Lease, Renewals

T = TypeVar("T")


class Place(Protocol):
    """The ledger, as a replica needs it. `PostgresLedger` is it."""

    def under(self, lease: Lease) -> Any:
        """Return the ledger as the holder of `lease` opens it."""

    def connected(self) -> Any:
        """Open a connection. LedgerError if that fails."""

    def explain(self, error: psycopg.Error) -> LedgerError:
        """Return the error to report for one of psycopg."""


class Replica:
    """Take lanes, and renew them until they are released. Its methods may be called in any thread."""

    def __init__(self, place: Place, name: str, renewals: Renewals) -> None:
        self._place = place
        self._name = name
        self._renewals = renewals
        self._db: Any = None
        self._lock = threading.Lock()

    def enrol(self, sources: Collection[str]) -> None:
        """Make a lane of each source that has none, and of each whose rows the ledger holds. Raises LedgerError."""
        known = "SELECT DISTINCT source FROM streams"
        self._ask(lambda db: postgres_lease.enrol(db, {*sources, *(row[0] for row in db.execute(known).fetchall())}))

    def take(self) -> Taken | None:
        """Take the lane that is due next, orphans first. None if no lane is due. Raises LedgerError."""
        found = self._ask(lambda db: postgres_lease.take_next(db, self._name))
        if found is None:
            return None
        lease, facts = found
        self._renewals.add(lease)
        return Taken(
            **facts, ledger=self._place.under(lease), is_held=lease.is_held, release=partial(self._release, lease)
        )

    def overdue(self) -> int:
        """Return the number of lanes that are due and that no process holds. Raises LedgerError."""
        return self._ask(postgres_lease.overdue)

    def wake(self, sources: Collection[str]) -> None:
        """Have passes over the lanes of `sources` as soon as possible. Raises LedgerError."""
        self._ask(lambda db: postgres_lease.wake(db, sources))

    def failing(self) -> frozenset[str]:
        """Return the sources whose last pass has failed. Raises LedgerError."""
        return self._ask(postgres_lease.failing)

    def report(self, *, slots: int, held: int) -> None:
        """Note that this replica is alive, and how many of its slots are in use. Raises LedgerError."""
        self._ask(lambda db: postgres_lease.report(db, self._name, slots=slots, held=held))

    def is_alive(self) -> bool:
        """Tell whether the leases are being renewed."""
        return self._renewals.is_alive()

    def close(self) -> None:
        """Note that this replica has ended, and close the connection."""
        with suppress(LedgerError):
            self._ask(lambda db: postgres_lease.leave(db, self._name))
        with self._lock:
            self._drop()

    def _release(self, lease: Lease, in_s: float | None, *, reads_in_s: float | None = None, failures: int = 0) -> None:
        """Give a lane back. If that fails, its lease ends by itself."""
        self._renewals.drop(lease)
        with suppress(LedgerError):
            self._ask(
                lambda db: postgres_lease.release(db, lease, in_s or 0.0, reads_in_s=reads_in_s, failures=failures)
            )

    def _ask(self, question: Callable[[Any], T]) -> T:
        with self._lock:
            try:
                self._db = self._db or self._place.connected()
                return question(self._db)
            except psycopg.Error as error:
                self._drop()
                raise self._place.explain(error) from error

    def _drop(self) -> None:
        if self._db is not None:
            with suppress(psycopg.Error):
                self._db.close()
            self._db = None


@contextmanager
def replica(place: Place, command: str) -> Iterator[Replica]:
    """Take part in the work on a ledger. What is held at the end is released."""
    with Renewals(place.connected) as renewals:
        one = Replica(place, postgres_lease.who(command), renewals)
        try:
            yield one
        finally:
            one.close()


__all__ = ["Replica", "replica"]
