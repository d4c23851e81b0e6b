"""Show which of the CRM's rows are calls and emails: `syncd scope`."""

from typing import Annotated

import typer

from syncd.cli import printing
from syncd.cli.commands.options import AsJson, ConfigFile, load_config, sources_of

MOST_DAYS = 3650


def scope(
    config: ConfigFile = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="Ask only this source.")] = None,
    days: Annotated[int, typer.Option(metavar="N", help="Count rows that changed in the last N days.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Show which rows of the CRM are read, and which not.

    Counts the rows by kind, and marks each kind as call, email or not read. It asks the CRM, and changes nothing.
    A pass does the same once a day for `syncd check` and `syncd status`.
    """
    if not 1 <= days <= MOST_DAYS:
        raise typer.BadParameter(f"expected --days from 1 to {MOST_DAYS}")
    from datetime import timedelta

    from syncd import clock
    from syncd.cli import scope as scopes

    loaded = load_config(config, secrets=True)
    since = clock.now() - timedelta(days=days)
    found = []
    for answer in scopes.answers(loaded, sources_of(loaded, source), since):
        found.append(answer)
        if not as_json:
            scopes.show(answer)
    if as_json:
        printing.document(scopes.to_json(found, since))
        for answer in found:
            if answer.error:
                scopes.show_error(answer, answer.error)
    raise typer.Exit(scopes.exit_code(found))
