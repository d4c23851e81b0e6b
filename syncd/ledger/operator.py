"""Short writes that an operator may make beside a running syncd."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from syncd import clock
from syncd.ledger import backfills
from syncd.ledger.backfills import Backfill
from syncd.ledger.dialect import listed
from syncd.ledger.reader import ACCOUNTS, DESTINATION, RECOTAP, RESUMED, TRUSTED
from syncd.ledger.recount import Recount, correct, count
from syncd.ledger.reports import Reports

CHUNK = 500  # rows of one transaction. A pass waits for it

_MATCHING = """
    SELECT id FROM activities
    WHERE id > :after AND id <= :last AND state <> 'delivered'
      AND (state = :state OR :state IS NULL) AND (reason = :reason OR :reason IS NULL)
    ORDER BY id LIMIT :limit
"""
_NAMED = f"SELECT id FROM activities WHERE external_activity_id IN {listed('names')}"  # nosec B608 # our own text
_SHOWN = f"""
    SELECT external_activity_id, state, reason FROM activities
    WHERE id IN {listed("ids")} ORDER BY id
"""  # nosec B608 # our own text
_DUE_NOW = f"""
    UPDATE activities SET next_attempt_at = :now
    WHERE id IN {listed("ids")} AND state <> 'delivered'
      AND (state = :state OR :state IS NULL) AND (reason = :reason OR :reason IS NULL)
"""  # nosec B608 # our own text
# The daemon makes a pass over the sources whose number is above that of the requests that it knows.
_RESUMED = """
    INSERT INTO store (source, key, value, at)
    SELECT :source, :key, CAST(requests AS TEXT), :at FROM operator WHERE true
    ON CONFLICT (source, key) DO UPDATE SET value = excluded.value, at = excluded.at
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """One activity that `retry` was asked for."""

    external_activity_id: str
    state: str
    reason: str | None
    left_out: str  # why `retry` leaves it out, "" if it makes it due


def left_out(found: str, because: str | None, *, state: str | None, reason: str | None) -> str:
    """Return why `retry` leaves out an activity in the state `found`, or "". `state` and `reason`: the wanted ones."""
    if found == "delivered":
        return "delivered"
    if state not in (None, found):
        return f"it is {found}, not {state}"
    if reason not in (None, because):
        return f"its reason is {because}, not {reason}" if because else f"it has no reason, not {reason}"
    return ""


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
            with self.handle.writing(self._db):
                values = {"now": clock.text(now), "ids": json.dumps(chunk), "state": state, "reason": reason}
                due += self._db.execute(_DUE_NOW, values).rowcount
                self.handle.wake_owners(self._db, chunk)
            if len(chunk) == CHUNK:
                time.sleep(time.monotonic() - began)
        with self.handle.writing(self._db):
            self._tell_the_daemon(now)
        return due

    def choices(self, ids: Sequence[str], *, state: str | None, reason: str | None) -> Iterator[Choice]:
        """Yield the activities that `retry` would make due, and of the named ones those that it would leave out.

        Writes nothing. NoSuchActivity if an id is unknown.
        """
        for chunk in self._named(ids) if ids else self._matching(state, reason):
            for name, found, because in self._db.execute(_SHOWN, {"ids": json.dumps(chunk)}).fetchall():
                yield Choice(name, found, because, left_out(found, because, state=state, reason=reason))

    def recount(self, *, now: datetime) -> Recount:
        """Count the rows, and correct the kept counts if the rows agree with `seen`. Only the correction is locked."""
        while True:
            found = count(self._db, self.handle, stopping=lambda: False)
            if found is None:  # only a stop ends a count early
                raise RuntimeError("the count was stopped")
            with self.handle.writing(self._db):
                if correct(self._db, found, now):
                    return found

    def unsee(self, rows: Mapping[tuple[str, str], int]) -> None:
        """Lower `seen` of each (source, stream) by so many rows, which `syncd verify --repair` has accounted for.

        Call `recount` after it. Only while the ledger is held.
        """
        sql = "UPDATE streams SET seen = seen - ? WHERE source = ? AND stream = ?"
        with self.handle.writing(self._db):
            for (source, stream), number in rows.items():
                self._db.execute(sql, (number, source, stream))

    def backfill(
        self, streams: Iterable[tuple[str, str, datetime]], since: datetime, until: datetime | None, *,
        newest_first: bool = False, now: datetime,
    ) -> list[Backfill]:  # fmt: skip
        """Book a span of modification time to be read, in each (source, stream, start) whose windows begin later.

        A span ends at the watermark, or at the stream's `start` before there is one: the windows read the rest.
        """
        booked = []
        with self.handle.writing(self._db):
            for source, stream, start in streams:
                ends = self.stream(source, stream).watermark or start
                if since < ends and self._knows(source, stream):
                    asked = Backfill(source, stream, since, min(until or ends, ends), newest_first)
                    held = [each for each in self.ranges(source) if each.stream == stream]
                    changed = "unread" in self.rules_of(source).get(stream, {})
                    booked.append(backfills.book(self._db, asked, held, rule_changed=changed, now=now))
            self._tell_the_daemon(now)
            for source in {each.source for each in booked}:
                self._want_pass(source, now)
        return booked

    def _knows(self, source: str, stream: str) -> bool:
        """Tell whether a pass has read the stream."""
        sql = "SELECT count(*) FROM streams WHERE source = :source AND stream = :stream"
        return bool(self._db.execute(sql, {"source": source, "stream": stream}).fetchone()[0])

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

    def resume(self, name: str | None, *, now: datetime) -> dict[str, dict[str, str]]:
        """Lift the pause of a source or of RECOTAP, or all pauses if `name` is None.

        Return each pause that was in force by its name: its end (`until`) and its `reason`.
        """
        with self.handle.writing(self._db):
            lifted = {each: pause for each, pause in sorted(self._pauses(now).items()) if name in (None, each)}
            if lifted:
                self._tell_the_daemon(now)
            for each in lifted:
                self._db.execute("DELETE FROM pauses WHERE name = :name", {"name": each})
                self._want_pass(each, now)
        return lifted

    def trust_recotap(self, now: datetime) -> str | None:
        """Forget the pinned destination, so that the next pass pins the configured one. Return the old one, if any."""
        pin = self.store(RECOTAP).get(DESTINATION)
        with self.handle.writing(self._db):
            sql = "DELETE FROM store WHERE source = :source AND key IN (:destination, :accounts)"
            self._db.execute(sql, {"source": RECOTAP, "destination": DESTINATION, "accounts": ACCOUNTS})
            self._tell_the_daemon(now)
            self.handle.wake(self._db, None)
        return None if pin is None else str(pin[0]["at"])

    def trust_source(self, source: str, now: datetime) -> str | None:
        """Forget the portal or org of `source`, and believe its next pass. Return the old one's id, if any."""
        identity, _ = self.sources().get(source, (None, ""))
        kept = """
            INSERT INTO store (source, key, value, at) VALUES (:source, :key, 'true', :at)
            ON CONFLICT (source, key) DO UPDATE SET value = excluded.value, at = excluded.at
        """
        with self.handle.writing(self._db):
            self._db.execute("UPDATE sources SET identity = NULL WHERE source = :source", {"source": source})
            self._db.execute(kept, {"source": source, "key": TRUSTED, "at": clock.text(now)})
            self._tell_the_daemon(now)
            self._want_pass(source, now)
        return identity

    def _tell_the_daemon(self, now: datetime) -> None:
        sql = """
            INSERT INTO operator (id, requests, asked_at) VALUES (1, 1, :now)
            ON CONFLICT (id) DO UPDATE SET requests = operator.requests + 1, asked_at = excluded.asked_at
        """
        self._db.execute(sql, {"now": clock.text(now)})

    def _want_pass(self, name: str, now: datetime) -> None:
        """Have a pass over a source. Call it after `_tell_the_daemon`, within its transaction."""
        self._db.execute(_RESUMED, {"source": name, "key": RESUMED, "at": clock.text(now)})
        self.handle.wake(self._db, None if name == RECOTAP else [name])
