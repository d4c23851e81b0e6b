"""Write times with their age: in the local zone on a terminal, and in UTC everywhere else. Pure."""

from dataclasses import dataclass
from datetime import datetime

from syncd import clock

NONE = "-"
# Up to so many seconds an age is given in this unit of so many seconds.
UNITS = ((90, 1, "s"), (90 * 60, 60, "min"), (36 * 3600, 3600, "h"))
DAY_S = 86_400
JUST_NOW_S = 2


@dataclass(frozen=True, slots=True)
class Times:
    """Write times as seen from `now`."""

    now: datetime  # aware, the local clock
    local: bool = False  # in the local zone, to the minute; otherwise as the ledger holds them

    def at(self, written: str | None) -> str:
        """Return a time that `clock.text` wrote. "-" for none. It has no space, so no terminal breaks it."""
        if written is None or not self.local:
            return written or NONE
        try:
            return f"{clock.instant(written).astimezone():%Y-%m-%dT%H:%M}"
        except (OverflowError, OSError):  # a CRM's date at the end of time
            return written

    def aged(self, written: str | None, between: str = " ") -> str:
        """Return a time and its age, e.g. `2026-10-05T11:00 (3 min ago)`. "-" for none."""
        return f"{self.at(written)}{between}({self.age(written)})" if written else NONE

    def age(self, written: str | None) -> str:
        """Return the age of a time, e.g. `3 min ago` or `in 2 h`. "never" for none."""
        if written is None:
            return "never"
        seconds = (self.now - clock.instant(written)).total_seconds()
        length = _length(abs(seconds))
        if abs(seconds) < JUST_NOW_S:
            return "just now"
        return f"{length} ago" if seconds > 0 else f"in {length}"

    @property
    def zone(self) -> str:
        """Return the name of the zone, with its distance from UTC, e.g. `CET, UTC+01:00`."""
        if not self.local:
            return "UTC"
        here = self.now.astimezone()
        return f"{here.tzname()}, UTC{here.isoformat()[-6:]}" if here.utcoffset() else "UTC"


def _length(seconds: float) -> str:
    for limit, unit_s, name in UNITS:
        if seconds < limit:
            return f"{int(seconds // unit_s)} {name}"
    days = int(seconds // DAY_S)
    return f"{days} day{'s' * (days != 1)}"


__all__ = ["NONE", "Times"]
