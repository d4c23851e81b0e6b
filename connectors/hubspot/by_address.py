"""Find a person's calls and emails by the person's address.

    contacts with the address ─► associations ─► calls, emails; calls to them (callee)
    owners with the address   ─► calls, emails of these owners
    headers with the address  ─► emails

A search filters by tokens of a text (HubSpot search, CONTAINS_TOKEN, docs 2026-03), which may find too much, so each
row's text is read again. It does not see writes of the last seconds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from connectors.hubspot.client import Client
from connectors.hubspot.ids import by_number, ids
from connectors.hubspot.related import OWNER, Related
from connectors.hubspot.retry import CHANGED
from connectors.hubspot.search import ID, LIMIT, search_page
from syncd.activity import Owner
from syncd.errors import Malformed
from syncd.fields import addresses

STREAMS = ("calls", "emails")
EMAIL, OTHERS = "email", ("hs_additional_emails", "work_email")  # of a contact
# Of an email. HubSpot derives them from the headers, and a search has at most five groups (docs, 2026-03).
HEADERS = (
    "hs_email_from_email",
    "hs_email_sender_email",
    "hs_email_to_email",
    "hs_email_cc_email",
    "hs_email_bcc_email",
)
CALLEE = "hs_call_callee_object_id"
MOST_VALUES = 100  # of an IN (docs, 2026-03)

Filter = Mapping[str, Any]


def records_of(client: Client, related: Related, owners: Sequence[Owner], address: str) -> Iterator[tuple[str, str]]:
    """Yield (stream, crm_id) of the person's records, some of them twice."""
    contacts = _contacts(client, address)
    for stream in STREAMS:
        linked = related.associated("contacts", stream, contacts)
        yield from ((stream, crm_id) for some in linked.values() for crm_id in some)
    theirs = [each.crm_id for each in owners if each.crm_id and _is(address, each.email)]
    for stream in STREAMS if theirs else ():
        yield from ((stream, crm_id) for crm_id in _search(client, stream, [_one_of(OWNER, theirs)]))
    if contacts:
        yield from (("calls", crm_id) for crm_id in _search(client, "calls", [_one_of(CALLEE, contacts)]))
    headers = [_token(name, address) for name in HEADERS]
    plain = [_equal(HEADERS[0], address)]
    found = _search(client, "emails", headers, HEADERS, _names(address, HEADERS), plain)
    yield from (("emails", crm_id) for crm_id in found)


def _contacts(client: Client, address: str) -> list[str]:
    """Return the contacts whose address, further or business address it is."""
    names = (EMAIL, *OTHERS)
    wanted = [_equal(EMAIL, address), *(_token(name, address) for name in OTHERS)]
    return list(_search(client, "contacts", wanted, names, _names(address, names), wanted[:1]))


def _search(
    client: Client, object_type: str, wanted: Sequence[Filter], names: Sequence[str] = (),
    holds: Callable[[Mapping[str, Any]], bool] = lambda properties: True, plain: Sequence[Filter] = (),
) -> Iterator[str]:  # fmt: skip
    """Yield the ids of the rows that any filter finds and whose properties hold, by ascending id.

    The next page begins after the last id, so more than 10,000 are found too. `plain` are the filters to use if the
    portal refuses `wanted`, e.g. because it lacks a property.
    """
    last = 0
    while True:
        after = {"propertyName": ID, "operator": "GT", "value": str(last)}
        body = {
            "filterGroups": [{"filters": [each, after]} for each in wanted],
            "sorts": [{"propertyName": ID, "direction": "ASCENDING"}],
            "properties": list(names),
            "limit": LIMIT,
        }
        answer = client.search(object_type, body, tolerant=bool(plain))
        if answer is None:
            yield from _search(client, object_type, plain, names, holds)
            return
        page = search_page(answer, otherwise=client.server_now())
        yield from (ref.crm_id for ref, row in page.rows if holds(row.get("properties") or {}))
        if not page.more:
            return
        newest = max(by_number(ref.crm_id)[0] for ref, _ in page.rows)
        if newest <= last:
            raise Malformed(f"HubSpot, {object_type} search: rows come back that the filter excludes", hint=CHANGED)
        last = newest


def _names(address: str, names: Sequence[str]) -> Callable[[Mapping[str, Any]], bool]:
    """Return a test whether a property has the address, perhaps among others. If none is shown, the search decides."""

    def holds(properties: Mapping[str, Any]) -> bool:
        if all(properties.get(name) is None for name in names):
            return True
        return any(_is(address, each) for name in names for each in _listed(properties.get(name)))

    return holds


def _listed(written: Any) -> list[str]:
    return [*(address for _, address in addresses(written)), *ids(written)]


def _is(address: str, written: str | None) -> bool:
    return written is not None and written.strip().lower() == address


def _equal(name: str, value: str) -> Filter:
    return {"propertyName": name, "operator": "EQ", "value": value}


def _token(name: str, value: str) -> Filter:
    return {"propertyName": name, "operator": "CONTAINS_TOKEN", "value": value}


def _one_of(name: str, values: Sequence[str]) -> Filter:
    return {"propertyName": name, "operator": "IN", "values": list(values[:MOST_VALUES])}


__all__ = ["records_of"]
