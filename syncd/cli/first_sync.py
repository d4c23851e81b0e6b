"""Ask before the first sync of a ledger, because Recotap takes nothing back."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import typer

from syncd import clock
from syncd.cli import printing
from syncd.cli.asking import asking
from syncd.cli.check import pinned
from syncd.config import Config
from syncd.connector import Connector, Source
from syncd.errors import Exit, LedgerError, SyncdError
from syncd.ledger import AnyLedger, chosen
from syncd.passes import counting
from syncd.passes.reader import as_told
from syncd.passes.windows import Span

Counts = Mapping[tuple[str, str], int | SyncdError]  # by source and stream: its records, or why they are not counted


def confirm(config: Config, sources: Sequence[Source]) -> bool:
    """Tell whether to go on. Ask the operator before the first sync of a ledger. Call it on a terminal only.

    A sync is the first until a window was read to its end. Raises typer.Exit with 130 if the operator stops it.
    """
    if not _is_first(chosen(config.ledger)):
        return True
    printing.note("This is the first sync of this ledger. Records to read:")
    since = {source.name: clock.text(source.config.start)[:10] for source in sources}
    for line in told(_counts(config, sources), since):
        printing.note(line)
    try:
        return typer.confirm("Read and send them?", err=True)
    except typer.Abort:
        raise typer.Exit(int(Exit.SIGINT)) from None


def told(counts: Counts, since: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines that say how much is read and sent. `since`: the day of each source's `start`."""
    for (source, stream), count in counts.items():
        found = f"{count:,}" if isinstance(count, int) else f"not counted, {count.summary}"
        yield f"  {source} {stream}, changed since {since[source]}: {found}"
    known = [count for count in counts.values() if isinstance(count, int)]
    most = f"Up to {sum(known):,} activities" if len(known) == len(counts) else f"{sum(known):,} activities or more"
    yield f"{most} will be sent, and Recotap takes nothing back."
    yield "Some will be left out: `syncd sync --dry-run` tells which."
    yield "To see a few arrive first: `syncd sync --limit 5`"


def _is_first(ledger: AnyLedger) -> bool:
    with suppress(LedgerError):  # the pass will tell, or migrate it
        if ledger.holder() is not None:  # the same
            return False
        if ledger.exists():
            with ledger.read() as glance:
                return not glance.has_read_a_window()
        return True
    return False


def _counts(config: Config, sources: Sequence[Source]) -> Counts:
    """Return the number of records of each stream since `start`, with one request each."""
    found: dict[tuple[str, str], int | SyncdError] = {}
    for source in (pinned.narrowed(config, source).source for source in sources):
        try:
            with asking(source) as connector:
                found |= {(source.name, each.name): _count(connector, source, each.name) for each in source.streams}
        except Exception as error:  # noqa: BLE001 - a connector may raise anything, and the pass will tell
            found |= dict.fromkeys(((source.name, each.name) for each in source.streams), as_told(source.name, error))
    return found


def _count(connector: Connector, source: Source, stream: str) -> int | SyncdError:
    try:
        return counting.records(connector, stream, [Span(source.config.start, None)])
    except Exception as error:  # noqa: BLE001 - as above
        return as_told(source.name, error, stream)


__all__ = ["confirm", "told"]
