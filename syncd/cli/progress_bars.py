"""Draw the progress bars of one pass on a terminal."""

from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from syncd.ledger import Booked
from syncd.lifecycle.states import MEANINGS, State
from syncd.passes.dispatch import Totals
from syncd.text import visible

BAR = 14  # characters: the whole line fits into WIDE
WIDE = 80  # columns. A narrower terminal gets no bar


class TimeLeft(TimeRemainingColumn):
    """The time left of a line with a total, e.g. "0:01:30 left". Otherwise the time since its beginning."""

    _elapsed = TimeElapsedColumn()

    def render(self, task: Task) -> Text:
        """Return the text."""
        return self._elapsed.render(task) if task.total is None or task.finished else super().render(task) + " left"


class ProgressBars:
    """An Observer with one line for each stream and one for deliveries."""

    wants_totals = True

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<22}", markup=False),
            *([BarColumn(bar_width=BAR)] if console.width >= WIDE else []),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            TimeLeft(table_column=Column(no_wrap=True)),
            console=console,
        )
        self._streams: dict[tuple[str, str], TaskID] = {}
        self._sent: TaskID | None = None
        self._new: Counter[TaskID] = Counter()

    def __enter__(self) -> "ProgressBars":
        self._progress.start()
        self._sent = self._progress.add_task("to Recotap", total=None, note="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for task in self._progress.tasks:
            self._progress.update(task.id, total=task.completed if task.total is None else task.total)
        self._progress.stop()

    def on_progress(self) -> None:
        """Do nothing: `read` and `sent` show all."""

    def expected(self, source: str, stream: str, count: int) -> None:
        """Show `count` as the total of the stream's line."""
        self._progress.update(self._line(source, stream), total=count)

    def read(self, source: str, stream: str, booked: Booked, count: int) -> None:
        """Update the stream's line. Look-ups and ranges come on top of the total."""
        line = self._line(source, stream)
        task = self._progress.tasks[self._progress.task_ids.index(line)]
        self._new[line] += booked.new
        completed = int(task.completed) + count
        total = None if task.total is None else max(int(task.total), completed)
        self._progress.update(line, completed=completed, total=total, note=f"{self._new[line]} new")

    def range_read(self, source: str, stream: str, count: int) -> None:
        """Do nothing: `read` has shown them."""

    def sent(self, totals: Totals) -> None:
        """Update the line of deliveries."""
        if self._sent is None:
            return
        done = sum(count for verdict, count in totals.verdicts.items() if MEANINGS[verdict].state is State.DELIVERED)
        self._progress.update(self._sent, completed=done, note=f"{totals.posts} requests")

    def _line(self, source: str, stream: str) -> TaskID:
        line = self._streams.get((source, stream))
        if line is None:
            line = self._progress.add_task(visible(f"from {source} {stream}"), total=None, note="")
            self._streams[source, stream] = line
        return line
