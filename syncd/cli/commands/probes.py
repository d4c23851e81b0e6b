"""Report problems: `syncd check` and `syncd health`."""

from typing import Annotated

import typer

from syncd.cli import printing
from syncd.cli.commands.options import AsJson, ConfigFile, Given, load_config, print_finding, sources_of
from syncd.errors import Exit


def check(config: ConfigFile = None) -> None:
    """Try everything that a pass depends on.

    Prints ok, warn or error for the configuration, the ledger, credentials, scopes and clocks, with a remedy for
    each failure.
    """
    loaded = load_config(config, secrets=True)
    from syncd.cli import check as checks
    from syncd.errors import worst

    codes = []
    for finding in checks.findings(loaded, sources_of(loaded, None)):
        print_finding(finding)
        if not finding.ok and not finding.warning:
            codes.append(finding.exit_code or Exit.UNAVAILABLE)
    raise typer.Exit(int(worst(codes)))


def health(
    config: ConfigFile = None,
    probe: Annotated[
        str | None, typer.Option(metavar="PROBE", help="Answer only this one: alive, ready or fresh.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Report whether the daemon is alive, ready and fresh.

    Made for a container's health check and a cluster's probes. It reads only the ledger. The exit code is 0 if all is
    well, 74 if the ledger cannot be read, otherwise 69.
    """
    from syncd import clock
    from syncd.cli import health as probes
    from syncd.config import load
    from syncd.errors import worst

    if probe is not None and probe not in probes.PROBES:
        raise typer.BadParameter(f"expected --probe to be one of {', '.join(probes.PROBES)}")
    loaded = load(config or Given.config, secrets=False)  # no log: it would cost each probe 60 ms
    found = [f for f in probes.findings(loaded, clock.now()) if probe in (None, f.what)]
    if as_json:
        printing.document(probes.document(found))
    else:
        for finding in found:
            print_finding(finding)
    raise typer.Exit(int(worst(f.exit_code for f in found if not f.ok)))
