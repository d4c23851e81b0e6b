"""The local check finds a field that Recotap would refuse before it is sent, and names it without its value."""

import copy
from typing import Any

import pytest

from syncd.recotap.payload import validate

# The vendor's examples (docs.recotap.com, sales-activities).
CALL: dict[str, Any] = {
    "externalActivityId": "call-001",
    "activityType": "call",
    "occurredAt": "2026-04-22T10:30:00Z",
    "domain": "acme.com",
    "accountName": "Acme Corp",
    "ownerEmail": "jane@yourcompany.com",
    "ownerName": "Jane Smith",
    "ownerId": "rep-123",
    "callTitle": "Discovery call",
    "durationMinutes": 30,
    "outcome": "Connected",
    "direction": "outbound",
    "from": {"name": "Jane Smith", "email": "jane@yourcompany.com"},
    "contacts": [
        {
            "email": "john@acme.com",
            "externalContactId": "contact-456",
            "name": "John Doe",
            "title": "VP of Engineering",
            "department": "Engineering",
            "seniority": "VP",
            "phone": "+1 415 555 0101",
            "linkedinUrl": "https://linkedin.com/in/johndoe",
        }
    ],
}
EMAIL: dict[str, Any] = {
    **{key: CALL[key] for key in ("domain", "accountName", "ownerEmail", "ownerName", "ownerId", "from", "contacts")},
    "externalActivityId": "email-001",
    "activityType": "email",
    "occurredAt": "2026-04-23T08:15:00.250Z",
    "subject": "Follow up on our call",
    "openCount": 3,
    "clickCount": 1,
}
REQUIRED = ["externalActivityId", "activityType", "occurredAt", "domain", "ownerEmail", "contacts"]
NAN, INFINITY = float("nan"), float("inf")


def changed(payload: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    payload = copy.deepcopy(payload)
    *way, last = path.split(".")
    at: Any = payload
    for step in way:
        at = at[int(step)] if step.isdecimal() else at[step]
    at[int(last) if last.isdecimal() else last] = value
    return payload


@pytest.mark.parametrize("payload", [CALL, EMAIL])
def test_the_vendors_examples_pass(payload: dict[str, Any]) -> None:
    assert validate(payload) == []


@pytest.mark.parametrize("payload", [CALL, EMAIL])
def test_only_what_the_vendor_requires_is_required(payload: dict[str, Any]) -> None:
    smallest = {key: payload[key] for key in REQUIRED} | {"contacts": [{"email": "john@acme.com"}]}
    assert validate(smallest) == []
    for key in REQUIRED:
        assert validate({name: value for name, value in smallest.items() if name != key}) == [key]
    assert validate(smallest | {"contacts": [{"name": "John Doe"}]}) == ["contacts.0.email"]


@pytest.mark.parametrize(
    "path", [*CALL, *(f"contacts.0.{key}" for key in CALL["contacts"][0]), "from.name", "from.email"]
)
@pytest.mark.parametrize("value", [None, [], object()])
def test_a_null_or_a_value_of_another_type_is_refused_in_every_field(path: str, value: object) -> None:
    assert validate(changed(CALL, path, value)) == [path]


@pytest.mark.parametrize("path", ["subject", "openCount", "clickCount"])
def test_a_null_is_refused_in_the_fields_of_an_email(path: str) -> None:
    assert validate(changed(EMAIL, path, None)) == [path]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("externalActivityId", " "),
        ("activityType", "meeting"),
        ("domain", ""),
        ("ownerEmail", "not available"),
        ("from.email", "Jane Smith <jane@yourcompany.com>"),
        ("contacts.0.email", "inferred — john@acme.com"),
        ("direction", "internal"),
        ("contacts.0", "john@acme.com"),
        ("accountNames", "Acme Corp"),
        ("contacts.0.mobile", "+1 415 555 0101"),
        *(("durationMinutes", value) for value in (-1, NAN, INFINITY, True, "30")),
        *(("openCount", value) for value in (-1, 1.5, True, "3", 10**400)),
        *(("clickCount", value) for value in (-1, 1.5, False, "3")),
        *(
            ("occurredAt", value)
            for value in ("2026-04-22", "2026-04-22T10:30:00", "2026-02-31T10:30:00Z", "1745317800000")
        ),
    ],
)
def test_a_wrong_value_is_refused_by_its_path(path: str, value: object) -> None:
    assert validate(changed(CALL, path, value)) == [path]


def test_every_fault_is_named_and_no_value_is() -> None:
    payload = changed(changed(CALL, "ownerEmail", "secret"), "domain", "")
    payload["contacts"] = [{"email": "john@acme.com"}, {"email": "secret"}, {}]
    assert validate(payload) == ["domain", "ownerEmail", "contacts.1.email", "contacts.2.email"]


@pytest.mark.parametrize("payload", [None, [], "activity", 1])
def test_what_is_no_object_is_refused_whole(payload: object) -> None:
    assert validate(payload) == ["activity"]
