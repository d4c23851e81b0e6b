"""The circuit breaker by itself: which POSTs it permits after which results."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.passes.breaker import PROBE_AFTER_S, Breaker, Circuit


class Rig:
    """A breaker with a clock that the test moves and jitter that it chooses."""

    def __init__(self, limit: int = 4, jitter: float = 0.0) -> None:
        self.at_s = 100.0
        self.breaker = Breaker(limit, monotonic=lambda: self.at_s, random=lambda: jitter)

    def closed(self) -> Breaker:
        self.breaker.record_success(probe=True)
        return self.breaker


def test_a_pass_begins_half_open_with_one_post():
    breaker = Rig().breaker
    assert (breaker.state, breaker.failing, breaker.has_answered) == (Circuit.HALF_OPEN, False, False)
    assert breaker.permits(0)
    assert not breaker.permits(1)


def test_an_answer_to_the_probe_closes_it_and_the_limit_holds():
    breaker = Rig(limit=3).closed()
    assert breaker.state is Circuit.CLOSED
    assert [breaker.permits(count) for count in range(5)] == [True, True, True, False, False]


def test_an_outage_opens_it_until_the_wait_is_over_and_then_one_probe_passes():
    rig = Rig(jitter=0.5)
    breaker = rig.closed()
    breaker.record_failure(retry_after_s=0)
    assert (breaker.state, breaker.failing) == (Circuit.OPEN, True)
    assert breaker.wait_s() == pytest.approx(1.5 * PROBE_AFTER_S)
    assert not any(breaker.permits(count) for count in range(5))
    rig.at_s += 1.5 * PROBE_AFTER_S
    assert breaker.state is Circuit.HALF_OPEN
    assert [breaker.permits(count) for count in range(3)] == [True, False, False]
    breaker.record_success(probe=True)
    assert (breaker.state, breaker.failing) == (Circuit.CLOSED, False)


def test_an_answer_to_a_post_from_before_the_outage_closes_nothing():
    rig = Rig()
    breaker = rig.closed()
    breaker.record_failure(retry_after_s=0)
    rig.at_s += 10
    breaker.record_success(probe=False)
    assert (breaker.state, breaker.failing, breaker.has_answered) == (Circuit.HALF_OPEN, True, True)


def test_a_firewalls_answer_to_the_probe_closes_it_but_is_not_recotaps():
    breaker = Rig().breaker
    breaker.record_success(probe=True, answered=False)
    assert (breaker.state, breaker.has_answered) == (Circuit.CLOSED, False)
    breaker.record_success(probe=False)
    breaker.record_success(probe=False, answered=False)
    assert breaker.has_answered


def test_retry_after_goes_before_the_first_wait_and_no_wait_gets_shorter():
    rig = Rig()
    rig.breaker.record_failure(retry_after_s=30)
    assert rig.breaker.wait_s() == 30
    rig.breaker.record_failure(retry_after_s=5)
    assert rig.breaker.wait_s() == 30


def test_throttling_halves_the_limit_and_leaves_one():
    breaker = Rig(limit=5).closed()
    limits = []
    for _ in range(4):
        breaker.throttle()
        limits.append(breaker.limit)
    assert limits == [2, 1, 1, 1]


@given(st.lists(st.sampled_from(["probe answered", "answered", "outage", "throttled", "a second"]), max_size=30))
def test_it_never_permits_two_posts_unless_it_is_closed(events):
    rig = Rig()
    breaker = rig.breaker
    for event in events:
        match event:
            case "probe answered":
                breaker.record_success(probe=True)
            case "answered":
                breaker.record_success(probe=False)
            case "outage":
                breaker.record_failure(retry_after_s=0)
            case "throttled":
                breaker.throttle()
            case _:
                rig.at_s += 1
        # An answer to a probe that began before the last outage may close it, but the wait still holds.
        assert breaker.permits(1) <= (breaker.state is Circuit.CLOSED and breaker.limit > 1 and not breaker.wait_s())
        assert breaker.permits(0) is (breaker.wait_s() == 0)
