"""Share one Recotap key among the lanes of a ledger in PostgreSQL: its lock, its semaphore, its queue and its breaker.

The lock is the row in `recotap`. PostgreSQL's clock alone counts.
"""

from datetime import datetime
from typing import Any

from syncd import clock
from syncd.ledger.dialect import listed
from syncd.ledger.key_sharing import GRACE_S, QUEUED_S, Admission, Standing, admission
from syncd.ledger.reader import PAUSED, RECOTAP, times

STANDS_S = 3  # a process that stands still with the lock, for which all lanes wait, loses its transaction after it
_HURRY = f"set_config('idle_in_transaction_session_timeout', '{STANDS_S}s', true)"
_LOCK = f"SELECT {_HURRY} FROM recotap WHERE id = 1 FOR UPDATE"  # nosec B608 # our own text
# The intents of this transaction take `posts.over_at` from it.
_LOCK_TO_POST = f"""
    SELECT set_config('syncd.post_s', CAST(:post_s AS text), true), {_HURRY} FROM recotap WHERE id = 1 FOR UPDATE
"""  # nosec B608 # our own text
# A statement of its own, because a statement that waited for the lock counts as of the time before.
_STANDING = f"""
    WITH mine AS (SELECT since, until FROM key_queue WHERE token = :me AND until > clock_timestamp()),
        others AS (SELECT since FROM key_queue WHERE token <> :me AND until > clock_timestamp())
    SELECT
        (SELECT count(*) FROM posts WHERE members IS NOT NULL AND finished_at IS NULL AND over_at > clock_timestamp()),
        (SELECT count(*) FROM others WHERE since < coalesce((SELECT since FROM mine), clock_timestamp())),
        (SELECT count(*) FROM others),
        CAST(greatest(0, coalesce(extract(epoch FROM closed_until - clock_timestamp()), 0)) AS double precision),
        failing, failed_probes, coalesce(cause, ''),
        CAST(coalesce((SELECT extract(epoch FROM until - clock_timestamp()) FROM mine), 0) AS double precision),
        pauses.until, pauses.reason
    FROM recotap LEFT JOIN pauses ON name = :recotap AND {PAUSED}
    WHERE id = 1
"""  # nosec B608 # our own text
_QUEUE_UP = """
    INSERT INTO key_queue (token, since, until)
    VALUES (:me, clock_timestamp(), clock_timestamp() + make_interval(secs => :queued_s))
    ON CONFLICT (token) DO UPDATE SET until = excluded.until,
        since = CASE WHEN key_queue.until > clock_timestamp() THEN key_queue.since ELSE excluded.since END
"""
_LEAVE_QUEUE = "DELETE FROM key_queue WHERE token = :me OR until < clock_timestamp()"
_CLOSE = """
    UPDATE recotap SET failing = true, cause = :cause, failed_probes = failed_probes + :failed,
        closed_until = greatest(closed_until, clock_timestamp() + make_interval(secs => :for_s))
    WHERE id = 1
"""
_OPEN = "UPDATE recotap SET failing = false, cause = NULL, closed_until = NULL WHERE id = 1 AND failing"
_LEFT = """
    SELECT CAST(extract(epoch FROM over_at - clock_timestamp()) AS double precision) FROM posts
    WHERE id = :post AND token IS DISTINCT FROM :me AND over_at > clock_timestamp()
"""
_HOLD_BACK = f"""
    INSERT INTO held_back (activity_id, until)
    SELECT activities.id, over_at FROM activities, posts WHERE activities.id IN {listed("ids")} AND posts.id = :post
    ON CONFLICT (activity_id) DO UPDATE SET until = greatest(held_back.until, excluded.until)
"""  # nosec B608 # our own text
_LET_GO = """
    DELETE FROM held_back WHERE activity_id IN (
        SELECT activity_id FROM held_back WHERE until < clock_timestamp() FOR UPDATE SKIP LOCKED)
"""
_END_POSTS = "UPDATE posts SET over_at = clock_timestamp() WHERE members IS NOT NULL AND token = :me"


class PostgresKey:
    """One lane's way to the key. Each method but `look` is called within a transaction of that lane."""

    def __init__(self, db: Any, me: str) -> None:
        """`me` is the token of the lane's holder."""
        self._db = db
        self._me = me

    def lock(self) -> None:
        """Lock the key until the transaction ends."""
        self._db.execute(_LOCK)

    def look(self, most: int, *, now: datetime) -> Admission:
        """Return what `admit` would at the moment. Locks and writes nothing."""
        return admission(self._standing(now), most)

    def admit(self, most: int, *, timeout_s: float, now: datetime) -> Admission:
        """Return how many POSTs may be booked, of `most` of all lanes. A lane that finds no room queues up."""
        self._db.execute(_LOCK_TO_POST, {"post_s": timeout_s + GRACE_S})
        found = admission(self._standing(now), most)
        if found.room and found.standing.queued_s:
            self._db.execute(_LEAVE_QUEUE, {"me": self._me})
        elif not (found.room or found.may_wait):
            self._db.execute(_QUEUE_UP, {"me": self._me, "queued_s": QUEUED_S})
        return found

    def close(self, for_s: float, cause: str, *, probe_failed: bool) -> None:
        """Let no lane send for so long, and one POST alone after it."""
        self.lock()
        self._db.execute(_CLOSE, {"for_s": for_s, "cause": cause, "failed": int(probe_failed)})

    def open(self) -> None:
        """Let all lanes send again."""
        self.lock()
        self._db.execute(_OPEN)

    def hold_back(self, post_id: int, ids: str) -> float:
        """Hold back the activities of another holder's POST (JSON) until it is over. Return the seconds, or 0."""
        row = self._db.execute(_LEFT, {"post": post_id, "me": self._me}).fetchone()
        if row is None:
            return 0.0
        self._db.execute(_LET_GO)
        self._db.execute(_HOLD_BACK, {"post": post_id, "ids": ids})
        return float(row[0])

    def end_posts(self) -> None:
        """Book that no POST of this lane is on its way any more."""
        self._db.execute(_END_POSTS, {"me": self._me})

    def _standing(self, now: datetime) -> Standing:
        row = self._db.execute(_STANDING, {"me": self._me, "recotap": RECOTAP, **times(now)}).fetchone()
        *found, until, reason = row
        return Standing._make((*found, None if until is None else (clock.instant(until), reason)))


__all__ = ["PostgresKey"]
