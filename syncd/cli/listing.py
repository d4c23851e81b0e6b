"""Show activities, failures and passes: as a table on a terminal, and otherwise in lines that `grep` and `cut` take."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from syncd import clock
from syncd.cli import printing
from syncd.ledger import Failing
from syncd.lifecycle.remedies import remedy
from syncd.lifecycle.states import Verdict
from syncd.reporting.times import Times
from syncd.text import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

COLUMNS = (
    "external_activity_id", "source", "stream", "crm_id", "kind", "state", "reason", "verdict", "detail", "occurred_at",
    "next_attempt_at", "owner", "domain", "url",
)  # fmt: skip
LINE = ("external_activity_id", "state", "reason", "occurred_at", "owner", "domain", "url")  # of a pipe
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes a cell that begins so (OWASP, CSV injection)
DOMAINS = 5  # of each group of failures, in the text
WIDE, WIDER = 110, 130  # columns from which an activity fits into one line of a table, and its owner too
UNDER_WAY = "interrupted, or still running"
MINUTE = len("2026-10-05T09:00")


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of `syncd list --json` as CSV. No cell of it is a formula."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(row[name]) for name in COLUMNS] for row in rows)
    return file.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return visible(f"'{text}" if text.startswith(FORMULA) else text)


def show_activities(rows: Sequence[Mapping[str, Any]], console: "Console | None" = None) -> None:
    """Print the activities, one a line. On a terminal an id is a link into the CRM.

    A narrow terminal gets two lines for each, so that no id is broken.
    """
    console = printing.terminal(console)
    if console is None:
        for row in rows:
            printing.row(*(str(row[name] or "") for name in LINE))
        return
    _show_on_terminal(rows, console)


def _show_on_terminal(rows: Sequence[Mapping[str, Any]], console: "Console") -> None:
    from rich import box
    from rich.padding import Padding
    from rich.table import Table

    times = Times(clock.now(), local=True)
    if console.width < WIDE:
        for row in rows:
            console.print(_named(row), printing.styled(f" {_happened(row, times)}"))
            console.print(Padding(printing.styled(", ".join(filter(None, (_state(row), row["domain"])))), (0, 0, 0, 4)))
        _show_zone(times, console, any_time=bool(rows))
        return
    table = Table(box=box.SIMPLE)
    more = ("domain", "owner") if console.width >= WIDER else ("domain",)
    for name in ("activity", "state", "happened", *more):
        table.add_column(name, overflow="fold")
    for row in rows:
        told = (_state(row), _happened(row, times), *(row[name] or "" for name in more))
        table.add_row(_named(row), *map(printing.styled, told))
    console.print(table)
    _show_zone(times, console, any_time=bool(rows))


def _show_zone(times: Times, console: "Console", *, any_time: bool) -> None:
    if any_time:
        console.print(printing.styled(f"times: {times.zone}", "dim"))


def _named(row: Mapping[str, Any]) -> "Text":
    return printing.styled(row["external_activity_id"], f"link {row['url']}" if row["url"] else "")


def _state(row: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (row["state"], _why(row))))


def _why(row: Mapping[str, Any]) -> str | None:
    """Return the reason of a row, or its last verdict."""
    found: str | None = row["reason"] or row["verdict"]
    return None if found == row["state"] else found


def _happened(row: Mapping[str, Any], times: Times) -> str:
    return times.at(row["occurred_at"])[:MINUTE].replace("T", " ") if row["occurred_at"] else "unknown"


def failing_to_json(found: Sequence[Failing], alike: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the document of `syncd failures --json` (design 4.4), with `detail` and `similar` beside its keys."""
    return [
        {
            "cause": each.cause, "state": each.state, "verdict": _verdict(each.cause), "count": each.count,
            "domains": dict(each.domains), "example": each.example, "remedy": remedy(each.state, each.cause),
            "detail": each.detail, "similar": {domain: alike[domain] for domain in each.domains if domain in alike},
        }
        for each in found
    ]  # fmt: skip


def _verdict(cause: str) -> str | None:
    return cause if cause in set(Verdict) else None


def show_failing(document: Sequence[Mapping[str, Any]], console: "Console | None" = None) -> None:
    """Print each cause in a line, with its domains, an example and the remedy below it."""
    console = printing.terminal(console)
    for each in document:
        _line(f"{each['count']:>9,}  {each['state']} {each['cause']}", console)
        if each["domains"]:
            _line(f"           domains: {_domains(each['domains'])}", console)
        detail = f": {each['detail']}" if each["detail"] else ""
        _line(f"           example: {each['example']}{detail}", console)
        _line(f"           → {each['remedy']}", console)
        for domain, other in [*each["similar"].items()][:DOMAINS]:
            _line(f"           → if {domain} is {other}, add it to rules.domain_aliases", console)


def _domains(domains: Mapping[str, int]) -> str:
    first = [f"{domain} ({count:,})" for domain, count in [*domains.items()][:DOMAINS]]
    rest = len(domains) - len(first)
    return ", ".join(first) + (f", and {rest:,} more" if rest else "")


def _line(text: str, console: "Console | None") -> None:
    """Print one line. A terminal gets it folded behind its indent, and anything else gets it whole, for `grep`."""
    if console is None:
        printing.line(text)
        return
    from rich.padding import Padding

    words = text.lstrip()
    console.print(Padding(printing.styled(words), (0, 0, 0, len(text) - len(words))))


def show_passes(found: Sequence[Mapping[str, Any]]) -> None:
    """Print one line for each pass: its start, its seconds and its exit code."""
    for each in found:
        took = "-" if each["duration_s"] is None else f"{each['duration_s']:.1f} s"
        code = each["exit_code"]
        end = f"exit code {code}" if code is not None else "interrupted" if each["finished_at"] else UNDER_WAY
        printing.line(f"{each['started_at']}  {took:>10}  {end}")


__all__ = ["as_csv", "failing_to_json", "show_activities", "show_failing", "show_passes"]
