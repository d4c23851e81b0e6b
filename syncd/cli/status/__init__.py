"""Show the books: a sentence first, then tables on a terminal and otherwise one fact a line, for `grep`."""

from typing import TYPE_CHECKING, Any

from syncd import clock
from syncd.cli import printing
from syncd.cli.status import lines
from syncd.reporting.overview import summary
from syncd.reporting.times import Times

if TYPE_CHECKING:
    from rich.console import Console


def show(document: dict[str, Any], console: "Console | None" = None) -> None:
    """Print the document of `syncd status`."""
    console = printing.terminal(console)
    times = Times(clock.instant(document["at"]), local=console is not None)
    document = {**document, "summary": summary(document, times)}
    if console is not None:
        from syncd.cli.status import tables

        tables.show(document, times, console)
        return
    for line in lines.lines(document, times):
        printing.line(line)


__all__ = ["show"]
