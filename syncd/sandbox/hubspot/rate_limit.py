"""A rolling rate limit."""

from collections import deque


class RollingWindow:
    """Count requests within the last `length_ms`."""

    def __init__(self, length_ms: int) -> None:
        self._length_ms = length_ms
        self._taken: deque[int] = deque()

    def take(self, now: int, limit: int) -> bool:
        """Take one place when there is one; a limit of 0 is none."""
        if not limit:
            return True
        if self.count(now) >= limit:
            return False
        self._taken.append(now)
        return True

    def count(self, now: int) -> int:
        while self._taken and self._taken[-1] > now:  # the clock was set back
            self._taken.pop()
        while self._taken and self._taken[0] <= now - self._length_ms:
            self._taken.popleft()
        return len(self._taken)
