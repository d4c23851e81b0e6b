"""The size of batches by itself: what makes it smaller, what makes it grow, and what the next pass knows of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.passes.batch_size import GROW_AFTER, GROW_AFTER_MOST, BatchSize


def reduced(size: int) -> BatchSize:
    """Return a policy that a pass begins with `size`."""
    return BatchSize(50, {"batch": size, "grow_after": GROW_AFTER})


def passes(policy: BatchSize, count: int) -> None:
    """Let `count` full batches through."""
    for _ in range(count):
        policy.passed(policy.size)


class TestSmaller:
    def test_a_failed_batch_is_halved_once_a_smaller_post_gets_through(self):
        policy = BatchSize(50)
        policy.failed(50)
        assert policy.size == 50, "it may be an outage"
        policy.recovered(1)
        assert policy.size == 25

    def test_several_that_failed_at_once_halve_it_once(self):
        policy = BatchSize(50)
        for _ in range(4):
            policy.failed(50)
        policy.recovered(1)
        assert policy.size == 25

    def test_the_smallest_batch_that_failed_counts(self):
        policy = BatchSize(50)
        policy.failed(50)
        policy.failed(8)
        policy.recovered(1)
        assert policy.size == 4

    def test_it_goes_down_to_one_and_a_single_activity_proves_nothing_about_size(self):
        policy, sizes = BatchSize(50), []
        for _ in range(8):
            policy.failed(policy.size)
            policy.recovered(1)
            sizes.append(policy.size)
        assert sizes == [25, 12, 6, 3, 1, 1, 1, 1]

    def test_an_answer_to_a_post_of_the_same_size_shows_an_outage_that_is_over(self):
        policy = BatchSize(50)
        policy.failed(50)
        policy.recovered(50)
        policy.recovered(1)
        assert policy.size == 50

    def test_if_one_activity_was_the_cause_the_size_returns(self):
        policy = BatchSize(50)
        for _ in range(3):
            policy.failed(policy.size)
            policy.recovered(1)
        policy.one_was_the_cause()
        assert policy.size == 50

    def test_but_not_beyond_what_the_pass_began_with(self):
        policy = reduced(12)
        policy.failed(12)
        policy.recovered(1)
        policy.one_was_the_cause()
        assert policy.size == 12

    def test_a_413_halves_it_at_once_and_ends_all_growth_of_the_pass(self):
        policy = BatchSize(50)
        policy.too_large(50)
        assert policy.size == 25
        passes(policy, 1000)
        assert policy.take_trial() is None


class TestLarger:
    def test_after_enough_full_batches_in_a_row_one_trial_of_twice_the_size_is_due(self):
        policy = reduced(12)
        passes(policy, GROW_AFTER - 1)
        assert policy.take_trial() is None
        passes(policy, 1)
        assert policy.take_trial() == 24
        assert policy.take_trial() is None, "one at a time"
        assert policy.size == 12, "the others go on as before"

    def test_a_trial_that_gets_through_sets_the_size(self):
        policy, sizes = reduced(3), []
        while policy.size < 50:
            passes(policy, GROW_AFTER)
            policy.trial_ended(policy.take_trial() or 0, passed=True)
            sizes.append(policy.size)
        assert sizes == [6, 12, 24, 48, 50]
        passes(policy, 1000)
        assert policy.take_trial() is None

    def test_a_trial_that_fails_doubles_the_time_until_the_next_up_to_a_bound(self):
        policy, waits = reduced(25), []
        for _ in range(8):
            waits.append(0)
            while policy.take_trial() is None:
                passes(policy, 1)
                waits[-1] += 1
            policy.trial_ended(50, passed=False)
        assert waits == [10, 20, 40, 80, 160, 320, 640, 640]
        assert waits[-1] == GROW_AFTER_MOST
        assert policy.size == 25

    def test_a_trial_that_proves_nothing_is_repeated_as_soon(self):
        policy = reduced(25)
        passes(policy, GROW_AFTER)
        policy.take_trial()
        policy.trial_ended(0, passed=None)
        passes(policy, GROW_AFTER)
        assert policy.take_trial() == 50

    def test_batches_that_are_not_full_and_failures_in_between_do_not_count(self):
        policy = reduced(25)
        for _ in range(100):
            policy.passed(24)
        assert policy.take_trial() is None
        passes(policy, GROW_AFTER - 1)
        policy.failed(25)
        passes(policy, GROW_AFTER - 1)
        assert policy.take_trial() is None


class TestKept:
    def test_the_next_pass_goes_on_with_the_size_and_the_patience(self):
        policy = BatchSize(50)
        policy.failed(50)
        policy.recovered(1)
        passes(policy, GROW_AFTER)
        policy.take_trial()
        policy.trial_ended(50, passed=False)
        assert policy.to_keep() == {"batch": 25, "grow_after": 2 * GROW_AFTER}
        assert BatchSize(50, policy.to_keep()).to_keep() == policy.to_keep()

    @pytest.mark.parametrize("kept", [None, [], "50", {}, {"batch": "25"}, {"batch": None}, {"batch": True}, 7])
    def test_anything_else_counts_as_nothing_kept(self, kept):
        assert BatchSize(50, kept).size == 50

    @pytest.mark.parametrize(("kept", "size"), [(0, 1), (-3, 1), (51, 50), (10**9, 50)])
    def test_a_size_out_of_bounds_is_brought_back(self, kept, size):
        assert BatchSize(50, {"batch": kept}).size == size


@given(st.lists(st.tuples(st.sampled_from(
    ["failed", "recovered", "passed", "too_large", "one", "trial", "passed trial", "failed trial"]),
    st.integers(1, 50)), max_size=60))  # fmt: skip
def test_whatever_happens_the_size_stays_within_its_bounds(events):
    policy = BatchSize(50)
    for event, count in events:
        match event:
            case "one":
                policy.one_was_the_cause()
            case "trial":
                trial = policy.take_trial()
                assert trial is None or policy.size < trial <= 50
            case "passed trial" | "failed trial":
                policy.trial_ended(count, passed=event == "passed trial")
            case _:
                getattr(policy, event)(count)
        assert 1 <= policy.size <= 50
        assert GROW_AFTER <= policy.to_keep()["grow_after"] <= GROW_AFTER_MOST
