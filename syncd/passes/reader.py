"""Read and normalize one source in a thread, ahead of the ledger's thread by a bounded number of pages.

    windows ─► look-ups ─► ranges        each page: fetch ─► fit for the ledger ─► normalize ─► PageRead ─► it is booked

The thread reads the ledger through a connection of its own and writes nothing.
"""

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any

import structlog

from syncd.connector import Connector, Context, Source
from syncd.errors import REPORT, OutsideWindow, Stopped, SyncdError, Unauthorized, Unavailable
from syncd.http.server_clock import ServerClock
from syncd.ledger import CLOCK, Handle, LedgerReader, StreamState
from syncd.normalize import incoming
from syncd.normalize.forgotten import Forgotten
from syncd.normalize.normalizer import Normalizer
from syncd.normalize.own_domains import Vouching
from syncd.normalize.rules import Rules
from syncd.passes import counting, pins, scopes, windows
from syncd.passes.events import Event, SourceFinished, SourceOpened, StartNoted, StreamFailed, WindowRead, moves_on
from syncd.passes.forgetting import forgotten_of
from syncd.passes.intake import Channel, GaveWay, Intake
from syncd.passes.look_ups import LOOK_UPS_AT_ONCE, LookUps
from syncd.passes.ranges import Ranges, gaps_of
from syncd.passes.spans import Part, SpanReader
from syncd.passes.stale import Desk, StaleLookUps
from syncd.passes.store import PassStore
from syncd.passes.windows import Span

log = structlog.get_logger()

FAILED = "@failed:"  # and a stream, in a source's store: the number of its windows in a row that failed
HANGS_S = 300.0  # seconds of silence beyond its deadline after which a reader hangs
STOP_S = 1.0  # seconds beyond its deadline for a reader to react to a stop request


# The last abandoned thread of each ledger and source. An entry disappears with its thread.
_Lane = tuple[Handle[LedgerReader] | None, str]
_ABANDONED: weakref.WeakValueDictionary[_Lane, threading.Thread] = weakref.WeakValueDictionary()


class Reader:
    """Read `source` once: the window of each stream, then the due look-ups by id, then a slice of its ranges.

    A stream that could not be read last time comes last. A missing scope ends its stream alone, and an outage ends
    the source.
    """

    def __init__(
        self,
        source: Source,
        rules: Rules,
        *,
        ledger: Handle[LedgerReader] | None,
        now: Callable[[], datetime],
        stopping: threading.Event,
        vouching: Vouching,
        wake: Callable[[], None] = lambda: None,
        read_only: bool = False,
        desk: Desk | None = None,
        ids: Mapping[str, Sequence[str]] | None = None,
        traced: int = 0,
        counts: bool = False,
        range_pages: int | None = None,
    ) -> None:
        """`wake` is called in the thread after each event, which `next_event` then returns.

        `desk`: where rows that are about to be sent are asked for. None: nothing is sent. `ids`: look up these crm_ids
        of each stream, and read nothing else. None: read all. `traced`: as in `Intake`. `counts`: count the records of
        each window first, with one request a stream. `range_pages`: as in `Ranges`.
        """
        self.source = source
        self._rules = rules
        self._vouching = vouching
        self.store = PassStore({}, now)
        self.clock = ServerClock(now)  # the CRM's
        self._ledger = ledger
        self._now = now
        self._stopping = stopping
        self._wake = wake
        self._read_only = read_only
        self._desk = desk
        self._ids, self._traced, self._counts, self._range_pages = ids, traced, counts, range_pages
        self.is_alone = desk is not None and desk.begin()  # no window, only what the desk asks for
        self.has_failed = False  # an error has ended the thread
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._channel = Channel(self._put, lambda: stopping.is_set() or self._abandoned)
        self._abandoned = self._cut = self._gave_way = self._is_full = False
        self.forgotten = Forgotten()  # whom it leaves out
        self.identity: str | None = None  # as the CRM calls itself, known once SourceOpened is sent
        self._stream: str | None = None  # that is being read
        self._thread = threading.Thread(target=self._run, name=f"read {source.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def has_event(self) -> bool:
        """Whether an event waits for `next_event`."""
        return not self._events.empty()

    def next_event(self, timeout: float = 0.0) -> Event | None:
        """Return the next event, or None if there is none within `timeout` seconds."""
        try:
            event = self._events.get(timeout=timeout)
        except Empty:
            return None
        if self._is_full and moves_on(event):
            self._channel.booked(event)
            return None
        return None if self._cut and not isinstance(event, SourceFinished) else event

    def cut_short(self) -> None:
        """End the thread at its next page, because one could not be booked. SourceFinished is its only event left.

        The connector's store may already say that the page was read. So nothing that it put since is kept.
        """
        self._abandoned = self._cut = True
        self.store = PassStore({}, self._now)

    def give_way(self) -> None:
        """End the thread after its next page, because another source waits. All that was sent is booked."""
        self._channel.gives_way = True

    def read_no_more(self) -> None:
        """End the thread as `give_way` does, and drop all that it has read ahead except for look-ups by id."""
        self._is_full = True
        self.give_way()

    def take_changes(self) -> dict[str, Any]:
        """Return the changes of the connector's store since the last call, to be kept.

        After `read_no_more` there are none, because the store may already say that what is dropped was read.
        """
        return {} if self._is_full else self.store.take_changes()

    def booked(self, event: Event) -> None:
        """Hear that `event` is committed. A page makes room for another one."""
        self._channel.booked(event)

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread's end, at most `timeout` seconds."""
        self._thread.join(timeout)

    @property
    def gave_way(self) -> bool:
        """Whether the thread ended because another source waits."""
        return self._gave_way and not self._cut and not self._is_full

    @property
    def is_limited(self) -> bool:
        """Whether the pass wants only a part of the source."""
        return self._is_full or self._ids is not None

    @property
    def is_alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    def hangs(self) -> bool:
        """Tell whether the thread waits for something that may never come, e.g. a dead network drive.

        Measured in real time, because the thread is real. Nothing may wait for the thread from then on.
        """
        silent_s, deadline_s = time.monotonic() - self._channel.heard_at, self.source.config.timeout.total_seconds()
        return silent_s > deadline_s + (STOP_S if self._stopping.is_set() else HANGS_S)

    def abandon(self) -> SyncdError:
        """Let the thread end by itself, whenever that is, and return the reason. Ignore its later events."""
        self._abandoned = True
        _ABANDONED[self._ledger, self.source.name] = self._thread
        error = _hangs(self.source, "for minutes")
        return Stopped(error.message) if self._stopping.is_set() else error

    def pointless(self) -> SyncdError | None:
        """Return an error if an earlier reader of this source still hangs. Otherwise each pass would add a thread."""
        thread = _ABANDONED.get((self._ledger, self.source.name))
        return _hangs(self.source, "since an earlier pass") if thread is not None and thread.is_alive() else None

    def _run(self) -> None:
        try:
            with self._ledger.read() if self._ledger else nullcontext() as glance:
                self._open_store(glance)
                context = Context(
                    self.source.name, self.store, self._now, self._sleep, self._read_only, clock=self.clock,
                    unbooked=self._unbooked(glance),
                )  # fmt: skip
                connector = self.source.connector(self.source.config, context)
                try:
                    self._read(glance, connector)
                except GaveWay:  # nothing keeps it: its frames, and the connector's generators in them, end here
                    self._gave_way = True
                finally:
                    self._keep_clock()
                    connector.close()
        except BaseException as error:  # noqa: BLE001 - the pass must hear of any error, and not wait for ever
            self.has_failed = True
            self._channel.send(StreamFailed(self._stream, error))
        finally:
            self._channel.send(SourceFinished())

    def _put(self, event: Event) -> None:
        self._events.put(event)
        self._wake()

    def _open_store(self, glance: LedgerReader | None) -> None:
        self.store = PassStore(glance.store(self.source.name) if glance else {}, self._now)
        self.clock.recall(self.store.get(CLOCK))

    def _read(self, glance: LedgerReader | None, connector: Connector) -> None:
        identity = incoming.identity(connector.identity())
        if glance:
            pins.refuse_stranger(glance, self.source, identity)
        self.identity = identity
        self._channel.send(SourceOpened(identity))
        if not self._vouching.is_given:  # the owners may be a day old: they can vouch, but prove nothing if they do not
            self._vouching.hear(connector.owners())
        self.forgotten = forgotten_of(glance)
        secret = glance.secret() if glance else None
        normalizer = Normalizer(self._rules, self.source, connector, self.clock, secret, self.forgotten)
        intake = Intake(
            self.source,
            connector,
            normalizer,
            self._vouching,
            channel=self._channel,
            glance=glance,
            now=self._now,
            evidence=pins.Evidence.of(glance, self.source, identity),
            traced=self._traced,
        )
        stale = StaleLookUps(self._desk, intake, glance) if glance and self._desk else None
        if stale:
            intake.between = stale.serve
        if self._ids is not None and not self.is_alone:
            self._read_ids(intake, glance, self._ids)
        elif not self.is_alone:
            self._read_streams(intake)
        if stale:
            stale.serve_rest()
        if self.is_alone:
            return
        # Report the mistake even if no page was read.
        if not self._vouching.is_given and (owners := connector.owners()):
            self._vouching.require(owners)

    def _read_streams(self, intake: Intake) -> None:
        """Read the window of each stream, and then look up due records. A missing permission ends its stream alone.

        An outage ends the windows. If one was read before, the source still answers: its look-ups follow. So do those
        of a stream that is not read any more: the ledger's rows of it must not wait for ever.
        """
        read, withheld_by = [], {}
        self._spans = SpanReader(intake, self.clock.now)
        streams = self._order(intake)
        until: datetime | None = None
        for stream in list(streams):
            self._stream = stream
            try:
                until, withheld_by[stream] = self._read_window(intake, stream, until)
                read.append(stream)
                if (withheld := withheld_by[stream]) is not None:
                    self._channel.send(StreamFailed(stream, withheld))
            except Unauthorized as error:
                streams.remove(stream)
                self._channel.send(StreamFailed(stream, error))
            except Unavailable as error:
                if error.pause_until is not None or not read:
                    raise
                self._channel.send(StreamFailed(stream, error))
                break
        self._stream = None
        if intake.glance and (read):
            self._channel.wait_until_booked()
            look_ups = LookUps(intake, intake.glance)
            unread = [stream.name for stream in self.source.unread]
            self._look_up(look_ups, [*streams, *unread], [each for each in read if not withheld_by[each]])
            if not look_ups.over:
                Ranges(intake, intake.glance, self._spans, range_pages=self._range_pages).read(streams)
                self._refresh_scope(intake.connector)

    def _unbooked(self, glance: LedgerReader | None) -> frozenset[str]:
        """Return those of `ids` that the ledger does not hold."""
        asked, held = set[str](), set[str]()
        for stream, wanted in (self._ids or {}).items():
            asked |= {*wanted}
            held |= {*(glance.known(self.source.name, stream, wanted) if glance else ())}
        return frozenset(asked - held)

    def _read_ids(self, intake: Intake, glance: LedgerReader | None, ids: Mapping[str, Sequence[str]]) -> None:
        """Look up the ids of each stream. A missing permission ends its stream alone.

        A pass isolates those that make their request fail. A dry run ends with the error.
        """
        if glance is not None and not self._read_only:
            LookUps(intake, glance, windows_read=False).given(ids)
            return
        for stream, wanted in ids.items():
            self._stream = stream
            self._show_ids(intake, stream, wanted)
        self._stream = None

    def _show_ids(self, intake: Intake, stream: str, ids: Sequence[str]) -> None:
        try:
            for start in range(0, len(ids), LOOK_UPS_AT_ONCE):
                asked_at = self._now()
                for page in intake.connector.fetch_ids(stream, ids[start : start + LOOK_UPS_AT_ONCE]):
                    intake.page(stream, incoming.page(page, by_id=True), looked_up_at=asked_at)
                    if page.withheld is not None:
                        self._channel.send(StreamFailed(stream, page.withheld))
        except Unauthorized as error:
            self._channel.send(StreamFailed(stream, error))

    def _refresh_scope(self, connector: Connector) -> None:
        """Count once a day which of the CRM's rows are read."""
        self._channel.exit_if_stopping()
        if not self._read_only:
            scopes.refresh_if_due(self.source, connector, self.store, self._rules, self._now())

    def _look_up(self, look_ups: LookUps, streams: Sequence[str], clear: Sequence[str]) -> None:
        """Look up the due records of `streams`, and the redacted ones of `clear`."""
        look_ups.due(streams)
        for stream in clear:
            if not look_ups.over and (withheld := look_ups.withheld(stream)) is not None:
                self._channel.send(StreamFailed(stream, withheld))

    def _keep_clock(self) -> None:
        kept = self.clock.to_keep()
        if kept is not None:
            self.store.put(CLOCK, kept)

    def _read_window(
        self, intake: Intake, stream: str, until: datetime | None
    ) -> tuple[datetime | None, SyncdError | None]:
        """Return the window's end, and the error that hides the content of its records, if any."""
        withheld: SyncdError | None = None
        state = intake.glance.stream(self.source.name, stream) if intake.glance else StreamState()
        now = self.clock.now()
        sweep = windows.sweep_due(swept_at=state.swept_at, now=now)
        since = windows.window_since(
            start=self.source.config.start, overlap=self.source.config.overlap, watermark=state.watermark,
            swept_at=state.swept_at, sweep=sweep, now=now,
        )  # fmt: skip
        self._note_start(stream, state)
        held = intake.glance.ranges(self.source.name) if intake.glance else ()
        spans = windows.without(Span(since, until), gaps_of(held, stream))
        if self._counts:
            counting.announce(intake.connector, stream, spans, self._channel.send)
        for part in self._parts(stream, spans):
            until, withheld = part.page.complete_until or until, part.page.withheld
            intake.page(stream, part.page, gaps=part.gaps)
        self._channel.send(WindowRead(stream, until, sweep))
        return until, withheld

    def _note_start(self, stream: str, state: StreamState) -> None:
        """Remember from which `start` a stream is read. An earlier one adds a range."""
        start = windows.start_of(known=state.start, configured=self.source.config.start, watermark=state.watermark)
        if start != state.start:
            self._channel.send(StartNoted(stream, start, windows.added_by(start, state.start, state.watermark)))

    def _parts(self, stream: str, spans: Sequence[Span]) -> Iterator[Part]:
        """Yield the parts of a window. If it failed in an earlier pass too, it may be cut.

        A window that was read only because it was cut counts as failed, so that the next pass may cut at once.
        """
        key = f"{FAILED}{stream}"
        failures, cuts = self.store.get(key) or 0, self._spans.cuts_left
        try:
            yield from self._spans.read(stream, spans, may_cut=failures > 0)
        except Unavailable as error:
            if not isinstance(error, OutsideWindow):
                self.store.put(key, failures + 1)
            raise
        if failures and self._spans.cuts_left == cuts:
            self.store.put(key, 0)

    def _order(self, intake: Intake) -> list[str]:
        names = [stream.name for stream in self.source.streams]
        glance = intake.glance
        return sorted(names, key=lambda name: glance is not None and glance.stream(self.source.name, name).failed)

    def _sleep(self, seconds: float) -> None:
        self._channel.heard_at = time.monotonic() + seconds
        if self._stopping.wait(seconds) or self._abandoned:
            raise Stopped("stopped by a signal")


def as_told(source: str, error: BaseException, stream: str | None = None) -> SyncdError:
    """Return `error` if it is a SyncdError. Otherwise log a bug of the connector and return its type alone."""
    if isinstance(error, SyncdError):
        return error
    log.error("pull.bug", source=source, stream=stream, exc_info=error, hint="report it. The other sources go on")
    return SyncdError(f"a bug in the connector of {source}: {type(error).__name__}", hint=REPORT)


def _hangs(source: Source, how_long: str) -> Unavailable:
    hint = "look at the disk or network drive of this source: `syncd check` may tell. The other sources go on"
    return Unavailable(f"{source.name} hangs: nothing was heard of it {how_long}", hint=hint)


__all__ = ["PassStore", "Reader", "as_told"]
