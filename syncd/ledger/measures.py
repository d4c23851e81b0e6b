"""Answer how many and how late, from the counts that the ledger keeps. No statement here reads an activity."""

from datetime import datetime
from typing import Any

from syncd import clock
from syncd.ledger.reader import LedgerReader

_ACTIVITIES = """
    SELECT source, stream, state, reason, verdict, sum(n) AS count
    FROM counts JOIN streams ON streams.id = stream_id GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""
# `days` begins with the day, so only today's rows are read.
_LATENESS = """
    SELECT source, stream, since, within, n AS count
    FROM days JOIN streams ON streams.id = stream_id WHERE day = :today ORDER BY 1, 2, 3, 4
"""
# POSTs and passes are numbered from 1, and the last one is never deleted.
_POSTS = """
    SELECT (SELECT coalesce(max(id), 0) FROM posts) AS sent,
        (SELECT count(*) FROM posts WHERE members IS NOT NULL) AS unanswered
"""
_LAST_END = """
    SELECT started_at, finished_at, exit_code FROM passes WHERE exit_code IS NOT NULL ORDER BY id DESC LIMIT 1
"""


class Measures(LedgerReader):
    """Read the kept counts by stream."""

    def counted(self, now: datetime) -> dict[str, Any]:
        """Return the kept counts by stream, the deliveries of today by lateness, the POSTs and the passes.

        Today is the day of `now` in UTC. `within` is a bound in seconds of `counts.BOUNDS`. `last_end` is the last pass
        that ended by itself, or None.
        """
        return {
            "activities_by_stream": list(self._rows(_ACTIVITIES)),
            "lateness_today": list(self._rows(_LATENESS, {"today": clock.text(now)[:10]})),
            "posts": next(self._rows(_POSTS)),
            "passes": {
                "begun": self._number("SELECT coalesce(max(id), 0) FROM passes"),
                "last_end": next(self._rows(_LAST_END), None),
            },
        }


__all__ = ["Measures"]
