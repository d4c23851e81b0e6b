"""Where a path leads: from an object along its relationships to one field, and how to read it off a row."""

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

# What a lookup to several objects shows without TYPEOF, whichever it leads to (Object Reference v67, Name).
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
    """Return the field that a path names and what reads it off a row of `kind`. Raises QueryRefusal."""
    check_levels(path)
    return _resolve(org, kind, path.names, path.at)


def check_levels(path: Path) -> None:
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
    """Look one field up. Raises QueryRefusal."""
    found = kind.fields.get(name.lower())
    if found is None:
        raise no_such_column(at, name, kind.name)
    return found


def follow(org: Org, kind: ObjectKind, name: str, at: int) -> tuple[Field, ObjectKind, frozenset[str]]:
    """Return the lookup of that name, what it shows, and the key prefixes of what the acting user sees there.

    A lookup to several objects shows NAME. Raises QueryRefusal.
    """
    link = kind.relationships.get(name.lower())
    targets = [target for target in map(org.view, link.refers_to) if target is not None] if link else []
    if link is None or not targets:
        raise no_such_relationship(at, name)
    return link, NAME if link.polymorphic else targets[0], frozenset(target.prefix for target in targets)


def computed(kind: ObjectKind, field: Field) -> bool:
    """Tell whether a field stands in no row as it is shown."""
    return kind is NAME or field.name in ("WhoCount", "WhatCount")


def reader(org: Org, kind: ObjectKind, field: Field) -> Read:
    """Return what reads a field off a row of `kind`."""
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
    """Read Name.Email, which is documented as "of the user or group (queue)" only."""
    known = values["Id"][:3] in ("005", "00G") or org.name_email_of_people
    return values.get("Email") if known else None
