"""State the cost of an adoption, and make its passes: `syncd adopt`."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import typer

from syncd import clock
from syncd.cli import printing
from syncd.cli.asking import asking
from syncd.cli.check import pinned
from syncd.config import Config
from syncd.connector import Source
from syncd.errors import ConfigError, Exit, worst
from syncd.ledger import AnyLedger, StreamState, adoption_of
from syncd.lifecycle.states import Verdict
from syncd.passes import adoption, counting, wiring
from syncd.passes.reader import as_told
from syncd.passes.report import Observer, PassResult
from syncd.passes.windows import Span
from syncd.recotap.sender import BATCH
from syncd.signals import StopRequest

SURE = "Read and push them again?"
NOTHING_DONE = "nothing was read or sent"
NEXT = "next: `syncd status`"
GOES_ON = "not all is read yet: the next pass goes on, and so does the same `syncd adopt`"


@dataclass(frozen=True, slots=True)
class Cost:
    """The records of one stream that an adoption reads."""

    source: str
    stream: str
    since: datetime  # of modification time
    records: int


def costs(config: Config, ledger: AnyLedger, since: datetime) -> Iterator[Cost]:
    """Ask each CRM how many records an adoption reads: one `count` a stream. Raises SyncdError."""
    for source in config.sources:
        states = _states(ledger, source)  # first, because it brings the ledger up to date
        yield from _costs_of(pinned.narrowed(config, source).source, states, since)


def _states(ledger: AnyLedger, source: Source) -> dict[str, StreamState]:
    """Return how far each stream was read. A ledger that does not exist is not created for it."""
    if not ledger.exists():
        return {}
    with ledger.open() as glance:  # a backup may have an older schema
        return {stream.name: glance.stream(source.name, stream.name) for stream in source.streams}


def _costs_of(source: Source, states: dict[str, StreamState], since: datetime) -> Iterator[Cost]:
    try:
        with asking(source) as connector:
            for stream in source.streams:
                state = states.get(stream.name, StreamState())
                first = adoption.reads_from(since, state, source.config, clock.now())
                count = counting.records(connector, stream.name, [Span(first, None)])
                yield Cost(source.name, stream.name, first, count)
    except Exception as error:  # noqa: BLE001 - a connector may raise anything
        raise as_told(source.name, error) from None


def show_costs(found: Sequence[Cost]) -> None:
    """Print on stderr the number of records by stream, and the number of pushes at most."""
    for each in found:
        printing.note(f"{each.source} {each.stream}: {each.records:,} records modified since {clock.text(each.since)}")
    records = sum(each.records for each in found)
    posts = -(-records // BATCH)
    printing.note(f"in all {records:,} records to read, and up to as many activities to push, in {posts:,} requests")


def is_sure() -> bool:
    """Ask on the terminal. An interrupt exits with 130."""
    try:
        return typer.confirm(SURE, err=True)
    except typer.Abort:
        raise typer.Exit(int(Exit.SIGINT)) from None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The passes of an adoption, and how it stands after them."""

    results: Sequence[PassResult]
    adopted: int  # by these passes
    is_over: bool  # everything is read

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        codes = [result.exit_code for result in self.results]
        return int(worst(codes if self.is_over else [*codes, Exit.UNAVAILABLE]))


def adopt(
    config: Config, ledger: AnyLedger, since: datetime, *, stop: StopRequest, observer: Observer | None
) -> Outcome:
    """Make the passes of an adoption. `ledger` is held."""
    with ledger.open() as writing:
        begun = adoption.begin(writing, config.sources, since, clock.now())
    results = [*adoption.until_read(ledger, lambda: _pass(config, ledger, stop, observer))]
    with ledger.read() as glance:
        found = adoption_of(glance) or begun
    return Outcome(results, found.adopted - begun.adopted, is_over=found.ended_at is not None)


def _pass(config: Config, ledger: AnyLedger, stop: StopRequest, observer: Observer | None) -> PassResult:
    return wiring.one_pass(config, ledger=ledger, sources=config.sources, stop=stop, observer=observer)


def show(outcome: Outcome) -> None:
    """Print the numbers on stdout, and the next step on stderr."""
    created = sum(result.totals.verdicts[Verdict.CREATED] for result in outcome.results)
    read = sum(stream.read for result in outcome.results for stream in result.streams.values())
    printing.line(f"read {read:,} records: {outcome.adopted:,} activities adopted, {created:,} created")
    for error in {each.summary: each for result in outcome.results for each in result.errors}.values():
        if isinstance(error, ConfigError):  # the log has only the number of its mistakes
            printing.error(error)
    printing.note(NEXT if outcome.is_over else GOES_ON)


def has_terminal() -> bool:
    """Tell whether somebody can answer a question."""
    return sys.stdin.isatty()


__all__ = ["NOTHING_DONE", "Cost", "Outcome", "adopt", "costs", "has_terminal", "is_sure", "show", "show_costs"]
