"""Spread requests over time, so that many clients take no more of the processor than a few. Pure."""


class Pace:
    """Give each request its turn: `burst` at once, then `per_second`. Times are seconds of a monotonic clock.

    A pass shares the interpreter with the page. Without this, 50 clients that ask again at once would slow it.
    """

    def __init__(self, per_second: float, *, burst: int, most_wait_s: float) -> None:
        self._gap_s = 1 / per_second
        self._ahead_s = burst / per_second
        self._most_wait_s = most_wait_s
        self._next = float("-inf")

    def wait_s(self, now: float) -> float | None:
        """Take a turn, and return the seconds until it comes. None if too many wait already. Then none is taken."""
        turn = max(self._next, now - self._ahead_s + self._gap_s)
        wait_s = max(turn - now, 0.0)
        if wait_s > self._most_wait_s:
            return None
        self._next = turn + self._gap_s
        return wait_s


__all__ = ["Pace"]
