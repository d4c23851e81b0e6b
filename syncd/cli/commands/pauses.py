"""End the pauses that a CRM or Recotap asked for: `syncd resume`."""

from typing import Annotated

import typer

from syncd.cli import printing
from syncd.cli.commands import completing
from syncd.cli.commands.options import RECOTAP as THE_WORD
from syncd.cli.commands.options import ConfigFile, load_config


def resume(
    name: Annotated[str | None, typer.Argument(metavar="NAME", hidden=True, autocompletion=completing.pauses)] = None,
    config: ConfigFile = None,
) -> None:
    """Lift a pause, so that the next pass goes on.

    NAME is recotap or a source. Without it, all pauses are lifted. A CRM or Recotap asks for a pause, e.g. if a daily
    quota is used up, and `syncd status` shows it. If the cause persists, the next pass pauses again.
    """
    from syncd import clock
    from syncd.ledger import RECOTAP, chosen

    loaded = load_config(config)
    names = [THE_WORD, *(source.name for source in loaded.sources)]
    if name is not None and name not in names:
        raise typer.BadParameter(f"{name!r} is not configured, expected one of {', '.join(names)}")
    with chosen(loaded.ledger).operate() as operator:
        lifted = operator.resume(RECOTAP if name == THE_WORD else name, now=clock.now())
    for each, pause in lifted.items():
        shown = THE_WORD if each == RECOTAP else each
        printing.line(f"{shown}: the pause until {pause['until']} is lifted ({pause['reason']})")
    if not lifted:
        printing.line(f"{name} is not paused" if name else "nothing is paused")
