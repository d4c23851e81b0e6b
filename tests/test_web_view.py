"""What the status page shows, computed from documents: pure functions without a server."""

from datetime import UTC, date, datetime, timedelta

import pytest

from syncd import clock
from syncd.lifecycle.states import State
from syncd.types.schedule import Schedule
from syncd.web import view
from syncd.web.charts import HEIGHT, WIDTH, ceiling, chart
from syncd.web.pace import Pace
from syncd.web.render import code

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
EVERY = view.Reading(Schedule(every=timedelta(minutes=5)), ["calls"], frozenset())


class TestTheChart:
    def test_each_of_the_last_days_has_a_bar_as_high_as_its_share(self):
        found = chart({"2026-11-28": 20, "2026-11-27": 5, "2026-08-30": 99}, date(2026, 11, 28))
        assert len(found.bars) == 90
        assert (found.bars[0].day, found.bars[-1].day) == (date(2026, 8, 31), date(2026, 11, 28))
        assert found.total == 25, "without the day before the first"
        assert (found.top, found.busiest.day) == (20, date(2026, 11, 28))
        last, before = found.bars[-1], found.bars[-2]
        assert (last.height, last.y) == (HEIGHT, 0)
        assert before.height == HEIGHT / 4
        assert before.y + before.height == HEIGHT, "it stands on the ground"
        assert last.x + last.width < WIDTH
        assert before.x + before.width < last.x

    def test_one_delivery_among_thousands_is_visible_and_none_is_not(self):
        found = chart({"2026-11-28": 90_000, "2026-11-27": 1}, date(2026, 11, 28))
        assert found.bars[-2].height > 1
        assert found.bars[-3].height == 0

    @pytest.mark.parametrize(
        ("most", "top"),
        [(0, 0), (1, 1), (2, 2), (3, 5), (6, 10), (10, 10), (11, 20), (99, 100), (101, 200), (5001, 10000)],
    )
    def test_the_scale_ends_at_a_round_number(self, most, top):
        assert ceiling(most) == top


class TestFreshness:
    @pytest.mark.parametrize(
        ("ago", "wanted"),
        [(timedelta(minutes=4), ("ok", "fresh")), (timedelta(minutes=14), ("ok", "fresh")),
         (timedelta(minutes=16), ("needs_you", "late"))],
    )  # fmt: skip
    def test_three_intervals_of_its_schedule_are_late(self, ago, wanted):
        assert view.freshness("calls", clock.text(NOW - ago), EVERY, is_paused=False, now=NOW) == wanted

    def test_a_cause_is_told_before_the_age(self):
        old = clock.text(NOW - timedelta(days=9))
        unread = EVERY._replace(unread=frozenset(["calls"]))
        assert view.freshness("calls", old, None, is_paused=False, now=NOW)[1] == "not configured"
        assert view.freshness("calls", old, unread, is_paused=False, now=NOW)[1] == "not read"
        assert view.freshness("calls", old, EVERY, is_paused=True, now=NOW)[1] == "paused"
        assert view.freshness("calls", None, EVERY, is_paused=False, now=NOW)[1] == "not read to its end yet"


def day(back, since, within, n):
    return {"day": (NOW - timedelta(days=back)).date().isoformat(), "since": since, "within": within, "n": n}


class TestLateness:
    def test_a_bound_has_the_share_of_all_that_came_within_it(self):
        days = [day(0, "seen", 10, 3), day(6, "seen", 300, 1), day(0, "occurred", 14_400, 4), day(7, "seen", 10, 999)]
        found = {each["bound"]: (each["seen"], each["occurred"]) for each in view.lateness(days, NOW)}
        assert found["1 minute"] == (0.75, 0)
        assert found["5 minutes"] == (1, 0)
        assert found["4 hours"] == (1, 1)

    def test_nothing_is_told_of_nothing(self):
        assert view.lateness([], NOW) == []
        assert view.lateness([day(0, "seen", 10, 1)], NOW)[0]["occurred"] is None


def test_causes_come_with_their_remedy_most_first_and_waits_are_none():
    reasons = {"pending": {"failed": 2, "refused": 0}, "dead": {"no_domain": 7}, "excluded": {"internal": 50},
               "incomplete": {"settling": 90, "no_contact": 5, "redacted": 1}}  # fmt: skip
    counts = dict.fromkeys([state.value for state in State], 0) | {"skipped": 3}
    found = view.causes({"reasons": reasons, "activities": counts})
    assert [(each["cause"], each["count"]) for each in found] == [
        ("no_domain", 7), ("no_contact", 5), ("skipped", 3), ("failed", 2), ("redacted", 1)
    ]  # fmt: skip
    assert all(each["remedy"] and each["meaning"] for each in found)
    assert "syncd retry --reason no_domain" in found[0]["remedy"]


def test_a_long_list_of_unread_kinds_is_cut_and_the_rest_counted():
    found = [{"source": "crm", "what": str(n), "count": n, "looks_like": "call" if n % 2 else None} for n in range(40)]
    shown = view.unread(found)
    assert [each["count"] for each in shown["kinds"]] == [39, 37, 35, 33, 31, 29, 27, 25, 23, 21]
    assert shown["others"] == sum(range(40)) - 300


class TestText:
    def test_a_command_is_marked_and_all_else_is_escaped(self):
        assert code("run `a <b>` & <i>") == "run <code>a &lt;b&gt;</code> &amp; &lt;i&gt;"
        assert code("a ` alone <b>") == "a ` alone &lt;b&gt;"

    def test_a_time_is_shortened_and_a_control_character_shown(self):
        assert code("at 2026-11-28T12:00:01.234Z\x1b[1m") == "at 2026-11-28 12:00:01\\x1b[1m"


class TestPace:
    def test_a_burst_goes_at_once_then_so_many_a_second_and_none_waits_too_long(self):
        pace = Pace(10, burst=5, most_wait_s=1.0)
        waits = [pace.wait_s(100.0) for _ in range(20)]
        assert waits[:5] == [0, 0, 0, 0, 0]
        assert [round(wait, 6) for wait in waits[5:15]] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
        assert waits[15:] == [None] * 5

    def test_a_refused_request_takes_no_turn_and_a_pause_restores_the_burst(self):
        pace = Pace(10, burst=2, most_wait_s=0.0)
        assert [pace.wait_s(5.0) for _ in range(4)] == [0, 0, None, None]
        assert pace.wait_s(5.1) == 0
        assert [pace.wait_s(9.0) for _ in range(3)] == [0, 0, None]
