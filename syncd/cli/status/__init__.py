"""Show the books: a sentence first, then tables on a terminal and otherwise one fact a line, for `grep`."""

from typing import TYPE_CHECKING, Any

from syncd import clock
from syncd.cli.status import lines
from syncd.reporting.overview import summary
from syncd.reporting.times import Times

if TYPE_CHECKING:
    from rich.console import Console


def show(document: dict[str, Any], console: "Console | None" = None) -> None:
    """Print the document of `syncd status`."""
    from rich.console import Console

    console = console or Console()
    times = Times(clock.instant(document["at"]), local=console.is_terminal)
    document = {**document, "summary": summary(document, times)}
    if console.is_terminal:
        from syncd.cli.status import tables

        tables.show(document, times, console)
        return
    for line in lines.lines(document, times):
        console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)


__all__ = ["show"]
