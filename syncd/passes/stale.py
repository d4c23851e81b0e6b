"""Look pending rows up by id before they are sent, if their records were not read within an hour.

    the ledger's thread                                        the reader's thread of the source
    due ─► read within an hour: it goes out
      └──► stale: the next rows of its stream ─── Request ───► between two pages: fetch_ids ─► PageRead
           it is read now, or as it stands        ◄─ Checked ── when all of them were asked for

The requests follow the sender's order, one of each stream at a time. What the CRM does not serve in this pass goes out
as it stands. A stream without a reader gets one for these look-ups alone.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from syncd.connector import Source
from syncd.ledger import Claimed, Due, Ledger, LedgerReader
from syncd.passes.events import Checked, StreamFailed
from syncd.passes.intake import Intake
from syncd.passes.limits import Limits
from syncd.passes.look_ups import LOOK_UPS_AT_ONCE, LookUps
from syncd.recotap.sender import BATCH

log = structlog.get_logger()

PATIENCE_S = 120.0  # the longest that the sender waits for one request: a CRM that hangs must not hold it up
QUEUE_S = 600.0  # the same as long as its source is not read, because others are
BATCHES = 10  # found without a stale row, until the next look ahead
MOST_UNSERVED = 1000  # rows of one pass without an answer. From then on nobody asks, so that memory stays bounded
LATE_HINT = "its pending activities are sent as they were last read: nothing to do"


@dataclass(frozen=True, slots=True)
class Request:
    """Records of one stream to look up at once."""

    stream: str
    ids: Sequence[str]  # the CRM's, in the sender's order, at most 1,000


class Desk:
    """Hand the requests of one source from the ledger's thread to the reader's."""

    def __init__(self) -> None:
        self._requests: dict[str, Request] = {}  # by stream
        self._lock = threading.Lock()
        self._alone = False

    def call_alone(self) -> None:
        """Let the next reader of the source serve these requests and read nothing else."""
        self._alone = True

    def begin(self) -> bool:
        """Tell a new reader whether it is called for these requests alone. The next one reads everything."""
        alone, self._alone = self._alone, False
        return alone

    def put(self, request: Request) -> None:
        """Leave a request. Its stream has none here."""
        with self._lock:
            self._requests[request.stream] = request

    def take(self) -> Request | None:
        """Take the oldest request, or None."""
        with self._lock:
            return self._requests.pop(next(iter(self._requests))) if self._requests else None

    def withdraw(self, stream: str) -> None:
        """Take a request back, unless a reader has taken it."""
        with self._lock:
            self._requests.pop(stream, None)

    def holds(self, stream: str) -> bool:
        """Tell whether a request waits for a reader."""
        with self._lock:
            return stream in self._requests

    @property
    def is_empty(self) -> bool:
        """Whether no request waits for a reader."""
        with self._lock:
            return not self._requests


class StaleRows:
    """Choose the rows that may go out, and ask for the records of stale ones. The ledger's thread alone uses it."""

    def __init__(
        self, ledger: Ledger, sources: Iterable[Source], *, now: Callable[[], datetime], limits: Limits | None = None
    ) -> None:
        """`sources` are all that the configuration has. Rows of any other source go out as they stand."""
        self._ledger = ledger
        self._limits = limits or Limits()
        self._sources: Mapping[str, Source] = {source.name: source for source in sources}
        self._now = now
        self._desks = {name: Desk() for name in self._sources}
        self._streams: dict[int, tuple[str, str]] = {}  # row id: source, stream
        self._asked: dict[int, tuple[float, list[int]]] = {}  # by stream: since when (monotonic), and which rows
        self._has_reader: set[str] = set()  # sources that are being read
        self._skipped: set[int] = set()  # those rows
        self._unserved: set[int] = set()  # rows that were asked for in vain
        self._over: set[tuple[str, str | None]] = set()  # streams, or whole sources, that are not asked any more
        self._first_post = 0  # of this pass
        self._ready: tuple[int, Sequence[Due]] = -1, []  # what may go out beside rows that wait, as of so many writes
        self._batches = 0  # batches found since something was asked for. 0: nothing was stale yet

    @property
    def busy(self) -> bool:
        """Whether rows wait for an answer of their CRM."""
        return bool(self._asked)

    # -- for the sender -------------------------------------------------------------------

    def due(self, limit: int, *, first_post: int, now: datetime, ahead: bool) -> Sequence[Due]:
        """Return up to `limit` activities to send next, as `Ledger.due`, without those that wait for a look-up.

        A pass without stale rows makes the same query as without this class. `ahead`: Recotap takes activities, so
        whole requests are worth while. Otherwise a single batch is looked up.
        """

        self._first_post = first_post
        self._lose_patience()
        self._batches += self._batches > 0 and limit > 1
        if ahead and self._batches > BATCHES:
            self._ask(now, LOOK_UPS_AT_ONCE)
        as_of, ready = self._ready
        found = ready[:limit] if as_of == self._ledger.writes else self._find(limit, now)
        if any(map(self._must_wait, found)):
            found = self._beside(ahead, now)[:limit]
        return [] if found and found[0].isolated and self.busy else found

    def claimed(self, activities: Iterable[Claimed]) -> None:
        """Hear that the intent to send activities is booked."""
        self._limits.claimed(activities)

    def _beside(self, ahead: bool, now: datetime) -> Sequence[Due]:
        """Return what may go out among the next rows, of which some must wait, and ask for those.

        Many rows are read for that, so the answer is kept until the ledger is written or a request begins or ends.
        """
        found = self._ask(now, LOOK_UPS_AT_ONCE if ahead else BATCH)
        ready = [each for each in found if not (each.id in self._skipped or self._must_wait(each))]
        self._ready = self._ledger.writes, ready
        return ready

    def _find(self, limit: int, now: datetime) -> Sequence[Due]:
        return self._limits.due(self._ledger, limit, first_post=self._first_post, now=now, skip=self._skipped)

    def _must_wait(self, due: Due) -> bool:
        return bool(due.stale_in) and due.id not in self._unserved and not self._is_over(due.stale_in)

    def _is_over(self, stream_id: int) -> bool:
        source, stream = self._name(stream_id)
        return (source, None) in self._over or (source, stream) in self._over

    def _ask(self, now: datetime, most: int) -> Sequence[Due]:
        """Ask for the next stale rows, up to `most` of each stream that is not asked already. Return all next rows."""
        self._batches = 1
        wanted: dict[int, list[int]] = {}
        found = self._find(2 * most, now)
        for each in found:
            if each.stale_in not in self._asked and self._must_wait(each):
                wanted.setdefault(each.stale_in, []).append(each.id)
        for stream_id, ids in wanted.items():
            self._request(stream_id, ids[:most])
        return found

    def _request(self, stream_id: int, ids: list[int]) -> None:
        source, stream = self._name(stream_id)
        if not self._can_ask(source, stream):
            self._over.add((source, stream))
            return
        crm_ids = self._ledger.crm_ids(ids)
        self._asked[stream_id] = time.monotonic(), ids
        self._skipped.update(ids)
        self._ready = -1, []
        self._desks[source].put(Request(stream, [crm_ids[each] for each in ids]))

    def _can_ask(self, source: str, stream: str) -> bool:
        configured = self._sources.get(source)
        return (
            configured is not None
            and any(each.name == stream for each in configured.connector.streams)
            and self._ledger.pause(source, self._now()) is None
        )

    def _name(self, stream_id: int) -> tuple[str, str]:
        if stream_id not in self._streams:
            self._streams = self._ledger.stream_names()
        return self._streams[stream_id]

    # -- for the pass ---------------------------------------------------------------------

    def desk(self, source: str) -> Desk:
        """Return the desk for a reader of `source` that is about to start. The time to answer begins now."""
        self._has_reader.add(source)
        for stream_id in self._asked_of(source, None):
            self._asked[stream_id] = time.monotonic(), self._asked[stream_id][1]
        return self._desks.setdefault(source, Desk())

    def without_reader(self, but: Collection[str] = ()) -> list[Source]:
        """Return the sources with a request for which a reader is to be started. Those of `but` have one."""
        names = [name for name, desk in self._desks.items() if name not in but and not desk.is_empty]
        for name in names:
            self._desks[name].call_alone()
        return [self._sources[name] for name in names]

    def checked(self, source: str, event: Checked, *, ahead: bool) -> None:
        """Hear that all records of a request were asked for. What was served is booked.

        `ahead`: Recotap takes activities, so the next request follows while the rows of this one are sent.
        """
        for stream_id in self._asked_of(source, event.stream):
            self._release(stream_id, served=True)
        if event.is_over:
            self.give_up(source, None)
        elif ahead:
            self._ask(self._now(), LOOK_UPS_AT_ONCE)

    def ended(self, source: str, *, failed: bool) -> None:
        """Hear that the reader of `source` has ended. If it has not failed, another one may come."""
        self._has_reader.discard(source)
        if failed:
            self.give_up(source, None)
        for stream_id in self._asked_of(source, None):
            if not self._desks[source].holds(self._name(stream_id)[1]):
                self._release(stream_id, served=True)

    def paused(self, source: str) -> bool:
        """Hear that `source` is not read, because it pauses. Tell whether it was called for look-ups alone."""
        self.give_up(source, None)
        return self._desks.setdefault(source, Desk()).begin()

    def give_up(self, source: str, stream: str | None) -> None:
        """Send the rows of a stream, or of the whole source, as they stand."""
        self._over.add((source, stream))
        for stream_id in self._asked_of(source, stream):
            self._release(stream_id, served=False)

    def _asked_of(self, source: str, stream: str | None) -> list[int]:
        """Return the streams of `source` that are asked, all of them if `stream` is None."""
        named = ((stream_id, *self._name(stream_id)) for stream_id in self._asked)
        return [stream_id for stream_id, name, its in named if name == source and stream in (None, its)]

    def _release(self, stream_id: int, *, served: bool) -> None:
        _, ids = self._asked.pop(stream_id)
        source, stream = self._name(stream_id)
        self._desks[source].withdraw(stream)
        self._skipped.difference_update(ids)
        self._ready = -1, []
        if served:
            self._unserved |= self._ledger.stale_of(ids, self._now())
        if len(self._unserved) > MOST_UNSERVED:
            self._over.add((source, stream))

    def _lose_patience(self) -> None:
        """Give up each source that lets a request wait for too long. Measured in real time, as its thread is real."""
        at = time.monotonic()
        for stream_id, (since, _) in [*self._asked.items()]:
            source, _ = self._name(stream_id)
            most = PATIENCE_S if source in self._has_reader else QUEUE_S
            if at - since > most and stream_id in self._asked:
                log.warning("look_ups.late", source=source, waited_s=most, hint=LATE_HINT)
                self.give_up(source, None)


class StaleLookUps:
    """Serve the requests of one desk, in the reader's thread."""

    def __init__(self, desk: Desk, intake: Intake, glance: LedgerReader) -> None:
        self._desk = desk
        self._intake = intake
        self._look_ups = LookUps(intake, glance)
        self._serving = False

    def serve_rest(self) -> None:
        """Look up all that is asked for, until no request follows. A later one needs another reader."""
        while not self._desk.is_empty:
            self.serve()
            self._intake.channel.wait_until_booked()  # then the next request is here, if there is one

    def serve(self) -> None:
        """Look up all that is asked for. Called after each page of the source, also after one of these look-ups.

        The source gives way between two requests. Within one, the rest would count as not served by the CRM.
        """
        if self._serving:
            return
        channel, self._serving = self._intake.channel, True
        held_on = channel.holds_on
        try:
            while (request := self._desk.take()) is not None:
                channel.holds_on = True
                self._look_ups.look_up(request.stream, request.ids)
                channel.holds_on = held_on
                if (bug := self._look_ups.take_bug()) is not None:
                    channel.send(StreamFailed(request.stream, bug))
                channel.send(Checked(request.stream, self._look_ups.over))
                channel.exit_if_giving_way()
        finally:
            channel.holds_on, self._serving = held_on, False


__all__ = ["Desk", "Request", "StaleLookUps", "StaleRows"]
