"""Objects and fields of an org, and the parser of the lines in objects.py."""

from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from syncd.sandbox.salesforce.ids import PREFIXES
from syncd.sandbox.salesforce.objects import CHILDREN, LINES, NEEDED_FOR

LENGTHS = {"id": 18, "reference": 18, "string": 255, "picklist": 255, "email": 80, "phone": 40, "url": 255}
ID_TYPES = frozenset({"id", "reference"})
LONG_TYPES = frozenset({"textarea", "address"})  # neither filtered nor sorted
UNGROUPED = frozenset({"datetime", "double", "currency", "percent"})  # no GROUP BY (SOQL guide v67)
SYSTEM = """
Id id required readonly
IsDeleted boolean readonly
CreatedDate datetime required readonly
CreatedById reference to=User as=CreatedBy required readonly
LastModifiedDate datetime required readonly
LastModifiedById reference to=User as=LastModifiedBy required readonly
SystemModstamp datetime required readonly
"""


@dataclass(frozen=True, slots=True)
class Field:
    """One field, with its describe properties."""

    name: str
    type: str  # as describe names it: id, string, reference, datetime …
    length: int = 0
    refers_to: tuple[str, ...] = ()
    relationship: str | None = None  # the name in a path
    polymorphic: bool = False
    filterable: bool = True
    sortable: bool = True
    nillable: bool = True
    readonly: bool = False
    options: tuple[str, ...] = ()
    feature: str = ""  # the setting that the field requires
    case_sensitive: bool = False

    @property
    def groupable(self) -> bool:
        """Return whether GROUP BY takes the field."""
        return self.sortable and self.type not in UNGROUPED

    @property
    def custom(self) -> bool:
        """Return whether the field is a custom one."""
        return self.name.endswith("__c")


@dataclass(frozen=True, slots=True)
class Child:
    """A relationship from parent to child."""

    name: str  # the name in a sub-query
    object: str
    field: str  # the child's field that holds the parent's id


@dataclass
class ObjectKind:
    """One object and its fields. Their names are looked up in lower case."""

    name: str
    fields: dict[str, Field]  # lower-case name -> field
    children: dict[str, Child] = field(default_factory=dict)  # lower-case relationship name -> child
    feature: str = ""

    @property
    def prefix(self) -> str:
        """Return the key prefix of its ids."""
        return PREFIXES[self.name]

    @cached_property
    def relationships(self) -> dict[str, Field]:
        """Return the lookup fields, by lower-case relationship name."""
        return {field.relationship.lower(): field for field in self.fields.values() if field.relationship}

    @cached_property
    def blank(self) -> dict[str, Any]:
        """Return the initial values of a row: False for checkboxes, which are never empty."""
        return {field.name: False for field in self.fields.values() if field.type == "boolean"}


def standard() -> dict[str, ObjectKind]:
    """Return fresh standard objects, which an org may extend."""
    return {
        name: ObjectKind(
            name,
            {known.name.lower(): known for known in map(parse, _lines(name, text)) if known.name != "-"},
            {child.name.lower(): child for child in (Child(*line) for line in CHILDREN.get(name, ()))},
            NEEDED_FOR.get(name, ""),
        )
        for name, text in LINES.items()
    }


@cache  # every org starts with the same lines
def parse(line: str) -> Field:
    """Parse one line: name, type or type(length), then words.

    `to` has the target objects, `as` the relationship, `if` a feature, `in` a picklist's values. `plain` marks a field
    that can be neither filtered nor sorted, `exact` one that is compared with case.
    """
    name, kind, *words = line.split()
    kind, _, length = kind.rstrip(")").partition("(")
    said = dict(word.partition("=")[::2] for word in words)
    targets = tuple(said["to"].split("|")) if "to" in said else ()
    plain = kind in LONG_TYPES or "plain" in said
    return Field(
        name, kind, int(length or LENGTHS.get(kind, 0)), targets, said.get("as"), len(targets) > 1,
        filterable=not plain, sortable=not plain, nillable=kind != "boolean" and "required" not in said,
        readonly="readonly" in said, options=tuple(said["in"].replace("_", " ").split("|")) if "in" in said else (),
        feature=said.get("if", ""), case_sensitive="exact" in said,
    )  # fmt: skip


def _lines(name: str, text: str) -> list[str]:
    """Return the lines of one object, with the system fields.

    A first line of `-` and field names lists the system fields that it lacks.
    """
    lines = [line for line in text.splitlines() if line]
    missing = lines[0].split()[1:] if lines and lines[0].startswith("- ") else []
    own = lines[1:] if missing else lines
    return [line for line in SYSTEM.splitlines() if line and line.split()[0] not in missing] + own
