"""Paths: from an object along its relationships to a field, compiled into a reader of rows."""

from collections.abc import Callable
from typing import Any

from syncd.sandbox.salesforce.ids import OBJECTS
from syncd.sandbox.salesforce.org import Org
from syncd.sandbox.salesforce.refusals import malformed, no_such_column, no_such_relationship
from syncd.sandbox.salesforce.schema import Field, ObjectKind, parse
from syncd.sandbox.salesforce.soql import Path

MAX_LEVELS = 5  # relationships in one path (SOQL guide v67)

Values = dict[str, Any]
Read = Callable[[Values], Any]

# The fields of a polymorphic lookup without TYPEOF, whatever its target (Object Reference v67, Name).
NAME = ObjectKind(
    "Name",
    {
        field.name.lower(): field
        for field in map(parse, (
            "Id id", "Name string", "FirstName string", "LastName string", "Email email", "Phone phone", "Title string",
            "Type picklist", "Username string", "Alias string", "IsActive boolean",
        ))
    },
)  # fmt: skip


def resolve(org: Org, kind: ObjectKind, path: Path) -> tuple[Field, Read]:
    """Return the field of a path and a function that reads it from a row of `kind`. Raises QueryRefusal."""
    check_levels(path)
    return _resolve(org, kind, path.names, path.at)


def check_levels(path: Path) -> None:
    """Raise QueryRefusal for a path with too many relationships."""
    if len(path.names) > MAX_LEVELS + 1:
        raise malformed(path.at, f"SOQL relationship queries go at most {MAX_LEVELS} levels up: {'.'.join(path.names)}")


def _resolve(org: Org, kind: ObjectKind, names: tuple[str, ...], at: int) -> tuple[Field, Read]:
    if len(names) == 1:
        field = column(kind, names[0], at)
        return field, reader(org, kind, field)
    link, parent, prefixes = follow(org, kind, names[0], at)
    field, read = _resolve(org, parent, names[1:], at)
    key, find = link.name, org.find

    def through(values: Values) -> Any:
        parent_id = values.get(key)
        row = find(parent_id) if parent_id is not None and parent_id[:3] in prefixes else None
        return None if row is None else read(row.values)

    return field, through


def column(kind: ObjectKind, name: str, at: int) -> Field:
    """Return one field of an object. Raises QueryRefusal."""
    found = kind.fields.get(name.lower())
    if found is None:
        raise no_such_column(at, name, kind.name)
    return found


def follow(org: Org, kind: ObjectKind, name: str, at: int) -> tuple[Field, ObjectKind, frozenset[str]]:
    """Return a lookup by name, its target object, and the key prefixes of the visible targets.

    The target of a polymorphic lookup is NAME. Raises QueryRefusal.
    """
    link = kind.relationships.get(name.lower())
    targets = [target for target in map(org.view, link.refers_to) if target is not None] if link else []
    if link is None or not targets:
        raise no_such_relationship(at, name)
    return link, NAME if link.polymorphic else targets[0], frozenset(target.prefix for target in targets)


def computed(kind: ObjectKind, field: Field) -> bool:
    """Return whether a field is computed and not kept in the row."""
    return kind is NAME or field.name in ("WhoCount", "WhatCount")


def reader(org: Org, kind: ObjectKind, field: Field) -> Read:
    """Return a function that reads a field from a row of `kind`."""
    name = field.name
    if kind.name == "Task" and name == "WhoCount":
        return lambda values: len(org.tables["TaskWhoRelation"].by_parent("TaskId").get(values["Id"], ()))
    if kind.name == "Task" and name == "WhatCount":
        return lambda values: int(values.get("WhatId") is not None)
    if kind is not NAME:
        return lambda values: values.get(name)
    if name == "Type":
        return lambda values: OBJECTS[values["Id"][:3]]
    if name == "Email":
        return lambda values: _name_email(org, values)
    if name == "Name":
        return lambda values: values.get("Name") or values.get("CaseNumber") or values.get("Subject")
    return lambda values: values.get(name)


def _name_email(org: Org, values: Values) -> Any:
    """Read Name.Email, which is documented only for "the user or group (queue)"."""
    known = values["Id"][:3] in ("005", "00G") or org.name_email_of_people
    return values.get("Email") if known else None
