"""Short writes that an operator may make beside a running syncd."""

import json
from collections.abc import Sequence
from datetime import datetime

from syncd import clock
from syncd.ledger import file
from syncd.ledger.reports import Reports


class Operator(Reports):
    """Write short transactions that move no state. They need no hold on the ledger."""

    def retry(self, ids: Sequence[str], *, state: str | None, reason: str | None, now: datetime) -> int:
        """Make the named activities due at once and return their number. NoSuchActivity if an id is unknown."""
        names = sorted({name for wanted in ids for name in self.find(wanted)})
        sql = """
            UPDATE activities SET next_attempt_at = :now
            WHERE state <> 'delivered'
              AND (:ids IS NULL OR external_activity_id IN (SELECT value FROM json_each(:ids)))
              AND (:state IS NULL OR state = :state)
              AND (:reason IS NULL OR reason = :reason)
        """
        named = json.dumps(names) if ids else None
        values = {"now": clock.text(now), "state": state, "reason": reason, "ids": named}
        with file.writing(self._db, self.handle.path):
            count = self._db.execute(sql, values).rowcount
            self._tell_the_daemon(now)
            return count

    def _tell_the_daemon(self, now: datetime) -> None:
        sql = """
            INSERT INTO operator (id, requests, asked_at) VALUES (1, 1, :now)
            ON CONFLICT (id) DO UPDATE SET requests = requests + 1, asked_at = excluded.asked_at
        """
        self._db.execute(sql, {"now": clock.text(now)})
