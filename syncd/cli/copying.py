"""Show the progress and the outcome of `syncd ledger copy`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from syncd.cli import printing
from syncd.ledger import copying

WIDE = 80  # columns. A narrower terminal gets no bar
MOVED = "next: let [ledger] name the copy, then start syncd. The other ledger refuses its use from now on"
KEPT = "the copy is for reading, and syncd goes on with the other ledger. Keep it as safe as that one"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A copy that is complete."""

    source: str  # without user, parameters and password
    target: str  # as `source`
    copied: copying.Copied
    keep: bool  # the source stays in use
    seconds: float


def to_json(outcome: Outcome) -> dict[str, Any]:
    """Return the document of --json. Its keys may be added to, and are never renamed."""
    return {
        "from": outcome.source,
        "to": outcome.target,
        "moved": not outcome.keep,
        "resumed": outcome.copied.resumed,
        "rows": outcome.copied.rows,
        "seen": outcome.copied.seen,
        "sha256": outcome.copied.sha256,
        "seconds": round(outcome.seconds, 3),
    }


def show(outcome: Outcome) -> None:
    """Print the outcome on stdout, and the next step on stderr."""
    rows = outcome.copied.rows
    figures = f"{rows['activities']:,} activities, {sum(rows.values()):,} rows in all, in {outcome.seconds:.1f} s"
    printing.line(f"{outcome.source} is copied to {outcome.target}: {figures}")
    printing.line(f"both are equal in every row: sha256 {outcome.copied.sha256}")
    printing.note(KEPT if outcome.keep else MOVED)


@contextmanager
def watching() -> Iterator[copying.Progress]:
    """Show a bar for each step on a terminal. Yields a function that does nothing if stderr is none."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bar = [BarColumn(bar_width=14)] if console.width >= WIDE else []
    lines: dict[str, TaskID] = {}
    columns = TextColumn("{task.description}", markup=False), *bar, MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as shown:

        def show(step: str, done: int, total: int) -> None:
            if step not in lines:
                lines[step] = shown.add_task(step, total=total)
            shown.update(lines[step], completed=done, total=total)

        yield show


__all__ = ["KEPT", "MOVED", "Outcome", "show", "to_json", "watching"]
