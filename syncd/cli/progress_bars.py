"""Draw the progress bars of one pass on a terminal."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from syncd.ledger import Booked
from syncd.lifecycle.states import MEANINGS, State
from syncd.passes.dispatch import Totals
from syncd.text import visible


class ProgressBars:
    """An Observer with one line for each stream and one for deliveries."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<24}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            TimeElapsedColumn(),
            console=console,
        )
        self._streams: dict[tuple[str, str], TaskID] = {}
        self._sent: TaskID | None = None
        self._booked = 0

    def __enter__(self) -> "ProgressBars":
        self._progress.start()
        self._sent = self._progress.add_task("to Recotap", total=None, note="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for task in self._progress.tasks:
            self._progress.update(task.id, total=task.completed)
        self._progress.stop()

    def on_progress(self) -> None:
        """Do nothing: `read` and `sent` show all."""

    def read(self, source: str, stream: str, booked: Booked, count: int) -> None:
        """Update the stream's line."""
        task = self._streams.get((source, stream))
        if task is None:
            task = self._progress.add_task(visible(f"from {source} {stream}"), total=None, note="")
            self._streams[source, stream] = task
        self._booked += booked.new
        completed = int(self._progress.tasks[self._index(task)].completed) + count
        self._progress.update(task, completed=completed, note=f"{self._booked} new in all")

    def sent(self, totals: Totals) -> None:
        """Update the line of deliveries."""
        if self._sent is None:
            return
        done = sum(count for verdict, count in totals.verdicts.items() if MEANINGS[verdict].state is State.DELIVERED)
        self._progress.update(self._sent, completed=done, note=f"{totals.posts} requests")

    def _index(self, task: TaskID) -> int:
        return self._progress.task_ids.index(task)
