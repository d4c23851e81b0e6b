"""The report of one pass: its progress, its log lines, and its result."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import structlog

from syncd import clock
from syncd.errors import PRECEDENCE, Exit, SyncdError, Unavailable, worst
from syncd.ledger import RECOTAP, Booked, Range, Recount
from syncd.lifecycle.states import MEANINGS, State, Verdict
from syncd.passes.events import PageRead, RangeEvent, RangeFailed, StartNoted
from syncd.passes.jobs import SendingStopped, Totals
from syncd.passes.pausing import pause_hint, pausing
from syncd.passes.ranges import is_outage

log = structlog.get_logger()

DELIVERIES = [verdict for verdict, meaning in MEANINGS.items() if meaning.state is State.DELIVERED]

MANY_FOREIGN = 5  # "already exists" in one pass for activities that the ledger never sent
FOREIGN_HINT = (
    "if this ledger is new or was restored from a backup, nothing is lost or doubled, and `syncd adopt --since TIME` "
    "counts the others as its own. Otherwise a second syncd or another program sends the same ids to this Recotap: "
    "stop one of the two"
)
FLOOD_HINT = (
    "has a tool imported old mail or calls? All of it is sent, and Recotap takes nothing back. `rules.not_before` "
    "excludes activities by the time they happened, `start` by the time they were changed"
)
NO_HINT = "nothing is lost, and the next pass tries again. If it lasts, report it"


class Observer(Protocol):
    """Follow a pass, e.g. as progress bars. Called in the ledger's thread."""

    wants_totals: bool  # count the records of each window first, with one request a stream

    def expected(self, source: str, stream: str, count: int) -> None:
        """Hear that a stream's window holds about `count` records. Called only if it `wants_totals`."""

    def on_progress(self) -> None:
        """Hear that something came, of a reader or of a POST."""

    def read(self, source: str, stream: str, booked: Booked, count: int) -> None:
        """Hear that a page of `count` records was booked."""

    def range_read(self, source: str, stream: str, count: int) -> None:
        """Hear that the page just read was one of a range."""

    def sent(self, totals: Totals) -> None:
        """Hear that the verdicts of one POST were booked."""


class NullObserver:
    """Ignore everything."""

    wants_totals = False

    def expected(self, source: str, stream: str, count: int) -> None:
        """Do nothing."""

    def on_progress(self) -> None:
        """Do nothing."""

    def read(self, source: str, stream: str, booked: Booked, count: int) -> None:
        """Do nothing."""

    def range_read(self, source: str, stream: str, count: int) -> None:
        """Do nothing."""

    def sent(self, totals: Totals) -> None:
        """Do nothing."""


@dataclass(slots=True)
class StreamTotals:
    """The counts of one stream in a pass."""

    read: int = 0
    new: int = 0
    changed: int = 0
    changed_after_delivery: int = 0

    def add(self, more: "StreamTotals") -> None:
        """Add the counts of another reading."""
        self.read += more.read
        self.new += more.new
        self.changed += more.changed
        self.changed_after_delivery += more.changed_after_delivery


@dataclass(frozen=True, slots=True)
class PassResult:
    """The end of a pass."""

    exit_code: Exit
    totals: Totals
    streams: dict[tuple[str, str], StreamTotals] = field(default_factory=dict)
    errors: tuple[SyncdError, ...] = ()
    failed: Mapping[str, SyncdError] = field(default_factory=dict)  # by source: why it was not read to the end;
    # under RECOTAP: why sending stopped
    warnings: tuple[str, ...] = ()  # nothing failed, but somebody should look at it
    flooded: tuple[str, ...] = ()  # sources that brought far more history than usual


class PassReport:
    """Gather the totals, errors and exit codes of one pass, and log them as they come."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str], StreamTotals] = {}  # of readings that have ended
        self._reading: dict[tuple[str, str], StreamTotals] = {}  # of those under way
        self._gave_way: set[str] = set()
        self._errors: list[SyncdError] = []
        self._failed: dict[str, SyncdError] = {}
        self._codes: set[int] = set()
        self._warnings: list[str] = []
        self._flooded: list[str] = []
        self._early: Counter[str] = Counter()  # by source: new activities that happened before its `start`

    def reading(self, source: str) -> None:
        """Forget an earlier failure of `source`, because it is read again."""
        self._failed.pop(source, None)

    def error_of(self, name: str) -> SyncdError | None:
        """Return the error that ended source `name`, if there is one."""
        return self._failed.get(name)

    def gave_way(self, source: str) -> None:
        """Log that `source` gave way to another one, once a pass."""
        if source not in self._gave_way:
            self._gave_way.add(source)
            hint = "nothing to do: it goes on where it stopped, as soon as there is room for it"
            log.info("pull.gave_way", source=source, hint=hint)

    def page_booked(self, source: str, page: PageRead, booked: Booked) -> None:
        """Add the records of a page."""
        log.debug(
            "page.booked", source=source, stream=page.stream, read=len(page.refs), whole=len(page.readings),
            new=booked.new, changed=booked.changed, looked_up=page.looked_up_at is not None,
            ids=[reading.crm_id for reading in page.readings],
        )  # fmt: skip
        totals = self._reading.setdefault((source, page.stream), StreamTotals())
        totals.read += len(page.refs)
        totals.new += booked.new
        totals.changed += booked.changed
        totals.changed_after_delivery += booked.changed_after_delivery
        self._early[source] += booked.early

    def early(self, source: str) -> int:
        """Return how many new activities of `source` happened before its `start`. Ranges do not count."""
        return self._early.pop(source, 0)

    def flooded(self, source: str, early: int, usual: float, start: datetime) -> None:
        """Report that far more history than usual has come."""
        message = (
            f"{source}: {early} new activities happened before its start, {clock.text(start)}. Usually a pass brings "
            f"{usual:.0f} of them"
        )
        self._warnings.append(f"{message} ({FLOOD_HINT})")
        self._flooded.append(source)
        log.warning("history.flooded", source=source, error=message, hint=FLOOD_HINT)

    def source_read(self, source: str, ranges: Sequence[Range], now: datetime) -> None:
        """Log the totals of each stream of `source` that had a page, and the gaps among its ranges."""
        for stream in [stream for name, stream in self._reading if name == source]:
            totals = self._reading.pop((source, stream))
            log.info(
                "pull.finished", source=source, stream=stream, read=totals.read, new=totals.new,
                changed=totals.changed, changed_after_delivery=totals.changed_after_delivery,
            )  # fmt: skip
            self._streams.setdefault((source, stream), StreamTotals()).add(totals)
        self._add_gaps(source, [each for each in ranges if each.why == "gap"], now)

    def stopped(self, name: str, error: SyncdError) -> None:
        """Keep that a stop request ended the reading of source `name`. It is no error of the pass."""
        self._failed[name] = error

    def paused(self, source: str, until: datetime, reason: str) -> None:
        """Add that `source` is not read, because it pauses."""
        self.failed(source, pausing(source, until, reason, hint=pause_hint(source)), "pull.paused", source=source)

    def failed(self, name: str, error: SyncdError, event: str, **facts: Any) -> None:
        """Add the error that ended source `name`, or the sending if `name` is RECOTAP, and log it as `event`."""
        self._failed[name] = error
        self._errors.append(error)
        self._codes.add(error.exit_code)
        hint = error.hint or ". ".join(problem.hint for problem in getattr(error, "problems", ())) or NO_HINT
        log.error(event, error=error.summary, hint=hint, **facts)

    def range_event(self, source: str, event: RangeEvent) -> None:
        """Log a range that an earlier `start` adds, and add the error of one that failed, unless it is a gap."""
        match event:
            case StartNoted(stream, start, added) if added is not None:
                log.info("range.added", source=source, stream=stream, since=clock.text(start), why="start")
            case RangeFailed(_, stream, why, error) if why != "gap":
                self.failed(source, error, "range.failed", source=source, stream=stream)

    def _add_gaps(self, source: str, gaps: Sequence[Range], now: datetime) -> None:
        """Add the gaps of a source, in one line. They are an outage for 30 days, and a warning afterwards."""
        if not gaps:
            return
        first = gaps[0]
        message = (
            f"{source} does not serve {len(gaps)} {'span' if len(gaps) == 1 else 'spans'} of modification time, "
            f"the first in {first.stream} from {clock.text(first.since)}: {first.last_error}"
        )
        hint = "they are tried again by themselves. `syncd status` lists them. Ask the CRM's support about that time"
        if any(is_outage(each, now) for each in gaps):
            error = Unavailable(message, hint=hint)
            self._errors.append(error)
            self._codes.add(error.exit_code)
            log.error("gaps.open", error=error.summary, hint=hint, source=source)
        else:
            log.warning("gaps.open", error=message, hint=hint, source=source)

    def count_sent(self, totals: Totals) -> None:
        """Log the verdicts of all POSTs, if there was one."""
        if totals.posts:
            verdicts = {verdict.value: count for verdict, count in sorted(totals.verdicts.items())}
            log.info("push.finished", posts=totals.posts, sent=totals.sent, died=totals.died, **verdicts)
        if totals.died:
            self._codes.add(Exit.DIED)

    def sending_ended(self, totals: Totals, stop: SendingStopped | None) -> None:
        """Add the error that stopped the sending, or the silence of Recotap about activities."""
        self._note_foreign(totals.verdicts[Verdict.FOREIGN_DUPLICATE])
        if stop is not None:
            self.failed(RECOTAP, _error(stop), "push.failed")
            return
        suspect = totals.verdicts[Verdict.SUSPECT]
        silent = totals.silent + suspect
        if not silent:
            return
        message = f"Recotap gave no readable answer for {silent} activities"
        hint = "they stay pending and are sent again. If it goes on, show `syncd explain ID` of one to Recotap"
        if suspect == silent or any(totals.verdicts[verdict] for verdict in DELIVERIES):
            log.warning("push.unanswered", error=message, hint=hint)
        else:  # it answered for none, so nothing was reached
            self.failed(RECOTAP, Unavailable(message, hint=hint), "push.failed")

    def _note_foreign(self, count: int) -> None:
        """Report a restored ledger or a second sender. The rows keep their verdict, because either is a guess."""
        if count < MANY_FOREIGN:
            return
        message = (
            f"Recotap already had {count} activities that this ledger never sent: "
            "the ledger is older than its deliveries, or a second sender is at work"
        )
        self._warnings.append(f"{message} ({FOREIGN_HINT})")
        log.warning("push.foreign", error=message, hint=FOREIGN_HINT)

    def recounted(self, found: Recount | None) -> None:
        """Log the rows that were counted, if they are not as the ledger kept them."""
        if found is not None and (found.corrected or found.unequal):
            unequal = {f"{each.source}/{each.stream}": f"{each.rows} of {each.seen}" for each in found.unequal}
            hint = "rows were changed by hand, or report a bug. `syncd ledger recount` counts again"
            log.warning("books.recounted", rows=found.rows, corrected=found.corrected, unequal=unequal, hint=hint)

    def unbalanced(self) -> None:
        """Add that the ledger's books do not balance. The other errors of the pass stay."""
        hint = (
            "rows were removed by hand, or the file was changed: restore a backup, or let `syncd verify --repair` book "
            "them again. `syncd ledger recount` counts them"
        )
        error = SyncdError("the books do not balance", hint=hint)
        error.exit_code = Exit.UNBALANCED
        self._errors.append(error)
        self._codes.add(error.exit_code)
        log.error("books.unbalanced", error=error.summary, hint=hint)

    def hidden(self, code: Exit) -> list[int]:
        """Return the exit codes of this pass that `code` hides, the worst first."""
        return [int(each) for each in PRECEDENCE if each in self._codes and each != code]

    def result(self, totals: Totals, *, signal: Exit | None) -> PassResult:
        """Return the result. `signal` is the exit code of a stop request, if there was one."""
        for stream, read in self._reading.items():  # of sources that gave way, or hang
            self._streams.setdefault(stream, StreamTotals()).add(read)
        code = worst(self._codes if signal is None else {*self._codes, signal})
        return PassResult(
            code, totals, self._streams, tuple(self._errors), self._failed, tuple(self._warnings), tuple(self._flooded)
        )


def _error(stop: SendingStopped) -> SyncdError:
    error = SyncdError(stop.message, hint=stop.hint)
    error.exit_code = stop.exit_code
    return error


__all__ = ["NullObserver", "Observer", "PassReport", "PassResult", "StreamTotals"]
