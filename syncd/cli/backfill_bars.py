"""Draw the progress of a backfill on a terminal: a line for each stream, with its rate and the time left."""

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from syncd.cli.backfill_progress import RangeProgress, delivered
from syncd.passes.forecast import Forecast
from syncd.passes.jobs import Totals
from syncd.text import visible

BAR = 14  # characters
WIDE = 80  # columns. A narrower terminal gets no bar


class Rate(ProgressColumn):
    """The records a second of a line, e.g. "830/s"."""

    def render(self, task: Task) -> Text:
        """Return the text."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="dim")


class TimeLeft(TimeRemainingColumn):
    """The time left of a line, e.g. "0:01:30 left"."""

    def render(self, task: Task) -> Text:
        """Return the text."""
        is_known = task.time_remaining is not None and not task.finished
        return super().render(task) + " left" if is_known else Text("")


class BackfillBars(RangeProgress):
    """An Observer with a line for each stream that has a range to read."""

    def __init__(self, forecasts: Sequence[Forecast], console: Console) -> None:
        super().__init__(forecasts)
        bar = [BarColumn(bar_width=BAR)] if console.width >= WIDE else []
        self._progress = Progress(
            TextColumn("{task.description}", markup=False), *bar, MofNCompleteColumn(), Rate(), TimeLeft(),
            console=console,
        )  # fmt: skip
        self._lines = {key: self._add(*key, total=total) for key, total in self.foreseen.items() if total}
        self._to_recotap = self._progress.add_task("to Recotap", total=None)
        self._passes: list[Totals] = []

    def __enter__(self) -> "BackfillBars":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def range_read(self, source: str, stream: str, count: int) -> None:
        """Update the stream's line. Its total is a forecast, so it may grow."""
        super().range_read(source, stream, count)
        key = source, stream
        if key not in self._lines:
            self._lines[key] = self._add(*key, total=None)
        total = self.foreseen.get(key)
        total = None if total is None else max(total, self.done[key])
        self._progress.update(self._lines[key], completed=self.done[key], total=total)

    def sent(self, totals: Totals) -> None:
        """Update the line of deliveries. Each pass has totals of its own."""
        if not self._passes or self._passes[-1] is not totals:
            self._passes.append(totals)
        self._progress.update(self._to_recotap, completed=sum(delivered(each.verdicts) for each in self._passes))

    def _add(self, source: str, stream: str, *, total: int | None) -> TaskID:
        return self._progress.add_task(visible(f"{source} {stream}"), total=total)
