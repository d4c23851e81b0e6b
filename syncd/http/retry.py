"""How long a connector bears a CRM's failures: one pass's memory, no IO."""

from collections.abc import Callable

from syncd.http.response import FAILING_MAX_S, TRIES, Failure


class RetryBudget:
    """Three tries a request, and a minute of failures in a row (design, promise 8).

    With `turn_s`, the waits of all requests together stay within so many seconds, and a request that
    meets a limit of requests is tried again as long as these last: `syncd check` waits its turn.
    """

    def __init__(self, monotonic: Callable[[], float], *, turn_s: float | None = None) -> None:
        self._monotonic = monotonic
        self._left_s = turn_s
        self._tries = TRIES
        self._failing_since: float | None = None

    def stop_retrying(self) -> None:
        """From now on try each request once: one has been given up already."""
        self._tries = 1

    def record_success(self) -> None:
        """Forget the failures before."""
        self._failing_since = None

    def exhausted(self, failure: Failure, *, attempt: int, began: float) -> bool:
        """Say whether no further try is to be made after the `attempt`th, which began then by the monotonic clock."""
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
