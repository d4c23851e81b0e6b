"""Read a window to its end: locators, windows that are too large, rows that move while they are read. Pure but
for the two questions it asks.

    window ─► query ─► page ─► page ─► … ─► end        pages follow by locator
                 │        └─ the locator dies: begin again behind what is certain, then halve
                 └─ too large: halve it, read both halves

**How far a page vouches.** Rows come in the order of (SystemModstamp, Id) as of the query,
but show what they are when the page is made: an edit, or a long transaction that commits,
makes a row later than its place. Shown times only ever are too late, so everything up to
the earliest time that is shown *behind* a place has been read at that place. A page is
held back until the next one is there, and vouches no further than that. Times that a
transaction of this very moment may have given count for nothing: one that moves all of
a page tells nothing of where its rows stood.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from connectors.salesforce.paging import More, kept, pages
from connectors.salesforce.retry import CHANGED, LocatorGone, QueryTimeout
from syncd.connector import Ref
from syncd.errors import Malformed
from syncd.fields import parse_text, parse_time

SECOND = timedelta(seconds=1)  # what SystemModstamp shows
LONGEST_TRANSACTION = timedelta(minutes=15)  # Apex: 10 minutes (Apex limits, v67); what commits then is stamped so late
AT_ONCE = 1_000  # rows in what is handed on: bounds memory where Salesforce gives 2,000

Row = Mapping[str, Any]
Rows = list[tuple[Ref, Row]]
Answer = Mapping[str, Any]  # {records, done, nextRecordsUrl}
Ask = Callable[[datetime, datetime], Answer]  # a window's query


@dataclass(frozen=True, slots=True)
class Read:
    """Rows in order, and how far they vouch: everything up to `until` stands here or before."""

    rows: Sequence[tuple[Ref, Row]]
    complete_until: datetime
    last: bool = False  # of the whole window


def read(
    ask: Ask, more: More, *, since: datetime, until: datetime, children: str | None = None,
    at_most: Callable[[], timedelta | None] = lambda: None, now: datetime | None = None,
) -> Iterator[Read]:  # fmt: skip
    """Yield what a window holds, both ends inclusive; at least one Read, the last of which vouches to its end.

    `children` names the child query whose results may have pages of their own; `at_most`
    tells the longest stretch to ask for at once, as of now. `now` is the CRM's present,
    where that is not the window's end.
    """
    since, until = since.replace(microsecond=0), until.replace(microsecond=0)
    if until < since:  # by a clock that was set back: nothing can be there yet
        yield Read((), until, last=True)
        return
    left = [(since, until)]
    died_at: datetime | None = None
    while left:
        start, end = left.pop()
        longest = at_most()
        if longest and end - start >= longest:
            left.append((start + longest, end))
            end = start + longest - SECOND
        certain = start
        try:
            for found in _completed(_pages(ask, more, start, end, children), start, end, now or until):
                certain = max(certain, found.complete_until)
                yield replace(found, complete_until=certain, last=not left and found.last)
        except (QueryTimeout, LocatorGone) as error:
            if isinstance(error, LocatorGone) and died_at != certain:
                died_at = certain
                left.append((certain, end))
            elif end - certain < SECOND:
                raise
            else:
                left += reversed(halves(certain, end))


def halves(start: datetime, end: datetime) -> tuple[tuple[datetime, datetime], tuple[datetime, datetime]]:
    """Return both halves of a stretch of a second or longer, the earlier first; they share no second and leave none."""
    middle = start + (end - start) // 2 // SECOND * SECOND
    return (start, middle), (middle + SECOND, end)


def _pages(ask: Ask, more: More, start: datetime, end: datetime, children: str | None) -> Iterator[Rows]:
    for answer in pages(ask(start, end), more):
        yield [(read_ref(row), with_all_children(strip_attributes(row), more, children)) for row in answer["records"]]


def _completed(pages: Iterator[Rows], start: datetime, end: datetime, now: datetime) -> Iterator[Read]:
    """Hold each page back until the next is there, and hand it on in parts that say how far they vouch."""
    held: Rows | None = None
    certain, moved = start, min(end, now - LONGEST_TRANSACTION)
    for page in filter(None, pages):
        if held:
            # What shows `moved` or later may have been given that since the query.
            certain = max(certain, min((ref.modified_at for ref, _ in page if ref.modified_at < moved), default=start))
            yield from _parts(held, certain)
        held = page
    yield from _parts(held or [], end, last=True)


def _parts(page: Rows, behind: datetime, *, last: bool = False) -> Iterator[Read]:
    """Yield a page in parts; `behind` is the earliest time shown behind it, or of the `last` the end."""
    found: list[Read] = []
    starts = range(0, len(page), AT_ONCE) or range(1)
    for start in reversed(starts):
        part = page[start : start + AT_ONCE]
        own = part[-1][0].modified_at if part else behind
        ends = last and not found
        found.append(Read(part, behind if ends else min(own, behind), ends))
        behind = min((behind, *(ref.modified_at for ref, _ in part)))
    return reversed(found)


def read_ref(row: Row) -> Ref:
    """Return a row's id and stamp; Malformed where it has none, which a query that asks for both cannot give."""
    crm_id, modified_at = parse_text(row.get("Id")), parse_time(row.get("SystemModstamp"))
    if crm_id is None or modified_at is None:
        raise Malformed("Salesforce: a row without Id or SystemModstamp", hint=CHANGED)
    return Ref(crm_id, modified_at)


def strip_attributes(row: dict[str, Any]) -> Row:
    """Remove a row's own `attributes` (type and URL) and its parents', which take half of its memory.

    Most are gone before a page is parsed (`retry.ATTRIBUTES`). This is for those that are written another way.
    """
    if row.pop("attributes", None) is None:
        return row
    for parent in [value for value in row.values() if isinstance(value, dict)]:
        strip_attributes(parent)
    return row


def with_all_children(row: Row, more: More, children: str | None) -> Row:
    """Return a row with all of its children: where a page is full, theirs go on behind a locator of their own."""
    found = row.get(children) if children else None
    if not isinstance(found, dict) or found.get("done") is not False:
        return row
    records = list(kept(found, more))
    return {**row, str(children): {"totalSize": len(records), "done": True, "records": records}}
