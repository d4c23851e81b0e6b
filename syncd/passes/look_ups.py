"""Look up the due records of one source by id, after its windows and within a budget of pages."""

import random
from collections.abc import Iterable, Iterator, Sequence

from syncd.connector import Page
from syncd.errors import SyncdError, Unauthorized
from syncd.ledger import LedgerReader
from syncd.normalize import incoming
from syncd.passes.events import StreamFailed
from syncd.passes.intake import Intake
from syncd.text import is_stand_in

LOOK_UPS_AT_ONCE = 1000  # ids in one fetch_ids
LOOK_UP_PAGES = 10  # of due look-ups in one pass: a backlog of them must not hold up the next windows
WITHHELD_PAGES = 10  # of redacted records, looked up in one pass: a newly granted scope must not hold up a pass


class LookUps:
    """Look up one source's records in one pass."""

    def __init__(self, intake: Intake, glance: LedgerReader) -> None:
        self._intake = intake
        self._glance = glance
        self._refused: set[str] = set()  # streams whose look-ups lack a permission
        self._hidden: dict[str, SyncdError | None] = {}  # by stream: why the last page hid the content

    def due(self, streams: Iterable[str]) -> None:
        """Look up the due records of `streams`, the oldest first. The rest stays due for the next pass.

        A missing permission ends its stream alone. Raises Unavailable, Stopped or ConfigError.
        """
        for stream, ids in due_pages(self._glance, self._intake, streams):
            if stream not in self._refused:
                self._permitted(stream, ids)

    def _permitted(self, stream: str, ids: Sequence[str]) -> None:
        try:
            self._ask(stream, ids)
        except Unauthorized as error:
            self._refused.add(stream)
            self._intake.channel.send(StreamFailed(stream, error))

    def withheld(self, stream: str) -> SyncdError | None:
        """Look up a bounded number of redacted records. Return the error that still hides them, if any.

        If a look-up of this pass has shown that the content is hidden, none of them is asked for.
        """
        if (hidden := self._hidden.get(stream)) is not None:
            return hidden
        now, after_id = self._intake.now(), 0
        for _ in range(WITHHELD_PAGES):
            found = self._glance.withheld(
                self._intake.source.name, stream, now=now, after_id=after_id, limit=LOOK_UPS_AT_ONCE
            )
            if not found:
                break
            after_id = found[-1][0]
            try:
                self._ask(stream, [crm_id for _, crm_id in found])
            except Unauthorized as error:
                return error
            if (hidden := self._hidden.get(stream)) is not None:
                return hidden
        return None

    def _ask(self, stream: str, ids: Sequence[str]) -> None:
        """Look up `ids`, each time in another order.

        So an id that makes its request fail does not always take the same others with it.
        """
        asked_at = self._intake.now()
        for page in self._pages(stream, random.sample(ids, len(ids))):
            self._hidden[stream] = page.withheld
            self._intake.page(stream, page, looked_up_at=asked_at)

    def _pages(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        """Yield pages with the records of `ids`. A stand-in is unknown to the CRM, so it counts as not found."""
        stand_ins = [crm_id for crm_id in ids if is_stand_in(crm_id)]
        if stand_ins:
            yield Page((), (), missing=stand_ins)
        known = [crm_id for crm_id in ids if not is_stand_in(crm_id)]
        if known:
            yield from map(incoming.page, self._intake.connector.fetch_ids(stream, known))


def due_pages(glance: LedgerReader, intake: Intake, streams: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Return (stream, ids) of at most LOOK_UP_PAGES requests, those with the oldest due time first."""
    pages: list[tuple[str, str, list[str]]] = []
    for stream in streams:
        due = glance.due_look_ups(intake.source.name, stream, now=intake.now(), limit=LOOK_UP_PAGES * LOOK_UPS_AT_ONCE)
        for start in range(0, len(due), LOOK_UPS_AT_ONCE):
            some = due[start : start + LOOK_UPS_AT_ONCE]
            pages.append((some[0][0], stream, [crm_id for _, crm_id in some]))
    return [(stream, ids) for _, stream, ids in sorted(pages)[:LOOK_UP_PAGES]]


__all__ = ["LookUps"]
