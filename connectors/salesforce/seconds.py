"""Read the refs of one second in the order of their ids, without locators. Pure except for its queries.

    ids after the last one ─► fail: fewer ─► one alone fails: passed over by OFFSET ─► the second stays incomplete

SystemModstamp has whole seconds, so a window can be cut no further. A second may still hold 20,000 rows, and one of
them may make each query fail that returns it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from connectors.salesforce import soql
from connectors.salesforce.retry import CHANGED, CULPABLE, LocatorGone
from syncd.connector import Ref
from syncd.errors import Malformed, Unavailable
from syncd.fields import parse_text, parse_time

GROWTH = 4  # of the number of ids, with each query that succeeds
FAILURES = 60  # queries of one second that may fail. Four rows that cannot be shown take about so many
TRIES = 2  # of a query for one row
FIRST_FAILURES = 2  # single rows that fail before anything is served: an outage, or an unreadable second

AfterId = Callable[[str, int, int], Mapping[str, Any]]  # (after this id, at most so many, passing over so many)


def read_ref(row: Mapping[str, Any]) -> Ref:
    """Return a row's id and SystemModstamp. Malformed if it lacks one, because each query selects both."""
    crm_id, modified_at = parse_text(row.get("Id")), parse_time(row.get("SystemModstamp"))
    if crm_id is None or modified_at is None:
        raise Malformed("Salesforce: a row without Id or SystemModstamp", hint=CHANGED)
    return Ref(crm_id, modified_at)


def refs_by_id(ask: AfterId, *, after: str, most: int, error: Unavailable) -> Iterator[Sequence[Ref]]:
    """Yield a second's refs after the id `after`, at most `most` at a time. `error` is why it could not be read whole.

    If a row cannot be shown at all, those behind it are read nevertheless, and its error is raised at the end.
    """
    count = most if isinstance(error, LocatorGone) else 1  # the smallest query tells whether there is an outage
    hidden = tries = failures = 0  # rows passed over since `after`, failed queries for one row, and all that failed
    served, unread = False, None
    while True:
        try:
            answer = ask(after, count, hidden)
        except CULPABLE as failed:
            failures += 1
            tries += count == 1
            if tries == TRIES:
                unread, hidden, tries = failed, hidden + 1, 0
            if failures >= FAILURES or failed.pause_until is not None or not (served or hidden < FIRST_FAILURES):
                raise
            count = max(1, count // 2)
            continue
        served, tries = True, 0
        refs = [read_ref(row) for row in answer["records"]]
        if (refs and refs[-1].crm_id == after) or not (refs or answer["done"]):
            raise Malformed("Salesforce: the same page comes again", hint=CHANGED)
        if not all(soql.is_id(ref.crm_id) for ref in refs):  # the next query holds one of them
            raise Malformed("Salesforce: a row whose Id is none", hint=CHANGED)
        if refs:
            yield refs
            after, hidden = refs[-1].crm_id, 0
        if answer["done"] and len(refs) < count:
            break
        count = min(most, count * GROWTH)
    if unread is not None:
        raise unread


__all__ = ["AfterId", "read_ref", "refs_by_id"]
