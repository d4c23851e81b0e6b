"""When passes are made: every so often, or by cron; pure.

    every = "5m"                                  from one time to the next, whatever the wall clock says
    cron = "30 2 * * *", timezone = "Europe/Berlin"   as Debian's cron does it, daylight saving included

cronsim reckons as Debian's cron: a time that spring skips comes when the hour is over, and one that
autumn repeats comes once; what runs every hour or more often just goes on. APScheduler's own cron
trigger does neither: in the repeated hour it answers with times that are past, again and again
(agronholm/apscheduler#1021, seen with 3.11.3), and its weekdays begin with Monday.
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

EVERY = timedelta(minutes=5)  # where nothing is said
FROM = datetime(2026, 1, 1, tzinfo=UTC)  # any day: whether a cron expression ever comes does not hang on it


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a directory, not a key, not found
        raise ValueError('expected a time zone, e.g. "Europe/Berlin"') from None
    return name


def _comes(text: str) -> str:
    text = cron.checked(text)
    try:
        comes = _next(text, "UTC", FROM) is not None
    except CronSimError:
        comes = False
    if not comes:
        raise ValueError("never comes: none of those months has that day")
    return text


Zone = Annotated[str, AfterValidator(_zone), Field(examples=["Europe/Berlin"])]
Cron = Annotated[str, AfterValidator(_comes), Field(examples=["*/5 * * * *"])]


class Schedule(BaseModel):
    """Either `every` or `cron`; neither of them: somebody else's timetable holds."""

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
        """Whether it says anything."""
        return bool(self.every or self.cron)

    @property
    def is_wildcard(self) -> bool:
        """Whether it goes on whatever the clock shows, as cron's times with * in minute or hour do (cron(8))."""
        minute, hour = (self.cron or "* *").split()[:2]
        return minute.startswith("*") or hour.startswith("*")

    def __str__(self) -> str:
        from syncd.types.durations import show

        return f"cron {self.cron} {self.timezone}" if self.cron else f"every {show(self.every or EVERY)}"

    def after(self, at: datetime) -> datetime:
        """Return the first time after `at` (aware), in UTC: an interval later, or when cron has it."""
        if self.cron is None:
            return later(at.astimezone(UTC), self.every or EVERY)
        return _next(self.cron, self.timezone, at) or datetime.max.replace(tzinfo=UTC)

    def nth_after(self, at: datetime, count: int) -> datetime:
        """Return the `count`-th time after `at`."""
        for _ in range(count):
            at = self.after(at)
        return at


@lru_cache(64)
def _next(text: str, timezone: str, at: datetime) -> datetime | None:
    """Return when `text` comes next after `at`, in UTC; None for one that does not in 50 years."""
    found = next(CronSim(text, at.astimezone(ZoneInfo(timezone))), None)
    return None if found is None else found.astimezone(UTC)
