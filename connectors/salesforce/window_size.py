"""How much of a window to ask for at once, where an org is too slow for all of it; kept from pass to pass.

Without that a window which never comes within the deadline would be begun at its full
length in every pass, and given up after three time-outs each time. An outage looks the
same, so the length grows again with each stretch that comes: after a night of time-outs a
year is asked for in some thirty queries.
"""

from datetime import timedelta

from syncd.connector import Store

SHORTEST = timedelta(seconds=1)
LONGEST = timedelta(days=3653)  # from there on no limit is needed
SHORT = timedelta(hours=12)  # the daily sweep makes it longer: it is an outage of today, or a slow org


class AdaptiveWindow:
    """One stream's; without a limit as long as nothing was too long."""

    def __init__(self, store: Store, stream: str) -> None:
        self._store = store
        self._key = f"stretch_s.{stream}"
        kept = store.get(self._key)
        self.at_most = timedelta(seconds=kept) if isinstance(kept, int) and kept > 0 else None
        self._too_long: timedelta | None = None  # the shortest that was, in this pass

    def was_too_long(self, length: timedelta) -> None:
        """Ask for half of that from now on, and in this pass no more for as much."""
        self._too_long = length if self._too_long is None else min(length, self._too_long)
        self._keep(max(SHORTEST, length / 2))

    def was_enough(self, length: timedelta) -> None:
        """So much came: ask for twice as much next time, unless that was too long a moment ago."""
        if self.at_most is None or length < self.at_most - SHORTEST:  # less than may be asked for says nothing
            return
        longer = self.at_most * 2
        if self._too_long is None or longer < self._too_long:
            self._keep(longer if longer < LONGEST else None)

    def _keep(self, at_most: timedelta | None) -> None:
        self.at_most = at_most
        self._store.put(self._key, None if at_most is None else int(at_most.total_seconds()))
