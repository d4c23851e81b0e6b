"""Show how the CRMs differ from the ledger: the results and the progress of `syncd verify`."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from syncd import clock
from syncd.cli import printing
from syncd.passes.repair import Booked, Repaired
from syncd.passes.verify import Compared, Silent, Watcher
from syncd.text import visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SHOWN = 20  # ids of one stream on a terminal
WIDE = 80  # columns of a terminal that has room for bars
ALL_IS_WELL = "every activity behind the watermarks has its row"
COMPARED_IS_WELL = "every activity that was compared has its row, but not all is read yet"
REPAIR = "`syncd verify --repair` books them, and sends those that are complete"
UNBALANCED = (
    "restore a backup. Without one, run `syncd verify --repair --since TIME`, with a TIME before the first record that "
    "was ever read: it corrects the books of each stream that it lists whole"
)
STAY = "the log names the cause. `syncd preview ID` shows one as the CRM has it now"
UNEXPECTED = "the CRM has deleted or merged them since they were read. What Recotap has of them stays there"


def to_json(found: Sequence[Compared], booked: Booked | None = None) -> dict[str, dict[str, Any]]:
    """Return the document of `syncd verify --json` of the contract. After a repair, `missing` has what stays missing.

    `booked`: what the repair booked. It is in `repaired`.
    """
    document: dict[str, dict[str, Any]] = {}
    for each in found:
        document.setdefault(each.source, {})[each.stream] = {
            "crm": each.crm,
            "ledger": each.ledger,
            "missing": list(each.missing),
            "unexpected": list(each.unexpected),
            "repaired": list((booked or {}).get((each.source, each.stream), ())),
            "since": clock.optional_text(each.since),
            "until": clock.optional_text(each.until),
            "spans_left_out": each.left_out,
            "error": each.error.summary if each.error else None,
        }
    return document


def show(each: Compared, repaired: Sequence[str] = ()) -> None:
    """Print one stream: a line with its numbers, then a line for each id that differs or was booked by a repair."""
    where = f"{each.source} {each.stream}"
    if each.error is not None and each.since is None:
        printing.line(f"{where}: not compared, see the error below")
        return
    if each.since is None:
        printing.line(f"{where}: no pass has read a record yet, so there is nothing to compare")
        return
    printing.wrapped(
        f"{each.crm:,} in the CRM, {each.ledger:,} in the ledger, {len(each.missing):,} missing, "
        f"{len(each.unexpected):,} unexpected{f', {len(repaired):,} repaired' if repaired else ''}",
        lead=f"{where}: ", indent="    ",
    )  # fmt: skip
    for what, crm_ids in (("missing", each.missing), ("unexpected", each.unexpected), ("repaired", repaired)):
        shown = crm_ids[:SHOWN] if sys.stdout.isatty() else crm_ids
        for crm_id in shown:
            printing.line(f"{where}: {what} {crm_id}")
        if len(shown) < len(crm_ids):
            printing.line(f"{where}: {len(crm_ids) - len(shown):,} more {what}, which `--json` lists")


def show_end(found: Sequence[Compared], done: Repaired | None = None) -> None:
    """Print the spans that were left out, each error once, and the verdict with its remedy, on stderr.

    `done`: the end of a repair, whose streams are `found`.
    """
    for each in found:
        if each.left_out:
            told = f"left out what is still to be read: {each.left_out} in `syncd status`"
            printing.note(f"{each.source} {each.stream}: {told}")
    for error in dict.fromkeys([*(each.error for each in found if each.error), *(done.errors if done else ())]):
        printing.error(error)
    if done and (booked := sum(map(len, done.booked.values()))):
        printing.note(f"missing activities that were booked: {booked:,}")
    if done and done.uncounted:
        printing.note(f"deleted rows that the CRM lacks too, or that were booked again before: {done.uncounted:,}")
    if done and done.rebalanced:
        printing.note("rows had been deleted from the ledger: its books balance again")
    if done and done.unbalanced:
        printing.note("the books do not balance")
        printing.note(f"  → {UNBALANCED}")
    if missing := sum(len(each.missing) for each in found):
        printing.note(f"activities of the CRM without a row in the ledger: {missing:,}")
        printing.note(f"  → {STAY if done else REPAIR}")
    elif found and not any(each.error for each in found):
        printing.note(COMPARED_IS_WELL if any(each.left_out for each in found) else ALL_IS_WELL)
    if unexpected := sum(len(each.unexpected) for each in found):
        printing.note(f"rows whose record the CRM does not find any more: {unexpected:,}")
        printing.note(f"  → {UNEXPECTED}")


@contextmanager
def watching() -> Iterator[Watcher]:
    """Show bars on a terminal. Yields a watcher that ignores everything if stderr is none."""
    if not sys.stderr.isatty():
        yield Silent()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    wide = (BarColumn(bar_width=12), TimeElapsedColumn()) if console.width >= WIDE else ()
    figures = MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(TextColumn("{task.description}", markup=False), *wide, *figures, console=console) as progress:
        yield Bars(progress)


class Bars:
    """A Watcher with one line for each step of a stream."""

    wants_totals = True

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def begin(self, source: str, stream: str, what: str, total: int | None) -> None:
        """Begin a new line. The last one is complete."""
        self._end()
        self._task = self._progress.add_task(visible(f"{source} {stream}: {what}"), total=total)

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.advance(self._task, count)

    def _end(self) -> None:
        if self._task is not None:
            task = next(each for each in self._progress.tasks if each.id == self._task)
            self._progress.update(self._task, total=task.completed)


__all__ = ["Bars", "show", "show_end", "to_json", "watching"]
