"""Let one of the replicas of a ledger in PostgreSQL look for the alerts, and write what it saw for the others."""

from collections.abc import Iterator
from contextlib import contextmanager

from syncd.ledger.alerting import Alerting

LOOK_S = 120  # for which a replica that does not finish its look keeps out the others
EVERY_S = 55  # between two looks, unless a replica has news

_TAKE = """
    UPDATE watch SET until = clock_timestamp() + make_interval(secs => :look)
    WHERE (until IS NULL OR until < clock_timestamp())
        AND (:has_news OR looked_at IS NULL OR looked_at < clock_timestamp() - make_interval(secs => :every))
    RETURNING until
"""
_LEAVE = "UPDATE watch SET until = NULL, looked_at = clock_timestamp() WHERE until = :until"


class PostgresAlerting(Alerting):
    """Look in turn with the other replicas."""

    is_shared = True

    @contextmanager
    def looking(self, *, has_news: bool) -> Iterator[bool]:
        """Look within, and yield whether it is this process's turn. A replica that dies meanwhile loses it.

        One that stood still for longer may repeat a message.
        """
        row = self._db.execute(_TAKE, {"look": LOOK_S, "every": EVERY_S, "has_news": has_news}).fetchone()
        try:
            yield row is not None
        finally:
            if row is not None:
                self._db.execute(_LEAVE, {"until": row[0]})


__all__ = ["PostgresAlerting"]
