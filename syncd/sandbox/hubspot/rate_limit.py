"""A rate limit over a rolling window."""

from collections import deque


class RollingWindow:
    """A counter of the requests within the last `length_ms`."""

    def __init__(self, length_ms: int) -> None:
        self._length_ms = length_ms
        self._taken: deque[int] = deque()

    def take(self, now: int, limit: int) -> bool:
        """Count a request and return True, unless `limit` is reached. A limit of 0 means no limit."""
        if not limit:
            return True
        if self.count(now) >= limit:
            return False
        self._taken.append(now)
        return True

    def count(self, now: int) -> int:
        """Return the number of requests in the window that ends at `now` (ms)."""
        while self._taken and self._taken[-1] > now:  # the clock was set back
            self._taken.pop()
        while self._taken and self._taken[0] <= now - self._length_ms:
            self._taken.popleft()
        return len(self._taken)
