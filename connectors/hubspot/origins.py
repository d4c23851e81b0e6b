"""Name the property from which each field of a draft comes. Pure, and called only if somebody asks."""

from collections.abc import Mapping

from connectors.hubspot import preferred
from connectors.hubspot.config import HubSpotCalls, HubSpotEmails, HubSpotStream
from connectors.hubspot.people import headers_of, sender
from syncd.connector import Record
from syncd.fields import parse_text

MARKS = {
    "status": "hs_email_status",
    "open_count": "hs_email_open_count",
    "click_count": "hs_email_click_count",
    "automated": "hs_incoming_email_is_out_of_office",
    "message_id": "hs_email_message_id",
}


def of_call(record: Record, rules: HubSpotCalls) -> Mapping[str, str]:
    """Return the property from which each field of a call's draft comes. A field without a value is left out."""
    properties = record.row["properties"]
    found = {
        **_common(record, rules),
        "status": "hs_call_status" if parse_text(properties.get("hs_call_status")) else "",
        "direction": preferred.direction(properties, rules)[0],
        "title": preferred.text(properties, rules.fields.title)[0],
        "duration_minutes": preferred.minutes(properties, rules)[0],
        "outcome": preferred.outcome(record, properties, rules)[0],
        "others": "hs_call_callee_object_id" if record.related.get("callee") else "",
        "call_id": preferred.text(properties, rules.fields.call_id)[0],
    }
    return {field: origin for field, origin in found.items() if origin}


def of_email(record: Record, rules: HubSpotEmails) -> Mapping[str, str]:
    """Return the property from which each field of an email's draft comes. A field without a value is left out."""
    properties = record.row["properties"]
    of_headers = "hs_email_headers" if headers_of(properties) else "hs_email_to_email, hs_email_cc_email"
    found = {
        **_common(record, rules),
        "direction": preferred.direction(properties, rules)[0],
        "title": preferred.text(properties, rules.fields.title)[0],
        "sender": sender(headers_of(properties), properties)[1],
        "others": of_headers,
        **{field: name for field, name in MARKS.items() if parse_text(properties.get(name))},
    }
    return {field: origin for field, origin in found.items() if origin}


def _common(record: Record, rules: HubSpotStream) -> dict[str, str]:
    properties, related = record.row["properties"], record.related
    owners = [name for name, _ in related.get("owners", ())]
    return {
        "occurred_at": preferred.time(properties, rules.fields.occurred_at)[0] or "hs_createdate",
        "created_at": "hs_createdate",
        "owner": next(iter(owners), ""),
        "owners": ", ".join(owners[1:]),
        "contacts": "associated contacts" if related.get("contacts") else "",
        "companies": "associated companies" if related.get("companies") else "",
        "filtered": rules.filtered(properties.get) or "",
    }
