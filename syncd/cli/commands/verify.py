"""Compare the CRMs with the ledger: `syncd verify`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from syncd import signals
from syncd.cli import printing
from syncd.cli.commands.options import AsJson, ConfigFile, load_config, sources_of

if TYPE_CHECKING:
    from syncd.connector import Source
    from syncd.passes.verify import Compared, Verification
    from syncd.signals import StopRequest


def verify(
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Compare what was modified since then. Default: the start.")
    ] = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="Compare only this source.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="List the records only of days whose count differs.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Find records of the CRM that the ledger lacks.

    Lists the ids that each CRM has behind the watermark, and compares them with the ledger's rows. Names each activity
    that has no row, and each row whose record the CRM does not find any more. Both were looked up by id. It writes and
    sends nothing. With --quick a missing record beside a deleted one of the same day stays unseen.
    """
    from syncd import clock
    from syncd.cli.commands.ranges import time_of
    from syncd.ledger import chosen
    from syncd.passes.verify import Verification

    first = None if since is None else time_of(since, "--since")
    if first is not None and first >= clock.now():
        raise typer.BadParameter(f"--since {since} lies in the future")
    loaded = load_config(config, secrets=True)
    sources, stop = sources_of(loaded, source), signals.StopRequest()
    with signals.handling(stop):
        how = Verification(chosen(loaded.ledger), stop, since=first, quick=quick)
        found = _compare(how, sources, as_json=as_json)
    raise typer.Exit(_end(found, stop, as_json=as_json))


def _compare(how: "Verification", sources: "Sequence[Source]", *, as_json: bool) -> "list[Compared]":
    """Return all streams, and show them unless `as_json`."""
    from dataclasses import replace

    from syncd.cli import verification

    with verification.watching() as watcher:
        found = [*replace(how, watcher=watcher).streams(sources)]
    for each in () if as_json else found:
        verification.show(each)
    return found


def _end(found: "Sequence[Compared]", stop: "StopRequest", *, as_json: bool) -> int:
    """Print the end, and return the exit code."""
    from syncd.cli import verification
    from syncd.errors import worst

    if as_json:
        printing.document(verification.to_json(found))
    verification.show_end(found)
    codes = [code for each in found for code in each.exit_codes]
    return int(worst([*codes, *([stop.exit_code] if stop.requested else [])]))
