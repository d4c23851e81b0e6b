"""Name the field that each value of a draft came from. Pure, and called only if somebody asks."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from connectors.salesforce.rules import Rules, first_of
from syncd.fields import parse_time

Row = Mapping[str, Any]

OWNERS = "FromId, EmailMessageRelation, its task's OwnerId, CreatedById"  # an EmailMessage has no owner of its own


def of_task(row: Row, rules: Rules, at: datetime) -> dict[str, str]:
    """Return the origins of a task's values. `at` is when it happened."""
    return {
        "occurred_at": _own_field(row, rules) or _time_of_task(row, rules, at),
        "created_at": "CreatedDate",
        "owner": first_of(row, rules.fields.owner)[0] or "OwnerId",
        "owners": ", ".join((*rules.fields.owner[1:], "OwnerId")),
        "contacts": "WhoId, TaskWhoRelation",
        "companies": "AccountId",
        **rules.origins(row),
    }


def of_email(row: Row, rules: Rules, at: datetime) -> dict[str, str]:
    """Return the origins of an email message's values. `at` is when it happened."""
    own_time = "MessageDate" if parse_time(row.get("MessageDate")) == at else "CreatedDate"
    return {
        "occurred_at": _own_field(row, rules) or own_time,
        "created_at": "CreatedDate",
        "owner": first_of(row, rules.fields.owner)[0] or OWNERS,
        "owners": OWNERS,
        "sender": "FromAddress",
        "contacts": "EmailMessageRelation",
        "others": "FromAddress, ToAddress, CcAddress, BccAddress",
        "companies": "RelatedToId",
        "open_count": "IsOpened",
        "message_id": "MessageIdentifier",
        **rules.origins(row),
    }


def of_voice_call(row: Row) -> dict[str, str]:
    """Return the origins of a voice call's values."""
    return {
        "occurred_at": "CallStartDateTime" if parse_time(row.get("CallStartDateTime")) else "CreatedDate",
        "created_at": "CreatedDate",
        "direction": "CallType",
        "duration_minutes": "CallDurationInSeconds",
        "outcome": "CallDisposition",
        "owner": "OwnerId",
        "contacts": "RelatedRecordId",
        "companies": "RelatedRecordId",
        "call_id": "VendorCallKey",
    }


def _own_field(row: Row, rules: Rules) -> str:
    """Return the first field that the source names for the time and that has a possible one."""
    return next((name for name in rules.fields.occurred_at if parse_time(row.get(name)) is not None), "")


def _time_of_task(row: Row, rules: Rules, at: datetime) -> str:
    """Return which of a task's own times `at` is. A call's completion comes less its duration."""
    completed_at = parse_time(row.get("CompletedDateTime"))
    if completed_at is not None and at in (completed_at, completed_at - (rules.duration(row) or timedelta(0))):
        return "CompletedDateTime"
    return "CreatedDate" if at == parse_time(row.get("CreatedDate")) else "ActivityDate"
