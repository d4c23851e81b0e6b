"""Follow page tokens (`after`) to the last page, within a bound. Pure."""

from typing import Any

from connectors.hubspot.retry import CHANGED
from syncd.errors import Malformed
from syncd.fields import dig, parse_text

MOST_PAGES = 100  # of one chain: 50,000 owners, or 50,000 associations of one record
AFTER_MOST = 1_000  # characters


class Chain:
    """Follow the pages of one list. `name` is for messages."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: set[str] = set()

    def next(self, page: Any) -> str | None:
        """Return the page token of the next page. None if `page` is the last.

        Malformed if that page was read before, or exceeds MOST_PAGES.
        """
        after = parse_text(dig(page, "paging", "next", "after"))
        if after is None:
            return None
        if after in self._seen:
            raise Malformed(f"HubSpot, {self._name}: the same page comes again", hint=CHANGED)
        self._seen.add(after)
        if len(self._seen) >= MOST_PAGES or len(after) > AFTER_MOST:
            raise Malformed(f"HubSpot, {self._name}: more than {MOST_PAGES} pages", hint=CHANGED)
        return after
