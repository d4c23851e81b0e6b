"""Define the commands: results to stdout, logs to stderr, exit codes as in `errors.Exit`.

Each command imports its parts when it runs, so that `syncd status` does not wait for a CRM's client. To add one, write
its function in the file of its group and name it in COMMANDS, in the order of use.
"""

import gc
from collections.abc import Callable
from typing import Annotated

import typer

from syncd import __version__
from syncd.cli import printing
from syncd.cli.commands import (
    alerting,
    books,
    copying,
    examples,
    forgetting,
    keys,
    lists,
    passes,
    pauses,
    pins,
    probes,
    ranges,
    recovery,
    scopes,
    settings,
    setup,
    support,
    trials,
)
from syncd.cli.commands import verify as verifying
from syncd.cli.commands.options import ConfigFile, Given, HeadedHelp, PlainUsage

# Each heading of `syncd --help`, and its commands. The groups of commands belong to the last heading.
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Set up": (setup.init, probes.check, scopes.scope, scopes.preview),
    "Work": (passes.sync, passes.run),
    "See": (
        books.status,
        lists.list_,
        books.explain,
        lists.failures,
        lists.passes,
        recovery.accounts,
        verifying.verify,
        probes.health,
    ),
    "Repair": (books.retry, pauses.resume, ranges.backfill, recovery.adopt, forgetting.forget),
    "Other": (support.support_bundle, trials.sandbox, trials.demo),
}
SHORT = ("status", "list", "explain", "failures", "passes", "health")  # they end before cyclic garbage matters: `main`

app = typer.Typer(
    name="syncd",
    cls=HeadedHelp,
    help="Bring the calls and emails of a CRM into Recotap, each exactly once.",
    epilog="To begin: syncd init. To try it without an account: syncd demo, or syncd sandbox.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _common(
    context: typer.Context,
    config: ConfigFile = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if context.invoked_subcommand not in SHORT:
        gc.enable()
    if version:
        printing.line(f"syncd {__version__}")
        raise typer.Exit
    Given.config = config


ledger = typer.Typer(help="Care for the ledger.", no_args_is_help=True)
ledger.command()(books.recount)
ledger.command(cls=PlainUsage)(copying.copy)
ledger.command()(keys.rekey)
ledger.command(cls=PlainUsage)(pins.trust)

alerts = typer.Typer(help="Try where alerts and the heartbeat go.", no_args_is_help=True)
alerts.command("test", cls=PlainUsage)(alerting.try_addresses)

documents = typer.Typer(help="Show, check or begin a configuration.", no_args_is_help=True)
documents.command()(settings.show)
documents.command()(settings.check)
documents.command()(trials.example)
documents.command()(trials.schema)

for heading, commands in COMMANDS.items():
    for command in commands:
        name = command.__name__.rstrip("_").replace("_", "-")
        app.command(name, cls=PlainUsage, epilog=examples.epilog(name), rich_help_panel=heading)(command)
for name, group in (("ledger", ledger), ("config", documents), ("alerts", alerts)):
    app.add_typer(group, name=name, rich_help_panel=[*COMMANDS][-1])
