"""Map HubSpot's calls and emails to drafts (design section 5). Pure.

`properties` holds only what the connector requests: no bodies, no recordings, no phone numbers of calls.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any

from connectors.hubspot.config import HubSpotCalls, HubSpotEmails, HubSpotStream
from connectors.hubspot.people import Properties, headers_of, receivers, sender
from syncd.activity import Automated, Direction, Draft, Owner, Status
from syncd.connector import Record
from syncd.errors import Unreadable
from syncd.fields import (
    LONGEST_DURATION,
    MILLISECOND,
    MINUTE,
    count,
    duration,
    in_minutes,
    number,
    parse_text,
    parse_time,
)
from syncd.types.conditions import Pattern

CALLS = (
    "hs_timestamp", "hs_createdate", "hs_lastmodifieddate", "hs_call_title", "hs_call_duration", "hs_call_direction",
    "hs_call_disposition", "hs_call_status", "hs_call_callee_object_id", "hs_call_callee_object_type_id",
    "hs_call_callee_object_type", "hubspot_owner_id",
)  # fmt: skip
EMAILS = (
    "hs_timestamp", "hs_createdate", "hs_lastmodifieddate", "hs_email_subject", "hs_email_direction",
    "hs_email_status", "hs_email_headers", "hs_email_from_email", "hs_email_from_firstname", "hs_email_from_lastname",
    "hs_email_sender_email", "hs_email_to_email", "hs_email_cc_email", "hs_email_bcc_email", "hs_email_open_count",
    "hs_email_click_count", "hs_email_message_id", "hs_incoming_email_is_out_of_office", "hubspot_owner_id",
)  # fmt: skip

CONTACT_TYPES = frozenset({"0-1", "CONTACT"})  # HubSpot's object type id of contacts, and their name

# hs_call_status (docs guide and the calling extensions' model, 2026-03)
RUNNING = frozenset({"CALLING_CRM_USER", "CONNECTING", "IN_PROGRESS", "QUEUED", "RINGING", "HOLD"})
ENDS_WITHIN = timedelta(hours=24)  # dialers leave calls QUEUED or IN_PROGRESS for ever (a portal's clean-up script)
CALL_OUTCOMES = {
    "NO_ANSWER": "No answer",
    "BUSY": "Busy",
    "FAILED": "Failed",
    "CANCELED": "Canceled",
    "MISSED": "Missed",
}

# hs_email_status and hs_email_direction (docs guide, 2026-03); FORWARDED_EMAIL hides its true direction
EMAIL_STATUSES: dict[str, Status] = {
    "": "done", "SENT": "done", "RECEIVED": "done", "BOUNCED": "not_sent", "FAILED": "not_sent", "CANCELED": "not_sent",
}  # fmt: skip
DRAFTS = ("DRAFT", "DRAFT_EMAIL")  # a status, and a direction
DIRECTIONS: dict[str, Direction] = {
    "INBOUND": "inbound", "OUTBOUND": "outbound", "INTERNAL": "internal", "INCOMING_EMAIL": "inbound",
    "EMAIL": "outbound",
}  # fmt: skip
SECOND = timedelta(seconds=1)
LONGEST_MS = LONGEST_DURATION / MILLISECOND
CALL_RULES = HubSpotCalls()
EMAIL_RULES = HubSpotEmails()


def call(record: Record, rules: HubSpotCalls = CALL_RULES) -> Draft | None:
    """Return a call's draft. None if `rules` do not match it. Unreadable if the record has no properties."""
    properties = properties_of(record)
    if rules.match and not rules.admits(properties.get):
        return None
    related, fields = record.related, rules.fields
    created_at = _created_at(record, properties)
    occurred_at = _time(properties, fields.occurred_at)[1] or created_at
    minutes = _duration(properties, rules)[1]
    outcome = _outcome(record, properties, rules)[1]
    callee = related.get("callee")
    owner, others = _owners(related)
    return Draft(
        kind="call",
        occurred_at=occurred_at,
        created_at=created_at,
        status=_call_status(record, properties, (occurred_at, created_at), is_done=bool(minutes or outcome)),
        direction=_direction(properties, rules)[1],
        title=_text(properties, fields.title)[1],
        duration_minutes=minutes,
        outcome=outcome,
        owner=owner,
        owners=others,
        contacts=related.get("contacts", ()),
        others=(callee,) if callee is not None else (),
        companies=related.get("companies", ()),
        filtered=rules.filtered(properties.get) if rules.excepted else None,
        call_id=_text(properties, fields.call_id)[1],
        origins=partial(call_origins, record, rules),
    )


def email(record: Record, rules: HubSpotEmails = EMAIL_RULES) -> Draft | None:
    """Return an email's draft. None if it is itself a draft, or if `rules` do not match it.

    Unreadable if the record has no properties.
    """
    properties = properties_of(record)
    status = _text_of(properties, "hs_email_status")
    if _is_draft(status, properties):
        return None
    related, fields = record.related, rules.fields
    redacted = related.get("redacted", False)  # then no condition can be judged
    if rules.match and not redacted and not rules.admits(properties.get):
        return None
    created_at = _created_at(record, properties)
    headers = headers_of(properties)
    author, _ = sender(headers, properties)
    owner, others = _owners(related)
    return Draft(
        kind="email",
        occurred_at=_time(properties, fields.occurred_at)[1] or created_at,
        created_at=created_at,
        status=EMAIL_STATUSES.get(status, "unfinished"),
        direction=_direction(properties, rules)[1],
        title=_text(properties, fields.title)[1],
        open_count=count(properties.get("hs_email_open_count")),
        click_count=count(properties.get("hs_email_click_count")),
        owner=owner,
        owners=others,
        sender=author,
        contacts=related.get("contacts", ()),
        others=(*receivers(headers, properties), *((author,) if author else ())),
        companies=related.get("companies", ()),
        redacted=redacted,
        filtered=rules.filtered(properties.get) if rules.excepted and not redacted else None,
        automated=_automated(properties),
        message_id=parse_text(properties.get("hs_email_message_id")),
        origins=partial(email_origins, record, rules),
    )


def call_origins(record: Record, rules: HubSpotCalls) -> Mapping[str, str]:
    """Return the property from which each field of a call's draft comes. A field without a value is left out."""
    properties = properties_of(record)
    found = {
        **_common_origins(record, rules),
        "status": "hs_call_status" if parse_text(properties.get("hs_call_status")) else "",
        "direction": _direction(properties, rules)[0],
        "title": _text(properties, rules.fields.title)[0],
        "duration_minutes": _duration(properties, rules)[0],
        "outcome": _outcome(record, properties, rules)[0],
        "others": "hs_call_callee_object_id" if record.related.get("callee") else "",
        "call_id": _text(properties, rules.fields.call_id)[0],
    }
    return {field: origin for field, origin in found.items() if origin}


def email_origins(record: Record, rules: HubSpotEmails) -> Mapping[str, str]:
    """Return the property from which each field of an email's draft comes. A field without a value is left out."""
    properties = properties_of(record)
    of_headers = "hs_email_headers" if headers_of(properties) else "hs_email_to_email, hs_email_cc_email"
    found = {
        **_common_origins(record, rules),
        "direction": _direction(properties, rules)[0],
        "title": _text(properties, rules.fields.title)[0],
        "sender": sender(headers_of(properties), properties)[1],
        "others": of_headers,
        **{
            field: name
            for field, name in (
                ("status", "hs_email_status"),
                ("open_count", "hs_email_open_count"),
                ("click_count", "hs_email_click_count"),
                ("automated", "hs_incoming_email_is_out_of_office"),
                ("message_id", "hs_email_message_id"),
            )
            if parse_text(properties.get(name))
        },
    }
    return {field: origin for field, origin in found.items() if origin}


def _common_origins(record: Record, rules: HubSpotStream) -> dict[str, str]:
    properties, related = properties_of(record), record.related
    owners = [name for name, _ in related.get("owners", ())]
    return {
        "occurred_at": _time(properties, rules.fields.occurred_at)[0] or "hs_createdate",
        "created_at": "hs_createdate",
        "owner": next(iter(owners), ""),
        "owners": ", ".join(owners[1:]),
        "contacts": "associated contacts" if related.get("contacts") else "",
        "companies": "associated companies" if related.get("companies") else "",
        "filtered": rules.filtered(properties.get) or "",
    }


def properties_of(record: Record) -> Properties:
    """Return a call's or email's properties. Raises Unreadable if the record has none."""
    found = record.row.get("properties")
    if not isinstance(found, dict):
        raise Unreadable("HubSpot shows no properties of this record")
    return found


def is_draft(properties: Properties) -> bool:
    """Tell whether an email is itself a draft, by its status or its direction."""
    return _is_draft(_text_of(properties, "hs_email_status"), properties)


def _is_draft(status: str, properties: Properties) -> bool:
    return status == DRAFTS[0] or _text_of(properties, "hs_email_direction") == DRAFTS[1]


def _text_of(properties: Properties, name: str) -> str:
    """Return the value of an enumeration, in capitals as HubSpot's own are, or ""."""
    found = properties.get(name)
    return found.strip().upper() if isinstance(found, str) else ""


def _call_status(record: Record, properties: Properties, since: Sequence[datetime], *, is_done: bool) -> Status:
    """Return a call's status. `since`: when it happened and when it entered HubSpot."""
    if parse_text(properties.get("hs_call_status")) not in RUNNING:
        return "done"
    read_at = record.related.get("read_at")  # by HubSpot's clock
    if read_at is None or read_at - max(since) <= ENDS_WITHIN:
        return "unfinished"
    return "done" if is_done else "not_sent"


def _automated(properties: Properties) -> Automated | None:
    """Return how HubSpot marks automated mail: only an answer of an absent receiver, read from a mailbox."""
    marked = parse_text(properties.get("hs_incoming_email_is_out_of_office"))
    return "out_of_office" if marked and marked.lower() == "true" else None


def _created_at(record: Record, properties: Properties) -> datetime:
    created = parse_time(properties.get("hs_createdate"))
    return created or parse_time(record.row.get("createdAt")) or record.ref.modified_at


def _text(properties: Properties, names: Sequence[str]) -> tuple[str, str | None]:
    """Return the first of the properties that is not empty, and its text. ("", None) if all are."""
    for name in names:
        if (found := parse_text(properties.get(name))) is not None:
            return name, found
    return "", None


def _time(properties: Properties, names: Sequence[str]) -> tuple[str, datetime | None]:
    for name in names:
        if (found := parse_time(properties.get(name))) is not None:
            return name, found
    return "", None


def _direction(properties: Properties, rules: HubSpotStream) -> tuple[str, Direction | None]:
    """Return the origin of the direction, and the direction: by `values`, otherwise as HubSpot means the property."""
    name, found = _text(properties, rules.fields.direction)
    origin, meant = _translated(properties, rules, "direction", name, found)
    if meant is not None:
        return origin, DIRECTIONS[meant.upper()]
    return name, DIRECTIONS.get(found.upper()) if found else None


def _outcome(record: Record, properties: Properties, rules: HubSpotCalls) -> tuple[str, str | None]:
    """Return the origin of the outcome, and its label. A status means an outcome only if the call reached nobody."""
    name, found = "", None
    for name in rules.fields.outcome:
        written = parse_text(properties.get(name))
        if written is not None:
            found = _label(record, name, written)
        if found is not None:
            break
    origin, meant = _translated(properties, rules, "outcome", name, found)
    if meant is not None:
        return origin, meant
    return (name, found) if found is not None else ("", None)


def _translated(
    properties: Properties, rules: HubSpotStream, value: str, name: str, found: str | None
) -> tuple[str, str | None]:
    """Return the meaning that `values` has for the text found in a property, otherwise for the title."""
    table = rules.values.get(value)
    if not table:  # nearly always
        return "", None
    patterns = _patterns(tuple(table.items()))
    for origin, written in ((name, found), _text(properties, rules.fields.title)):
        if written is not None:
            meant = next((meant for pattern, meant in patterns if pattern.fits(written)), None)
            if meant is not None:
                return f"{origin}, values.{value}", meant
    return "", None


@lru_cache(maxsize=64)
def _patterns(table: tuple[tuple[str, str], ...]) -> tuple[tuple[Pattern, str], ...]:
    """Return the keys of a table in the order in which they count: those without a star first."""
    patterns = [(Pattern.of(key), meant) for key, meant in table]
    return tuple(sorted(patterns, key=lambda pair: not pair[0].is_exact))


def _label(record: Record, name: str, written: str) -> str | None:
    if name == "hs_call_disposition":
        return record.related.get("disposition") or written
    if name == "hs_call_status":
        return CALL_OUTCOMES.get(written)
    labels: Mapping[str, str] = record.related.get("labels", {}).get(name, {})
    return labels.get(written, written)


def _duration(properties: Properties, rules: HubSpotCalls) -> tuple[str, float | None]:
    """Return the property with the duration, and the duration in minutes. HubSpot's own is in milliseconds."""
    fields = rules.fields
    if fields.duration_minutes or fields.duration_seconds:
        for names, unit in ((fields.duration_seconds, SECOND), (fields.duration_minutes, MINUTE)):
            for name in names:
                if (found := duration(properties.get(name), unit)) is not None:
                    return name, in_minutes(found)
    ms = number(properties.get("hs_call_duration"))
    return ("hs_call_duration", round(ms / 60_000, 2)) if ms is not None and 0 <= ms <= LONGEST_MS else ("", None)


def _owners(related: Mapping[str, Any]) -> tuple[Owner | None, tuple[Owner, ...]]:
    """Return the first candidate, and the others."""
    found: Sequence[tuple[str, Owner]] = related.get("owners", ())
    if len(found) < 2:  # nearly always
        return (found[0][1] if found else None), ()
    return found[0][1], tuple(owner for _, owner in found[1:])
