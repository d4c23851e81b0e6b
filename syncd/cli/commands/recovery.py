"""Compare the ledger with Recotap, and go on after a loss: `syncd accounts` and `syncd adopt`."""

from typing import Annotated

import typer

from syncd.cli import printing
from syncd.cli.commands.options import AsJson, ConfigFile, LogFormat, Verbose, is_json, load_config
from syncd.cli.commands.ranges import time_of

NEEDS_YES = "there is no terminal to ask on: give --yes to adopt without a question"


def accounts(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List domains of which Recotap has no account.

    Activities of such a domain are stored, but belong to no account. It asks Recotap for the domains of all activities
    that are delivered or wait, 100 at a time, and suggests accounts with a similar name. To find those, it reads up to
    5,000 accounts. It changes nothing.
    """
    from syncd.cli import accounts as asking

    found = asking.answer(load_config(config, secrets=True))
    if as_json:
        printing.document(found.to_json())
    else:
        asking.show(found)


def adopt(
    since: Annotated[str, typer.Option(metavar="TIME", help="Read what was modified since then.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigFile = None,
    verbose: Verbose = False,
    log_format: LogFormat = None,
) -> None:
    """Take over the deliveries of a lost ledger.

    Use it if the ledger was lost, or restored from a backup that is older than its last deliveries. It states how many
    records it reads, and asks. Then it reads what was modified since TIME, at least what the next pass would read, and
    pushes it. If Recotap has an activity already, it is a `duplicate` and not a `foreign_duplicate`, and is counted as
    adopted in `syncd status`. Nothing is doubled, as long as each source has the name and the `external_id` that it had
    before. If it is interrupted, the next pass goes on with it.
    """
    from syncd import clock, signals
    from syncd.cli import adopting, progress
    from syncd.ledger import chosen

    first = time_of(since, "--since")
    if first >= clock.now():
        raise typer.BadParameter(f"--since {since} lies in the future")
    if not yes and not adopting.has_terminal():
        raise typer.BadParameter(NEEDS_YES)
    loaded = load_config(config, secrets=True, verbose=verbose, says_which=True, log_format=log_format)
    ledger, stop = chosen(loaded.ledger), signals.StopRequest()
    with ledger.hold("adopt") as hold:
        adopting.show_costs([*adopting.costs(loaded, ledger, first)])
        if not yes and not adopting.is_sure():
            printing.note(adopting.NOTHING_DONE)
            raise typer.Exit
        with signals.handling(stop), progress.watching(verbose=verbose, as_json=is_json(log_format)) as observer:
            outcome = adopting.adopt(loaded, hold.ledger, first, stop=stop, observer=observer)
    adopting.show(outcome)
    raise typer.Exit(outcome.exit_code)
