"""Hold a ledger in PostgreSQL: a row that its holder renews, and the fence before each of its writes.

The database's clock alone decides who holds it. The token is random, because a counter would come again after a
failover that lost the last commits.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import psycopg

from syncd.errors import LedgerHeld

TTL_S = 10  # a holder that does not renew for so long has lost the ledger
RENEW_S = 3
TRUST_S = TTL_S - 1  # since the start of the last renewal: the local clock may run faster than the database's

_TAKE = """
    UPDATE meta SET token = :token, holder = :holder, epoch = epoch + 1, written_at = clock_timestamp(),
        held_until = clock_timestamp() + make_interval(secs => :ttl)
    WHERE id = 1 AND (token IS NULL OR held_until < clock_timestamp()) RETURNING epoch
"""
_RENEW = """
    UPDATE meta SET held_until = clock_timestamp() + make_interval(secs => :ttl),
        written_at = CASE WHEN :has_written THEN clock_timestamp() ELSE written_at END
    WHERE id = 1 AND token = :token RETURNING id
"""
_RELEASE = "UPDATE meta SET token = NULL, holder = NULL, held_until = NULL WHERE id = 1 AND token = :token"
_HOLDER = "SELECT holder FROM meta WHERE id = 1 AND token IS NOT NULL AND held_until >= clock_timestamp()"
# KEY SHARE lets renewals pass, and keeps a take out until the transaction ends. So no intent of an old holder can be
# committed after a take.
_FENCE = "SELECT 1 FROM meta WHERE id = 1 AND token = :token FOR KEY SHARE"
_ALONE = "SELECT 1 FROM meta WHERE id = 1 FOR UPDATE"

Open = Callable[[], Any]  # opens a connection of its own


def now_s() -> float:
    """Return the seconds since the machine was started. They go on while it is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """One taking of the ledger."""

    def __init__(self) -> None:
        self.token = str(uuid4())
        self.has_written = False  # since the last renewal, which notes it
        self._trusted_until = 0.0

    def is_held(self) -> bool:
        """Tell whether the last renewal is recent enough to trust the lease, without asking the database."""
        return now_s() < self._trusted_until

    def take(self, db: Any, who: str) -> bool:
        """Take the ledger if it is free, or if its holder has not renewed in time."""
        return self._say(db, _TAKE, {"token": self.token, "holder": who, "ttl": TTL_S})

    def renew(self, db: Any) -> bool:
        """Renew the lease. False if another process has taken the ledger."""
        has_written, self.has_written = self.has_written, False
        return self._say(db, _RENEW, {"token": self.token, "ttl": TTL_S, "has_written": has_written})

    def lose(self) -> None:
        """Trust the lease no longer."""
        self._trusted_until = 0.0

    def _say(self, db: Any, sql: str, values: dict[str, Any]) -> bool:
        began = now_s()
        won = db.execute(sql, values).fetchone() is not None
        self._trusted_until = began + TRUST_S if won else 0.0
        return won


def holder_of(db: Any) -> str | None:
    """Return who holds the ledger, or None if it is free."""
    row = db.execute(_HOLDER).fetchone()
    return None if row is None else str(row[0])


@contextmanager
def held(connect: Open, command: str, where: str) -> Iterator[Lease]:
    """Hold the ledger, and renew the lease on a connection of its own. LedgerHeld if another process holds it."""
    lease = Lease()
    who = f"`syncd {command}`, process {os.getpid()} on {socket.gethostname()}"
    db = connect()
    try:
        if not lease.take(db, who):
            found = holder_of(db) or "another syncd"
            raise LedgerHeld(
                f"the ledger at {where} is held by {found}",
                hint="let it finish, or stop it. Two at once would not be safe",
            )
        with _renewed(lease, db):
            yield lease
        with suppress(psycopg.Error):
            db.execute(_RELEASE, {"token": lease.token})
    finally:
        db.close()


@contextmanager
def _renewed(lease: Lease, db: Any) -> Iterator[None]:
    over = threading.Event()

    def renew() -> None:
        while not over.wait(RENEW_S):
            try:
                if not lease.renew(db):
                    return
            except psycopg.Error:  # the connection is lost: nothing is repeated on another one
                lease.lose()
                return

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def fence(db: Any, lease: Lease | None, where: str) -> None:
    """Begin a writing transaction: as the holder, or alone beside it. LedgerHeld if the lease is lost."""
    if lease is None:
        db.execute(_ALONE)
    elif db.execute(_FENCE, {"token": lease.token}).fetchone() is None:
        lease.lose()
        raise taken(where)
    else:
        lease.has_written = True


def taken(where: str) -> LedgerHeld:
    """Return the error for a holder that did not renew its lease in time."""
    return LedgerHeld(
        f"the ledger at {where} was taken by another syncd, or PostgreSQL was away",
        hint="nothing: the one that has it goes on where this one was. Its supervisor starts this one again",
    )


__all__ = ["Lease", "fence", "held", "holder_of", "taken"]
