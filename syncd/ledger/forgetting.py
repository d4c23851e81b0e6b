"""Write about forgotten people: what a pass notes of them, and what `syncd forget` erases beside it."""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from syncd import clock
from syncd.errors import Unavailable
from syncd.ledger.dialect import holds, listed
from syncd.ledger.operator import CHUNK, Operator
from syncd.ledger.reader import RECOTAP
from syncd.ledger.rows import ROW_COLUMNS, Held, Writer, row_of
from syncd.ledger.sealed import SAMENESS
from syncd.lifecycle import transitions

SECRET_BYTES = 32
AGAIN_S = 0.2  # until the next look whether a POST has returned

_LOOK_UP = f"""
    UPDATE activities SET next_attempt_at = :now
    WHERE stream_id = :stream_id AND crm_id IN {listed("ids")}
        AND state = 'excluded' AND reason = 'forgotten'
"""  # nosec B608 # our own text
_PAYLOADS = f"SELECT activity_id FROM payloads WHERE {holds('body', 'part')}"  # nosec B608 # our own text
_PAGE = "SELECT activity_id, body FROM payloads WHERE activity_id > :after ORDER BY activity_id LIMIT :limit"
_HELD = f"""
    SELECT id, stream_id, last_post < 0, body, {", ".join(ROW_COLUMNS)} FROM activities
    JOIN payloads ON activity_id = id WHERE id IN {listed("ids")} AND state = 'pending'
"""  # nosec B608 # names of columns
# Where texts of a CRM or of Recotap are kept. `except` names no person, and counts go by its text.
_TEXTS = (
    ("activities", "detail", ("id",), "coalesce(reason, '') <> 'filtered'"),
    ("past_attempts", "detail", ("activity_id", "post_id"), "true"),
    ("streams", "last_error", ("id",), "true"),
    ("ranges", "last_error", ("id",), "true"),
    ("pauses", "reason", ("name",), "true"),
)
_SENT = f"""
    SELECT external_activity_id, kind, occurred_at, state, stream, crm_id
    FROM activities JOIN streams ON streams.id = stream_id
    WHERE source = :source AND (state = 'delivered' OR unknown = 1) AND {{which}} IN {listed("ids")}
    ORDER BY activities.id
"""  # nosec B608 # our own text
_BY_ID = _SENT.format(which="stream = :stream AND crm_id")
_BY_OWNER = _SENT.format(which="owner_id")
_KEYS = f"""
    SELECT count(*) FROM activities WHERE {holds("crm_id || ' ' || external_activity_id", "address")}
"""  # nosec B608 # our own text


class Person(Protocol):
    """Recognize the person who is to be forgotten. `normalize.forgotten.Forgotten` does."""

    def text(self, written: str) -> str:
        """Return a text without the person's address."""

    def without(self, value: Any) -> Any:
        """Return a JSON value without the person."""

    def names(self, value: Any) -> bool:
        """Tell whether a JSON value holds the person's address."""


@dataclass(slots=True)
class Erased:
    """The number of places from which a person was erased."""

    payloads: int = 0  # of activities that waited to be sent
    texts: int = 0  # of errors
    values: int = 0  # that connectors keep


class Rest(NamedTuple):
    """The words for what an erasure may not reach."""

    place: str  # that still has earlier content if a rewrite fails
    users: str  # programs that may keep a rewrite from its work
    tool: str  # that names them
    copies: str  # with earlier content, out of reach


class ForgottenRows(Writer):
    """Write the part of a pass that concerns forgotten people."""

    def look_up_forgotten(self, stream_id: int, crm_ids: Sequence[str], now: datetime) -> None:
        """Make forgotten activities due for a look-up, which tells whether somebody else is in them."""
        if crm_ids:
            values = {"stream_id": stream_id, "ids": json.dumps([*crm_ids]), "now": clock.text(now)}
            with self.transaction():
                self._db.execute(_LOOK_UP, values)


class Forget(Writer, Operator):
    """Erase a person, in short transactions that need no hold on the ledger."""

    def make_secret(self, now: datetime) -> bytes:
        """Return the secret of this ledger's hashes. It is made if no pass has made it."""
        sql = "INSERT INTO store (source, key, value, at) VALUES (:source, :key, :value, :at) ON CONFLICT DO NOTHING"
        new = self._text(RECOTAP, SAMENESS, secrets.token_hex(SECRET_BYTES))
        with self.transaction():
            self._db.execute(sql, {"source": RECOTAP, "key": SAMENESS, "value": new, "at": clock.text(now)})
        found = self.secret()
        if found is None:
            raise RuntimeError("the ledger's secret is null")
        return found

    def note(self, hashed: str, now: datetime) -> None:
        """Remember a person by the hash of the address. Each page that is booked from now on leaves them out."""
        with self.transaction():
            sql = "INSERT INTO forgotten (hash, at) VALUES (:hash, :now) ON CONFLICT DO NOTHING"
            self._db.execute(sql, {"hash": hashed, "now": clock.text(now)})
            self._tell_the_daemon(now)

    def erase(
        self, person: Person, address: str, *, now: datetime, is_held: Callable[[], bool], patience_s: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Erased:  # fmt: skip
        """Erase a person whom `note` has noted from payloads, kept texts and connectors' values.

        An activity that waits with the person is looked up by the next pass. One in a POST under way is waited for.
        Unavailable if that takes longer than `patience_s`. `is_held`: whether a pass may be under way.
        """
        local = address.rpartition("@")[0]
        part = local if local.isascii() else "@"  # lower() of SQLite knows ASCII alone
        erased = Erased()
        ends = time.monotonic() + patience_s
        while True:
            count, in_flight = self._erase_payloads(person, part, now, is_held)
            erased.payloads += count
            if not in_flight:
                break
            if time.monotonic() >= ends:
                message = f"{in_flight} activities of this person are in a POST under way"
                raise Unavailable(message, hint="run `syncd forget` again in a minute")
            sleep(AGAIN_S)
        erased.texts, erased.values = self._erase_texts(person, part), self._erase_values(person)
        with self.transaction():
            self._tell_the_daemon(now)
        return erased

    def _erase_payloads(
        self, person: Person, part: str, now: datetime, is_held: Callable[[], bool]
    ) -> tuple[int, int]:  # fmt: skip
        """Return how many payloads were erased, and how many are in flight. Payloads are found before the lock."""
        found = self._payloads_with(part)
        erased = in_flight = 0
        for first in range(0, len(found), CHUNK):
            with self.transaction():
                # A POST that a crash cut short is not under way. A pass that begins now finds the row excluded.
                waits = is_held()
                for held, flies in self._holding(person, found[first : first + CHUNK]):
                    if flies and waits:
                        in_flight += 1
                        continue
                    self._write(held, transitions.after_forgotten(held.row, now), now)
                    self.handle.wake_owners(self._db, [held.id])
                    erased += 1
        return erased, in_flight

    def _payloads_with(self, part: str) -> list[int]:
        """Return the activities whose payload holds a text in lower case, or cannot be opened."""
        if self._cipher is None:
            return [row[0] for row in self._db.execute(_PAYLOADS, {"part": part})]
        found, after = [], 0
        while page := self._db.execute(_PAGE, {"after": after, "limit": CHUNK}).fetchall():
            after = page[-1][0]
            rows = self._opened(page, activity_id=0, body=1)
            found += [row_id for row_id, body in rows if body is None or part in body.lower()]
        return found

    def _holding(self, person: Person, ids: Sequence[int]) -> Iterator[tuple[Held, bool]]:
        """Yield the pending rows whose payload names the person, and whether a POST carries them."""
        rows = self._db.execute(_HELD, {"ids": json.dumps(ids)}).fetchall()
        for row_id, stream_id, flies, body, *columns in self._opened(rows, activity_id=0, body=3):
            if body is None or person.names(json.loads(body)):  # if it cannot be opened, a look-up tells
                yield Held(row_id, stream_id, row_of(columns)), bool(flies)

    def _erase_texts(self, person: Person, part: str) -> int:
        return sum(self._erase_column(person, part, *place) for place in _TEXTS)

    def _erase_column(
        self, person: Person, part: str, table: str, column: str, keys: Sequence[str], which: str
    ) -> int:  # fmt: skip
        columns, same = ", ".join(keys), " AND ".join(f"{key} = ?" for key in (*keys, column))
        sql = f"SELECT {columns}, {column} FROM {table} WHERE {which} AND {holds(column, 'part')}"  # nosec B608 # our own names
        found = self._db.execute(sql, {"part": part}).fetchall()
        changed = [(after, *key, text) for *key, text in found if (after := person.text(text)) != text]
        if changed:
            with self.transaction():
                self._db.conn.executemany(f"UPDATE {table} SET {column} = ? WHERE {same}", changed)  # nosec B608 # our own names
        return len(changed)

    def _erase_values(self, person: Person) -> int:
        changed = []
        for source, key, text in self._db.execute("SELECT source, key, value FROM store").fetchall():
            value = self._value(source, key, text)
            if (after := person.without(value)) != value:
                changed.append((self._text(source, key, after), source, key, text))
        if changed:
            with self.transaction():
                sql = "UPDATE store SET value = ? WHERE source = ? AND key = ? AND value = ?"
                self._db.conn.executemany(sql, changed)
        return len(changed)

    def rebuild(self, *, is_held: bool) -> str:
        """Rewrite the ledger, so that nothing erased is left in it. Return why that was not possible, or ""."""
        return self.handle.rebuild(self._db, is_held=is_held)

    def sent(self, source: str, stream: str, crm_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return those of `crm_ids` that Recotap has, or may have: an attempt had no readable answer."""
        return list(self._rows(_BY_ID, {"source": source, "stream": stream, "ids": json.dumps([*crm_ids])}))

    def sent_of_owners(self, source: str, owner_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the same of all activities of a source that these users owned when they were read last."""
        return list(self._rows(_BY_OWNER, {"source": source, "ids": json.dumps([*owner_ids])}))

    def named_by_id(self, address: str) -> int:
        """Return the number of activities whose id holds the address. Ids stay."""
        return int(self._db.execute(_KEYS, {"address": address}).fetchone()[0])


__all__ = ["Erased", "Forget", "ForgottenRows", "Person", "Rest"]
