"""Answer the alerts' questions, and keep their memory. Needs no hold on the ledger."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from syncd import clock
from syncd.ledger.reader import RECOTAP
from syncd.ledger.reports import Reports

ALERTS = "@alerts"  # under RECOTAP: the conditions that began, and the messages that are still to be sent
LOOKED_AT = 200  # pending rows, those first that were seen first
# A row that a failure of Recotap returned is due again "now", so its first attempt tells since when it is due. The
# ledger keeps the last 20 attempts.
_DUE_SINCE = """
    SELECT id, next_attempt_at, CASE WHEN refusals = 0 AND last_post <> 0 THEN
        (SELECT min(at) FROM past_attempts JOIN posts ON posts.id = post_id WHERE activity_id = activities.id) END
    FROM activities
    WHERE id IN (SELECT activity_id FROM payloads ORDER BY activity_id LIMIT :most)
        AND state = 'pending' AND next_attempt_at <= :now
"""
_KEEP = """
    INSERT INTO store (source, key, value, at) VALUES (:source, :key, :value, :at)
    ON CONFLICT (source, key) DO UPDATE SET value = excluded.value, at = excluded.at
"""


class Alerting(Reports):
    """Read everything that a condition depends on, and write one row of the store."""

    is_shared = False  # whether several processes look, so that each reads what the last one wrote

    @contextmanager
    def looking(self, *, has_news: bool) -> Iterator[bool]:
        """Look within, and yield whether it is this process's turn. `has_news`: it knows what no other one does."""
        yield True

    def due_since(self, now: datetime) -> dict[int, datetime]:
        """Return by row number since when each of the first pending rows is due. A row that backs off is left out."""
        rows = self._db.execute(_DUE_SINCE, {"most": LOOKED_AT, "now": clock.text(now)})
        return {number: clock.instant(min(due, first or due)) for number, due, first in rows}

    def kept_alerts(self) -> Any:
        """Return the JSON value that `keep_alerts` wrote last, or None."""
        return self.kept(ALERTS, [RECOTAP]).get(RECOTAP)

    def keep_alerts(self, value: Any, now: datetime) -> None:
        """Write the alerts' memory, in a transaction of its own. A pass waits for it for a millisecond at most."""
        with self.handle.writing(self._db):
            values = {"source": RECOTAP, "key": ALERTS, "value": json.dumps(value), "at": clock.text(now)}
            self._db.execute(_KEEP, values)


__all__ = ["ALERTS", "Alerting"]
