"""One pass: every source is read while what is due is sent; then the books are checked.

        reader thread ──Read──►┐                      ┌──POST──► thread ─┐
                               ├─► this thread: book ─┤                  │
        POST threads ──answer─►┘    judge, intend     └◄────── answer ───┘

The thread that calls `run` is the only one that writes the ledger.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any

import structlog

from syncd import clock
from syncd.connector import Record, Source
from syncd.errors import Exit, LedgerError, Stopped, SyncdError, Unavailable, worst
from syncd.ledger import CLOCK, RECOTAP, Ledger
from syncd.lifecycle.states import MEANINGS, State, Verdict
from syncd.lifecycle.transitions import Reading
from syncd.normalize.normalizer import Normalizer
from syncd.normalize.own_domains import VOUCHED, Vouching
from syncd.normalize.rules import Rules
from syncd.passes.clocks import PassClocks
from syncd.passes.dispatch import Poster, Push
from syncd.passes.reader import Event, PageRead, Reader, SourceFinished, SourceOpened, StreamFailed, WindowRead, as_told
from syncd.passes.report import NullObserver, Observer, PassResult, StreamTotals
from syncd.signals import StopRequest

log = structlog.get_logger()

NO_HINT = "nothing is lost, and the next pass tries again; where it lasts, report it"
JUDGED_AT_ONCE = 100  # records between two looks at what Recotap answered
WAKE_S = 0.5  # the longest nap between two looks at the clock


_Arrival = tuple[Reader | None, Any]  # of a reader: an Event; of None: a POST that came back, or None to look up


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
        stop: StopRequest | None = None,
        observer: Observer | None = None,
        now: Callable[[], datetime] = clock.now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._waiting = list(sources)
        self._stop = stop or StopRequest()
        self._observer = observer or NullObserver()
        self._now = now
        self._events: SimpleQueue[_Arrival] = SimpleQueue()
        self._deferred: deque[tuple[Reader, Event]] = deque()
        self._ending = threading.Event()
        self._stop.on_request = self._end_soon
        self._push = Push(
            ledger, poster, concurrency=concurrency, max_age=max_age, now=now, monotonic=monotonic,
            answered=lambda returned: self._events.put((None, returned)), certain=lambda: self._certain(may_ask=False),
        )  # fmt: skip
        kept = ledger.store(RECOTAP)
        # What an earlier configuration booked waits, too, until the owners of a source vouch for the example's domain.
        self._vouching = Vouching(rules, kept.get(VOUCHED, (None, None))[0])
        self._clocks = PassClocks(poster, kept.get(CLOCK, (None, None))[0])
        self._reader: Reader | None = None
        self._normalizer = Normalizer(rules, now)
        self._streams: dict[tuple[str, str], StreamTotals] = {}
        self._errors: list[SyncdError] = []
        self._codes: set[int] = set()
        self._failed: dict[str, SyncdError] = {}

    def run(self) -> PassResult:
        """Read, book, send and settle until nothing is left to do in this pass.

        LedgerError when the ledger fails: then nothing more is read or sent.
        """
        started = self._now()
        pass_id = self._ledger.begin_pass(started)
        crashed = self._ledger.recover(now=started)
        if crashed:
            log.warning("pass.recovered", activities=crashed, hint="the last pass was cut short; nothing is lost")
        self._ledger.unpause(started)
        self._pause_recotap(started)
        if self._stop.requested:
            self._ending.set()
        elif self._ledger.clock_doubted():  # if it is right by now, what waits is due before the reader looks
            self._certain()
        try:
            self._read_and_send()
            return self._finish(pass_id)
        except BaseException:
            with suppress(LedgerError):  # it may be what failed
                self._ledger.cut_short(self._now())
            raise

    def _read_and_send(self) -> None:
        try:
            self._loop()
        finally:
            self._stop.on_request = lambda: None  # nobody is to keep this pass, and all that it holds
            self._ending.set()  # when the ledger failed: the reader is to end too
            self._push.close()
            if self._reader:
                self._reader.join()

    def _end_soon(self) -> None:
        self._ending.set()
        self._events.put((None, None))

    def _loop(self) -> None:
        while True:
            if not self._ending.is_set():
                self._next_source()
                self._pump()
            elif self._reader is None and not self._push.in_flight:
                return
            if self._reader is None and not self._waiting and (self._push.idle or not self._vouching.is_given):
                return
            self._handle_next()
            self._abandon_if_it_hangs()

    def _abandon_if_it_hangs(self) -> None:
        """Go on without a reader that hangs: it stalls its own source alone, and no stop."""
        reader = self._reader
        if reader is not None and reader.hangs():
            self._reader = None
            self._fail(reader.source, None, reader.abandon())

    def _handle_next(self) -> None:
        """Wait for something to arrive; book all answers that have come with it in one transaction."""
        reader, event = self._arrival()
        if reader is not None:
            self._handle(reader, event)
        elif event is not None:
            self._settle_all(event)

    def _settle_all(self, returned: Any) -> None:
        with self._ledger.transaction():
            while returned is not None:
                self._settle(returned)
                returned = self._next_answer()

    def _next_answer(self) -> Any:
        """Return a POST that has come back already, if any; what a reader sent before it is kept for its turn."""
        while not self._events.empty():
            reader, event = self._events.get()
            if reader is not None:
                self._deferred.append((reader, event))
            elif event is not None:
                return event
        return None

    def _arrival(self) -> _Arrival:
        if self._deferred:
            return self._deferred.popleft()
        try:
            return self._events.get(timeout=min(self._push.wait_s() or WAKE_S, WAKE_S))
        except Empty:
            return None, None

    def _settle(self, returned: Any) -> None:
        self._observer.on_progress()
        self._push.settle(returned)
        log.debug("post.settled", posts=self._push.totals.posts, in_flight=self._push.in_flight)
        self._observer.sent(self._push.totals)

    def _handle(self, reader: Reader, event: Event) -> None:
        if reader is not self._reader:  # it was abandoned
            return
        self._observer.on_progress()
        match event:
            case SourceOpened(connector, identity):
                self._normalizer.meet(reader.source, connector, reader.clock)
                self._clocks.meet(reader.source.name, reader.clock)
                self._ledger.introduce(
                    reader.source.name, identity=identity, external_id=reader.source.config.external_id
                )
            case PageRead():
                self._book(reader, event)
                reader.booked()
            case WindowRead(stream, until, sweep):
                stream_id = self._ledger.stream_id(reader.source.name, stream)
                now = self._now()
                self._ledger.window_finished(stream_id, now=now, swept_at=(until or now) if sweep else None)
            case StreamFailed(stream, error):
                if not self._vouching.postpones(reader.source, stream, error):
                    self._fail(reader.source, stream, error)
            case SourceFinished():
                self._ledger.keep(reader.source.name, reader.store.take_changes(), self._now())
                self._log_streams(reader.source)
                self._reader = None

    # -- reading ------------------------------------------------------------------------

    def _resume_postponed(self) -> bool:
        """Read again what lacked an owner that vouches, if another source has one; otherwise it fails."""
        for source, stream, error in self._vouching.postponed():
            if self._vouching.is_given and not self._ending.is_set():
                self._waiting.append(source)
            else:
                self._fail(source, stream, error)
        return bool(self._waiting)

    def _next_source(self) -> None:
        while self._reader is None and (self._waiting or self._resume_postponed()):
            source = self._waiting.pop(0)
            pause = self._ledger.pause(source.name, self._now())
            if pause is not None:
                until, reason = pause
                error = Unavailable(f"{source.name} pauses until {clock.text(until)}: {reason}", hint="nothing to do")
                self._failed[source.name] = error
                self._note(error, "pull.paused", source=source.name)
                continue
            for stream in source.connector.streams:
                self._ledger.stream_id(source.name, stream.name)
            reader = Reader(
                source, ledger=self._ledger.path, now=self._now, stopping=self._ending,
                emit=lambda reader, event: self._events.put((reader, event)), vouching=self._vouching,
            )  # fmt: skip
            if (pointless := reader.pointless()) is not None:
                self._fail(source, None, pointless)
                continue
            self._reader = reader
            reader.start()

    def _book(self, reader: Reader, event: PageRead) -> None:
        source, page = reader.source, event.page
        stream_id = self._ledger.stream_id(source.name, event.stream)
        certain = self._certain() if page.records or page.missing else True  # otherwise nothing is booked by it
        readings: list[Reading] = []
        for few in _batched(page.records, JUDGED_AT_ONCE):
            readings += self._normalizer.readings(event.stream, few, event.owners, certain=certain)
            self._keep_sending()
        self._let_land(stream_id, [reading.crm_id for reading in readings])
        now = self._now()
        looked_up = event.looked_up_at is not None
        watermark = None if looked_up else max((ref.modified_at for ref in page.refs), default=None)
        if watermark is not None and page.complete_until is not None:
            watermark = min(watermark, page.complete_until)
        booked = self._ledger.book(
            stream_id, page.refs, readings, now=now, watermark=watermark, looked_up_at=event.looked_up_at,
            certain=certain,
        )  # fmt: skip
        if looked_up:  # what is no activity any more has gone as much as what is not found
            gone = {record.ref.crm_id for record in page.records} - {reading.crm_id for reading in readings}
            self._ledger.book_missing(stream_id, [*page.missing, *gone], now=now, certain=certain)
        self._ledger.keep(source.name, reader.store.take_changes(), now)
        totals = self._streams.setdefault((source.name, event.stream), StreamTotals())
        totals.read += len(page.refs)
        totals.new += booked.new
        totals.changed += booked.changed
        totals.changed_after_delivery += booked.changed_after_delivery
        log.debug(
            "page.booked", source=source.name, stream=event.stream, read=len(page.refs), whole=len(page.records),
            new=booked.new, changed=booked.changed, looked_up=looked_up,
        )  # fmt: skip
        self._observer.read(source.name, event.stream, booked, len(page.refs))

    def _certain(self, *, may_ask: bool = True) -> bool:
        """Tell whether a server confirms the clock; if that changes, the ledger hears of it before anything else."""
        confirmed = self._clocks.confirmed(may_ask=may_ask and self._push.stop is None and not self._ending.is_set())
        (self._ledger.trust_clock if confirmed else self._ledger.doubt_clock)(self._now())
        return confirmed

    def _keep_sending(self) -> None:
        """Settle what has come back meanwhile and send on: judging a page takes as long as a POST."""
        returned = self._next_answer()
        if returned is not None:
            self._settle_all(returned)
        if not self._ending.is_set():
            self._pump()

    def _pump(self) -> None:
        if self._vouching.is_given:
            self._push.pump()

    def _let_land(self, stream_id: int, crm_ids: Sequence[str]) -> None:
        """Wait for the verdict on a record that is on its way before its row is touched.

        Else a row could be on its way to Recotap and, by a fresh look, out of `pending`:
        the verdict would find no place to go. Rare; bounded by the POST's deadline.
        """
        while self._push.in_flight and self._ledger.in_flight(stream_id, crm_ids):
            reader, event = self._events.get()
            if reader is not None:
                self._deferred.append((reader, event))
            elif event is not None:
                self._settle(event)

    def _fail(self, source: Source, stream: str | None, error: BaseException) -> None:
        if isinstance(error, Stopped):
            self._failed[source.name] = error
            return
        if isinstance(error, LedgerError):
            raise error
        error = as_told(source.name, error, stream)
        self._failed[source.name] = error
        for each in source.connector.streams:
            if stream in (None, each.name):
                self._ledger.window_failed(self._ledger.stream_id(source.name, each.name), error.summary)
        if isinstance(error, Unavailable) and error.pause_until is not None:
            self._ledger.pause_until(source.name, error.pause_until, error.message, now=self._now())
        self._note(error, "pull.failed", source=source.name, stream=stream)

    def _log_streams(self, source: Source) -> None:
        for (name, stream), totals in self._streams.items():
            if name == source.name:
                log.info(
                    "pull.finished", source=name, stream=stream, read=totals.read, new=totals.new,
                    changed=totals.changed, changed_after_delivery=totals.changed_after_delivery,
                )  # fmt: skip

    # -- sending and the end ------------------------------------------------------------

    def _pause_recotap(self, now: datetime) -> None:
        pause = self._ledger.pause(RECOTAP, now)
        if pause is not None:
            self._push.hold_back(*pause)

    def _finish(self, pass_id: int) -> PassResult:
        self._log_push()
        self._resume_postponed()
        self._ledger.keep(RECOTAP, self._vouching.to_keep(), self._now())
        self._close_clocks()
        stop = self._push.stop
        if stop is not None:
            self._failed[RECOTAP] = _error(stop.exit_code, stop.message, stop.hint)
            self._note(self._failed[RECOTAP], "push.failed")
        self._note_silence()
        if self._push.totals.died:
            self._codes.add(Exit.DIED)
        if not self._ledger.balanced():
            self._codes.add(Exit.UNBALANCED)
            hint = (
                "rows were removed by hand, or the file was changed: restore a backup; `syncd status` shows the books"
            )
            log.error("books.unbalanced", hint=hint)
        if self._stop.requested:
            self._codes.add(self._stop.exit_code)
        code = worst(self._codes)
        self._ledger.end_pass(pass_id, exit_code=code, now=self._now())
        log.info("pass.finished", exit_code=int(code), **self._ledger.counts())
        return PassResult(code, self._push.totals, self._streams, tuple(self._errors), self._failed)

    def _close_clocks(self) -> None:
        """End a doubt that this pass has resolved, keep Recotap's clock, and say what is wrong with any."""
        if self._ledger.clock_doubted():
            self._certain(may_ask=False)
        kept = self._clocks.to_keep()
        if kept is not None:
            self._ledger.keep(RECOTAP, {CLOCK: kept}, self._now())
        self._clocks.report()

    def _note_silence(self) -> None:
        """Say that Recotap left activities without an answer; where it answered for none, nothing was reached."""
        verdicts = self._push.totals.verdicts
        silent = verdicts[Verdict.UNANSWERED] + verdicts[Verdict.SUSPECT]
        if not silent or self._push.stop is not None:
            return
        message = f"Recotap gave no readable answer for {silent} activities"
        hint = "they stay pending and are sent again; if it goes on, show `syncd explain ID` of one to Recotap"
        if any(verdicts[verdict] for verdict in Verdict if MEANINGS[verdict].state is State.DELIVERED):
            log.warning("push.unanswered", error=message, hint=hint)
        else:
            self._failed[RECOTAP] = Unavailable(message, hint=hint)
            self._note(self._failed[RECOTAP], "push.failed")

    def _log_push(self) -> None:
        totals = self._push.totals
        if totals.posts:
            verdicts = {verdict.value: count for verdict, count in sorted(totals.verdicts.items())}
            log.info("push.finished", posts=totals.posts, sent=totals.sent, died=totals.died, **verdicts)

    def _note(self, error: SyncdError, event: str, **facts: Any) -> None:
        self._errors.append(error)
        self._codes.add(error.exit_code)
        hint = error.hint or "; ".join(problem.hint for problem in getattr(error, "problems", ())) or NO_HINT
        log.error(event, error=error.summary, hint=hint, **facts)


def _batched(records: Sequence[Record], size: int) -> Iterator[Sequence[Record]]:
    return (records[start : start + size] for start in range(0, len(records), size))


def _error(code: Exit, message: str, hint: str) -> SyncdError:
    error = SyncdError(message, hint=hint)
    error.exit_code = code
    return error
