"""How much of a window to ask for at once, where an org is too slow for all of it; kept from pass to pass.

Without that a window which never comes within the deadline would be begun at its full
length in every pass, and given up after three time-outs each time.
"""

from datetime import timedelta

from syncd.connector import Store

SHORTEST = timedelta(seconds=1)
LONGEST = timedelta(days=366)  # from there on no limit is needed


class Stretch:
    """One stream's; without a limit as long as nothing was too long."""

    def __init__(self, store: Store, stream: str) -> None:
        self._store = store
        self._key = f"stretch_s.{stream}"
        kept = store.get(self._key)
        self.at_most = timedelta(seconds=kept) if isinstance(kept, int) and kept > 0 else None
        self._met = False  # in this pass

    def was_too_long(self, length: timedelta) -> None:
        """Ask for half of that from the next pass on; the present one halves by itself."""
        self._met = True
        self._store.put(self._key, int(max(SHORTEST, length / 2).total_seconds()))

    def was_enough(self) -> None:
        """A whole window was read without ado: ask for twice as much next time."""
        if self.at_most is not None and not self._met:
            longer = self.at_most * 2
            self._store.put(self._key, int(longer.total_seconds()) if longer < LONGEST else None)
