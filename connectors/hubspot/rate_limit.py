"""Keep requests within HubSpot's rate limits. No IO.

Both limiters reserve the instant at which a request may be sent. They count with that instant, not with the clock
after the sleep, so a thread that wakes early cannot exceed them.
"""

from collections import deque

INTERVAL_S = 10.0  # HubSpot's rolling limit
MARGIN = 0.1  # share of it left to other programs with the same token
DEFAULT_MAX = 100  # of a free portal, until the first answer names its limit (usage guidelines, 2026-03)


class EvenSpacing:
    """Allow `per_second` requests a second, evenly spaced. 0: no limit."""

    def __init__(self, per_second: float) -> None:
        self._gap_s = 1 / per_second if per_second else 0.0
        self._free_at = float("-inf")

    def wait_s(self, now: float) -> float:
        """Take the next slot, and return the seconds until then."""
        at = max(now, self._free_at)
        self._free_at = at + self._gap_s
        return at - now


class RollingWindow:
    """Allow `maximum` requests, less the margin, in any ten seconds."""

    def __init__(self, maximum: int = DEFAULT_MAX) -> None:
        self._taken: deque[float] = deque()
        self._limit = 1
        self.learn(maximum)

    def learn(self, maximum: int) -> None:
        """Adopt the limit of an answer's X-HubSpot-RateLimit-Max."""
        if maximum > 0:
            self._limit = max(1, int(maximum * (1 - MARGIN)))

    def wait_s(self, now: float) -> float:
        """Take the next slot, and return the seconds until then."""
        while self._taken and self._taken[0] <= now - INTERVAL_S:
            self._taken.popleft()
        at = now
        if len(self._taken) >= self._limit:
            at = max(now, self._taken[-self._limit] + INTERVAL_S)
        self._taken.append(at)
        return at - now
