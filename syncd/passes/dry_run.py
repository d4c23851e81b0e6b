"""Read and assess for `syncd sync --dry-run` and `syncd preview`. Nothing is written or sent."""

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from syncd import clock
from syncd.connector import Source
from syncd.errors import SyncdError
from syncd.ledger import RECOTAP, AnyLedger
from syncd.lifecycle.transitions import Reading
from syncd.normalize.own_domains import VOUCHED, Vouching
from syncd.normalize.provenance import Origin
from syncd.normalize.rules import Rules
from syncd.passes import narrowing
from syncd.passes.engine import WAKE_S
from syncd.passes.events import Event, PageRead, SourceFinished, StreamFailed
from syncd.passes.limits import Ids
from syncd.passes.pausing import pausing
from syncd.passes.reader import STOP_S, Reader, as_told
from syncd.passes.tally import Tally
from syncd.passes.wanted import unserved
from syncd.signals import StopRequest


@dataclass(frozen=True, slots=True)
class Foreseen:
    """An activity as the next pass would book it."""

    source: str
    stream: str
    reading: Reading
    provenance: Mapping[str, Origin] = field(default_factory=dict)  # by field of the payload; empty unless asked for


class DryRun:
    """Show what a pass would book and send. `tally` and `errors` are complete once all activities were taken."""

    def __init__(
        self,
        sources: Sequence[Source],
        rules: Rules,
        *,
        ledger: AnyLedger,
        stop: StopRequest,
        now: Callable[[], datetime] = clock.now,
        ids: Ids | None = None,
        traced: int = 0,
    ) -> None:
        """`ids`: look up these records and read nothing else. None: read as a pass does.

        `traced`: the number of activities of each page, at most, that come with the provenance of their fields.
        """
        self.tally = Tally()
        self.errors: list[SyncdError] = []
        self.waiting = 0  # already pending in the ledger: a pass would send them too
        self._sources = [source for source in sources if ids is None or ids.get(source.name)]
        self._rules = rules
        self._ledger = ledger if ledger.exists() else None
        self._vouching = Vouching(rules, self._kept())
        self._now = now
        self._ids = ids
        self._traced = traced
        self._ending = threading.Event()
        stop.on_request = self._ending.set

    def readings(self) -> Generator[Reading]:
        """Yield the readings of new and changed records, source by source."""
        with closing(self.activities()) as activities:
            for each in activities:
                yield each.reading

    def activities(self) -> Generator[Foreseen]:
        """Yield the activities of new and changed records, or of `ids`, source by source."""
        for source in self._sources:
            if not self._ending.is_set() and not self._paused(source):
                yield from self._of(source)
        for source, _, error in self._vouching.postponed():
            if self._vouching.is_given and not self._ending.is_set():
                yield from self._of(source)
            else:
                self.errors.append(error)
        if self._ledger:
            with self._ledger.read() as glance:
                self.waiting = glance.counts()["pending"]

    def _kept(self) -> Any:
        if self._ledger is None:
            return None
        with self._ledger.read() as glance:
            return glance.store(RECOTAP).get(VOUCHED, (None, None))[0]

    def _paused(self, source: Source) -> bool:
        if self._ledger is None:
            return False
        with self._ledger.read() as glance:
            pause = glance.pause(source.name, self._now())
        if pause:
            self.errors.append(pausing(source.name, *pause))
        return pause is not None

    def _of(self, source: Source) -> Generator[Foreseen]:
        source = self._narrowed(source)
        ids = None if self._ids is None else self._ids.get(source.name, {})
        reader = Reader(
            source, self._rules, ledger=self._ledger, now=self._now, stopping=self._ending, vouching=self._vouching,
            read_only=True, ids=ids, traced=self._traced,
        )  # fmt: skip
        if (pointless := reader.pointless()) is not None:
            self.errors.append(pointless)
            return
        reader.start()
        try:
            for event in _events(reader):
                match event:
                    case PageRead():
                        yield from self._page(source.name, event)
                    case StreamFailed(stream, error) if not self._vouching.postpones(source, stream, error):
                        self.errors.append(as_told(source.name, error, stream))
                reader.booked(event)
        except GeneratorExit:  # the caller wants no more, as with `| head`: let the reader close its connections
            self._ending.set()
            reader.join(STOP_S)
            raise

    def _page(self, source: str, page: PageRead) -> Iterator[Foreseen]:
        if self._ids is not None:
            self.errors += [unserved(source, crm_id, why) for crm_id, why in page.unserved.items()]
        for reading in page.readings:
            self.tally.add(reading)
            yield Foreseen(source, page.stream, reading, page.provenance.get(reading.crm_id, {}))

    def _narrowed(self, source: Source) -> Source:
        """Return a source as the next pass reads it."""
        with self._ledger.read() if self._ledger else nullcontext() as glance:
            return narrowing.narrowed(source, narrowing.kept_of(glance, source), self._now()).source


def _events(reader: Reader) -> Iterator[Event]:
    """Yield the reader's events until it has finished. The last one is its failure if it hangs."""
    while True:
        event = reader.next_event(WAKE_S)
        if isinstance(event, SourceFinished):
            reader.join()
            return
        if event is not None:
            yield event
        elif reader.hangs():
            yield StreamFailed(None, reader.abandon())
            return
