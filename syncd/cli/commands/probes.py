"""Report problems: `syncd check` and `syncd health`."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from syncd.cli import printing
from syncd.cli.commands import completing
from syncd.cli.commands.options import AsJson, ConfigFile, load_config, print_finding, read_config, sources_of
from syncd.errors import ConfigError, worst

if TYPE_CHECKING:
    from syncd.cli.check.parts import Placed


def check(
    config: ConfigFile = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Send no request: test this machine and the configuration only.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Try everything that a pass depends on.

    Prints ok, warn or error for each part, this machine, the CRM and Recotap, with a remedy for each failure, and ends
    with a verdict. It sends nothing to Recotap and changes nothing. The exit code is that of the worst error. Beside a
    running pass it waits its turn, up to 30 s for each server.
    """
    from syncd.cli.check import parts

    try:
        loaded = load_config(config, secrets=True)
    except ConfigError as error:
        if not as_json:
            raise
        printing.document(parts.document(parts.mistakes(error)))
        raise typer.Exit(int(error.exit_code)) from None
    from syncd.cli import check as checks

    sources = sources_of(loaded, None)
    found = checks.findings(loaded, sources, offline=offline)
    shown = list(found) if as_json else list(_shown(found))
    if as_json:
        printing.document(parts.document(shown))
    else:
        untested = [*(source.name for source in sources), "Recotap", "all clocks"] if offline else []
        told = parts.conclusion(shown, has_begun=checks.has_begun(loaded), untested=untested)
        printing.line("")
        printing.wrapped(told, lead="")
    raise typer.Exit(int(worst(map(parts.code, shown))))


def _shown(found: Iterable["Placed"]) -> Iterator["Placed"]:
    """Print each finding as soon as it is known, below the heading of its part, and yield it."""
    from syncd.cli.check.parts import Part

    order, headed = list(Part), -1
    for each in found:
        if order.index(each.part) > headed:
            headed = order.index(each.part)
            if headed:
                printing.line("")
            printing.line(each.part.heading)
        print_finding(each)
        yield each


def health(
    config: ConfigFile = None,
    probe: Annotated[
        str | None,
        typer.Option(
            metavar="PROBE", autocompletion=completing.probes, help="Answer only this one: alive, ready or fresh."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Report whether the daemon is alive, ready and fresh.

    Made for a container's health check and a cluster's probes. It reads only the ledger. The exit code is 0 if all is
    well, 74 if the ledger cannot be read, otherwise 69.
    """
    from syncd import clock
    from syncd.reporting import health as probes

    if probe is not None and probe not in probes.PROBES:
        raise typer.BadParameter(f"expected --probe to be one of {', '.join(probes.PROBES)}")
    loaded = read_config(config)
    found = [f for f in probes.findings(loaded, clock.now()) if probe in (None, f.what)]
    if as_json:
        printing.document(probes.document(found))
    else:
        for finding in found:
            print_finding(finding)
    raise typer.Exit(int(worst(f.exit_code for f in found if not f.ok)))
