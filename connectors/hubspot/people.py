"""Map HubSpot's contacts, companies, owners and email headers to people. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from connectors.hubspot.ids import ids
from syncd.activity import LONGEST, REMEMBERED, Company, Owner, Person, header_person
from syncd.fields import addresses, full_name, parse_text
from syncd.http import bodies

Properties = Mapping[str, Any]

CONTACTS = (
    "email", "firstname", "lastname", "jobtitle", "phone", "mobilephone", "hs_linkedin_url", "hs_seniority",
    "associatedcompanyid", "hs_merged_object_ids", "hs_additional_emails", "work_email",
)  # fmt: skip
COMPANIES = ("domain", "name", "website", "hs_additional_domains", "hs_merged_object_ids")

HEADERS_MOST = 262_144  # characters; a property holds 65,536 (docs, 2026-03)
# The parts of hs_email_headers, and the properties that HubSpot derives from them.
RECEIVERS = (("to", "hs_email_to_email"), ("cc", "hs_email_cc_email"), ("bcc", "hs_email_bcc_email"))
NOBODY: tuple[Person, ...] = ()


def contact(row: Mapping[str, Any], *, department: str, seniority: str | None) -> tuple[Person, str | None]:
    """Return a contact without its company, and that company's id. `department` is a property's name or ""."""
    properties: Properties = row["properties"] if isinstance(row.get("properties"), dict) else {}
    person = Person(
        email=parse_text(properties.get("email")) or _other_address(properties),
        crm_id=str(row["id"]),
        name=full_name(properties.get("firstname"), properties.get("lastname")),
        title=parse_text(properties.get("jobtitle")),
        department=parse_text(properties.get(department)) if department else None,
        seniority=seniority,
        phone=parse_text(properties.get("phone")) or parse_text(properties.get("mobilephone")),
        linkedin_url=parse_text(properties.get("hs_linkedin_url")),
    )
    return person, parse_text(properties.get("associatedcompanyid"))


def _other_address(properties: Properties) -> str | None:
    """Return an address of a contact whose `email` is empty: an additional one, otherwise the one at work."""
    written = (*ids(properties.get("hs_additional_emails")), properties.get("work_email"))
    return next((address for each in written for _, address in addresses(each)), None)


def company(row: Mapping[str, Any]) -> Company:
    """Return a company. Its domains are candidates, in order."""
    properties: Properties = row["properties"] if isinstance(row.get("properties"), dict) else {}
    domains = (
        parse_text(properties.get("domain")),
        parse_text(properties.get("website")),
        *ids(properties.get("hs_additional_domains")),
    )
    return Company(crm_id=str(row["id"]), name=parse_text(properties.get("name")), domains=tuple(filter(None, domains)))


def owner(row: Mapping[str, Any]) -> Owner:
    """Return an owner. When one leaves, HubSpot clears the name and keeps the address (seen)."""
    return Owner(
        crm_id=str(row["id"]),
        email=parse_text(row.get("email")),
        name=full_name(row.get("firstName"), row.get("lastName")),
        active=not row.get("archived"),
    )


def headers_of(properties: Properties) -> Mapping[str, Any]:
    """Parse the JSON of hs_email_headers. Empty if it is missing, redacted, invalid or too long."""
    written = properties.get("hs_email_headers")
    if isinstance(written, str):
        try:
            written = bodies.parse(written) if len(written) <= HEADERS_MOST else None
        except bodies.NotJson:
            return {}
    return written if isinstance(written, dict) else {}


def sender(headers: Mapping[str, Any], properties: Properties) -> tuple[Person | None, str]:
    """Return an email's sender, and where it stands.

    If `from.email` of the headers is null, `sender` is the person who submitted it.
    """
    for part in ("from", "sender"):
        for person in _people(headers.get(part)):
            return person, f"hs_email_headers {part}"
    name = full_name(properties.get("hs_email_from_firstname"), properties.get("hs_email_from_lastname"))
    for address_name, address in addresses(properties.get("hs_email_from_email")):
        return header_person(address, name or address_name), "hs_email_from_email"
    for address_name, address in addresses(properties.get("hs_email_sender_email")):
        return header_person(address, address_name), "hs_email_sender_email"
    return None, ""


def receivers(headers: Mapping[str, Any], properties: Properties) -> list[Person]:
    """Return an email's receivers. The properties complete a part of the headers that lacks an address."""
    people: list[Person] = []
    for part, name in RECEIVERS:
        listed = headers.get(part)
        entries: list[Any] = listed if isinstance(listed, list) else []
        is_whole = bool(entries)
        for entry in entries:
            found = _people(entry)
            people += found
            is_whole = is_whole and bool(found)
        if not is_whole and (written := properties.get(name)):
            people += [header_person(address, own) for own, address in addresses(written)]
    return people


def names_somebody(headers: str) -> bool:
    """Tell whether the text of hs_email_headers names a person. Text that is not JSON might, so it counts."""
    if len(headers) > HEADERS_MOST:
        return True
    try:
        found = bodies.parse(headers)
    except bodies.NotJson:
        return True
    return isinstance(found, dict) and any(_address(entry) for entry in _entries(found))


def _entries(headers: Mapping[str, Any]) -> Iterator[Any]:
    yield from (headers.get("from"), headers.get("sender"))
    for part, _ in RECEIVERS:
        listed = headers.get(part)
        yield from listed if isinstance(listed, list) else ()


def _address(entry: Any) -> str | None:
    """Return the address of an entry: an object, or a text as some tools write it."""
    return parse_text(entry.get("email")) if isinstance(entry, dict) else parse_text(entry)


def _people(entry: Any) -> Sequence[Person]:
    """Return the people of an entry of the headers: nearly always one. Tools also write display forms into `email`."""
    written = _address(entry)
    if written is None:
        return NOBODY
    name = full_name(entry.get("firstName"), entry.get("lastName")) if isinstance(entry, dict) else None
    if len(written) > LONGEST or len(name or "") > LONGEST:
        return _parsed(written, name)
    return _remembered(written, name)


def _parsed(written: str, name: str | None) -> tuple[Person, ...]:
    found = addresses(written)
    alone = len(found) == 1
    return tuple(header_person(address, (name if alone else None) or own) for own, address in found)


_remembered = lru_cache(maxsize=REMEMBERED)(_parsed)  # a pass meets the same people again

__all__ = [
    "COMPANIES",
    "CONTACTS",
    "HEADERS_MOST",
    "Properties",
    "company",
    "contact",
    "headers_of",
    "names_somebody",
    "owner",
    "receivers",
    "sender",
]
