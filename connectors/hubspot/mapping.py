"""Map HubSpot's calls and emails to drafts (design section 5). Pure.

`properties` holds only what the connector requests: no bodies, no recordings, no phone numbers of calls.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from connectors.hubspot import origins, preferred
from connectors.hubspot.config import HubSpotCalls, HubSpotEmails
from connectors.hubspot.people import Properties, headers_of, receivers, sender
from syncd.activity import Automated, Draft, Owner, Status
from syncd.connector import Record
from syncd.errors import Unreadable
from syncd.fields import count, parse_text, parse_time

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

# hs_email_status and hs_email_direction (docs guide, 2026-03); FORWARDED_EMAIL hides its true direction
EMAIL_STATUSES: dict[str, Status] = {
    "": "done", "SENT": "done", "RECEIVED": "done", "BOUNCED": "not_sent", "FAILED": "not_sent", "CANCELED": "not_sent",
}  # fmt: skip
DRAFTS = ("DRAFT", "DRAFT_EMAIL")  # a status, and a direction
CALL_RULES = HubSpotCalls()
EMAIL_RULES = HubSpotEmails()


def call(record: Record, rules: HubSpotCalls = CALL_RULES) -> Draft | None:
    """Return a call's draft. None if `rules` do not match it. Unreadable if the record has no properties."""
    properties = properties_of(record)
    if rules.match and not rules.admits(properties.get):
        return None
    related, fields = record.related, rules.fields
    created_at = _created_at(record, properties)
    occurred_at = preferred.time(properties, fields.occurred_at)[1] or created_at
    minutes = preferred.minutes(properties, rules)[1]
    outcome = preferred.outcome(record, properties, rules)[1]
    callee = related.get("callee")
    owner, others = _owners(related)
    return Draft(
        kind="call",
        occurred_at=occurred_at,
        created_at=created_at,
        status=_call_status(record, properties, (occurred_at, created_at), is_done=bool(minutes or outcome)),
        direction=preferred.direction(properties, rules)[1],
        title=preferred.text(properties, fields.title)[1],
        duration_minutes=minutes,
        outcome=outcome,
        owner=owner,
        owners=others,
        contacts=related.get("contacts", ()),
        others=(callee,) if callee is not None else (),
        companies=related.get("companies", ()),
        filtered=rules.filtered(properties.get) if rules.excepted else None,
        call_id=preferred.text(properties, fields.call_id)[1],
        origins=partial(origins.of_call, record, rules),
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
        occurred_at=preferred.time(properties, fields.occurred_at)[1] or created_at,
        created_at=created_at,
        status=EMAIL_STATUSES.get(status, "unfinished"),
        direction=preferred.direction(properties, rules)[1],
        title=preferred.text(properties, fields.title)[1],
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
        origins=partial(origins.of_email, record, rules),
    )


def properties_of(record: Record) -> Properties:
    """Return a call's or email's properties. Raises Unreadable if the record has none."""
    found = record.row.get("properties")
    if not isinstance(found, dict):
        raise Unreadable("HubSpot shows no properties of this record")
    return found


def _created_at(record: Record, properties: Properties) -> datetime:
    created = parse_time(properties.get("hs_createdate"))
    return created or parse_time(record.row.get("createdAt")) or record.ref.modified_at


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
    if _text_of(properties, "hs_call_status") not in RUNNING:
        return "done"
    read_at = record.related.get("read_at")  # by HubSpot's clock
    if read_at is None or read_at - max(since) <= ENDS_WITHIN:
        return "unfinished"
    return "done" if is_done else "not_sent"


def _automated(properties: Properties) -> Automated | None:
    """Return how HubSpot marks automated mail: only an answer of an absent receiver, read from a mailbox."""
    marked = parse_text(properties.get("hs_incoming_email_is_out_of_office"))
    return "out_of_office" if marked and marked.lower() == "true" else None


def _owners(related: Mapping[str, Any]) -> tuple[Owner | None, tuple[Owner, ...]]:
    """Return the first candidate, and the others."""
    found: Sequence[tuple[str, Owner]] = related.get("owners", ())
    if len(found) < 2:  # nearly always
        return (found[0][1] if found else None), ()
    return found[0][1], tuple(owner for _, owner in found[1:])
