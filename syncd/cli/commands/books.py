"""Read the ledger, request retries and recount: `syncd status`, `explain`, `retry` and `ledger recount`."""

from typing import TYPE_CHECKING, Annotated

import typer

from syncd.cli import printing
from syncd.cli.commands import completing
from syncd.cli.commands.options import AsJson, ConfigFile, load_config, read_config
from syncd.errors import Exit
from syncd.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncd.config import Config
    from syncd.ledger import Choice

NOTHING_TO_RETRY = "nothing to retry: no activity matches, or all that do are delivered"

CORRECTED = "The kept counts were wrong, and are right now."
UNEQUAL = (
    "rows were removed or added by hand: restore a backup, then run `syncd sync`, which reads again what it lacks. "
    "Without a backup, `syncd verify --repair` books the removed ones again"
)


def status(
    config: ConfigFile = None,
    as_json: AsJson = False,
    prometheus: Annotated[bool, typer.Option("--prometheus", help="Print metrics for node_exporter.")] = False,
) -> None:
    """Show whether all is well, the books and the last pass.

    The first line says whether all is well, waits or needs you. Each point below it names the next action. Then come
    states, verdicts, reasons, sources and Recotap. Times are local on a terminal, and in UTC otherwise. With
    --prometheus the exit code is 0 even if the books do not balance: syncd_ledger_balanced tells it.
    """
    if prometheus:
        if as_json:
            raise typer.BadParameter("give --json or --prometheus, not both")
        _print_metrics(read_config(config))
        return
    from syncd import clock
    from syncd.cli import status as screen
    from syncd.ledger import chosen
    from syncd.passes import removed
    from syncd.reporting import books

    loaded, now = read_config(config), clock.now()
    with chosen(loaded.ledger).reports() as glance:
        document = books.document(loaded, glance, now)
        gone = removed.gone_since(glance, [source.name for source in loaded.sources])
    if as_json:
        printing.document(books.summarized(document, now))
    else:
        screen.show(document)
        for name, since in gone.items():
            printing.line(f"source {name}: {removed.gone_text(since)} → {removed.BRING_BACK}")
    raise typer.Exit(0 if document["balanced"] else int(Exit.UNBALANCED))


def _print_metrics(config: "Config") -> None:
    """Print the metrics in the format of node_exporter's textfile collector."""
    from syncd import clock, metrics
    from syncd.ledger import chosen

    with chosen(config.ledger).reports() as glance:
        document = metrics.gather(glance, config, clock.now())
    text, _ = metrics.render(document, openmetrics=False)
    printing.own(text.decode())


def explain(
    activity: Annotated[str, typer.Argument(metavar="ID", hidden=True)],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show one activity's origin, state and next step.

    ID is the externalActivityId or the CRM's id. A pending activity is shown with the payload that will be sent, so
    take care where you keep the output: it holds names and addresses.
    """
    from syncd import clock
    from syncd.cli.explanation import show
    from syncd.ledger import chosen
    from syncd.reporting.explanation import document_of

    loaded, now = read_config(config), clock.now()
    with chosen(loaded.ledger).reports() as glance:
        names = glance.find(activity)
        if len(names) > 1:
            raise typer.BadParameter(f"{activity!r} names several: give one of {', '.join(map(visible, names))}")
        document = document_of(names[0], glance, loaded, now)
    printing.document(document) if as_json else show(document, now)


def retry(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", hidden=True)] = None,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", autocompletion=completing.states_to_retry, help="All in this state.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="REASON", autocompletion=completing.reasons, help="All with this reason.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the activities, but change nothing.")] = False,
    config: ConfigFile = None,
) -> None:
    """Make activities due in the next pass.

    The next pass sends those that are pending, and looks the others up again. ID is the externalActivityId or the
    CRM's id. Named activities that are left out are listed, e.g. delivered ones: Recotap takes no update.
    """
    from syncd import clock
    from syncd.ledger import chosen
    from syncd.lifecycle.reasons import Reason
    from syncd.lifecycle.states import State

    if not ids and state is None and reason is None:
        raise typer.BadParameter("name ids, --state or --reason, e.g. `syncd retry --state dead`")
    if state is not None and state not in set(State) - {State.DELIVERED}:
        choices = ", ".join(each.value for each in State if each is not State.DELIVERED)
        raise typer.BadParameter(f"expected --state to be one of {choices}. A delivered activity is never sent again")
    if reason is not None and reason not in set(Reason):
        raise typer.BadParameter(f"expected --reason to be one of {', '.join(Reason)}")
    with chosen(load_config(config).ledger).operate() as operator:
        named = operator.choices(ids or (), state=state, reason=reason)
        if dry_run:
            _list(named)
            return
        left_out = [each for each in named if each.left_out] if ids else []
        count = operator.retry(ids or (), state=state, reason=reason, now=clock.now())
    printing.line(f"{count} due in the next pass" if count else NOTHING_TO_RETRY)
    for each in left_out:
        printing.line(f"left out: {each.external_activity_id}: {each.left_out}")


def _list(choices: "Iterable[Choice]") -> None:
    """Print the activities that `retry` would make due or leave out, each in a line, and their number on stderr."""
    count = 0
    for each in choices:
        count += not each.left_out
        last = [f"left out: {each.left_out}"] if each.left_out else []
        printing.row(each.external_activity_id, each.state, each.reason or "", *last)
    printing.note(f"{count} would be due in the next pass" if count else NOTHING_TO_RETRY)
    printing.note("a dry run: nothing was written")


def recount(config: ConfigFile = None) -> None:
    """Count the ledger's rows, and correct the kept counts.

    syncd keeps counts and updates them as rows move. Once a day a pass counts the rows themselves. This command does so
    at once, also beside a running syncd. It corrects the kept counts if each stream has as many rows as it has seen.
    Otherwise it exits with 4 and changes nothing.
    """
    from syncd import clock
    from syncd.ledger import chosen

    with chosen(load_config(config).ledger).operate() as operator:
        found = operator.recount(now=clock.now())
    for each in found.unequal:
        printing.line(f"{each.source}/{each.stream}: {each.rows} rows, {each.seen} were seen")
    if found.unequal:
        printing.note("syncd: the books do not balance")
        printing.note(f"  {UNEQUAL}")
        raise typer.Exit(int(Exit.UNBALANCED))
    printing.line(f"Rows counted: {found.rows}. {CORRECTED if found.corrected else 'The kept counts are right.'}")
