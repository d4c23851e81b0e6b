"""Read the spans that `syncd backfill` has booked, pass after pass, until nothing is left of them.

pass: windows ─► look-ups ─► ranges ──► anything left, and it moves ──► the next pass
                                    ├── nothing is left: done
                                    └── an outage, a pause, a signal: the ledger keeps the rest
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from syncd.errors import Exit, SyncdError, worst
from syncd.ledger import RECOTAP, LedgerReader, Range
from syncd.passes.jobs import Totals
from syncd.passes.report import PassResult

PAGES = 100  # of ranges in one pass of a source: about five minutes, as the windows wait for it
STILL = 2  # passes in a row that moved no range. A span that the CRM does not serve is cut in the second one


@dataclass(frozen=True, slots=True)
class Left:
    """A range that is still to be read, and its source."""

    source: str
    range: Range
    is_paused: bool  # its source makes no request now


@dataclass(slots=True)
class Reading:
    """The passes of one backfill."""

    left: Sequence[Left]
    passes: int = 0
    read: int = 0  # records, also those of the windows
    new: int = 0  # activities that the ledger did not hold
    totals: Totals = field(default_factory=Totals)
    errors: tuple[SyncdError, ...] = ()  # of the last pass
    exit_code: Exit = Exit.OK

    def add(self, result: PassResult) -> None:
        """Add the counts of a pass."""
        self.passes += 1
        self.read += sum(each.read for each in result.streams.values())
        self.new += sum(each.new for each in result.streams.values())
        self.totals.verdicts += result.totals.verdicts
        self.totals.died += result.totals.died
        self.errors, self.exit_code = result.errors, result.exit_code


def left_of(glance: LedgerReader, streams: Sequence[tuple[str, str]], now: datetime) -> list[Left]:
    """Return what is left to read of the backfills of (source, stream) pairs."""
    sources = dict.fromkeys(source for source, _ in streams)
    return [
        Left(source, each, glance.pause(source, now) is not None)
        for source in sources
        for each in glance.ranges(source)
        if each.why == "backfill" and (source, each.stream) in streams
    ]


def read(
    make_pass: Callable[[], PassResult],
    look: Callable[[], Sequence[Left]],
    *,
    stopping: Callable[[], bool],
    passed: Callable[[Reading], None] = lambda reading: None,
) -> Reading:
    """Make passes until nothing is left, nothing moves, or nothing more can be sent. `passed` hears of each.

    The result's `exit_code` is 69 if something is left without another cause. Errors of the ledger are raised.
    """
    reading, still = Reading(look()), 0
    while may_go_on(reading, still=still) and not stopping():
        result = make_pass()
        before, reading.left = reading.left, look()
        reading.add(result)
        still = 0 if has_moved(before, reading.left) else still + 1
        passed(reading)
        if RECOTAP in result.failed:
            break
    reading.exit_code = ends_with(reading)
    return reading


def may_go_on(reading: Reading, *, still: int) -> bool:
    """Tell whether another pass can read something. Pure."""
    return still < STILL and any(not each.is_paused for each in reading.left)


def has_moved(before: Sequence[Left], after: Sequence[Left]) -> bool:
    """Tell whether a range was read further. Pure."""
    return {each.range.id: each.range.read_to for each in before} != {
        each.range.id: each.range.read_to for each in after
    }


def ends_with(reading: Reading) -> Exit:
    """Return the exit code. It counts what died in any pass, and other failures of the last pass. Pure."""
    codes = [reading.exit_code, *([Exit.DIED] if reading.totals.died else [])]
    return worst(codes if not reading.left or reading.exit_code else [*codes, Exit.UNAVAILABLE])


__all__ = ["PAGES", "Left", "Reading", "ends_with", "has_moved", "left_of", "may_go_on", "read"]
