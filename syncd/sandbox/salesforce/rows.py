"""The rows of an invented org: versions, visibility to queries, and indexes."""

import heapq
from collections import defaultdict
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class OrgRow:
    """One immutable version of a row."""

    id: str
    values: dict[str, Any]  # by field name; instants are seconds since the epoch, days are text, None may be omitted
    version: int  # grows with every write to the org


class OrgTable:
    """The rows of one object, in their current versions and in those that queries see."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: dict[str, OrgRow] = {}  # all written versions, committed or not
        self.shown: dict[str, OrgRow] = {}  # as queries see them, deleted and archived rows included
        self.changes = 0  # grows with every change of `shown`
        self._due: list[tuple[int, int, OrgRow]] = []  # heap: visible at (ms), version, row
        self._uncommitted: dict[str, int] = {}  # new rows that are not visible yet, and the time when they are (ms)
        self._by_stamp: list[tuple[int, str]] | None = None
        self._by_parent: dict[str, dict[str, list[OrgRow]]] = {}

    def write(self, row: OrgRow, *, now: int, visible_at: int) -> None:
        """Keep a version. Queries see it from `visible_at` on, but never before the row's first version."""
        if row.id not in self.rows and visible_at > now:
            self._uncommitted[row.id] = visible_at
        visible_at = max(visible_at, self._uncommitted.get(row.id, visible_at))
        self.rows[row.id] = row
        if visible_at <= now:
            self._show(row)
        else:
            heapq.heappush(self._due, (visible_at, row.version, row))

    def remove(self, row_id: str) -> None:
        """Delete a row permanently."""
        del self.rows[row_id]
        self.shown.pop(row_id, None)
        self._changed()

    def catch_up(self, now: int) -> None:
        """Show queries every version that is committed at `now` (ms)."""
        while self._due and self._due[0][0] <= now:
            row = heapq.heappop(self._due)[2]
            before = self.shown.get(row.id)
            if row.id in self.rows and (before is None or before.version < row.version):
                self._show(row)

    @property
    def by_stamp(self) -> list[tuple[int, str]]:
        """Return every shown row as (SystemModstamp, Id), ascending. Callers must not change the list."""
        if self._by_stamp is None:
            self._by_stamp = sorted((row.values["SystemModstamp"], row.id) for row in self.shown.values())
        return self._by_stamp

    def by_parent(self, field: str) -> dict[str, list[OrgRow]]:
        """Return the shown, undeleted rows by the parent id in `field`. Callers must not change them."""
        if field not in self._by_parent:
            found = defaultdict(list)
            for row in self.shown.values():
                if (parent := row.values.get(field)) is not None and not row.values.get("IsDeleted"):
                    found[parent].append(row)
            self._by_parent[field] = dict(found)
        return self._by_parent[field]

    def _show(self, row: OrgRow) -> None:
        self.shown[row.id] = row
        self._uncommitted.pop(row.id, None)
        self._changed()

    def _changed(self) -> None:
        self.changes += 1
        self._by_stamp = None
        self._by_parent.clear()
