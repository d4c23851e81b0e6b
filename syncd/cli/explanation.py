"""Show one activity's explanation, and the payload of one that waits: `syncd explain`."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from syncd.cli import printing
from syncd.reporting.explanation import facts
from syncd.reporting.times import Times

if TYPE_CHECKING:
    from rich.console import Console

LABEL = 13  # columns of a line's name


def show(document: Mapping[str, Any], now: datetime, console: "Console | None" = None) -> None:
    """Print the document of `syncd explain`: folded behind the names on a terminal, and otherwise one fact a line."""
    console = printing.terminal(console)
    times = Times(now, local=console is not None)
    found = list(facts(document, times))
    payload = () if document["payload"] is None else _payload(document["payload"])
    if console is not None:
        _show_table([*found, ("times", times.zone)], payload, console)
        return
    for what, value in found:
        printing.line(f"{what:<{LABEL}} {value}")
    for each in payload:
        printing.line(each)


def _payload(payload: Mapping[str, Any]) -> list[str]:
    return [f"  {each}" for each in json.dumps(payload, indent=2, ensure_ascii=False).split("\n")]


def _show_table(found: Iterable[tuple[str, str]], payload: Iterable[str], console: "Console") -> None:
    """Print the facts behind their names, and below them the payload, whose lines are not folded."""
    from rich.table import Table

    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=LABEL, no_wrap=True)
    table.add_column(overflow="fold")
    for what, value in found:
        table.add_row(what, printing.styled(value, f"link {value}" if what == "link" else ""))
    console.print(table)
    for each in payload:
        console.print(printing.styled(each), soft_wrap=True)


__all__ = ["show"]
