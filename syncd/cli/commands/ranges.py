"""Ask for a span of the past to be read: `syncd backfill`."""

from datetime import datetime
from typing import Annotated

import typer

from syncd.cli import printing
from syncd.cli.commands.options import ConfigFile, load_config, sources_of

TIME_EXPECTED = "expected a date or a time in UTC, e.g. 2026-01-01 or 2026-01-01T00:00:00Z"
NOTHING_BEHIND = (
    "nothing to read: every pass reads what was modified since then. If the ledger is new, run `syncd sync` first"
)


def backfill(
    since: Annotated[str, typer.Option(metavar="TIME", help="Read what was modified since then.")],
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Default: each stream's watermark.")] = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="Read only this source.")] = None,
    newest_first: Annotated[bool, typer.Option("--newest-first", help="Default: the oldest records first.")] = False,
    config: ConfigFile = None,
) -> None:
    """Read a span of modification time again.

    Use it after a change of `match` or `from`, because what lies behind the watermark was read under the old one. The
    next passes read the span in slices, after the new records. Activities that the ledger holds are not sent twice.
    `syncd status` shows how far it is read.
    """
    from syncd import clock
    from syncd.ledger import chosen

    first, last = time_of(since, "--since"), None if until is None else time_of(until, "--until")
    if first >= clock.now():
        raise typer.BadParameter(f"--since {since} lies in the future")
    if last is not None and last <= first:
        raise typer.BadParameter("--until is not later than --since")
    loaded = load_config(config)
    sources = sources_of(loaded, source)
    streams = [(each.name, stream.name, each.config.start) for each in sources for stream in each.streams]
    with chosen(loaded.ledger).operate() as operator:
        booked = operator.backfill(streams, first, last, newest_first=newest_first, now=clock.now())
    for each in booked:
        span = f"{clock.text(each.since)} to {clock.text(each.until)}"
        printing.line(f"{each.source} {each.stream}: {span}, in the next passes")
    if not booked:
        printing.line(NOTHING_BEHIND)


def time_of(written: str, option: str) -> datetime:
    """Read the time that an option was given, e.g. 2026-01-01. BadParameter if it is none."""
    from syncd.fields import parse_time

    found = parse_time(written)
    if found is None:
        raise typer.BadParameter(f"{option} {written!r}: {TIME_EXPECTED}")
    return found
