"""Write the ledger. The order of writes is the design:

rows and watermark of a page       one transaction
the intent of a POST               committed before the request leaves
the verdicts of a POST             one transaction, after the answer
"""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from syncd import clock
from syncd.connector import Ref
from syncd.ledger import recount
from syncd.ledger.adoption import AdoptionWriter
from syncd.ledger.contract import Handle
from syncd.ledger.counts import KEEP_DAYS, KIND, kind_of, pending_kind
from syncd.ledger.dialect import BROKEN_OFF, listed, locked
from syncd.ledger.forgetting import ForgottenRows
from syncd.ledger.outbox import AttemptResult, Claim, Claimed, Due, Outbox, RecordKey, Sendable
from syncd.ledger.range_writing import RangeWriter
from syncd.ledger.reader import DOUBT, RECOTAP, RECOUNT, LedgerReader
from syncd.ledger.reads import Reads, is_stale, read_at
from syncd.ledger.recount import Recount
from syncd.ledger.removed import RemovedSources
from syncd.ledger.rewinding import RewindWriter
from syncd.ledger.rows import ROW_COLUMNS, UNWRITABLE, UNWRITTEN, Held, columns_of, row_of
from syncd.ledger.sameness import Twins
from syncd.ledger.sealed import SAMENESS
from syncd.lifecycle import timing, transitions
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import State
from syncd.lifecycle.transitions import Reading
from syncd.text import fit

KEEP_PASSES = 500
SECRET_BYTES = 32

_INSERT = f"""
    INSERT INTO activities (id, stream_id, crm_id, external_activity_id, kind, first_seen_at,
        {", ".join(ROW_COLUMNS)})
    VALUES (?, ?, ?, ?, ?, ?, {", ".join("?" * len(ROW_COLUMNS))})
"""  # nosec B608 # names of columns
# Nearly every new row. The columns that are left out cost a third of the statement.
_INSERT_PENDING = """
    INSERT INTO activities (id, stream_id, crm_id, external_activity_id, kind, first_seen_at,
        state, owner_id, domain, modified_at, occurred_at, next_attempt_at)
    VALUES (?, ?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?, ?)
"""
_INSERT_PAYLOAD = "INSERT INTO payloads (activity_id, body, read_at) VALUES (?, ?, ?)"
_EXISTING = f"""
    SELECT crm_id, id, body, read_at, {", ".join(ROW_COLUMNS)} FROM activities LEFT JOIN payloads ON activity_id = id
    WHERE stream_id = :stream_id AND crm_id IN {listed("ids")} {locked("activities")}
"""  # nosec B608 # names of columns
_READ_ON = """
    UPDATE streams SET seen = seen + :new,
        watermark = CASE WHEN :watermark > coalesce(watermark, '') THEN :watermark ELSE watermark END
    WHERE id = :id AND (:new > 0 OR :watermark > coalesce(watermark, ''))
"""


@dataclass(frozen=True, slots=True)
class Booked:
    """The changes of a page."""

    new: int = 0
    changed: int = 0  # rows that this reading moved or refreshed
    early: int = 0  # of the new ones: happened before `start`
    changed_after_delivery: int = 0


class Ledger(RangeWriter, Outbox, Reads, RemovedSources, Twins, AdoptionWriter, RewindWriter, ForgottenRows):
    """Write the ledger, in the thread that opened it and while the ledger is held."""

    def __init__(self, db: Database, handle: Handle[LedgerReader]) -> None:
        super().__init__(db, handle)
        self._streams: dict[tuple[str, str], int] = {}
        self._doubted: bool | None = None  # None: not read yet. No other process writes it while the ledger is held

    # -- sources and streams ------------------------------------------------------------

    def introduce(self, source: str, *, identity: str | None, external_id: str) -> None:
        """Remember the portal or org of `source`, and its template of externalActivityId."""
        sql = """
            INSERT INTO sources (source, identity, external_id) VALUES (:source, :identity, :external_id)
            ON CONFLICT (source) DO UPDATE SET
                identity = coalesce(excluded.identity, sources.identity), external_id = excluded.external_id
            WHERE sources.external_id <> excluded.external_id
                OR coalesce(sources.identity, '') <> coalesce(excluded.identity, sources.identity, '')
        """
        with self.transaction():
            self._db.execute(sql, {"source": source, "identity": identity, "external_id": external_id})

    def stream_id(self, source: str, stream: str) -> int:
        """Return the row id of `stream`. It is created at first sight."""
        key = (source, stream)
        if key not in self._streams:
            values = {"source": source, "stream": stream}
            new = "INSERT INTO streams (source, stream) VALUES (:source, :stream) ON CONFLICT DO NOTHING"
            with self.transaction():
                self._db.execute(new, values)
            sql = "SELECT id FROM streams WHERE source = :source AND stream = :stream"
            self._streams[key] = self._db.execute(sql, values).fetchone()[0]
        return self._streams[key]

    def window_finished(self, stream_id: int, *, now: datetime, swept_at: datetime | None) -> None:
        """Book that a window was read to its end. `swept_at`: if it was a sweep, its start."""
        sql = """
            UPDATE streams SET last_success_at = :now, last_error = NULL, swept_at = coalesce(:swept_at, swept_at)
            WHERE id = :id
        """
        values = {"id": stream_id, "now": clock.text(now), "swept_at": clock.optional_text(swept_at)}
        with self.transaction():
            self._db.execute(sql, values)

    def window_failed(self, stream_id: int, message: str) -> None:
        """Book why a stream could not be read."""
        with self.transaction():
            sql = "UPDATE streams SET last_error = :message WHERE id = :id"
            self._db.execute(sql, {"id": stream_id, "message": fit(message)})

    def note_rule(self, stream_id: int, rule: Any) -> None:
        """Keep the settings that narrow a stream, a JSON value, as of this pass."""
        sql = "UPDATE streams SET rule = :rule WHERE id = :id"
        with self.transaction():
            self._db.execute(sql, {"id": stream_id, "rule": json.dumps(rule, sort_keys=True)})

    def pause_until(self, name: str, until: datetime, reason: str, *, now: datetime) -> None:
        """Book that no request goes to `name` until then."""
        sql = """
            INSERT INTO pauses (name, until, reason, booked_at) VALUES (:name, :until, :reason, :now)
            ON CONFLICT (name) DO UPDATE
                SET until = excluded.until, reason = excluded.reason, booked_at = excluded.booked_at
        """
        values = {"name": name, "until": clock.text(until), "reason": fit(reason), "now": clock.text(now)}
        with self.transaction():
            self.lock_shared()
            self._db.execute(sql, values)

    def unpause(self, now: datetime) -> None:
        """Drop the pauses that are over."""
        with self.transaction():
            self.lock_shared()
            self._db.execute("DELETE FROM pauses WHERE until <= :now", {"now": clock.text(now)})

    def keep(self, source: str, changes: Mapping[str, Any], now: datetime) -> None:
        """Keep the changes that the connector of `source` made to its store."""
        sql = """
            INSERT INTO store (source, key, value, at) VALUES (:source, :key, :value, :at)
            ON CONFLICT (source, key) DO UPDATE SET value = excluded.value, at = excluded.at
        """
        rows = [
            {"source": source, "key": key, "value": self._text(source, key, value), "at": clock.text(now)}
            for key, value in changes.items()
        ]
        if rows:
            with self.transaction():
                if source == RECOTAP:
                    self.lock_shared()
                self._db.conn.executemany(sql, rows)

    def make_secret(self, now: datetime) -> None:
        """Make the secret of this ledger's keys, unless there is one. Call it in a transaction."""
        if self.secret() is not None:
            return
        self.lock_shared()
        if self.secret() is None:
            self.keep(RECOTAP, {SAMENESS: secrets.token_hex(SECRET_BYTES)}, now)

    # -- the clock ----------------------------------------------------------------------

    def doubt_clock(self, now: datetime) -> None:
        """Book that no server confirms the clock. Call this before that clock books anything."""
        if not self.clock_doubted():
            self.keep(RECOTAP, {DOUBT: True}, now)
            self._doubted = True

    def trust_clock(self, now: datetime) -> None:
        """Book that a server confirms the clock. If none did before, everything that waits for a time is due now.

        A clock that may have been wrong booked those times. Pending rows are due at their next try.
        """
        if not self.clock_doubted():
            return
        pending = """
            UPDATE activities SET next_attempt_at = :now
            WHERE id IN (SELECT activity_id FROM payloads) AND next_attempt_at > :now
        """
        incomplete = """
            UPDATE activities SET next_attempt_at = :now
            WHERE stream_id IN (SELECT id FROM streams) AND state <> 'pending' AND next_attempt_at > :now
              AND state = 'incomplete'
        """
        with self.transaction():
            for sql in (pending, incomplete):
                self._db.execute(sql, {"now": clock.text(now)})
            self.keep(RECOTAP, {DOUBT: False}, now)
        self._doubted = False

    def clock_doubted(self) -> bool:
        """Tell whether the clock is in doubt, without a query for each page and POST."""
        if self._doubted is None:
            self._doubted = super().clock_doubted()
        return self._doubted

    # -- what was read ------------------------------------------------------------------

    def book(
        self,
        stream_id: int,
        refs: Sequence[Ref],
        readings: Sequence[Reading],
        *,
        now: datetime,
        watermark: datetime | None = None,
        looked_up_at: datetime | None = None,
        certain: bool = True,
        start: datetime | None = None,
        exclude_copies: bool = False,
    ) -> Booked:
        """Book one page: rows, payloads, the stream's counter and its watermark, in one transaction.

        `refs` has every record read. The ledger has those without a reading unchanged. The watermark never
        moves back. `looked_up_at` is the start of a look-up by id: a `retry` since then asks for another one.
        `certain`: a server confirms the clock (lifecycle/transitions.py). `start` is the source's, if `Booked.early` is
        asked for. `exclude_copies`: the same call or email under another id is not sent.
        """
        by_id = looked_up_at is not None
        with self.transaction():
            rows = self._existing(stream_id, {ref.crm_id for ref in refs} | {r.crm_id for r in readings})
            latest = {reading.crm_id: reading for reading in readings}
            ids = self.handle.new_ids(self._db, sum(crm_id not in rows for crm_id in latest))
            twins = self._find_copies(stream_id, rows, latest, ids, now, by_id=by_id, exclude=exclude_copies)
            new = [reading for crm_id, reading in latest.items() if crm_id not in rows]
            self._insert(stream_id, new, ids, now, certain)
            changed = sum(
                self._refresh_alone(rows[crm_id], reading, now, looked_up_at, certain)
                for crm_id, reading in latest.items()
                if crm_id in rows
            )
            pairs = ((held, latest[crm_id]) for crm_id, held in rows.items() if crm_id in latest)
            self._note_twins(twins)
            same = [held.id for held, each in pairs if _is_confirmed(held, each, by_id=by_id)]
            self._read_again(same, looked_up_at or now)
            late = self._note_changes(rows, [ref for ref in refs if ref.crm_id not in latest], now)
            values = {"id": stream_id, "new": len(new), "watermark": clock.optional_text(watermark)}
            self._db.execute(_READ_ON, values)
        return Booked(new=len(new), changed=changed, early=_early(new, start), changed_after_delivery=late)

    def book_missing(self, stream_id: int, crm_ids: Sequence[str], *, now: datetime, certain: bool = True) -> None:
        """Book that look-ups by id found nothing."""
        with self.transaction():
            for held in self._existing(stream_id, crm_ids).values():
                after = transitions.after_missing(held.row, now, stale=is_stale(held.read_at, now), certain=certain)
                self._write(held, after, now)

    def book_unserved(self, stream_id: int, crm_ids: Mapping[str, str], *, now: datetime, certain: bool = True) -> None:
        """Book the ids that the CRM cannot serve, each with the text of its error."""
        with self.transaction():
            for crm_id, held in self._existing(stream_id, list(crm_ids)).items():
                after = transitions.after_unserved(held.row, fit(crm_ids[crm_id]), now, certain=certain)
                self._write(held, after, now)

    def _existing(self, stream_id: int, crm_ids: Any) -> dict[str, Held]:
        found = self._db.execute(_EXISTING, {"stream_id": stream_id, "ids": json.dumps(list(crm_ids))})
        return {
            crm_id: Held(row_id, stream_id, row_of(columns), body, read)
            for crm_id, row_id, body, read, *columns in self._opened(found, activity_id=1, body=2)
        }

    def _insert(
        self, stream_id: int, readings: Sequence[Reading], ids: Sequence[int], now: datetime, certain: bool
    ) -> None:
        """Insert a row for each reading, with the id at its place. One that cannot be written is dead for that."""
        if not readings:
            return
        try:
            self._insert_all(stream_id, readings, ids, now, certain)
        except UNWRITABLE:
            self._undo(ids)
            for row_id, reading in zip(ids, readings, strict=True):
                self._insert_alone(stream_id, reading, row_id, now, certain)

    def _insert_alone(self, stream_id: int, reading: Reading, row_id: int, now: datetime, certain: bool) -> None:
        try:
            self._insert_all(stream_id, [reading], [row_id], now, certain)
        except UNWRITABLE:
            self._undo([row_id])
            self._insert_all(stream_id, [_unwritten(reading)], [row_id], now, certain)

    def _undo(self, ids: Sequence[int]) -> None:
        """Remove the rows of `ids` that this transaction has inserted. A savepoint costs each page a copy.

        The trigger takes them off the counts, to which nothing has added them.
        """
        sql = f"DELETE FROM activities WHERE id IN {listed('ids')} RETURNING {KIND}"  # nosec B608 # our own text
        found = self._db.execute(sql, {"ids": json.dumps([*ids])}).fetchall()
        self._changes.add((kind, 1) for kind in found)

    def _insert_all(
        self, stream_id: int, readings: Sequence[Reading], ids: Sequence[int], now: datetime, certain: bool
    ) -> None:
        at = clock.text(now)
        read = read_at(now)
        rows, pending, payloads, kinds = [], [], [], []
        for row_id, reading in zip(ids, readings, strict=True):
            row = transitions.first_seen(reading, now, certain=certain)
            named = (row_id, stream_id, reading.crm_id, reading.external_activity_id, reading.kind, at)
            if row.state is State.PENDING:  # it has nothing else than these, and its times
                times = (row.modified_at, row.occurred_at, row.next_attempt_at)
                pending.append((*named, row.owner_id, row.domain, *map(clock.optional_text, times)))
                payloads.append((row_id, reading.payload, read))
            else:
                rows.append(named + columns_of(row))
                kinds.append((kind_of(stream_id, row), 1))
        self._db.conn.executemany(_INSERT, rows)
        self._db.conn.executemany(_INSERT_PENDING, pending)
        self._db.conn.executemany(_INSERT_PAYLOAD, self._sealed(payloads))
        self._changes.add([*kinds, (pending_kind(stream_id), len(pending))])

    def _refresh_alone(
        self, held: Held, reading: Reading, now: datetime, looked_up_at: datetime | None, certain: bool
    ) -> bool:
        """Refresh one row. If the new reading cannot be written, the row says so, and the page goes on."""
        try:
            with self._savepoint():
                return self._refresh(held, reading, now, looked_up_at, certain)
        except UNWRITABLE:
            return self._refresh(held, _unwritten(reading), now, looked_up_at, certain)

    def _refresh(
        self, held: Held, reading: Reading, now: datetime, looked_up_at: datetime | None, certain: bool
    ) -> bool:
        row, body = held.row, held.body
        after = transitions.after_reread(
            row, reading, now, same_payload=body == reading.payload, by_id=looked_up_at is not None, certain=certain
        )
        if looked_up_at is not None:
            after = transitions.keep_requested(row, after, began_at=looked_up_at, now=now)
        self._write(held, after, now)
        is_news = _is_news(held, reading, by_id=looked_up_at is not None)
        if after.state is State.PENDING and reading.wanted is State.PENDING and body != reading.payload and is_news:
            self._keep_payload(held.id, reading.payload, looked_up_at or now)
        return after != row

    def _note_changes(self, rows: Mapping[str, Held], refs: Sequence[Ref], now: datetime) -> int:
        """Count delivered rows whose record has changed since. They are not sent again."""
        count = 0
        for ref in refs:
            held = rows.get(ref.crm_id)
            if held and held.row.state is State.DELIVERED and held.row.modified_at < ref.modified_at:
                after = replace(held.row, modified_at=ref.modified_at, changed_after_delivery=True)
                self._write(held, after, now)
                count += 1
        return count

    # -- passes -------------------------------------------------------------------------

    def begin_pass(self, now: datetime) -> int:
        """Book the start of a pass and return its id."""
        with self.transaction():
            values = {"now": clock.text(now), "keep": KEEP_PASSES - 1}
            sql = "DELETE FROM passes WHERE id <= (SELECT max(id) FROM passes) - :keep"
            self._db.execute(sql, values)
            oldest = clock.text(now - KEEP_DAYS)[:10]
            self._db.execute("DELETE FROM days WHERE day < :oldest", {"oldest": oldest})
            self.cut_short(now)
            sql = "INSERT INTO passes (started_at) VALUES (:now) RETURNING id"
            return int(self._db.execute(sql, {"now": values["now"]}).fetchone()[0])

    def cut_short(self, now: datetime) -> None:
        """Close a pass that was killed or broken off. It has no exit code."""
        with self.transaction():
            sql = f"UPDATE passes SET finished_at = :now WHERE {BROKEN_OFF}"  # nosec B608 # our own text
            self._db.execute(sql, {"now": clock.text(now)})

    def end_pass(self, pass_id: int, *, exit_code: int, now: datetime) -> None:
        """Book the end of a pass, and release unused space of the file and the WAL."""
        with self.transaction():
            sql = "UPDATE passes SET finished_at = :now, exit_code = :code WHERE id = :id"
            self._db.execute(sql, {"id": pass_id, "now": clock.text(now), "code": exit_code})
            self._rewrite_payloads()
        self.tidy()

    def recount_daily(self, now: datetime, *, stopping: Callable[[], bool]) -> Recount | None:
        """Count the rows unless that was done within a day, as `syncd ledger recount` does. None if nothing was done.

        Keys of 30 days ago are forgotten then, too. Not within a transaction. A count that `stopping` ends is made by a
        later pass.
        """
        _, counted_at = self.store(RECOTAP).get(RECOUNT, (None, None))
        if counted_at is not None and now - timing.DAY < counted_at <= now:
            return None
        found = recount.count(self._db, self.handle, stopping=stopping)
        if found is not None:
            with self.transaction():
                corrected = recount.correct(self._db, found, now)
            if not corrected:
                return None
            self.forget_keys(now)
        return found

    def tidy(self) -> None:
        """Release unused space, and leave no copy of an erased payload. A later pass does what is not possible now."""
        self.handle.tidy(self._db)
        if self._cipher is not None:
            self._cipher.tidy()


def _early(readings: Sequence[Reading], start: datetime | None) -> int:
    return 0 if start is None else sum(each.occurred_at is not None and each.occurred_at < start for each in readings)


def _is_confirmed(held: Held, reading: Reading, *, by_id: bool) -> bool:
    """Tell whether `reading` leaves a pending row's payload as it is."""
    return held.body is not None and held.body == reading.payload and _is_news(held, reading, by_id=by_id)


def _is_news(held: Held, reading: Reading, *, by_id: bool) -> bool:
    """Tell whether `reading` is no older version, as a search may find it that lags behind a look-up."""
    return by_id or reading.modified_at >= held.row.modified_at


def _unwritten(reading: Reading) -> Reading:
    """Return the dead reading that replaces one that cannot be written."""
    return replace(
        reading,
        wanted=State.DEAD,
        reason=Reason.UNREADABLE,
        detail=UNWRITTEN,
        payload=None,
        occurred_at=None,
        due_at=None,
        owner_id=None,
        domain=None,
    )


__all__ = ["RECOTAP", "AttemptResult", "Booked", "Claim", "Claimed", "Due", "Ledger", "RecordKey", "Sendable"]
