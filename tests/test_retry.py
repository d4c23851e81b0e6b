"""A connector's retry budget: three tries a request, and a minute of failures in a row."""

from datetime import UTC, datetime, timedelta

import pytest

from syncd.errors import Unavailable
from syncd.http.response import FAILING_MAX_S, TRIES, Failure
from syncd.http.retry import RetryBudget
from syncd.http.server_clock import ServerClock

NOW = datetime(2026, 10, 5, 9, tzinfo=UTC)
PASSES = Failure(Unavailable("busy"), wait_s=0.5)


def test_a_request_is_tried_three_times_and_once_once_when_retrying_has_stopped():
    budget = RetryBudget(lambda: 0.0)
    assert [budget.exhausted(PASSES, attempt=n, began=0.0) for n in range(1, TRIES + 1)] == [False, False, True]
    budget.stop_retrying()
    assert budget.exhausted(PASSES, attempt=1, began=0.0)


def test_what_another_try_does_not_mend_is_not_tried_again():
    assert RetryBudget(lambda: 0.0).exhausted(Failure(Unavailable("refused")), attempt=1, began=0.0)


def test_a_minute_of_failures_in_a_row_is_enough_and_one_success_between_them_begins_it_anew():
    at = FAILING_MAX_S - 1
    budget = RetryBudget(lambda: at)
    assert not budget.exhausted(PASSES, attempt=1, began=0.0)
    at += 2
    assert budget.exhausted(PASSES, attempt=1, began=at)
    budget.record_success()
    assert not budget.exhausted(PASSES, attempt=1, began=at)


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
