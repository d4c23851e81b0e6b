"""A connector's retry budget: three tries a request, and a minute of failures in a row."""

from syncd.errors import Unavailable
from syncd.http.response import FAILING_MAX_S, TRIES, Failure
from syncd.http.retry import RetryBudget

PASSES = Failure(Unavailable("busy"), wait_s=0.5)


def test_a_request_is_tried_three_times_and_once_when_retrying_has_stopped():
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
