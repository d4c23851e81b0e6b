"""Count how far a backfill is."""

import time
from collections import Counter
from collections.abc import Sequence

from syncd.lifecycle.states import Verdict
from syncd.passes.forecast import Forecast
from syncd.passes.report import DELIVERIES, NullObserver


class RangeProgress(NullObserver):
    """Count the records read of ranges, over all passes of a backfill. An Observer."""

    def __init__(self, forecasts: Sequence[Forecast]) -> None:
        self.began = time.monotonic()
        self.foreseen = {(each.source, stream): count for each in forecasts for stream, count in each.records.items()}
        self.done: Counter[tuple[str, str]] = Counter()

    def range_read(self, source: str, stream: str, count: int) -> None:
        """Count the records of a page."""
        self.done[source, stream] += count

    def facts(self) -> dict[str, int]:
        """Return what a line of the log says. Records that were read again after a kill may exceed `expected`."""
        done, expected = self.done.total(), sum(self.foreseen.values())
        rate = done / max(time.monotonic() - self.began, 0.001)
        found = {"range_records": done, "expected": max(expected, done), "per_second": round(rate)}
        return {**found, "seconds_left": round((expected - done) / rate)} if 0 < done < expected else found


def delivered(verdicts: Counter[Verdict]) -> int:
    """Return the number of activities that Recotap has by these verdicts."""
    return sum(verdicts[each] for each in DELIVERIES)
