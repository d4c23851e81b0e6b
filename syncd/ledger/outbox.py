"""Find due activities, commit the intent before a POST, and book the verdicts after it."""

import json
from collections.abc import Callable, Collection, Sequence, Set
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from syncd import clock
from syncd.ledger.dialect import NOT_HELD_BACK, listed, locked
from syncd.ledger.key_sharing import Admission
from syncd.ledger.lost import LostPayloads
from syncd.ledger.reader import times
from syncd.ledger.reads import fresh
from syncd.ledger.rows import ROW_COLUMNS, UNWRITABLE, UNWRITTEN, Held, row_of
from syncd.lifecycle import transitions
from syncd.lifecycle.states import ANSWERS, MEANINGS, SILENCES, Cause, IllegalMove, State, Verdict, move
from syncd.text import fit

DELIVERIES = frozenset(verdict for verdict, meaning in MEANINGS.items() if meaning.state is State.DELIVERED)
CLOCKS_DIFFER = timedelta(milliseconds=100)  # from the database's, in the time that `explain` shows
KEEP_ATTEMPTS = 20  # of one activity, because an outage of weeks must not fill the file

_DUE = """
    SELECT id, isolated, verdict, CASE
        WHEN unknown = 0 AND coalesce(read_at, 0) NOT BETWEEN :fresh_since AND :fresh_until THEN stream_id ELSE 0 END
    FROM activities JOIN payloads ON activity_id = id
    WHERE state = 'pending'
"""
# The same of one stream, with the time that orders them. An index holds each stream in this order.
_DUE_OF_STREAM = _DUE.replace(
    "ELSE 0 END", "ELSE 0 END, CASE WHEN last_post = 0 THEN occurred_at ELSE next_attempt_at END"
)
_DUE_OF_STREAM += " AND stream_id = :stream_id"
_CLAIMED = f"""
    SELECT id, stream_id, crm_id, external_activity_id, body, unknown, last_post
    FROM activities JOIN payloads ON activity_id = id
    WHERE id IN {listed("ids")}
"""  # nosec B608 # our own text
_ONLY = f" AND id IN {listed('only')}"
_FRESH = " AND last_post = 0 ORDER BY occurred_at LIMIT :limit"
_BEFORE = f" AND last_post > 0 AND last_post < :first_post {NOT_HELD_BACK}"
_BLAMELESS = _BEFORE + " AND refusals = 0 AND isolated = {} ORDER BY next_attempt_at LIMIT :limit"
_BACKED_OFF = (
    _BEFORE + " AND refusals > 0 AND isolated = {} AND next_attempt_at {} ORDER BY next_attempt_at LIMIT :limit"
)
# A delivery of a POST is dated by its row in `posts`: 24 bytes less in a row, which 200,000 rows notice.
_DELIVERED = f"""
    UPDATE activities SET state = 'delivered', verdict = :verdict, reason = NULL, detail = NULL,
        next_attempt_at = NULL, updated_at = NULL, last_post = :post
    WHERE id IN {listed("ids")} AND state = 'pending'
"""  # nosec B608 # our own text
_ERASED = f"DELETE FROM payloads WHERE activity_id IN {listed('ids')}"  # nosec B608 # our own text
_IN_POST = f"UPDATE activities SET last_post = :post WHERE id IN {listed('ids')}"  # nosec B608 # our own text
_HELD_BACK = f"""
    UPDATE activities SET next_attempt_at = :at
    WHERE id IN {listed("ids")} AND state = 'pending' AND next_attempt_at < :at
"""  # nosec B608 # our own text
_OVER, _NONSENSE = "<= :now", "> :nonsense"  # the back-off is over, or a wrong clock booked it
# In this order. Of the isolated ones, those that a 400 named come before those that crash the server, because a
# crash may end the pass.
_QUEUES = (
    _FRESH,
    _BLAMELESS.format(0),
    *(_BACKED_OFF.format(isolated, when) for isolated in (0, 1) for when in (_OVER, _NONSENSE)),
    _BLAMELESS.format(1),
)


_QUEUES_OF_SOME = tuple(_ONLY + queue for queue in _QUEUES)

RecordKey = tuple[int, str]  # (stream_id, the record's id in the CRM)


class Due(NamedTuple):
    """One activity that may go out."""

    id: int  # the ledger's
    isolated: bool  # travels only with its like
    crashes_server: bool  # its last attempt, alone, met a time-out or a 5xx while others got through
    stale_in: int = 0  # the stream in which its record is to be looked up first, or 0: it was read within an hour


class Claimed(NamedTuple):
    """One activity on its way out, as its row stood when the intent was committed."""

    id: int
    isolated: bool  # as `due` said
    crashes_server: bool
    external_activity_id: str
    body: str  # one JSON object
    unknown: bool  # an *earlier* attempt may have stored it
    record: RecordKey


# A claimed one may be sent again in its pass, e.g. as the half of a batch.
Sendable = Due | Claimed


class Claim(NamedTuple):
    """One POST whose intent is committed."""

    post_id: int
    activities: tuple[Claimed, ...]


class AttemptResult(NamedTuple):
    """One activity's verdict in one POST."""

    activity_id: int
    verdict: Verdict
    detail: str | None = None


class Outbox(LostPayloads):
    """Claim due activities and book their verdicts."""

    def first_post(self) -> int:
        """Return the id of the next POST. Attempts from it on belong to this pass."""
        return self.handle.next_post(self._db)

    def due(
        self,
        limit: int,
        *,
        first_post: int,
        now: datetime,
        skip: Collection[int] = (),
        only: Collection[int] | None = None,
    ) -> list[Due]:
        """Return up to `limit` activities to send next: all fresh, all retried, or all isolated. Reads no payload.

        Fresh ones come first, the oldest first, and then retries. Activities that a 400 named come last, and
        only with their like. Those that this pass has tried are left out, and those of `skip`. An activity without a
        verdict about itself is due, whatever the clock said when it was booked. `only`: the rows that may go out.

        An activity is stale if its record was not read within an hour, unless Recotap may have stored it.
        """
        values: dict[str, Any] = {"limit": limit, "first_post": first_post, **times(now), **fresh(now)}
        if only is not None:
            values["only"] = json.dumps(list(only))
        rows: list[Any] = []
        for queue in _QUEUES if only is None else _QUEUES_OF_SOME:
            rows = rows or self._next_of(queue, values, skip)
        return [
            Due(row_id, bool(isolated), verdict == Verdict.SUSPECT.value, stale_in)
            for row_id, isolated, verdict, stale_in in rows
        ]

    def _next_of(self, queue: str, values: dict[str, Any], skip: Collection[int]) -> list[Any]:
        limit = values["limit"]
        for most in (limit, limit + len(skip)):
            rows = self._first_of(queue, {**values, "limit": most})
            left = [row for row in rows if row[0] not in skip]
            if len(left) >= limit or len(rows) < most:
                break
        return left[:limit]

    def _first_of(self, queue: str, values: dict[str, Any]) -> list[Any]:
        """Return the first rows of a queue: of all, or of the holder's streams, asked one by one and merged."""
        streams = self._streams_in_scope()
        if streams is None:
            return self._db.execute(_DUE + queue, values).fetchall()
        found = [
            row
            for stream_id in streams
            for row in self._db.execute(_DUE_OF_STREAM + queue, {**values, "stream_id": stream_id}).fetchall()
        ]
        return [row[:-1] for row in sorted(found, key=lambda row: row[-1] or "")[: values["limit"]]]

    @property
    def shares_key(self) -> bool:
        """Whether other lanes may use the Recotap key at the same time: then `admit` comes before `intend`."""
        return self._key is not None

    def look_at_key(self, most: int, *, now: datetime) -> Admission:
        """Return what `admit` would at the moment. Writes nothing."""
        assert self._key is not None
        return self._key.look(most, now=now)

    def admit(self, most: int, *, timeout_s: float, now: datetime) -> Admission:
        """Return how many POSTs this transaction may book, of `most` of all lanes. `timeout_s`: the deadline of each.

        Call it within a transaction, in which the other lanes wait from then on.
        """
        assert self._key is not None
        return self._key.admit(most, timeout_s=timeout_s, now=now)

    def close_key(self, for_s: float, cause: str, *, probe_failed: bool) -> None:
        """Let no lane of a shared key send for so long, and one POST alone after it. `probe_failed`: all lanes stop."""
        if self._key is not None:
            with self.transaction():
                self._key.close(for_s, fit(cause), probe_failed=probe_failed)

    def open_key(self) -> None:
        """Let all lanes of a shared key send: the probe of an outage was answered."""
        if self._key is not None:
            with self.transaction():
                self._key.open()

    def intend(self, activities: Sequence[Sendable], *, now: datetime) -> Claim:
        """Book the intent to POST `activities`. The request may leave once the transaction is committed.

        Payloads, and whether an earlier attempt may have stored one, are as of this moment: before this
        intent, and after all that was booked since `due`. Activities that have left `pending` since are skipped.
        """
        wanted = json.dumps([activity.id for activity in activities])
        with self.transaction():
            found = self._db.execute(_CLAIMED, {"ids": wanted})
            rows = {row[0]: row for row in self._without_lost(self._opened(found, activity_id=0, body=4), 4, now)}
            members = json.dumps(list(rows)) if rows else None
            sql = "INSERT INTO posts (at, members) VALUES (:at, :members) RETURNING id"
            post_id = int(self._db.execute(sql, {"at": clock.text(now), "members": members}).fetchone()[0])
            self._forget_old_attempts([row_id for row_id, *_, last_post in rows.values() if last_post])
            self._db.execute(_IN_POST, {"post": -post_id, "ids": members})
        return Claim(post_id, tuple(_claimed(due, *rows[due.id]) for due in activities if due.id in rows))

    def _forget_old_attempts(self, activity_ids: Sequence[int]) -> None:
        sql = f"""
            DELETE FROM past_attempts WHERE activity_id = :id AND post_id <= (
                SELECT post_id FROM past_attempts WHERE activity_id = :id
                ORDER BY post_id DESC LIMIT 1 OFFSET {KEEP_ATTEMPTS - 1})
        """  # nosec B608 # a constant
        self._db.conn.executemany(sql, [{"id": activity_id} for activity_id in activity_ids])

    def record_verdicts(
        self,
        post_id: int,
        results: Sequence[AttemptResult],
        *,
        now: datetime,
        max_age: timedelta,
        random: Callable[[], float],
        certain: bool = True,
    ) -> int:
        """Book the verdicts of one POST, and return how many activities died of them.

        If one of them cannot be written, each is booked on its own, and that one without its text.
        """
        how: dict[str, Any] = {"now": now, "max_age": max_age, "random": random, "certain": certain}
        results = [each if each.detail is None else each._replace(detail=fit(each.detail)) for each in results]
        with self.transaction():
            if all(result.detail is None for result in results):  # then every value can be written
                died = self._record(post_id, results, **how)
            else:
                died = self._record_carefully(post_id, results, **how)
            self._finish(post_id, {result.activity_id for result in results}, now)
            self._note_silence({each.verdict for each in results}, now)
        return died

    def _finish(self, post_id: int, recorded: Set[int], now: datetime) -> None:
        """Book that a POST was answered. Its members without a verdict stay."""
        sql = f"SELECT members FROM posts WHERE id = :id {locked('posts')}"  # nosec B608 # our own text
        (members,) = self._db.execute(sql, {"id": post_id}).fetchone()
        left = [member for member in json.loads(members or "[]") if member not in recorded]
        sql = "UPDATE posts SET finished_at = :now, members = :members WHERE id = :id"
        values = {"id": post_id, "now": clock.text(now), "members": json.dumps(left) if left else None}
        self._db.execute(sql, values)

    def _record_carefully(self, post_id: int, results: Sequence[AttemptResult], **how: Any) -> int:
        try:
            with self._savepoint():
                return self._record(post_id, results, **how)
        except UNWRITABLE:
            return sum(self._record_alone(post_id, result, **how) for result in results)

    def _record_alone(self, post_id: int, result: AttemptResult, **how: Any) -> int:
        try:
            with self._savepoint():
                return self._record(post_id, [result], **how)
        except UNWRITABLE:
            return self._record(post_id, [result._replace(detail=UNWRITTEN)], **how)

    def _record(
        self,
        post_id: int,
        results: Sequence[AttemptResult],
        *,
        now: datetime,
        max_age: timedelta,
        random: Callable[[], float],
        certain: bool,
    ) -> int:
        delivered = [each for each in results if each.verdict in DELIVERIES]
        self._deliver(post_id, delivered, now)
        others = {each.activity_id: each for each in results if each.verdict not in DELIVERIES}
        if others:
            self._land(post_id, list(others))
            (posted_at,) = self._db.execute("SELECT at FROM posts WHERE id = :id", {"id": post_id}).fetchone()
        died = 0
        for held in self._pending(list(others)) if others else ():
            result = others[held.id]
            after = transitions.after_verdict(
                held.row, result.verdict, result.detail, now=now, max_age=max_age, random=random, certain=certain
            )
            after = transitions.keep_requested(held.row, after, began_at=clock.instant(posted_at), now=now)
            self._write(held, after, now)
            died += after.state is State.DEAD
        told = [each for each in results if each.detail is not None or each.verdict not in DELIVERIES]
        self._db.conn.executemany(
            "INSERT INTO past_attempts (activity_id, post_id, verdict, detail) VALUES (?, ?, ?, ?)",
            [(each.activity_id, post_id, each.verdict.value, each.detail) for each in told],
        )
        return died

    def _land(self, post_id: int, ids: Sequence[int]) -> None:
        """Note that activities are no longer in flight."""
        self._db.execute(_IN_POST, {"post": post_id, "ids": json.dumps(ids)})

    def _note_silence(self, verdicts: Set[Verdict], now: datetime) -> None:
        """Keep the time since which no POST has brought an answer of Recotap about an item. Its row is the key's."""
        if verdicts & ANSWERS:
            self._db.execute("UPDATE recotap SET silent_since = NULL WHERE silent_since IS NOT NULL")
        elif verdicts & SILENCES:
            sql = "UPDATE recotap SET silent_since = :now WHERE silent_since IS NULL"
            self._db.execute(sql, {"now": clock.text(now)})

    def _deliver(self, post_id: int, results: Sequence[AttemptResult], now: datetime) -> None:
        """Book deliveries in bulk, one statement a verdict. `transitions.after_verdict` says the same of one row."""
        move(State.PENDING, State.DELIVERED, Cause.VERDICT)
        count = 0
        for verdict in {each.verdict for each in results}:
            ids = json.dumps([each.activity_id for each in results if each.verdict is verdict])
            values = {"verdict": verdict.value, "post": post_id, "ids": ids}
            self._changes.deliver(self._db, verdict.value, ids, now)
            count += self._db.execute(_DELIVERED, values).rowcount
            self._db.execute(_ERASED, {"ids": ids})
            self._has_erased = True
        if count != len(results):
            raise IllegalMove(f"{len(results) - count} of {len(results)} delivered activities were not pending")

    def _pending(self, ids: Sequence[int]) -> list[Held]:
        sql = f"""
            SELECT id, stream_id, {", ".join(ROW_COLUMNS)} FROM activities
            WHERE id IN {listed("ids")} {locked("activities")}
        """  # nosec B608 # names of columns
        found = self._db.execute(sql, {"ids": json.dumps(list(ids))})
        return [Held(row_id, stream_id, row_of(columns)) for row_id, stream_id, *columns in found]

    def recover(self, *, now: datetime) -> int:
        """Book the attempts that a crash left open, and return their number. Recotap may have stored each of them.

        Those of other holders stay open. The request of a dead holder may still be on its way, so its rows are not due
        until it has met its deadline.
        """
        with self.transaction():
            posts = self._db.execute("SELECT id, members FROM posts WHERE members IS NOT NULL ORDER BY id").fetchall()
            count = 0
            for post_id, members in posts:
                ids = self._in_scope(json.loads(members))
                if not ids:
                    continue
                results = [AttemptResult(activity_id, Verdict.CRASHED) for activity_id in ids]
                self.record_verdicts(post_id, results, now=now, max_age=timedelta.max, random=lambda: 0.0)
                self._hold_back(post_id, ids, now)
                count += len(ids)
        return count

    def _hold_back(self, post_id: int, ids: Sequence[int], now: datetime) -> None:
        """Do not send the rows of a dead holder's POST before its request has met its deadline."""
        members = json.dumps(ids)
        if self._key is not None and (left_s := self._key.hold_back(post_id, members)):
            at = now + timedelta(seconds=left_s) + CLOCKS_DIFFER
            self._db.execute(_HELD_BACK, {"ids": members, "at": clock.text(at)})

    def end_posts(self) -> None:
        """Book that no request of this holder is on its way any more, whatever came of it. Its attempts stay open."""
        if self._key is not None:
            with self.transaction():
                self._key.end_posts()

    def _in_scope(self, ids: list[int]) -> list[int]:
        """Return those of `ids` that are activities of the holder's streams."""
        streams = self._streams_in_scope()
        if streams is None:
            return ids
        sql = f"SELECT id FROM activities WHERE id IN {listed('ids')} AND stream_id IN {listed('streams')} ORDER BY id"  # nosec B608 # our own text
        values = {"ids": json.dumps(ids), "streams": json.dumps(streams)}
        return [row[0] for row in self._db.execute(sql, values)]


def _claimed(
    due: Sendable, _: int, stream_id: int, crm_id: str, external_activity_id: str, body: str, unknown: int, __: int
) -> Claimed:
    record = stream_id, crm_id
    return Claimed(due.id, due.isolated, due.crashes_server, external_activity_id, body, bool(unknown), record)


__all__ = ["AttemptResult", "Claim", "Claimed", "Due", "Outbox", "RecordKey", "Sendable"]
