"""The invented HubSpot portal: its settings, and the writes of tests and generators."""

import random
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from syncd.sandbox.hubspot.properties import SINGULAR, TYPES, PropertyKind
from syncd.sandbox.hubspot.rate_limit import RollingWindow
from syncd.sandbox.hubspot.records import Links, PortalRecord, PortalTable, new_id, texts
from syncd.sandbox.recotap.service import Recotap
from syncd.sandbox.standin.clock import Clock, iso, millis
from syncd.sandbox.standin.faults import sample
from syncd.sandbox.standin.server import StandIn

TOKEN = "sandbox-token"  # nosec B105 # opens nothing but a stand-in
SCOPES = frozenset(
    {"crm.objects.contacts.read", "crm.objects.companies.read", "crm.objects.owners.read", "sales-email-read"}
)
SENIORITY = (
    ("executive", "Executive"), ("vp", "VP"), ("director", "Director"), ("manager", "Manager"), ("entry", "IndexEntry"),
)  # fmt: skip

Moment = datetime | int | str


class Portal(StandIn):
    """Records, people and settings. Public attributes may be changed while the portal is served."""

    def __init__(self, *, clock: Clock | None = None, latency_s: float = 0.0, seed: int = 1, **settings: Any) -> None:
        super().__init__(clock=clock, latency_s=latency_s, seed=seed)
        self.portal_id = 12_345_678
        self.time_zone = "UTC"  # the daily limit is reset at midnight in this zone
        self.tokens: dict[str, frozenset[str]] = {TOKEN: SCOPES}  # token -> scopes
        self.search_per_second = 5  # 0: no limit (docs: 5 a second per account)
        self.per_ten_seconds = 100  # 0: no limit; search and associations are exempt (spec)
        self.daily_limit = 250_000  # 0: no limit
        self.index_delay = 0.0  # seconds until search sees a write
        self.fresh_properties = False  # True: search shows properties newer than the index it filtered and sorted by
        self.association_page = 500  # `to` entries per input and response
        self.drop_missing = False  # batch read: omit ids that were not found, without an error (seen by others)
        self.archived_owners_only = True  # False: archived=true returns all owners, as in November 2023
        self.schema_scope = False  # whether labels require crm.schemas.contacts.read (believed, not known)
        self.tables = {name: PortalTable(name) for name in SINGULAR}
        self.links = Links()
        self.owners: dict[int, dict[str, Any]] = {}
        self.dispositions: list[dict[str, Any]] = sample("call_dispositions.200.json")
        self.options: dict[tuple[str, str], list[tuple[str, str]]] = {("contacts", "hs_seniority"): list(SENIORITY)}
        self.hidden: frozenset[str] = frozenset()  # properties that no token sees, e.g. sensitive ones
        self.recotap: Recotap | None = (
            None  # receives the poison messages of records generated through the control endpoint
        )
        self._draw = random.Random(seed)
        self._turn = seed
        self._version = 0
        self._searches, self._others = RollingWindow(1000), RollingWindow(10_000)
        self._today, self._used = "", 0
        self.set(**settings)

    def put(
        self, type_name: str, properties: Mapping[str, Any], *, id: int | str | None = None,
        modified_at: Moment | None = None, created_at: Moment | None = None, late_by: float | None = None,
        archived: bool = False,
    ) -> str:  # fmt: skip
        """Write a complete record and return its id.

        Search sees it after `late_by` seconds, by default `index_delay`.
        """
        with self.lock:
            table, now = self.tables[TYPES[type_name]], self.clock.ms()
            crm_id = new_id(self._draw, table.rows) if id is None else int(id)
            modified = now if modified_at is None else millis(modified_at)
            created = modified if created_at is None else millis(created_at)
            values = dict(texts(properties))
            self._write(table, PortalRecord(crm_id, created, modified, values, 0, archived), late_by)
            return str(crm_id)

    def edit(
        self, type_name: str, id: int | str, *, touch: bool = True, modified_at: Moment | None = None,
        late_by: float | None = None, **properties: Any,
    ) -> None:  # fmt: skip
        """Change properties, of which None clears one.

        The modification time becomes now, unless `touch` is False.
        """
        with self.lock:
            table = self.tables[TYPES[type_name]]
            row = table.rows[int(id)]
            modified = self.clock.ms() if touch else row.modified
            modified = modified if modified_at is None else millis(modified_at)
            values = {**row.values, **dict(texts(properties))}
            for name in [name for name, value in properties.items() if value is None]:
                values.pop(name, None)
            self._write(table, PortalRecord(row.id, row.created, modified, values, 0, row.archived), late_by)

    def archive(self, type_name: str, id: int | str) -> None:
        """Move a record to the recycle bin. Only requests with archived=true see it then."""
        with self.lock:
            table = self.tables[TYPES[type_name]]
            row = table.rows[int(id)]
            self._write(table, PortalRecord(row.id, row.created, self.clock.ms(), row.values, 0, True), None)

    def delete(self, type_name: str, id: int | str) -> None:
        """Delete a record permanently."""
        with self.lock:
            self.tables[TYPES[type_name]].remove(int(id))

    def merge(self, type_name: str, winner: int | str, loser: int | str) -> None:
        """Merge two records. The loser's id then leads to the winner, which takes over its associations."""
        with self.lock:
            table = self.tables[TYPES[type_name]]
            table.remove(int(loser))
            table.merged[int(loser)] = int(winner)
            self.links.move(table.name, int(loser), int(winner), self.clock.ms())
            before = table.rows[int(winner)].values.get("hs_merged_object_ids")
            self.edit(type_name, winner, hs_merged_object_ids=f"{before};{loser}" if before else str(loser))

    def associate(
        self, from_type: str, from_id: int | str, to_type: str, to_id: int | str, *, late_by: float = 0.0
    ) -> None:
        """Associate two records, `late_by` seconds from now. No timestamp moves."""
        with self.lock:
            now = self.clock.ms()
            ends = (TYPES[from_type], int(from_id), TYPES[to_type], int(to_id))
            self.links.add(*ends, now=now, visible_at=now + round(late_by * 1000))

    def owner(
        self, email: str | None, first: str = "", last: str = "", *, id: int | None = None, archived: bool = False
    ) -> str:
        """Add or replace an owner and return its id. An archived one keeps only its email (probo#1594)."""
        with self.lock:
            owner_id = 70_000_000 + 17 * len(self.owners) if id is None else id
            now = iso(self.clock.ms())
            names = {"firstName": "", "lastName": ""} if archived else {"firstName": first, "lastName": last}
            user = {"userId": None if archived else owner_id + 5, "userIdIncludingInactive": owner_id + 5}
            self.owners[owner_id] = {
                "id": str(owner_id), "email": email, "type": "PERSON", **names, **user,
                "createdAt": now, "updatedAt": now, "archived": archived,
            }  # fmt: skip
            return str(owner_id)

    def property(
        self, type_name: str, name: str, *, kind: PropertyKind = "string", options: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Define a custom property, or the options (value, label) of an existing one."""
        with self.lock:
            chosen = list(options)
            self.tables[TYPES[type_name]].kinds[name] = "enum" if chosen else kind
            self.options[TYPES[type_name], name] = [(value, label) for value, label in chosen]

    def token(self, token: str, scopes: Iterable[str] | None = None) -> None:
        """Accept a token with these scopes, by default all four."""
        self.tokens[token] = SCOPES if scopes is None else frozenset(scopes)

    def set(self, **settings: Any) -> None:
        """Change settings by name. `tokens` may map each token to a list of scopes."""
        for name, value in settings.items():
            if name.startswith("_") or not hasattr(self, name) or callable(getattr(self, name)):
                raise ValueError(f"no such setting: {name!r}")
            if name == "tokens":
                value = {token: frozenset(scopes) for token, scopes in value.items()}
            if name == "hidden":
                value = frozenset(value)
            setattr(self, name, value)

    def state(self) -> dict[str, Any]:
        """Return counts of all, archived and searchable records, of owners and of requests."""
        with self.lock:
            counts = {}
            for name, table in self.tables.items():
                table.catch_up(self.clock.ms())
                archived = sum(row.archived for row in table.rows.values())
                counts[name] = {"all": len(table.rows), "archived": archived, "searchable": len(table.shown)}
            return {**counts, "owners": len(self.owners), "now": iso(self.clock.ms()), "used_today": self._used}

    def _write(self, table: PortalTable, row: PortalRecord, late_by: float | None) -> None:
        now = self.clock.ms()
        self._version += 1
        row.version = self._version
        delay = self.index_delay if late_by is None else late_by
        table.write(row, now=now, visible_at=now + round(delay * 1000))
