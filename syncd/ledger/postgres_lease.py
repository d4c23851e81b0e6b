"""Lease lanes of a ledger in PostgreSQL: take them, renew them, and fence each write of their holder.

The database's clock alone decides who holds a lane. The token is random, because a counter would come again after a
failover that lost the last commits.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import psycopg

from syncd.errors import LedgerError, LedgerHeld
from syncd.ledger.lanes import WHOLE
from syncd.ledger.postgres_history import TIMELINE, UNKNOWN

TTL_S = 10  # a holder that does not renew for so long has lost its lanes
RENEW_S = 3
TRUST_S = TTL_S - 1  # since the start of the last renewal: the local clock may run faster than the database's
ALIVE_S = RENEW_S + 1  # a holder that has renewed within it is alive
LOOK_S = 0.25  # between two looks whether the lanes of a holder that may be dead are free

_ENROL = """
    INSERT INTO lanes (source) SELECT source FROM unnest(:sources::text[]) AS source
    WHERE :is_holder OR NOT EXISTS (
        SELECT 1 FROM lanes WHERE source = :whole AND token IS NOT NULL AND until >= clock_timestamp())
    ON CONFLICT DO NOTHING
"""
_HOLDERS = """
    SELECT holder, :ttl - extract(epoch FROM until - clock_timestamp())::float FROM lanes
    WHERE source = ANY (:sources) AND token IS NOT NULL AND until >= clock_timestamp() ORDER BY source
"""
# FOR UPDATE waits for the last transaction of a holder that lost its lanes.
_LOCK = """
    SELECT source FROM lanes
    WHERE source = ANY (:sources) AND (token IS NULL OR until < clock_timestamp()) ORDER BY source FOR UPDATE
"""
_TAKE = """
    UPDATE lanes SET token = :token, holder = :holder, epoch = epoch + 1, written_at = clock_timestamp(),
        wake_at = NULL, next_pass_at = least(next_pass_at, clock_timestamp()),
        until = clock_timestamp() + make_interval(secs => :ttl)
    WHERE source = ANY (:sources)
"""
# Orphans first, then the lane that has waited longest. If it was woken, its source is to be read, whoever does it.
_TAKE_NEXT = """
    WITH free AS (
        SELECT id, token IS NOT NULL AS was_orphan, least(next_pass_at, wake_at) AS due_at,
            CASE WHEN wake_at <= statement_timestamp() THEN least(reads_at, wake_at) ELSE reads_at END AS to_read_at
        FROM lanes
        WHERE source <> :whole AND (
            (token IS NULL AND least(next_pass_at, wake_at) <= statement_timestamp())
            OR (token IS NOT NULL AND until < statement_timestamp()))
        ORDER BY token IS NULL, least(next_pass_at, wake_at) LIMIT 1 FOR UPDATE SKIP LOCKED)
    UPDATE lanes SET token = :token, holder = :holder, epoch = epoch + 1, written_at = clock_timestamp(),
        wake_at = NULL, next_pass_at = least(next_pass_at, clock_timestamp()), reads_at = to_read_at,
        until = clock_timestamp() + make_interval(secs => :ttl)
    FROM free WHERE lanes.id = free.id
    RETURNING source, epoch, was_orphan, greatest(0, extract(epoch FROM clock_timestamp() - due_at))::float,
        extract(epoch FROM reads_at - clock_timestamp())::float, failures
"""
_RENEW = """
    UPDATE lanes SET until = clock_timestamp() + make_interval(secs => :ttl),
        written_at = CASE WHEN token = ANY (:written) THEN clock_timestamp() ELSE written_at END
    WHERE source = ANY (:sources) AND token = ANY (:tokens) RETURNING token
"""
_RELEASE = """
    UPDATE lanes SET token = NULL, holder = NULL, until = NULL,
        next_pass_at = CASE WHEN :keeps THEN next_pass_at ELSE clock_timestamp() + make_interval(secs => :in_s) END,
        reads_at = CASE WHEN :keeps_reading THEN reads_at
            ELSE clock_timestamp() + make_interval(secs => :reads_in_s) END,
        failures = coalesce(:failures, failures)
    WHERE source = ANY (:sources) AND token = :token
"""
_HOLDER = """
    SELECT holder FROM (
        SELECT holder FROM lanes WHERE token IS NOT NULL AND until >= clock_timestamp()
        UNION ALL SELECT name FROM replicas WHERE until >= clock_timestamp()) AS holders
    GROUP BY holder ORDER BY count(*) DESC, holder
"""
_REPORT = """
    INSERT INTO replicas (name, slots, held, until)
    VALUES (:name, :slots, :held, clock_timestamp() + make_interval(secs => :ttl))
    ON CONFLICT (name) DO UPDATE SET slots = excluded.slots, held = excluded.held, until = excluded.until
"""
_LEAVE = "DELETE FROM replicas WHERE name = :name OR until < clock_timestamp() - interval '1 day'"
_OVERDUE = """
    SELECT count(*) FROM lanes WHERE source <> :whole AND (
        (token IS NULL AND least(next_pass_at, wake_at) <= statement_timestamp())
        OR (token IS NOT NULL AND until < statement_timestamp()))
"""
# Whoever takes the lane next reads its source, even if it was not due.
WAKE = "UPDATE lanes SET wake_at = clock_timestamp() WHERE source = ANY (:sources)"
WAKE_OWNERS = """
    UPDATE lanes SET wake_at = clock_timestamp() WHERE source IN (
        SELECT streams.source FROM streams JOIN activities ON stream_id = streams.id WHERE activities.id = ANY (:ids))
"""
WAKE_SENDERS = """
    UPDATE lanes SET wake_at = clock_timestamp() WHERE source IN (
        SELECT streams.source FROM streams JOIN activities ON stream_id = streams.id
            JOIN payloads ON activity_id = activities.id)
"""
_FAILING = "SELECT source FROM lanes WHERE failures > 0"
# KEY SHARE lets renewals pass, and keeps a take out until the transaction ends. So no intent of an old holder can be
# committed after a take. The token goes into the rows that this transaction adds. A pooler may hide that a standby was
# promoted which lacks the last commits. The pass has them in mind, so it must not go on: the timeline tells.
_FENCE = f"""
    SELECT set_config('syncd.token', :token, true),
        CASE WHEN :timeline::text = '{UNKNOWN}' THEN true ELSE {TIMELINE} = :timeline::text END
    FROM lanes WHERE source = ANY (:sources) AND token = :token FOR KEY SHARE
"""  # nosec B608 # our own text
_ALONE = "SELECT set_config('syncd.token', '', true) FROM lanes ORDER BY id FOR UPDATE"

Connect = Callable[[], Any]  # opens a connection of its own


def now_s() -> float:
    """Return the seconds since the machine was started. They go on while it is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def who(command: str) -> str:
    """Return this process's name for people."""
    return f"`syncd {command}`, process {os.getpid()} on {socket.gethostname()}"


class Lease:
    """One taking of some lanes, or of the whole ledger."""

    def __init__(self, sources: Collection[str] = ()) -> None:
        self.sources = sorted(sources)
        self.token = str(uuid4())
        self.has_written = False  # since the last renewal, which notes it
        self._trusted_until = 0.0

    @property
    def scope(self) -> tuple[str, ...] | None:
        """The sources whose rows the holder writes. None: those of all."""
        return None if WHOLE in self.sources else tuple(self.sources)

    def is_held(self) -> bool:
        """Tell whether the last renewal is recent enough to trust the lease, without asking the database."""
        return now_s() < self._trusted_until

    def trust(self, since_s: float) -> None:
        """Trust the lease for a time from `since_s`, when the statement was sent that took or renewed it."""
        self._trusted_until = since_s + TRUST_S

    def lose(self) -> None:
        """Trust the lease no longer."""
        self._trusted_until = 0.0


class Renewals:
    """Renew the leases of a process in a thread, on a connection of its own.

    If the connection breaks, the next renewal opens another one. A lease that was not renewed in time ends by itself.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._db: Any = None
        self._leases: list[Lease] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def __enter__(self) -> "Renewals":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._close()

    def is_alive(self) -> bool:
        """Tell whether the thread is running."""
        return self._thread.is_alive()

    def add(self, lease: Lease) -> None:
        """Renew `lease` from now on."""
        with self._lock:
            self._leases.append(lease)

    def drop(self, lease: Lease) -> None:
        """Renew `lease` no more."""
        with self._lock:
            self._leases = [each for each in self._leases if each is not lease]

    def renew(self) -> None:
        """Renew all leases now, in one statement. Those that were taken by another process are lost."""
        with self._lock:
            leases = [*self._leases]
        if not leases:
            return
        began, written = now_s(), [each.token for each in leases if each.has_written]
        for each in leases:
            each.has_written = False
        try:
            self._db = self._db or self._connect()
            renewed = [token for (token,) in self._db.execute(_RENEW, _renewing(leases, written)).fetchall()]
        except (psycopg.Error, LedgerError):
            self._close()
            return
        for each in leases:
            if renewed.count(each.token) == len(each.sources):
                each.trust(began)
            else:
                each.lose()

    def _run(self) -> None:
        while not self._over.wait(RENEW_S):
            self.renew()

    def _close(self) -> None:
        if self._db is not None:
            with suppress(psycopg.Error):
                self._db.close()
            self._db = None


def _renewing(leases: Sequence[Lease], written: Sequence[str]) -> dict[str, Any]:
    sources = [source for each in leases for source in each.sources]
    return {"ttl": TTL_S, "sources": sources, "tokens": [each.token for each in leases], "written": [*written]}


def enrol(db: Any, sources: Collection[str], *, is_holder: bool = False) -> None:
    """Make a lane of each source that has none, unless another process holds the whole ledger."""
    db.execute(_ENROL, {"sources": [*sources], "whole": WHOLE, "is_holder": is_holder})


def take_next(db: Any, by: str) -> tuple[Lease, dict[str, Any]] | None:
    """Take the lane that is due next: its lease, and the facts of `Taken` about it."""
    lease, began = Lease(), now_s()
    values = {"token": lease.token, "holder": by, "ttl": TTL_S, "whole": WHOLE}
    row = db.execute(_TAKE_NEXT, values).fetchone()
    if row is None:
        return None
    names = ("source", "epoch", "was_orphan", "late_s", "reads_in_s", "failures")
    lease.sources = [row[0]]
    lease.trust(began)
    return lease, dict(zip(names, row, strict=True))


def release(
    db: Any, lease: Lease, in_s: float | None, *, reads_in_s: float | None = None, failures: int | None = None
) -> None:
    """Give the lanes back, with the times of their next pass and reading. None: as before."""
    lease.lose()
    values = {
        "token": lease.token, "sources": lease.sources, "keeps": in_s is None, "in_s": in_s or 0.0,
        "keeps_reading": reads_in_s is None, "reads_in_s": reads_in_s or 0.0, "failures": failures,
    }  # fmt: skip
    db.execute(_RELEASE, values)


def wake(db: Any, sources: Collection[str]) -> None:
    """Have passes over the lanes of `sources` as soon as possible."""
    db.execute(WAKE, {"sources": [*sources]})


def failing(db: Any) -> frozenset[str]:
    """Return the sources whose last pass has failed."""
    return frozenset(row[0] for row in db.execute(_FAILING).fetchall())


def overdue(db: Any) -> int:
    """Return the number of lanes that are due and that no process holds."""
    return int(db.execute(_OVERDUE, {"whole": WHOLE}).fetchone()[0])


def report(db: Any, name: str, *, slots: int, held: int) -> None:
    """Note that a replica is alive, for TTL_S."""
    db.execute(_REPORT, {"name": name, "slots": slots, "held": held, "ttl": TTL_S})


def leave(db: Any, name: str) -> None:
    """Note that a replica has ended, and forget those that died long ago."""
    db.execute(_LEAVE, {"name": name})


def holder_of(db: Any) -> str | None:
    """Return who holds lanes of the ledger, or works on it as a replica. None if nobody does."""
    found = [str(row[0]) for row in db.execute(_HOLDER).fetchall()]
    if not found:
        return None
    return found[0] if len(found) == 1 else f"{found[0]}, and {len(found) - 1} more"


@contextmanager
def held(connect: Connect, command: str, where: str, sources: Collection[str] | None) -> Iterator[Lease]:
    """Hold the lanes of `sources`, or the whole ledger if None. LedgerHeld if another process holds one of them.

    A holder that has not renewed in time may be dead. It is waited for, at most until its lease ends.
    """
    db = connect()
    try:
        lease = _taken(db, command, where, sources)
        try:
            with Renewals(connect) as renewals:
                renewals.add(lease)
                yield lease
        finally:
            with suppress(psycopg.Error):
                release(db, lease, None)
    finally:
        db.close()


def _taken(db: Any, command: str, where: str, sources: Collection[str] | None) -> Lease:
    """Take the lanes, and return their lease."""
    while True:
        if sources is not None:
            enrol(db, sources)
        wanted = [*sources] if sources is not None else [row[0] for row in db.execute("SELECT source FROM lanes")]
        holders = db.execute(_HOLDERS, {"sources": [*wanted, WHOLE], "ttl": TTL_S}).fetchall()
        if any(renewed_s <= ALIVE_S for _, renewed_s in holders):
            raise LedgerHeld(
                f"the ledger at {where} is held by {holders[0][0]}",
                hint="let it finish, or stop it. Two at once would not be safe",
            )
        if not holders and (lease := _take(db, command, wanted)) is not None:
            return lease
        time.sleep(LOOK_S)


def _take(db: Any, command: str, sources: Sequence[str]) -> Lease | None:
    lease = Lease(sources)
    db.execute("BEGIN")
    try:
        began = now_s()
        found = db.execute(_LOCK, {"sources": lease.sources}).fetchall()
        won = len(found) == len(lease.sources)
        if won:
            values = {"token": lease.token, "holder": who(command), "ttl": TTL_S, "sources": lease.sources}
            db.execute(_TAKE, values)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    lease.trust(began)
    return lease if won else None


def fence(db: Any, lease: Lease | None, where: str) -> None:
    """Begin a writing transaction: as the holder, or alone beside all holders. LedgerHeld if the lease is lost."""
    if lease is None:
        db.execute(_ALONE)
        return
    timeline = UNKNOWN if db.history is None else db.history.timeline
    values = {"token": lease.token, "sources": lease.sources, "timeline": timeline}
    found = db.execute(_FENCE, values).fetchall()
    if len(found) != len(lease.sources) or not all(is_same for _, is_same in found):
        lease.lose()
        raise taken(where)
    lease.has_written = True


def taken(where: str) -> LedgerHeld:
    """Return the error for a holder that did not renew its lease in time."""
    return LedgerHeld(
        f"the ledger at {where} was taken by another syncd, or PostgreSQL was away",
        hint="nothing: the one that has it goes on where this one was. Its supervisor starts this one again",
    )


__all__ = [
    "WAKE",
    "WAKE_OWNERS",
    "WAKE_SENDERS",
    "Lease",
    "Renewals",
    "enrol",
    "failing",
    "fence",
    "held",
    "holder_of",
    "leave",
    "overdue",
    "release",
    "report",
    "take_next",
    "taken",
    "wake",
    "who",
]
