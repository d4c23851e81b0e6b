"""Read a span of the past: `syncd backfill`."""

from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from syncd.cli import printing
from syncd.cli.commands import completing
from syncd.cli.commands.options import ConfigFile, LogFormat, Verbose, is_json, load_config, sources_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncd.connector import Source
    from syncd.ledger import AnyLedger, Backfill

TIME_EXPECTED = "expected a date or a time in UTC, e.g. 2026-01-01 or 2026-01-01T00:00:00Z"
NOTHING_BEHIND = (
    "nothing to read: every pass reads what was modified since then. If the ledger is new, run `syncd sync` first"
)


def backfill(
    since: Annotated[str, typer.Option(metavar="TIME", help="Read what was modified since then.")],
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Default: each stream's watermark.")] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", autocompletion=completing.sources, help="Read only this source.")
    ] = None,
    newest_first: Annotated[bool, typer.Option("--newest-first", help="Default: the oldest records first.")] = False,
    config: ConfigFile = None,
    verbose: Verbose = False,
    log_format: LogFormat = None,
) -> None:
    """Read a span of modification time again.

    Use it for a time before `start`, or after a change of `match` or `from`, because the past was read under the old
    one. Each pass reads new records first. Activities that the ledger holds are not sent twice. If it is stopped, the
    next pass or the same command goes on. While another syncd holds the ledger, that one reads the span. `syncd status`
    shows how far it is.
    """
    from syncd.cli import backfilling
    from syncd.ledger import chosen

    first, last = _span(since, until)
    loaded = load_config(config, verbose=verbose, log_format=log_format)
    ledger, sources = chosen(loaded.ledger), sources_of(loaded, source)
    with ExitStack() as held:
        reads = _hold(ledger, sources, held)
        if reads is not None:
            load_config(config, secrets=True, verbose=verbose, log_format=log_format)  # before anything is booked
        booked = _book(reads or ledger, sources, first, last, newest_first=newest_first)
        if not booked:
            printing.line(NOTHING_BEHIND)
        elif reads is not None:
            how = backfilling.How(verbose=verbose, as_json=is_json(log_format))
            raise typer.Exit(backfilling.read(loaded, reads, sources, booked, how))
        else:
            printing.line(f"{ledger.holder() or 'another syncd'} holds the ledger, and reads this in its next passes")


def _span(since: str, until: str | None) -> tuple[datetime, datetime | None]:
    """Read the options. BadParameter if they are no span of the past."""
    from syncd import clock

    first, last = time_of(since, "--since"), None if until is None else time_of(until, "--until")
    if first >= clock.now():
        raise typer.BadParameter(f"--since {since} lies in the future")
    if last is not None and last <= first:
        raise typer.BadParameter("--until is not later than --since")
    return first, last


def _hold(ledger: "AnyLedger", sources: "Sequence[Source]", held: ExitStack) -> "AnyLedger | None":
    """Hold the ledger until `held` is closed, and return it. None if another process has it, or if there is none.

    An older ledger is brought up to date, and a changed `match` is noted before it is read under.
    """
    from syncd import clock
    from syncd.errors import LedgerHeld
    from syncd.passes import narrowing

    if not ledger.exists():
        return None
    try:
        holding: AnyLedger = held.enter_context(ledger.hold("backfill")).ledger
    except LedgerHeld:
        return None
    with holding.open() as opened:
        for each in sources:
            narrowing.keep(opened, each, clock.now())
    return holding


def _book(
    ledger: "AnyLedger", sources: "Sequence[Source]", since: datetime, until: datetime | None, *, newest_first: bool
) -> "list[Backfill]":
    """Book the span in each stream, and print the spans."""
    from syncd import clock

    streams = [(each.name, stream.name, each.config.start) for each in sources for stream in each.streams]
    with ledger.operate() as operator:
        booked = operator.backfill(streams, since, until, newest_first=newest_first, now=clock.now())
    for each in booked:
        goes_on = ", from where an earlier backfill stopped" if each.goes_on else ""
        printing.line(f"{each.source} {each.stream}: {clock.text(each.since)} to {clock.text(each.until)}{goes_on}")
    return booked


def time_of(written: str, option: str) -> datetime:
    """Read the time that an option was given, e.g. 2026-01-01. BadParameter if it is none."""
    from syncd.fields import parse_time

    found = parse_time(written)
    if found is None:
        raise typer.BadParameter(f"{option} {written!r}: {TIME_EXPECTED}")
    return found
