"""Decide when a source that is read for long gives way to another one. Pure: the monotonic clock is an argument.

    begins ──what is known──► first progress ──what is new──► the turn is over
             a seconds                         a seconds or more, TURN_S in all

A source that gave way is read again from its watermark less the overlap. So only a page that moves the watermark is
progress, and at least half of a turn is progress. Otherwise a source whose overlap takes a minute to read would never
get beyond it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from syncd.passes.events import PageRead

TURN_S = 60.0  # for which a source may read while another one waits


@dataclass(slots=True)
class Turn:
    """The reading of one source, from its begin on. Times are seconds of the monotonic clock."""

    began_at: float
    watermarks: Mapping[str, datetime | None] = field(default_factory=dict)  # by stream, when it began
    first_progress_at: float | None = None
    turn_s: float | None = None  # None: TURN_S

    def booked(self, page: PageRead, now: float) -> None:
        """Note that a page is booked."""
        if self.first_progress_at is None and self._is_progress(page):
            self.first_progress_at = now

    def is_over(self, now: float) -> bool:
        """Tell whether the source has to give way if another one waits."""
        if self.first_progress_at is None:
            return False
        progress_s = now - self.first_progress_at
        turn_s = TURN_S if self.turn_s is None else self.turn_s
        return now - self.began_at >= turn_s and progress_s >= self.first_progress_at - self.began_at

    def _is_progress(self, page: PageRead) -> bool:
        if page.range_id is not None or page.looked_up_at is not None:  # neither is read again
            return True
        before = self.watermarks.get(page.stream)
        return page.watermark is not None and (before is None or page.watermark > before)


__all__ = ["TURN_S", "Turn"]
