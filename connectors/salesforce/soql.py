"""Build every SOQL query that syncd sends. Pure.

Windows are bounded, inclusive at both ends, and ordered by (SystemModstamp, Id) without a
LIMIT. Pages follow by Salesforce's own locator, so neither ties nor 15,000 rows of one
second matter. Only SystemModstamp shows imports with back-dated audit fields. It has
whole seconds (Object Reference v67, System Fields).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from connectors.salesforce import conditions
from connectors.salesforce.schema import (
    ACCOUNT,
    CONTACT,
    EMAIL,
    EMAIL_PEOPLE,
    LEAD,
    TASK,
    TASK_PEOPLE,
    USER,
    VOICE_CALL,
    WANTED,
    Schema,
)
from syncd.types.conditions import Entry

# An id takes 27 bytes of a URI that may have 16,384 with its headers (Limits v67); a token may be 2 KB of them.
IDS_AT_ONCE = 400
OF_USER = "Id, Name, Email, IsActive, UserType"
OURS = "Standard"  # UserType
OF_ACCOUNT = ("Name", "Website", "IsPersonAccount")
ORDER = "ORDER BY SystemModstamp ASC, Id ASC"


@dataclass(frozen=True, slots=True)
class Select:
    """Hold fields and conditions of one object's queries."""

    object_type: str
    fields: tuple[str, ...]  # as they stand in the SELECT list: names, paths, TYPEOF, child queries
    which: tuple[str, ...] = ()  # conditions that a window's rows fulfil
    always: tuple[str, ...] = ()  # conditions that hold for look-ups too
    children: str | None = None  # the relationship of its child query

    def window(self, since: datetime, until: datetime) -> str:
        """Return the query for rows modified within [since, until], both ends inclusive, whole seconds."""
        return f"{self._all()} WHERE {self._within(since, until)} {ORDER}"

    def refs(self, at: datetime, after: str, *, most: int, skip: int = 0) -> str:
        """Return the query for ids and times of a second's rows, in the order of their ids.

        `after` is an id or empty. At most 2,000 rows can be skipped (SOQL guide v67, OFFSET).
        """
        beyond = f" AND Id > '{after}'" if after else ""
        which = " AND ".join((*self.always, *self.which, f"SystemModstamp = {literal(at)}"))
        offset = f" OFFSET {skip}" if skip else ""
        return (
            f"SELECT Id, SystemModstamp FROM {self.object_type} WHERE {which}{beyond}"
            f" ORDER BY Id ASC LIMIT {most}{offset}"  # nosec B608 # our names, Salesforce's ids
        )

    def by_ids(self, ids: Sequence[str]) -> str:
        """Return the query for at most IDS_AT_ONCE ids, each of which `is_id`."""
        return f"{self._all()} WHERE {' AND '.join((*self.always, f'Id IN ({_listed(ids)})'))}"

    def counted(self, since: datetime, until: datetime) -> str:
        """Return the query that counts a window's rows."""
        return f"SELECT COUNT() FROM {self.object_type} WHERE {self._within(since, until)}"  # nosec B608 # our names

    def one(self) -> str:
        """Return the query for any one row, to test whether it is allowed."""
        conditions = " AND ".join((*self.always, *self.which))
        return f"{self._all()}{f' WHERE {conditions}' if conditions else ''} LIMIT 1"

    def _all(self) -> str:
        return f"SELECT {', '.join(self.fields)} FROM {self.object_type}"  # nosec B608 # our names

    def _within(self, since: datetime, until: datetime) -> str:
        return _within((*self.always, *self.which), since, until)


def tasks(schema: Schema, match: Sequence[Entry], *, named: Sequence[str] = (), linkedin_field: str = "") -> Select:
    """Return the queries for the tasks that any entry of `match` admits, with the fields that the source names."""
    plain = [
        "Id", "SystemModstamp", "CreatedDate", "TaskSubtype", "IsClosed", "IsRecurrence", "Subject", "ActivityDate",
        "CompletedDateTime", "CallDurationInSeconds", "CallType", "CallDisposition", "OwnerId", "AccountId", "WhoId",
        "WhatId", "WhoCount", "Type", "CallObject", "IsArchived", *named,
    ]  # fmt: skip
    fields = schema.kept(TASK, plain)
    if schema.has(TASK, "OwnerId"):
        fields += ["Owner.Name", "Owner.Email"]  # of a user or a queue (Name object, Object Reference v67)
    fields += _of_account(schema, TASK)
    fields += _who(schema, linkedin_field) if schema.has(TASK, "WhoId") else []
    return Select(TASK, tuple(fields), task_conditions(schema, match), _not_deleted(schema, TASK))


def task_conditions(schema: Schema, match: Sequence[Entry]) -> tuple[str, ...]:
    """Return conditions that each task fulfils which `match` admits. An entry that names a hidden field admits none."""
    seen = [entry for entry in match if len(schema.kept(TASK, entry.fields)) == len(set(entry.fields))]
    return conditions.where(seen, partial(schema.type_to_filter_by, TASK))


def task_people(schema: Schema, ids: Sequence[str]) -> str | None:
    """Return the query for all people of at most IDS_AT_ONCE tasks. None if tasks have only one.

    Not a child query: its rows would count against the page of a query in which most
    tasks have one contact, and that stands in the task itself.
    """
    names = schema.kept(TASK_PEOPLE, ("TaskId", "RelationId", "AccountId"))
    if not {"TaskId", "RelationId"} <= set(names):
        return None
    names += _of_account(schema, TASK_PEOPLE)
    which = " AND ".join((*_not_deleted(schema, TASK_PEOPLE), f"TaskId IN ({_listed(ids)})"))
    return f"SELECT {', '.join(names)} FROM {TASK_PEOPLE} WHERE {which}"  # nosec B608 # Salesforce's ids


def emails(schema: Schema, *, named: Sequence[str] = ()) -> Select:
    """Return the queries for email messages, with the fields that the source names and that these have.

    They include drafts, which are not activities.
    """
    plain = (
        "Id", "SystemModstamp", "CreatedDate", "Status", "Subject", "MessageDate", "Incoming", "FromAddress",
        "FromName", "FromId", "ToAddress", "CcAddress", "BccAddress", "RelatedToId", "ActivityId", "CreatedById",
        "ParentId", "MessageIdentifier", "IsPrivateDraft", "IsBounced", "IsTracked", "IsOpened", *named,
    )  # fmt: skip
    fields = schema.kept(EMAIL, plain)
    if schema.has(EMAIL, "CreatedById"):
        fields += ["CreatedBy.Name", "CreatedBy.Email"]
    people = schema.kept(EMAIL_PEOPLE, ("RelationId", "RelationType", "RelationAddress"))
    relation = schema.child(EMAIL) if "RelationId" in people else None
    fields += [f"(SELECT {', '.join(people)} FROM {relation})"] if relation else []  # nosec B608 # our names
    return Select(EMAIL, tuple(fields), always=_not_deleted(schema, EMAIL), children=relation)


def messages_of_tasks(ids: Sequence[str]) -> str:
    """Return the query for the email messages that name at most IDS_AT_ONCE tasks."""
    return f"SELECT Id, ActivityId FROM {EMAIL} WHERE ActivityId IN ({_listed(ids)})"  # nosec B608 # checked ids


def voice_calls(schema: Schema) -> Select:
    """Return the queries for voice calls without a task. One that gets a task later shows it in a look-up."""
    fields = schema.kept(VOICE_CALL, [name for name in WANTED[VOICE_CALL] if name != "IsDeleted"])
    if schema.has(VOICE_CALL, "OwnerId"):
        fields += ["Owner.Name", "Owner.Email"]
    return Select(VOICE_CALL, tuple(fields), ("ActivityId = null",), _not_deleted(schema, VOICE_CALL))


def counted(object_type: str, conditions: Sequence[str], since: datetime, until: datetime) -> str:
    """Return the query that counts the rows of an object."""
    return f"SELECT COUNT() FROM {object_type} WHERE {_within(conditions, since, until)}"  # nosec B608 # our names


def grouped(
    object_type: str, fields: Sequence[str], conditions: Sequence[str], since: datetime, until: datetime, *, most: int
) -> str:
    """Return the query that counts the rows of an object by `fields`, as `n`, the `most` frequent groups first.

    A result of groups has no further pages. More than 2,000 groups are an error (SOQL v67, GROUP BY).
    """
    names, within = ", ".join(fields), _within(conditions, since, until)
    return (
        f"SELECT {names}, COUNT(Id) n FROM {object_type} WHERE {within}"  # nosec B608 # our names
        f" GROUP BY {names} ORDER BY COUNT(Id) DESC LIMIT {most}"
    )


def users(after: str = "") -> str:
    """Return the query for the users on our side after an id, in the order of their ids, inactive ones too.

    Users of other types are partners' and customers' logins, and machines.
    """
    beyond = f" AND Id > '{after}'" if after else ""
    return f"SELECT {OF_USER} FROM {USER} WHERE UserType = '{OURS}'{beyond} ORDER BY Id ASC"  # nosec B608 # our names


def users_by_ids(ids: Sequence[str]) -> str:
    """Return the query for users of any type."""
    return f"SELECT {OF_USER} FROM {USER} WHERE Id IN ({_listed(ids)})"  # nosec B608 # checked ids


def task_owners(ids: Sequence[str]) -> str:
    """Return the query for the owners of tasks, users or queues."""
    fields = "Id, OwnerId, Owner.Name, Owner.Email"
    return f"SELECT {fields} FROM {TASK} WHERE Id IN ({_listed(ids)})"  # nosec B608 # checked ids


def sees_everything(user_id: str) -> str:
    """Return the query for a permission set, a profile's own included, that gives the user View All Data."""
    return (
        f"SELECT Id FROM PermissionSetAssignment WHERE AssigneeId = '{user_id}'"
        " AND PermissionSet.PermissionsViewAllData = true LIMIT 1"  # nosec B608 # our user's id
    )


def user_name(user_id: str) -> str:
    """Return the query for a user's name."""
    return f"SELECT Name FROM {USER} WHERE Id = '{user_id}'"  # nosec B608 # our user's id


def by_address(object_type: str, column: str, field_name: str, address: str) -> str:
    """Return the query for a column of the rows whose field is an e-mail address."""
    return f"SELECT {column} FROM {object_type} WHERE {field_name} = {conditions.quoted(address)}"  # nosec B608 # quoted


def by_addresses(object_type: str, fields: Sequence[str], address: str) -> str:
    """Return the query for the ids and fields of rows of which a field lists an e-mail address, or a longer one."""
    like = f"'%{conditions.for_like(address)}%'"
    which = " OR ".join(f"{name} LIKE {like}" for name in fields)
    which = f"({which})" if len(fields) > 1 else which
    return f"SELECT Id, {', '.join(fields)} FROM {object_type} WHERE {which}"  # nosec B608 # quoted


def by_reference(object_type: str, column: str, field_name: str, ids: Sequence[str]) -> str:
    """Return the query for a column of the rows whose field leads to one of at most IDS_AT_ONCE records."""
    return f"SELECT {column} FROM {object_type} WHERE {field_name} IN ({_listed(ids)})"  # nosec B608 # Salesforce's ids


def contact_fields(schema: Schema, linkedin_field: str) -> list[str]:
    """Return the fields of a contact, without parents."""
    names = ("Id", "Name", "Email", "Title", "Department", "Phone", "AccountId", "IsPersonAccount", linkedin_field)
    return schema.kept(CONTACT, names)


def lead_fields(schema: Schema, linkedin_field: str) -> list[str]:
    """Return the fields of a lead."""
    names = (
        "Id", "Name", "Email", "Title", "Phone", "Company", "Website", "IsConverted", "ConvertedContactId",
        linkedin_field,
    )  # fmt: skip
    return schema.kept(LEAD, names)


def account_fields(schema: Schema) -> list[str]:
    """Return the fields of an account."""
    return schema.kept(ACCOUNT, ("Id", *OF_ACCOUNT))


def is_id(written: str) -> bool:
    """Tell whether a text can be an id. Salesforce refuses a whole query for one that cannot."""
    return len(written) in (15, 18) and written.isascii() and written.isalnum()


def no_ones_id(prefix: str) -> str:
    """Return an id of a kind of record that no record has. A working org answers a query for it."""
    return prefix.ljust(15, "0")


def literal(at: datetime) -> str:
    """Return an instant as SOQL literal, in whole seconds (SOQL date formats, v67)."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield `ids`, as many at a time as a query may name."""
    return (ids[start : start + IDS_AT_ONCE] for start in range(0, len(ids), IDS_AT_ONCE))


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(f"'{each}'" for each in ids)


def _within(conditions: Sequence[str], since: datetime, until: datetime) -> str:
    bounds = (f"SystemModstamp >= {literal(since)}", f"SystemModstamp <= {literal(until)}")
    return " AND ".join((*conditions, *bounds))


def _not_deleted(schema: Schema, object_type: str) -> tuple[str, ...]:
    """Return the condition against deleted rows, which come with the archived ones."""
    return ("IsDeleted = false",) if schema.has(object_type, "IsDeleted") else ()


def _who(schema: Schema, linkedin_field: str) -> list[str]:
    """Return Who by its type. Dot notation gives only a name, without an address (SOQL v67, TYPEOF)."""
    contact, lead = contact_fields(schema, linkedin_field), lead_fields(schema, linkedin_field)
    contact += _of_account(schema, CONTACT)
    cases = ((CONTACT, contact), (LEAD, lead))
    whens = " ".join(f"WHEN {name} THEN {', '.join(names)}" for name, names in cases if names)
    return [f"TYPEOF Who {whens} END"] if whens else []


def _of_account(schema: Schema, object_type: str) -> list[str]:
    """Return the paths to the account that an object's AccountId leads to."""
    account = schema.relationship(object_type, "AccountId")
    return [f"{account}.{name}" for name in schema.kept(ACCOUNT, OF_ACCOUNT)] if account else []
