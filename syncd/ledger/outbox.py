"""What is sent: which activities are due, the intent before a POST and the verdicts after it."""

import json
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from syncd import clock
from syncd.ledger.reading import times
from syncd.ledger.rows import ROW_COLUMNS, UNWRITABLE, UNWRITTEN, Writer, row_of
from syncd.lifecycle import transitions
from syncd.lifecycle.states import ANSWERS, MEANINGS, SILENCES, Cause, IllegalMove, State, Verdict, move
from syncd.lifecycle.transitions import Row
from syncd.text import fit

KEEP_ATTEMPTS = 20  # of one activity: an outage of weeks must not fill the file

_DUE = """
    SELECT id, isolated, verdict IS 'suspect'
    FROM activities JOIN payloads ON activity_id = id
    WHERE state = 'pending'
"""
_FRESH = " AND last_post = 0 ORDER BY occurred_at LIMIT :limit"
_BEFORE = " AND last_post > 0 AND last_post < :first_post"
_BLAMELESS = _BEFORE + " AND refusals = 0 AND isolated = {} ORDER BY next_attempt_at LIMIT :limit"
_BACKED_OFF = (
    _BEFORE + " AND refusals > 0 AND isolated = {} AND next_attempt_at {} ORDER BY next_attempt_at LIMIT :limit"
)
_OVER, _NONSENSE = "<= :now", "> :nonsense"  # the back-off is over; it was booked by a clock that was wrong
# In this order. Of the isolated, what a 400 named before what fells the server: that may end the pass.
_QUEUES = (
    _FRESH,
    _BLAMELESS.format(0),
    *(_BACKED_OFF.format(isolated, when) for isolated in (0, 1) for when in (_OVER, _NONSENSE)),
    _BLAMELESS.format(1),
)


@dataclass(frozen=True, slots=True)
class Due:
    """One activity that may go out."""

    id: int  # the ledger's
    isolated: bool  # travels only with its like
    crashes_server: bool  # its last attempt, alone, met a time-out or a 5xx while others got through


@dataclass(frozen=True, slots=True)
class Claimed(Due):
    """One activity on its way out, as its row stood when the intent was committed."""

    external_activity_id: str
    body: str  # one JSON object
    unknown: bool  # an *earlier* attempt may have stored it


@dataclass(frozen=True, slots=True)
class Claim:
    """One POST whose intent is committed."""

    post_id: int
    activities: tuple[Claimed, ...]


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """One activity's verdict in one POST."""

    activity_id: int
    verdict: Verdict
    detail: str | None = None


class Outbox(Writer):
    """Claim what is due and book what became of it."""

    def first_post(self) -> int:
        """Return the id that the next POST will have: attempts from it on belong to this pass."""
        return self._number("SELECT coalesce(max(id), 0) + 1 FROM posts")

    def due(self, limit: int, *, first_post: int, now: datetime) -> list[Due]:
        """Return up to `limit` activities to send next: all fresh, all retried, or all isolated. Reads no payload.

        Fresh ones come first, oldest first; then the retries; what a 400 named comes
        last and only with its like. What this pass has tried already is left out. What no
        verdict about itself holds back is due whatever the clock said when it was booked.
        """
        values = {"limit": limit, "first_post": first_post} | times(now)
        rows: list[Any] = []
        for queue in _QUEUES:
            rows = rows or self._db.execute(_DUE + queue, values).fetchall()
        return [Due(row_id, bool(isolated), bool(crashes_server)) for row_id, isolated, crashes_server in rows]

    def intend(self, activities: Sequence[Due], *, now: datetime) -> Claim:
        """Commit the intent to POST `activities`. The request may leave once this has returned.

        Payloads, and whether an earlier attempt may have stored one, are as of this moment: before this
        intent, and after all that was booked since `due`. Activities that have left `pending` since are skipped.
        """
        wanted = json.dumps([activity.id for activity in activities])
        with self.transaction():
            post_id = int(
                self._db.execute("INSERT INTO posts (at) VALUES (:at)", {"at": clock.text(now)}).lastrowid or 0
            )
            sql = """
                SELECT id, external_activity_id, body, unknown, last_post
                FROM activities JOIN payloads ON activity_id = id
                WHERE id IN (SELECT value FROM json_each(:ids))
            """
            rows = {row_id: row for row_id, *row in self._db.execute(sql, {"ids": wanted})}
            claimed = tuple(
                Claimed(due.id, due.isolated, due.crashes_server, name, body, bool(unknown))
                for due in activities
                if due.id in rows
                for name, body, unknown, _ in (rows[due.id],)
            )
            self._forget_old_attempts([row_id for row_id, (*_, last_post) in rows.items() if last_post])
            pairs = [(row_id, post_id) for row_id in rows]
            self._db.conn.executemany("INSERT INTO attempts (activity_id, post_id) VALUES (?, ?)", pairs)
            sql = "UPDATE activities SET last_post = :post WHERE id IN (SELECT value FROM json_each(:ids))"
            self._db.execute(sql, {"post": post_id, "ids": json.dumps(list(rows))})
        return Claim(post_id, claimed)

    def _forget_old_attempts(self, activity_ids: Sequence[int]) -> None:
        sql = f"""
            DELETE FROM attempts WHERE activity_id = :id AND post_id <= (
                SELECT post_id FROM attempts WHERE activity_id = :id
                ORDER BY post_id DESC LIMIT 1 OFFSET {KEEP_ATTEMPTS - 1})
        """  # nosec B608 # a number of ours
        self._db.conn.executemany(sql, [{"id": activity_id} for activity_id in activity_ids])

    def record_verdicts(
        self,
        post_id: int,
        judgements: Sequence[AttemptResult],
        *,
        now: datetime,
        max_age: timedelta,
        random: Callable[[], float],
        certain: bool = True,
    ) -> int:
        """Book the verdicts of one POST; return how many activities died of them.

        If one of them cannot be written, each is booked by itself, and that one without its text.
        """
        how: dict[str, Any] = {"now": now, "max_age": max_age, "random": random, "certain": certain}
        judgements = [j if j.detail is None else replace(j, detail=fit(j.detail)) for j in judgements]
        with self.transaction():
            try:
                with self._savepoint():
                    died = self._judge(post_id, judgements, **how)
            except UNWRITABLE:
                died = sum(self._judge_alone(post_id, judgement, **how) for judgement in judgements)
            sql = "UPDATE posts SET finished_at = :now WHERE id = :id"
            self._db.execute(sql, {"id": post_id, "now": clock.text(now)})
            self._note_silence({j.verdict for j in judgements}, now)
        return died

    def _judge_alone(self, post_id: int, judgement: AttemptResult, **how: Any) -> int:
        try:
            with self._savepoint():
                return self._judge(post_id, [judgement], **how)
        except UNWRITABLE:
            return self._judge(post_id, [replace(judgement, detail=UNWRITTEN)], **how)

    def _judge(
        self,
        post_id: int,
        judgements: Sequence[AttemptResult],
        *,
        now: datetime,
        max_age: timedelta,
        random: Callable[[], float],
        certain: bool,
    ) -> int:
        delivered = [j for j in judgements if MEANINGS[j.verdict].state is State.DELIVERED]
        others = {j.activity_id: j for j in judgements if MEANINGS[j.verdict].state is not State.DELIVERED}
        died = 0
        self._deliver(delivered)
        for row_id, row in self._pending(list(others)):
            judgement = others[row_id]
            after = transitions.after_verdict(
                row, judgement.verdict, judgement.detail, now=now, max_age=max_age, random=random, certain=certain
            )
            self._write(row_id, row, after, now)
            died += after.state is State.DEAD
        self._db.conn.executemany(
            "UPDATE attempts SET verdict = ?, detail = ? WHERE activity_id = ? AND post_id = ?",
            [(j.verdict.value, j.detail, j.activity_id, post_id) for j in judgements],
        )
        return died

    def _note_silence(self, verdicts: Set[Verdict], now: datetime) -> None:
        """Keep since when no POST has brought a word of Recotap's about an item."""
        if verdicts & ANSWERS:
            self._db.execute("UPDATE recotap SET silent_since = NULL WHERE silent_since IS NOT NULL")
        elif verdicts & SILENCES:
            sql = "UPDATE recotap SET silent_since = :now WHERE silent_since IS NULL"
            self._db.execute(sql, {"now": clock.text(now)})

    def _deliver(self, judgements: Sequence[AttemptResult]) -> None:
        """Book deliveries in bulk: what life.judged says of them, in one statement each.

        When it was stands in `posts`: 24 bytes less in a row, which 200,000 rows notice.
        """
        move(State.PENDING, State.DELIVERED, Cause.VERDICT)
        sql = """
            UPDATE activities SET state = 'delivered', verdict = ?, reason = NULL, detail = NULL,
                next_attempt_at = NULL, updated_at = NULL
            WHERE id = ? AND state = 'pending'
        """
        count = self._db.conn.executemany(sql, [(j.verdict.value, j.activity_id) for j in judgements]).rowcount
        if judgements and count != len(judgements):
            raise IllegalMove(f"{len(judgements) - count} of {len(judgements)} delivered activities were not pending")
        ids = [(j.activity_id,) for j in judgements]
        self._db.conn.executemany("DELETE FROM payloads WHERE activity_id = ?", ids)

    def _pending(self, ids: Sequence[int]) -> list[tuple[int, Row]]:
        sql = f"""
            SELECT id, {", ".join(ROW_COLUMNS)} FROM activities WHERE id IN (SELECT value FROM json_each(:ids))
        """  # nosec B608 # names of columns
        return [(row_id, row_of(columns)) for row_id, *columns in self._db.execute(sql, {"ids": json.dumps(list(ids))})]

    def recover(self, *, now: datetime) -> int:
        """Book what a crash left open: each such attempt may have been stored. Return how many there were."""
        open_posts = "SELECT id FROM posts WHERE id IN (SELECT post_id FROM attempts WHERE verdict IS NULL)"
        with self.transaction():
            posts = [row[0] for row in self._db.execute(open_posts)]
            count = 0
            for post_id in posts:
                sql = "SELECT activity_id FROM attempts WHERE post_id = :id AND verdict IS NULL"
                ids = [row[0] for row in self._db.execute(sql, {"id": post_id})]
                judgements = [AttemptResult(activity_id, Verdict.CRASHED) for activity_id in ids]
                self.record_verdicts(post_id, judgements, now=now, max_age=timedelta.max, random=lambda: 0.0)
                count += len(ids)
        return count


__all__ = ["AttemptResult", "Claim", "Claimed", "Due", "Outbox"]
