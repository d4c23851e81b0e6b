"""When an activity's turn comes again, and which stretch of the CRM's time a pass reads."""

import time
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd import clock
from syncd.lifecycle import timing
from syncd.passes import windows
from tests.ledgers import DAY, HOUR, MINUTE, NOW, SECOND, Ticking

MS = timedelta(milliseconds=1)
START = NOW - 300 * DAY
waits = st.timedeltas(min_value=timedelta(0), max_value=29 * DAY)


def look_up_at(age, *, occurred_at=None, due_at=None):
    """Return the age at which an activity that has waited for `age` is looked up next."""
    since = NOW - age
    return timing.look_up_at(waiting_since=since, occurred_at=occurred_at, due_at=due_at, now=NOW) - since


class TestLookUps:
    @pytest.mark.parametrize(
        ("age", "next_age"),
        [
            (timedelta(0), 15 * MINUTE),
            (14 * MINUTE, 15 * MINUTE),
            (15 * MINUTE, HOUR),
            (59 * MINUTE, HOUR),
            (HOUR, 6 * HOUR),
            (6 * HOUR, DAY),
            (DAY - MS, DAY),
            (DAY, 2 * DAY),
            (DAY + MS, 2 * DAY),
            (2 * DAY, 3 * DAY),
            (20 * DAY + 5 * HOUR, 21 * DAY),
        ],
    )
    def test_they_come_after_a_quarter_of_an_hour_an_hour_six_hours_and_then_daily_by_age(self, age, next_age):
        assert look_up_at(age) == next_age

    def test_a_whole_wait_costs_some_thirty_look_ups(self):
        clock, count = Ticking(), 0
        gives_up_at = timing.gives_up_at(waiting_since=NOW, occurred_at=None)
        while clock() < gives_up_at:
            clock.now = timing.look_up_at(waiting_since=NOW, occurred_at=None, due_at=None, now=clock())
            count += 1
        assert count == 33
        assert clock() == gives_up_at

    def test_a_pass_that_comes_late_does_not_push_the_next_look_up_back(self):
        assert look_up_at(5 * HOUR) == 6 * HOUR

    def test_what_settles_earlier_is_looked_up_when_it_settles(self):
        assert look_up_at(timedelta(0), due_at=NOW + 10 * MINUTE) == 10 * MINUTE

    def test_what_settles_later_is_looked_up_on_the_way_too(self):
        assert look_up_at(timedelta(0), due_at=NOW + 4 * HOUR) == 15 * MINUTE

    def test_what_only_settles_is_looked_up_once_unless_that_takes_more_than_a_day(self):
        def at(due_in):
            since = NOW - MINUTE
            return timing.look_up_at(
                waiting_since=since, occurred_at=None, due_at=NOW + due_in, now=NOW, settles=True
            ) - NOW  # fmt: skip

        assert at(4 * HOUR) == 4 * HOUR
        assert at(3 * DAY) == DAY - MINUTE
        assert at(-SECOND) == 14 * MINUTE, "it should have settled and has not"

    @pytest.mark.parametrize("due_at", [NOW, NOW - SECOND])
    def test_what_should_have_settled_and_has_not_falls_back_to_the_schedule(self, due_at):
        assert look_up_at(HOUR, due_at=due_at) == 6 * HOUR

    def test_the_last_look_up_is_the_moment_of_giving_up(self):
        assert look_up_at(29 * DAY + 12 * HOUR, occurred_at=NOW - 100 * DAY) == 30 * DAY
        assert look_up_at(30 * DAY, occurred_at=NOW - 29 * DAY - 18 * HOUR) == 30 * DAY + 6 * HOUR

    @given(waits, st.none() | st.timedeltas(min_value=-DAY, max_value=DAY))
    def test_the_next_one_is_ahead_and_at_most_a_day_away(self, age, due_in):
        due_at = None if due_in is None else NOW + due_in
        step = look_up_at(age, due_at=due_at) - age
        assert timedelta(0) < step <= DAY


class TestGivingUp:
    def test_thirty_days_after_first_sight(self):
        assert timing.gives_up_at(waiting_since=NOW, occurred_at=NOW - 90 * DAY) == NOW + 30 * DAY

    def test_thirty_days_after_an_event_that_lies_ahead(self):
        assert timing.gives_up_at(waiting_since=NOW, occurred_at=NOW + 10 * DAY) == NOW + 40 * DAY

    def test_of_what_happened_at_an_unknown_time_after_first_sight(self):
        assert timing.gives_up_at(waiting_since=NOW, occurred_at=None) == NOW + 30 * DAY


class TestBackOff:
    @pytest.mark.parametrize(
        ("refusals", "minutes"),
        [(1, 5), (2, 10), (3, 20), (4, 40), (5, 80), (6, 160), (7, 320), (8, 360), (9, 360), (11, 360), (9999, 360)],
    )
    def test_it_begins_at_five_minutes_and_doubles_up_to_six_hours(self, refusals, minutes):
        assert timing.back_off(refusals=refusals, random=lambda: 0.0) == minutes * MINUTE

    def test_jitter_adds_up_to_a_tenth(self):
        assert timing.back_off(refusals=1, random=lambda: 0.5) == 5 * MINUTE * 1.05
        assert timing.back_off(refusals=20, random=lambda: 1.0) == 6 * HOUR * 1.1


class TestWindow:
    def since(self, **given):
        facts = {"watermark": NOW - HOUR, "swept_at": NOW - 2 * HOUR, "sweep": False}
        return windows.window_since(start=START, overlap=15 * MINUTE, now=NOW, **(facts | given))

    def test_it_reaches_back_over_the_overlap(self):
        assert self.since() == NOW - HOUR - 15 * MINUTE

    def test_the_first_one_begins_at_the_start(self):
        assert self.since(watermark=None, swept_at=None) == START
        assert self.since(watermark=None, swept_at=None, sweep=True) == START

    def test_a_sweep_reaches_a_day_before_the_previous_one_however_long_ago_that_was(self):
        assert self.since(sweep=True, swept_at=NOW - 20 * DAY) == NOW - 21 * DAY

    def test_the_first_sweep_reaches_two_days_back(self):
        assert self.since(sweep=True, swept_at=None) == NOW - 48 * HOUR

    def test_a_sweep_that_a_wrong_clock_booked_ahead_counts_as_none(self):
        assert self.since(swept_at=NOW + 365 * DAY, sweep=True) == NOW - 2 * DAY

    def test_a_sweep_never_reaches_less_far_than_the_overlap(self):
        assert self.since(sweep=True, watermark=NOW - 9 * DAY) == NOW - 9 * DAY - 15 * MINUTE

    @pytest.mark.parametrize(
        "given",
        [
            {"watermark": START + MINUTE},
            {"watermark": START, "sweep": True, "swept_at": START + HOUR},
            {"watermark": START + DAY, "sweep": True, "swept_at": START + DAY - SECOND},
        ],
    )
    def test_nothing_reaches_before_the_start(self, given):
        assert self.since(**given) == START


class TestSweep:
    @pytest.mark.parametrize(
        ("ago", "is_due"), [(None, True), (DAY, True), (3 * DAY, True), (DAY - MS, False), (timedelta(0), False)]
    )
    def test_it_is_due_once_a_day_and_at_once_where_there_was_none(self, ago, is_due):
        swept_at = None if ago is None else NOW - ago
        assert windows.sweep_due(swept_at=swept_at, now=NOW) is is_due

    @given(st.lists(st.timedeltas(min_value=SECOND, max_value=40 * DAY), min_size=1, max_size=20))
    def test_a_row_that_shows_up_less_than_a_day_late_is_read_however_irregular_the_passes(self, pauses):
        """Each instant less than 24 h before a pass lies in that pass's window, or in that of a later sweep."""
        clock, swept_at, spans = Ticking(), None, []
        for pause in pauses:
            sweep = windows.sweep_due(swept_at=swept_at, now=clock())
            since = windows.window_since(
                start=START, overlap=15 * MINUTE, watermark=clock(), swept_at=swept_at, sweep=sweep, now=clock()
            )
            spans.append((clock(), since, sweep))
            swept_at = clock() if sweep else swept_at
            clock.tick(pause)
        sweeps = [(at, since) for at, since, sweep in spans if sweep]
        for (before, _), (_, since) in pairwise(sweeps):
            assert since <= before - DAY


class TestClock:
    def test_text_is_fixed_width_utc_so_that_its_order_is_the_order_of_time(self):
        east = clock.instant("2026-06-01T14:00:00.000+02:00")
        assert clock.text(east) == "2026-06-01T12:00:00.000Z"
        assert len(clock.text(east)) == clock.WIDTH

    @given(st.datetimes(timezones=st.just(NOW.tzinfo)), st.datetimes(timezones=st.just(NOW.tzinfo)))
    def test_a_written_instant_reads_back_to_the_millisecond_and_sorts_as_it_did(self, one, other):
        back = clock.instant(clock.text(one))
        assert timedelta(0) <= one - back < MS
        assert back.tzinfo is not None
        assert (clock.text(one) < clock.text(other)) == (back < clock.instant(clock.text(other)))

    def test_it_is_the_same_wherever_the_machine_stands(self, monkeypatch):
        monkeypatch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        try:
            assert clock.text(NOW) == "2026-06-01T12:00:00.000Z"
            assert clock.now().utcoffset() == timedelta(0)
        finally:
            monkeypatch.undo()
            time.tzset()

    def test_fractions_of_a_millisecond_are_cut_off_never_rounded_up(self):
        assert clock.text(NOW + timedelta(microseconds=1999)) == "2026-06-01T12:00:00.001Z"

    def test_nothing_stays_nothing(self):
        assert clock.optional_text(None) is None
        assert clock.optional_instant(None) is None
        assert clock.optional_instant(clock.optional_text(NOW)) == NOW

    def test_now_is_aware_and_utc(self):
        assert clock.now().utcoffset() == timedelta(0)
