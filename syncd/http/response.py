"""One request to a CRM and what came of it, in words that connectors share; pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from syncd.errors import SyncdError

TRIES = 3  # per request, the first included (design, promise 8)
FAILING_MAX_S = 60.0  # a minute of failures in a row ends the pass for a source (design, promise 8)
BACKOFF_S = 0.5  # doubles with each try, jittered by half
UNREADABLE = (ValueError, TypeError, OverflowError, IndexError)  # all that email.utils raises for an odd date
YEARS = range(2000, 2200)  # of a clock that can be reckoned with
RETRY_AFTER_MAX_S = 86_400.0  # a Retry-After beyond a day is not believed
PAUSE_S = 60  # a wait this long is not waited out: the source rests till then


@dataclass(frozen=True, slots=True)
class Response:
    """What came back."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes = field(repr=False)


class TransportError(Exception):
    """No answer came, or none that may be read; the message is ours and says why."""

    def __init__(
        self, message: str, *, hint: str = "", retryable: bool = True, timed_out: bool = False, malformed: bool = False
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.malformed = malformed  # a response came, and exceeds a bound or has another encoding than gzip
        self.retryable = retryable  # another try may fare better
        self.timed_out = timed_out  # the deadline passed: what was asked may have been too much


@dataclass(frozen=True, slots=True)
class Failure:
    """What is wrong with an answer."""

    error: SyncdError  # raised when no further try is made
    wait_s: float | None = None  # before the next try; None: another try is of no use
    pause_s: float | None = None  # how long to stay away altogether
    limited: bool = False  # too many requests at the moment, whoever made them: another try is a matter of time
    refusal: bool = False  # the CRM itself says "not for you": what some calls shrug off


def backoff_s(attempt: int, jitter: float) -> float:
    """Return how long to wait after the `attempt`th try; `jitter` is from 0 up to 1."""
    return float(BACKOFF_S * 2 ** (attempt - 1) * (1 + jitter / 2))


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds that Retry-After asks for, from 0 up to a day. None if it is missing or invalid.

    It holds seconds or a date. A date is compared with the clock that wrote it: the response's own Date, otherwise
    `now`. A date without a zone is UTC.
    """
    written = headers.get("retry-after", "").strip()
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
    error: SyncdError, answer: Response, *, now: datetime, default_s: float, at_most_s: float, limited: bool = False
) -> Failure:  # fmt: skip
    """Wait as long as Retry-After says, at least `default_s`; a minute or more is not waited out but paused."""
    told_s = min(retry_after(answer.headers, now=now) or 0.0, at_most_s)
    if told_s >= PAUSE_S:
        return Failure(error, pause_s=told_s, limited=limited)
    return Failure(error, wait_s=max(default_s, told_s), limited=limited)


def served_at(headers: Mapping[str, str]) -> datetime | None:
    """Return the instant of the Date header, whole seconds of the server's clock; None where there is none."""
    try:
        found = parsedate_to_datetime(headers.get("date", ""))
        return found.astimezone(UTC) if found.tzinfo is not None and found.year in YEARS else None
    except UNREADABLE:
        return None
