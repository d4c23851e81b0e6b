"""Look up the due records of one source by id, after its windows and within a budget of pages.

    page of ids ─► served
       └─ fails ─► another id alone ─► fails too: an outage, no id is to blame
                         └─ served ─► both halves, and so on ─► one id alone fails ─► `crm_error`

An id is blamed only if another one is served after its failure, and it then fails again.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import structlog

from syncd.connector import Page
from syncd.errors import SyncdError, Unauthorized, Unavailable
from syncd.ledger import LedgerReader
from syncd.normalize import incoming
from syncd.passes.events import StreamFailed
from syncd.passes.intake import UNSERVED_HINT, Intake
from syncd.text import is_stand_in

log = structlog.get_logger()

LOOK_UPS_AT_ONCE = 1000  # ids in one fetch_ids
LOOK_UP_PAGES = 10  # of due look-ups in one pass: a backlog of them must not hold up the next windows
WITHHELD_PAGES = 10  # of redacted records, looked up in one pass: a newly granted scope must not hold up a pass
SPLITS = 60  # further requests of one pass for ids that failed. Ten halvings isolate one of 1,000 ids.
PROBES = 3  # other ids, each asked for alone, before a failure counts as an outage
NOT_SERVED = "the CRM did not say whether it has the record"


class LookUps:
    """Look up one source's records in one pass."""

    def __init__(self, intake: Intake, glance: LedgerReader, *, windows_read: bool = True) -> None:
        """`windows_read`: this pass has read the streams' windows, so their CRM is there."""
        self._windows_read = windows_read
        self._intake = intake
        self._glance = glance
        self._refused: set[str] = set()  # streams whose look-ups lack a permission
        self._hidden: dict[str, SyncdError | None] = {}  # by stream: why the last page hid the content
        self._splits = SPLITS
        self._blamed = 0
        self._bug: Exception | None = None  # the first one
        self.over = False  # an outage has ended them, or the CRM asks for a pause

    def due(self, streams: Iterable[str]) -> None:
        """Look up the due records of `streams`, the oldest first. The rest stays due for the next pass.

        A missing permission ends its stream alone, an outage ends all. Raises Stopped or ConfigError. A bug of the
        connector is raised last.
        """
        for stream, ids in due_pages(self._glance, self._intake, streams):
            self.look_up(stream, ids)
        self._tell()

    def given(self, ids: Mapping[str, Sequence[str]]) -> None:
        """Look up the ids of each stream, whatever their number. Errors are sent and raised as by `due`.

        An id that another stream of the same object holds is left out.
        """
        for stream, named in ids.items():
            wanted = self._intake.own(stream, named)
            for start in range(0, len(wanted), LOOK_UPS_AT_ONCE):
                self.look_up(stream, wanted[start : start + LOOK_UPS_AT_ONCE])
            if (withheld := self._hidden.get(stream)) is not None:
                self._intake.channel.send(StreamFailed(stream, withheld))
        self._tell()

    def _tell(self) -> None:
        """Log how many records the CRM does not serve. Raise the first bug, if there was one."""
        if self._blamed:
            log.warning("records.unserved", source=self._intake.source.name, count=self._blamed, hint=UNSERVED_HINT)
        if self._bug is not None:
            raise self._bug

    def take_bug(self) -> Exception | None:
        """Return the first bug of the connector since the last call, if there was one."""
        bug, self._bug = self._bug, None
        return bug

    def look_up(self, stream: str, ids: Sequence[str]) -> None:
        """Look up `ids` whatever the number of pages, unless the stream lacks a permission or an outage has begun."""
        if stream in self._refused or self.over:
            return
        try:
            self._account(stream, ids)
        except Unauthorized as error:
            self._refused.add(stream)
            self._intake.channel.send(StreamFailed(stream, error))
        except Unavailable as error:
            self.over = True
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
                self._account(stream, [crm_id for _, crm_id in found])
            except (Unauthorized, Unavailable) as error:
                self.over = isinstance(error, Unavailable)
                return error
            if (hidden := self._hidden.get(stream)) is not None:
                return hidden
        return None

    # -- isolation ----------------------------------------------------------------------

    def _account(self, stream: str, ids: Sequence[str]) -> None:
        """Look up `ids`, and halve those that are not served until the culprits stand alone.

        If the budget of this pass is used up, the others stay due.
        """
        left, error = self._ask(stream, ids)
        if not left:
            return
        if error is None:  # answered, but not about these
            self._without_error(stream, left, progress=len(left) < len(ids))
            return
        if len(left) == len(ids):
            self._require_service(stream, left, error)
        if len(left) == 1:
            self._try_alone(stream, left)
            return
        for half in halves(left):
            if self._may_split():
                self._account(stream, half)

    def _without_error(self, stream: str, left: Sequence[str], *, progress: bool) -> None:
        """Ask again for ids that an answer left out, as long as that brings some of them. Otherwise blame them."""
        if not progress:
            self._blame(stream, dict.fromkeys(left, NOT_SERVED), self._intake.now())
        elif self._may_split():
            self._account(stream, left)

    def _try_alone(self, stream: str, ids: Sequence[str]) -> None:
        """Ask once more for one id, because the CRM serves others. Blame it if it fails again."""
        asked_at = self._intake.now()
        left, error = self._ask(stream, ids)
        if left:
            self._blame(stream, dict.fromkeys(left, error.message if error else NOT_SERVED), asked_at)

    def _may_split(self) -> bool:
        self._splits -= 1
        return self._splits >= 0

    def _blame(self, stream: str, unserved: Mapping[str, str], asked_at: datetime) -> None:
        self._blamed += len(unserved)
        self._intake.page(stream, Page((), (), unserved=unserved), looked_up_at=asked_at)

    def _require_service(self, stream: str, ids: Sequence[str], error: SyncdError) -> None:
        """Raise `error` unless the CRM serves another id alone: then `ids` are not to blame.

        If the stream has no other id, its window is the proof, if this pass has read it.
        """
        known = self._glance.others(self._intake.source.name, stream, set(ids), limit=PROBES)
        probes = [crm_id for crm_id in known if not is_stand_in(crm_id)]
        if not probes and len(ids) > 1:
            probes = random.sample(ids, min(PROBES, len(ids)))
        if (probes or not self._windows_read) and not any(self._serves(stream, crm_id) for crm_id in probes):
            raise self._bug if self._bug and not isinstance(error, Unavailable) else error

    def _serves(self, stream: str, crm_id: str) -> bool:
        try:
            for page in self._intake.connector.fetch_ids(stream, [crm_id]):
                self._intake.channel.exit_if_stopping()
                if page.unserved:
                    return False
        except Unavailable as error:
            if error.pause_until is not None:
                raise
            return False
        except SyncdError:
            raise
        except Exception as bug:  # noqa: BLE001 - as in `_ask`
            self._bug = self._bug or bug
            return False
        return True

    # -- one request --------------------------------------------------------------------

    def _ask(self, stream: str, ids: Sequence[str]) -> tuple[list[str], SyncdError | None]:
        """Look up `ids`, each time in another order. Return those without an answer, and the error.

        So an id that makes its request fail does not always take the same others with it.
        """
        asked_at = self._intake.now()
        left = dict.fromkeys(random.sample(ids, len(ids)))
        try:
            for page in self._pages(stream, list(left)):
                self._hidden[stream] = page.withheld
                self._intake.page(stream, page, looked_up_at=asked_at)
                self._blamed += len(page.unserved)  # the connector has isolated them, so they are not asked for again
                for crm_id in (*(ref.crm_id for ref in page.refs), *page.missing, *page.unserved):
                    left.pop(crm_id, None)
        except Unavailable as error:
            if error.pause_until is not None:
                raise
            return list(left), error
        except SyncdError:
            raise
        except Exception as bug:  # noqa: BLE001 - one record may cause it, and its neighbours must not wait for it
            self._bug = self._bug or bug
            return list(left), SyncdError(f"a bug in the connector: {type(bug).__name__}")
        return list(left), None

    def _pages(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        """Yield pages with the records of `ids`. A stand-in is unknown to the CRM, so it counts as not found."""
        stand_ins = [crm_id for crm_id in ids if is_stand_in(crm_id)]
        if stand_ins:
            yield Page((), (), missing=stand_ins)
        known = [crm_id for crm_id in ids if not is_stand_in(crm_id)]
        if known:
            yield from (incoming.page(page, by_id=True) for page in self._intake.connector.fetch_ids(stream, known))


def due_pages(glance: LedgerReader, intake: Intake, streams: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Return (stream, ids) of at most LOOK_UP_PAGES requests, those with the oldest due time first."""
    pages: list[tuple[str, str, list[str]]] = []
    for stream in streams:
        due = glance.due_look_ups(intake.source.name, stream, now=intake.now(), limit=LOOK_UP_PAGES * LOOK_UPS_AT_ONCE)
        for start in range(0, len(due), LOOK_UPS_AT_ONCE):
            some = due[start : start + LOOK_UPS_AT_ONCE]
            pages.append((some[0][0], stream, [crm_id for _, crm_id in some]))
    return [(stream, ids) for _, stream, ids in sorted(pages)[:LOOK_UP_PAGES]]


def halves(ids: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return both halves of two ids or more."""
    middle = (len(ids) + 1) // 2
    return ids[:middle], ids[middle:]


__all__ = ["LookUps"]
