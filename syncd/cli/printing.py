"""Print every line of a command, with outside text escaped.

Rich must not interpret markup and emoji names in outside text: `styled` makes a Text of it, which Rich prints as it is.
"""

import json
import os
import shutil
import sys
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from syncd.errors import SyncdError
from syncd.text import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

LEAST = 20  # columns of text, however narrow a terminal is
FORCED = ("FORCE_COLOR", "TTY_COMPATIBLE")  # by these variables Rich takes a pipe for a terminal


def line(text: str) -> None:
    """Print one line on stdout, at once."""
    print(visible(text), flush=True)


def wrapped(text: str, *, lead: str, colour: str = "", indent: str = "") -> None:
    """Print `text` on stdout after `lead`: one line, unless a terminal is narrower.

    Its further lines there begin with `indent`, and `lead` has a colour. No word is cut.
    """
    if not sys.stdout.isatty():
        line(f"{lead}{text}")
        return
    width = max(_columns(sys.stdout), 2 * len(lead) + 1)
    first, *more = textwrap.wrap(
        visible(text), width - max(len(lead), len(indent)), break_long_words=False, break_on_hyphens=False
    ) or [""]
    print(f"{_coloured(lead, colour)}{first}", flush=True)
    for each in more:
        print(f"{indent}{each}", flush=True)


def _coloured(text: str, colour: str) -> str:
    """Return our own text in a colour, unless the operator wants none (no-color.org)."""
    if not colour or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    import typer

    return typer.style(text, fg=colour, bold=True)


def note(text: str) -> None:
    """Print one line on stderr. A narrower terminal gets it folded behind its indent, and no word is cut."""
    text = visible(text)
    if not sys.stderr.isatty():
        print(text, file=sys.stderr)
        return
    words = text.lstrip()
    indent = " " * (len(text) - len(words) + (2 if words.startswith("→ ") else 0))
    width = max(_columns(sys.stderr), len(indent) + LEAST)
    for each in textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ) or [""]:  # fmt: skip
        print(each, file=sys.stderr)


def _columns(stream: TextIO) -> int:
    """Return the width of the terminal behind a stream, unless the operator's COLUMNS says another."""
    found = shutil.get_terminal_size().columns
    if not os.environ.get("COLUMNS"):
        with suppress(OSError, ValueError):
            return os.get_terminal_size(stream.fileno()).columns or found
    return found


def row(*cells: str) -> None:
    """Print cells separated by tabs as one line on stdout. A tab or line break within a cell is escaped."""
    print("\t".join(map(visible, cells)), flush=True)  # a closed reader is noticed at once


def block(text: str) -> None:
    """Print lines, e.g. of a traceback, on stderr."""
    for each in text.split("\n"):
        print(visible(each), file=sys.stderr)


def terminal(console: "Console | None" = None) -> "Console | None":
    """Return the console of the terminal on stdout, or of a test's. None if it is no terminal: print lines then.

    Rich decides. It takes as long to import as all of syncd, so it is not asked about an ordinary pipe.
    """
    if console is None:
        if not sys.stdout.isatty() and not any(name in os.environ for name in FORCED):
            return None
        from rich.console import Console

        console = Console()
    return console if console.is_terminal else None


def own(text: str) -> None:
    """Print syncd's own text on stdout unchanged, e.g. a file from the package."""
    print(text, end="")


def document(value: dict[str, Any] | list[Any]) -> None:
    """Print JSON on stdout in ASCII, which no terminal obeys and every encoding carries."""
    print(json.dumps(value, indent=2).replace("\x7f", "\\u007f"))


def styled(text: object, style: str = "") -> "Text":
    """Return `text` for a Rich console, escaped and without markup."""
    from rich.text import Text

    return Text(visible(text), style)


def error(failure: SyncdError) -> None:
    """Print an error, its problems and their hints on stderr."""
    note(f"syncd: {failure.message}")
    for problem in getattr(failure, "problems", ()):
        note(f"  {problem.path}: {problem.message}")
        if problem.hint:
            note(f"      → {problem.hint}")
    if failure.hint:
        note(f"  → {failure.hint}")
