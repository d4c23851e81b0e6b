"""Try syncd before there is a configuration: `syncd config`, `sandbox` and `demo`."""

from pathlib import Path
from typing import Annotated

import typer

from syncd.cli import printing
from syncd.cli.commands.options import Number, Port


def example() -> None:
    """Print a commented configuration with every key."""
    from syncd.config import shipped

    printing.own(shipped.read(shipped.EXAMPLE))


def schema() -> None:
    """Print the configuration's JSON Schema, for editors."""
    from syncd.config import shipped

    printing.own(shipped.read(shipped.SCHEMA))


def sandbox(
    hubspot_port: Port = 0,
    salesforce_port: Port = 0,
    recotap_port: Port = 0,
    calls: Number = 300,
    emails: Number = 200,
    contacts: Number = 120,
    companies: Number = 50,
    write_config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a configuration for it.")
    ] = None,
) -> None:
    """Serve stand-ins for the CRMs and Recotap.

    They listen on loopback until Ctrl-C, so that you can try syncd without an account. The command prints one line of
    JSON with their addresses and keys. The stand-in for Salesforce speaks TLS, with a CA of its own. While it runs,
    `syncd init --sandbox` writes a configuration for it.
    """
    from syncd.cli.init.stand_ins import announcing
    from syncd.sandbox import serve

    people = {"calls": calls, "emails": emails, "contacts": contacts}
    wanted = any((*people.values(), companies))
    with announcing(write_config) as announce:
        serve(
            world={**people, "companies": companies} if wanted else None,
            salesforce_world={**people, "accounts": companies} if wanted else None, on_ready=announce,
            hubspot_port=hubspot_port, salesforce_port=salesforce_port, recotap_port=recotap_port, salesforce={},
        )  # fmt: skip


def demo(
    calls: Number = 1200,
    emails: Number = 800,
) -> None:
    """Make two passes against stand-ins, and show the books.

    The stand-ins take the place of both CRMs and Recotap. syncd itself is the real thing.
    """
    from syncd.cli.demo import run

    raise typer.Exit(run(calls=calls, emails=emails))
