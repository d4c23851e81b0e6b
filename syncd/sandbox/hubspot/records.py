"""The records of an invented HubSpot portal: versions, search index and associations."""

import heapq
import random
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.sandbox.hubspot.properties import CREATED, MODIFIED, PropertyKind, kinds
from syncd.sandbox.standin.clock import iso

IndexEntry = tuple[Any, int]  # a sort key and a record's id
FEW = 16  # up to this many fresh entries are inserted one by one, more are sorted in together


@dataclass(slots=True)
class PortalRecord:
    """One immutable version of a record."""

    id: int
    created: int  # ms
    modified: int  # ms
    values: dict[str, str]  # without the system's own properties
    version: int  # grows with every write to the portal
    archived: bool = False


class Index:
    """Entries in ascending order, cheap to load in bulk and to change singly."""

    def __init__(self) -> None:
        self._sorted: list[IndexEntry] = []
        self._fresh: list[IndexEntry] = []

    def add(self, entry: IndexEntry) -> None:
        """Add an entry."""
        if not self._fresh and (not self._sorted or entry > self._sorted[-1]):
            self._sorted.append(entry)
        else:
            self._fresh.append(entry)

    def discard(self, entry: IndexEntry) -> None:
        """Remove an entry if it exists."""
        entries = self.entries
        at = bisect_left(entries, entry)
        if at < len(entries) and entries[at] == entry:
            del entries[at]

    @property
    def entries(self) -> list[IndexEntry]:
        """Return the sorted list itself. Callers must not change it."""
        if len(self._fresh) > FEW:
            self._sorted += self._fresh
            self._sorted.sort()
        else:
            for entry in self._fresh:
                insort(self._sorted, entry)
        self._fresh = []
        return self._sorted


class PortalTable:
    """The records of one type, in their current versions and in those that search shows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.modified, self.created = MODIFIED.get(name, "hs_lastmodifieddate"), CREATED.get(name, "hs_createdate")
        self.kinds: dict[str, PropertyKind] = kinds(name)
        self.rows: dict[int, PortalRecord] = {}  # by id, as a read by id sees them
        self.ids = Index()  # of all rows
        self.shown: dict[int, PortalRecord] = {}  # by id, as search sees them
        self.by_time, self.by_id = Index(), Index()  # of the rows in `shown`
        self.merged: dict[int, int] = {}  # loser -> winner
        self._due: list[tuple[int, int, PortalRecord]] = []  # heap: visible at, version, row

    def write(self, row: PortalRecord, *, now: int, visible_at: int) -> None:
        """Keep a new version. Search sees it from `visible_at` (ms) on."""
        if row.id not in self.rows:
            self.ids.add((row.id, row.id))
        self.rows[row.id] = row
        if row.archived:
            self._hide(row.id)
        elif visible_at <= now:
            self._show(row)
        else:
            heapq.heappush(self._due, (visible_at, row.version, row))

    def remove(self, crm_id: int) -> None:
        """Remove a record from reads and from search."""
        del self.rows[crm_id]
        self.ids.discard((crm_id, crm_id))
        self._hide(crm_id)

    def catch_up(self, now: int) -> None:
        """Show search every version that is due at `now` (ms)."""
        while self._due and self._due[0][0] <= now:
            row = heapq.heappop(self._due)[2]
            current = self.rows.get(row.id)
            if current is not None and not current.archived:
                self._show(row)

    def find(self, crm_id: int) -> PortalRecord | None:
        """Return a record by id, without the index. A merged id leads to its winner."""
        while crm_id in self.merged:
            crm_id = self.merged[crm_id]
        return self.rows.get(crm_id)

    def render(self, rows: Iterable[PortalRecord], names: Iterable[str]) -> list[dict[str, Any]]:
        """Render rows as HubSpot does: the known ones of the wanted properties, as text or null."""
        wanted = [name for name in dict.fromkeys(names) if name in self.kinds]
        has_created, has_modified, has_id = (name in wanted for name in (self.created, self.modified, "hs_object_id"))
        rendered = []
        for row in rows:
            created, modified, crm_id, value = iso(row.created), iso(row.modified), str(row.id), row.values.get
            shown = {name: value(name) for name in wanted}
            if has_created:
                shown[self.created] = created
            if has_modified:
                shown[self.modified] = modified
            if has_id:
                shown["hs_object_id"] = crm_id
            rendered.append({
                "id": crm_id, "properties": shown,
                "createdAt": created, "updatedAt": modified, "archived": row.archived,
            })  # fmt: skip
        return rendered

    def _show(self, row: PortalRecord) -> None:
        before = self.shown.get(row.id)
        if before is not None:
            if before.version > row.version:
                return
            self.by_time.discard((before.modified, before.id))
        else:
            self.by_id.add((row.id, row.id))
        self.shown[row.id] = row
        self.by_time.add((row.modified, row.id))

    def _hide(self, crm_id: int) -> None:
        row = self.shown.pop(crm_id, None)
        if row is not None:
            self.by_time.discard((row.modified, row.id))
            self.by_id.discard((row.id, row.id))


class Links:
    """Associations in both directions. Some appear late, and none moves a timestamp.

    HubSpot: an association added later does not re-emit the record (airbyte#44554).
    """

    def __init__(self) -> None:
        self._links: dict[tuple[str, str], dict[int, list[int]]] = defaultdict(dict)
        self._due: list[tuple[int, tuple[str, int, str, int]]] = []

    def add(self, from_type: str, from_id: int, to_type: str, to_id: int, *, now: int, visible_at: int) -> None:
        """Add an association that is visible from `visible_at` (ms) on."""
        if visible_at > now:
            heapq.heappush(self._due, (visible_at, (from_type, from_id, to_type, to_id)))
            return
        forward = self._links[from_type, to_type].setdefault(from_id, [])
        if to_id not in forward:
            forward.append(to_id)
            self._links[to_type, from_type].setdefault(to_id, []).append(from_id)

    def of(self, from_type: str, from_id: int, to_type: str) -> list[int]:
        """Return the ids of one type that a record is associated with."""
        return self._links[from_type, to_type].get(from_id, [])

    def catch_up(self, now: int) -> None:
        """Show every association that is due at `now` (ms)."""
        while self._due and self._due[0][0] <= now:
            self.add(*heapq.heappop(self._due)[1], now=now, visible_at=now)

    def move(self, type_name: str, loser: int, winner: int, now: int) -> None:
        """Move the associations of a merged record to its winner."""
        for (from_type, to_type), links in list(self._links.items()):
            if from_type == type_name:
                for other in links.pop(loser, []):
                    back = self._links[to_type, type_name].get(other, [])
                    if loser in back:
                        back.remove(loser)
                    self.add(type_name, winner, to_type, other, now=now, visible_at=now)


def texts(properties: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield properties as text, as HubSpot keeps them. None is left out, like null at HubSpot."""
    for name, value in properties.items():
        if isinstance(value, bool):
            yield name, "true" if value else "false"
        elif isinstance(value, datetime):
            yield name, iso(round(value.timestamp() * 1000))
        elif value is not None:
            yield name, str(value)


def new_id(draw: random.Random, taken: Mapping[int, Any]) -> int:
    """Draw an unused id. HubSpot's ids do not grow with creation time (recorded list page, 2025-02)."""
    while True:
        crm_id = 70_000_000_000 + draw.getrandbits(33)
        if crm_id not in taken:
            return crm_id
