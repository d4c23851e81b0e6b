"""Find activities that are the same call or email as an earlier one, while a page is booked.

    keys of the page ─► INSERT, the first holder stays ─► all inserted: no copy
                                    └─ some are taken ─► their holders ─► same? ─► twins

A page without a copy costs its inserts and no query. The decision is `lifecycle.sameness`.
"""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from syncd import clock
from syncd.activity import Kind
from syncd.ledger.dialect import listed, pairs
from syncd.ledger.rows import Held, Writer
from syncd.lifecycle import sameness, transitions
from syncd.lifecycle.sameness import Key, Marked
from syncd.lifecycle.states import State
from syncd.lifecycle.transitions import Reading

KEEP = timedelta(days=30)  # since a key was booked
AT_ONCE = 20_000  # keys that one transaction forgets
DAY_S = 86_400

_CLAIM = """
    INSERT INTO keys (slot, hash, activity_id, has_own_id, day) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_TAKE = """
    INSERT INTO keys (slot, hash, activity_id, has_own_id, day) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (slot, hash) DO UPDATE
        SET activity_id = excluded.activity_id, has_own_id = excluded.has_own_id, day = excluded.day
"""
_HOLDERS = f"""
    SELECT slot, hash, activity_id, has_own_id, external_activity_id, kind, stream_id, occurred_at, domain,
        state = 'pending' OR state = 'delivered', (SELECT count(*) FROM twins WHERE first_id = keys.activity_id)
    FROM {pairs("keys", "wanted_slot", "wanted_hash")} AS wanted CROSS JOIN keys
    LEFT JOIN activities ON activities.id = activity_id
    WHERE slot = wanted_slot AND hash = wanted_hash
"""  # nosec B608 # our own text
_NOTE = """
    INSERT INTO twins (activity_id, first_id, stream_id) VALUES (?, ?, ?)
    ON CONFLICT (activity_id) DO UPDATE SET first_id = excluded.first_id, stream_id = excluded.stream_id
"""
_FORGET = """
    SELECT slot, hash FROM keys WHERE (slot, hash) > (:slot, :hash) AND day < :oldest
    ORDER BY slot, hash LIMIT :limit
"""


@dataclass(slots=True)
class _Holder:
    """The activity that has a key."""

    id: int
    name: str | None  # its externalActivityId; None: its row is gone
    marked: Marked | None  # None: there is nothing to compare with
    lives: bool  # it is pending or delivered, so a copy of it may stay away
    twins: int  # known copies


class Twin(NamedTuple):
    """A copy, as a row of the table."""

    activity_id: int
    first_id: int
    stream_id: int


# A row that a reading makes pending, unless it is a copy: the ledger's id, also if the row is not written yet.
Arriving = tuple[int, Reading]


class Twins(Writer):
    """Write and find keys and copies."""

    def _find_copies(
        self, stream_id: int, held: Mapping[str, Held], latest: dict[str, Reading], ids: Sequence[int], now: datetime,
        *, by_id: bool, exclude: bool,
    ) -> list[Twin]:  # fmt: skip
        """Find the copies among the readings of a page, by crm_id, before they are booked.

        New rows get `ids`, in order. `exclude`: a copy is not sent, so `latest` changes. The twins are for
        `_note_twins`, once the rows are written.
        """
        again = [
            (row.id, latest[crm_id])
            for crm_id, row in held.items()
            if crm_id in latest and transitions.may_arrive(row.row, latest[crm_id], by_id=by_id)
        ]
        self._forget_twins([row_id for row_id, _ in again])
        new = zip(ids, [reading for crm_id, reading in latest.items() if crm_id not in held], strict=True)
        arriving = [*again, *[(row_id, reading) for row_id, reading in new if reading.keys]]
        if self._claim_keys(arriving, now):
            return []
        leaving = {
            row.id for crm_id, row in held.items() if crm_id in latest and latest[crm_id].wanted is not State.PENDING
        }
        search = _Search(self, stream_id, arriving, leaving)
        twins, instead = search.run(exclude=exclude)
        latest.update((reading.crm_id, reading) for reading in instead)
        self._db.conn.executemany(_TAKE, [(*key, _day(now)) for key in sorted(search.taken)])
        return twins

    def _claim_keys(self, arriving: Sequence[Arriving], now: datetime) -> bool:
        """Claim the keys of rows that become pending. Return False if others have some of them."""
        day = _day(now)
        rows = [(slot, hashed, row_id, own, day) for row_id, reading in arriving for slot, hashed, own in reading.keys]
        if self._key is not None:  # in one order in every process, so that no two wait for each other
            rows.sort()
        return not rows or self._db.conn.executemany(_CLAIM, rows).rowcount == len(rows)

    def _note_twins(self, twins: Sequence[Twin]) -> None:
        """Keep the copies of a page."""
        if twins:
            self._db.conn.executemany(_NOTE, twins)

    def _forget_twins(self, ids: Sequence[int]) -> None:
        """Forget whose copies rows were, because they are judged again."""
        if ids:
            sql = f"DELETE FROM twins WHERE activity_id IN {listed('ids')}"  # nosec B608 # our own text
            self._db.execute(sql, {"ids": json.dumps(ids)})

    def forget_keys(self, now: datetime) -> None:
        """Forget the keys that were booked 30 days ago, in short transactions."""
        oldest = _day(now - KEEP)
        values = {"slot": -(2**62), "hash": 0, "oldest": oldest, "limit": AT_ONCE}
        while old := self._db.execute(_FORGET, values).fetchall():
            with self.transaction():
                self._db.conn.executemany("DELETE FROM keys WHERE slot = ? AND hash = ?", old)
            values["slot"], values["hash"] = old[-1]

    def _holders(self, keys: Sequence[Key]) -> dict[tuple[int, int], _Holder]:
        wanted = json.dumps([(slot, hashed) for slot, hashed, _ in keys])
        return {
            (slot, hashed): _Holder(row_id, name, _marked(own, *more), bool(lives), twins)
            for slot, hashed, row_id, own, name, *more, lives, twins in self._db.execute(_HOLDERS, {"keys": wanted})
        }


class _Search:
    """Find the copies among the arriving rows of one page."""

    def __init__(self, ledger: Twins, stream_id: int, arriving: Sequence[Arriving], leaving: Set[int]) -> None:
        """`leaving` are rows that this page may move out of pending."""
        self._stream_id = stream_id
        self._arriving = arriving
        self._holders = ledger._holders([key for _, reading in arriving for key in reading.keys])
        for holder in self._holders.values():
            holder.lives = holder.lives and holder.id not in leaving
        self._here: dict[int, _Holder] = {row_id: self._as_holder(row_id, reading) for row_id, reading in arriving}
        self.taken: list[tuple[int, int, int, int]] = []  # keys of activities that are not sent: rows without the day

    def run(self, *, exclude: bool) -> tuple[list[Twin], list[Reading]]:
        """Return the twins, and the readings to book instead of those of copies."""
        twins: list[Twin] = []
        instead: list[Reading] = []
        for row_id, reading in self._arriving:
            first = self._first_of(row_id, reading)
            if first is not None:
                first.twins += 1
                twins.append(Twin(row_id, first.id, self._stream_id))
            if first is not None and exclude:  # the keys that it has got alone go to the next that has them
                instead.append(transitions.duplicate_of(reading, first.name or ""))
            else:
                self._take(row_id, reading)
        return twins, instead

    def _first_of(self, row_id: int, reading: Reading) -> _Holder | None:
        """Return the activity that a row is a copy of, or None."""
        own = self._here[row_id].marked
        for slot, hashed, _ in reading.keys:
            holder = self._holders[slot, hashed]
            if (
                holder.id != row_id and holder.lives and holder.marked is not None and own is not None
                and holder.twins < sameness.MOST and sameness.is_same(slot, own, holder.marked)
            ):  # fmt: skip
                return holder
        return None

    def _take(self, row_id: int, reading: Reading) -> None:
        """Take over the keys of a row from activities that are not sent any more, or are not written yet."""
        for slot, hashed, own in reading.keys:
            if not self._holders[slot, hashed].lives:
                self._holders[slot, hashed] = self._here[row_id]
                self.taken.append((slot, hashed, row_id, own))

    def _as_holder(self, row_id: int, reading: Reading) -> _Holder:
        marked = None
        if reading.occurred_at is not None:
            own = any(own for _, _, own in reading.keys)
            minutes = json.loads(reading.payload or "{}").get("durationMinutes")
            lasts = timedelta(minutes=minutes) if minutes else None
            marked = Marked(reading.kind, self._stream_id, reading.occurred_at, reading.domain, own, lasts)
        return _Holder(row_id, reading.external_activity_id, marked, True, 0)


def _day(at: datetime) -> int:
    return int(at.timestamp()) // DAY_S


def _marked(own: int, kind: Kind | None, stream_id: int, occurred_at: str | None, domain: str | None) -> Marked | None:
    if kind is None or occurred_at is None:
        return None
    return Marked(kind, stream_id, clock.instant(occurred_at), domain, bool(own))


__all__ = ["Arriving", "Twins"]
