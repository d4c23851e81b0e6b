"""Ask each CRM which of its rows look like a call or an email, and show which of them are read: `syncd scope`."""

import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from shutil import get_terminal_size
from typing import Any

from syncd import clock
from syncd.cli import printing
from syncd.cli.asking import asking
from syncd.cli.check import pinned
from syncd.config import Config
from syncd.connector import ShowsScope, Source
from syncd.errors import Exit, LedgerError, SyncdError, worst
from syncd.ledger import chosen
from syncd.normalize import scope
from syncd.passes import scopes
from syncd.passes.reader import as_told

SILENT = "its connector does not count rows by kind"
NOT_READ = "not read"


@dataclass(frozen=True, slots=True)
class Answer:
    """The scope of one source, or why there is none."""

    source: str
    document: dict[str, Any]  # as `scope.to_json`
    error: SyncdError | None = None


def answers(config: Config, sources: Sequence[Source], since: datetime) -> Iterator[Answer]:
    """Yield the scope of each source as soon as it is known. It changes nothing, and ignores pauses."""
    for source in sources:
        try:
            yield Answer(source.name, _asked(config, pinned.narrowed(config, source).source, since))
        except Exception as error:  # noqa: BLE001 - a connector may raise anything, and the other sources are asked
            nothing: dict[str, Any] = {"kinds": [], "holders": [], "warnings": []}
            yield Answer(source.name, nothing, as_told(source.name, error))


def to_json(found: Sequence[Answer], since: datetime) -> dict[str, Any]:
    """Return the document of `syncd scope --json` (design 4.4)."""
    sources = []
    for each in found:
        told = {"source": each.source, **{key: each.document[key] for key in ("kinds", "holders", "warnings")}}
        sources.append({**told, "error": each.error.summary} if each.error else told)
    return {"since": clock.text(since), "sources": sources}


def exit_code(found: Sequence[Answer]) -> int:
    """Return the exit code: 0, or that of the worst error."""
    return int(worst([each.error.exit_code or Exit.UNAVAILABLE for each in found if each.error]))


def show(answer: Answer) -> None:
    """Print one source: a line for each kind of rows, its users with most rows, and the warnings."""
    if answer.error:
        show_error(answer, answer.error)
        return
    kinds = scope.kinds_of(answer.document)
    for kind in sorted(kinds, key=lambda each: (_mark(each.read_as), -each.count)):
        about = "about " if kind.approximate else ""
        _line(answer.source, _mark(kind.read_as), f"{about}{kind.count:,}", scope.describe(kind))
    for each in answer.document["holders"]:
        _line(answer.source, each["role"], f"{each['count']:,}", f"user {each['user']}, of {each['of']:,} rows")
    for warning in answer.document["warnings"]:
        _line(answer.source, "warning", "", warning)
    if not kinds and not answer.document["warnings"]:
        _line(answer.source, "", "0", "no rows")


def show_error(answer: Answer, error: SyncdError) -> None:
    """Print on stderr which source was not counted, and why."""
    printing.note(f"{answer.source} was not counted:")
    printing.error(error)


def _asked(config: Config, source: Source, since: datetime) -> dict[str, Any]:
    held: dict[str, tuple[Any, datetime]] = {}
    with suppress(LedgerError), chosen(config.ledger).read() as glance:
        held = glance.store(source.name)
    with asking(source, held) as connector:
        if not isinstance(connector, ShowsScope):
            return {"kinds": [], "holders": [], "warnings": [SILENT]}
        return scopes.document(source, connector.scope(since), connector.owners(), config.rules.to_rules(), since)


def _mark(read_as: str | None) -> str:
    return read_as or NOT_READ


def _line(source: str, mark: str, count: str, text: str) -> None:
    """Print one line. A terminal that is too narrow gets it folded, and anything else gets it whole, for `grep`."""
    start = f"{source}  {mark:<8}  {count:>12}  " if count else f"{source}  {mark:<8}  "
    if not sys.stdout.isatty():
        printing.line(start + text)
        return
    width = max(get_terminal_size().columns, len(start) + 20)
    indent = " " * min(len(start), width // 2)
    for each in textwrap.wrap(start + text, width, subsequent_indent=indent, drop_whitespace=True) or [start]:
        printing.line(each)


__all__ = ["Answer", "answers", "exit_code", "show", "show_error", "to_json"]
