"""How long a connector bears a CRM's failures, and what it learns of the CRM's clock: one pass's memory, no IO."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from syncd.exchange import FAILING_MAX_S, TRIES, Fault, served_at


class Patience:
    """Three tries a request, and a minute of failures in a row (design, promise 8).

    With `turn_s`, the waits of all requests together stay within so many seconds, and a request that
    meets a limit of requests is tried again as long as these last: `syncd check` waits its turn.
    """

    def __init__(self, monotonic: Callable[[], float], *, turn_s: float | None = None) -> None:
        self._monotonic = monotonic
        self._left_s = turn_s
        self._tries = TRIES
        self._failing_since: float | None = None

    def lose(self) -> None:
        """From now on try each request once: one has been given up already."""
        self._tries = 1

    def went_well(self) -> None:
        """Forget the failures before."""
        self._failing_since = None

    def is_out(self, fault: Fault, *, attempt: int, began: float) -> bool:
        """Say whether no further try is to be made after the `attempt`th, which began then by the monotonic clock."""
        self._failing_since = began if self._failing_since is None else self._failing_since
        failing_s = self._monotonic() - self._failing_since
        if fault.wait_s is None or failing_s >= FAILING_MAX_S:
            return True
        if self._left_s is None:
            return attempt >= self._tries
        if fault.wait_s > self._left_s or (attempt >= self._tries and not fault.limited):
            return True
        self._left_s -= fault.wait_s
        return False


class ServerClock:
    """A CRM's clock, as the Date of its answers tells it."""

    def __init__(self, local: Callable[[], datetime]) -> None:
        self._local = local
        self._ahead: timedelta | None = None  # of the local clock, the CRM's is so much; None: not known
        self.started_at: datetime | None = None  # when the pass began, by the CRM's clock; known from an answer on

    def now(self) -> datetime:
        """Return the time by the CRM's clock; the local one as long as the CRM's is not known."""
        return self._local() + (self._ahead or timedelta(0))

    def learn(self, headers: Mapping[str, str], *, local_start: datetime, elapsed_s: float) -> None:
        """Take it from an answer to a request that was begun at `local_start`.

        The pass began before the first request left. `Date` is whole seconds and the
        answer's time: less the request's duration, but a second of it at most, it is at
        most two seconds early (design 1, window), and only ever late for a slow request.
        """
        server = served_at(headers)
        if server is not None:
            self._ahead = server - self._local()
        if self.started_at is None:
            self.started_at = local_start if server is None else server - timedelta(seconds=min(elapsed_s, 1.0))
