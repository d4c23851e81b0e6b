"""Change what the ledger remembers of the other ends: `syncd ledger trust`."""

from typing import Annotated

import typer

from syncd.cli import printing
from syncd.cli.commands import completing
from syncd.cli.commands.options import RECOTAP, ConfigFile, load_config


def trust(
    name: Annotated[str, typer.Argument(metavar="NAME", hidden=True, autocompletion=completing.pauses)],
    config: ConfigFile = None,
) -> None:
    """Accept another Recotap, portal or org.

    NAME is recotap or a source. syncd refuses another Recotap, and a portal or org that the ledger knows under another
    name, because activities could be lost or sent twice. Use this if you know that they are not.
    """
    from syncd import clock
    from syncd.ledger import chosen

    loaded = load_config(config)
    names = [source.name for source in loaded.sources]
    if name != RECOTAP and name not in names:
        raise typer.BadParameter(f"{name!r} is not configured, expected one of {', '.join([RECOTAP, *names])}")
    with chosen(loaded.ledger).operate() as operator:
        if name == RECOTAP:
            printing.line(_of_recotap(operator.trust_recotap(clock.now())))
        else:
            printing.line(_of_source(name, operator.trust_source(name, clock.now())))


def _of_recotap(before: str | None) -> str:
    was = f"the ledger delivered to {before}" if before else "the ledger was pinned to no Recotap"
    return f"{was}: the next pass pins the one that the configuration names"


def _of_source(name: str, before: str | None) -> str:
    was = f"{name} was portal or org {before}" if before else f"the ledger knew no portal or org of {name}"
    return f"{was}: the next pass takes the one that its credentials lead to"
