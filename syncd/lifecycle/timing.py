"""When an activity's turn comes again: look-ups, back-off and giving up. Pure."""

from collections.abc import Callable
from datetime import datetime, timedelta

from syncd.clock import later

# Ages at which an incomplete activity is looked up; after the last, once a day (design, promise 6).
LOOK_UPS = (timedelta(minutes=15), timedelta(hours=1), timedelta(hours=6), timedelta(days=1))
DAY = timedelta(days=1)
GIVE_UP_AFTER = timedelta(days=30)  # of waiting for what the CRM does not say
UNCONFIRMED_AGAIN_AFTER = timedelta(hours=1)  # while no server confirms the clock; then all is due at once
MISSING_AGAIN_AFTER = timedelta(hours=1)  # a second look before a record counts as deleted

BACK_OFF_FIRST = timedelta(minutes=5)
BACK_OFF_MOST = timedelta(hours=6)
JITTER = 0.1  # share added at random, so that a refused crowd does not come back as one

# No wait that is booked is longer than this: a later one was booked by a clock that was wrong since.
LONGEST_WAIT = timedelta(hours=25)


def happens_at(*, occurred_at: datetime, created_at: datetime, settle: timedelta) -> datetime:
    """Return when an activity of the future has happened."""
    return occurred_at


def settles_at(*, occurred_at: datetime, created_at: datetime, settle: timedelta) -> datetime:
    """Return when an activity has settled: `settle` after it happened or was created, the later."""
    return later(max(occurred_at, created_at), settle)


def gives_up_at(*, waiting_since: datetime, occurred_at: datetime | None) -> datetime:
    """Return when an incomplete activity is dead: 30 days after first sight or the event, the later."""
    return later(max(waiting_since, occurred_at or waiting_since), GIVE_UP_AFTER)


def look_up_at(
    *, waiting_since: datetime, occurred_at: datetime | None, due_at: datetime | None, now: datetime
) -> datetime:
    """Return when to look an incomplete activity up next.

    By age since `waiting_since`, so that a late look does not push the next one back;
    at `due_at` (it has settled, or it happens) when that comes first; at the latest
    when it would be given up.
    """
    age = now - waiting_since
    step = next((step for step in LOOK_UPS if step > age), None)
    times = [waiting_since + (step if step is not None else (age // DAY + 1) * DAY)]
    if due_at is not None and due_at > now:
        times.append(due_at)
    last = gives_up_at(waiting_since=waiting_since, occurred_at=occurred_at)
    if last > now:
        times.append(last)
    return min(times)


def look_up_unconfirmed_at(*, due_at: datetime | None, now: datetime) -> datetime:
    """Return when to look an activity up next, if no server confirms the clock that tells its age."""
    again = now + UNCONFIRMED_AGAIN_AFTER
    return min(again, due_at) if due_at is not None and due_at > now else again


def back_off(*, refusals: int, random: Callable[[], float]) -> timedelta:
    """Return how long to wait after the `refusals`-th verdict about the item itself (1 is the first)."""
    doubled: timedelta = BACK_OFF_FIRST * 2 ** min(refusals - 1, 10)
    return min(doubled, BACK_OFF_MOST) * (1 + JITTER * random())
