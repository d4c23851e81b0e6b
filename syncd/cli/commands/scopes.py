"""Look at the CRM before a pass: `syncd scope` and `syncd preview`."""

from typing import Annotated

import typer

from syncd.cli import printing
from syncd.cli.commands import completing
from syncd.cli.commands.options import AsJson, ConfigFile, load_config, sources_of

MOST_DAYS = 3650
MOST_SHOWN = 1000  # activities of one preview
NOTHING_NEW = "nothing is new or changed since the last pass: name activities by id"


def scope(
    config: ConfigFile = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", autocompletion=completing.sources, help="Ask only this source.")
    ] = None,
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


def preview(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", hidden=True)] = None,
    config: ConfigFile = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", autocompletion=completing.sources, help="Ask only this source.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="Without ids: show the first N.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show activities as they would be sent.

    Shows each field with the CRM's property and the rule behind it, and why an activity would not be sent. ID is the
    externalActivityId or the CRM's id. Without ids, it shows the first activities that the next pass would read. It
    asks the CRM, and writes and sends nothing. The output holds personal data.
    """
    if not 1 <= limit <= MOST_SHOWN:
        raise typer.BadParameter(f"expected --limit from 1 to {MOST_SHOWN}")
    from syncd import signals
    from syncd.cli import preview as previews
    from syncd.errors import worst

    loaded = load_config(config, secrets=True)
    sources, stop = sources_of(loaded, source), signals.StopRequest()
    with signals.handling(stop):
        if ids:
            found, errors = previews.of_ids(loaded, sources, ids, stop)
        else:
            found, errors = previews.first(loaded, sources, limit, stop)
    if as_json:
        printing.document(found)
    else:
        for each in found:
            previews.show(each)
    if not found and not errors and not stop.requested:
        printing.note(NOTHING_NEW)
    for error in errors:
        printing.error(error)
    codes = [error.exit_code for error in errors]
    raise typer.Exit(int(worst([*codes, *([stop.exit_code] if stop.requested else [])])))
