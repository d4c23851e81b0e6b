"""HubSpot's search over one table: limits, operators, order, and random order among equals."""

import operator
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd, inf
from typing import Any

from syncd.sandbox.hubspot.properties import UNFILTERABLE, PropertyKind
from syncd.sandbox.hubspot.records import Index, IndexEntry, PortalRecord, PortalTable
from syncd.sandbox.standin.clock import millis

MAX_GROUPS, MAX_FILTERS, MAX_FILTERS_IN_ALL = 5, 6, 18  # HubSpot search (docs, 2026-03)
DEFAULT_LIMIT, MAX_LIMIT = 10, 200  # rows per page (docs, 2026-03)
MAX_RESULTS = 10_000  # rows per query over all pages (docs, 2026-03)

_TOKEN = re.compile(r"[^\s,;<>()\[\]{}\"]+")

Json = dict[str, Any]
Test = Callable[[PortalRecord], bool]
Bound = tuple[float, float]


class HubSpotRefusal(Exception):
    """A request that HubSpot refuses, with its message and status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class SearchPage:
    """One page of ids, and the position of the next."""

    total: int
    ids: list[int]
    next_after: int | None  # given even if the next page would be refused, as at HubSpot


@dataclass(slots=True)
class IndexRange:
    """A range of an index that contains every match."""

    entries: list[IndexEntry]
    low: int
    high: int
    order: tuple[str, ...]  # the properties by which the entries are sorted
    rest: Test | None  # the remaining test of each row, if any


def search(table: PortalTable, body: Json, *, turn: int) -> SearchPage:
    """Run one search. `turn` determines the order among equals, so that each turn has another order."""
    limit, after = _page_bounds(body)
    groups = _groups(table, body.get("filterGroups") or [])
    name, descending = _sort(table, body.get("sorts") or [])
    entries, low, high = _ordered(table, groups, name)
    total = high - low
    last = min(after + limit, total)
    ranks = [high - 1 - i for i in range(after, last)] if descending else list(range(low + after, low + last))
    by_id = name == "hs_object_id"
    ids = [entries[rank][1] for rank in ranks] if by_id else _shuffled(entries, low, high, ranks, turn)
    return SearchPage(total, ids, after + limit if after + limit < total else None)


def _page_bounds(body: Json) -> tuple[int, int]:
    limit = body.get("limit", DEFAULT_LIMIT)
    if not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise HubSpotRefusal(f"limit must be between 1 and {MAX_LIMIT}, was {limit!r}")
    after = str(body.get("after") or "0")
    if not after.isdecimal():
        raise HubSpotRefusal(f"after must be an integer, was {after!r}")
    if int(after) + limit > MAX_RESULTS:
        raise HubSpotRefusal(f"after + limit must not exceed {MAX_RESULTS}")
    return limit, int(after)


def _groups(table: PortalTable, groups: Sequence[Json]) -> list[list[Json]]:
    filters = [group.get("filters") or [] for group in groups]
    if len(groups) > MAX_GROUPS:
        raise HubSpotRefusal(f"at most {MAX_GROUPS} filterGroups, got {len(groups)}")
    if any(len(group) > MAX_FILTERS for group in filters) or sum(map(len, filters)) > MAX_FILTERS_IN_ALL:
        raise HubSpotRefusal(f"at most {MAX_FILTERS} filters a group and {MAX_FILTERS_IN_ALL} in all")
    for condition in (condition for group in filters for condition in group):
        _check(table, condition)
    return filters


def _check(table: PortalTable, condition: Json) -> None:
    name, how = condition.get("propertyName"), condition.get("operator")
    if name not in table.kinds or name in UNFILTERABLE.get(table.name, ()):
        raise HubSpotRefusal(f"There was a problem with the request: no filter on {name!r}")
    if how not in NEEDS:
        raise HubSpotRefusal(f"operator {how!r} is not one of {', '.join(NEEDS)}")
    for needed in NEEDS[how]:
        if condition.get(needed) in (None, "", []):
            raise HubSpotRefusal(f"operator {how} needs {needed}")
    if name == table.modified and how in ("GT", "GTE", "BETWEEN") and _value(table, condition) == 0:
        raise HubSpotRefusal(
            "internal error", status=500
        )  # seen by Estuary: a lower bound of epoch 0 breaks the search


def _sort(table: PortalTable, sorts: Sequence[Any]) -> tuple[str, bool]:
    """Return the sort property and its direction. Without a sort, HubSpot sorts by creation, oldest first."""
    if len(sorts) > 1:
        raise HubSpotRefusal("only one sort is allowed")
    rule = sorts[0] if sorts else {"propertyName": table.created}
    if isinstance(rule, str):
        rule = {"propertyName": rule.lstrip("-"), "direction": "DESCENDING" if rule.startswith("-") else "ASCENDING"}
    name, direction = rule.get("propertyName"), rule.get("direction", "ASCENDING")
    if name not in table.kinds:
        raise HubSpotRefusal(f"There was a problem with the request: no sort by {name!r}")
    if direction not in ("ASCENDING", "DESCENDING"):
        raise HubSpotRefusal(f"direction {direction!r} is neither ASCENDING nor DESCENDING")
    return str(name), direction == "DESCENDING"


def _ordered(table: PortalTable, groups: list[list[Json]], name: str) -> tuple[list[IndexEntry], int, int]:
    """Return entries sorted by `name`, and the range of them that matches."""
    span = _span(table, groups, name)
    if span.rest is None and name in span.order:
        return span.entries, span.low, span.high
    rows = (table.shown[crm_id] for _, crm_id in span.entries[span.low : span.high])
    read = _reader(table, name)
    keyed = [((read(row) is None, read(row)), row.id) for row in rows if span.rest is None or span.rest(row)]
    if name not in span.order:
        keyed.sort()
    return keyed, 0, len(keyed)


def _span(table: PortalTable, groups: list[list[Json]], name: str) -> IndexRange:
    """Return the index range that contains every match."""
    conditions = groups[0] if len(groups) == 1 else []
    several = _any(table, groups) if len(groups) > 1 else None
    times, others = _range(table, conditions, table.modified)
    ids, rest = _range(table, others, "hs_object_id")
    first, last = ids or (0, inf)
    since, until = times or (-inf, inf)
    if times is None and (ids is not None or name != table.modified):
        return _cut(table.by_id, (first, -1), (last, inf), ("hs_object_id",), _all(table, rest) or several)
    if since == until:  # within one instant the index is sorted by id
        return _cut(table.by_time, (since, first), (since, last), (table.modified, "hs_object_id"), _all(table, rest))
    return _cut(table.by_time, (since, -1), (until, inf), (table.modified,), _all(table, others) or several)


def _cut(index: Index, first: Bound, last: Bound, order: tuple[str, ...], rest: Test | None) -> IndexRange:
    entries = index.entries
    low, high = bisect_left(entries, first), bisect_right(entries, last)
    return IndexRange(entries, low, max(low, high), order, rest)


def _range(table: PortalTable, conditions: list[Json], name: str) -> tuple[tuple[float, float] | None, list[Json]]:
    """Split the conditions into the inclusive bounds (first, last) of `name`, and the others."""
    first, last, rest = -inf, inf, []
    for condition in conditions:
        how = condition["operator"]
        if condition["propertyName"] != name or how not in ("EQ", "GT", "GTE", "LT", "LTE", "BETWEEN"):
            rest.append(condition)
            continue
        value = _value(table, condition)
        if how in ("EQ", "GT", "GTE", "BETWEEN"):
            first = max(first, value + (how == "GT"))
        if how in ("EQ", "LT", "LTE", "BETWEEN"):
            last = min(last, _value(table, condition, "highValue") if how == "BETWEEN" else value - (how == "LT"))
    return (None if (first, last) == (-inf, inf) else (first, last)), rest


def _any(table: PortalTable, groups: list[list[Json]]) -> Test:
    tests = [_all(table, group) or (lambda row: True) for group in groups]
    return lambda row: any(test(row) for test in tests)


def _all(table: PortalTable, conditions: list[Json]) -> Test | None:
    if not conditions:
        return None
    tests = [_test(table, condition) for condition in conditions]
    return lambda row: all(test(row) for test in tests)


# The keys that each operator needs beside the property, and its comparison, which never gets None.
NEEDS: dict[str, tuple[str, ...]] = {
    "EQ": ("value",), "NEQ": ("value",), "LT": ("value",), "LTE": ("value",), "GT": ("value",), "GTE": ("value",),
    "BETWEEN": ("value", "highValue"),
    "IN": ("values",),
    "NOT_IN": ("values",),
    "CONTAINS_TOKEN": ("value",),
    "HAS_PROPERTY": (),
    "NOT_HAS_PROPERTY": (),
}  # fmt: skip
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "EQ": operator.eq, "NEQ": operator.ne, "LT": operator.lt, "LTE": operator.le, "GT": operator.gt, "GTE": operator.ge,
}  # fmt: skip


def _test(table: PortalTable, condition: Json) -> Test:
    """Compile one condition. A property without a value satisfies only NOT_HAS_PROPERTY."""
    how, read = condition["operator"], _reader(table, condition["propertyName"])
    if how in ("HAS_PROPERTY", "NOT_HAS_PROPERTY"):
        return lambda row: (read(row) is None) == (how == "NOT_HAS_PROPERTY")
    if how in ("IN", "NOT_IN"):
        # HubSpot search: IN on strings needs lower-case values (docs), so these are not converted.
        kind = table.kinds[condition["propertyName"]]
        values = {str(value) if kind == "string" else _convert(kind, value) for value in condition["values"]}
        return lambda row: (value := read(row)) is not None and (value in values) == (how == "IN")
    if how == "CONTAINS_TOKEN":
        return _has_token(read, str(condition["value"]))
    wanted = _value(table, condition)
    if how == "BETWEEN":
        high = _value(table, condition, "highValue")
        return lambda row: (value := read(row)) is not None and bool(wanted <= value <= high)
    compare = COMPARE[how]
    return lambda row: (value := read(row)) is not None and compare(value, wanted)


def _has_token(read: Callable[[PortalRecord], Any], wanted: str) -> Test:
    """Compile CONTAINS_TOKEN, without case; `*` stands for any characters (docs, 2026-03).

    HubSpot does not document its tokens. Here they end at blanks, commas, semicolons and brackets.
    """
    pattern = re.compile(".*".join(map(re.escape, wanted.lower().split("*"))), re.DOTALL)
    return lambda row: any(pattern.fullmatch(token) for token in _TOKEN.findall(str(read(row) or "").lower()))


def _reader(table: PortalTable, name: str) -> Callable[[PortalRecord], Any]:
    """Return a function that reads a property of a row as its type, or None without a value."""
    if name == table.modified:
        return lambda row: row.modified
    if name == table.created:
        return lambda row: row.created
    if name == "hs_object_id":
        return lambda row: row.id
    kind = table.kinds[name]
    return lambda row: _typed(kind, row.values.get(name))


def _value(table: PortalTable, condition: Json, key: str = "value") -> Any:
    return _convert(table.kinds[condition["propertyName"]], condition[key])


def _convert(kind: PropertyKind, value: Any) -> Any:
    try:
        return CONVERT[kind](str(value))
    except ValueError:
        raise HubSpotRefusal(f"{value!r} is not a valid {kind}") from None


def _typed(kind: PropertyKind, raw: str | None) -> Any:
    if raw is None or raw == "":
        return None
    try:
        return CONVERT[kind](raw)
    except ValueError:
        return None


# HubSpot search: enumerations are case-sensitive, other text is not (docs, 2026-03)
CONVERT: dict[PropertyKind, Callable[[str], Any]] = {
    "datetime": lru_cache(4096)(millis), "number": float, "id": int, "enum": str, "string": str.lower,
}  # fmt: skip


def _shuffled(entries: list[IndexEntry], low: int, high: int, ranks: list[int], turn: int) -> list[int]:
    """Return ids by rank, with equals in an order that `turn` determines, without a walk over a big tie.

    HubSpot allows one sort rule, so it promises no order within one millisecond.
    """
    ids, first, end, step = [], 0, 0, 1
    for rank in ranks:
        if not first <= rank < end:  # a new tie begins
            key = entries[rank][0]
            if (rank + 1 == high or entries[rank + 1][0] != key) and (rank == low or entries[rank - 1][0] != key):
                ids.append(entries[rank][1])  # the usual case needs no bisection
                continue
            first, end = max(low, bisect_left(entries, (key, -1))), min(high, bisect_right(entries, (key, inf)))
            step = _step(end - first, turn)
        ids.append(entries[first + ((rank - first) * step + turn) % (end - first)][1])
    return ids


def _step(size: int, turn: int) -> int:
    """Return a stride that visits each of `size` positions once."""
    step = 1 + turn * 7919 % size
    while gcd(step, size) != 1:
        step += 1
    return step
