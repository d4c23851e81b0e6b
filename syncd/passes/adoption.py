"""Adopt the deliveries of a lost ledger: read the CRMs again, and take "already exists" for our own delivery.

    begin ─► mark and ranges ─► passes read and push ─► every window and range is read ─► conclude

The mark is in the ledger. So if `syncd adopt` is killed, the next pass of any command goes on with it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import replace
from datetime import datetime

import structlog

from syncd import clock
from syncd.connector import Source, SourceConfig
from syncd.errors import Exit
from syncd.ledger import (
    ADOPTION,
    RECOTAP,
    Adoption,
    AnyLedger,
    AttemptResult,
    Ledger,
    Range,
    StreamState,
    adoption_of,
    rewind_of,
)
from syncd.lifecycle.states import Verdict
from syncd.passes import windows
from syncd.passes.report import PassResult
from syncd.passes.windows import MS, Span

log = structlog.get_logger()

# Details of attempts
ADOPTED = "adopted: an older ledger delivered it"
REWOUND = "this ledger went back, and had delivered it before"


def reads_from(since: datetime, state: StreamState, config: SourceConfig, now: datetime) -> datetime:
    """Return from which modification time an adoption reads a stream: never later than the next pass. Pure."""
    window = windows.window_since(
        start=config.start, overlap=config.overlap, watermark=state.watermark, swept_at=state.swept_at, sweep=False,
        now=now,
    )  # fmt: skip
    return min(since, window)


def behind(since: datetime, state: StreamState, start: datetime) -> Span | None:
    """Return the span since then that the windows of a stream do not read, or None. Pure.

    Without a watermark the first window begins at `start`.
    """
    until = start - MS if state.watermark is None else state.watermark
    return Span(since, until) if since < until else None


def begin(ledger: Ledger, sources: Iterable[Source], since: datetime, now: datetime) -> Adoption:
    """Mark the ledger as older than its deliveries, and book the ranges to read. Return the adoption.

    One that was cut short goes on, unless `since` is earlier than its own.
    """
    last = adoption_of(ledger)
    if last is not None and last.ended_at is None and last.since <= since:
        return last
    found = Adoption(since, now, adopted=0 if last is None else last.adopted)
    with ledger.transaction():
        for source in sources:
            for stream in source.streams:
                span = behind(since, ledger.stream(source.name, stream.name), source.config.start)
                if span is not None and span.until is not None:
                    stream_id = ledger.stream_id(source.name, stream.name)
                    ledger.add_range(stream_id, span.since, span.until, why="backfill", now=now)
        ledger.keep(RECOTAP, {ADOPTION: found.to_json()}, now)
    log.info("adoption.began", since=clock.text(since))
    return found


def until_read(ledger: AnyLedger, make_pass: Callable[[], PassResult]) -> Iterator[PassResult]:
    """Make passes until the adoption's reading is done, and yield their results. Call it while the ledger is held.

    It ends early after a pass that failed, or that read nothing further.
    """
    before: list[Range] | None = None
    while True:
        result = make_pass()
        yield result
        with ledger.read() as glance:
            adoption = adoption_of(glance)
            left = [each for source in sorted(glance.sources()) for each in glance.ranges(source)]
        is_over = adoption is None or adoption.ended_at is not None
        if is_over or left == before or result.exit_code not in (Exit.OK, Exit.DIED):
            return
        before = left


class Adopting:
    """Judge "already exists" in one pass by the adoption and the rewind that the ledger knows."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._adoption = adoption_of(ledger)
        self._rewind = rewind_of(ledger)

    def judge(self, results: Sequence[AttemptResult], now: datetime) -> Sequence[AttemptResult]:
        """Return `results` with each activity that is ours as a duplicate, and count the adopted ones.

        Call it within the transaction that books the results.
        """
        foreign = [each.activity_id for each in results if each.verdict is Verdict.FOREIGN_DUPLICATE]
        if not foreign:
            return results
        why = {**dict.fromkeys(self._lost(foreign), REWOUND), **dict.fromkeys(self._adopted(foreign, now), ADOPTED)}
        return [
            each._replace(verdict=Verdict.DUPLICATE, detail=why[each.activity_id]) if each.activity_id in why else each
            for each in results
        ]

    def _lost(self, foreign: Sequence[int]) -> Set[int]:
        return set() if self._rewind is None else self._ledger.lost_deliveries(foreign, self._rewind)

    def _adopted(self, foreign: Sequence[int], now: datetime) -> Set[int]:
        if self._adoption is None:
            return set()
        ours = self._ledger.adoptable(foreign, self._adoption)
        if ours:
            self._adoption = replace(self._adoption, adopted=self._adoption.adopted + len(ours))
            self._ledger.keep(RECOTAP, {ADOPTION: self._adoption.to_json()}, now)
        return ours


def conclude(ledger: Ledger, sources: Iterable[Source], now: datetime) -> None:
    """End the adoption if its reading is done. What was first seen until now still counts when it is sent."""
    adoption = adoption_of(ledger)
    if adoption is None or adoption.ended_at is not None:
        return
    if all(_is_read(ledger, source, adoption) for source in sources):
        ledger.keep(RECOTAP, {ADOPTION: replace(adoption, ended_at=now).to_json()}, now)
        log.info("adoption.ended", since=clock.text(adoption.since), adopted=adoption.adopted)


def _is_read(ledger: Ledger, source: Source, adoption: Adoption) -> bool:
    """Tell whether each window and range of the adoption is read. A gap, which the CRM does not serve, is not."""
    wanted = {stream.name for stream in source.streams}
    left = any(
        each.stream in wanted and each.why != "gap" and each.created_at <= adoption.began_at
        for each in ledger.ranges(source.name)
    )
    return not left and wanted <= ledger.read_since(source.name, adoption.began_at)


__all__ = ["ADOPTED", "REWOUND", "Adopting", "begin", "behind", "conclude", "reads_from", "until_read"]
