"""Keep the counts of the ledger's rows: gather the changes of a transaction, and write them once before its commit."""

from bisect import bisect_left
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlite_utils import Database

from syncd import clock
from syncd.ledger.dialect import listed
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import State
from syncd.lifecycle.transitions import Row

# (stream_id, state, reason, verdict, changed after delivery, part of the reason). "" for none.
Kind = tuple[int, str, str, str, int, str]
Lateness = tuple[str, int, str, int]  # (day of delivery, stream_id, "occurred" or "seen", bound in seconds)

DAY_S = 86_400
EVER = 9_999_999_999  # the bound of a lateness of more than 30 days
BOUNDS = (10, 30, 60, 300, 900, 3600, 4 * 3600, DAY_S, 7 * DAY_S, 30 * DAY_S, EVER)  # seconds
KEEP_DAYS = timedelta(days=90)

# A row's kind in SQL, as `kind_of` returns it.
KIND = """
    stream_id, state, coalesce(reason, ''), coalesce(verdict, ''), changed_after_delivery,
    CASE WHEN reason = 'filtered' THEN coalesce(detail, '') ELSE '' END
"""
_ADD = """
    INSERT INTO counts (stream_id, state, reason, verdict, changed, part, n) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (stream_id, state, reason, verdict, changed, part) DO UPDATE SET n = counts.n + excluded.n
"""
_ADD_DAYS = """
    INSERT INTO days (day, stream_id, since, within, n) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (day, stream_id, since, within) DO UPDATE SET n = days.n + excluded.n
"""
# `occurred_at` is NULL if the record could not be read. Such a row is never sent.
_LEAVING = f"""
    SELECT stream_id, coalesce(reason, ''), coalesce(verdict, ''), count(*), min(first_seen_at), max(first_seen_at),
        min(occurred_at), max(occurred_at)
    FROM activities WHERE id IN {listed("ids")} AND state = 'pending' GROUP BY 1, 2, 3
"""  # nosec B608 # our own text
_EACH = f"""
    SELECT stream_id, first_seen_at, occurred_at FROM activities
    WHERE id IN {listed("ids")} AND state = 'pending'
"""  # nosec B608 # our own text


def kind_of(stream_id: int, row: Row) -> Kind:
    """Return the count that `row` belongs to. What `except` leaves out is counted by its entry."""
    part = row.detail if row.reason == Reason.FILTERED else None
    return stream_id, row.state.value, row.reason or "", row.verdict or "", int(row.changed_after_delivery), part or ""


def pending_kind(stream_id: int) -> Kind:
    """Return the count of pending rows without a verdict."""
    return stream_id, State.PENDING.value, "", "", 0, ""


class Changes:
    """Gather by how much each count changes within one transaction."""

    def __init__(self) -> None:
        self._kinds: list[tuple[Kind, int]] = []
        self._days: list[tuple[Lateness, int]] = []

    def add(self, kinds: Iterable[tuple[Kind, int]]) -> None:
        """Add a number of rows to each of `kinds`."""
        self._kinds.extend(kinds)

    def move(self, before: Kind, after: Kind) -> None:
        """Move one row from one count to another."""
        if before != after:
            self._kinds += ((before, -1), (after, 1))

    def deliver(self, db: Database, verdict: str, ids: str, now: datetime) -> None:
        """Move the pending rows of `ids` (JSON) to delivered, before they are written. Add them to the day's lateness.

        Nearly always the rows of one POST share their bounds. Then no row needs a look of its own.
        """
        groups = db.conn.execute(_LEAVING, {"ids": ids}).fetchall()
        late: list[_Late | None] = []
        for stream_id, reason, before, n, first_seen, last_seen, first, last in groups:
            self._kinds.append(((stream_id, State.PENDING.value, reason, before, 0, ""), -n))
            self._kinds.append(((stream_id, State.DELIVERED.value, "", verdict, 0, ""), n))
            ends = _lateness(stream_id, first_seen, first, now), _lateness(stream_id, last_seen, last, now)
            late += [(one[0], n) if one == other else None for one, other in zip(*ends, strict=True)]
        if None in late:
            late = [
                pair
                for stream_id, seen, at in db.conn.execute(_EACH, {"ids": ids})
                for pair in _lateness(stream_id, seen, at, now)
            ]
        day = clock.text(now)[:10]
        self._days += (((day, *where), n) for where, n in filter(None, late))

    def mark(self) -> tuple[int, int]:
        """Return the present position, for `back_to`."""
        return len(self._kinds), len(self._days)

    def back_to(self, mark: tuple[int, int]) -> None:
        """Forget everything since `mark`, because its writes were undone."""
        kinds, days = mark
        del self._kinds[kinds:], self._days[days:]

    def clear(self) -> None:
        """Forget everything, at the end of the transaction."""
        self.back_to((0, 0))

    def write(self, db: Database) -> None:
        """Write each count that changes, in the transaction that is open."""
        if self._kinds:
            db.conn.executemany(_ADD, _summed(self._kinds))
        if self._days:
            db.conn.executemany(_ADD_DAYS, _summed(self._days))


_Late = tuple[tuple[int, str, int], int]  # ((stream_id, "occurred" or "seen", bound in seconds), rows)


def _lateness(stream_id: int, seen: str, happened: str | None, now: datetime) -> list[_Late]:
    found: list[_Late] = [((stream_id, "seen", _within(seen, now)), 1)]
    return found if happened is None else [*found, ((stream_id, "occurred", _within(happened, now)), 1)]


def _within(at: str, now: datetime) -> int:
    return BOUNDS[bisect_left(BOUNDS[:-1], (now - clock.instant(at)).total_seconds())]


def _summed(changes: Iterable[tuple[tuple[Any, ...], int]]) -> list[tuple[Any, ...]]:
    total: dict[tuple[Any, ...], int] = {}
    for key, n in changes:
        total[key] = total.get(key, 0) + n
    return [(*key, n) for key, n in total.items() if n]


__all__ = ["BOUNDS", "EVER", "KEEP_DAYS", "KIND", "Changes", "Kind", "kind_of", "pending_kind"]
