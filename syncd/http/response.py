"""The result of one request, in types that all connectors share: a response, or a failure. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from syncd.errors import SyncdError, Unavailable

TRIES = 3  # per request, the first included (design, promise 8)
FAILING_MAX_S = 60.0  # a minute of failures in a row ends the pass for a source (design, promise 8)
BACKOFF_S = 0.5  # doubles with each try, jittered by half
UNREADABLE = (ValueError, TypeError, OverflowError, IndexError)  # all that email.utils raises for an odd date
YEARS = range(2000, 2200)  # of a plausible clock
RETRY_AFTER_MAX_S = 86_400.0  # a Retry-After beyond a day is not believed
PAUSE_S = 60  # from this on syncd does not wait: the pass ends for the source, and the ledger keeps the pause


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response of any status, with its whole body."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes = field(repr=False)


class TransportError(Exception):
    """No response came, or one that exceeds a bound. The message is syncd's own and says why."""

    def __init__(
        self, message: str, *, hint: str = "", retryable: bool = True, timed_out: bool = False, malformed: bool = False
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.malformed = malformed  # a response came, but exceeds a bound or has an encoding other than gzip
        self.retryable = retryable  # another try may succeed
        self.timed_out = timed_out  # the deadline passed: the request may have asked for too much


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed request: its error, and whether and when to retry."""

    error: SyncdError  # raised if there is no further try
    wait_s: float | None = None  # before the next try; None: do not retry
    pause_s: float | None = None  # how long to make no request at all
    limited: bool = False  # too many requests, by anyone: a later try succeeds
    refusal: bool = False  # the CRM denies access: optional calls tolerate this

    def given_up(self, now: datetime) -> SyncdError:
        """Return the error to raise after the last try. Its pause, if any, begins at `now`, the local time."""
        if self.pause_s is not None and isinstance(self.error, Unavailable):
            self.error.pause_until = now + timedelta(seconds=self.pause_s)
        return self.error


def backoff_s(attempt: int, jitter: float) -> float:
    """Return the seconds to wait after the `attempt`th try. `jitter` is from 0 up to 1."""
    return float(BACKOFF_S * 2 ** (attempt - 1) * (1 + jitter / 2))


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds that Retry-After asks for, from 0 up to a day. None if it is missing or invalid.

    It holds seconds or a date. A date is compared with the clock that wrote it: the response's own Date, otherwise
    `now`. A date without a zone is UTC.
    """
    written = headers.get("retry-after", "").strip()
    if not written:  # nearly every response
        return None
    try:
        seconds = float(written)
    except ValueError:
        try:
            at = parsedate_to_datetime(written)
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            seconds = (at - (served_at(headers) or now)).total_seconds()
        except UNREADABLE:
            return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), RETRY_AFTER_MAX_S)


def honor_retry_after(
    error: SyncdError, response: Response, *, now: datetime, default_s: float, at_most_s: float, limited: bool = False
) -> Failure:  # fmt: skip
    """Return a Failure that waits as long as Retry-After says, at least `default_s`.

    From PAUSE_S on it is a pause instead of a wait. `at_most_s` limits Retry-After.
    """
    asked_s = min(retry_after(response.headers, now=now) or 0.0, at_most_s)
    if asked_s >= PAUSE_S:
        return Failure(error, pause_s=asked_s, limited=limited)
    return Failure(error, wait_s=max(default_s, asked_s), limited=limited)


def served_at(headers: Mapping[str, str]) -> datetime | None:
    """Return the Date header (aware UTC, whole seconds). None if it is missing, invalid or implausible."""
    try:
        found = parsedate_to_datetime(headers.get("date", ""))
        return found.astimezone(UTC) if found.tzinfo is not None and found.year in YEARS else None
    except UNREADABLE:
        return None
