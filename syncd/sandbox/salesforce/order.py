"""ORDER BY: several paths, each ascending or descending, with nulls first or last."""

from collections.abc import Sequence
from dataclasses import dataclass

from syncd.sandbox.salesforce.org import Org
from syncd.sandbox.salesforce.paths import Read, resolve
from syncd.sandbox.salesforce.refusals import QueryRefusal
from syncd.sandbox.salesforce.rows import OrgRow
from syncd.sandbox.salesforce.schema import ID_TYPES, Field, ObjectKind
from syncd.sandbox.salesforce.soql import Order


@dataclass(frozen=True, slots=True)
class Ordering:
    """One compiled term of an ORDER BY."""

    field: Field
    read: Read
    descending: bool
    nulls_last: bool

    def sorted(self, rows: Sequence[OrgRow]) -> list[OrgRow]:
        """Return the rows sorted. The sort is stable."""
        textual = self.field.type not in ID_TYPES
        keyed = [(self.read(row.values), row) for row in rows]
        empty = [row for value, row in keyed if value is None]
        full = [(value.lower() if textual and isinstance(value, str) else value, row) for value, row in keyed
                if value is not None]  # fmt: skip
        full.sort(key=lambda pair: pair[0], reverse=self.descending)
        rest = [row for _, row in full]
        return rest + empty if self.nulls_last else empty + rest


def orderings(org: Org, kind: ObjectKind, order: tuple[Order, ...]) -> list[Ordering]:
    """Compile an ORDER BY. Raises QueryRefusal."""
    found = []
    for rule in order:
        field, read = resolve(org, kind, rule.path)
        if not field.sortable:
            raise QueryRefusal("INVALID_FIELD", rule.path.at, f"field '{field.name}' can not be sorted in a query call")
        found.append(Ordering(field, read, rule.descending, rule.nulls_last))
    return found


def arrange(rows: list[OrgRow], order: list[Ordering]) -> list[OrgRow]:
    """Sort rows by several orderings, the most significant first."""
    for ordering in reversed(order):
        rows = ordering.sorted(rows)
    return rows
