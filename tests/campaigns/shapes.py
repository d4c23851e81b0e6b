"""Records as the tools of a team write them, and how the activity of each differs from an ordinary one.

The shapes are those of dialers, sequencers and mail capture, as their vendors document them and as exports show them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

NO_ACCOUNT = {"accountName": None}  # a header names an address, and no company
ORDINARY = 0.5  # share of the records that are as people log them by hand


@dataclass(frozen=True)
class Shape:
    """One way to write a call or an email."""

    values: Mapping[str, Any] = field(default_factory=dict)  # fields beside those of an ordinary record
    said: Mapping[str, Any] = field(default_factory=dict)  # keys of the payload that differ. None: left out
    sender: Literal["owner", "contact"] | None = "owner"  # `from`. None: left out, because the direction is unknown
    is_linked: bool = True  # the contact is associated, otherwise it is known from the record's own fields
    excluded: str = ""  # the reason: a row of the ledger, but nothing for Recotap
    is_no_row: bool = False  # a draft
    prefix: str = ""  # of the title


def hubspot_calls(contact: str) -> Mapping[str, Shape]:
    """Return the shapes of a HubSpot call of ten minutes with the contact of this id."""
    dialer = {"hs_object_source": "INTEGRATION", "hs_call_source": "INTEGRATIONS_PLATFORM"}
    return {
        "ordinary": Shape(),
        "inbound": Shape({"hs_call_direction": "INBOUND"}, {"direction": "inbound"}, "contact"),
        "of a dialer that names no direction": Shape({**dialer, "hs_call_direction": None}, {"direction": None}, None),
        "that its dialer never ends": Shape({**dialer, "hs_call_status": "IN_PROGRESS"}),
        "that was only queued": Shape(
            {**dialer, "hs_call_status": "QUEUED", "hs_call_duration": None}, excluded="not_sent"
        ),
        "that nobody took": Shape(
            {"hs_call_status": "NO_ANSWER", "hs_call_duration": None},
            {"durationMinutes": None, "outcome": "No answer"},
        ),
        "of 25 hours": Shape({"hs_call_duration": "90000000"}, {"durationMinutes": None}),
        "whose callee alone is known": Shape(
            {"hs_call_callee_object_id": contact, "hs_call_callee_object_type": "CONTACT"}, is_linked=False
        ),
    }


def hubspot_emails(contact: str, owner: str) -> Mapping[str, Shape]:
    """Return the shapes of a HubSpot email between a contact and an owner, given by their addresses."""
    incoming = {"hs_email_direction": "INCOMING_EMAIL", "hs_email_headers": _headers(contact, owner)}
    captured = {"hs_object_source": "INTEGRATION", "hs_email_headers": _headers(contact, owner)}
    return {
        "ordinary": Shape(),
        "incoming": Shape(incoming, sender="contact"),
        "of a sequencer that calls each one outgoing": Shape(captured, sender="contact", prefix="[<<] "),
        "with a display form in its headers": Shape(
            {"hs_email_headers": _headers(owner, f"Some Body <{contact}>")}, NO_ACCOUNT, is_linked=False
        ),
        "with a quoted address alone": Shape(
            {"hs_email_from_email": owner, "hs_email_to_email": f"'{contact}'; \u200b{owner}."},
            NO_ACCOUNT,
            is_linked=False,
        ),
        "out of office": Shape({**incoming, "hs_incoming_email_is_out_of_office": "true"}, excluded="automated"),
        "of a calendar": Shape(incoming, excluded="automated", prefix="Accepted: "),
        "canceled": Shape({"hs_email_status": "CANCELED"}, excluded="not_sent"),
        "draft": Shape({"hs_email_status": "DRAFT"}, is_no_row=True),
    }


def salesforce_calls() -> Mapping[str, Mapping[str, Any]]:
    """Return the fields by which tools mark a task as a call, beside those of an ordinary one."""
    return {
        "of Log a Call": {},
        "of an Open CTI adapter": {"Type": "Call", "TaskSubtype": "Task"},
        "of a dialer": {"Type": "Call", "CallObject": None},
        "of a contact center": {"Type": "Outbound"},
    }


def salesforce_email_tasks() -> Mapping[str, Mapping[str, Any]]:
    """Return the fields by which tools mark a task as an email, beside those of an ordinary one."""
    return {"of a sequencer": {}, "of a mail tool": {"Type": "Email", "TaskSubtype": "Task"}}


def _headers(sender: str, receiver: str) -> str:
    people = {"from": {"email": sender}, "to": [{"email": receiver}], "cc": [], "bcc": []}
    return json.dumps(people)


__all__ = ["ORDINARY", "Shape", "hubspot_calls", "hubspot_emails", "salesforce_calls", "salesforce_email_tasks"]
