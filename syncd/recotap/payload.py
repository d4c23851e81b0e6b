"""Build the JSON object of `POST /sales-activities`, and check it as Recotap would.

Keys, types and which are required: the vendor's page (docs.recotap.com, sales-activities), in its order.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from syncd.activity import Draft, Owner, Person
from syncd.addresses import is_email
from syncd.text import clean, timestamp

GREATEST = 2**53 - 1  # the greatest integer that every JSON reader keeps exact; real counts are far below
Fields = Mapping[str, tuple[bool, Callable[[Any], bool]]]  # key: required, and what its value must satisfy
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def build(
    draft: Draft,
    *,
    external_activity_id: str,
    domain: str,
    account_name: str | None,
    owner: Owner,
    sender: Mapping[str, str],
    contacts: Mapping[str, Person],
) -> dict[str, Any]:
    """Return the object for Recotap. Everything except `draft` and the values of `contacts` is clean already."""
    fields = {
        "externalActivityId": external_activity_id,
        "activityType": draft.kind,
        "occurredAt": timestamp(draft.occurred_at),
        "domain": domain,
        "accountName": account_name,
        "ownerEmail": owner.email,
        "ownerName": owner.name,
        "ownerId": owner.crm_id,
        **(_of_call(draft) if draft.kind == "call" else _of_email(draft)),
        "from": sender or None,
        "contacts": [_contact(address, person) for address, person in contacts.items()],
    }
    return {key: value for key, value in fields.items() if value is not None}


def validate(payload: Any) -> list[str]:
    """Return the paths that Recotap would refuse, e.g. `contacts.0.email`, and never a value.

    Also refused, because syncd never sends them: a null, an unknown key, an activityType that Recotap would skip.
    """
    if not isinstance(payload, dict):
        return ["activity"]
    faults = list(_faults(payload, _ACTIVITY))
    if isinstance(payload.get("from"), dict):
        faults += _faults(payload["from"], _FROM, "from.")
    contacts = payload.get("contacts")
    for index, contact in enumerate(contacts if isinstance(contacts, list) else ()):
        at = f"contacts.{index}"
        faults += _faults(contact, _CONTACT, f"{at}.") if isinstance(contact, dict) else [at]
    return faults


def required() -> list[str]:
    """Return the keys without which Recotap refuses an activity."""
    return [key for key, (is_required, _) in _ACTIVITY.items() if is_required]


def _of_call(draft: Draft) -> dict[str, Any]:
    return {
        "callTitle": clean(draft.title),
        "durationMinutes": _minutes(draft.duration_minutes),
        "outcome": clean(draft.outcome),
        "direction": None if draft.direction == "internal" else draft.direction,  # Recotap knows the two others alone
    }


def _of_email(draft: Draft) -> dict[str, Any]:
    return {
        "subject": clean(draft.title),
        "openCount": _count(draft.open_count),
        "clickCount": _count(draft.click_count),
    }


def _contact(address: str, person: Person) -> dict[str, Any]:
    found = (
        ("externalContactId", person.crm_id),
        ("name", person.name),
        ("title", person.title),
        ("department", person.department),
        ("seniority", person.seniority),
        ("phone", person.phone),
        ("linkedinUrl", person.linkedin_url),
    )
    texts = {key: text for key, value in found if value is not None and (text := clean(value)) is not None}
    return {"email": address, **texts}


def _minutes(value: Any) -> int | float | None:
    if not _is_number(value):
        return None
    minutes = round(value, 2)
    return int(minutes) if minutes == int(minutes) else minutes


def _count(value: Any) -> int | None:
    return value if _is_count(value) else None


def _is_number(value: Any) -> bool:
    # bool is an int to Python; NaN and the infinities fail the comparison
    return type(value) in (int, float) and 0 <= value <= GREATEST


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= GREATEST


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_filled(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_time(value: Any) -> bool:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:  # e.g. the 31st of February
        return False
    return True


def _faults(item: dict[str, Any], fields: Fields, at: str = "") -> Iterator[str]:
    for key, (required, holds) in fields.items():
        if not holds(item[key]) if key in item else required:
            yield f"{at}{key}"
    yield from (f"{at}{key}" for key in item if key not in fields)


_CONTACT: Fields = {
    "email": (True, is_email),
    "externalContactId": (False, _is_text),
    "name": (False, _is_text),
    "title": (False, _is_text),
    "department": (False, _is_text),
    "seniority": (False, _is_text),
    "phone": (False, _is_text),
    "linkedinUrl": (False, _is_text),
}
_FROM: Fields = {
    "name": (False, _is_text),
    "email": (False, is_email),
}
_ACTIVITY: Fields = {
    "externalActivityId": (True, _is_filled),
    "activityType": (True, lambda value: value in ("call", "email")),
    "occurredAt": (True, _is_time),
    "domain": (True, _is_filled),
    "accountName": (False, _is_text),
    "ownerEmail": (True, is_email),
    "ownerName": (False, _is_text),
    "ownerId": (False, _is_text),
    "subject": (False, _is_text),
    "callTitle": (False, _is_text),
    "durationMinutes": (False, _is_number),
    "outcome": (False, _is_text),
    "direction": (False, lambda value: value in ("inbound", "outbound")),
    "openCount": (False, _is_count),
    "clickCount": (False, _is_count),
    "from": (False, lambda value: isinstance(value, dict)),
    "contacts": (True, lambda value: isinstance(value, list) and len(value) > 0),
}
