"""Read what `syncd backfill` has booked, and say how it goes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from syncd import clock, memory, signals
from syncd.cli import printing
from syncd.config import Config
from syncd.connector import Source
from syncd.errors import ConfigError, Exit
from syncd.ledger import Backfill, chosen
from syncd.lifecycle.states import MEANINGS, State
from syncd.passes import backfill, wiring
from syncd.passes.backfill import Left, Reading
from syncd.passes.limits import Limits
from syncd.passes.report import PassResult

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class How:
    """The options of the log."""

    verbose: bool = False
    as_json: bool | None = None  # None: it depends on the stream


def read(config: Config, sources: Sequence[Source], booked: Sequence[Backfill], how: How) -> int:
    """Read `booked` while the ledger is held, print a closing sentence, and return the exit code."""
    began, stop = time.monotonic(), signals.StopRequest()
    streams = [(each.source, each.stream) for each in booked]
    memory.collect_less_often()

    def make_pass() -> PassResult:
        limits = Limits(range_pages=backfill.PAGES)
        return wiring.one_pass(config, sources=sources, stop=stop, limits=limits, now=clock.now)

    def look() -> list[Left]:
        with chosen(config.ledger).read() as glance:
            return backfill.left_of(glance, streams, clock.now())

    with signals.handling(stop):
        reading = backfill.read(make_pass, look, stopping=lambda: stop.requested, passed=_log)
    if stop.requested:
        reading.exit_code = stop.exit_code
    for error in reading.errors:
        if isinstance(error, ConfigError):
            printing.error(error)
    printing.line(closing(reading, seconds=time.monotonic() - began))
    return int(reading.exit_code)


def _log(reading: Reading) -> None:
    log.info("backfill.pass_finished", passes=reading.passes, read=reading.read, new=reading.new,
             left=len(reading.left))  # fmt: skip


WHY_STOPPED = {
    Exit.SIGINT: "stopped",
    Exit.SIGTERM: "stopped",
    Exit.CONFIG: "stopped by a mistake in the configuration",
    Exit.UNAUTHORIZED: "stopped by a refused key or a missing scope",
}


def closing(reading: Reading, *, seconds: float) -> str:
    """Return the sentence that ends a backfill."""
    delivered = sum(n for verdict, n in reading.totals.verdicts.items() if MEANINGS[verdict].state is State.DELIVERED)
    counts = f"read {reading.read:,} records, {reading.new:,} new; delivered {delivered:,} activities"
    after = f"after {length(seconds)}: {counts}"
    if not reading.left:
        died = f"; {reading.totals.died:,} given up, see `syncd failures`" if reading.totals.died else ""
        return f"done {after}{died}"
    why = WHY_STOPPED.get(reading.exit_code, "stopped by an outage")
    if all(each.is_paused for each in reading.left):
        why = "stopped by a pause"
    return (
        f"{why} {after}. The rest is kept, see `syncd status`: the next pass goes on with it, or the same command does"
    )


def length(seconds: float) -> str:
    """Return a length of time in words, e.g. "3 min 12 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (0 if hours else rest, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"
