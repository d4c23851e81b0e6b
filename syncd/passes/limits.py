"""Limit one pass: to records by id, or to a number of activities."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from syncd.connector import Source
from syncd.ledger import Claimed, Due, Ledger
from syncd.passes.events import PageRead

Ids = Mapping[str, Mapping[str, Sequence[str]]]  # by source and stream: crm_ids


@dataclass(slots=True)
class Limits:
    """The part of its work that one pass does, by default all of it. The ledger's thread alone uses it. Use once."""

    only: Ids | None = None  # look up these records and read nothing else: no watermark, range or sweep moves
    sends_all: bool = False  # with `only`: send all that is due. Otherwise only what was looked up
    range_pages: int | None = None  # of the ranges of each source. None: the share of an ordinary pass
    most: int | None = None  # send at most this many activities, and read no further than that takes
    unserved: dict[tuple[str, str], str] = field(default_factory=dict)  # (source, crm_id): why the CRM did not serve it
    _rows: set[int] = field(default_factory=set)  # of the ledger: what was looked up
    _claimed: set[int] = field(default_factory=set)  # with `most`: what this pass has sent
    _first_post: int = 0  # of this pass; 0: not known yet
    _enough: bool = False

    @property
    def left_something(self) -> bool:
        """Whether the next pass has something to do that this one left."""
        return self._enough or self.only is not None

    def sources(self, sources: Iterable[Source]) -> list[Source]:
        """Return the sources that the pass reads."""
        return [source for source in sources if self.only is None or self.only.get(source.name)]

    def ids(self, source: str) -> Mapping[str, Sequence[str]] | None:
        """Return the crm_ids of each stream that are looked up, or None if the source is read whole."""
        return None if self.only is None else self.only.get(source, {})

    def booked(self, ledger: Ledger, source: str, page: PageRead) -> None:
        """Hear that `page` is booked. Its activities may be sent."""
        if self.only is None:
            return
        read = [each.crm_id for each in page.readings]
        self.unserved.update({(source, crm_id): why for crm_id, why in page.unserved.items()})
        self._rows.update(ledger.row_ids(ledger.stream_id(source, page.stream), [*read, *page.unserved]))

    def due(self, ledger: Ledger, limit: int, **how: Any) -> Sequence[Due]:
        """Return up to `limit` activities to send next, as `Ledger.due`, as far as the pass may send them."""
        room = limit if self.most is None else min(limit, self.most - len(self._claimed))
        only = self._rows if self.only is not None and not self.sends_all else None
        return ledger.due(room, only=only, **how) if room > 0 else []

    def claimed(self, activities: Iterable[Claimed]) -> None:
        """Hear that activities are sent. One that is sent again counts once."""
        if self.most is not None:
            self._claimed.update(each.id for each in activities)

    def is_reached(self, ledger: Ledger, now: datetime) -> bool:
        """Tell whether the ledger holds all that the pass may send, so that it need not read on.

        Once it is reached, it stays so, even if one of them turns out to be gone from the CRM.
        """
        if self.most is None or self._enough:
            return self._enough
        self._first_post = self._first_post or ledger.first_post()
        left = self.most - len(self._claimed)
        self._enough = left <= 0 or ledger.count_due(left, first_post=self._first_post, now=now) >= left
        return self._enough


__all__ = ["Ids", "Limits"]
