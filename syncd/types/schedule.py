"""Compute the times of passes, from an interval or a cron expression. Pure.

    every = "5m"                                      an interval, independent of the wall clock
    cron = "30 2 * * *", timezone = "Europe/Berlin"   as Debian's cron, including daylight saving

cronsim follows Debian's cron: a run in the hour skipped in spring happens right after it, and one in the repeated hour
of autumn happens once. A run every hour or more often simply continues. APScheduler's own cron trigger does neither: in
the repeated hour it returns times in the past, again and again (agronholm/apscheduler#1021, seen with 3.11.3), and its
weekdays begin with Monday.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from syncd.clock import later
from syncd.types import cron
from syncd.types.durations import Positive

EVERY = timedelta(minutes=5)  # the default
MISSED = 3  # times of a schedule: a longer silence is too long
FROM = datetime(2026, 1, 1, tzinfo=UTC)  # any day will do to find out whether a cron expression ever matches


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a directory, not a key, not found
        raise ValueError('expected a time zone, e.g. "Europe/Berlin"') from None
    return name


def _matches(text: str) -> str:
    text = cron.checked(text)
    try:
        matches = _next(text, "UTC", FROM) is not None
    except CronSimError:
        matches = False
    if not matches:
        raise ValueError("never matches: none of those months has that day")
    return text


Zone = Annotated[str, AfterValidator(_zone), Field(examples=["Europe/Berlin"])]
Cron = Annotated[str, AfterValidator(_matches), Field(examples=["*/5 * * * *"])]


class Schedule(BaseModel):
    """When to run: `every` or `cron`. If neither is set, [schedule] applies."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: Positive | None = None
    cron: Cron | None = None
    timezone: Zone = "UTC"  # of cron

    @model_validator(mode="before")
    @classmethod
    def _empty_is_left_out(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        return {name: value for name, value in table.items() if value != "" or name not in ("every", "cron")}

    @property
    def is_set(self) -> bool:
        """Whether `every` or `cron` is set."""
        return bool(self.every or self.cron)

    @property
    def is_wildcard(self) -> bool:
        """Whether minute or hour begins with *. A changed clock does not delay such a schedule (cron(8))."""
        minute, hour = (self.cron or "* *").split()[:2]
        return minute.startswith("*") or hour.startswith("*")

    def __str__(self) -> str:
        from syncd.types.durations import show

        return f"cron {self.cron} {self.timezone}" if self.cron else f"every {show(self.every or EVERY)}"

    def after(self, at: datetime) -> datetime:
        """Return the first time after `at` (aware), in UTC. Without `every` and `cron` it is EVERY later."""
        if self.cron is None:
            return later(at.astimezone(UTC), self.every or EVERY)
        return _next(self.cron, self.timezone, at) or datetime.max.replace(tzinfo=UTC)

    def nth_after(self, at: datetime, count: int) -> datetime:
        """Return the `count`-th time after `at` (aware), in UTC."""
        for _ in range(count):
            at = self.after(at)
        return at

    def late_after(self, at: datetime, least: timedelta) -> datetime:
        """Return the end of a normal silence since `at` (aware): MISSED times of the schedule, at least `least`."""
        return max(self.nth_after(at, MISSED), later(at, least))


@lru_cache(64)
def _next(text: str, timezone: str, at: datetime) -> datetime | None:
    """Return the next match of `text` after `at`, in UTC. None if there is none within 50 years."""
    found = next(CronSim(text, at.astimezone(ZoneInfo(timezone))), None)
    return None if found is None else found.astimezone(UTC)
