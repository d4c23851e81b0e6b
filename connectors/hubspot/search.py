"""Read a window of modification time by keyset, while its rows move. Pure except for `ask`.

    page: GTE lo [LTE hi], ascending by hs_lastmodifieddate ─► next lo ─► …
    instant: EQ lo, hs_object_id GT last, ascending by id   ─► … ─► lo + 1 ms

The page token `after` is never used. A record that is edited between two pages leaves its position, so a reader that
pages by offset skips its neighbour. The limit of 10,000 results per query (HubSpot, Search the CRM, 2026-03) therefore
does not matter either. Repeats are dropped here.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.hubspot.ids import by_number
from connectors.hubspot.retry import CHANGED
from syncd.connector import Needed, Ref
from syncd.errors import Malformed
from syncd.fields import from_ms, parse_time, to_ms

Row = Mapping[str, Any]

ID_MOST = 64  # characters; today's ids have 12 digits
LIMIT = 200  # rows per search page, the maximum
LAST = 5  # the next page begins at the earliest of so many rows at a page's end
FLOOR_MS = 1_000  # a bound of exactly 0 made HubSpot answer 500 (Estuary)
GROUP = 1_000  # records hydrated at once: one association request takes 1,000 inputs
GROUP_REFS = 5_000  # most refs in a page, if the ledger has most of them unchanged
TIME = "hs_lastmodifieddate"  # of calls, emails and companies; contacts have another
ID = "hs_object_id"


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Hold the rows of one search."""

    rows: Sequence[tuple[Ref, Row]]
    more: bool  # HubSpot has further rows


@dataclass(frozen=True, slots=True)
class Step:
    """Hold the rows that one search returned for the first time."""

    rows: Sequence[tuple[Ref, Row]]
    safe_ms: int  # everything modified before this has been read


@dataclass(frozen=True, slots=True)
class Group:
    """Hold some refs, ascending, and the rows to read in full."""

    refs: Sequence[Ref]
    rows: Sequence[tuple[Ref, Row]]


Ask = Callable[[Sequence[dict[str, str]], str, int], SearchPage]  # filters, sort (ascending), limit


def search_body(
    filters: Sequence[Mapping[str, Any]],
    sort: str,
    limit: int,
    properties: Sequence[str],
    *,
    direction: str = "ASCENDING",
) -> dict[str, Any]:
    """Return the body of a search. HubSpot accepts 3,000 characters (docs, 2026-03), this stays under 1,200."""
    return {
        "filterGroups": [{"filters": list(filters)}] if filters else [],
        "sorts": [{"propertyName": sort, "direction": direction}] if sort else [],
        "properties": list(properties),
        "limit": limit,
    }


def between(lo: int, hi: int | None) -> list[dict[str, str]]:
    """Filter by modification time, both ends inclusive, epoch milliseconds."""
    bounds = [{"propertyName": TIME, "operator": "GTE", "value": str(max(lo, FLOOR_MS))}]
    return bounds if hi is None else [*bounds, {"propertyName": TIME, "operator": "LTE", "value": str(hi)}]


def search_page(answer: Mapping[str, Any], *, otherwise: datetime) -> SearchPage:
    """Parse a search's answer. Malformed if a row has no id. A row without a time gets `otherwise`."""
    rows = [(read_ref(row, otherwise=otherwise), row) for row in answer["results"]]
    total, paging = answer.get("total"), answer.get("paging")
    more = bool(rows) and isinstance(paging, dict) and bool(paging.get("next"))
    return SearchPage(rows, more and not (isinstance(total, int) and total <= len(rows)))


def read_ref(row: Row, *, otherwise: datetime) -> Ref:
    """Return a row's id and modification time, in whole milliseconds. Malformed if it has no id."""
    crm_id, properties = row.get("id"), row.get("properties")
    if not isinstance(crm_id, str | int) or not 0 < len(str(crm_id)) <= ID_MOST:
        raise Malformed("HubSpot answered with a row without an id", hint=CHANGED)
    shown = properties.get(TIME) if isinstance(properties, dict) else None
    at = parse_time(shown) or parse_time(row.get("updatedAt")) or otherwise
    return Ref(str(crm_id), at.replace(microsecond=at.microsecond // 1000 * 1000) if at.microsecond % 1000 else at)


def walk(ask: Ask, *, since: int, until: Callable[[], int | None], limit: int = LIMIT) -> Iterator[Step]:
    """Yield the rows modified from `since` to `until`, epoch milliseconds, page by page.

    `until` may return None before the first answer. In that case the first query has no upper bound. Rows after
    `until` are dropped, and the next pass reads them.
    """
    lo, hi = since, until()
    seen: set[tuple[str, int]] = set()
    while hi is None or lo <= hi:
        page = ask(between(lo, hi), TIME, limit)
        end = until()
        assert end is not None, "the first answer fixes the pass's start"
        bounded, hi = hi is not None, end if hi is None else hi
        fresh = _fresh(page.rows, seen, since=since, until=end)
        lo, hi, drained = _advance(page, lo=lo, hi=hi, end=end, bounded=bounded)
        seen = {key for key in seen | {(ref.crm_id, to_ms(ref.modified_at)) for ref, _ in fresh} if key[1] >= lo}
        yield Step(fresh, lo)
        if drained:
            for rows in _drain(ask, lo, limit):
                yield Step(_fresh(rows, seen, since=since, until=end), lo)
            lo, hi = lo + 1, end


def _advance(page: SearchPage, *, lo: int, hi: int, end: int, bounded: bool) -> tuple[int, int, bool]:
    """Return the next lo and hi, and whether the instant lo must be drained by id.

    The next page begins at the earliest time of the last five rows, not at the last row's. An answer may show a
    property that is newer than the index it was sorted by, and a row edited just now must not make the reader skip
    its neighbours. If no row shows a time between lo and hi (during a bulk edit), the range is halved until it is
    drained.
    """
    if not page.more:
        return hi + 1, end, False
    times = [at for at in (to_ms(ref.modified_at) for ref, _ in page.rows) if lo <= at <= hi][-LAST:]
    if times and min(times) > lo:
        return min(times), hi, False
    if times or lo == hi:
        return lo, hi, True
    return (lo, lo + (hi - lo) // 2, False) if bounded else (lo, hi, False)


def _drain(ask: Ask, at: int, limit: int) -> Iterator[Sequence[tuple[Ref, Row]]]:
    """Yield every row of one instant by ascending id. Bulk jobs edit tens of thousands at once (airbyte#43317)."""
    last = 0
    while True:
        filters = [
            {"propertyName": TIME, "operator": "EQ", "value": str(max(at, FLOOR_MS))},
            {"propertyName": ID, "operator": "GT", "value": str(last)},
        ]
        page = ask(filters, ID, limit)
        yield page.rows
        if not page.more:
            return
        newest = max(by_number(ref.crm_id)[0] for ref, _ in page.rows)
        if newest <= last:
            raise Malformed("HubSpot, search: rows come back that the filter excludes", hint=CHANGED)
        last = newest


def _fresh(
    rows: Sequence[tuple[Ref, Row]], seen: Collection[tuple[str, int]], *, since: int, until: int
) -> list[tuple[Ref, Row]]:
    timed = [(ref, row, to_ms(ref.modified_at)) for ref, row in rows]
    return [(ref, row) for ref, row, at in timed if since <= at <= until and (ref.crm_id, at) not in seen]


def gather(steps: Iterator[Step], needed: Needed, *, group: int = GROUP, refs: int = GROUP_REFS) -> Iterator[Group]:
    """Collect steps into groups of `group` needed rows. The last group may be smaller.

    No group holds a ref newer than `safe_ms`, not even the last one if the steps end early. Of a row that is not
    needed, only the ref is kept.
    """
    pool: dict[str, tuple[Ref, Row | None]] = {}
    wanted = safe_ms = 0
    for step in steps:
        safe_ms = step.safe_ms
        ids = frozenset(needed([ref for ref, _ in step.rows])) if step.rows else frozenset()
        for ref, row in step.rows:
            kept = row if ref.crm_id in ids else None
            _, before = pool.pop(ref.crm_id, (None, None))
            wanted += (kept is not None) - (before is not None)
            pool[ref.crm_id] = (ref, kept)
        while wanted >= group or len(pool) >= refs:
            cut = _cut(pool, safe_ms=step.safe_ms, group=group, refs=refs)
            if cut is None:
                break
            wanted -= len(cut.rows)
            for ref in cut.refs:
                del pool[ref.crm_id]
            yield cut
    rest = [entry for entry in sorted(pool.values(), key=_by_time) if entry[0].modified_at <= from_ms(safe_ms)]
    if rest:
        yield _group(rest)


def _cut(pool: Mapping[str, tuple[Ref, Row | None]], *, safe_ms: int, group: int, refs: int) -> Group | None:
    """Return a full group from the pool's early end. None if the safe rows do not fill one yet.

    Refs of the safe instant itself are included, because the next read begins at it, not after it.
    """
    taken: list[tuple[Ref, Row | None]] = []
    wanted = 0
    safe_at = from_ms(safe_ms)
    for entry in sorted(pool.values(), key=_by_time):
        if entry[0].modified_at > safe_at:
            break
        taken.append(entry)
        wanted += entry[1] is not None
        if wanted == group or len(taken) == refs:
            return _group(taken)
    return None


def _group(entries: Sequence[tuple[Ref, Row | None]]) -> Group:
    return Group([ref for ref, _ in entries], [(ref, row) for ref, row in entries if row is not None])


def _by_time(entry: tuple[Ref, Row | None]) -> Any:
    return entry[0].modified_at
