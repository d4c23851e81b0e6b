"""Short writes that an operator may make beside a running syncd."""

import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime

from syncd import clock
from syncd.ledger import file
from syncd.ledger.reader import ACCOUNTS, DESTINATION, RECOTAP, TRUSTED
from syncd.ledger.recount import Recount, correct, count
from syncd.ledger.reports import Reports

CHUNK = 500  # rows of one transaction. A pass waits for it

_MATCHING = """
    SELECT id FROM activities
    WHERE id > :after AND id <= :last AND state <> 'delivered'
      AND (:state IS NULL OR state = :state) AND (:reason IS NULL OR reason = :reason)
    ORDER BY id LIMIT :limit
"""
_NAMED = "SELECT id FROM activities WHERE external_activity_id IN (SELECT value FROM json_each(:names))"
_DUE_NOW = """
    UPDATE activities SET next_attempt_at = :now
    WHERE id IN (SELECT value FROM json_each(:ids)) AND state <> 'delivered'
      AND (:state IS NULL OR state = :state) AND (:reason IS NULL OR reason = :reason)
"""


class Operator(Reports):
    """Write short transactions that move no state. They need no hold on the ledger."""

    def retry(self, ids: Sequence[str], *, state: str | None, reason: str | None, now: datetime) -> int:
        """Make the named activities due at once and return their number. NoSuchActivity if an id is unknown.

        The rows are chosen before the file is locked, and written in chunks. Between two of them a pass may write.
        """
        chunks = self._named(ids) if ids else self._matching(state, reason)
        due = 0
        for chunk in chunks:
            began = time.monotonic()
            with file.writing(self._db, self.handle.path):
                values = {"now": clock.text(now), "ids": json.dumps(chunk), "state": state, "reason": reason}
                due += self._db.execute(_DUE_NOW, values).rowcount
            if len(chunk) == CHUNK:
                time.sleep(time.monotonic() - began)
        with file.writing(self._db, self.handle.path):
            self._tell_the_daemon(now)
        return due

    def recount(self, *, now: datetime) -> Recount:
        """Count the rows, and correct the kept counts if the rows agree with `seen`. Only the correction is locked."""
        found = count(self._db, stopping=lambda: False)
        if found is None:  # only a stop ends a count early
            raise RuntimeError("the count was stopped")
        with file.writing(self._db, self.handle.path):
            correct(self._db, found, now)
        return found

    def _named(self, ids: Sequence[str]) -> list[list[int]]:
        names = sorted({name for wanted in ids for name in self.find(wanted)})
        found = [row[0] for row in self._db.execute(_NAMED, {"names": json.dumps(names)})]
        return [found[first : first + CHUNK] for first in range(0, len(found), CHUNK)]

    def _matching(self, state: str | None, reason: str | None) -> Iterator[list[int]]:
        """Yield the ids of the rows that match now, chunk by chunk. Rows that come meanwhile are left out."""
        values = {"state": state, "reason": reason, "limit": CHUNK, "after": 0}
        values["last"] = self._number("SELECT coalesce(max(id), 0) FROM activities")
        while chunk := [row[0] for row in self._db.execute(_MATCHING, values)]:
            yield chunk
            values["after"] = chunk[-1]

    def trust_recotap(self, now: datetime) -> str | None:
        """Forget the pinned destination, so that the next pass pins the configured one. Return the old one, if any."""
        pin = self.store(RECOTAP).get(DESTINATION)
        with file.writing(self._db, self.handle.path):
            sql = "DELETE FROM store WHERE source = :source AND key IN (:destination, :accounts)"
            self._db.execute(sql, {"source": RECOTAP, "destination": DESTINATION, "accounts": ACCOUNTS})
            self._tell_the_daemon(now)
        return None if pin is None else str(pin[0]["at"])

    def trust_source(self, source: str, now: datetime) -> str | None:
        """Forget the portal or org of `source`, and believe its next pass. Return the old one's id, if any."""
        identity, _ = self.sources().get(source, (None, ""))
        kept = """
            INSERT INTO store (source, key, value, at) VALUES (:source, :key, 'true', :at)
            ON CONFLICT (source, key) DO UPDATE SET value = excluded.value, at = excluded.at
        """
        with file.writing(self._db, self.handle.path):
            self._db.execute("UPDATE sources SET identity = NULL WHERE source = :source", {"source": source})
            self._db.execute(kept, {"source": source, "key": TRUSTED, "at": clock.text(now)})
            self._tell_the_daemon(now)
        return identity

    def _tell_the_daemon(self, now: datetime) -> None:
        sql = """
            INSERT INTO operator (id, requests, asked_at) VALUES (1, 1, :now)
            ON CONFLICT (id) DO UPDATE SET requests = requests + 1, asked_at = excluded.asked_at
        """
        self._db.execute(sql, {"now": clock.text(now)})
