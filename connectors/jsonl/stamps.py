"""Give the files of a folder the times at which they count as modified."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from connectors.jsonl.lines import File, span
from syncd.fields import to_ms

AHEAD = 60_000  # milliseconds that another machine's clock may be ahead when it gave a stamp


class Stamps:
    """Give each file a later time than all before, whatever a clock says."""

    def __init__(self, start: datetime, now: Callable[[], datetime]) -> None:
        self._start = to_ms(start)
        self._now = now
        self.given = 0  # epoch milliseconds: the end of the latest stamp that was given
        self.done_end = 0  # the same of the done folder, whoever gave it

    def give(self, files: Sequence[File]) -> list[File]:
        """Return the files with their stamps, the oldest first, ending now at the latest."""
        if not files:
            return []
        stamped = []
        room = sum(span(file.size) + 1 for file in files)
        at = max(to_ms(self._now()) - room + 1, self.given + 1, self.done_end + 1, self._start)
        for file in sorted(files, key=lambda file: (file.mtime_ns, file.name)):
            stamped.append(replace(file, stamp=at))
            at += span(file.size) + 1
        self.given = at - 1
        return stamped

    def latest_possible(self) -> int:
        """Return the last millisecond that a genuine stamp can reach. A later one is forged."""
        return max(self.given, to_ms(self._now()) + AHEAD)
