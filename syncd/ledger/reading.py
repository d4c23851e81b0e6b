"""What can be asked of the ledger. Nothing here writes."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlite_utils import Database

from syncd import clock, files
from syncd.errors import LedgerError, NoSuchActivity
from syncd.ledger.schema import VERSION
from syncd.lifecycle import timing

if TYPE_CHECKING:
    from syncd.ledger.handle import LedgerHandle

SHORT_ID = 15  # characters
RECOTAP = "@recotap"  # its name among the pauses and in the store; no source may begin with @
CLOCK = "@clock"  # in the store of a source, or of Recotap: its server's clock (ServerClock.to_keep)
DOUBT = "@doubt"  # kept under RECOTAP: whether something was booked by a clock that no server confirms
STATES = ("pending", "incomplete", "delivered", "skipped", "excluded", "dead")
VERDICTS = ("created", "duplicate", "foreign_duplicate")


@dataclass(frozen=True, slots=True)
class StreamState:
    """How far a stream has been read."""

    watermark: datetime | None = None
    swept_at: datetime | None = None
    failed: bool = False  # its last window could not be read to the end


# A pause that counts: not over, and not booked by a clock that was ahead. (`booked_at`: since schema 2.)
_PAUSED = "until > :now AND until <= :nonsense AND coalesce(booked_at, '') <= :now"


def times(now: datetime) -> dict[str, str]:
    """Return `:now`, and `:nonsense`: what is booked for later was booked by a clock that was wrong."""
    return {"now": clock.text(now), "nonsense": clock.text(clock.later(now, timing.LONGEST_WAIT))}


class LedgerReader:
    """Read a ledger."""

    def __init__(self, db: Database, handle: "LedgerHandle") -> None:
        self._db = db
        self.handle = handle

    def stream(self, source: str, stream: str) -> StreamState:
        """Return how far `stream` was read; nothing yet for one never met."""
        sql = "SELECT watermark, swept_at, last_error FROM streams WHERE source = :source AND stream = :stream"
        row = self._db.execute(sql, {"source": source, "stream": stream}).fetchone()
        if row is None:
            return StreamState()
        return StreamState(clock.optional_instant(row[0]), clock.optional_instant(row[1]), row[2] is not None)

    def known(self, source: str, stream: str, crm_ids: Iterable[str]) -> dict[str, tuple[str, bool]]:
        """Return, for those of `crm_ids` that the ledger holds, modification time (as text) and whether delivered."""
        sql = """
            SELECT crm_id, modified_at, state = 'delivered' FROM activities
            WHERE stream_id = (SELECT id FROM streams WHERE source = :source AND stream = :stream)
              AND crm_id IN (SELECT value FROM json_each(:ids))
        """
        rows = self._db.execute(sql, {"source": source, "stream": stream, "ids": json.dumps(list(crm_ids))})
        return {crm_id: (modified_at, bool(delivered)) for crm_id, modified_at, delivered in rows}

    def due_look_ups(
        self, source: str, stream: str, *, now: datetime, after_id: int, limit: int
    ) -> list[tuple[int, str]]:
        """Return (row id, crm_id) of what is to be looked up by `now`, by row id, beyond `after_id`.

        What is redacted is left out, even if `retry` named it: see `withheld`.
        """
        sql = """
            SELECT id, crm_id FROM activities
            WHERE stream_id = (SELECT id FROM streams WHERE source = :source AND stream = :stream)
              AND state <> 'pending' AND next_attempt_at IS NOT NULL
              AND (next_attempt_at <= :now OR next_attempt_at > :nonsense)
              AND id > :after_id AND reason IS NOT 'redacted'
            ORDER BY id LIMIT :limit
        """
        values = {"source": source, "stream": stream, "after_id": after_id, "limit": limit} | times(now)
        return self._db.execute(sql, values).fetchall()

    def withheld(self, source: str, stream: str, *, now: datetime, after_id: int, limit: int) -> list[tuple[int, str]]:
        """Return (row id, crm_id) of what is redacted, by row id: to be looked up once its content can be seen."""
        sql = """
            SELECT id, crm_id FROM activities
            WHERE stream_id = (SELECT id FROM streams WHERE source = :source AND stream = :stream)
              AND state = 'incomplete' AND reason = 'redacted'
              AND (next_attempt_at IS NULL OR next_attempt_at <= :now OR next_attempt_at > :nonsense)
              AND id > :after_id
            ORDER BY id LIMIT :limit
        """
        values = {"source": source, "stream": stream, "after_id": after_id, "limit": limit} | times(now)
        return self._db.execute(sql, values).fetchall()

    def sources(self) -> dict[str, tuple[str | None, str]]:
        """Return each known source's identity and template of externalActivityId."""
        rows = self._db.execute("SELECT source, identity, external_id FROM sources")
        return {source: (identity, template) for source, identity, template in rows}

    def has_rows(self, source: str) -> bool:
        """Tell whether any activity of `source` is booked."""
        sql = """
            SELECT EXISTS (SELECT 1 FROM streams JOIN activities ON stream_id = streams.id WHERE source = :source)
        """
        return bool(self._db.execute(sql, {"source": source}).fetchone()[0])

    def store(self, source: str) -> dict[str, tuple[Any, datetime]]:
        """Return what the connector of `source` keeps: key to value and when it was put."""
        rows = self._db.execute("SELECT key, value, at FROM store WHERE source = :source", {"source": source})
        return {key: (json.loads(value), clock.instant(at)) for key, value, at in rows}

    def pause(self, name: str, now: datetime) -> tuple[datetime, str] | None:
        """Return until when and why `name` pauses, or None."""
        sql = f"SELECT until, reason FROM pauses WHERE name = :name AND {_PAUSED}"  # nosec B608 # our own text
        row = self._db.execute(sql, {"name": name} | times(now)).fetchone()
        return None if row is None else (clock.instant(row[0]), row[1])

    def requests(self) -> int:
        """Return how often an operator has asked for something beside a running syncd."""
        return self._number("SELECT coalesce(max(requests), 0) FROM operator")

    def sources_to_look_up(self, now: datetime) -> set[str]:
        """Return the sources of which something is to be looked up by `now`."""
        sql = """
            SELECT DISTINCT source FROM streams WHERE EXISTS (
                SELECT 1 FROM activities WHERE stream_id = streams.id AND state <> 'pending'
                  AND next_attempt_at IS NOT NULL AND (next_attempt_at <= :now OR next_attempt_at > :nonsense)
                  AND reason IS NOT 'redacted')
        """
        return {row[0] for row in self._db.execute(sql, times(now))}

    def last_success(self) -> dict[str, datetime]:
        """Return when each source was last read to the end: of its streams the one that was so longest ago."""
        sql = """
            SELECT source, min(last_success_at) FROM streams GROUP BY source HAVING count(*) = count(last_success_at)
        """
        return {source: clock.instant(at) for source, at in self._db.execute(sql)}

    def next_send_at(self) -> datetime | None:
        """Return when the first of the pending activities may go out; None when there is none.

        What no verdict about itself holds back may go at once, whatever the clock said when it was booked.
        """
        sql = """
            SELECT min(iif(refusals = 0, '2000-01-01T00:00:00.000Z', next_attempt_at))
            FROM payloads JOIN activities ON id = activity_id
        """
        return clock.optional_instant(self._one(sql))

    def sound(self) -> bool:
        """Tell whether SQLite finds the file whole; reads all of it."""
        return bool(self._db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")

    def balanced(self) -> bool:
        """Tell whether each stream's rows are as many as were counted when they were booked."""
        sql = """
            SELECT NOT EXISTS (
                SELECT 1 FROM streams LEFT JOIN (SELECT stream_id, count(*) AS rows FROM activities GROUP BY stream_id)
                    ON stream_id = streams.id
                WHERE seen <> coalesce(rows, 0))
        """
        return bool(self._db.execute(sql).fetchone()[0])

    def counts(self) -> dict[str, int]:
        """Return how many activities stand in each state."""
        found = dict(self._db.execute("SELECT state, count(*) FROM activities GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in STATES}

    def status(self, *, version: str, now: datetime) -> dict[str, Any]:
        """Return the document of `syncd status --json` (design 4.4)."""
        with self._at_one_moment():
            return self._status(version, now)

    def _status(self, version: str, now: datetime) -> dict[str, Any]:
        return {
            "version": version,
            "ledger": {"path": str(self.handle), "schema": VERSION, "bytes": self._bytes()},
            "activities": self.counts(),
            "verdicts": self._verdicts(),
            "changed_after_delivery": self._number("SELECT count(*) FROM activities WHERE changed_after_delivery"),
            "seen": self._number("SELECT coalesce(sum(seen), 0) FROM streams"),
            "balanced": self.balanced(),
            "reasons": self._reasons(),
            "sources": self._sources(now),
            "oldest_pending_at": self._one("SELECT min(first_seen_at) FROM activities WHERE state = 'pending'"),
            "next_attempt_at": self._one("SELECT min(next_attempt_at) FROM activities WHERE state <> 'delivered'"),
            "pauses": self._pauses(now),
            "clock_skew_s": self._clock_skew_s(),
            "clock_confirmed": not self.clock_doubted(),
            "last_pass": self._last_pass(),
        }

    def find(self, wanted: str) -> list[str]:
        """Return the externalActivityIds that `wanted` names, itself or by the CRM's id; NoSuchActivity for none.

        Where a CRM shows ids without the three characters that check the 15 others, those name it too.
        """
        sql = """
            SELECT external_activity_id FROM activities WHERE external_activity_id = :id
            UNION SELECT external_activity_id FROM activities WHERE crm_id = :id
        """
        found = [row[0] for row in self._db.execute(sql, {"id": wanted})]
        if not found and len(wanted) == SHORT_ID and wanted.isalnum():
            sql = "SELECT external_activity_id FROM activities WHERE length(crm_id) = 18 AND crm_id GLOB :id || '???'"
            found = [row[0] for row in self._db.execute(sql, {"id": wanted})]
        if not found:
            raise NoSuchActivity(
                f"the ledger holds no activity {wanted!r}",
                hint="give the externalActivityId or the CRM's id; a draft, and what was last changed before "
                "`start`, is not read; a record of the last minutes comes with the next pass",
            )
        return found

    def sample(self, state: str, limit: int) -> list[str]:
        """Return up to `limit` externalActivityIds that stand in `state`, the latest first."""
        sql = "SELECT external_activity_id FROM activities WHERE state = :state ORDER BY id DESC LIMIT :limit"
        return [row[0] for row in self._db.execute(sql, {"state": state, "limit": limit})]

    def explain(self, external_activity_id: str) -> dict[str, Any]:
        """Return the document of `syncd explain --json` (design 4.4) for one that `find` named."""
        sql = """
            SELECT external_activity_id, source, stream, crm_id, kind, occurred_at, state, reason, verdict,
                first_seen_at, coalesce(updated_at, iif(state = 'delivered', finished_at, NULL), first_seen_at)
                AS updated_at, iif(state = 'delivered', coalesce(updated_at, finished_at), NULL) AS delivered_at,
                next_attempt_at, modified_at, detail, changed_after_delivery, activities.id
            FROM activities JOIN streams ON streams.id = stream_id LEFT JOIN posts ON posts.id = last_post
            WHERE external_activity_id = :id
        """
        (row,) = self._rows(sql, {"id": external_activity_id})
        row["changed_after_delivery"] = bool(row["changed_after_delivery"])
        attempts = """
            SELECT at, coalesce(verdict, 'under_way') AS verdict, detail
            FROM attempts JOIN posts ON posts.id = post_id WHERE activity_id = :id ORDER BY post_id
        """
        story = {
            "attempts": list(self._rows(attempts, {"id": row.pop("id")})),
            "clock_confirmed": not self.clock_doubted(),
        }
        return row | story

    @contextmanager
    def _at_one_moment(self) -> Iterator[None]:
        """Let what is read within agree, whatever another process commits in between."""
        if self._db.conn.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def _rows(self, sql: str, values: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        cursor = self._db.execute(sql, values or {})
        names: Sequence[str] = [column[0] for column in cursor.description]
        return (dict(zip(names, row, strict=True)) for row in cursor)

    def _one(self, sql: str) -> Any:
        return self._db.execute(sql).fetchone()[0]

    def _number(self, sql: str) -> int:
        return int(self._one(sql))

    def under_way_since(self) -> datetime | None:
        """Return when the pass under way began; None when none is. A killed one looks so until the next begins."""
        last = self._last_pass()
        return None if last is None or last["finished_at"] is not None else clock.instant(last["started_at"])

    def written_at(self) -> datetime:
        """Return when something was last written to the file."""
        return datetime.fromtimestamp(max(part.st_mtime for part in self._parts()), UTC)

    def silent_since(self) -> datetime | None:
        """Return since when Recotap has taken nothing of what it was sent; None where it does, or nothing waits."""
        sql = "SELECT silent_since FROM recotap WHERE EXISTS (SELECT 1 FROM payloads)"
        row = self._db.execute(sql).fetchone()
        return None if row is None else clock.optional_instant(row[0])

    def _bytes(self) -> int:
        return sum(part.st_size for part in self._parts())

    def _parts(self) -> list[os.stat_result]:
        """Return the status of the ledger's file and of its log. The log may go at any moment."""
        path = self.handle.path
        try:
            found = [path.stat()]
        except OSError as error:
            raise LedgerError(
                f"the ledger at {path} cannot be used: {files.why(error)}",
                hint="let syncd's user enter the ledger's directory; if the ledger is gone, restore a backup",
            ) from error
        with suppress(OSError):
            found.append(path.with_name(path.name + "-wal").stat())
        return found

    def clock_doubted(self) -> bool:
        """Tell whether the last that was booked was booked by a clock that no server confirms."""
        sql = "SELECT value = 'true' FROM store WHERE source = :source AND key = :key"
        row = self._db.execute(sql, {"source": RECOTAP, "key": DOUBT}).fetchone()
        return bool(row and row[0])

    def _clock_skew_s(self) -> float | None:
        """Return how far this machine's clock was ahead of the server's that is closest; None if none told.

        Of the last response of each server whose Date is not known to stand still.
        """
        sql = "SELECT value FROM store WHERE key = :key"
        kept = [json.loads(value) for (value,) in self._db.execute(sql, {"key": CLOCK})]
        skews = [-each["skew_s"] for each in kept if each["moves"] is not False]
        return min(skews, key=abs, default=None)

    def _verdicts(self) -> dict[str, int]:
        sql = "SELECT verdict, count(*) FROM activities WHERE state = 'delivered' GROUP BY verdict"
        found = dict(self._db.execute(sql).fetchall())
        return {verdict: found.get(verdict, 0) for verdict in VERDICTS}

    def _reasons(self) -> dict[str, dict[str, int]]:
        sql = """
            SELECT state, coalesce(reason, 'unknown') AS reason, count(*) AS rows FROM activities
            WHERE state IN ('incomplete', 'excluded', 'dead') GROUP BY 1, 2
        """
        reasons: dict[str, dict[str, int]] = {"incomplete": {}, "excluded": {}, "dead": {}}
        for state, reason, rows in self._db.execute(sql):
            reasons[state][reason] = rows
        return reasons

    def _sources(self, now: datetime) -> list[dict[str, Any]]:
        sql = f"""
            SELECT source, stream, watermark, last_success_at, last_error, seen, swept_at,
                (SELECT until FROM pauses WHERE name = source AND {_PAUSED}) AS paused_until
            FROM streams ORDER BY source, stream
        """  # nosec B608 # our own text
        return list(self._rows(sql, times(now)))

    def _pauses(self, now: datetime) -> dict[str, dict[str, str]]:
        sql = f"SELECT name, until, reason FROM pauses WHERE {_PAUSED}"  # nosec B608 # our own text
        rows = self._rows(sql, times(now))
        return {row["name"]: {"until": row["until"], "reason": row["reason"]} for row in rows}

    def _last_pass(self) -> dict[str, Any] | None:
        sql = "SELECT started_at, finished_at, exit_code FROM passes ORDER BY id DESC LIMIT 1"
        return next(self._rows(sql), None)
