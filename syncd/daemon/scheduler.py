"""APScheduler's part: tell when a regular time has come, whatever happens to the wall clock.

APScheduler reckons by the wall clock alone. When that is set back, a job would wait until it has
caught up, hours or years; `clock_was_set` mends that. Our own trigger takes the place of its two:
however much was missed, there is one time to make up, and cron is Debian's (see `schedule`).
"""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from syncd import clock
from syncd.types.schedule import EVERY, Schedule

# cron(8): a change of the clock by more than that is a correction, and times are reckoned anew.
CORRECTION = timedelta(hours=3)


class Trigger(BaseTrigger):  # type: ignore[misc] # published without types
    """Fire by a schedule. Whatever was missed is one time: the next one lies ahead of now, in step with the first."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """Return the next time, in UTC; `previous` is the last one, None at first."""
        if previous is None or self.schedule.cron:
            return self.schedule.after(max(previous or now, now))
        every = self.schedule.every or EVERY
        coming = clock.later(previous, every)
        return coming if coming > now else now + every - (now - coming) % every


class Jobs:
    """Call `due` with a job's name whenever its time has come, in a thread of the scheduler: it must be quick."""

    def __init__(self, due: Callable[[str], None]) -> None:
        self._due = due
        self._scheduler = BackgroundScheduler(
            executors={"default": DebugExecutor()}, timezone=UTC,
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )  # fmt: skip

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def stop(self) -> None:
        """Call nobody any more."""
        self._scheduler.shutdown(wait=False)

    def set(self, schedules: Mapping[str, Schedule]) -> None:
        """Have exactly these jobs; one whose schedule is the same keeps its step."""
        for job in self._scheduler.get_jobs():
            if schedules.get(job.id) != job.trigger.schedule:
                job.remove()
        kept = {job.id for job in self._scheduler.get_jobs()}
        for name, schedule in schedules.items():
            if name not in kept:
                self._scheduler.add_job(self._due, Trigger(schedule), args=[name], id=name, name=name)

    def next_at(self, names: Collection[str]) -> datetime | None:
        """Return when the first of these jobs' time comes, None when there is none of them."""
        jobs = [job for job in self._scheduler.get_jobs() if job.id in names]
        return min((job.next_run_time for job in jobs), default=None)

    def is_alive(self) -> bool:
        """Tell whether the scheduler's thread still runs."""
        thread: Any = self._scheduler._thread  # there is no public way to ask
        return thread is not None and thread.is_alive()

    def clock_was_set(self, by: timedelta, now: datetime) -> None:
        """Go on as if nothing had happened, after the wall clock was set `by` so much and shows `now`.

        Forward: what that skipped comes once, at once. Back: an interval goes on where it was, and so does a cron
        that runs often; another's time comes when the clock shows it. After a correction all are reckoned anew.
        """
        for job in self._scheduler.get_jobs() if by < timedelta(0) else ():
            if job.trigger.schedule.cron is None:
                job.modify(next_run_time=job.next_run_time + by)
            elif job.trigger.schedule.is_wildcard or -by > CORRECTION:
                job.modify(next_run_time=job.trigger.get_next_fire_time(None, now))
        self._scheduler.wakeup()
