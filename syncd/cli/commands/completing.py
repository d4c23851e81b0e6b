"""Complete the values of options in a shell: states, reasons, and the names of sources."""

from typing import TYPE_CHECKING

import typer

from syncd.cli.commands.options import RECOTAP

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("call", "email")


def states() -> list[str]:
    """Return all states."""
    from syncd.lifecycle.states import State

    return [*State]


def states_to_retry() -> list[str]:
    """Return the states that `syncd retry` moves."""
    from syncd.lifecycle.states import State

    return [each for each in State if each is not State.DELIVERED]


def reasons() -> list[str]:
    """Return all reasons."""
    from syncd.lifecycle.reasons import Reason

    return [*Reason]


def kinds() -> list[str]:
    """Return the kinds of activity."""
    return [*KINDS]


def probes() -> list[str]:
    """Return the probes of `syncd health`."""
    from syncd.reporting.health import PROBES

    return [*PROBES]


def sources(ctx: typer.Context) -> list[str]:
    """Return the names of the configured sources, or an empty list if the configuration has mistakes.

    No secret is read.
    """
    from syncd.config import load
    from syncd.errors import SyncdError

    try:
        return [each.name for each in load(_config(ctx), secrets=False).sources]
    except SyncdError:
        return []


def pauses(ctx: typer.Context) -> list[str]:
    """Return the names that `syncd resume` and `syncd ledger trust` take."""
    return [RECOTAP, *sources(ctx)]


def _config(ctx: typer.Context) -> "Path | None":
    """Return the file that -c names, before or after the command."""
    given = (each.params.get("config") for each in (ctx, ctx.find_root()))
    return next((file for file in given if file is not None), None)
