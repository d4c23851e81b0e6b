"""Decide whether a failed request is retried, within one pass's budget. No IO."""

from collections.abc import Callable

from syncd.http.response import FAILING_MAX_S, TRIES, Failure


class RetryBudget:
    """Three tries a request, and a minute of failures in a row (design, promise 8).

    With `turn_s` (seconds), the waits of all requests together stay within that time. A rate-limited request is then
    retried until the time is used up: `syncd check` waits its turn.
    """

    def __init__(self, monotonic: Callable[[], float], *, turn_s: float | None = None) -> None:
        self._monotonic = monotonic
        self._left_s = turn_s
        self._tries = TRIES
        self._failing_since: float | None = None

    def stop_retrying(self) -> None:
        """Try each request only once for the rest of the pass."""
        self._tries = 1

    @property
    def has_failed_for_long(self) -> bool:
        """Whether all requests have failed for a minute."""
        since = self._failing_since
        return since is not None and self._monotonic() - since >= FAILING_MAX_S

    def record_success(self) -> None:
        """Forget the failures so far. A success ends the row of failures."""
        self._failing_since = None

    def exhausted(self, failure: Failure, *, attempt: int, began: float) -> bool:
        """Tell whether to stop after the `attempt`th try, which began at `began` (seconds, monotonic clock)."""
        self._failing_since = began if self._failing_since is None else self._failing_since
        failing_s = self._monotonic() - self._failing_since
        if failure.wait_s is None or failing_s >= FAILING_MAX_S:
            return True
        if self._left_s is None:
            return attempt >= self._tries
        if failure.wait_s > self._left_s or (attempt >= self._tries and not failure.limited):
            return True
        self._left_s -= failure.wait_s
        return False
