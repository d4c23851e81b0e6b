"""Define the options that commands share, and load the configuration."""

from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from syncd.cli import printing

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.connector import Finding, Source

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        readable=False,  # otherwise typer refuses an unreadable file with 2 and no remedy
        metavar="FILE",
        help="Default: $SYNCD_CONFIG, then config/syncd.toml, then /etc/syncd/syncd.toml.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


class LogForm(StrEnum):
    """The form of the lines of the log."""

    JSON = "json"
    TEXT = "text"


LogFormat = Annotated[
    LogForm | None,
    typer.Option("--log-format", metavar="FORMAT", help="json or text. Default: text on a terminal, otherwise json."),
]
RECOTAP = "recotap"  # its name beside those of the sources
INDENT = " " * len("error ")  # below a finding
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Also log each page and each POST.")]
Port = Annotated[int, typer.Option(metavar="PORT", help="0 picks a free port.")]
Number = Annotated[int, typer.Option(metavar="N", help="Number to invent in each CRM.")]


class PlainUsage(TyperCommand):
    """A command whose usage line says ID. Typer alone would write {ID}, and [] for an argument without a name."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx) if piece != "[]..."]


class HeadedHelp(TyperGroup):
    """The program, whose help lists the commands under headings, in the order of use.

    typer adds groups of commands after all commands. Here each stands first under its heading.
    """

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        headings = [*dict.fromkeys(map(_heading, self.commands.values()))]
        order = sorted(self.commands.items(), key=lambda each: (headings.index(_heading(each[1])), _is_single(each[1])))
        self.commands = dict(order)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each heading and its commands. All descriptions begin in one column."""
        wide = max(map(len, self.commands))
        for heading, found in groupby(self.commands.items(), key=lambda each: _heading(each[1])):
            with formatter.section(heading):
                formatter.write_dl([(f"{name:<{wide}}", _sentence(each)) for name, each in found])


def _heading(command: Any) -> str:
    return str(command.rich_help_panel)


def _is_single(command: Any) -> bool:
    return not isinstance(command, TyperGroup)


def _sentence(command: Any) -> str:
    return str(command.help).split("\n")[0]


def is_json(form: LogForm | None) -> bool | None:
    """Tell whether the log is JSON. None: it depends on the stream."""
    return None if form is None else form is LogForm.JSON


class Given:
    """Options that stand before the command."""

    config: Path | None = None


def load_config(
    config: Path | None, *, secrets: bool = False, connectors: bool = False, verbose: bool = False,
    says_which: bool = False, log_format: LogForm | None = None,
) -> "Config":  # fmt: skip
    """Read the configuration and start the log.

    `says_which`: log which file was found, unless the operator named it. ConfigError if it has mistakes, which includes
    secrets that cannot be read and connectors that cannot be loaded if `secrets` and `connectors` say so.
    """
    import structlog

    from syncd import log
    from syncd.config import load, locate

    log.configure(verbose, as_json=is_json(log_format))
    named = config or Given.config
    if says_which and named is None:
        named = locate()
        structlog.get_logger().info("config.found", file=str(named))
    return load(named, secrets=secrets, connectors=connectors)


def read_config(config: Path | None) -> "Config":
    """Read the configuration without secrets, for a command that only reads the ledger. The log starts if it must.

    ConfigError if it has mistakes.
    """
    from syncd.cli import late_log
    from syncd.config import load

    late_log.prepare()
    return load(config or Given.config, secrets=False)


def sources_of(config: "Config", only: str | None) -> "tuple[Source, ...]":
    """Return all sources, or the one that --source names."""
    names = [source.name for source in config.sources]
    if only is not None and only not in names:
        raise typer.BadParameter(f"--source {only!r} is not configured, expected one of {', '.join(names)}")
    return tuple(source for source in config.sources if only in (None, source.name))


def print_finding(finding: "Finding") -> None:
    """Print a finding of `check` or `health`, and its remedy below it."""
    mark, colour = ("ok", "green") if finding.ok else ("warn", "yellow") if finding.warning else ("error", "red")
    printing.wrapped(f"{finding.what}: {finding.message}", lead=f"{mark:<5} ", colour=colour, indent=INDENT)
    if finding.hint and not finding.ok:
        printing.wrapped(finding.hint, lead=f"{INDENT}→ ", indent=f"{INDENT}  ")
