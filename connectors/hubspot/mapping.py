"""Map HubSpot records to drafts (design section 5). Pure.

`properties` holds only what the connector requests: no bodies, no recordings, no phone numbers of calls.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.hubspot.ids import ids
from syncd.activity import Company, Direction, Draft, Owner, Person, Status, header_person
from syncd.connector import Record
from syncd.errors import Unreadable
from syncd.fields import addresses, count, full_name, number, parse_text, parse_time
from syncd.http import bodies

Properties = Mapping[str, Any]

CALLS = (
    "hs_timestamp", "hs_createdate", "hs_lastmodifieddate", "hs_call_title", "hs_call_duration", "hs_call_direction",
    "hs_call_disposition", "hs_call_status", "hs_call_callee_object_id", "hs_call_callee_object_type_id",
    "hubspot_owner_id",
)  # fmt: skip
EMAILS = (
    "hs_timestamp", "hs_createdate", "hs_lastmodifieddate", "hs_email_subject", "hs_email_direction",
    "hs_email_status", "hs_email_headers", "hs_email_from_email", "hs_email_from_firstname", "hs_email_from_lastname",
    "hs_email_sender_email", "hs_email_to_email", "hs_email_cc_email", "hs_email_open_count", "hs_email_click_count",
    "hubspot_owner_id",
)  # fmt: skip
CONTACTS = (
    "email", "firstname", "lastname", "jobtitle", "phone", "mobilephone", "hs_linkedin_url", "hs_seniority",
    "associatedcompanyid", "hs_merged_object_ids",
)  # fmt: skip
COMPANIES = ("domain", "name", "website", "hs_additional_domains", "hs_merged_object_ids")

HEADERS_MOST = 262_144  # characters; a property holds 65,536 (docs, 2026-03)
CONTACT_TYPE = "0-1"  # HubSpot's object type id of contacts

# hs_call_status (docs guide and the calling extensions' model, 2026-03)
RUNNING = frozenset({"CALLING_CRM_USER", "CONNECTING", "IN_PROGRESS", "QUEUED", "RINGING", "HOLD"})
CALL_OUTCOMES = {
    "NO_ANSWER": "No answer",
    "BUSY": "Busy",
    "FAILED": "Failed",
    "CANCELED": "Canceled",
    "MISSED": "Missed",
}
CALL_DIRECTIONS: dict[str | None, Direction] = {"INBOUND": "inbound", "OUTBOUND": "outbound"}

# hs_email_status and hs_email_direction (docs guide, 2026-03); FORWARDED_EMAIL hides its true direction
EMAIL_STATUSES: dict[str | None, Status] = {
    "SCHEDULED": "unfinished", "SENDING": "unfinished", "BOUNCED": "not_sent", "FAILED": "not_sent",
}  # fmt: skip
EMAIL_DIRECTIONS: dict[str | None, Direction] = {"EMAIL": "outbound", "INCOMING_EMAIL": "inbound"}


def call(record: Record) -> Draft:
    """Return a call's draft. Unreadable if the record has no properties."""
    properties = _properties(record)
    related = record.related
    created_at = _created_at(record, properties)
    status = parse_text(properties.get("hs_call_status")) or ""
    callee = related.get("callee")
    return Draft(
        kind="call",
        occurred_at=parse_time(properties.get("hs_timestamp")) or created_at,
        created_at=created_at,
        status="unfinished" if status in RUNNING else "done",
        direction=CALL_DIRECTIONS.get(parse_text(properties.get("hs_call_direction"))),
        title=parse_text(properties.get("hs_call_title")),
        duration_minutes=_minutes(properties.get("hs_call_duration")),
        outcome=related.get("disposition") or CALL_OUTCOMES.get(status),
        owner=related.get("owner"),
        contacts=related.get("contacts", ()),
        others=(callee,) if callee is not None else (),
        companies=related.get("companies", ()),
    )


def email(record: Record) -> Draft:
    """Return an email's draft. Unreadable if the record has no properties."""
    properties = _properties(record)
    related = record.related
    created_at = _created_at(record, properties)
    headers = _headers(properties.get("hs_email_headers"))
    direction = EMAIL_DIRECTIONS.get(parse_text(properties.get("hs_email_direction")))
    sender = _sender(headers, properties)
    receivers = _receivers(headers, properties)
    return Draft(
        kind="email",
        occurred_at=parse_time(properties.get("hs_timestamp")) or created_at,
        created_at=created_at,
        status=EMAIL_STATUSES.get(parse_text(properties.get("hs_email_status")), "done"),
        direction=direction,
        title=parse_text(properties.get("hs_email_subject")),
        open_count=count(properties.get("hs_email_open_count")),
        click_count=count(properties.get("hs_email_click_count")),
        owner=related.get("owner"),
        sender=sender,
        contacts=related.get("contacts", ()),
        others=(*receivers, *((sender,) if sender else ())),
        companies=related.get("companies", ()),
        redacted=related.get("redacted", False),
    )


def contact(row: Mapping[str, Any], *, department: str, seniority: str | None) -> tuple[Person, str | None]:
    """Return a contact without its company, and that company's id. `department` is a property's name or ""."""
    properties: Properties = row["properties"] if isinstance(row.get("properties"), dict) else {}
    person = Person(
        email=parse_text(properties.get("email")),
        crm_id=str(row["id"]),
        name=full_name(properties.get("firstname"), properties.get("lastname")),
        title=parse_text(properties.get("jobtitle")),
        department=parse_text(properties.get(department)) if department else None,
        seniority=seniority,
        phone=parse_text(properties.get("phone")) or parse_text(properties.get("mobilephone")),
        linkedin_url=parse_text(properties.get("hs_linkedin_url")),
    )
    return person, parse_text(properties.get("associatedcompanyid"))


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


def _properties(record: Record) -> Properties:
    """Return a call's or email's properties. Raises Unreadable if the record has none."""
    found = record.row.get("properties")
    if not isinstance(found, dict):
        raise Unreadable("HubSpot shows no properties of this record")
    return found


def _created_at(record: Record, properties: Properties) -> datetime:
    created = parse_time(properties.get("hs_createdate"))
    return created or parse_time(record.row.get("createdAt")) or record.ref.modified_at


def _minutes(milliseconds: Any) -> float | None:
    duration = number(milliseconds)
    return None if duration is None or duration < 0 else round(duration / 60_000, 2)


def names_somebody(headers: str) -> bool:
    """Tell whether the text of hs_email_headers names a person. Text that is not JSON might, so it counts."""
    if len(headers) > HEADERS_MOST:
        return True
    try:
        found = bodies.parse(headers)
    except bodies.NotJson:
        return True
    return isinstance(found, dict) and bool(_sender(found, {}) or _receivers(found, {}))


def _headers(written: Any) -> Mapping[str, Any]:
    """Parse the JSON of hs_email_headers. Empty if it is missing, redacted, invalid or too long."""
    if isinstance(written, str):
        try:
            written = bodies.parse(written) if len(written) <= HEADERS_MOST else None
        except bodies.NotJson:
            return {}
    return written if isinstance(written, dict) else {}


def _sender(headers: Mapping[str, Any], properties: Properties) -> Person | None:
    """Return an email's sender. If `from.email` of the headers is null, `sender` is the person who submitted it."""
    person = _person(headers.get("from")) or _person(headers.get("sender"))
    if person is not None:
        return person
    name = full_name(properties.get("hs_email_from_firstname"), properties.get("hs_email_from_lastname"))
    for address_name, address in addresses(properties.get("hs_email_from_email")):
        return header_person(address, name or address_name)
    for address_name, address in addresses(properties.get("hs_email_sender_email")):
        return header_person(address, address_name)
    return None


def _receivers(headers: Mapping[str, Any], properties: Properties) -> list[Person]:
    people: list[Person] = []
    for part in ("to", "cc", "bcc"):
        listed = headers.get(part)
        if isinstance(listed, list):
            people += filter(None, map(_person, listed))
    if people:
        return people
    written = (properties.get("hs_email_to_email"), properties.get("hs_email_cc_email"))
    return [header_person(address, name) for each in written for name, address in addresses(each)]


def _person(entry: Any) -> Person | None:
    """Return a person of the headers. None if there is no address."""
    if not isinstance(entry, dict):
        return None
    address = parse_text(entry.get("email"))
    return header_person(address, full_name(entry.get("firstName"), entry.get("lastName"))) if address else None
