"""Show one activity's explanation, and the payload of one that waits: `syncd explain`."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from syncd.cli.printing import styled
from syncd.reporting.explanation import facts
from syncd.reporting.times import Times
from syncd.text import visible

LABEL = 13  # columns of a line's name


def show(document: Mapping[str, Any], now: datetime, console: Console | None = None) -> None:
    """Print the document of `syncd explain`: folded behind the names on a terminal, and otherwise one fact a line."""
    console = console or Console()
    times = Times(now, local=console.is_terminal)
    found = [*facts(document, times)]
    if console.is_terminal:
        table = Table.grid(padding=(0, 1))
        table.add_column(min_width=LABEL, no_wrap=True)
        table.add_column(overflow="fold")
        for what, value in found:
            table.add_row(what, styled(value, f"link {value}" if what == "link" else ""))
        console.print(table)
    else:
        for what, value in found:
            _line(f"{what:<{LABEL}} {value}", console)
    if document["payload"] is not None:
        for each in json.dumps(document["payload"], indent=2, ensure_ascii=False).split("\n"):
            _line(f"  {each}", console)


def _line(text: str, console: Console) -> None:
    console.print(visible(text), markup=False, emoji=False, highlight=False, soft_wrap=True)


__all__ = ["show"]
