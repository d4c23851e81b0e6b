"""Small builders for the tests of the ledger: readings, refs, rows as a stranger sees them, a clock that ticks."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from syncd.activity import Kind
from syncd.connector import Ref
from syncd.ledger import (
    AnyLedger,
    AttemptResult,
    Booked,
    Claim,
    Due,
    Examination,
    Ledger,
    LedgerHandle,
    LedgerReader,
    Reports,
)
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import State, Verdict
from syncd.lifecycle.transitions import Reading

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
WEEK = timedelta(days=7)
# The kinds of ledger that the suite runs on. Each names a ledger that does not exist yet; a file stands in the folder.
ENGINES: dict[str, Callable[[Path], AnyLedger]] = {"sqlite": lambda folder: LedgerHandle(folder / "ledger.db")}
POOLER = os.environ.get("SYNCD_TEST_PGBOUNCER", "")  # host:port of a PgBouncer in front of it, if any


def _of_worker(url: str) -> str:
    """Return the address of this worker's own database, which is created. A read in one keeps what others erase."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not (url and worker) or POOLER:
        return url
    import psycopg

    parts = urlsplit(url)
    own = f"{parts.path.lstrip('/')}_{worker}"
    with psycopg.connect(url, autocommit=True) as db, suppress(psycopg.errors.DuplicateDatabase):
        db.execute(f"CREATE DATABASE {own} TEMPLATE template0")
    return parts._replace(path=f"/{own}").geturl()


URL = _of_worker(os.environ.get("SYNCD_TEST_POSTGRES", ""))  # of a database in which the tests may make schemas


@dataclass(frozen=True)
class GivenKey:
    """A reference to a master key that needs no file."""

    text: str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU="

    def read_line(self) -> str:
        """Return the key."""
        return self.text


def in_postgres(folder: Path, name: str = "", *, encrypted: bool = True) -> Any:
    """Name a ledger in the schema `name`, by default in a new one. `folder` is not used."""
    from syncd.ledger.postgres import PostgresLedger

    name = name or f"syncd_{uuid4().hex}"
    if POOLER:
        return PostgresLedger(_pooled(name))
    _kept().execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
    url = f"{URL}{'&' if '?' in URL else '?'}options=-csearch_path%3D{name}"
    return PostgresLedger(url, master_key=GivenKey() if encrypted else None)


@cache
def _pooled(name: str) -> str:
    """Return the address of a ledger behind PgBouncer, where a user of its own gives it its schema."""
    db = _kept()
    if not db.one(f"SELECT count(*) FROM pg_roles WHERE rolname = '{name}'"):
        db.execute(f"CREATE ROLE {name} LOGIN IN ROLE {urlsplit(URL).username}")
        db.execute(f"ALTER ROLE {name} SET search_path = {name}")
        db.execute(f"ALTER ROLE {name} SET jit = off")
        db.execute(f"CREATE SCHEMA {name} AUTHORIZATION {name}")
    return urlsplit(URL)._replace(netloc=f"{name}@{POOLER}", query="application_name=syncd").geturl()


def schema_of(handle: Any) -> str:
    """Return the schema of a ledger in PostgreSQL."""
    return urlsplit(handle.url).username or "" if POOLER else handle.url.rpartition("%3D")[2]


@cache
def _kept() -> Any:
    """Return the connection of all strangers. To connect each time would take most of the suite's time."""
    from syncd.ledger.postgres import connect

    return connect(URL)


OF_SQLITE = pytest.mark.skipif(bool(URL), reason="looks into SQLite's file")  # of a test of a whole world
if URL:
    ENGINES["postgres"] = in_postgres
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Ticking:
    """A clock that stands until it is told to tick."""

    def __init__(self, at: datetime = NOW) -> None:
        self.now = at

    def __call__(self) -> datetime:
        return self.now

    def tick(self, by: timedelta) -> datetime:
        self.now += by
        return self.now


def half() -> float:
    """Throw a die that shows its middle."""
    return 0.5


def payload(crm_id: str, **more: Any) -> str:
    """Return a JSON object as the rules make them, in little."""
    return json.dumps({"externalActivityId": f"hubspot-call-{crm_id}", "activityType": "call"} | more)


def ref(crm_id: str | int, *, modified_at: datetime = NOW) -> Ref:
    """Return the ref of a record."""
    return Ref(str(crm_id), modified_at)


def reading(
    crm_id: str | int,
    wanted: State = State.PENDING,
    reason: str | None = None,
    *,
    modified_at: datetime = NOW,
    occurred_at: datetime | None = NOW - DAY,
    due_at: datetime | None = None,
    kind: Kind = "call",
    source: str = "hubspot",
    detail: str | None = None,
    owner_id: str | None = None,
    domain: str | None = None,
    **more: Any,
) -> Reading:
    """Return the reading of record `crm_id`. `more` goes into its payload."""
    crm_id = str(crm_id)
    return Reading(
        crm_id=crm_id, modified_at=modified_at, external_activity_id=f"{source}-{kind}-{crm_id}", kind=kind,
        occurred_at=occurred_at, wanted=wanted, reason=Reason[reason.upper()] if reason else None, detail=detail,
        due_at=due_at, payload=payload(crm_id, **more) if wanted is State.PENDING else None, owner_id=owner_id,
        domain=domain,
    )  # fmt: skip


def book(ledger: Ledger, *readings: Reading, now: datetime = NOW, stream: str = "calls", **more: Any) -> Booked:
    """Book one page of HubSpot."""
    refs = [ref(each.crm_id, modified_at=each.modified_at) for each in readings]
    return ledger.book(ledger.stream_id("hubspot", stream), more.pop("refs", refs), readings, now=now, **more)


def due(ledger: Ledger, *, now: datetime = NOW, first_post: int | None = None, limit: int = 50) -> list[Due]:
    """Return the activities that a pass would send next if it began now."""
    return ledger.due(limit, first_post=ledger.first_post() if first_post is None else first_post, now=now)


def due_names(ledger: Ledger, **when: Any) -> list[str]:
    """Return the CRM's ids of the activities of `due`."""
    return crm_ids(ledger, due(ledger, **when))


def crm_ids(ledger: Ledger, activities: Iterable[Due]) -> list[str]:
    """Return the CRM's ids of activities that carry none."""
    rows = dict(ledger._db.execute("SELECT id, crm_id FROM activities"))
    return [rows[each.id] for each in activities]


def send(
    ledger: Ledger,
    verdict: Verdict = Verdict.CREATED,
    detail: str | None = None,
    *,
    now: datetime = NOW,
    max_age: timedelta = WEEK,
    **more: Any,
) -> list[str]:
    """Send the due activities in one POST that gets one verdict. Returns the CRM's ids of those sent."""
    claim = ledger.intend(due(ledger, now=now, **more), now=now)
    judgements = [AttemptResult(each.id, verdict, detail) for each in claim.activities]
    ledger.record_verdicts(claim.post_id, judgements, now=now, max_age=max_age, random=half)
    return names(claim.activities)


def judge(
    ledger: Ledger, claim: Claim, *verdicts: Verdict, now: datetime = NOW, max_age: timedelta = WEEK,
    detail: str | None = None,
) -> int:  # fmt: skip
    """Book the verdicts of the first activities of a claim. Returns how many died."""
    judgements = [
        AttemptResult(each.id, verdict, detail) for each, verdict in zip(claim.activities, verdicts, strict=False)
    ]
    return ledger.record_verdicts(claim.post_id, judgements, now=now, max_age=max_age, random=half)


def names(activities: Any) -> list[str]:
    """Return the CRM's ids, in order."""
    return [each.external_activity_id.rsplit("-", 1)[1] for each in activities]


def file_of(ledger: LedgerReader) -> Path:
    """Return the file of an open ledger."""
    return Path(str(ledger.handle))


@contextmanager
def stranger(ledger: Any) -> Iterator[Any]:
    """Open the ledger as another process would, which sees only commits."""
    handle = getattr(ledger, "handle", ledger)
    if hasattr(handle, "url"):
        db = _kept()
        db.execute(f"SET search_path = {schema_of(handle)}")
        yield db
        return
    connection = sqlite3.connect(str(handle), isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def ask(ledger: Any, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a stranger's query."""
    with stranger(ledger) as db:
        return [tuple(row) for row in db.execute(sql, values)]


def row(ledger: Any, crm_id: str | int = "1") -> dict[str, Any]:
    """Return an activity's committed row, and its payload as `body`."""
    sql = "SELECT activities.*, body FROM activities LEFT JOIN payloads ON activity_id = id WHERE crm_id = ?"
    with stranger(ledger) as db:
        cursor = db.execute(sql, (str(crm_id),))
        (found,) = cursor.fetchall()
        shown = dict(zip([column[0] for column in cursor.description], found, strict=True))
        cipher = None if isinstance(ledger, Path) else ledger.handle.cipher(db)
        if cipher and shown["body"]:
            shown["body"] = cipher.open_body(shown["id"], shown["body"])
        return shown


def reports(ledger: Ledger) -> Reports:
    """Return an operator's view through the ledger's own connection."""
    return Reports(ledger._db, ledger.handle)


def sound(ledger: Ledger) -> bool:
    """Tell whether SQLite finds the file intact, through the ledger's own connection."""
    return Examination(ledger._db).sound() is True


def kept(ledger: Ledger | Path) -> dict[tuple[Any, ...], int]:
    """Return the kept counts that are not 0, by (stream_id, state, reason, verdict, changed), and the part if any."""
    return {_kind(key): n for *key, n in ask(ledger, "SELECT * FROM counts WHERE n <> 0")}


def _kind(key: list[Any]) -> tuple[Any, ...]:
    return tuple(key if key[-1] else key[:-1])


def counted(ledger: Ledger | Path) -> dict[tuple[Any, ...], int]:
    """Count the rows as the kept counts do."""
    sql = """
        SELECT stream_id, state, coalesce(reason, ''), coalesce(verdict, ''), changed_after_delivery,
            CASE WHEN reason = 'filtered' THEN coalesce(detail, '') ELSE '' END, count(*)
        FROM activities GROUP BY 1, 2, 3, 4, 5, 6
    """
    return {_kind(key): n for *key, n in ask(ledger, sql)}


def attempts(ledger: Ledger | Path, crm_id: str | int = "1") -> list[str | None]:
    """Return the verdicts of an activity's attempts, oldest first. An open one is None."""
    sql = """
        SELECT attempts.verdict FROM attempts JOIN activities ON activities.id = activity_id
        WHERE crm_id = ? ORDER BY post_id
    """
    return [verdict for (verdict,) in ask(ledger, sql, str(crm_id))]


_FILES = """
    SELECT name, pg_read_binary_file(pg_relation_filepath(file)) FROM (
        SELECT relname AS name, unnest(ARRAY[oid, reltoastrelid]) AS file FROM pg_class
        WHERE relnamespace = to_regnamespace(current_schema()) AND relkind IN ('r', 'i')) AS files
    WHERE file <> 0
"""


def contents(handle: AnyLedger) -> Iterator[tuple[str, bytes]]:
    """Yield each file of the ledger, with its bytes on disk: those of SQLite's folder, or those of each relation."""
    if isinstance(handle, LedgerHandle):
        yield from ((each.name, each.read_bytes()) for each in handle.path.parent.iterdir())
        return
    with stranger(handle) as db:
        db.execute("CHECKPOINT")
        yield from db.execute(_FILES)


def files(path: Path) -> list[Path]:
    """Return the ledger's files: the database, its WAL and its shared memory, as far as they stand."""
    return [part for part in (path, Path(f"{path}-wal"), Path(f"{path}-shm")) if part.exists()]
