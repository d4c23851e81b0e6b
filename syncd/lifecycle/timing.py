"""Compute when to look an activity up, send it again, or give it up. Pure."""

from collections.abc import Callable
from datetime import datetime, timedelta

from syncd.clock import later

# Ages at which an incomplete activity is looked up; after the last, once a day (design, promise 6).
LOOK_UPS = (timedelta(minutes=15), timedelta(hours=1), timedelta(hours=6), timedelta(days=1))
DAY = timedelta(days=1)
GIVE_UP_AFTER = timedelta(days=30)  # of waiting for data that the CRM lacks
UNCONFIRMED_AGAIN_AFTER = timedelta(hours=1)  # while no server confirms the clock. Once one does, all is due.
MISSING_AGAIN_AFTER = timedelta(hours=1)  # a second look before a record counts as deleted
CHANGE_AGAIN_AFTER = timedelta(hours=1)  # a look at a change that the CRM did not serve; then once a day

READ_AGAIN_AFTER = timedelta(hours=1)  # since its record was last read: it is looked up before it is sent

BACK_OFF_FIRST = timedelta(minutes=5)
BACK_OFF_MOST = timedelta(hours=6)
JITTER = 0.1  # share added at random, so that items refused together do not come back together

# No booked wait is longer than this. A later time was booked by a clock that was ahead.
LONGEST_WAIT = timedelta(hours=25)


def happens_at(*, occurred_at: datetime, created_at: datetime, settle: timedelta) -> datetime:
    """Return when an activity of the future has happened."""
    return occurred_at


def settles_at(*, occurred_at: datetime, created_at: datetime, settle: timedelta) -> datetime:
    """Return when an activity has settled: `settle` after it happened or was created, whichever is later."""
    return later(max(occurred_at, created_at), settle)


def gives_up_at(*, waiting_since: datetime, occurred_at: datetime | None) -> datetime:
    """Return when an incomplete activity is dead: 30 days after first sight or the event, whichever is later."""
    return later(max(waiting_since, occurred_at or waiting_since), GIVE_UP_AFTER)


def look_up_at(
    *, waiting_since: datetime, occurred_at: datetime | None, due_at: datetime | None, now: datetime,
    settles: bool = False,
) -> datetime:  # fmt: skip
    """Return when to look an incomplete activity up next.

    Look-ups follow its age since `waiting_since`, so that a late one does not delay the next. `due_at` (it has
    settled, or it happens) is used if it comes first. The last look-up is at the time of giving up.
    If it only `settles`, no look-up before `due_at` could complete it: then it is at most a day away.
    """
    age = now - waiting_since
    steps = () if settles and due_at is not None and due_at > now else LOOK_UPS
    step = next((step for step in steps if step > age), None)
    times = [waiting_since + (step if step is not None else (age // DAY + 1) * DAY)]
    if due_at is not None and due_at > now:
        times.append(due_at)
    last = gives_up_at(waiting_since=waiting_since, occurred_at=occurred_at)
    if last > now:
        times.append(last)
    return min(times)


def look_up_unconfirmed_at(*, due_at: datetime | None, now: datetime) -> datetime:
    """Return when to look an activity up next if no server confirms the clock."""
    again = now + UNCONFIRMED_AGAIN_AFTER
    return min(again, due_at) if due_at is not None and due_at > now else again


def fresh_reads(now: datetime) -> tuple[int, int]:
    """Return the first and the last time of reading (epoch seconds) after which a row is sent without a look-up.

    A clock that was ahead booked any later time, so it does not count.
    """
    last = int(now.timestamp())
    return last - int(READ_AGAIN_AFTER.total_seconds()) + 1, last


def back_off(*, refusals: int, random: Callable[[], float]) -> timedelta:
    """Return the wait after the `refusals`-th verdict about the item itself (1 is the first)."""
    doubled: timedelta = BACK_OFF_FIRST * 2 ** min(refusals - 1, 10)
    return min(doubled, BACK_OFF_MOST) * (1 + JITTER * random())
