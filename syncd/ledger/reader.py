"""Queries of a pass, the daemon and probes. Nothing here writes."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from syncd import clock
from syncd.ledger.contract import Handle
from syncd.ledger.dialect import IN_FLIGHT, NOT_HELD_BACK, OR_HELD_BACK, listed
from syncd.ledger.ranges import COLUMNS, Range, range_of
from syncd.ledger.sealed import SAMENESS, Sealing
from syncd.lifecycle import timing

RECOTAP = "@recotap"  # its name among the pauses and in the store; no source may begin with @
CLOCK = "@clock"  # in the store of a source, or of Recotap: its server's clock (ServerClock.to_keep)
DOUBT = "@doubt"  # under RECOTAP: whether a clock that no server confirms booked something
SENDING = "@sending"  # under RECOTAP: the size of batches, its last answer, and why sending stopped
RECOUNT = "@recount"  # under RECOTAP: the streams whose rows did not agree with `seen` when the rows were last counted
DESTINATION = "@destination"  # under RECOTAP: host, port and fingerprint of the key that this ledger delivers with
ACCOUNTS = "@accounts"  # under RECOTAP: some domains that were delivered to, and how many of them the key found
CONNECTOR = "@connector"  # under a source: the name of its connector
FIRST_DUE = "@first_due"  # under a source: since when a pass knows of it, so that a first import can be too long
GONE = "@gone"  # under a source: since when the configuration lacks it; null: it has it
EARLY = "@early"  # under a source: how many new activities of a pass happened before its `start`, usually
RESUMED = "@resumed"  # under a source, or RECOTAP: the number of the last request that wants a pass over it
TRUSTED = "@trusted"  # under a source: the operator vouches that its records are held under no other name
STATES = ("pending", "incomplete", "delivered", "skipped", "excluded", "dead")


@dataclass(frozen=True, slots=True)
class StreamState:
    """How far a stream has been read."""

    watermark: datetime | None = None
    swept_at: datetime | None = None
    failed: bool = False  # its last window could not be read to the end
    start: datetime | None = None  # from which it is read, unless a range says otherwise; None: not known yet
    seen: int = 0  # activities that it ever had


# A pause counts if it is not over, and no clock that was ahead booked it. (`booked_at`: since schema 2.)
PAUSED = "until > :now AND until <= :nonsense AND coalesce(booked_at, '') <= :now"
# Whether a look-up of one stream is due. The index `look_ups` answers it, however many rows wait.
_DUE = """
    (EXISTS (SELECT 1 FROM activities WHERE stream_id = {stream} AND state <> 'pending'
        AND next_attempt_at <= :now AND coalesce(reason, '') <> 'redacted')
    OR EXISTS (SELECT 1 FROM activities WHERE stream_id = {stream} AND state <> 'pending'
        AND next_attempt_at > :nonsense AND coalesce(reason, '') <> 'redacted'))
"""
_STREAM = "(SELECT id FROM streams WHERE source = :source AND stream = :stream)"
_KNOWN = f"""
    SELECT crm_id, modified_at, state = 'delivered' FROM activities
    WHERE stream_id = {_STREAM} AND crm_id IN {listed("ids")}
"""  # nosec B608 # our own text
_LOOK_UPS_DUE = """
    SELECT * FROM (
        SELECT next_attempt_at, crm_id FROM activities
        WHERE stream_id = {stream} AND state <> 'pending' AND next_attempt_at {due}
            AND coalesce(reason, '') <> 'redacted'
        ORDER BY next_attempt_at, id LIMIT :limit) AS due
"""
# Two spans of one index: those that wait are not read.
_LOOK_UPS = f"""
    {_LOOK_UPS_DUE.format(stream=_STREAM, due="<= :now")} UNION ALL
    {_LOOK_UPS_DUE.format(stream=_STREAM, due="> :nonsense")} LIMIT :limit
"""  # nosec B608 # our own text
_NEXT_SEND = f"""
    SELECT CASE
        WHEN EXISTS (SELECT 1 FROM activities WHERE state = 'pending' AND last_post = 0 {{scope}})
          OR EXISTS (SELECT 1 FROM activities
            WHERE state = 'pending' AND last_post > 0 AND refusals = 0 {NOT_HELD_BACK} {{scope}})
          OR EXISTS (SELECT 1 FROM activities WHERE id IN {IN_FLIGHT} {{scope}})
        THEN '2000-01-01T00:00:00.000Z'
        ELSE (SELECT min(at) FROM (
            SELECT min(next_attempt_at) AS at FROM activities
            WHERE state = 'pending' AND last_post > 0 AND refusals > 0 AND isolated = 0 {{scope}}
            UNION ALL
            SELECT min(next_attempt_at) FROM activities
            WHERE state = 'pending' AND last_post > 0 AND refusals > 0 AND isolated = 1 {{scope}}
            {OR_HELD_BACK} {{scope}}) AS later)
    END
"""  # nosec B608 # our own text


def times(now: datetime) -> dict[str, str]:
    """Return `:now` and `:nonsense`. A time after `:nonsense` was booked by a wrong clock."""
    return {"now": clock.text(now), "nonsense": clock.text(clock.later(now, timing.LONGEST_WAIT))}


class LedgerReader(Sealing):
    """Read a ledger."""

    def __init__(self, db: Database, handle: "Handle[LedgerReader]") -> None:
        self._db = db
        self.handle = handle
        self._cipher = handle.cipher(db)

    def stream(self, source: str, stream: str) -> StreamState:
        """Return how far `stream` was read. An unknown stream has an empty state."""
        sql = """
            SELECT watermark, swept_at, last_error, start, seen FROM streams
            WHERE source = :source AND stream = :stream
        """
        row = self._db.execute(sql, {"source": source, "stream": stream}).fetchone()
        if row is None:
            return StreamState()
        watermark, swept_at, start = (clock.optional_instant(row[column]) for column in (0, 1, 3))
        return StreamState(watermark, swept_at, row[2] is not None, start, row[4])

    def has_read_a_window(self) -> bool:
        """Tell whether a window of any stream was ever read to its end."""
        return bool(self._number("SELECT EXISTS (SELECT 1 FROM streams WHERE last_success_at IS NOT NULL)"))

    def rules_of(self, source: str) -> dict[str, Any]:
        """Return the settings that narrowed each stream in its last pass. One without any is left out."""
        sql = "SELECT stream, rule FROM streams WHERE source = :source AND rule IS NOT NULL"
        return {stream: json.loads(rule) for stream, rule in self._db.execute(sql, {"source": source})}

    def ranges(self, source: str) -> list[Range]:
        """Return the spans that are still to be read, gaps first, then the oldest first."""
        sql = f"""
            SELECT {COLUMNS} FROM streams JOIN ranges ON stream_id = streams.id WHERE source = :source
            ORDER BY why <> 'gap', created_at, ranges.id
        """  # nosec B608 # names of columns
        return [range_of(row) for row in self._db.execute(sql, {"source": source})]

    def known(self, source: str, stream: str, crm_ids: Iterable[str]) -> dict[str, tuple[str, bool]]:
        """Return (modification time as text, whether delivered) for each of `crm_ids` that the ledger holds."""
        rows = self._db.execute(_KNOWN, {"source": source, "stream": stream, "ids": json.dumps(list(crm_ids))})
        return {crm_id: (modified_at, bool(delivered)) for crm_id, modified_at, delivered in rows}

    def due_look_ups(self, source: str, stream: str, *, now: datetime, limit: int) -> list[tuple[str, str]]:
        """Return (due time as text, crm_id) of up to `limit` due look-ups, the oldest first.

        Redacted activities are left out, even if `retry` named them: see `withheld`.
        """
        values = {"source": source, "stream": stream, "limit": limit} | times(now)
        return self._db.execute(_LOOK_UPS, values).fetchall()

    def others(self, source: str, stream: str, excluded: Collection[str], *, limit: int) -> list[str]:
        """Return up to `limit` CRM ids of a stream beside `excluded`, those that are not incomplete first."""
        sql = """
            SELECT crm_id, state = 'incomplete' FROM activities
            WHERE stream_id = (SELECT id FROM streams WHERE source = :source AND stream = :stream)
            ORDER BY crm_id DESC LIMIT :limit
        """
        values = {"source": source, "stream": stream, "limit": len(excluded) + 10 * limit}
        rows = [row for row in self._db.execute(sql, values) if row[0] not in excluded]
        return [crm_id for crm_id, _ in sorted(rows, key=lambda row: bool(row[1]))][:limit]

    def withheld(self, source: str, stream: str, *, now: datetime, after_id: int, limit: int) -> list[tuple[int, str]]:
        """Return (row id, crm_id) of redacted activities, by row id, for a look-up once the content can be seen."""
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

    def sources_with_rows(self) -> list[str]:
        """Return the sources of which any activity is booked, by name."""
        sql = """
            SELECT DISTINCT source FROM streams WHERE EXISTS (SELECT 1 FROM activities WHERE stream_id = streams.id)
            ORDER BY source
        """
        return [source for (source,) in self._db.execute(sql)]

    def held_under(self, sources: Iterable[str], stream: str, crm_ids: Iterable[str]) -> list[tuple[str, str, str]]:
        """Return (source, crm_id, occurred_at as text) of records that these sources hold in streams of that name."""
        sql = f"""
            SELECT source, crm_id, coalesce(occurred_at, '') FROM activities JOIN streams ON streams.id = stream_id
            WHERE stream_id IN (
                SELECT id FROM streams WHERE stream = :stream AND source IN {listed("sources")})
              AND crm_id IN {listed("ids")}
        """  # nosec B608 # our own text
        values = {"sources": json.dumps([*sources]), "stream": stream, "ids": json.dumps([*crm_ids])}
        return self._db.execute(sql, values).fetchall()

    def owners_of(self, external_activity_ids: Iterable[str]) -> dict[str, tuple[str, str, str]]:
        """Return (source, stream, crm_id) of each externalActivityId that the ledger holds."""
        sql = f"""
            SELECT external_activity_id, source, stream, crm_id
            FROM activities JOIN streams ON streams.id = stream_id
            WHERE external_activity_id IN {listed("ids")}
        """  # nosec B608 # our own text
        rows = self._db.execute(sql, {"ids": json.dumps([*external_activity_ids])})
        return {name: (source, stream, crm_id) for name, source, stream, crm_id in rows}

    def has_sent(self) -> bool:
        """Tell whether Recotap holds an activity of this ledger, or may hold one. Ends with the first that is found."""
        sql = "SELECT EXISTS (SELECT 1 FROM activities WHERE state = 'delivered' OR unknown = 1 OR last_post < 0)"
        return bool(self._one(sql))

    def kept(self, key: str, sources: Iterable[str]) -> dict[str, Any]:
        """Return the value of `key` in the store of each of `sources`. One without it, or with null, is left out."""
        sql = f"SELECT source, value FROM store WHERE key = :key AND source IN {listed('sources')}"  # nosec B608 # our own text
        rows = self._db.execute(sql, {"key": key, "sources": json.dumps([*sources])})
        return {source: value for source, text in rows if (value := self._value(source, key, text)) is not None}

    def store(self, source: str) -> dict[str, tuple[Any, datetime]]:
        """Return the connector's store of `source`: key to (value, time of its put)."""
        rows = self._db.execute("SELECT key, value, at FROM store WHERE source = :source", {"source": source})
        return {key: (self._value(source, key, value), clock.instant(at)) for key, value, at in rows}

    def pause(self, name: str, now: datetime) -> tuple[datetime, str] | None:
        """Return the end and the reason of the pause of `name`, or None."""
        sql = f"SELECT until, reason FROM pauses WHERE name = :name AND {PAUSED}"  # nosec B608 # our own text
        row = self._db.execute(sql, {"name": name} | times(now)).fetchone()
        return None if row is None else (clock.instant(row[0]), row[1])

    def secret(self) -> bytes | None:
        """Return the secret of the keys by which copies are found, or None if no pass has made it."""
        kept = self.kept(SAMENESS, [RECOTAP]).get(RECOTAP)
        return None if kept is None else bytes.fromhex(kept)

    def forgotten(self) -> frozenset[str]:
        """Return the keyed hashes of the people whom `syncd forget` named."""
        return frozenset(hashed for (hashed,) in self._db.execute("SELECT hash FROM forgotten"))

    def requests(self) -> int:
        """Return the number of requests that operators made beside a running syncd."""
        return self._number("SELECT coalesce(max(requests), 0) FROM operator")

    def wanted_since(self, requests: int) -> set[str]:
        """Return the sources over which an operator wanted a pass after that many requests, e.g. by lifting a pause."""
        sql = "SELECT source, value FROM store WHERE key = :key AND source <> :recotap"
        rows = self._db.execute(sql, {"key": RESUMED, "recotap": RECOTAP})
        return {source for source, value in rows if int(value) > requests}

    def sources_to_look_up(self, now: datetime) -> set[str]:
        """Return the sources with a look-up that is due by `now`."""
        sql = f"SELECT source FROM streams WHERE {_DUE.format(stream='streams.id')}"  # nosec B608 # our own text
        return {row[0] for row in self._db.execute(sql, times(now))}

    def last_success(self, unread: Collection[tuple[str, str]] = ()) -> dict[str, datetime]:
        """Return when each source was last read to its end. The stream with the oldest success counts.

        `unread`: the (source, stream) that the configuration does not read. They do not count, nor do those that the
        last pass did not read by its rule.
        """
        sql = "SELECT source, stream, coalesce(last_success_at, ''), rule FROM streams"
        found: dict[str, str] = {}
        for source, stream, at, rule in self._db.execute(sql):
            if (source, stream) not in unread and (rule is None or json.loads(rule).get("read") is not False):
                found[source] = min(found.get(source, at), at)
        return {source: clock.instant(at) for source, at in found.items() if at}

    def next_send_at(self) -> datetime | None:
        """Return when the first pending activity may go out, or None if there is none.

        An activity without a verdict about itself may go at once, whatever the clock said when it was booked.
        """
        scope, values = self._scope()
        return clock.optional_instant(self._db.execute(_NEXT_SEND.format(scope=scope), values).fetchone()[0])

    def balanced(self) -> bool:
        """Tell whether each stream has as many rows as were counted when they were booked.

        The kept counts tell, and the last recount of the rows. No row is counted here.
        """
        sql = """
            SELECT NOT EXISTS (
                SELECT 1 FROM streams
                WHERE seen <> (SELECT coalesce(sum(n), 0) FROM counts WHERE stream_id = streams.id))
            AND NOT EXISTS (SELECT 1 FROM store WHERE source = :source AND key = :key AND value <> '[]')
        """
        return bool(self._db.execute(sql, {"source": RECOTAP, "key": RECOUNT}).fetchone()[0])

    def counts(self) -> dict[str, int]:
        """Return the number of activities in each state."""
        found = dict(self._db.execute("SELECT state, sum(n) FROM counts GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in STATES}

    def under_way_since(self) -> datetime | None:
        """Return when the pass under way began, or None. A killed pass counts until the next one begins."""
        last = self._last_pass()
        return None if last is None or last["finished_at"] is not None else clock.instant(last["started_at"])

    def written_at(self) -> datetime:
        """Return the time of the last write to the ledger."""
        return self.handle.written_at()

    def silent_since(self) -> datetime | None:
        """Return the time since which Recotap has taken nothing. None if it takes activities, or if none waits."""
        sql = "SELECT silent_since FROM recotap WHERE EXISTS (SELECT 1 FROM payloads)"
        row = self._db.execute(sql).fetchone()
        return None if row is None else clock.optional_instant(row[0])

    def clock_doubted(self) -> bool:
        """Tell whether a clock that no server confirms booked the last change."""
        sql = "SELECT value = 'true' FROM store WHERE source = :source AND key = :key"
        row = self._db.execute(sql, {"source": RECOTAP, "key": DOUBT}).fetchone()
        return bool(row and row[0])

    def _streams_in_scope(self) -> list[int] | None:
        """Return the row ids of the streams whose rows the holder writes. None: those of all."""
        sources = self.handle.scope()
        if sources is None:
            return None
        sql = f"SELECT id FROM streams WHERE source IN {listed('sources')} ORDER BY id"  # nosec B608 # our own text
        return [row[0] for row in self._db.execute(sql, {"sources": json.dumps(sources)})]

    def _scope(self) -> tuple[str, dict[str, str]]:
        """Return the condition that a row belongs to the holder's streams, and its value."""
        streams = self._streams_in_scope()
        if streams is None:
            return "", {}
        return f"AND stream_id IN {listed('scope')}", {"scope": json.dumps(streams)}

    def _rows(self, sql: str, values: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        cursor = self._db.execute(sql, values or {})
        names: Sequence[str] = [column[0] for column in cursor.description]
        return (dict(zip(names, row, strict=True)) for row in cursor)

    def _one(self, sql: str) -> Any:
        return self._db.execute(sql).fetchone()[0]

    def _number(self, sql: str) -> int:
        return int(self._one(sql))

    def _last_pass(self) -> dict[str, Any] | None:
        sql = "SELECT started_at, finished_at, exit_code FROM passes ORDER BY id DESC LIMIT 1"
        return next(self._rows(sql), None)
