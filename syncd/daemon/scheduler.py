"""Run APScheduler: call back at each regular time, even if the wall clock is set.

APScheduler uses only the wall clock. If that is set back, a job would wait until it has caught up, for hours or years.
`clock_was_set` corrects this. Our own trigger replaces its two: all missed times are made up by one, and cron is
Debian's (see syncd.types.schedule).
"""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from syncd import clock
from syncd.types.schedule import EVERY, Schedule

# cron(8): a larger change of the clock is a correction, after which times are computed again.
CORRECTION = timedelta(hours=3)


class Trigger(BaseTrigger):  # type: ignore[misc] # published without types
    """Fire by a schedule. The next time is always in the future, in step with the first one."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """Return the next time, in UTC. `previous` is the last one, None at first."""
        if previous is None or self.schedule.cron:
            return self.schedule.after(max(previous or now, now))
        every = self.schedule.every or EVERY
        coming = clock.later(previous, every)
        return coming if coming > now else now + every - (now - coming) % every


class Jobs:
    """Call `due` with a job's name at each of its times, in the scheduler's thread. `due` must return quickly."""

    def __init__(self, due: Callable[[str], None]) -> None:
        self._due = due
        self._scheduler = BackgroundScheduler(
            executors={"default": DebugExecutor()}, timezone=UTC,
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )  # fmt: skip

    def start(self) -> None:
        """Start the scheduler's thread."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop the thread. `due` is not called again."""
        self._scheduler.shutdown(wait=False)

    def set(self, schedules: Mapping[str, Schedule]) -> None:
        """Set the jobs to exactly these. One whose schedule is unchanged keeps its next time."""
        for job in self._scheduler.get_jobs():
            if schedules.get(job.id) != job.trigger.schedule:
                job.remove()
        kept = {job.id for job in self._scheduler.get_jobs()}
        for name, schedule in schedules.items():
            if name not in kept:
                self._scheduler.add_job(self._due, Trigger(schedule), args=[name], id=name, name=name)

    def next_at(self, names: Collection[str]) -> datetime | None:
        """Return the next time among the jobs `names`, in UTC. None if there is no such job."""
        jobs = [job for job in self._scheduler.get_jobs() if job.id in names]
        return min((job.next_run_time for job in jobs), default=None)

    def is_alive(self) -> bool:
        """Tell whether the scheduler's thread is running."""
        thread: Any = self._scheduler._thread  # there is no public way
        return thread is not None and thread.is_alive()

    def clock_was_set(self, by: timedelta, now: datetime) -> None:
        """Adapt the jobs after the wall clock was set by `by` and now shows `now`.

        Forward: skipped times are made up by one, at once. Back: an interval continues undisturbed, and so does a
        frequent cron. Any other cron waits until the clock shows its time, unless the change is a correction, after
        which all times are computed again.
        """
        for job in self._scheduler.get_jobs() if by < timedelta(0) else ():
            if job.trigger.schedule.cron is None:
                job.modify(next_run_time=job.next_run_time + by)
            elif job.trigger.schedule.is_wildcard or -by > CORRECTION:
                job.modify(next_run_time=job.trigger.get_next_fire_time(None, now))
        self._scheduler.wakeup()
