"""The fields that Salesforce derives when a row is saved: closed, account, name."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from syncd.sandbox.salesforce.ids import whole
from syncd.sandbox.salesforce.schema import Field, ObjectKind
from syncd.sandbox.standin.clock import millis

Values = dict[str, Any]
Find = Callable[[str | None], Values | None]  # returns the values of a row by its id

DEFAULTS: dict[str, Values] = {
    "Task": {"Status": "Not Started", "Priority": "Normal", "TaskSubtype": "Task"},
    "EmailMessage": {"Status": "3", "IsClientManaged": True, "IsExternallyVisible": True},
    "Lead": {"Status": "Open - Not Contacted", "Company": "[not provided]"},
    "Opportunity": {"StageName": "Prospecting", "CloseDate": "2030-12-31"},
    "Case": {"Status": "New", "Origin": "Email"},
}


def typed(kind: ObjectKind, fields: Mapping[str, Any]) -> Values:
    """Convert a test's fields into a row's values. Raises ValueError for an unknown field."""
    values: Values = {}
    for name, value in fields.items():
        known = kind.fields.get(name.lower())
        if known is None or known.name != name:
            raise ValueError(f"no such field: {kind.name}.{name}")
        convert = _CONVERT.get(known.type)
        values[name] = value if convert is None or value is None else convert(known, value)
    return values


def complete(kind: ObjectKind, values: Values, given: Mapping[str, Any], before: Values | None, find: Find) -> None:
    """Set the derived values. Those in `given` stay."""
    finish = _FINISH.get(kind.name)
    if finish is not None:
        finish(values, given, before or {}, find)


def _task(values: Values, given: Mapping[str, Any], before: Values, find: Find) -> None:
    """Derive IsClosed, CompletedDateTime and AccountId (Object Reference v67, Task)."""
    closed = values["IsClosed"] = values.get("Status") == "Completed"
    if "CompletedDateTime" not in given:
        kept = before.get("CompletedDateTime") if before.get("IsClosed") else None
        values["CompletedDateTime"] = (kept or values["SystemModstamp"]) if closed else None
    values["IsHighPriority"] = values.get("Priority") == "High"
    moved = any(values.get(name) != before.get(name) for name in ("WhatId", "WhoId"))
    if "AccountId" not in given and (moved or not before):
        values["AccountId"] = account_of(values.get("WhatId"), values.get("WhoId"), find)


def account_of(what: str | None, who: str | None, find: Find) -> str | None:
    """Return the account of an activity: that of its What, otherwise of its contact. A lead gives none."""
    if what and what.startswith("001"):
        return what
    related = find(what) if what else None
    person = find(who) if who and who.startswith("003") else None
    account: str | None = (related or {}).get("AccountId") or (person or {}).get("AccountId")
    return account


def _person(values: Values, given: Mapping[str, Any], before: Values, find: Find) -> None:
    """Compose the name. A given name stays until a part of it changes."""
    if "Name" not in given and (not before or {"FirstName", "LastName"} & given.keys()):
        values["Name"] = " ".join(part for part in (values.get("FirstName"), values.get("LastName")) if part)


def _email(values: Values, given: Mapping[str, Any], before: Values, find: Find) -> None:
    values["Name"] = values.get("Subject")
    if "Incoming" not in given and not before:
        values["Incoming"] = values.get("Status") in ("0", "1")


def _relation(values: Values, given: Mapping[str, Any], before: Values, find: Find) -> None:
    values["RelationObjectType"] = {"003": "Contact", "00Q": "Lead", "005": "User"}.get(
        (values.get("RelationId") or "")[:3]
    )


def _case(values: Values, given: Mapping[str, Any], before: Values, find: Find) -> None:
    values["IsClosed"] = values.get("Status") == "Closed"
    values.setdefault("CaseNumber", values["Id"][6:14])


_FINISH: dict[str, Callable[[Values, Mapping[str, Any], Values, Find], None]] = {
    "Task": _task, "Contact": _person, "Lead": _person, "User": _person, "EmailMessage": _email,
    "EmailMessageRelation": _relation, "Case": _case,
}  # fmt: skip


def _instant(field: Field, value: Any) -> int:
    return millis(value) // 1000  # Salesforce keeps whole seconds


def _day(field: Field, value: Any) -> str:
    if isinstance(value, datetime):
        value = value.date()
    return value.isoformat() if isinstance(value, date) else str(value)


def _id(field: Field, value: Any) -> str:
    return whole(value)


_CONVERT: dict[str, Callable[[Field, Any], Any]] = {
    "datetime": _instant, "date": _day, "id": _id, "reference": _id,
}  # fmt: skip
