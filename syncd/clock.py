"""Write and read instants as fixed-width UTC text, whose order is the order of time."""

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

WIDTH = len("2026-01-01T00:00:00.000Z")
_TWO = [f"{number:02}" for number in range(60)]
_MILLISECONDS = [f".{number:03}Z" for number in range(1000)]


def now() -> datetime:
    """Return the local clock's time, aware UTC."""
    return datetime.now(UTC)


def since_boot_s() -> float:
    """Return the seconds since the machine was started. On Linux they go on while it is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def later(at: datetime, by: timedelta) -> datetime:
    """Return `at` plus `by`, or the last possible instant: CRMs hold dates such as 9999-12-31."""
    try:
        return at + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


@lru_cache(maxsize=1024)  # the rows of a page share `now`; isoformat takes four times as long as these tables
def text(at: datetime) -> str:
    """Write `at` (aware) as `2026-01-01T00:00:00.000Z`. Fractions of a millisecond are dropped."""
    at = at if at.tzinfo is UTC else at.astimezone(UTC)  # nearly every time is in UTC
    daytime = f"T{_TWO[at.hour]}:{_TWO[at.minute]}:{_TWO[at.second]}{_MILLISECONDS[at.microsecond // 1000]}"
    return _date(at.year, at.month, at.day) + daytime


@lru_cache(maxsize=256)
def _date(year: int, month: int, day: int) -> str:
    return f"{year:04}-{month:02}-{day:02}"


def optional_text(at: datetime | None) -> str | None:
    """Write `at` as `text` does. None stays None."""
    return None if at is None else text(at)


def instant(written: str) -> datetime:
    """Read an instant that `text` wrote."""
    return datetime.fromisoformat(written)


def optional_instant(written: str | None) -> datetime | None:
    """Read an instant that `text` wrote. None stays None."""
    return None if written is None else datetime.fromisoformat(written)
