"""Limit how much of a window is requested at once, if an org is too slow for all of it.

The limit is kept from pass to pass. Otherwise each pass would begin at the full length, and give up after three
time-outs. An outage looks the same, so the limit grows again with each window that arrives. After a night of time-outs
a year is read in about thirty queries.
"""

from datetime import timedelta

from syncd.connector import Store

SHORTEST = timedelta(seconds=1)
LONGEST = timedelta(days=3653)  # beyond this no limit is needed
SHORT = timedelta(hours=12)  # the daily sweep makes it longer, so a shorter one is today's outage or a slow org


class AdaptiveWindow:
    """Hold one stream's limit. None until a window was too long."""

    def __init__(self, store: Store, stream: str) -> None:
        self._store = store
        self._key = f"stretch_s.{stream}"
        kept = store.get(self._key)
        self.at_most = timedelta(seconds=kept) if isinstance(kept, int) and kept > 0 else None
        self._too_long: timedelta | None = None  # the shortest too long window of this pass

    def was_too_long(self, length: timedelta) -> None:
        """Limit windows to half of `length`, and below `length` for this pass."""
        self._too_long = length if self._too_long is None else min(length, self._too_long)
        self._keep(max(SHORTEST, length / 2))

    def was_enough(self, length: timedelta) -> None:
        """Double the limit after a window of this `length`, unless that was too long in this pass."""
        if self.at_most is None or length < self.at_most - SHORTEST:  # a shorter window than the limit proves nothing
            return
        longer = self.at_most * 2
        if self._too_long is None or longer < self._too_long:
            self._keep(longer if longer < LONGEST else None)

    def _keep(self, at_most: timedelta | None) -> None:
        self.at_most = at_most
        self._store.put(self._key, None if at_most is None else int(at_most.total_seconds()))
