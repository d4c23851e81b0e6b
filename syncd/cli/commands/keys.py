"""Change the master key of a ledger: `syncd ledger rekey`."""

from typing import TYPE_CHECKING, Annotated

import typer

from syncd.cli import printing
from syncd.cli.commands.options import ConfigFile, load_config

if TYPE_CHECKING:
    from syncd.ledger import Lost


def rekey(
    old: Annotated[str | None, typer.Option(metavar="REF", help="The old key, e.g. file:/root/old.key.")] = None,
    lost: Annotated[bool, typer.Option("--lost", help="Show the damage if the old key is lost.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --lost: give the lost parts up.")] = False,
    config: ConfigFile = None,
) -> None:
    """Change the master key of a ledger in PostgreSQL.

    Stop every syncd of the ledger. Set [ledger] master_key to the new key, and give the old one with --old. Only the
    keys in the ledger are encrypted again, so this takes a moment. Then remove the old key, and the payloads in old
    backups cannot be read any more.

    If the old key is lost, --lost shows the damage, and --lost --yes gives the lost parts up. No activity is lost. The
    records of waiting activities are read again from the CRM.
    """
    from syncd.ledger import chosen
    from syncd.types.secrets import Secret

    if (old is None) == (not lost) or (yes and not lost):
        raise typer.BadParameter("give --old, or --lost with or without --yes")
    try:
        before = None if old is None else Secret.parse(old)
    except ValueError as error:
        raise typer.BadParameter(f"--old: {error}") from None
    with chosen(load_config(config).ledger).rekeying() as keys:
        if before is not None:
            printing.line(f"Keys wrapped under the new master key: {keys.rewrap(before)}.")
        else:
            _show(keys.give_up() if yes else keys.lost(), is_over=yes)


def _show(lost: "Lost", *, is_over: bool) -> None:
    if not lost.keys and not lost.values and not lost.payloads:
        printing.line("The master key opens all of it. Nothing is lost.")
        return
    printing.line(f"Payloads whose records are read again: {lost.payloads}")
    printing.line(f"Values that connectors make again: {len(lost.values)}")
    if lost.forgotten:
        printing.line(f"Forgotten people to name again with `syncd forget`: {lost.forgotten}")
    printing.note("given up" if is_over else "nothing was changed: --lost --yes gives these up")
