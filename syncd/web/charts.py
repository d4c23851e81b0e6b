"""Compute the bars of a chart of deliveries by day. Pure: the template draws them."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

DAYS = 90  # as many as the ledger keeps
WIDTH, HEIGHT = 900, 160  # units of the drawing, which the browser stretches
GAP = 2  # units between two bars


class Bar(NamedTuple):
    """One day: its place in the drawing and its number."""

    day: date
    number: int
    x: float
    y: float
    width: float
    height: float


class Chart(NamedTuple):
    """The bars, oldest first, and what the axes say."""

    bars: Sequence[Bar]
    top: int  # the number at the upper edge: 1, 2 or 5 times a power of ten, or 0 without a delivery
    total: int
    days: int
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def ticks(self) -> Sequence[date]:
        """The days to name below the drawing: the first, one in the middle and the last."""
        return [self.bars[place].day for place in (0, len(self.bars) // 2, -1)]

    @property
    def busiest(self) -> Bar:
        """The day with the most deliveries."""
        return max(self.bars, key=lambda bar: bar.number)


def chart(counts: Mapping[str, int], today: date, *, days: int = DAYS) -> Chart:
    """Return the chart of the last `days` days. `counts` by day, e.g. {"2026-11-28": 5}; a day without one has 0."""
    each = [today - timedelta(days=back) for back in reversed(range(days))]
    numbers = [max(counts.get(day.isoformat(), 0), 0) for day in each]
    top = ceiling(max(numbers))
    step = WIDTH / days
    numbered = zip(each, numbers, strict=True)
    bars = [_bar(day, count, place * step, step - GAP, top) for place, (day, count) in enumerate(numbered)]
    return Chart(bars, top, sum(numbers), days)


def ceiling(most: int) -> int:
    """Return the least of 1, 2, 5, 10, 20, 50, … that is not below `most`. 0 for 0."""
    if most <= 0:
        return 0
    power = int(10 ** (len(str(most)) - 1))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= most)


def _bar(day: date, count: int, x: float, width: float, top: int) -> Bar:
    """Return one bar. Even a single delivery among thousands is visible."""
    height = max(HEIGHT * count / top, 1.5) if count else 0.0
    return Bar(day, count, round(x, 2), round(HEIGHT - height, 2), round(width, 2), round(height, 2))


__all__ = ["DAYS", "Bar", "Chart", "ceiling", "chart"]
