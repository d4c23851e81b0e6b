"""The stand-ins' clock: real or injected time, plus an offset that tests move instead of sleeping."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """A clock in milliseconds since the epoch."""

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self.now = now  # aware; None: the machine's clock
        self.offset_s = 0.0

    def ms(self) -> int:
        """Return the time in milliseconds since the epoch."""
        base = time.time() if self.now is None else (self.now() - EPOCH).total_seconds()
        return round((base + self.offset_s) * 1000)

    def advance(self, seconds: float) -> None:
        """Move the clock forward. It keeps running."""
        self.offset_s += seconds


def iso(ms: int) -> str:
    """Format milliseconds as HubSpot does: 2025-02-17T06:17:42.829Z."""
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{_minute(minutes)}:{seconds:02}.{ms:03}Z"


@lru_cache(65_536)  # a search page formats four times per row, many of the same minute
def _minute(minutes: int) -> str:
    return (EPOCH + timedelta(minutes=minutes)).isoformat(timespec="minutes")[:-6]


def millis(moment: datetime | int | str) -> int:
    """Return a datetime, milliseconds, or either as text, as milliseconds. Raises ValueError for anything else.

    A datetime without a zone is UTC.
    """
    if isinstance(moment, str):
        text = moment.strip()
        if text.lstrip("-").isdigit():
            return int(text)
        moment = datetime.fromisoformat(text)
    if isinstance(moment, datetime):
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (aware - EPOCH) // timedelta(milliseconds=1)
    return int(moment)
