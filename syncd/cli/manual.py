"""Write the manual page syncd(1) from the commands' help.

Developers run `python -m syncd.cli.manual > deploy/man/syncd.1`.

click-man, the field's tool, reads only commands of its own click. typer brings another one along.
"""

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import typer

from syncd import __version__
from syncd.errors import Exit

WIDTH = 76  # of a line in the page's source; escapes make it a little longer
FILES = (
    (
        "config/syncd.toml, /etc/syncd/syncd.toml",
        "The configuration, unless --config or $SYNCD_CONFIG names another one.",
    ),
    ("/var/lib/syncd/ledger.db", "The ledger, unless ledger.path names another one."),
)
ENVIRONMENT = (
    ("SYNCD_CONFIG", "The configuration file."),
    ("SYNCD_TABLE__KEY", "The value of one key, e.g. SYNCD_RECOTAP__BASE_URL. It overrides the file."),
)
# What each exit code means, in the order of the codes.
CODES = {
    Exit.OK: "Done.",
    Exit.BUG: "A bug.",
    Exit.USAGE: "Wrong usage.",
    Exit.DIED: "Done, and syncd has given up an activity.",
    Exit.UNBALANCED: "The books do not balance.",
    Exit.NO_SUCH_ACTIVITY: "No such activity.",
    Exit.UNAVAILABLE: "A CRM or Recotap could not be reached, or its quota is used up. The next pass goes on.",
    Exit.LEDGER: "The ledger cannot be read or written.",
    Exit.HELD: "Another syncd holds the ledger.",
    Exit.UNAUTHORIZED: "Credentials are refused, or a scope is missing.",
    Exit.CONFIG: "The configuration is wrong.",
    Exit.SIGINT: "Stopped by SIGINT.",
    Exit.SIGTERM: "Stopped by SIGTERM.",
}


def page() -> str:
    """Return the page in troff's man macros."""
    from syncd.cli.commands import app

    root = typer.main.get_command(app)
    lines = [
        f'.TH SYNCD 1 "" "syncd {__version__}" "User Commands"',
        ".SH NAME",
        rf"syncd \- {_text(str(root.help).rstrip('.'))}",
        ".SH SYNOPSIS",
        r".B syncd",
        r"[\fB\-c\fR \fIFILE\fR] \fICOMMAND\fR [\fIOPTIONS\fR]",
        ".SH COMMANDS",
    ]
    for name, command in commands("syncd", root):
        lines += _command(name, command)
    lines += [".SH EXIT STATUS", *_pairs((str(int(code)), text) for code, text in CODES.items())]
    lines += [".SH ENVIRONMENT", *_pairs(ENVIRONMENT), ".SH FILES", *_pairs(FILES)]
    return "\n".join([*lines, ""])


def commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield each command under `command` with its whole name, e.g. "syncd config show"."""
    for name, each in getattr(command, "commands", {}).items():
        if hasattr(each, "commands"):
            yield from commands(f"{path} {name}", each)
        else:
            yield f"{path} {name}", each


def _command(name: str, command: Any) -> Iterator[str]:
    named = [each for each in command.params if each.param_type_name == "argument" and each.metavar != ""]
    arguments = [each.metavar or each.name.upper() for each in named]
    yield f".SS {_text(' '.join([name, *(f'[{each}]' for each in arguments)]))}"
    for number, paragraph in enumerate(re.split(r"\n\s*\n", str(command.help).strip())):
        yield from [".PP"] if number else []
        yield from _lines(paragraph)
    for each in command.params:
        if each.param_type_name == "option" and not each.hidden:
            yield ".TP"
            yield ", ".join(rf"\fB{_text(name)}\fR" for name in each.opts) + _value(each)
            yield from _lines(each.help or "")
    if command.epilog:
        yield from (".PP", ".nf")
        yield from (_text(line) for line in command.epilog.replace("\b", "").strip().splitlines())
        yield ".fi"


def _value(option: Any) -> str:
    return "" if option.is_flag else rf" \fI{_text(option.metavar or option.name.upper())}\fR"


def _pairs(found: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, text in found:
        yield from (".TP", rf"\fB{_text(name)}\fR", *_lines(text))


def _lines(written: str) -> Iterator[str]:
    """Yield a paragraph in lines of the usual width, which troff fills again."""
    yield from map(_text, textwrap.wrap(" ".join(written.split()), WIDTH, break_on_hyphens=False))


def _text(written: str) -> str:
    """Return `written` so that troff shows it as it is: a line must not begin with a macro."""
    escaped = written.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    sys.stdout.write(page())
