"""Describe which objects, fields and child relationships an org has.

Orgs differ: Enhanced Email, Shared Activities, e-mail tracking and person accounts may be off. A field hidden from the
user is missing from a describe as if it did not exist (field-level security). So queries are built from the describes,
which are kept in the store for a day.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncd.fields import parse_text

TASK, EMAIL = "Task", "EmailMessage"
TASK_PEOPLE, EMAIL_PEOPLE = "TaskWhoRelation", "EmailMessageRelation"
CONTACT, LEAD, ACCOUNT, USER, VOICE_CALL = "Contact", "Lead", "Account", "User", "VoiceCall"

# Salesforce Object Reference v67. Without bodies and descriptions, which syncd never reads.
WANTED: dict[str, tuple[str, ...]] = {
    TASK: (
        "Id", "SystemModstamp", "CreatedDate", "IsDeleted", "TaskSubtype", "IsClosed", "IsRecurrence", "Subject",
        "ActivityDate", "CompletedDateTime", "CallDurationInSeconds", "CallType", "CallDisposition", "OwnerId",
        "AccountId", "WhatId", "WhoId", "WhoCount", "Type", "CallObject", "IsArchived",
    ),
    EMAIL: (
        "Id", "SystemModstamp", "CreatedDate", "IsDeleted", "Status", "Subject", "MessageDate", "Incoming",
        "FromAddress", "FromName", "FromId", "ToAddress", "CcAddress", "BccAddress", "RelatedToId", "ActivityId",
        "CreatedById", "ParentId", "MessageIdentifier", "IsPrivateDraft", "IsBounced", "IsTracked", "IsOpened",
    ),
    TASK_PEOPLE: ("TaskId", "RelationId", "AccountId", "IsDeleted"),
    EMAIL_PEOPLE: ("EmailMessageId", "RelationId", "RelationType", "RelationAddress"),
    CONTACT: ("Id", "Name", "Email", "Title", "Department", "Phone", "AccountId", "IsPersonAccount"),
    LEAD: ("Id", "Name", "Email", "Title", "Phone", "Company", "Website", "IsConverted", "ConvertedContactId"),
    ACCOUNT: ("Id", "Name", "Website", "IsPersonAccount"),
    VOICE_CALL: (
        "Id", "SystemModstamp", "CreatedDate", "IsDeleted", "ActivityId", "RelatedRecordId", "OwnerId", "CallType",
        "CallStartDateTime", "CallEndDateTime", "CallDurationInSeconds", "CallDisposition", "VendorCallKey",
    ),
}  # fmt: skip
# Without these there is no query; they must be filterable too (Airbyte, pull 68166).
NEEDED = {
    TASK: ("Id", "SystemModstamp", "CreatedDate", "TaskSubtype", "IsClosed"),
    EMAIL: ("Id", "SystemModstamp", "CreatedDate"),
    VOICE_CALL: ("Id", "SystemModstamp", "CreatedDate", "ActivityId", "CallStartDateTime"),
}
CHILDREN = {EMAIL: "EmailMessageRelations"}

CASE_SENSITIVE = "case-sensitive"  # the type of a text that SOQL compares with case (SOQL guide v67, fieldExpression)
ENHANCED_EMAIL = "Enhanced Email"
# What an org may do without, by what its absence shows, and what follows; of an object that is there, if it names one.
FEATURES = (
    (ENHANCED_EMAIL, (EMAIL, "Id"), None, "there are no EmailMessages, so email tasks are all emails that can be read"),
    ("Shared Activities", (TASK_PEOPLE, "RelationId"), None, "a call has one contact, its Name"),
    ("email tracking", (EMAIL, "IsTracked"), EMAIL, "emails have no open count"),
    ("bounce management", (EMAIL, "IsBounced"), EMAIL, "a bounced email passes for a sent one"),
)
# Without these an activity goes out without its subject, or reaches nobody or the wrong account, for good, because
# Recotap takes no update. An org may do without leads. The other fields only leave a key of the payload out.
VITAL: dict[str, tuple[str, ...]] = {
    TASK: ("Subject", "WhoId", "OwnerId"),
    EMAIL: ("Subject", "Incoming", "MessageDate", "FromAddress", "ToAddress"),
    CONTACT: ("Email", "AccountId"),
    LEAD: ("Email",),
    ACCOUNT: ("Website",),
}
VITAL_OBJECTS = (CONTACT, ACCOUNT)
# Missing in almost every org, without harm.
UNREMARKABLE = {
    (CONTACT, "IsPersonAccount"), (ACCOUNT, "IsPersonAccount"), (TASK, "IsRecurrence"), (TASK, "WhoCount"),
    (TASK, "IsArchived"), (TASK_PEOPLE, "IsDeleted"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Schema:
    """Hold the wanted fields and relationships that the user sees."""

    fields: Mapping[str, Mapping[str, str | None]]  # object: field: the relationship's name, if it is a reference
    children: Mapping[str, Sequence[str]]  # object: child relationships
    unfilterable: Sequence[str] = field(default=())  # Object.Field
    types: Mapping[str, str] = field(default_factory=dict)  # by Object.Field: describe's, or CASE_SENSITIVE

    @classmethod
    def of(cls, describes: Mapping[str, Any | None], custom: Iterable[tuple[str, str]] = ()) -> "Schema":
        """Parse Salesforce's describes. None: the user has no such object. `custom` is (object, field)."""
        asked = {name: set(wanted) for name, wanted in WANTED.items()}
        for name, own in custom:
            asked[name].add(own)
        fields: dict[str, dict[str, str | None]] = {}
        children: dict[str, list[str]] = {}
        unfilterable: list[str] = []
        types: dict[str, str] = {}
        for name, described in describes.items():
            if not isinstance(described, dict) or described.get("queryable") is False:
                continue
            known = {str(row.get("name")): row for row in _rows(described.get("fields"))}
            fields[name] = {
                each: parse_text(known[each].get("relationshipName")) for each in known if each in asked[name]
            }
            unfilterable += [f"{name}.{each}" for each in fields[name]
                             if known[each].get("filterable") is False]  # fmt: skip
            types |= {f"{name}.{each}": _type(known[each]) for each in fields[name]}
            relations = _rows(described.get("childRelationships"))
            children[name] = [found for row in relations if (found := parse_text(row.get("relationshipName")))
                              in CHILDREN.values() and found]  # fmt: skip
        return cls(fields, children, tuple(unfilterable), types)

    def pack(self) -> Any:
        """Return the schema as JSON for the store."""
        return [self.fields, self.children, self.unfilterable, self.types]

    @classmethod
    def unpack(cls, kept: Any) -> "Schema":
        """Return the schema that `pack` returned."""
        return cls(*kept)

    def has(self, object_type: str, field_name: str = "Id") -> bool:
        """Tell whether the user sees a field."""
        return field_name in self.fields.get(object_type, {})

    def filters_by(self, object_type: str, field_name: str) -> bool:
        """Tell whether the user sees a field that queries filter by, and Salesforce lets them."""
        return self.has(object_type, field_name) and f"{object_type}.{field_name}" not in self.unfilterable

    def kept(self, object_type: str, names: Iterable[str]) -> list[str]:
        """Return the visible ones of `names`, in their order, each once, because a query must not repeat a field."""
        seen = self.fields.get(object_type, {})
        return [name for name in dict.fromkeys(names) if name in seen]

    def type_to_filter_by(self, object_type: str, field_name: str) -> str | None:
        """Return a field's type, e.g. picklist. None if a query cannot be filtered by it."""
        name = f"{object_type}.{field_name}"
        return None if name in self.unfilterable else self.types.get(name)

    def relationship(self, object_type: str, field_name: str) -> str | None:
        """Return the name by which a query goes through a field to its parent."""
        return self.fields.get(object_type, {}).get(field_name)

    def child(self, object_type: str) -> str | None:
        """Return the child relationship to an object's people. None if the org has none."""
        name = CHILDREN.get(object_type)
        return name if name in self.children.get(object_type, ()) else None

    def lacking(self, object_type: str) -> list[str]:
        """Return the needed fields that are hidden or cannot be filtered by. With any, the object is unreadable."""
        unseen = [name for name in NEEDED[object_type] if not self.has(object_type, name)]
        needed = {f"{object_type}.{name}" for name in (*NEEDED[object_type], "IsDeleted")}
        return [f"{object_type}.{name}" for name in unseen] + [name for name in self.unfilterable if name in needed]

    def absent(self) -> Iterator[tuple[str, str]]:
        """Yield each feature that this org lacks, and the consequence."""
        for feature, place, of, consequence in FEATURES:
            if not self.has(*place) and (of is None or self.has(of)):
                yield feature, consequence

    def hidden(self) -> list[str]:
        """Return Object.Field of each wanted field that is hidden without being explained by a missing feature."""
        explained = {place for _, place, _, _ in FEATURES} | UNREMARKABLE
        if not self.has(EMAIL, "IsTracked"):
            explained |= {(EMAIL, "IsOpened")}
        return [
            f"{object_type}.{name}"
            for object_type, wanted in WANTED.items()
            for name in wanted
            if object_type in self.fields and not self.has(object_type, name) and (object_type, name) not in explained
        ]

    def vital(self) -> list[str]:
        """Return Object, or Object.Field, of hidden data whose absence harms records for good."""
        objects = [name for name in VITAL_OBJECTS if name not in self.fields]
        hidden = set(self.hidden())
        fields = (f"{object_type}.{name}" for object_type, names in VITAL.items() for name in names)
        return [*objects, *(each for each in fields if each in hidden)]


def _type(row: Mapping[str, Any]) -> str:
    kind = str(row.get("type"))
    return CASE_SENSITIVE if row.get("caseSensitive") is True and kind not in ("id", "reference") else kind


def _rows(found: Any) -> list[dict[str, Any]]:
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
