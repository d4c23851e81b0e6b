"""Add contacts, companies, owners and labels to calls and emails, read in batches.

1,000 new calls with 300 contacts and 150 companies cost 2 + 3 + 2 requests here. The caches are bounded and compact:
a contact is one Person, shared by its calls.

If HubSpot does not serve a contact, a company or an association, each record that needs it is unserved. All others are
complete.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from connectors.hubspot.client import Client
from connectors.hubspot.config import HubSpotStream
from connectors.hubspot.ids import by_number, ids, is_id
from connectors.hubspot.mapping import CONTACT_TYPES
from connectors.hubspot.paging import Chain
from connectors.hubspot.people import COMPANIES, CONTACTS
from connectors.hubspot.people import company as to_company
from connectors.hubspot.people import contact as to_contact
from connectors.hubspot.portal import Portal
from connectors.hubspot.retry import TOO_MUCH, QueryRefused
from syncd.activity import Company, Owner, Person
from syncd.connector import Record, Ref
from syncd.errors import Unavailable
from syncd.fields import dig, parse_text
from syncd.isolation import Budget, in_halves

Row = Mapping[str, Any]
T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

ASSOCIATION_INPUTS = 1_000  # a request (HubSpot changelog, 2025-02-10)
BATCH_INPUTS = 100  # a batch read (docs, 2026-03)
OWN = ("calls", "emails")  # queries for the records themselves
SURE = "1"  # an id that HubSpot accepts, whether or not the record exists
OWNER = "hubspot_owner_id"
CACHED = 5_000  # entries per cache; a contact takes about 1 kB


class Ask(Protocol[T_contra]):
    """Request the rows of some inputs."""

    def __call__(self, part: Sequence[T_contra], *, isolates: bool) -> list[Row]:
        """Return them. `isolates`: these are some of a failed request's inputs."""


class Cache(Generic[T]):
    """Keep the entries used last, up to a bound. None: HubSpot has no such record."""

    def __init__(self, bound: int = CACHED) -> None:
        self._bound = bound
        self._entries: OrderedDict[str, T | None] = OrderedDict()

    def fill(self, wanted: Iterable[str], read: Callable[[Sequence[str]], Mapping[str, T]]) -> dict[str, T]:
        """Return the entries of `wanted`, reading the missing ones. Ids without a record are left out."""
        wanted = list(dict.fromkeys(wanted))
        here = {crm_id: self._entries[crm_id] for crm_id in wanted if crm_id in self._entries}
        missing = [crm_id for crm_id in wanted if crm_id not in here]
        if missing:
            fresh = read(missing)
            here |= {crm_id: fresh.get(crm_id) for crm_id in missing}
        for crm_id, entry in here.items():
            self._entries[crm_id] = entry
            self._entries.move_to_end(crm_id)
        for crm_id in list(islice(self._entries, max(0, len(self._entries) - self._bound))):
            del self._entries[crm_id]
        return {crm_id: entry for crm_id, entry in here.items() if entry is not None}

    def put(self, crm_id: str, entry: T) -> None:
        """Replace an entry, if it is still cached."""
        if crm_id in self._entries:
            self._entries[crm_id] = entry


class Related:
    """Hydrate records. Make one object per pass or look-up, because its caches never expire."""

    def __init__(
        self,
        client: Client,
        portal: Portal,
        *,
        department: str = "",
        rules: Mapping[str, HubSpotStream] = {},  # by object; never changed
        labels: Callable[[str], Mapping[str, Any]] = lambda object_type: {},
        budget: Budget | None = None,
    ) -> None:
        self._client = client
        self._portal = portal
        self._department = department
        self._labels = labels
        self._owners_from = {name: _owner_properties(each) for name, each in rules.items()}
        self._contacts: Cache[tuple[Person, str | None]] = Cache()
        self._companies: Cache[Company] = Cache()
        self._budget = budget or Budget()  # of requests that isolate
        self._taken: dict[str, Any] = {}  # an input of a query that HubSpot has accepted, by the query's name
        self._unserved: dict[tuple[str, str], str] = {}  # why an id was not served, by the query's name and id

    def hydrate(self, object_type: str, rows: Sequence[tuple[Ref, Row]]) -> tuple[list[Record], dict[str, str]]:
        """Return the records of `rows`, in their order, with all that normalize needs.

        Also return by id why others have no record: HubSpot does not serve something that they need.
        """
        crm_ids = [ref.crm_id for ref, _ in rows]
        contact_ids = self.associated(object_type, "contacts", crm_ids)
        company_ids = self.associated(object_type, "companies", crm_ids)
        callees = {
            ref.crm_id: callee for ref, row in rows if ref.crm_id not in contact_ids and (callee := _callee(row))
        }
        people, companies = self._people(
            {each for found in contact_ids.values() for each in found} | set(callees.values()),
            {each for found in company_ids.values() for each in found},
        )
        records, unserved = [], {}
        owners_from = self._owners_from.get(object_type, (OWNER,))
        common = {"read_at": self._client.certain_now(), "labels": self._labels(object_type)}
        for ref, row in rows:
            crm_id, properties = ref.crm_id, _properties(row)
            people_ids = (*contact_ids.get(crm_id, ()), callees.get(crm_id, ""))
            why = self._why_unserved(object_type, crm_id, people_ids, company_ids.get(crm_id, ()))
            if why:
                unserved[crm_id] = why
                continue
            related = {
                "contacts": tuple([people[each] for each in contact_ids.get(crm_id, ()) if each in people]),
                "callee": people.get(callees.get(crm_id, "")),
                "companies": tuple([companies[each] for each in company_ids.get(crm_id, ()) if each in companies]),
                "owners": self._owners(properties, owners_from),
                "disposition": self._disposition(properties),
                **common,
            }
            records.append(Record(ref, row, related))
        return records, unserved

    def unserved(self, name: str, crm_ids: Iterable[str]) -> dict[str, str]:
        """Return which of `crm_ids` HubSpot did not serve, and why. `name` is that of a query, e.g. contacts."""
        return {crm_id: self._unserved[name, crm_id] for crm_id in crm_ids if (name, crm_id) in self._unserved}

    def _why_unserved(self, object_type: str, crm_id: str, people: Iterable[str], companies: Iterable[str]) -> str:
        """Return why a record cannot be completed, or "". Nearly always nothing is unserved."""
        if not self._unserved:
            return ""
        needed = {f"{object_type} to {to_type}": (crm_id,) for to_type in ("contacts", "companies")}
        found = (
            self.unserved(name, ids) for name, ids in {**needed, "contacts": people, "companies": companies}.items()
        )
        return next((why for each in found for why in each.values()), "")

    def associated(self, object_type: str, to_type: str, crm_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return each record's associated ids, ascending. A record without any is left out."""
        found: dict[str, set[str]] = {}
        crm_ids = list(filter(is_id, crm_ids))
        for start in range(0, len(crm_ids), ASSOCIATION_INPUTS):
            inputs = [{"id": crm_id} for crm_id in crm_ids[start : start + ASSOCIATION_INPUTS]]
            asked = frozenset(crm_ids[start : start + ASSOCIATION_INPUTS])
            chains: dict[str, Chain] = {}  # of the few records that have more than a page
            while inputs:
                rows = self._each(
                    f"{object_type} to {to_type}",
                    inputs,
                    partial(self._client.associations, object_type, to_type),
                    sure={"id": SURE},
                )
                inputs = []
                for row in rows:
                    crm_id = parse_text(dig(row, "from", "id")) or ""
                    found.setdefault(crm_id, set()).update(_targets(row))
                    if row.get("paging") is None or crm_id not in asked:
                        continue
                    chain = chains.setdefault(crm_id, Chain(f"associations {object_type} to {to_type}"))
                    if (after := chain.next(row)) is not None:
                        inputs.append({"id": crm_id, "after": after})
        return {crm_id: _ascending(targets) for crm_id, targets in found.items() if targets}

    def _people(self, contact_ids: set[str], company_ids: set[str]) -> tuple[dict[str, Person], dict[str, Company]]:
        """Read contacts, then the companies of activities and contacts together."""
        contacts = self._contacts.fill(sorted(contact_ids), self._read_contacts)
        theirs = {company_id for _, company_id in contacts.values() if company_id}
        companies = self._companies.fill(sorted(company_ids | theirs), self._read_companies)
        people = {}
        for crm_id, (person, company_id) in contacts.items():
            if company_id and (why := self.unserved("companies", (company_id,))):
                self._unserved["contacts", crm_id] = why[company_id]
            if company_id and company_id in companies:
                person = replace(person, company=companies[company_id])
                self._contacts.put(crm_id, (person, None))  # complete from now on, for all records that share it
            people[crm_id] = person
        return people, companies

    def _read_contacts(self, crm_ids: Sequence[str]) -> dict[str, tuple[Person, str | None]]:
        department = (self._department,) if self._department else ()
        rows = self.read("contacts", crm_ids, (*CONTACTS, *department))
        return {
            crm_id: to_contact(row, department=self._department, seniority=self._seniority(row))
            for crm_id, row in rows.items()
        }

    def _read_companies(self, crm_ids: Sequence[str]) -> dict[str, Company]:
        return {crm_id: to_company(row) for crm_id, row in self.read("companies", crm_ids, COMPANIES).items()}

    def read(self, object_type: str, crm_ids: Sequence[str], properties: Sequence[str]) -> dict[str, Row]:
        """Return the current rows of `crm_ids`, without those that HubSpot does not find or serve.

        A value that is not an id (a callee's, a contact's company) is not requested.
        """
        crm_ids = [crm_id for crm_id in crm_ids if is_id(crm_id) and (object_type, crm_id) not in self._unserved]
        batches = [crm_ids[start : start + BATCH_INPUTS] for start in range(0, len(crm_ids), BATCH_INPUTS)]

        def ask(batch: Sequence[str]) -> dict[str, Row]:
            def some(part: Sequence[str], *, isolates: bool) -> list[Row]:
                rows: list[Row] = self._client.batch_read(object_type, part, properties, isolates=isolates)
                return rows

            return reconcile(batch, self._each(object_type, batch, some, sure=SURE))

        found: dict[str, Row] = {}
        for rows in self._client.in_parallel(ask, batches):
            found |= rows
        return found

    def _each(self, name: str, inputs: Sequence[T], ask: "Ask[T]", *, sure: T) -> list[Row]:
        """Return the rows of `inputs`. A query that fails is halved until the culprits stand alone.

        One of them costs about 2 log2(n) requests more. One that HubSpot refuses has no row, and one that it does not
        serve is unserved. An input is refused only if HubSpot has accepted a query of this name, at least one for
        `sure`. If it refuses them all, the query is wrong and no record is missing. Of a look-up's own ids a single one
        is not to blame: syncd decides that by other ids of the ledger.
        """

        def some(part: Sequence[T]) -> list[Row]:
            rows = ask(part, isolates=len(part) < len(inputs))
            self._taken[name] = part[0]
            return rows

        def alone(each: T, error: Unavailable) -> list[Row]:
            if not isinstance(error, QueryRefused):
                crm_id = each["id"] if isinstance(each, dict) else str(each)
                self._unserved[name, crm_id] = error.message
            elif name not in self._taken:
                some([sure])
            return []

        known = self._taken.get(name, None if name in OWN else sure)
        witness = None if known is None else lambda: ask([known], isolates=True)
        try:
            return in_halves(
                inputs, some, too_much=(*TOO_MUCH, QueryRefused), certain=(QueryRefused,), alone=alone,
                witness=witness, budget=self._budget,
            )  # fmt: skip
        except TOO_MUCH:
            if len(inputs) > 1:  # an outage: two other requests failed too
                self._client.stop_retrying()
            raise

    def _owners(self, properties: Row, names: Sequence[str]) -> tuple[tuple[str, Owner], ...]:
        """Return the candidates, each with its property, in order."""
        written = [(name, found) for name in names if (found := parse_text(properties.get(name))) is not None]
        return tuple([(name, owner) for name, found in written for owner in self._portal.owners_of(name, found)])

    def _disposition(self, properties: Row) -> str | None:
        guid = parse_text(properties.get("hs_call_disposition"))
        return None if guid is None else self._portal.dispositions.get(guid) or guid

    def _seniority(self, row: Row) -> str | None:
        value = parse_text(_properties(row).get("hs_seniority"))
        return None if value is None else self._portal.seniorities.get(value) or value


def reconcile(asked: Sequence[str], rows: Iterable[Row]) -> dict[str, Row]:
    """Return rows by the requested id. A merged record arrives under the winner's id, which lists it."""
    found: dict[str, Row] = {}
    for row in rows:
        crm_id = parse_text(row.get("id"))
        if row.get("archived") is not True and crm_id:
            for merged in ids(_properties(row).get("hs_merged_object_ids")):
                found.setdefault(merged, row)
            found[str(row.get("id"))] = row
    return {crm_id: found[crm_id] for crm_id in asked if crm_id in found}


def _owner_properties(rules: HubSpotStream) -> tuple[str, ...]:
    """Return the properties that may name the owner, in order. The record's own owner is the last resort."""
    return tuple(dict.fromkeys((*rules.fields.owner, OWNER)))


def _targets(row: Row) -> Iterable[str]:
    """Return an association row's ids: integers in practice, strings in the specification (Airbyte)."""
    targets = row.get("to")
    found = [parse_text(dig(each, "toObjectId")) for each in targets] if isinstance(targets, list) else ()
    return filter(None, found)


def _ascending(targets: set[str]) -> list[str]:
    return sorted(targets, key=by_number) if len(targets) > 1 else list(targets)


def _callee(row: Row) -> str | None:
    properties = _properties(row)
    named = (properties.get("hs_call_callee_object_type_id"), properties.get("hs_call_callee_object_type"))
    is_contact = any((parse_text(each) or "").upper() in CONTACT_TYPES for each in named)
    return parse_text(properties.get("hs_call_callee_object_id")) if is_contact else None


def _properties(row: Row) -> Mapping[str, Any]:
    properties = row.get("properties")
    return properties if isinstance(properties, dict) else {}
