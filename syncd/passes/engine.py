"""One pass: read the sources side by side, send due activities meanwhile, and check the books.

                      one thread a source             the thread of `run`                  POST threads
    fetch ─► normalize ──── PageRead ────►  book ─► intend ──── batch ────►  send
                                              ▲                                │
                                            settle ◄──────── PostReturned ─────┘

The thread that calls `run` is the only one that writes the ledger.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from datetime import datetime, timedelta
from queue import SimpleQueue

import structlog

from syncd import clock
from syncd.connector import Source
from syncd.errors import LedgerError, LedgerHeld, Stopped, Unauthorized, Unavailable
from syncd.ledger import CLOCK, RECOTAP, Ledger
from syncd.normalize.own_domains import VOUCHED, Vouching
from syncd.normalize.rules import Rules
from syncd.passes import pins
from syncd.passes.booking import book_page, book_range_event, note_early
from syncd.passes.clocks import PassClocks
from syncd.passes.control import PassControl
from syncd.passes.dispatch import Poster, PostReturned, Push, SendingStopped
from syncd.passes.events import (
    Checked,
    Counted,
    Event,
    PageRead,
    RangeEvent,
    SourceFinished,
    SourceOpened,
    StreamFailed,
    WindowRead,
)
from syncd.passes.forgetting import LeftOut
from syncd.passes.limits import Limits
from syncd.passes.reader import Reader, as_told
from syncd.passes.readers import Readers
from syncd.passes.report import NullObserver, Observer, PassReport, PassResult
from syncd.passes.stale import StaleRows
from syncd.passes.wake import WakeUp
from syncd.signals import StopRequest

log = structlog.get_logger()

WAKE_S = 0.5  # the longest wait between two looks at the clock


class Pass:
    """One pass over `sources` and the outbox. Use once."""

    def __init__(
        self,
        ledger: Ledger,
        sources: Sequence[Source],
        poster: Poster,
        rules: Rules,
        *,
        concurrency: int,
        max_age: timedelta,
        look_up: Sequence[Source] = (),
        stop: StopRequest | None = None,
        observer: Observer | None = None,
        control: PassControl | None = None,
        limits: Limits | None = None,
        now: Callable[[], datetime] = clock.now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`look_up` are further sources, which are read only for rows that are to be looked up before they are sent."""
        self._ledger = ledger
        self._rules = rules
        self._stop = stop or StopRequest()
        self._observer = observer or NullObserver()
        self._now = now
        self._wake = WakeUp()
        self._returned: SimpleQueue[PostReturned] = SimpleQueue()
        self._ending = threading.Event()
        self._stop.on_request = self._end_soon
        self._limits = limits or Limits()
        self._stale = StaleRows(ledger, (*look_up, *sources), now=now, limits=self._limits)
        self._push = Push(
            ledger, poster, concurrency=concurrency, max_age=max_age, now=now, monotonic=monotonic,
            answered=self._answered, certain=lambda: self._certain(may_ask=False), stale=self._stale,
        )  # fmt: skip
        kept = ledger.store(RECOTAP)
        # What an earlier configuration booked waits, too, until the owners of a source vouch for the example's domain.
        self._vouching = Vouching(rules, kept.get(VOUCHED, (None, None))[0])
        self._clocks = PassClocks(poster, kept.get(CLOCK, (None, None))[0])
        self._report = PassReport()
        self._left_out = LeftOut(ledger)
        control = control or PassControl()
        control.on_call = self._wake
        self._readers = Readers(
            sources, ledger, self._report, self._vouching, self._stale, control, self._limits,
            new=self._reader_of, fail=self._fail, now=now,
        )  # fmt: skip

    def refuse_to_send(self, why: SendingStopped) -> None:
        """Send nothing in this pass. Call it before `run`."""
        self._push.stop = why

    def run(self) -> PassResult:
        """Read, book, send and settle until nothing is left to do in this pass.

        LedgerError if the ledger fails: then nothing more is read or sent.
        """
        started = self._now()
        pass_id = self._ledger.begin_pass(started)
        self._take_over(started)
        try:
            try:
                self._loop()
            finally:
                self._close()
            return self._finish(pass_id)
        except BaseException:
            with suppress(LedgerError, LedgerHeld):  # it may be what failed
                self._ledger.end_posts()
                self._ledger.cut_short(self._now())
            raise

    def _take_over(self, now: datetime) -> None:
        """Take over from the last pass: its open POSTs, the pauses, and a doubt about the clock."""
        crashed = self._ledger.recover(now=now)
        if crashed:
            log.warning("pass.recovered", activities=crashed, hint="the last pass was cut short. Nothing is lost")
        with self._ledger.transaction():
            self._ledger.unpause(now)
            if self._rules.same_activity != "off":
                self._ledger.make_secret(now)
        if (pause := self._ledger.pause(RECOTAP, now)) is not None:
            self._push.hold_back(*pause)
        if self._stop.requested:
            self._ending.set()
        elif self._ledger.clock_doubted():  # if it is right by now, what waits is due before the reader looks
            self._certain()

    def _loop(self) -> None:
        while True:
            self._wake.clear()
            self._take_turn()
            if not self._is_under_way():
                return
            if self._returned.empty() and not self._readers.has_event:
                self._wake.wait(min(self._push.wait_s() or WAKE_S, WAKE_S))
            self._readers.abandon_hanging()

    def _take_turn(self) -> None:
        """Book, settle and claim in one transaction, because each commit waits for the disk. Then send.

        An idle loop opens no transaction. Booking comes first, so that its rollback takes nothing else along.
        """
        (reader, event), booked = self._next_event(), False
        has_news = event is not None or not self._returned.empty()
        try:
            with self._ledger.transaction() if has_news else nullcontext():
                if reader and event:
                    self._handle(reader, reader.source, event)
                booked = True
                self._settle()
                may_send = self._vouching.is_given and not self._ending.is_set() and not self._readers.is_over
                jobs = self._push.claim() if may_send else []
            self._push.send(jobs)
            if reader and event:
                self._readers.booked(reader, event)
        except Exception as error:
            if booked or reader is None or event is None or isinstance(error, LedgerError | LedgerHeld):
                raise
            # A bug, or ids that collide. The next turn settles and claims, and the other sources go on.
            self._fail(reader.source, *pins.unbooked(self._ledger, reader.source.name, event, error))
            self._readers.unbooked(reader, event)

    def _is_under_way(self) -> bool:
        """Start the sources that wait unless the pass is to end, and tell whether anything is under way."""
        if self._ending.is_set():
            return not self._readers.is_empty or self._push.in_flight > 0
        self._readers.start(may_send=self._push.stop is None)
        if self._readers.is_over:
            return self._push.in_flight > 0
        return not self._readers.is_empty or (self._vouching.is_given and not self._push.idle)

    def _close(self) -> None:
        self._stop.on_request = lambda: None  # drop the reference so that the pass can be freed
        self._ending.set()  # if the ledger failed, the reader must end too
        self._push.close()
        self._readers.close()

    # -- called in other threads, or in a signal handler ----------------------------------

    def _end_soon(self) -> None:
        self._ending.set()
        self._wake()

    def _answered(self, returned: PostReturned) -> None:
        self._returned.put(returned)
        self._wake()

    # -- fetch ----------------------------------------------------------------------------

    def _reader_of(self, source: Source) -> Reader:
        return Reader(
            source, self._rules, ledger=self._ledger.handle, now=self._now, stopping=self._ending,
            vouching=self._vouching, wake=self._wake, desk=self._stale.desk(source.name),
            ids=self._limits.ids(source.name), counts=self._observer.wants_totals,
            range_pages=self._limits.range_pages,
        )  # fmt: skip

    def _fail(self, source: Source, stream: str | None, error: BaseException) -> None:
        if isinstance(error, Stopped):
            self._report.stopped(source.name, error)
            return
        if isinstance(error, LedgerError | LedgerHeld):
            raise error
        if stream is None or isinstance(error, Unauthorized):
            self._stale.give_up(source.name, stream)
        error = as_told(source.name, error, stream)
        for each in source.streams:
            if stream in (None, each.name) and self._limits.only is None:
                self._ledger.window_failed(self._ledger.stream_id(source.name, each.name), error.summary)
        if isinstance(error, Unavailable) and error.pause_until is not None:
            self._ledger.pause_until(source.name, error.pause_until, error.message, now=self._now())
        self._report.failed(source.name, error, "pull.failed", source=source.name, stream=stream)

    # -- book -----------------------------------------------------------------------------

    def _next_event(self) -> tuple[Reader, Event] | tuple[None, None]:
        """Take one event of a reader, if there is one.

        What takes time is done here, because an open transaction keeps operators waiting.
        """
        reader, event = self._readers.next_event()
        if reader and isinstance(event, PageRead) and event.changes_rows:
            self._certain()
            self._await_verdicts(reader.source.name, event)
        if reader and event:
            self._observer.on_progress()
            return reader, event
        return None, None

    def _handle(self, reader: Reader, source: Source, event: Event) -> None:
        match event:
            case SourceOpened(identity):
                self._ledger.lock_shared()  # two lanes must not both find that nobody reads a portal
                pins.refuse_stranger(self._ledger, source, identity)  # another reader may have come first
                self._clocks.meet(source.name, reader.clock)
                self._ledger.introduce(source.name, identity=identity, external_id=source.config.external_id)
            case Counted(stream, count):
                self._observer.expected(source.name, stream, count)
            case PageRead():
                self._book(reader, event)
            case WindowRead(stream, until, sweep):
                stream_id = self._ledger.stream_id(source.name, stream)
                now = self._now()
                self._ledger.window_finished(stream_id, now=now, swept_at=(until or now) if sweep else None)
            case RangeEvent():
                book_range_event(self._ledger, source.name, event, now=self._now())
                self._report.range_event(source.name, event)
            case StreamFailed(stream, error):
                if not self._vouching.postpones(source, stream, error):
                    self._fail(source, stream, error)
            case Checked():
                self._stale.checked(source.name, event, ahead=self._push.takes_whole_requests)
            case SourceFinished():
                self._stale.ended(source.name, failed=reader.has_failed)
                whole = not (reader.gave_way or reader.is_alone or reader.is_limited)
                early = note_early(self._ledger, self._report, source) if whole else {}
                self._left_out.keep(source.name, {**reader.take_changes(), **early}, self._now())
                if reader.gave_way:
                    self._report.gave_way(source.name)
                elif not reader.is_alone:
                    ranges = self._ledger.ranges(source.name) if whole else ()
                    held = [each for each in ranges if source.config.reads(each.stream)]
                    self._report.source_read(source.name, held, self._now())

    def _book(self, reader: Reader, page: PageRead) -> None:
        source = reader.source.name
        if self._readers.was_mixed(reader):  # each reader knows only what was booked before it looked
            pins.Evidence.of(self._ledger, reader.source, reader.identity).weigh(page.stream, page.readings)
        stream_id = self._ledger.stream_id(source, page.stream)
        certain = not page.changes_rows or self._certain(may_ask=False)  # nothing else is booked by it
        now = self._now()
        page, named = self._left_out.page(page, reader.forgotten)
        booked = book_page(
            self._ledger, stream_id, page, now=now, certain=certain, start=reader.source.config.start,
            exclude_copies=self._rules.same_activity == "exclude",
        )  # fmt: skip
        self._ledger.look_up_forgotten(stream_id, named, now)
        self._limits.booked(self._ledger, source, page)
        self._left_out.keep(source, reader.take_changes(), now)
        self._report.page_booked(source, page, booked)
        self._observer.read(source, page.stream, booked, len(page.refs))
        if page.range_id is not None:
            self._observer.range_read(source, page.stream, len(page.refs))

    def _await_verdicts(self, source: str, page: PageRead) -> None:
        """Wait for the verdict on each of the page's records that is being sent, before its row is touched.

        Otherwise a re-read could move a row out of `pending` while its POST is in flight, and the verdict could not
        be applied. Rare, and bounded by the POST's deadline.
        """
        stream_id = self._ledger.stream_id(source, page.stream)
        crm_ids = [*(reading.crm_id for reading in page.readings), *page.missing, *page.unserved]
        while self._push.carries_any(stream_id, crm_ids):
            self._settle_one(self._returned.get())

    def _certain(self, *, may_ask: bool = True) -> bool:
        """Tell whether a server confirms the clock. If that changes, the ledger hears of it before anything else."""
        confirmed = self._clocks.confirmed(may_ask=may_ask and self._push.stop is None and not self._ending.is_set())
        (self._ledger.trust_clock if confirmed else self._ledger.doubt_clock)(self._now())
        return confirmed

    # -- settle ---------------------------------------------------------------------------

    def _settle(self) -> None:
        """Book the verdicts of all POSTs that have come back."""
        while not self._returned.empty():
            self._settle_one(self._returned.get())

    def _settle_one(self, returned: PostReturned) -> None:
        self._observer.on_progress()
        self._push.settle(returned)
        ids = [each.external_activity_id for each in returned[0].activities]
        log.debug("post.settled", posts=self._push.totals.posts, in_flight=self._push.in_flight, ids=ids)
        self._observer.sent(self._push.totals)

    # -- the end --------------------------------------------------------------------------

    def _finish(self, pass_id: int) -> PassResult:
        totals = self._push.totals
        self._report.count_sent(totals)
        self._push.keep_result()
        self._readers.resume_postponed()
        self._ledger.keep(RECOTAP, self._vouching.to_keep(), self._now())
        if self._ledger.clock_doubted():  # this pass may have resolved it
            self._certain(may_ask=False)
        if (kept := self._clocks.to_keep()) is not None:
            self._ledger.keep(RECOTAP, {CLOCK: kept}, self._now())
        self._clocks.report()
        self._report.sending_ended(totals, self._push.stop)
        self._report.recounted(self._ledger.recount_daily(self._now(), stopping=lambda: self._stop.requested))
        if not self._ledger.balanced():
            self._report.unbalanced()
        result = self._report.result(totals, signal=self._stop.exit_code if self._stop.requested else None)
        self._ledger.end_pass(pass_id, exit_code=result.exit_code, now=self._now())
        hidden = self._report.hidden(result.exit_code)
        also = {"hidden_codes": hidden} if hidden else {}
        log.info("pass.finished", exit_code=int(result.exit_code), **also, **self._ledger.counts())
        return result
