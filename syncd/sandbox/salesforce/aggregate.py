"""GROUP BY and COUNT: the groups of matching rows, as AggregateResult records (SOQL guide v67)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from syncd.sandbox.salesforce.ids import OBJECTS
from syncd.sandbox.salesforce.org import Org
from syncd.sandbox.salesforce.paths import Read, resolve
from syncd.sandbox.salesforce.refusals import QueryRefusal, SalesforceRefusal, malformed
from syncd.sandbox.salesforce.rows import OrgRow
from syncd.sandbox.salesforce.schema import ObjectKind
from syncd.sandbox.salesforce.soql import Aggregate, Order, Path, Query, TypeOf

MOST_GROUPS = 2000  # of one query: its result has no further pages (SOQL guide v67, GROUP BY considerations)

Json = dict[str, Any]
Group = tuple[tuple[Any, ...], list[OrgRow]]  # the values of its grouped fields, and its rows
Column = Callable[[Group], Any]


def is_grouped(query: Query) -> bool:
    """Tell whether a query returns groups in place of rows. COUNT() alone returns neither."""
    return bool(query.group) or any(isinstance(item, Aggregate) for item in query.items)


def grouped(org: Org, kind: ObjectKind, query: Query, matches: Callable[[Query], list[OrgRow]]) -> Json:
    """Return the groups of the rows that `matches` returns for a query without order and limit."""
    names = [path.names for path in query.group]
    _refuse_items(query, names)
    reads = [_reader(org, kind, path) for path in query.group]
    if query.limit is not None and not query.group:
        raise malformed(query.at, "LIMIT is not allowed in an aggregate query without GROUP BY")
    rows = matches(replace(query, order=(), limit=None, offset=0))
    groups = list(_groups(rows, reads)) or ([] if query.group else [((), rows)])
    for rule in reversed(query.order):
        groups = _sorted(org, kind, query, groups, rule)
    groups = groups[query.offset :][: query.limit]
    if len(groups) > MOST_GROUPS:
        message = "Aggregate query does not support queryMore(), use LIMIT to restrict the results to a single batch"
        raise SalesforceRefusal("EXCEEDED_ID_LIMIT", message)
    columns = list(_columns(org, kind, query, names))
    records = [
        {"attributes": {"type": "AggregateResult"}, **{name: read(group) for name, read in columns}} for group in groups
    ]
    return {"totalSize": len(records), "done": True, "records": records}


def _refuse_items(query: Query, names: list[tuple[str, ...]]) -> None:
    """Raise QueryRefusal for an item that is neither grouped nor counted."""
    for item in query.items:
        if isinstance(item, TypeOf | Query):
            raise malformed(item.at, "TYPEOF and child queries are not allowed in an aggregate query")
        if isinstance(item, Path) and not _place(item, names):
            raise malformed(item.at, f"Field must be grouped or aggregated: {'.'.join(item.names)}")


def _reader(org: Org, kind: ObjectKind, path: Path) -> Read:
    field, read = resolve(org, kind, path)
    if not field.groupable:
        raise QueryRefusal("MALFORMED_QUERY", path.at, f"field '{field.name}' can not be grouped in a query call")
    return lambda values: None if (value := read(values)) == "" else value


def _groups(rows: list[OrgRow], reads: list[Read]) -> Iterator[Group]:
    """Yield the groups in the order of their first rows. Texts that differ in case alone are one group, ids are not."""
    found: dict[tuple[Any, ...], Group] = {}
    for row in rows if reads else ():
        values = tuple(read(row.values) for read in reads)
        key = tuple(value.lower() if isinstance(value, str) and value[:3] not in OBJECTS else value for value in values)
        found.setdefault(key, (values, []))[1].append(row)
    yield from found.values()


def _sorted(org: Org, kind: ObjectKind, query: Query, groups: list[Group], rule: Order) -> list[Group]:
    names = [path.names for path in query.group]
    place = _place(rule.path, names)
    if not rule.function and not place:
        raise malformed(rule.path.at, f"Ordered field must be grouped or aggregated: {'.'.join(rule.path.names)}")
    value = _counted(org, kind, rule.function, rule.path) if rule.function else partial(_value, place - 1)
    empty = [group for group in groups if value(group) is None]
    full = sorted((group for group in groups if value(group) is not None), key=value, reverse=rule.descending)
    return full + empty if rule.nulls_last else empty + full


def _columns(org: Org, kind: ObjectKind, query: Query, names: list[tuple[str, ...]]) -> Iterator[tuple[str, Column]]:
    """Yield the name of each column and the function that reads it. A function without alias is called expr0, …"""
    unnamed = 0
    for item in query.items:
        if isinstance(item, Aggregate):
            yield item.alias or f"expr{unnamed}", _counted(org, kind, item.function, item.path)
            unnamed += not item.alias
        elif isinstance(item, Path):
            field, _ = resolve(org, kind, item)
            yield field.name, partial(_value, _place(item, names) - 1)


def _value(place: int, group: Group) -> Any:
    """Return a grouped field's value. No instant can be grouped, so it needs no form."""
    return group[0][place]


def _counted(org: Org, kind: ObjectKind, function: str, path: Path) -> Callable[[Group], int]:
    """Return a function that counts the rows of a group in which a field is not empty."""
    field, read = resolve(org, kind, path)
    if not field.sortable:
        raise malformed(path.at, f"field '{field.name}' does not support aggregate operator {function}")

    def count(group: Group) -> int:
        values = [value for row in group[1] if (value := read(row.values)) not in (None, "")]
        return len(set(values)) if function == "COUNT_DISTINCT" else len(values)

    return count


def _place(path: Path, names: list[tuple[str, ...]]) -> int:
    """Return the place of a path among the grouped ones, from 1. 0: it is none of them."""
    lower = [tuple(part.lower() for part in each) for each in names]
    wanted = tuple(part.lower() for part in path.names)
    return lower.index(wanted) + 1 if wanted in lower else 0


__all__ = ["grouped", "is_grouped"]
