"""Read what `syncd backfill` has booked, and say how it goes."""

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from syncd import clock, memory, signals
from syncd import log as logs
from syncd.cli import printing
from syncd.cli.backfill_progress import RangeProgress, delivered
from syncd.config import Config
from syncd.connector import Source
from syncd.errors import ConfigError, Exit, Stopped
from syncd.ledger import AnyLedger, Backfill, chosen
from syncd.passes import backfill, wiring
from syncd.passes.backfill import Left, Reading
from syncd.passes.forecast import Forecast, forecast
from syncd.passes.limits import Limits
from syncd.passes.report import Observer, PassResult

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class How:
    """The options of the log."""

    verbose: bool = False
    as_json: bool | None = None  # None: it depends on the stream


def read(config: Config, ledger: AnyLedger, sources: Sequence[Source], booked: Sequence[Backfill], how: How) -> int:
    """Read `booked` into `ledger`, which is held, print a closing sentence, and return the exit code."""
    began, stop = time.monotonic(), signals.StopRequest()
    streams = [(each.source, each.stream) for each in booked]
    memory.collect_less_often()

    def look() -> list[Left]:
        with ledger.read() as glance:
            return backfill.left_of(glance, streams, clock.now())

    with signals.handling(stop):
        forecasts = _forecasts(config, sources, look(), stop)
        with watching(forecasts, verbose=how.verbose, as_json=how.as_json) as progress:
            make_pass = partial(_make_pass, config, ledger, sources, stop, progress)
            passed = partial(_log, progress)
            reading = backfill.read(make_pass, look, stopping=lambda: stop.requested, passed=passed)
    if stop.requested:
        reading.exit_code = stop.exit_code
    for error in reading.errors:
        if isinstance(error, ConfigError):
            printing.error(error)
    printing.line(closing(reading, seconds=time.monotonic() - began))
    return int(reading.exit_code)


def _forecasts(
    config: Config, sources: Sequence[Source], left: Sequence[Left], stop: signals.StopRequest
) -> list[Forecast]:
    """Ask the sources that do not pause for the number of records, and print it."""
    ended = threading.Event()
    stop.on_request = ended.set

    def sleep(seconds: float) -> None:
        if ended.wait(seconds):
            raise Stopped("stopped by a signal")

    found = []
    for source in sources:
        of_source = [each for each in left if each.source == source.name and not each.is_paused]
        if of_source and not stop.requested:
            each = forecast(source, of_source, chosen(config.ledger), now=clock.now, sleep=sleep)
            if not stop.requested:
                printing.block(foretold(each))
                found.append(each)
    return found


def foretold(each: Forecast) -> str:
    """Return the forecast of a source in words, with its basis. Pure."""
    if each.error is not None:
        return f"{each.source}: the records cannot be counted before they are read: {each.error.message}"
    parts = ", ".join(f"{stream} {count:,}" for stream, count in each.records.items())
    told = f"{each.source}: about {each.total:,} records to read ({parts})"
    if each.requests is None:
        return f"{told}."
    requests = f"{each.requests:,} request{'s' if each.requests != 1 else ''}"
    return (
        f"{told}.\nThat takes about {requests}, at most {each.per_1000} for 1,000 records.\n"
        "`syncd check` shows how many the CRM allows today."
    )


@contextmanager
def watching(
    forecasts: Sequence[Forecast], *, verbose: bool = False, as_json: bool | None = None
) -> Iterator[RangeProgress]:
    """Show bars on a terminal, with the logs above them. There are none if the logs are JSON."""
    if as_json or not sys.stderr.isatty():
        yield RangeProgress(forecasts)
        return
    from rich.console import Console

    from syncd.cli.backfill_bars import BackfillBars

    with BackfillBars(forecasts, Console(stderr=True)) as bars:
        logs.configure(verbose, as_json=as_json)  # to the stderr that the bars have taken over
        yield bars
    logs.configure(verbose, as_json=as_json)


def _make_pass(
    config: Config, ledger: AnyLedger, sources: Sequence[Source], stop: signals.StopRequest, observer: Observer
) -> PassResult:
    limits = Limits(range_pages=backfill.PAGES)
    return wiring.one_pass(
        config, ledger=ledger, sources=sources, stop=stop, observer=observer, limits=limits, now=clock.now
    )


def _log(progress: RangeProgress, reading: Reading) -> None:
    log.info("backfill.pass_finished", passes=reading.passes, ranges_left=len(reading.left), **progress.facts())


WHY_STOPPED = {
    Exit.SIGINT: "Stopped",
    Exit.SIGTERM: "Stopped",
    Exit.CONFIG: "Stopped by a mistake in the configuration",
    Exit.UNAUTHORIZED: "Stopped by a refused key or a missing scope",
}


def closing(reading: Reading, *, seconds: float) -> str:
    """Return the sentence that ends a backfill."""
    sent = delivered(reading.totals.verdicts)
    after = f"after {length(seconds)}: read {reading.read:,} records, {reading.new:,} new, and delivered {sent:,}"
    if not reading.left:
        died = f", gave up {reading.totals.died:,}, see `syncd failures`" if reading.totals.died else ""
        return f"Done {after}{died}."
    why = WHY_STOPPED.get(reading.exit_code, "Stopped by an outage")
    if all(each.is_paused for each in reading.left):
        why = "Stopped by a pause"
    return (
        f"{why} {after}. The rest is kept, see `syncd status`: the next pass goes on with it, or the same command does."
    )


def length(seconds: float) -> str:
    """Return a length of time in words, e.g. "3 min 12 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (0 if hours else rest, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"
