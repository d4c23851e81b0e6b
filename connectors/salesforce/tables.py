"""Define the tables [calls] and [emails] of a Salesforce source: which tasks are read, and which fields are used."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from syncd.activity import Direction
from syncd.connector import StreamRules
from syncd.types.conditions import LONGEST, Entry, fields_of

FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
MOST_ENTRIES = 50  # of `match`
MOST_FIELDS = 20  # of one list
# Characters of all field names that a source names, each with 4 bytes more in a URI that may name 400 ids too.
MOST_NAMED = 800
MOST_VALUES = 200  # keys of a table of values
DIRECTIONS: tuple[str, ...] = get_args(Direction)
EmailsFrom = Literal["messages", "tasks", "both"]


def _entries(*tables: dict[str, Any]) -> tuple[Entry, ...]:
    return tuple(map(Entry.parse, tables))


# Type='Call' with subtype Task comes from Open CTI adapters (developerforce/open-cti-demo-adapter). Log a Call leaves
# Type blank, so the subtype alone counts too.
CALLS = _entries({"TaskSubtype": "Call"}, {"Type": "Call", "TaskSubtype": "Task"})
EMAILS = _entries({"TaskSubtype": "Email"}, {"Type": "Email", "TaskSubtype": "Task"})


def field_name(name: str) -> str:
    """Return the name of a field, or "". Its characters cannot change the query that contains it."""
    name = name.strip()
    if name and not FIELD.fullmatch(name):
        raise ValueError("expected the API name of a field, e.g. Call_Time__c")
    return name


def _given(name: str) -> str:
    if not field_name(name):
        raise ValueError("expected the API name of a field, e.g. Call_Time__c")
    return field_name(name)


def _some(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    if not 1 <= len(entries) <= MOST_ENTRIES:
        raise ValueError(f"expected 1 to {MOST_ENTRIES} entries. read = false leaves the stream out")
    return entries


Entries = Annotated[tuple[Entry, ...], AfterValidator(_some)]
Names = Annotated[tuple[Annotated[str, AfterValidator(_given)], ...], Field(max_length=MOST_FIELDS)]


class Fields(BaseModel):
    """Name the fields of a record that hold our values, in order. The first one that is not empty wins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    direction: Names = ()
    owner: Names = ("OwnerId",)  # each holds a user's id, address, or unique name
    title: Names = ("Subject",)
    occurred_at: Names = ()  # none: the times that Salesforce keeps itself

    @property
    def all(self) -> tuple[str, ...]:
        """Every name, each once."""
        return tuple(dict.fromkeys(name for _, names in self for name in names))


class CallFields(Fields):
    """Name the fields of a call's task."""

    direction: Names = ("CallType",)
    outcome: Names = ("CallDisposition",)
    duration_seconds: Names = ("CallDurationInSeconds",)
    duration_minutes: Names = ()  # read if `duration_seconds` are empty
    call_id: Names = ("CallObject",)  # an id that each copy of a call has


class EmailFields(Fields):
    """Name the fields of an EmailMessage or an email task. A field that one of them lacks is passed over there."""

    direction: Names = ("Incoming",)


class SalesforceRules(StreamRules):
    """Say which tasks are read and how. Raise ValueError for an empty `match` and for unknown values."""

    match: Entries
    fields: Fields = Fields()

    @model_validator(mode="after")
    def _values_are_known(self) -> "SalesforceRules":
        mistakes = list(_mistaken_values(self.values, isinstance(self.fields, CallFields)))
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """The names of all fields that the table names, each once."""
        entries = fields_of((*self.match, *self.excepted))
        return tuple(dict.fromkeys((*entries, *self.fields.all)))


class CallTable(SalesforceRules):
    """The table [calls]."""

    match: Entries = CALLS
    fields: CallFields = CallFields()


class EmailTable(SalesforceRules):
    """The table [emails]. `match` chooses among tasks, the other keys apply to EmailMessages too."""

    # messages: EmailMessages. tasks: email tasks. both: these, and the email tasks that no EmailMessage names.
    origin: EmailsFrom = Field(default="both", alias="from")
    match: Entries = EMAILS
    fields: EmailFields = EmailFields()


def length_of(names: Iterable[str]) -> int:
    """Return the characters that fields add to a query's URI."""
    return sum(len(name) + 4 for name in names)


def _mistaken_values(values: Mapping[str, Mapping[str, str]], has_outcome: bool) -> Iterable[str]:
    known = ("direction", "outcome") if has_outcome else ("direction",)
    if any(name not in known for name in values):
        yield f"values: expected tables for {' and '.join(known)} only"
    if any(each not in DIRECTIONS for each in values.get("direction", {}).values()):
        yield f"values.direction: expected {', '.join(DIRECTIONS)} right of the ="
    if any(len(table) > MOST_VALUES for table in values.values()):
        yield f"values: expected at most {MOST_VALUES} keys in a table"
    if any(not key.strip() or len(key) > LONGEST for table in values.values() for key in table):
        yield f"values: expected keys of 1 to {LONGEST} characters"
