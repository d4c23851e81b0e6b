"""Compiled SELECTs: the columns, parents and children of each row, and their rendering."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from syncd.sandbox.salesforce.ids import OBJECTS
from syncd.sandbox.salesforce.order import Ordering, arrange, orderings
from syncd.sandbox.salesforce.org import Org
from syncd.sandbox.salesforce.paths import NAME, Read, Values, check_levels, column, computed, follow, reader
from syncd.sandbox.salesforce.refusals import malformed, no_such_relationship, not_supported
from syncd.sandbox.salesforce.rows import OrgRow
from syncd.sandbox.salesforce.schema import Child, Field, ObjectKind
from syncd.sandbox.salesforce.soql import Aggregate, Path, Query, TypeOf
from syncd.sandbox.salesforce.stamps import stamp
from syncd.sandbox.salesforce.where import Test, compile_condition

Json = dict[str, Any]


class Plan:
    """The compiled SELECT for rows of one object."""

    def __init__(self, org: Org, kind: ObjectKind, items: Iterable[Path | TypeOf | Query]) -> None:
        self.org, self.kind = org, kind
        self.parents: list[tuple[str, Parent]] = []
        self.children: list[Children] = []
        self._columns: list[tuple[str, str]] = []  # key and the field of its value
        self._reads: list[tuple[str, Read]] = []  # computed values
        self._instants: list[str] = []
        self._types: dict[str, tuple[str, str]] = {}  # key prefix -> type, url
        self._seen: tuple[str, int] | None = None
        wanted = list(items)
        nested: dict[str, list[Path]] = {}
        for item in wanted:
            if isinstance(item, Path) and len(item.names) > 1:
                check_levels(item)
                nested.setdefault(item.names[0].lower(), []).append(item)
        for item in wanted:
            if not isinstance(item, Path) or len(item.names) == 1:
                self._add(item)
            elif paths := nested.pop(item.names[0].lower(), None):
                self._add_parent(paths)

    def fresh(self, base: str, seen: int) -> None:
        """Forget rendered parents if `seen` differs from the last call. `base` is the URL prefix of records."""
        if self._seen == (base, seen):
            return
        self._seen = (base, seen)
        self._types = {}
        for _, parent in self.parents:
            parent.rendered.clear()
            for plan in parent.plans.values():
                plan.fresh(base, seen)
        for children in self.children:
            children.plan.fresh(base, seen)

    def render(self, values: Values) -> Json:
        """Render one row. The page adds its children, because it counts them."""
        get, row_id = values.get, values["Id"]
        kind, url = self._types.get(row_id[:3]) or self._named(row_id)
        record: Json = {"attributes": {"type": kind, "url": url + row_id}}
        for key, name in self._columns:
            record[key] = get(name)
        for key in self._instants:
            if (seconds := record[key]) is not None:
                record[key] = stamp(seconds)
        for key, read in self._reads:
            record[key] = read(values)
        for key, parent in self.parents:
            record[key] = parent.render(record[key])
        return record

    def _named(self, row_id: str) -> tuple[str, str]:
        """Return type and URL prefix of a row. For a polymorphic lookup the type is Name."""
        base = self._seen[0] if self._seen else ""
        named = self._types[row_id[:3]] = (self.kind.name, f"{base}/sobjects/{OBJECTS[row_id[:3]]}/")
        return named

    def _add(self, item: Path | TypeOf | Query) -> None:
        if isinstance(item, Query):
            children = Children(self.org, self.kind, item)
            self.children.append(children)
            self._claim(children.child.name, None, item.at)
        elif isinstance(item, TypeOf):
            link, parent = _typed_parent(self.org, self.kind, item)
            self.parents.append((str(link.relationship), parent))
            self._claim(str(link.relationship), link.name, item.at)
        else:
            field = column(self.kind, item.names[0], item.at)
            if computed(self.kind, field):
                self._reads.append((field.name, reader(self.org, self.kind, field)))
            if field.type == "datetime":
                self._instants.append(field.name)
            self._claim(field.name, field.name, item.at)

    def _add_parent(self, paths: list[Path]) -> None:
        first = paths[0]
        link, shown, prefixes = follow(self.org, self.kind, first.names[0], first.at)
        plan = Plan(self.org, shown, [Path(path.names[1:], path.at) for path in paths])
        self.parents.append((str(link.relationship), Parent(self.org, dict.fromkeys(prefixes, plan))))
        self._claim(str(link.relationship), link.name, first.at)

    def _claim(self, key: str, name: str | None, at: int) -> None:
        if any(taken == key for taken, _ in self._columns):
            raise malformed(at, f"duplicate field selected: {key}")
        self._columns.append((key, name or ""))


class Parent:
    """The compiled SELECT of a lookup's target, by its object."""

    def __init__(self, org: Org, plans: dict[str, Plan]) -> None:
        self.plans = plans  # by key prefix
        self.rendered: dict[str, Any] = {}  # cached by id, because a page of tasks has few owners
        self._find = org.find

    def render(self, parent_id: str | None) -> Any:
        """Render the target row, or None if it is not visible."""
        if parent_id is None:
            return None
        if parent_id not in self.rendered:
            plan = self.plans.get(parent_id[:3])
            row = None if plan is None else self._find(parent_id)
            whole = None if plan is None or row is None else orjson.Fragment(orjson.dumps(plan.render(row.values)))
            self.rendered[parent_id] = whole
        return self.rendered[parent_id]


class Children:
    """A compiled child sub-query."""

    def __init__(self, org: Org, kind: ObjectKind, query: Query) -> None:
        name = query.source.names[0]
        child = kind.children.get(name.lower())
        shown = org.view(child.object) if child else None
        if child is None or shown is None or len(query.source.names) > 1:
            raise no_such_relationship(query.source.at, name)
        self.child: Child = child
        self.plan = Plan(org, shown, [item for item in query.items if not isinstance(item, Aggregate)])
        self._org, self._query = org, query
        self._test: Test | None = None if query.where is None else compile_condition(org, shown, query.where)
        self._order: list[Ordering] = orderings(org, shown, query.order)

    def of(self, parent_id: str, turn: int) -> list[OrgRow]:
        """Return the children of one row. Without ORDER BY, `turn` determines their order."""
        rows = self._org.tables[self.child.object].by_parent(self.child.field).get(parent_id, [])
        if len(rows) > 1:
            start = turn % len(rows)
            rows = rows[start:] + rows[:start]
        if self._test is not None:
            rows = [row for row in rows if self._test(row.values)]
        rows = arrange(rows, self._order)[self._query.offset :]
        return rows if self._query.limit is None else rows[: self._query.limit]


def _typed_parent(org: Org, kind: ObjectKind, item: TypeOf) -> tuple[Field, Parent]:
    """Compile a TYPEOF. An object without a WHEN gets the ELSE, or null. Raises QueryRefusal."""
    names, at = item.relationship.names, item.relationship.at
    link, _, prefixes = follow(org, kind, names[0], at)
    if not link.polymorphic or len(names) > 1:
        raise malformed(at, f"'{'.'.join(names)}' is not a polymorphic relationship")
    plans = dict(_plans(org, link, item))
    if item.otherwise is not None:
        rest = Plan(org, NAME, item.otherwise)
        plans = {prefix: plans.get(prefix, rest) for prefix in prefixes}
    return link, Parent(org, plans)


def _plans(org: Org, link: Field, item: TypeOf) -> Iterator[tuple[str, Plan]]:
    for target, paths in item.whens:
        shown = org.view(target.names[0])
        if shown is None or shown.name not in link.refers_to:
            raise not_supported(target.at, target.names[0])
        yield shown.prefix, Plan(org, shown, paths)
