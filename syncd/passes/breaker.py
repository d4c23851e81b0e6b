"""A circuit breaker in front of Recotap: how many POSTs may be in flight now. Pure but for the clock it is given.

    half-open ──── an answer to the probe ───► closed: up to `limit` POSTs at once
    one probe ◄─── the wait is over, ───────── open: no POST ◄── an outage, in either state
                   nothing is in flight

A pass begins half-open: nothing is known of Recotap yet, so the first POST goes alone.
"""

from collections.abc import Callable
from enum import StrEnum

PROBE_AFTER_S = 1.0  # first wait before a probe, plus up to as much jitter, unless Retry-After says otherwise


class Circuit(StrEnum):
    """The states of a circuit breaker, in the field's words."""

    CLOSED = "closed"  # requests pass
    OPEN = "open"  # no request passes until the wait is over
    HALF_OPEN = "half-open"  # one request passes: the probe


class Breaker:
    """The circuit breaker of one pass. Not thread-safe: the ledger's thread alone uses it."""

    def __init__(self, limit: int, *, monotonic: Callable[[], float], random: Callable[[], float]) -> None:
        """Permit `limit` POSTs at once while closed. `monotonic` is in seconds, `random` from 0 up to 1."""
        self.limit = limit
        self._monotonic = monotonic
        self._random = random
        self._closed = False
        self._wait_until = 0.0  # monotonic
        self.failing = False  # an outage, and no answer to a probe since
        self.has_answered = False  # Recotap has answered a POST at least once in this pass

    @property
    def state(self) -> Circuit:
        """Return the state as of now."""
        if self._closed:
            return Circuit.CLOSED
        return Circuit.OPEN if self.wait_s() > 0 else Circuit.HALF_OPEN

    def wait_s(self) -> float:
        """Return for how many seconds nothing may be sent, or 0."""
        return max(0.0, self._wait_until - self._monotonic())

    def permits(self, in_flight: int) -> bool:
        """Tell whether another POST may start while `in_flight` of them are under way."""
        if self.wait_s() > 0:
            return False
        return in_flight == 0 or (self._closed and in_flight < self.limit)

    def record_success(self, *, probe: bool, answered: bool = True) -> None:
        """Close if the probe was answered. An answer to a POST from before the outage proves nothing about now.

        `answered`: Recotap itself did, not a firewall before it.
        """
        self.has_answered = self.has_answered or answered
        if probe:
            self._closed, self.failing = True, False

    def record_failure(self, *, retry_after_s: float) -> None:
        """Open for `retry_after_s`, or if that is 0 for PROBE_AFTER_S, plus jitter. Waits never get shorter."""
        self._closed, self.failing = False, True
        wait_s = (retry_after_s or PROBE_AFTER_S) + PROBE_AFTER_S * self._random()
        self._wait_until = max(self._wait_until, self._monotonic() + wait_s)

    def throttle(self) -> None:
        """Halve the limit for the rest of the pass. At least one POST stays possible."""
        self.limit = max(1, self.limit // 2)
