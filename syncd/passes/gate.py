"""Ask the ledger for room before a POST is booked, if other lanes use the same Recotap key.

A ledger with one writer is never asked: it has the key for itself.
"""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime

from syncd.ledger import Admission, Ledger

JITTER_S = 1.0  # on top of a wait of a second or more; less on top of a shorter one. Lanes must not ask all at once


class Gate:
    """The way of one pass to the key. The ledger's thread alone uses it."""

    def __init__(
        self,
        ledger: Ledger,
        most: int,
        timeout_s: float,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        """`most`: POSTs in flight of all lanes. `timeout_s`: the deadline of each. `random` is from 0 up to 1."""
        self._ledger = ledger
        self._most = most
        self._timeout_s = timeout_s
        self._now = now
        self._monotonic = monotonic
        self._random = random
        self._wait_until = 0.0  # monotonic
        self._was_denied = False
        self._known_failures: int | None = None  # failed probes of all lanes when this pass first asked
        self.is_shared = ledger.shares_key
        self.room = 0  # POSTs that the open transaction may book
        self.began_in_outage = False  # the outage that lasts is older than this pass
        self.is_probing = False  # they are the probe of an outage, which may be another lane's

    def wait_s(self) -> float:
        """Return for how many seconds there is nothing to ask, or 0."""
        return max(0.0, self._wait_until - self._monotonic()) if self.is_shared else 0.0

    def ask(self, transaction: ExitStack) -> Admission:
        """Ask for room, within a transaction that `transaction` keeps open. The room ends with it.

        A lane that waits looks first: that takes no lock, and no commit that waits for the disk.
        """
        if self._was_denied:
            seen = self._ledger.look_at_key(self._most, now=self._now())
            if seen.may_wait:
                return self._hear(seen)
        transaction.enter_context(self._ledger.transaction())
        transaction.callback(self._forget_room)
        found = self._hear(self._ledger.admit(self._most, timeout_s=self._timeout_s, now=self._now()))
        self.room = found.room
        return found

    def _hear(self, found: Admission) -> Admission:
        if self._known_failures is None:
            self._known_failures = found.standing.failed_probes
            self.began_in_outage = found.standing.is_failing
        self.began_in_outage &= found.standing.is_failing
        self.is_probing, self._was_denied = found.standing.is_failing, not found.room
        if not found.room:
            self._wait_until = self._monotonic() + found.wait_s + min(found.wait_s, JITTER_S) * self._random()
        return found

    def has_failed_since(self, found: Admission) -> bool:
        """Tell whether the probe of another lane has failed since this pass first asked, and the outage lasts."""
        assert self._known_failures is not None
        return found.standing.is_failing and found.standing.failed_probes > self._known_failures

    def ask_again(self) -> None:
        """Hear that one of this pass's POSTs is over, which may have made room."""
        self._wait_until = 0.0

    def take(self) -> None:
        """Hear that an intent is booked."""
        self.room -= self.is_shared

    def _forget_room(self) -> None:
        self.room = 0


__all__ = ["Gate"]
