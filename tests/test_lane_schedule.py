"""When a lane is due again, when a replica looks for one, and whose turn is over."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from syncd.daemon.lane_schedule import (
    AGAIN_S,
    FULL_S,
    IDLE_S,
    PASS_S,
    PATIENCE_S,
    SEND_AGAIN_S,
    LaneEnd,
    Reading,
    after_error,
    coming,
    poll_in_s,
    probe_s,
    regular_s,
    share,
    turns_over,
)
from syncd.types.schedule import Schedule

NOW = datetime(2026, 6, 1, 12, 0, 7, tzinfo=UTC)
FIVE = Schedule(every=timedelta(minutes=5))
DAILY = Schedule(cron="30 2 * * *")


def end(reading: Reading = Reading.WHOLE, **facts: object) -> LaneEnd:
    usual = {
        "could_send": True, "was_cut": False, "failures": 0, "send_in_s": None, "pause_s": 0.0, "recotap_pause_s": 0.0,
    }  # fmt: skip
    return LaneEnd(reading, **{**usual, **facts})  # type: ignore[arg-type]


def due(the_end: LaneEnd, *, regular: float = 300.0, planned: float = 100.0) -> tuple[float, float | None, int]:
    found = coming(the_end, regular_s=regular, planned_s=planned)
    return found.pass_in_s, found.reads_in_s, found.failures


# -- after a pass ---------------------------------------------------------------------------


def test_a_source_that_was_read_is_due_at_its_next_regular_time_and_its_failures_are_forgotten():
    assert due(end(failures=7)) == (300.0, 300.0, 0)


def test_a_source_that_gave_way_goes_on_at_once():
    assert due(end(Reading.CUT)) == (0.0, 0.0, 0)


def test_a_source_that_fails_is_probed_less_and_less_often_unless_its_schedule_comes_first():
    waits = [due(end(Reading.FAILED, failures=before), regular=9e9)[0] for before in range(7)]
    assert waits == [300, 600, 1200, 2400, 3600, 3600, 3600]
    assert due(end(Reading.FAILED, failures=3), regular=60.0) == (60.0, 60.0, 4)
    assert probe_s(10**6) == 3600


@pytest.mark.parametrize("reading", Reading)
def test_no_source_is_read_before_its_pause_is_over(reading):
    assert due(end(reading, pause_s=7000.0))[1] == 7000.0


def test_a_pass_for_the_outbox_alone_leaves_the_time_of_the_source_and_its_failures_as_they_were():
    """Otherwise a source by cron would be read each time that an activity is sent again."""
    assert due(end(Reading.LEFT_OUT, failures=2, send_in_s=30.0)) == (30.0, 100.0, 2)
    assert due(end(Reading.LEFT_OUT), planned=-5.0)[1] == 0.0


def test_an_activity_that_backs_off_is_sent_when_its_time_has_come():
    assert due(end(send_in_s=42.0)) == (42.0, 300.0, 0)
    assert due(end(send_in_s=900.0)) == (300.0, 300.0, 0)


def test_what_stayed_due_waits_unless_the_pass_was_told_to_end():
    assert due(end(send_in_s=-1.0), regular=9e9)[0] == SEND_AGAIN_S
    assert due(end(send_in_s=-1.0, was_cut=True)) == (0.0, 300.0, 0)


def test_nothing_is_sent_while_recotap_pauses():
    assert due(end(send_in_s=-1.0, was_cut=True, recotap_pause_s=120.0))[0] == 120.0
    assert due(end(Reading.CUT, send_in_s=-1.0, recotap_pause_s=120.0))[0] == 0.0, "the source is read meanwhile"


def test_a_recotap_that_fails_is_probed_less_and_less_often_if_something_waits():
    assert due(end(could_send=False, failures=1, send_in_s=-1.0), regular=9e9) == (600.0, 9e9, 2)
    assert due(end(could_send=False, send_in_s=None), regular=9e9) == (9e9, 9e9, 1)


def test_after_an_error_of_the_ledger_the_first_try_comes_soon_and_the_reading_stays_due():
    assert after_error(0, regular_s=9e9).pass_in_s == AGAIN_S
    assert after_error(1, regular_s=9e9).pass_in_s == 300
    assert after_error(5, regular_s=60.0).pass_in_s == 60.0
    assert (after_error(5, regular_s=60.0).reads_in_s, after_error(5, regular_s=60.0).failures) == (None, 6)


# -- regular times --------------------------------------------------------------------------


def test_lanes_with_one_interval_spread_over_it_and_each_keeps_its_place():
    names = [f"org{number}" for number in range(1000)]
    waits = [regular_s(FIVE, name, lasted_s=1.0, now=NOW) for name in names]
    places = sorted((NOW.timestamp() + wait) % 300 for wait in waits)
    assert max(after - before for before, after in pairwise(places)) < 5
    assert all(149 <= wait <= 450 for wait in waits)
    later = NOW + timedelta(seconds=waits[0] + 3)
    again = regular_s(FIVE, names[0], lasted_s=3.0, now=later)
    assert again == pytest.approx(297, abs=0.01), "one interval after the last time, however long the pass took"


def test_a_time_that_came_during_a_pass_is_made_up_at_once_and_once():
    assert regular_s(FIVE, "org1", lasted_s=800.0, now=NOW) == 0.0
    assert regular_s(DAILY, "org1", lasted_s=11 * 3600.0, now=NOW) == 0.0
    assert regular_s(DAILY, "org1", lasted_s=1.0, now=NOW) > 0


def test_cron_is_kept_to_a_minute_and_never_comes_early():
    waits = [regular_s(DAILY, f"org{number}", lasted_s=1.0, now=NOW) for number in range(200)]
    until = (datetime(2026, 6, 2, 2, 30, tzinfo=UTC) - NOW).total_seconds()
    assert min(waits) >= until
    assert max(waits) <= until + 60
    assert max(waits) - min(waits) > 50
    often = [regular_s(Schedule(cron="* * * * *"), f"org{n}", lasted_s=1.0, now=NOW) for n in range(200)]
    assert max(often) <= 53 + 6, "a tenth of the interval"


def test_the_share_of_a_name_is_the_same_in_each_process():
    assert share("hubspot") == pytest.approx(0.5692, abs=1e-4)


# -- looking for lanes ----------------------------------------------------------------------


def test_a_replica_looks_the_less_often_the_fuller_it_is_but_always_within_a_second():
    waits = [poll_in_s(held, 8, found_late_s=None, chance=0.0) for held in range(8)]
    assert waits[0] == IDLE_S
    assert waits == sorted(waits)
    assert waits[7] > 0.75
    assert all(poll_in_s(held, 64, found_late_s=None, chance=1.0) <= FULL_S for held in range(64))
    assert poll_in_s(0, 8, found_late_s=None, chance=1.0) > IDLE_S


def test_after_a_lane_it_leaves_the_next_one_to_an_emptier_replica():
    waits = [poll_in_s(held, 8, found_late_s=0.1, chance=0.5) for held in range(1, 8)]
    assert waits == sorted(waits)
    assert waits[0] < 0.05
    assert waits[-1] > 0.75


def test_a_lane_that_is_late_found_no_emptier_replica_so_the_next_is_taken_at_once():
    assert poll_in_s(7, 8, found_late_s=PATIENCE_S + 0.1, chance=1.0) == 0.0


# -- turns ----------------------------------------------------------------------------------


def test_one_pass_ends_for_each_overdue_lane_and_the_longest_first():
    lasted = {"a": 61.0, "b": 90.0, "c": 10.0, "d": 75.0}
    assert turns_over(lasted, (), overdue=0, turn_s=60.0) == []
    assert turns_over(lasted, (), overdue=2, turn_s=60.0) == ["b", "d"]
    assert turns_over(lasted, ("b",), overdue=2, turn_s=60.0) == ["d"]
    assert turns_over(lasted, ("b", "d"), overdue=1, turn_s=60.0) == []
    assert turns_over(lasted, (), overdue=99, turn_s=60.0) == ["b", "d", "a"]


def test_a_pass_ends_after_five_minutes_even_if_no_lane_waits():
    assert turns_over({"a": PASS_S, "b": 299.0}, (), overdue=0, turn_s=60.0) == ["a"]
    assert turns_over({"a": PASS_S}, ("a",), overdue=0, turn_s=60.0) == []
