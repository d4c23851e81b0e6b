"""The times of passes, through both clock changes of a year, and with all that cron allows."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from syncd.types.schedule import Schedule

BERLIN = "Europe/Berlin"


def times(when: Schedule, since: str, count: int) -> list[str]:
    """Return the next times after `since` (UTC), as day and time in UTC."""
    at, found = datetime.fromisoformat(since).replace(tzinfo=UTC), []
    for _ in range(count):
        at = when.after(at)
        found.append(f"{at:%d %H:%M}")
    return found


def cron(text: str, timezone: str = BERLIN) -> Schedule:
    return Schedule(cron=text, timezone=timezone)


class TestEvery:
    def test_an_interval_later(self):
        assert times(Schedule(every="5m"), "2026-10-05 09:00", 2) == ["05 09:05", "05 09:10"]

    def test_daylight_saving_does_not_touch_it(self):
        spring = datetime(2027, 3, 28, 0, 50, tzinfo=UTC).astimezone(ZoneInfo(BERLIN))
        autumn = datetime(2027, 10, 31, 0, 50, tzinfo=UTC).astimezone(ZoneInfo(BERLIN))
        for at in (spring, autumn):
            assert Schedule(every="15m").after(at) - at == timedelta(minutes=15)

    def test_without_a_word_of_its_own_it_says_nothing_and_means_five_minutes(self):
        assert not Schedule().is_set
        assert not Schedule.model_validate({"every": "", "cron": ""}).is_set
        assert str(Schedule()) == "every 5m"


class TestCron:
    def test_in_its_time_zone(self):
        assert times(cron("30 2 * * *", "America/New_York"), "2026-07-01 00:00", 2) == ["01 06:30", "02 06:30"]

    @pytest.mark.parametrize(
        ("text", "at_the_change", "day_after"),
        [("30 2 * * *", "28 01:00", "29 00:30"), ("0 3 * * *", "28 01:00", "29 01:00")],
    )
    def test_a_time_that_spring_skips_comes_when_the_hour_is_over(self, text, at_the_change, day_after):
        assert times(cron(text), "2027-03-27 12:00", 2) == [at_the_change, day_after]

    def test_a_time_that_autumn_repeats_comes_once(self):
        assert times(cron("30 2 * * *"), "2027-10-30 12:00", 2) == ["31 00:30", "01 01:30"]

    def test_what_runs_often_goes_on_through_the_skipped_hour(self):
        assert times(cron("*/30 * * * *"), "2027-03-28 00:00", 3) == ["28 00:30", "28 01:00", "28 01:30"]

    def test_what_runs_often_goes_on_through_the_repeated_hour(self):
        """APScheduler's own trigger never leaves it."""
        expected = ["31 00:00", "31 00:30", "31 01:00", "31 01:30", "31 02:00"]
        assert times(cron("*/30 * * * *"), "2027-10-30 23:45", 5) == expected

    @pytest.mark.parametrize("zone", [BERLIN, "Australia/Lord_Howe", "America/New_York", "UTC"])
    @given(hours=st.integers(0, 24 * 366), text=st.sampled_from(["*/7 * * * *", "15 2 * * *", "0 1-3 * * *"]))
    def test_each_time_is_later_than_the_one_before_and_never_long_in_coming(self, zone, hours, text):
        at = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
        coming = cron(text, zone).after(at)
        assert at < coming <= at + timedelta(hours=26)

    @pytest.mark.parametrize(
        ("text", "weekday"),
        [
            ("0 9 * * 0", "Sun"),
            ("0 9 * * 7", "Sun"),
            ("0 9 * * 1", "Mon"),
            ("0 9 * * sun", "Sun"),
            ("0 9 * * 6", "Sat"),
        ],
    )
    def test_weekdays_are_crontabs(self, text, weekday):
        at = cron(text).after(datetime(2026, 10, 5, tzinfo=UTC))
        assert f"{at:%a}" == weekday

    def test_a_day_of_the_month_and_one_of_the_week_are_either_of_them(self):
        """crontab(5): if both are given, one of them is enough."""
        assert times(cron("0 12 13 * fri", "UTC"), "2026-10-05 00:00", 3) == ["09 12:00", "13 12:00", "16 12:00"]

    def test_a_day_that_no_month_has_is_a_mistake(self):
        with pytest.raises(ValidationError, match="never matches"):
            cron("0 0 31 2 *")
        assert times(cron("0 0 29 2 *", "UTC"), "2026-01-01 00:00", 1) == ["29 00:00"]

    def test_the_third_time_from_now(self):
        at = datetime(2026, 10, 5, 9, 2, tzinfo=UTC)
        assert cron("*/5 * * * *").nth_after(at, 3) == datetime(2026, 10, 5, 9, 15, tzinfo=UTC)
        assert str(cron("*/5 * * * *")) == "cron */5 * * * * Europe/Berlin"
