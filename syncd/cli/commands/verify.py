"""Compare the CRMs with the ledger: `syncd verify`."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from syncd import signals
from syncd.cli import printing
from syncd.cli.commands import completing
from syncd.cli.commands.options import AsJson, ConfigFile, load_config, sources_of

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.connector import Source
    from syncd.ledger import AnyLedger
    from syncd.passes.repair import Repaired
    from syncd.passes.verify import Compared, Verification


def verify(
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Compare what was modified since then. Default: the start.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", autocompletion=completing.sources, help="Compare only this source.")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Book what is missing, and send what is complete.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="List the records only of days whose count differs.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Find records of the CRM that the ledger lacks.

    Lists the ids that each CRM has behind the watermark, and compares them with the ledger's rows. Names each activity
    that has no row, and each row whose record the CRM does not find any more. Both were looked up by id. Without
    --repair it writes and sends nothing, and a running syncd need not stop. With --quick a missing record beside a
    deleted one of the same day stays unseen.
    """
    from syncd import clock
    from syncd.cli.commands.ranges import time_of
    from syncd.ledger import chosen
    from syncd.passes.verify import Verification

    first = None if since is None else time_of(since, "--since")
    if first is not None and first >= clock.now():
        raise typer.BadParameter(f"--since {since} lies in the future")
    loaded = load_config(config, secrets=True)
    sources, stop, ledger = sources_of(loaded, source), signals.StopRequest(), chosen(loaded.ledger)
    how = Verification(ledger, stop, since=first, quick=quick)
    with ledger.hold("verify --repair") if repair else nullcontext() as hold, signals.handling(stop):
        found = _compared(how, sources)
        done = _repaired(loaded, hold.ledger, sources, found, stop) if hold and not stop.requested else None
    raise typer.Exit(_end(found, done, stop, as_json=as_json))


def _compared(how: "Verification", sources: "Sequence[Source]") -> "list[Compared]":
    from dataclasses import replace

    from syncd.cli import verification

    with verification.watching() as watcher:
        return [*replace(how, watcher=watcher).streams(sources)]


def _repaired(
    config: "Config", ledger: "AnyLedger", sources: "Sequence[Source]", found: "Sequence[Compared]",
    stop: signals.StopRequest,
) -> "Repaired":  # fmt: skip
    from syncd.cli import progress
    from syncd.passes.repair import repair

    with progress.watching() as observer:
        return repair(config, sources, found, ledger=ledger, stop=stop, observer=observer)


def _end(found: "Sequence[Compared]", done: "Repaired | None", stop: signals.StopRequest, *, as_json: bool) -> int:
    """Print the results, and return the exit code."""
    from syncd.cli import verification
    from syncd.errors import worst

    found = done.found if done else found
    if as_json:
        printing.document(verification.to_json(found, done.booked if done else None))
    for each in () if as_json else found:
        verification.show(each, done.booked[each.source, each.stream] if done else ())
    verification.show_end(found, done)
    codes = [code for each in found for code in each.exit_codes]
    return int(worst([*codes, *(done.exit_codes if done else ()), *([stop.exit_code] if stop.requested else [])]))
