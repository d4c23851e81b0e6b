"""Regular times while the wall clock is set: APScheduler's thread under a clock that the test moves."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apscheduler.schedulers import base

from syncd.daemon.scheduler import Jobs, Trigger
from syncd.types.schedule import Schedule

MONDAY = datetime(2026, 10, 5, 9, 0, tzinfo=UTC)


class TestTrigger:
    def after(self, trigger: Trigger, previous: datetime | None, now: datetime) -> datetime:
        return trigger.get_next_fire_time(previous, now)

    def test_an_interval_from_the_last_time_not_from_when_it_was_noticed(self):
        trigger = Trigger(Schedule(every="5m"))
        assert self.after(trigger, None, MONDAY) == MONDAY + timedelta(minutes=5)
        assert self.after(trigger, MONDAY, MONDAY + timedelta(seconds=2)) == MONDAY + timedelta(minutes=5)

    @pytest.mark.parametrize("missed", [timedelta(minutes=5), timedelta(hours=9, minutes=3), timedelta(days=20_000)])
    def test_whatever_was_missed_the_next_time_lies_ahead_and_in_step(self, missed):
        trigger = Trigger(Schedule(every="5m"))
        now = MONDAY + timedelta(minutes=5) + missed
        coming = self.after(trigger, MONDAY, now)
        assert now < coming <= now + timedelta(minutes=5)
        assert (coming - MONDAY) % timedelta(minutes=5) == timedelta(0)

    def test_an_interval_at_the_end_of_all_time_does_not_break(self):
        trigger = Trigger(Schedule(every="3650d"))
        late = datetime(9998, 1, 1, tzinfo=UTC)
        assert self.after(trigger, late, late).year == 9999

    def test_cron_goes_on_from_now_when_times_were_missed(self):
        trigger = Trigger(Schedule(cron="0 3 * * *"))
        now = MONDAY + timedelta(days=3)
        assert self.after(trigger, MONDAY, now) == datetime(2026, 10, 9, 3, 0, tzinfo=UTC)

    def test_cron_does_not_come_twice_for_a_clock_that_is_a_little_behind(self):
        trigger = Trigger(Schedule(cron="0 9 * * *"))
        assert self.after(trigger, MONDAY, MONDAY - timedelta(seconds=1)) == MONDAY + timedelta(days=1)


class Wall:
    """The wall clock of APScheduler: the machine's, shifted by the test."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    wall = Wall()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return wall.now().astimezone(tz)

    monkeypatch.setattr(base, "datetime", Clock)
    return wall


class Heard:
    """The names that were due, with their monotonic times."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.came = threading.Condition()

    def __call__(self, name: str) -> None:
        with self.came:
            self.names.append(name)
            self.came.notify_all()

    def wait(self, count: int, *, at_most: float) -> bool:
        with self.came:
            return self.came.wait_for(lambda: len(self.names) >= count, at_most)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def jobs(heard: Heard) -> Iterator[Jobs]:
    jobs = Jobs(heard)
    jobs.start()
    yield jobs
    jobs.stop()
    assert not jobs.is_alive()


def test_each_job_comes_at_its_own_interval(jobs, heard):
    jobs.set({"hubspot": Schedule(every="200ms"), "salesforce": Schedule(every="1h")})
    assert heard.wait(3, at_most=5)
    assert set(heard.names) == {"hubspot"}
    assert jobs.is_alive()


def test_a_clock_that_is_set_back_stops_no_interval(jobs, heard, wall):
    """With APScheduler 3.11.3 alone, no time comes until the clock has caught up."""
    jobs.set({"hubspot": Schedule(every="300ms")})
    assert heard.wait(2, at_most=5)
    wall.ahead -= timedelta(hours=1)
    time.sleep(0.4)  # what was under way comes yet
    count = len(heard.names)
    assert not heard.wait(count + 1, at_most=1), "without a word of ours it stops: this test would see it"
    jobs.clock_was_set(timedelta(hours=-1), wall.now())
    assert heard.wait(count + 3, at_most=3)


def test_a_clock_that_is_set_forward_brings_one_time_at_once_and_no_burst(jobs, heard, wall):
    jobs.set({"hubspot": Schedule(every="10m")})
    wall.ahead += timedelta(days=20_000)
    jobs.clock_was_set(timedelta(days=20_000), wall.now())
    assert heard.wait(1, at_most=3)
    assert not heard.wait(2, at_most=0.5)
    assert timedelta(0) < jobs.next_at(["hubspot"]) - wall.now() <= timedelta(minutes=10)


def test_cron_waits_for_what_the_clock_shows_and_is_reckoned_anew_after_a_correction(jobs, wall):
    jobs.set({"nightly": Schedule(cron="0 3 * * *")})
    first = jobs.next_at(["nightly"])
    wall.ahead -= timedelta(hours=2)
    jobs.clock_was_set(timedelta(hours=-2), wall.now())
    assert jobs.next_at(["nightly"]) == first, "within three hours nothing comes twice"
    wall.ahead -= timedelta(days=400)
    jobs.clock_was_set(timedelta(days=-400), wall.now())
    assert timedelta(0) < jobs.next_at(["nightly"]) - wall.now() <= timedelta(days=1)


@pytest.mark.parametrize("text", ["*/5 * * * *", "30 * * * *", "* 3 * * *"])
def test_a_cron_that_runs_often_goes_on_when_the_clock_is_set_back_a_little(jobs, wall, text):
    """Otherwise no pass would be made until the clock has caught up, for up to three hours, without a log line."""
    jobs.set({"often": Schedule(cron=text)})
    first = jobs.next_at(["often"])
    wall.ahead -= timedelta(hours=2, minutes=45)
    jobs.clock_was_set(timedelta(hours=-2, minutes=-45), wall.now())
    again = jobs.next_at(["often"])
    assert again == Schedule(cron=text).after(wall.now())
    assert again <= first
    if text.startswith("*/5"):
        assert again - wall.now() <= timedelta(minutes=5)


def test_a_new_timetable_replaces_the_old_and_the_same_one_keeps_its_step(jobs):
    jobs.set({"hubspot": Schedule(every="1h"), "salesforce": Schedule(every="1h"), "gone": Schedule(every="1m")})
    before = jobs.next_at(["hubspot"])
    time.sleep(0.01)
    jobs.set({"hubspot": Schedule(every="1h"), "salesforce": Schedule(every="2h")})
    assert jobs.next_at(["hubspot"]) == before
    assert jobs.next_at(["salesforce"]) > before + timedelta(minutes=59)
    assert jobs.next_at(["gone"]) is None
