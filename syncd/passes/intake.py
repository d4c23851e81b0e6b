"""Turn the pages of one source into events for the ledger's thread, by a bounded number of pages ahead of it."""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog

from syncd import clock
from syncd.activity import Owner
from syncd.connector import Connector, Needed, Page, Ref, Source
from syncd.errors import Stopped
from syncd.ledger import LedgerReader
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.transitions import Reading
from syncd.normalize.normalizer import Normalizer, duplicate
from syncd.normalize.own_domains import Vouching
from syncd.normalize.provenance import Origin
from syncd.passes.events import Event, PageRead, Waypoint
from syncd.passes.pins import Evidence
from syncd.text import kept_id

log = structlog.get_logger()

PAGES_AHEAD = 2  # pages read and not booked yet: bounds memory
UNSERVED_HINT = "they are looked up again by themselves, `syncd explain ID` shows each error"
LOOK_S = 0.2  # seconds between two looks whether the pass is to end


class GaveWay(Stopped):
    """The source has had its turn, and another one waits. Nothing failed."""


class Channel:
    """Carry events to the ledger's thread. Notes when the reader's thread was heard last."""

    def __init__(self, put: Callable[[Event], None], stopping: Callable[[], bool]) -> None:
        """`put` hands an event over. `stopping` tells whether the pass is to end."""
        self._put = put
        self._stopping = stopping
        self.room = threading.Semaphore(PAGES_AHEAD)
        self.heard_at = time.monotonic()
        self.gives_way = False  # raise GaveWay after the next page
        self.holds_on = False  # but not in the middle of a request for look-ups

    def send(self, event: Event) -> None:
        """Send an event at once. A page must wait for room first."""
        self.heard_at = time.monotonic()
        self._put(event)

    def send_page(self, event: PageRead) -> None:
        """Send a page once there is room for it. Stopped if the pass is to end. GaveWay after it, if asked to."""
        self.exit_if_stopping()
        while not self.room.acquire(timeout=LOOK_S):
            self.exit_if_stopping()
        self.exit_if_stopping()
        self.send(event)
        self.exit_if_giving_way()

    def wait_until_booked(self) -> None:
        """Wait until everything sent so far is committed. Stopped if the pass is to end."""
        waypoint = Waypoint(threading.Event())
        self.send(waypoint)
        while not waypoint.passed.wait(LOOK_S):
            self.exit_if_stopping()

    def exit_if_stopping(self) -> None:
        """Raise Stopped if the pass is to end."""
        self.heard_at = time.monotonic()
        if self._stopping():
            raise Stopped("stopped by a signal")

    def exit_if_giving_way(self) -> None:
        """Raise GaveWay if another source waits, unless what is read must be read to its end."""
        if self.gives_way and not self.holds_on:
            raise GaveWay("another source is due")

    def booked(self, event: Event) -> None:
        """Hear from the ledger's thread that `event` is committed."""
        if isinstance(event, PageRead):
            self.room.release()
        elif isinstance(event, Waypoint):
            event.passed.set()


class Intake:
    """Take in the pages of one source. Use it in the reader's thread."""

    def __init__(
        self,
        source: Source,
        connector: Connector,
        normalizer: Normalizer,
        vouching: Vouching,
        *,
        channel: Channel,
        glance: LedgerReader | None,
        now: Callable[[], datetime],
        evidence: Evidence,
        traced: int = 0,
    ) -> None:
        """`glance` is None in a dry run without a ledger. `evidence` judges each page before it is sent.

        `traced`: the number of readings of each page, at most, that are sent with the provenance of their fields.
        """
        self.source = source
        self.connector = connector
        self.channel = channel
        self.glance = glance
        self.now = now
        self.between: Callable[[], None] = lambda: None  # called after each page, e.g. for look-ups of another kind
        self._normalizer = normalizer
        self._vouching = vouching
        self._evidence = evidence
        self._traced = traced

    def page(self, stream: str, page: Page, *, looked_up_at: datetime | None = None, **more: Any) -> None:
        """Normalize a page that is fit for the ledger, and send it. `more` goes into the event.

        Of a window's unserved records those get a row that the ledger lacks or has in an older version.
        """
        owners = self.connector.owners()
        if page.refs or page.missing:
            self._vouching.require(owners)
        readings = self._once(self._normalizer.readings(stream, page.records, owners))
        self._evidence.weigh(stream, readings)
        missing = list(page.missing)
        unserved: Mapping[str, str] = {}
        if looked_up_at is not None:  # a record that is no activity any more counts as not found
            missing += {record.ref.crm_id for record in page.records} - {reading.crm_id for reading in readings}
            unserved = page.unserved
        elif page.unserved:
            readings += self._blamed(stream, page)
        if self._traced:
            more["provenance"] = self._trace(stream, page, readings, owners)
        self.channel.send_page(
            PageRead(stream, page.refs, readings, missing, page.complete_until, looked_up_at, unserved, **more)
        )
        self.between()

    def _trace(
        self, stream: str, page: Page, readings: Sequence[Reading], owners: Sequence[Owner]
    ) -> dict[str, Mapping[str, Origin]]:
        """Return the provenance of the first readings by crm_id. It is empty if the record cannot be read."""
        wanted = {reading.crm_id for reading in readings[: self._traced] if reading.reason is not Reason.UNREADABLE}
        return {
            record.ref.crm_id: self._normalizer.provenance(stream, record, owners)
            for record in page.records
            if record.ref.crm_id in wanted
        }

    def _once(self, readings: list[Reading]) -> list[Reading]:
        """Return `readings`. Those whose counterpart the ledger has delivered are duplicates."""
        named: dict[str, list[str]] = {}
        for stream, crm_id in (reading.counterpart for reading in readings if reading.counterpart):
            named.setdefault(stream, []).append(crm_id)
        delivered = {(stream, crm_id) for stream, ids in named.items() for crm_id in self._delivered(stream, ids)}
        return [duplicate(each) if each.counterpart in delivered else each for each in readings]

    def _delivered(self, stream: str, crm_ids: Sequence[str]) -> list[str]:
        if self.glance is None or not self.glance.stream(self.source.name, stream).seen:
            return []
        known = self.glance.known(self.source.name, stream, crm_ids)
        return [crm_id for crm_id, (_, is_delivered) in known.items() if is_delivered]

    def _blamed(self, stream: str, page: Page) -> list[Reading]:
        """Return the readings of a window's unserved records that the ledger lacks or has in an older version."""
        refs = [ref for ref in page.refs if ref.crm_id in page.unserved]
        needed = self.needed(stream)(refs)
        blamed = [ref for ref in refs if ref.crm_id in needed]
        if blamed:
            log.warning("records.unserved", source=self.source.name, count=len(blamed), hint=UNSERVED_HINT)
        return [self._normalizer.unserved(stream, ref, page.unserved[ref.crm_id]) for ref in blamed]

    def needed(self, stream: str) -> Needed:
        """Return the function that chooses the records of a page to read in full: new, or changed and not delivered.

        A record that another stream of the same object has booked stays there.
        """
        siblings = self._siblings(stream)

        def needed(refs: Sequence[Ref]) -> Collection[str]:
            ids = [kept_id(ref.crm_id) for ref in refs]
            known = self.glance.known(self.source.name, stream, ids) if self.glance else {}
            wanted = {
                ref.crm_id
                for crm_id, ref in zip(ids, refs, strict=True)
                if (held := known.get(crm_id)) is None or (held[0] < clock.text(ref.modified_at) and not held[1])
            }
            return wanted - self._held_by(siblings, wanted - known.keys()) if siblings and wanted else wanted

        return needed

    def own(self, stream: str, crm_ids: Sequence[str]) -> list[str]:
        """Return those of `crm_ids` that no other stream of the same object holds. A record stays where it is."""
        held = self._held_by(self._siblings(stream), crm_ids)
        return [each for each in crm_ids if each not in held]

    def _held_by(self, streams: Sequence[str], crm_ids: Collection[str]) -> set[str]:
        """Return those of `crm_ids` that one of `streams` holds."""
        if self.glance is None:
            return set()
        return {each for stream in streams for each in self.glance.known(self.source.name, stream, crm_ids)}

    def _siblings(self, stream: str) -> list[str]:
        """Return the other streams of the same object that hold records."""
        streams = self.source.connector.streams
        of = next((each.object for each in streams if each.name == stream), "")
        names = [each.name for each in streams if of and each.object == of and each.name != stream]
        return [name for name in names if self.glance and self.glance.stream(self.source.name, name).seen]


__all__ = ["Channel", "GaveWay", "Intake"]
