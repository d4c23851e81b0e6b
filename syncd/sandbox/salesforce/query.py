"""Queries: the matching rows, their order, and one page of them at a time."""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Any

from syncd.sandbox.salesforce.aggregate import grouped, is_grouped
from syncd.sandbox.salesforce.locators import Locator
from syncd.sandbox.salesforce.order import arrange, orderings
from syncd.sandbox.salesforce.org import Org
from syncd.sandbox.salesforce.plan import Plan
from syncd.sandbox.salesforce.refusals import QueryRefusal, SalesforceRefusal, not_supported
from syncd.sandbox.salesforce.rows import OrgRow
from syncd.sandbox.salesforce.schema import ObjectKind
from syncd.sandbox.salesforce.soql import Aggregate, Combined, Compare, Condition, Query, parse
from syncd.sandbox.salesforce.where import compile_condition, wanted

MAX_OFFSET = 2000  # SOQL guide v67

Json = dict[str, Any]


def run(org: Org, text: str, *, base: str, verb: str, page_size: int, turn: int) -> Json:
    """Run a query and return its first page. Raises SalesforceRefusal.

    `base` is the versioned path of URLs, `verb` is query or queryAll. `turn` determines the order without ORDER BY.
    """
    try:
        return _run(org, parse(text), base, verb, page_size, turn)
    except QueryRefusal as unparsed:
        raise unparsed.within(text) from None


def _run(org: Org, query: Query, base: str, verb: str, page_size: int, turn: int) -> Json:
    kind = org.view(query.source.names[0])
    if kind is None or len(query.source.names) > 1:
        raise not_supported(query.source.at, ".".join(query.source.names))
    if query.offset > MAX_OFFSET:
        raise SalesforceRefusal("NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {MAX_OFFSET}")
    if is_grouped(query):
        return grouped(
            org, kind, query, lambda plain: _matches(org, kind, plain, everything=verb == "queryAll", turn=turn)
        )
    plan = Plan(org, kind, [item for item in query.items if not isinstance(item, Aggregate)])
    everything = verb == "queryAll"
    rows = _matches(org, kind, query, everything=everything, turn=turn)[query.offset :]
    rows = rows if query.limit is None else rows[: query.limit]
    if query.count:
        return {"totalSize": len(rows), "done": True, "records": []}
    return page(org, Locator(plan, rows, everything, page_size, org.clock.ms()), 0, base=base, verb=verb)


def page(org: Org, locator: Locator, place: int, *, base: str, verb: str) -> Json:
    """Render the rows from `place` on: at least one, and as many as fit with their children."""
    plan, shown, rows = locator.plan, org.tables[locator.plan.kind.name].shown, locator.rows
    plan.fresh(base, sum(table.changes for table in org.tables.values()))
    records: list[Json] = []
    left = locator.page_size
    while place < len(rows) and left > 0:
        row = shown.get(rows[place].id) if org.live_locators else rows[place]
        if row is not None and (
            locator.everything or not row.values.get("IsDeleted")
        ):  # otherwise the page is one row shorter
            families = [(children, children.of(row.id, place)) for children in plan.children]
            if records and left == 1 and any(family for _, family in families):
                break
            record = plan.render(row.values)
            left -= 1
            for children, family in families:
                taken = min(len(family), max(1, left))
                left -= taken
                record[children.child.name] = _family(org, children.plan, family, taken, locator, base, verb)
            records.append(record)
        place += 1
    answer: Json = {"totalSize": len(rows), "done": place >= len(rows)}
    if place < len(rows):
        answer["nextRecordsUrl"] = f"{base}/{verb}/{org.locators.offer(locator, place)}"
    return {**answer, "records": records}


def _family(
    org: Org, plan: Plan, rows: list[OrgRow], taken: int, parents: Locator, base: str, verb: str
) -> Json | None:
    """Render the first `taken` children of one row, and a URL for the others."""
    if not rows:
        return None
    answer: Json = {"totalSize": len(rows), "done": taken == len(rows)}
    if taken < len(rows):
        rest = Locator(plan, rows, parents.everything, parents.page_size, parents.born)
        answer["nextRecordsUrl"] = f"{base}/{verb}/{org.locators.offer(rest, taken)}"
    return {**answer, "records": [plan.render(row.values) for row in rows[:taken]]}


def _is_archived(org: Org, row: OrgRow) -> bool:
    """Return whether a task, or the task that a person is related to, is archived."""
    task = org.tables["Task"].shown.get(row.values.get("TaskId") or "")
    return bool((row if task is None else task).values.get("IsArchived"))


def _matches(org: Org, kind: ObjectKind, query: Query, *, everything: bool, turn: int) -> list[OrgRow]:
    """Return the matching rows, sorted."""
    test = None if query.where is None else compile_condition(org, kind, query.where)
    order = orderings(org, kind, query.order)
    rows, by_id = _candidates(org, kind, query.where, everything=everything)
    if not everything:
        rows = [row for row in rows if not row.values.get("IsDeleted") and not _is_archived(org, row)]
    if test is not None:
        rows = [row for row in rows if test(row.values)]
    if not by_id:
        _refuse_many(org, len(rows), everything=everything)
    wished = [(ordering.field.name, ordering.descending) for ordering in order]
    if not by_id and wished[:2] == [("SystemModstamp", False), ("Id", False)] and _own(query):
        return rows  # the candidates are sorted like this
    random.Random(turn).shuffle(rows)
    return arrange(rows, order)


def _own(query: Query) -> bool:
    return all(len(rule.path.names) == 1 for rule in query.order[:2])


def _refuse_many(org: Org, count: int, *, everything: bool) -> None:
    if everything and org.too_large_rows is not None and count > org.too_large_rows:
        message = f"exceeded {org.too_large_rows} distinct who/what's"
        raise SalesforceRefusal("OPERATION_TOO_LARGE", message)
    if org.query_timeout_rows is not None and count > org.query_timeout_rows:
        raise SalesforceRefusal("QUERY_TIMEOUT", "Your query request was running for too long")


def _candidates(org: Org, kind: ObjectKind, where: Condition | None, *, everything: bool) -> tuple[list[OrgRow], bool]:
    """Return rows that include all matches, and whether they were found by an id or parent id.

    Otherwise they are sorted by (SystemModstamp, Id). The full test runs afterwards, so extra rows do no harm.
    """
    table = org.tables[kind.name]
    entries = table.by_stamp
    low, high = 0, len(entries)
    for condition in _demands(where):
        field = kind.fields.get(condition.path.names[0].lower())
        if len(condition.path.names) > 1 or field is None:
            continue
        if field.name == "Id" and condition.operator in ("=", "IN"):
            ids = dict.fromkeys(wanted(field, literal) for literal in condition.literals)
            return [table.shown[row_id] for row_id in ids if row_id in table.shown], True
        if field.type == "reference" and condition.operator in ("=", "IN") and not everything:
            parents = dict.fromkeys(wanted(field, literal) for literal in condition.literals)
            if None not in parents:
                children = table.by_parent(field.name)
                return [row for parent in parents for row in children.get(parent, ())], True
        if field.name == "SystemModstamp" and condition.literals[0].kind == "datetime":
            low, high = _narrowed(entries, condition, low, high)
    return [table.shown[row_id] for _, row_id in entries[low:high]], False


def _demands(where: Condition | None) -> Iterator[Compare]:
    """Yield the comparisons that every match satisfies."""
    if isinstance(where, Compare):
        yield where
    elif isinstance(where, Combined) and where.word == "AND":
        for part in where.parts:
            yield from _demands(part)


def _narrowed(entries: list[tuple[int, str]], condition: Compare, low: int, high: int) -> tuple[int, int]:
    bound, how = condition.literals[0].value, condition.operator
    before, after = bisect_left(entries, (bound, "")), bisect_right(entries, (bound, "~"))
    if how in ("=", ">", ">="):
        low = max(low, after if how == ">" else before)
    if how in ("=", "<", "<="):
        high = min(high, before if how == "<" else after)
    return low, max(low, high)
