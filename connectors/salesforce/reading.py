"""Read a window to its end, by locators, while its rows move. Pure except for `ask`, `more` and `refs`.

    window ─► query ─► page ─► page ─► … ─► end        pages follow by locator
                 │        └─ the locator dies: begin again after what is complete, then halve
                 └─ too large: halve it, read both halves
                          └─ one second: refs alone, by Id (seconds.py)

A window is halved here only if it is too much or too slow, or if its locators die. If it fails in another way, one of
its rows may be the cause. The core cuts it then, in the next pass, and books what remains as a gap. Both end in windows
of one second. If a further page fails, the rest of its query counts as gone: the next query may have smaller pages.

**Up to when a page is complete.** Rows come in the order of (SystemModstamp, Id) as of the query, but show their values
as of the page. After an edit, or the commit of a long transaction, a row shows a later time than its position. A shown
time can be newer than the row's position, never older. So everything up to the earliest time shown *after* a position
has been read at that position. A page is held back until the next one is there, and is complete up to that time. Times
that a transaction still in progress may have given do not count: one that moves all rows of a page says nothing about
their positions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from connectors.salesforce.paging import More, kept, pages
from connectors.salesforce.retry import CULPABLE, LocatorGone, NotServed
from connectors.salesforce.seconds import AfterId, read_ref, refs_by_id
from syncd.connector import Ref, Store
from syncd.errors import Unavailable
from syncd.isolation import AdaptiveSize

SECOND = timedelta(seconds=1)  # the resolution of SystemModstamp
LONGEST_TRANSACTION = timedelta(minutes=15)  # Apex: 10 minutes (Apex limits, v67); what commits then is stamped so late
LONGEST_S = 3653 * 86_400  # of a window, in seconds: no limit
SHORT_S = 43_200  # the daily sweep makes a limit longer, so a shorter one is today's outage or a slow org
SEEN_MOST = 50_000  # refs that are remembered, so that a window shows no record twice. A repetition does no harm
AT_ONCE = 1_000  # rows per Read: bounds memory, because Salesforce's pages have 2,000

Row = Mapping[str, Any]
Rows = list[tuple[Ref, Row]]
Answer = Mapping[str, Any]  # {records, done, nextRecordsUrl}
Ask = Callable[[datetime, datetime], Answer]  # a window's query
AskRefs = Callable[[datetime], AfterId]  # the queries for the refs of one second


@dataclass(frozen=True, slots=True)
class Read:
    """Hold rows in order. Everything up to `complete_until` is in this Read or an earlier one."""

    rows: Sequence[tuple[Ref, Row]]
    complete_until: datetime
    last: bool = False  # of the whole window
    unread: Sequence[Ref] = ()  # refs whose rows are still to be read, by id


def window_size(store: Store, stream: str) -> AdaptiveSize:
    """Return the longest window, in seconds, to request at once of a stream, if an org is too slow for all of it.

    After a night of time-outs a year is read in about thirty queries.
    """
    return AdaptiveSize(store, f"stretch_s.{stream}", LONGEST_S)


def unlimited_window(store: Store, stream: str) -> AdaptiveSize:
    """Forget a stream's limit, and return the new one."""
    store.put(f"stretch_s.{stream}", None)
    return window_size(store, stream)


def read(
    ask: Ask, more: More, refs: AskRefs, *, since: datetime, until: datetime, children: str | None = None,
    at_most: Callable[[], timedelta] = lambda: timedelta(seconds=LONGEST_S), now: datetime | None = None,
) -> Iterator[Read]:  # fmt: skip
    """Yield the rows of a window, both ends inclusive, in at least one Read. The last is complete up to its end.

    `children` names the child query whose results may have pages of their own. `at_most` returns the longest window to
    request at once. `now` is the CRM's time, if that is not the window's end.
    """
    since, until = since.replace(microsecond=0), until.replace(microsecond=0)
    if until < since:  # a clock was set back: there can be no rows yet
        yield Read((), until, last=True)
        return
    left = [(since, until)]
    died_at: datetime | None = None
    recent: list[Ref] = []  # the refs so far that the next query may show again
    while left:
        start, end = left.pop()
        longest = at_most()
        if end - start >= longest:
            left.append((start + longest, end))
            end = start + longest - SECOND
        certain, seen = start, set(recent)
        try:
            for found in _completed(_pages(ask, more, start, end, children), start, end, now or until):
                if found.complete_until > certain:
                    certain = found.complete_until
                    recent = [ref for ref in recent if ref.modified_at >= certain]
                rows = [each for each in found.rows if each[0] not in seen] if seen else found.rows
                recent += [ref for ref, _ in rows if ref.modified_at >= certain]
                yield Read(rows, certain, last=not left and found.last)
                if len(recent) > SEEN_MOST:
                    recent.clear()
        except CULPABLE as error:
            if end - start < SECOND:
                yield from _one_second(refs(start), start, end, seen.union(recent), error, last=not left)
            elif isinstance(error, NotServed):
                raise
            elif isinstance(error, LocatorGone) and died_at != certain:
                died_at = certain
                left.append((certain, end))
            elif end - certain < SECOND:
                left.append((end, end))
            else:
                left += reversed(halves(certain, end))


def _one_second(
    ask: AfterId, start: datetime, end: datetime, seen: Set[Ref], error: Unavailable, *, last: bool
) -> Iterator[Read]:
    """Yield the refs of one second by Id, without those of `seen`. `error` is why its rows cannot be read at once."""
    for some in refs_by_id(ask, after="", most=AT_ONCE, error=error):
        yield Read((), start, unread=[ref for ref in some if ref not in seen])
    yield Read((), end, last=last)


def halves(start: datetime, end: datetime) -> tuple[tuple[datetime, datetime], tuple[datetime, datetime]]:
    """Return both halves of a window of a second or longer, the earlier first, without overlap or gap."""
    middle = start + (end - start) // 2 // SECOND * SECOND
    return (start, middle), (middle + SECOND, end)


def _pages(ask: Ask, more: More, start: datetime, end: datetime, children: str | None) -> Iterator[Rows]:
    for answer in pages(ask(start, end), partial(_further, more)):
        yield [(read_ref(row), with_all_children(strip_attributes(row), more, children)) for row in answer["records"]]


def _further(more: More, url: str) -> Answer:
    """Return a further page, or raise LocatorGone if it fails. If the next query fails too, that is its own failure."""
    try:
        answer: Answer = more(url)
    except NotServed as error:
        if error.pause_until is not None:
            raise
        raise LocatorGone(error.message, hint=error.hint) from error
    return answer


def _completed(pages: Iterator[Rows], start: datetime, end: datetime, now: datetime) -> Iterator[Read]:
    """Hold each page back until the next is there, and yield it in parts with their low watermarks."""
    held: Rows | None = None
    certain, moved = start, min(end, now - LONGEST_TRANSACTION)
    for page in filter(None, pages):
        if held:
            # A time of `moved` or later may have been given since the query.
            certain = max(certain, min((ref.modified_at for ref, _ in page if ref.modified_at < moved), default=start))
            yield from _parts(held, certain)
        held = page
    yield from _parts(held or [], end, last=True)


def _parts(page: Rows, behind: datetime, *, last: bool = False) -> Iterator[Read]:
    """Yield a page in parts. `behind` is the earliest time shown after it, or for the `last` page the end."""
    found: list[Read] = []
    starts = range(0, len(page), AT_ONCE) or range(1)
    for start in reversed(starts):
        part = page[start : start + AT_ONCE]
        own = part[-1][0].modified_at if part else behind
        ends = last and not found
        found.append(Read(part, behind if ends else min(own, behind), ends))
        behind = min((behind, *(ref.modified_at for ref, _ in part)))
    return reversed(found)


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
    """Return a row with all of its children. If a page is full, theirs continue under a locator of their own."""
    found = row.get(children) if children else None
    if not isinstance(found, dict) or found.get("done") is not False:
        return row
    records = list(kept(found, more))
    return {**row, str(children): {"totalSize": len(records), "done": True, "records": records}}
