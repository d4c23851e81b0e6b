"""Follow the locators of a query to its end, within bounds. Pure except for `more`."""

from collections.abc import Callable, Iterator
from typing import Any

from connectors.salesforce.retry import CHANGED
from syncd.errors import Malformed
from syncd.fields import parse_text

More = Callable[[str], Any]  # returns the page of a locator

MOST_PAGES = 10_000  # of one query: 20 million rows at 2,000 a page
ROWS_MOST = 200_000  # of lists kept in memory: an org's users, the people of 400 tasks or of one email
SLACK = 2_000  # rows beyond totalSize that end a chain


def kept(page: Any, more: More) -> Iterator[Any]:
    """Yield the rows of all pages from the first `page` on. Malformed beyond ROWS_MOST."""
    count = 0
    for each in pages(page, more):
        count += len(each["records"])
        if count > ROWS_MOST:
            raise Malformed(f"Salesforce: more than {ROWS_MOST:,} rows where few are expected", hint=CHANGED)
        yield from each["records"]


def pages(page: Any, more: More) -> Iterator[Any]:
    """Yield {records, done, …} from the first `page` on.

    Malformed if the shape is another. Also if the chain would never end: a locator is repeated, there are more rows
    than the first page announced, or more pages than MOST_PAGES.
    """
    seen: set[str] = set()
    total, rows = (page.get("totalSize") if isinstance(page, dict) else None), 0
    while True:  # one page at a time: not even the first is kept
        if not _is_readable(page):
            raise Malformed("Salesforce: an answer of another shape than documented", hint=CHANGED)
        rows += len(page["records"])
        yield page
        if page["done"]:
            return
        following = parse_text(page.get("nextRecordsUrl"))
        if following is None:
            raise Malformed("Salesforce: a page that is not the last names no next one", hint=CHANGED)
        if following in seen:
            raise Malformed("Salesforce: the same page comes again", hint=CHANGED)
        seen.add(following)
        if len(seen) >= MOST_PAGES or (isinstance(total, int) and rows > total + SLACK):
            raise Malformed("Salesforce: a query has more pages than its rows can take", hint=CHANGED)
        page = more(following)


def _is_readable(page: Any) -> bool:
    if not isinstance(page, dict) or not isinstance(page.get("done"), bool):
        return False
    records = page.get("records")
    return isinstance(records, list) and all(isinstance(record, dict) for record in records)
