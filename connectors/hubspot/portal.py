"""Cache the portal's id, owners and labels, which seldom change.

All of it is kept in the store, because a pass by cron is a new process. An idle pass requests none of it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, TypeVar

from connectors.hubspot.client import Client
from connectors.hubspot.ids import ids, is_id
from connectors.hubspot.paging import Chain
from connectors.hubspot.people import owner as to_owner
from syncd.activity import Owner
from syncd.connector import Store
from syncd.errors import Unavailable
from syncd.fields import dig, parse_text
from syncd.types.conditions import fold

KEEP = timedelta(hours=24)
# The defaults of a portal that has not edited them (HubSpot docs; the same six pairs in three public codebases)
DISPOSITIONS = {
    "9d9162e7-6cf3-4944-bf63-4dff82258764": "Busy",
    "f240bbac-87c9-4f6e-bf70-924b57d47db7": "Connected",
    "a4c4c377-d246-4b32-a13b-75a56a4cd0ff": "Left live message",
    "b2cf5968-551e-4856-9783-52b3da59a7d0": "Left voicemail",
    "73a0d17f-1163-4015-bdd5-ec830791da20": "No answer",
    "17b47fee-58de-441e-a44c-c6300d46f273": "Wrong number",
}

USER = "user_id"  # part of the name of a property that holds a user's id, not an owner's
USER_IDS = ("userIdIncludingInactive", "userId")

T = TypeVar("T")


class CachedTable(Generic[T]):
    """Cache one table of the portal in the store. It is requested at most once a pass."""

    def __init__(
        self,
        store: Store,
        key: str,
        ask: Callable[[], dict[str, T]],
        pack: Callable[[T], Any],
        unpack: Callable[[Any], T],
        *,
        refusable: bool = False,
        otherwise: Mapping[str, T] | None = None,
    ) -> None:
        self._store = store
        self._key = key
        self._ask = ask
        self._pack = pack
        self._unpack = unpack
        self._table: dict[str, T] | None = None
        self._asked = False  # in this pass
        self._expired = False
        self._refusable = refusable  # an empty table means that the portal refuses to show it
        self._otherwise = otherwise  # used if the table cannot be read; None: the pass needs it

    def get(self, crm_id: str) -> T | None:
        """Return an entry. If it is unknown, the table is requested, once a pass."""
        if self._table is None:
            self._table = self._load(max_age=KEEP)
        refused = self._refusable and not self._table  # and that answer is believed as long as it is kept
        if self._table is None or self._expired or (crm_id not in self._table and not refused):
            self.refresh()
        return (self._table or {}).get(crm_id)

    def expire(self) -> None:
        """Ignore everything that was not requested in this pass."""
        self._expired = True

    def refresh(self) -> None:
        """Request the table, unless this pass has done so. A failure is not kept: the next pass tries again."""
        if self._asked:
            return
        try:
            self._table = self._ask()
        except Unavailable as error:
            if self._otherwise is None or error.pause_until is not None:  # HubSpot asked for a pause
                raise
            known = self.known()
            self._table, self._asked = dict(self._otherwise if known is None else known), True
            return
        self._asked = True
        self._store.put(self._key, {crm_id: self._pack(entry) for crm_id, entry in self._table.items()})

    def known(self) -> Mapping[str, T] | None:
        """Return the table as far as known, however old. None if it was never requested."""
        return self._table if self._table is not None else self._load(max_age=None)

    def _load(self, *, max_age: timedelta | None) -> dict[str, T] | None:
        kept = self._store.get(self._key, max_age=max_age)
        return {crm_id: self._unpack(entry) for crm_id, entry in kept.items()} if isinstance(kept, dict) else None


class Portal:
    """Hold one portal's identity, owners and labels."""

    def __init__(self, client: Client, store: Store, *, base_url: str) -> None:
        self._client = client
        self._store = store
        self._base_url = base_url
        self.owners = CachedTable[Owner](store, "owners", self._ask_owners, _pack_owner, _unpack_owner)
        # By user id: the owner's id. HubSpot's own properties name users, e.g. who created a record.
        self.users = CachedTable[str](store, "users", self._ask_users, str, str)
        self.dispositions = CachedTable[str](
            store, "dispositions", self._ask_dispositions, str, str, otherwise=DISPOSITIONS
        )
        self.seniorities = CachedTable[str](
            store, "seniorities", self._ask_seniorities, str, str, refusable=True, otherwise={}
        )

    def identity(self) -> str | None:
        """Return the portal's id, from the store if the token is unchanged. None if the portal does not say."""
        key = hashlib.sha256(f"{self._base_url}\n{self._client.token()}".encode()).hexdigest()[:16]
        for max_age in (None, KEEP):  # a refusal is believed for a day: the key may be granted more tomorrow
            kept = self._store.get("identity", max_age=max_age)
            if isinstance(kept, dict) and kept.get("key") == key and (kept.get("portal") or max_age):
                return parse_text(kept.get("portal"))
        account = self._client.account()
        portal = parse_text(dig(account, "portalId"))
        zone, host = (parse_text(dig(account, name)) for name in ("timeZone", "uiDomain"))
        self._store.put("identity", {"key": key, "portal": portal, "zone": zone, "host": host})
        return portal

    def owner(self, crm_id: str) -> Owner:
        """Return an owner, active or archived. One that HubSpot does not list has no address."""
        return self.owners.get(crm_id) or Owner(crm_id=crm_id, email=None)

    def owners_of(self, name: str, written: str) -> list[Owner]:
        """Return the owners that a property names: by an owner's or a user's id, an address, or a unique name.

        Several ids are separated by semicolons.
        """
        if is_id(written):
            return self._by_id(name, written)
        if "@" in written:
            return [Owner(crm_id=None, email=written)]
        several = ids(written)
        if all(map(is_id, several)):
            return [owner for each in several for owner in self._by_id(name, each)]
        return self._by_name(written)

    def _by_id(self, name: str, crm_id: str) -> list[Owner]:
        if USER not in name:
            return [self.owner(crm_id)]
        owner_id = self.users.get(crm_id)
        return [] if owner_id is None else [self.owner(owner_id)]

    def _by_name(self, written: str) -> list[Owner]:
        """Return the owner of that name, or nobody if several have it. An active one goes before one who left."""
        if self.owners.known() is None:
            self.owners.refresh()
        named = [each for each in (self.owners.known() or {}).values() if fold(each.name or "") == fold(written)]
        found = [each for each in named if each.active] or named
        return found if len(found) == 1 else []

    def renew(self) -> None:
        """Make owners and labels be requested again, once a pass, when they are next needed."""
        for kept in (self.owners, self.users, self.dispositions, self.seniorities):
            kept.expire()

    def _ask_owners(self) -> dict[str, Owner]:
        """Read active and archived owners. One that is in both lists is active."""
        everyone = (to_owner(row) for row in self._everyone())
        return {str(owner.crm_id): owner for owner in everyone}

    def _ask_users(self) -> dict[str, str]:
        """Read the users' ids. `userId` is null once a user has left (hubspot-api-python#314)."""
        found = ((parse_text(row.get(key)), str(row["id"])) for row in self._everyone() for key in USER_IDS)
        return {user_id: owner_id for user_id, owner_id in found if user_id}

    def _everyone(self) -> list[dict[str, Any]]:
        return [*self._owners(archived=True), *self._owners(archived=False)]

    def _owners(self, *, archived: bool) -> list[dict[str, Any]]:
        owners: list[dict[str, Any]] = []
        after: str | None = None
        chain = Chain("owners")
        while True:
            page = self._client.owners(archived=archived, after=after)
            owners.extend({"archived": archived, **row} for row in page["results"] if parse_text(row.get("id")))
            after = chain.next(page)
            if after is None:
                return owners

    def _ask_dispositions(self) -> dict[str, str]:
        """Read the labels of call outcomes from their own endpoint, otherwise from the property's options."""
        rows = self._client.dispositions()
        labels = _labels(rows, "id") if rows is not None else {}
        return labels or self._options("calls", "hs_call_disposition") or dict(DISPOSITIONS)

    def _ask_seniorities(self) -> dict[str, str]:
        return self._options("contacts", "hs_seniority")

    def _options(self, object_type: str, name: str) -> dict[str, str]:
        rows = dig(self._client.options(object_type, name), "options")
        return _labels(rows, "value") if isinstance(rows, list) else {}


def zone_of(store: Store) -> str | None:
    """Return the portal's time zone, if an earlier identity named it."""
    return parse_text(dig(store.get("identity"), "zone"))


def _labels(rows: Sequence[Any], key: str) -> dict[str, str]:
    pairs = ((parse_text(row.get(key)), parse_text(row.get("label"))) for row in rows if isinstance(row, dict))
    return {value: label for value, label in pairs if value and label}


def _pack_owner(owner: Owner) -> list[Any]:
    return [owner.crm_id, owner.email, owner.name, owner.active]


def _unpack_owner(kept: Sequence[Any]) -> Owner:
    crm_id, email, name, active = kept
    return Owner(crm_id=crm_id, email=email, name=name, active=active)
