"""Read the sources of one pass side by side, and take their events in turn.

    waiting ──► running, at most MOST ──► next_event: one of each source in turn
       ▲                 │
       └──── gives way ──┘ if its turn is over and another one waits

Each source has a thread of its own, so one that is slow, or hangs, delays no other.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from syncd.connector import Source
from syncd.ledger import Ledger
from syncd.normalize.own_domains import Vouching
from syncd.passes import narrowing
from syncd.passes.control import PassControl
from syncd.passes.events import Event, PageRead, SourceFinished
from syncd.passes.limits import Limits
from syncd.passes.reader import Reader
from syncd.passes.report import PassReport
from syncd.passes.stale import StaleRows
from syncd.passes.turns import Turn

log = structlog.get_logger()

MOST = 4  # sources that are read at the same time. Each holds PAGES_AHEAD pages in memory
LOOK_S = 0.1  # between two looks whether the last reader has ended


class Readers:
    """The sources of one pass. Use it in the ledger's thread."""

    def __init__(
        self,
        sources: Sequence[Source],
        ledger: Ledger,
        report: PassReport,
        vouching: Vouching,
        stale: StaleRows,
        control: PassControl,
        limits: Limits,
        *,
        new: Callable[[Source], Reader],
        fail: Callable[[Source, str | None, BaseException], None],
        now: Callable[[], datetime],
    ) -> None:
        """`new` makes a reader, and `fail` books why a source, or one stream of it, could not be read."""
        self._limits = limits
        self._waiting = deque(limits.sources(sources))
        self._ledger = ledger
        self._report = report
        self._vouching = vouching
        self._stale = stale
        self._control = control
        self._new = new
        self._fail = fail
        self._now = now
        self._running: dict[Reader, Turn] = {}  # the one whose event was taken last is the last
        self._mixed: set[Reader] = set()
        self._early: set[str] | None = None  # sources that came before `end_soon` and are not read yet. None: no call

    @property
    def is_empty(self) -> bool:
        """Whether no source is being read."""
        return not self._running

    @property
    def is_over(self) -> bool:
        """Whether `end_soon` was called, and nothing more will be read in this pass."""
        return self._is_ending and not self._running

    @property
    def _is_ending(self) -> bool:
        """Whether `end_soon` was called, and every source that came before was read or gave way."""
        return self._early is not None and not self._early

    @property
    def has_event(self) -> bool:
        """Whether `next_event` returns an event."""
        return any(reader.has_event for reader in self._running)

    def start(self, *, may_send: bool) -> None:
        """Start the sources for which there is room, and ask those to give way whose turn is over.

        `may_send`: a source that is not read is started for rows that must be looked up before they are sent.
        """
        self._listen()
        if self._vouching.is_given or not (self._running or self._waiting):
            self.resume_postponed()
        if self._limits.is_reached(self._ledger, self._now()):
            self._read_no_more()
        if may_send and self._early is None:
            self._waiting += self._stale.without_reader(but=self._names())
        while len(self._running) < MOST and not self._is_ending and (source := self._next()) is not None:
            self._begin(source)
            if len(self._running) > 1:
                self._mixed.update(self._running)
        self._ask_to_give_way(time.monotonic())

    def _read_no_more(self) -> None:
        """Start no source, and end the readers. A reader that only looks up what is to be sent goes on."""
        self._waiting.clear()
        for reader in self._running:
            if not reader.is_alone:
                reader.read_no_more()

    def _names(self) -> set[str]:
        return {source.name for source in (*self._waiting, *(reader.source for reader in self._running))}

    def _next(self) -> Source | None:
        """Take the first waiting source that is not being read."""
        running = {reader.source.name for reader in self._running}
        source = next((source for source in self._waiting if source.name not in running), None)
        if source is not None:
            self._waiting.remove(source)
        return source

    def resume_postponed(self) -> None:
        """Read again what lacked an owner that vouches, if another source has one. Otherwise it fails."""
        for source, stream, error in self._vouching.postponed():
            if self._vouching.is_given:
                self._waiting.append(source)
            else:
                self._fail(source, stream, error)
                self._leave(source)

    def next_event(self) -> tuple[Reader, Event] | tuple[None, None]:
        """Return the next event and its reader, if there is one. Events of an abandoned reader are never returned."""
        for reader in [*self._running]:
            event = reader.next_event() if reader.has_event else None
            if event is not None:
                self._running[reader] = self._running.pop(reader)
                return reader, event
        return None, None

    def booked(self, reader: Reader, event: Event) -> None:
        """Hear that `event` is committed."""
        reader.booked(event)
        if isinstance(event, PageRead):
            self._running[reader].booked(event, time.monotonic())
        elif isinstance(event, SourceFinished):
            self._end(reader)

    def unbooked(self, reader: Reader, event: Event) -> None:
        """Hear that `event` could not be booked. The reader ends, and the others go on."""
        reader.cut_short()
        if isinstance(event, SourceFinished):
            self._end(reader)

    def was_mixed(self, reader: Reader) -> bool:
        """Tell whether another source was read at the same time, perhaps by the holder of another lane.

        Then the reader may not know its rows.
        """
        return reader in self._mixed or self._ledger.handle.scope() is not None

    def abandon_hanging(self) -> None:
        """Go on without the readers that hang. Each stalls its own source alone, and no stop."""
        for reader in [reader for reader in self._running if reader.hangs()]:
            self._fail(reader.source, None, reader.abandon())
            self._end(reader)

    def close(self) -> None:
        """Wait for the threads' ends, except for one that hangs."""
        for reader in self._running:
            while reader.is_alive and not reader.hangs():
                reader.join(LOOK_S)

    def _begin(self, source: Source) -> None:
        """Start the reader of a source, unless it cannot be read now."""
        if (pause := self._ledger.pause(source.name, self._now())) is not None:
            if self._stale.paused(source.name):
                self._forget(source)
            else:
                self._report.paused(source.name, *pause)
                self._leave(source)
            return
        source = self._narrowed(source)
        streams = [stream.name for stream in source.streams]
        reader = self._new(source)
        if (pointless := reader.pointless()) is not None:
            self._fail(source, None, pointless)
            (self._forget if reader.is_alone else self._leave)(source)
            return
        if not reader.is_alone:
            self._report.reading(source.name)
        watermarks = {stream: self._ledger.stream(source.name, stream).watermark for stream in streams}
        self._running[reader] = Turn(time.monotonic(), watermarks, turn_s=self._control.turn_s)
        reader.start()

    def _narrowed(self, source: Source) -> Source:
        """Return a source with the rules that its file does not name, and keep all that narrow its streams."""
        found = narrowing.keep(self._ledger, source, self._now())
        for each in found.news:
            log.warning("rule.changed", source=source.name, stream=each.stream, error=each.told(),
                        hint=f"{each.remedy(source.name)} reads them")  # fmt: skip
        return found.source

    def _listen(self) -> None:
        """Obey the calls of another thread. A source that came after `end_soon` starts while earlier ones are read."""
        for call in self._control.take():
            if call is not None:
                self._waiting.append(call)
            elif self._early is None:
                self._early = self._names()

    def _ask_to_give_way(self, now: float) -> None:
        reading = {reader.source.name for reader in self._running}
        wanting = [source for source in self._waiting if source.name not in reading]  # others wait for themselves
        count = len(wanting) if self._early is None else len(self._running)
        over = [reader for reader, turn in self._running.items() if turn.is_over(now) and not reader.is_limited]
        for reader in sorted(over, key=lambda each: self._running[each].began_at)[:count]:
            reader.give_way()

    def _end(self, reader: Reader) -> None:
        del self._running[reader]
        self._mixed.discard(reader)
        if reader.is_alone:
            self._forget(reader.source)
        elif reader.gave_way and self._early is None:
            self._waiting.append(reader.source)
        else:
            self._leave(reader.source, gave_way=reader.gave_way)

    def _leave(self, source: Source, *, gave_way: bool = False) -> None:
        """Tell that a source is done, unless it gave way or waits for an owner who vouches."""
        self._forget(source)
        if not gave_way and not self._vouching.holds(source):
            self._control.ended(source.name, self._report.error_of(source.name))

    def _forget(self, source: Source) -> None:
        if self._early is not None and source.name not in {each.name for each in self._waiting}:
            self._early.discard(source.name)


__all__ = ["Readers"]
