"""A server's clock by its Date: whether it moves, whether it counts, and when it confirms the local clock."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import product

import pytest

from syncd.http.server_clock import (
    AGREES_S,
    LOOK_AGAIN_S,
    ClockReport,
    ServerClock,
    complaint,
    is_confirmed,
    wrong_by_s,
)

NOW = datetime(2026, 10, 5, 9, tzinfo=UTC)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


class Rig:
    """One server and one local clock. A response takes no time by default."""

    def __init__(self, kept=None) -> None:
        self.at = NOW
        self.clock = ServerClock(lambda: self.at, kept)

    def hear(self, date: datetime | str | None, *, after: timedelta = timedelta(0), took_s: float = 0.0) -> None:
        """Advance the local clock, then learn from a response with this Date."""
        self.at += after
        sent_at = self.at
        self.at += timedelta(seconds=took_s)
        written = format_datetime(date, usegmt=True) if isinstance(date, datetime) else date
        headers = {} if written is None else {"date": written}
        self.clock.learn(headers, local_start=sent_at, elapsed_s=took_s)

    def next_pass(self) -> "Rig":
        rig = Rig(self.clock.to_keep())
        rig.at = self.at
        return rig


@pytest.mark.parametrize("ahead", [timedelta(0), 2 * DAY / 24, -2 * DAY / 24, 365 * DAY])
@pytest.mark.parametrize("gap_s", [1, 3, 300, 86_400])
def test_a_date_that_advances_like_the_local_clock_moves(ahead, gap_s):
    rig = Rig()
    rig.hear(NOW + ahead)
    rig.hear(NOW + ahead + gap_s * SECOND, after=gap_s * SECOND)
    assert rig.clock.moves is True
    assert rig.clock.now() == rig.at + ahead
    later = rig.next_pass()
    later.hear(NOW + ahead + gap_s * SECOND + 5 * MINUTE, after=5 * MINUTE)
    assert later.clock.moves is True


@pytest.mark.parametrize("other_pass", [False, True])
def test_the_same_date_three_seconds_later_stands_still_and_is_not_believed(other_pass):
    rig = Rig()
    rig.hear(NOW - DAY)
    assert rig.clock.started_at == NOW - DAY, "one response cannot tell"
    rig = rig.next_pass() if other_pass else rig
    started = rig.at
    rig.hear(NOW - DAY, after=timedelta(seconds=LOOK_AGAIN_S))
    assert rig.clock.moves is False
    assert rig.clock.now() == rig.clock.certain_now() == rig.at
    assert rig.clock.started_at == (rig.at if other_pass else started)
    assert not rig.clock.report("x").agrees


def test_the_same_date_within_three_seconds_tells_nothing():
    rig = Rig()
    rig.hear(NOW)
    rig.hear(NOW, after=0.9 * SECOND)
    rig.hear(NOW, after=SECOND, took_s=30)  # sent in time: a slow response is no proof
    assert rig.clock.moves is None


def test_a_date_that_stood_still_is_believed_again_once_it_advances():
    rig = Rig()
    rig.hear(NOW)
    rig.hear(NOW, after=5 * MINUTE)
    assert rig.clock.moves is False
    rig.hear(rig.at, after=timedelta(0))
    rig.hear(rig.at + 10 * SECOND, after=10 * SECOND)
    assert rig.clock.moves is True


def test_a_quick_pass_does_not_forget_that_a_date_stands_still():
    rig = Rig()
    rig.hear(NOW)
    rig.hear(NOW, after=5 * MINUTE)
    again = rig.next_pass()
    again.hear(NOW, after=SECOND)
    assert again.clock.moves is False


@pytest.mark.parametrize("by", [365 * DAY, -365 * DAY, DAY, -DAY])
@pytest.mark.parametrize("which", ["local", "server"])
def test_after_either_clock_was_set_nothing_is_known_until_it_advances_again(by, which):
    rig = Rig()
    rig.hear(NOW)
    rig.hear(NOW + 10 * SECOND, after=10 * SECOND)
    date = NOW + 20 * SECOND + (by if which == "server" else timedelta(0))
    rig.hear(date, after=10 * SECOND + (by if which == "local" else timedelta(0)))
    assert rig.clock.moves is None
    assert rig.clock.doubtful
    rig.hear(date + 10 * SECOND, after=10 * SECOND)
    assert rig.clock.moves is True


def test_several_servers_behind_one_address_may_be_a_second_apart():
    rig = Rig()
    rig.hear(NOW)
    for number in range(1, 20):
        rig.hear(NOW + number * SECOND - number % 2 * SECOND, after=SECOND)
        assert rig.clock.moves is not False


def test_a_cache_that_holds_a_date_for_a_minute_moves_in_the_long_run():
    rig = Rig()
    for minute in range(0, 30, 5):
        rig = rig.next_pass()
        rig.hear(NOW + minute * MINUTE - (minute % 2) * 30 * SECOND, after=timedelta(0) if not minute else 5 * MINUTE)
    assert rig.clock.moves is True


@pytest.mark.parametrize("ahead", [365 * DAY, -365 * DAY])
def test_in_doubt_the_earlier_clock_decides_what_cannot_be_taken_back(ahead):
    rig = Rig()
    rig.hear(NOW + ahead)
    assert rig.clock.certain_now() == min(NOW, NOW + ahead)
    assert rig.clock.now() == NOW + ahead, "a window's end may be wrong: nothing is lost by it"
    assert rig.clock.spacing_s() == LOOK_AGAIN_S
    assert rig.clock.spacing_s() == 0, "once a pass"
    rig.hear(NOW + ahead + 3 * SECOND, after=3 * SECOND)
    assert rig.clock.certain_now() == rig.at + ahead


def test_a_clock_that_agrees_makes_nobody_wait():
    rig = Rig()
    rig.hear(NOW + timedelta(seconds=AGREES_S))
    assert rig.clock.spacing_s() == 0


@pytest.mark.parametrize(
    "date", [None, "", "soon", "Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -2359",
             "Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 05 Oct 2026 09:00:00", "Mon, 99 Oct 2026 09:00:00 GMT"],
)  # fmt: skip
def test_what_is_no_date_is_none(date):
    rig = Rig()
    rig.hear(date)
    assert (rig.clock.now(), rig.clock.started_at, rig.clock.report("x")) == (NOW, NOW, ClockReport("x", None, None))
    assert rig.clock.to_keep() is None


@pytest.mark.parametrize(
    "kept", [None, 7, {}, {"date": "x", "at": "y", "moves": True, "skew_s": 1}, {"date": 1, "at": 2, "moves": 3}, []]
)
def test_what_was_kept_and_cannot_be_read_is_nothing(kept):
    assert Rig(kept).clock.moves is None


def test_a_server_that_was_not_asked_in_this_pass_confirms_nothing():
    rig = Rig()
    rig.hear(NOW)
    assert rig.next_pass().clock.report("x") is None


SKEWS = (None, 0.0, AGREES_S, -AGREES_S, AGREES_S + 1, -AGREES_S - 1, 7200.0)


@pytest.mark.parametrize(("skew_s", "moves"), list(product(SKEWS, (True, None, False))))
def test_one_server_confirms_the_local_clock_if_it_agrees_and_does_not_stand_still(skew_s, moves):
    told = ClockReport("x", skew_s, moves)
    expected = skew_s is not None and abs(skew_s) <= AGREES_S and moves is not False
    assert is_confirmed([told]) is is_confirmed([ClockReport("y", 7200.0, True), told]) is expected
    assert bool(complaint(told)) is not expected


@pytest.mark.parametrize(
    ("skews", "by_s"),
    [
        ([7200.0, 7210.0], 7210.0), ([-7200.0, -7200.0, -7000.0], -7200.0), ([7200.0], None), ([], None),
        ([7200.0, 0.0], None), ([7200.0, -7200.0], None), ([7200.0, 86_400.0], None), ([None, 7200.0], None),
    ],
)  # fmt: skip
def test_the_local_clock_is_wrong_if_all_servers_agree_on_that(skews, by_s):
    assert wrong_by_s([ClockReport(str(number), skew, True) for number, skew in enumerate(skews)]) == by_s


@pytest.mark.parametrize(("elapsed_s", "before_s"), [(0.2, 0.2), (9.0, 1.0)])
def test_the_clock_is_the_answers_and_the_pass_began_before_it_but_a_second_at_most(elapsed_s, before_s):
    local = NOW - timedelta(hours=1)
    clock = ServerClock(lambda: local)
    assert (clock.now(), clock.started_at) == (local, None)
    clock.learn({"date": "Mon, 05 Oct 2026 09:00:00 GMT"}, local_start=local, elapsed_s=elapsed_s)
    assert (clock.now(), clock.started_at) == (NOW, NOW - timedelta(seconds=before_s))
    clock.learn({"date": "Mon, 05 Oct 2026 09:10:00 GMT"}, local_start=local, elapsed_s=0)
    assert (clock.now(), clock.started_at) == (NOW + timedelta(minutes=10), NOW - timedelta(seconds=before_s))


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 -2359", "soon", ""])
def test_an_absurd_date_is_none(date):
    clock = ServerClock(lambda: NOW)
    clock.learn({"date": date}, local_start=NOW, elapsed_s=0)
    assert clock.now() == NOW


def test_without_a_date_the_local_clock_tells_the_start():
    clock = ServerClock(lambda: NOW)
    clock.learn({}, local_start=NOW - timedelta(seconds=3), elapsed_s=3)
    assert (clock.now(), clock.started_at) == (NOW, NOW - timedelta(seconds=3))
