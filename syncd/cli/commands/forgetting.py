"""Erase a person: `syncd forget`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from syncd.cli import printing
from syncd.cli.commands.options import ConfigFile, load_config

if TYPE_CHECKING:
    from syncd.config import Config

MOST = 2048  # characters that are read of standard input
GRACE_S = 10.0  # for a POST to end after its deadline
NO_ADDRESS = "expected one e-mail address on standard input, or at the prompt"
AS_ARGUMENT = "the command line takes no address, because others see it. Give it at the prompt, or on standard input"


def forget(
    config: ConfigFile = None,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="", hidden=True)] = None,
) -> None:
    """Erase a person, and leave them out from now on.

    It reads the address at a prompt, or from standard input, because others see a command line. The address is erased
    from the ledger. An activity that waits is sent without the person. If nobody else is in it, or if the person
    owns it, it is excluded as `forgotten`. syncd keeps a keyed hash of the address, so that the person stays out.

    Each delivered activity of the person, as far as the CRM names it by the address, is a line on standard output: its
    externalActivityId, state, kind, time and link, separated by tabs. Ask Recotap's support to delete these. The CRM's
    own records, backups of the ledger and the write-ahead log of PostgreSQL are out of syncd's reach.
    """
    if arguments:
        raise typer.BadParameter(AS_ARGUMENT)
    from syncd.addresses import email
    from syncd.cli import forgetting
    from syncd.errors import worst

    address = email(_asked())
    if address is None:
        raise typer.BadParameter(NO_ADDRESS)
    loaded = load_config(config)
    errors = forgetting.erase(loaded, address, patience_s=loaded.recotap.timeout.total_seconds() + GRACE_S)
    for row in forgetting.sent(loaded, address, errors):
        printing.row(*row)
    _note_what_remains(loaded, address)
    for error in errors:
        printing.error(error)
    raise typer.Exit(int(worst(error.exit_code for error in errors)))


def _asked() -> str:
    """Return the address as typed or piped, without showing it again."""
    if sys.stdin.isatty():
        typer.echo("E-mail address of the person: ", nl=False, err=True)
    try:
        return sys.stdin.readline(MOST)
    except UnicodeDecodeError:
        return ""


def _note_what_remains(config: "Config", address: str) -> None:
    from syncd.addresses import email
    from syncd.ledger import chosen

    named = {email(each) for each in (config.rules.default_owner_email, *config.rules.not_owners)}
    if address in named:
        printing.note("your configuration names this address ([rules]): remove it there")
    copies = chosen(config.ledger).rest().copies
    printing.note(f"{copies} still hold what they held: replace them, or let them expire")
