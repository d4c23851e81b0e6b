"""Follow a query's answer to its end, a window's, a look-up's or one row's children's; pure but for what it asks."""

from collections.abc import Callable, Iterator
from typing import Any

from connectors.salesforce.retry import CHANGED
from syncd.errors import Malformed
from syncd.values import text

More = Callable[[str], Any]  # what follows a locator


def pages(page: Any, more: More) -> Iterator[Any]:
    """Yield {records, done, …} from the first `page` on; Malformed for another shape, and where it would never end."""
    while True:  # one page at a time: not even the first is kept
        if not _is_readable(page):
            raise Malformed("Salesforce: an answer of another shape than documented", hint=CHANGED)
        yield page
        if page["done"]:
            return
        following = text(page.get("nextRecordsUrl"))
        if following is None:
            raise Malformed("Salesforce: a page that is not the last names no next one", hint=CHANGED)
        page = more(following)
        if isinstance(page, dict) and text(page.get("nextRecordsUrl")) == following:
            raise Malformed("Salesforce: the same page comes again", hint=CHANGED)


def _is_readable(page: Any) -> bool:
    if not isinstance(page, dict) or not isinstance(page.get("done"), bool):
        return False
    records = page.get("records")
    return isinstance(records, list) and all(isinstance(record, dict) for record in records)
