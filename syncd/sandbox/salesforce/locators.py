"""Results that are paged through: the targets of nextRecordsUrl."""

import random
from dataclasses import dataclass, field
from typing import Any

from syncd.sandbox.salesforce.ids import new_id
from syncd.sandbox.salesforce.refusals import SalesforceRefusal
from syncd.sandbox.salesforce.rows import OrgRow

LIFETIME_MS = 2 * 24 * 3600 * 1000  # results are kept two days (Limits guide v67)
PREFIX = "01g"


@dataclass
class Locator:
    """One query result and the positions where it can be continued."""

    plan: Any  # renders its rows
    rows: list[OrgRow]  # in order, as of the query
    everything: bool  # queryAll
    page_size: int
    born: int  # ms
    id: str = ""  # set if there is a second page
    offers: set[int] = field(default_factory=lambda: {0})  # offered positions; each may be read again
    session: str = ""  # the access token of its query


class Locators:
    """The open results, by locator."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._open: dict[str, Locator] = {}
        self.session = ""  # the access token of the request in progress

    def offer(self, locator: Locator, place: int) -> str:
        """Return the name of the rows from `place` on: 01g… and the number of rows before it."""
        if not locator.id:
            locator.id, locator.session = new_id(self._draw, PREFIX), self.session
            self._open[locator.id] = locator
        locator.offers.add(place)
        return f"{locator.id}-{place}"

    def find(self, name: str, now: int, *, of_session: bool = False) -> tuple[Locator, int]:
        """Return a result and the position of its next row. Raises SalesforceRefusal for an unknown name.

        With `of_session` also for a result of another session.
        """
        for known in [known for known, locator in self._open.items() if now - locator.born > LIFETIME_MS]:
            del self._open[known]
        row_id, _, place = name.partition("-")
        locator = self._open.get(row_id)
        if locator is None or not place.isdecimal() or int(place) not in locator.offers:
            raise SalesforceRefusal("INVALID_QUERY_LOCATOR", "invalid query locator")
        if of_session and locator.session != self.session:
            raise SalesforceRefusal("INVALID_SESSION_ID", "Session expired or invalid", status=401)
        return locator, int(place)

    def clear(self) -> None:
        """Forget all results."""
        self._open.clear()
