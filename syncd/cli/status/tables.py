"""Show `syncd status` on a terminal of 60 columns or more, with times in the local zone."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table

from syncd.cli.printing import styled
from syncd.lifecycle.states import State
from syncd.reporting import facts
from syncd.reporting.overview import Level
from syncd.reporting.times import Times

Document = Mapping[str, Any]
STYLES = {Level.NEEDS_YOU: "bold red", Level.WAITING: "bold yellow", Level.OK: "bold green", Level.NOTE: "bold"}
WIDE = 110  # columns from which a time and its age fit into one line of a table
NARROW = 70  # columns from which the names of a source and a stream stand beside each other
TIME = len("2026-10-05T11:00")


def show(document: Document, times: Times, console: Console) -> None:
    """Print the sentence, the points behind it, the books, the sources, Recotap and the rest."""
    summary(document["summary"], console)
    activities(document, console)
    console.print(_streams(document, times, console.width))
    console.print(_facts("Recotap", facts.recotap(document, times)))
    for line in facts.notes(document, times):
        console.print(styled(line))
    console.print(styled(f"times: {times.zone}", "dim"))


def summary(found: Mapping[str, Any], console: Console) -> None:
    """Print the sentence, and below it the action of its point, then the other points."""
    console.print(styled(found["text"], STYLES[Level(found["level"])]))
    for number, each in enumerate(found["points"]):
        if number or found["level"] == Level.OK:
            console.print(Padding(styled(each["text"]), (0, 0, 0, 2)))
        console.print(Padding(styled(f"→ {each['action']}", "dim"), (0, 0, 0, 4)))


def activities(document: Document, console: Console) -> None:
    """Print the states with their verdicts and reasons, and the balance."""
    table = Table(box=box.SIMPLE, title=f"activities: {document['seen']:,} seen", title_justify="left")
    table.add_column("state", overflow="fold")
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("meaning", overflow="fold")
    for state, count in document["activities"].items():
        table.add_row(styled(state, "bold"), f"{count:,}", State.describe(state))
        for name, number, meaning in facts.parts(document, state):
            table.add_row(styled(f"  {name}"), styled(f"{number:,}", "dim"), styled(meaning, "dim"))
    table.add_section()
    balanced = document["balanced"]
    table.add_row("seen", f"{document['seen']:,}", styled(facts.BALANCE[balanced], "" if balanced else "bold red"))
    console.print(table)


def _streams(document: Document, times: Times, width: int) -> Table:
    """Return the streams and their times. No time and no usual name is broken, however narrow the terminal is."""
    table = Table(box=box.SIMPLE, title="sources", title_justify="left")
    names = ("source", "stream") if width >= NARROW else ("source, stream",)
    for column in names:
        table.add_column(column, overflow="fold")
    for column in ("read up to", "last success"):
        table.add_column(column, no_wrap=True, min_width=TIME)
    for each in document["sources"]:
        told = (times.aged(each[key], " " if width >= WIDE else "\n") for key in ("watermark", "last_success_at"))
        named = styled(each["source"]), styled(each["stream"])
        table.add_row(*(named if len(names) > 1 else (Group(*named),)), *told)
    return table


def _facts(title: str, rows: list[tuple[str, str]]) -> Table:
    table = Table(box=box.SIMPLE, title=title, title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, styled(value or "-"))
    return table


__all__ = ["activities", "show", "summary"]
