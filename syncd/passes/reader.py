"""Read and normalize one source in a thread, ahead of the ledger's thread by a bounded number of pages.

    fetch ─► fit for the ledger ─► normalize ─► PageRead ─► the ledger's thread books it

The thread reads the ledger through a connection of its own and writes nothing.
"""

import json
import random
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any

import structlog

from syncd import clock
from syncd.connector import Connector, Context, Page, Ref, Source, Window
from syncd.errors import ConfigError, Problem, Stopped, SyncdError, Unauthorized, Unavailable
from syncd.http.server_clock import ServerClock
from syncd.ledger import CLOCK, Handle, LedgerReader
from syncd.normalize import incoming
from syncd.normalize.normalizer import Normalizer
from syncd.normalize.own_domains import Vouching
from syncd.normalize.rules import Rules
from syncd.passes import windows
from syncd.passes.events import Event, PageRead, SourceFinished, SourceOpened, StreamFailed, WindowRead
from syncd.text import is_stand_in, kept_id

log = structlog.get_logger()

PAGES_AHEAD = 2  # pages read and not booked yet: bounds memory
LOOK_UPS_AT_ONCE = 1000  # ids in one fetch_ids
WITHHELD_PAGES = 10  # of redacted records, looked up in one pass: a newly granted scope must not hold up a pass
HANGS_S = 300.0  # seconds of silence beyond its deadline after which a reader hangs
STOP_S = 1.0  # seconds beyond its deadline for a reader to react to a stop request


class PassStore:
    """A connector's store for one pass. It is loaded at the start, and the ledger's thread keeps the changes."""

    def __init__(self, kept: Mapping[str, tuple[Any, datetime]], now: Callable[[], datetime]) -> None:
        self._kept = dict(kept)
        self._now = now
        self._changes: dict[str, Any] = {}
        self._lock = threading.Lock()

    def get(self, key: str, *, max_age: timedelta | None = None) -> Any:
        """Return the value of `key`, or None if there is none or it is older than `max_age`."""
        value, at = self._kept.get(key, (None, None))
        if at is None or (max_age is not None and not timedelta(0) <= self._now() - at <= max_age):
            return None
        return value

    def put(self, key: str, value: Any) -> None:
        """Keep `value`. TypeError if JSON or the ledger cannot hold it: now, not at the commit."""
        json.dumps(value)
        if not isinstance(key, str) or kept_id(key) != key:
            raise TypeError("expected a short printable text as the key")
        with self._lock:
            self._kept[key] = (value, self._now())
            self._changes[key] = value

    def take_changes(self) -> dict[str, Any]:
        """Return the values put since the last call."""
        with self._lock:
            changes, self._changes = self._changes, {}
        return changes


# The last abandoned thread of each ledger and source. An entry disappears with its thread.
_Lane = tuple[Handle[LedgerReader] | None, str]
_ABANDONED: weakref.WeakValueDictionary[_Lane, threading.Thread] = weakref.WeakValueDictionary()


class Reader:
    """Read `source` once: in each stream the due look-ups by id, then the window.

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
    ) -> None:
        """`wake` is called in the thread after each event, which `next_event` then returns."""
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
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._room = threading.Semaphore(PAGES_AHEAD)
        self._heard_at = time.monotonic()
        self._abandoned = False
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
            return self._events.get(timeout=timeout)
        except Empty:
            return None

    def booked(self) -> None:
        """Make room for another page."""
        self._room.release()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread's end, at most `timeout` seconds."""
        self._thread.join(timeout)

    def hangs(self) -> bool:
        """Tell whether the thread waits for something that may never come, e.g. a dead network drive.

        Measured in real time, because the thread is real. Nothing may wait for the thread from then on.
        """
        silent_s, deadline_s = time.monotonic() - self._heard_at, self.source.config.timeout.total_seconds()
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
                    self.source.name, self.store, self._now, self._sleep, self._read_only, clock=self.clock
                )
                connector = self.source.connector(self.source.config, context)
                try:
                    self._read(glance, connector)
                finally:
                    self._keep_clock()
                    connector.close()
        except BaseException as error:  # noqa: BLE001 - the pass must hear of any error, and not wait for ever
            self._send(StreamFailed(self._stream, error))
        finally:
            self._send(SourceFinished())

    def _open_store(self, glance: LedgerReader | None) -> None:
        self.store = PassStore(glance.store(self.source.name) if glance else {}, self._now)
        self.clock.recall(self.store.get(CLOCK))

    def _read(self, glance: LedgerReader | None, connector: Connector) -> None:
        identity = incoming.identity(connector.identity())
        if glance:
            refuse_stranger(glance, self.source, identity)
        self._normalizer = Normalizer(self._rules, self.source, connector, self.clock)
        self._send(SourceOpened(identity))
        if not self._vouching.is_given:  # the owners may be a day old: they can vouch, but prove nothing if they do not
            self._vouching.hear(connector.owners())
        until: datetime | None = None
        for stream in self._order(glance, connector):
            self._stream = stream
            until = self._read_stream(glance, connector, stream, until)
        # Report the mistake even if no page was read.
        if not self._vouching.is_given and (owners := connector.owners()):
            self._vouching.require(owners)

    def _keep_clock(self) -> None:
        kept = self.clock.to_keep()
        if kept is not None:
            self.store.put(CLOCK, kept)

    def _read_stream(
        self, glance: LedgerReader | None, connector: Connector, stream: str, until: datetime | None
    ) -> datetime | None:
        """Read a stream and return its window's end. A missing permission ends this stream alone."""
        try:
            self._look_up(glance, connector, stream)
            until, withheld = self._read_window(glance, connector, stream, until)
            withheld = withheld or self._look_up_withheld(glance, connector, stream)
            if withheld is not None:
                self._send(StreamFailed(stream, withheld))
        except Unauthorized as error:
            self._send(StreamFailed(stream, error))
        return until

    def _read_window(
        self, glance: LedgerReader | None, connector: Connector, stream: str, until: datetime | None
    ) -> tuple[datetime | None, SyncdError | None]:
        """Return the window's end, and the error that hides the content of its records, if any."""
        withheld: SyncdError | None = None
        state = glance.stream(self.source.name, stream) if glance else None
        watermark, swept_at = (state.watermark, state.swept_at) if state else (None, None)
        now = self.clock.now()
        sweep = windows.sweep_due(swept_at=swept_at, now=now)
        since = windows.window_since(
            start=self.source.config.start, overlap=self.source.config.overlap, watermark=watermark,
            swept_at=swept_at, sweep=sweep, now=now,
        )  # fmt: skip

        def needed(refs: Sequence[Ref]) -> Collection[str]:
            return _unknown(glance, self.source.name, stream, refs)

        for page in connector.fetch(stream, Window(since, until, needed)):
            until, withheld = page.complete_until or until, page.withheld
            self._page(connector, stream, incoming.page(page))
        self._send(WindowRead(stream, until, sweep))
        return until, withheld

    def _order(self, glance: LedgerReader | None, connector: Connector) -> list[str]:
        names = [stream.name for stream in connector.streams]
        return sorted(names, key=lambda name: glance is not None and glance.stream(self.source.name, name).failed)

    def _look_up(self, glance: LedgerReader | None, connector: Connector, stream: str) -> None:
        """Look up the due records, each time in another order.

        So an id that makes its request fail does not always take the same others with it.
        """
        if glance is None:
            return
        now, after_id = self._now(), 0
        while due := glance.due_look_ups(self.source.name, stream, now=now, after_id=after_id, limit=LOOK_UPS_AT_ONCE):
            after_id = due[-1][0]
            self._ask_by_id(connector, stream, due)

    def _look_up_withheld(self, glance: LedgerReader | None, connector: Connector, stream: str) -> SyncdError | None:
        """Look up a bounded number of redacted records. Return the error that still hides them, if any."""
        if glance is None:
            return None
        now, after_id = self._now(), 0
        for _ in range(WITHHELD_PAGES):
            due = glance.withheld(self.source.name, stream, now=now, after_id=after_id, limit=LOOK_UPS_AT_ONCE)
            if not due:
                break
            after_id = due[-1][0]
            withheld = self._ask_by_id(connector, stream, due)
            if withheld is not None:
                return withheld
        return None

    def _ask_by_id(self, connector: Connector, stream: str, due: Sequence[tuple[int, str]]) -> SyncdError | None:
        """Look up pairs (row id, crm_id). Return the error of the last page that hides the content, if any."""
        ids = [crm_id for _, crm_id in due]
        random.shuffle(ids)
        asked_at = self._now()
        withheld: SyncdError | None = None
        for page in self._asked(connector, stream, ids):
            withheld = page.withheld
            self._page(connector, stream, page, looked_up_at=asked_at)
        return withheld

    def _asked(self, connector: Connector, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        """Yield pages with the records of `ids`. A stand-in is unknown to the CRM, so it counts as not found."""
        stand_ins = [crm_id for crm_id in ids if is_stand_in(crm_id)]
        if stand_ins:
            yield Page((), (), missing=stand_ins)
        if len(stand_ins) < len(ids):
            known = [crm_id for crm_id in ids if not is_stand_in(crm_id)]
            yield from map(incoming.page, connector.fetch_ids(stream, known))

    def _page(self, connector: Connector, stream: str, page: Page, *, looked_up_at: datetime | None = None) -> None:
        """Normalize a page, wait until there is room for it, and send it."""
        owners = connector.owners()
        if page.refs or page.missing:
            self._vouching.require(owners)
        readings = self._normalizer.readings(stream, page.records, owners)
        missing = list(page.missing)
        if looked_up_at is not None:  # a record that is no activity any more counts as not found
            missing += {record.ref.crm_id for record in page.records} - {reading.crm_id for reading in readings}
        event = PageRead(stream, page.refs, readings, missing, page.complete_until, looked_up_at)
        self._exit_if_stopping()
        while not self._room.acquire(timeout=0.2):
            self._exit_if_stopping()
        self._exit_if_stopping()
        self._send(event)

    def _send(self, event: Event) -> None:
        self._heard_at = time.monotonic()
        self._events.put(event)
        self._wake()

    def _sleep(self, seconds: float) -> None:
        self._heard_at = time.monotonic() + seconds
        if self._stopping.wait(seconds) or self._abandoned:
            raise Stopped("stopped by a signal")

    def _exit_if_stopping(self) -> None:
        self._heard_at = time.monotonic()
        if self._stopping.is_set() or self._abandoned:
            raise Stopped("stopped by a signal")


def as_told(source: str, error: BaseException, stream: str | None = None) -> SyncdError:
    """Return `error` if it is a SyncdError. Otherwise log a bug of the connector and return its type alone."""
    if isinstance(error, SyncdError):
        return error
    log.error("pull.bug", source=source, stream=stream, exc_info=error)
    return SyncdError(f"a bug in the connector of {source}: {type(error).__name__}", hint="report it")


def _hangs(source: Source, how_long: str) -> Unavailable:
    hint = "is a disk or network drive of this source dead? `syncd check` may tell; the other sources go on"
    return Unavailable(f"{source.name} hangs: nothing was heard of it {how_long}", hint=hint)


def _unknown(glance: LedgerReader | None, source: str, stream: str, refs: Sequence[Ref]) -> set[str]:
    """Return the ids to read in full: new ones, and changed ones that are not delivered."""
    ids = [kept_id(ref.crm_id) for ref in refs]
    known = glance.known(source, stream, ids) if glance else {}
    return {
        ref.crm_id
        for crm_id, ref in zip(ids, refs, strict=True)
        if (held := known.get(crm_id)) is None or (held[0] < clock.text(ref.modified_at) and not held[1])
    }


def refuse_stranger(glance: LedgerReader, source: Source, identity: str | None) -> None:
    """Raise ConfigError if the source's name and its portal do not belong together.

    Otherwise everything would be sent twice.
    """
    known = glance.sources()
    path = f"sources.{source.name}"
    before, template = known.get(source.name, (None, source.config.external_id))
    if template != source.config.external_id and glance.has_rows(source.name):
        message = (
            f"is {source.config.external_id!r}, but the ledger's activities of this source were sent as {template!r}"
        )
        raise ConfigError([Problem(f"{path}.external_id", message, f"put {template!r} back")])
    if identity is None:
        return
    if before is not None and before != identity:
        message = f"these credentials lead to portal or org {identity}, the ledger knows this source as {before}"
        hint = "use the credentials of the portal it was, or give the new portal a source name of its own"
        raise ConfigError([Problem(path, message, hint)])
    other = next((name for name, (theirs, _) in known.items() if theirs == identity and name != source.name), None)
    if other is not None and before is None:
        message = f"portal or org {identity} stands in the ledger as the source {other!r}"
        hint = f"call the table [sources.{other}] again: under a new name everything would be sent twice"
        raise ConfigError([Problem(path, message, hint)])


__all__ = ["PassStore", "Reader", "as_told", "refuse_stranger"]
