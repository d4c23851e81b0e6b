"""Durations: valid and invalid texts, and that a shown one can be parsed again."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.types import durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30), (" 15 m ", 900), ("1.5h", 5400), ("7d", 604800), ("0s", 0), ("3650d", 315360000)],
)
def test_a_number_and_a_unit_are_a_duration(text, seconds):
    assert durations.parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "nonsense",
    ["", "s", "30", "1w", "5 minutes", "-5m", "+5m", "1e3s", "1.h", ".5h", "1h30m", "٣m", "NaNs", "infd", 30, 1.5, True,
     None, ["5m"]],
)  # fmt: skip
def test_anything_else_is_refused_with_what_is_expected(nonsense):
    with pytest.raises(ValueError, match='expected a duration such as "30s"'):
        durations.parse(nonsense)


@pytest.mark.parametrize("text", ["3650.1d", "3651d", "99999999999999d", "315360001s", f"{'9' * 4000}ms"])
def test_more_than_ten_years_are_a_slip_of_the_pen(text):
    with pytest.raises(ValueError, match="expected a duration of at most 3650d"):
        durations.parse(text)


@given(st.text() | st.from_regex(durations.PATTERN))
def test_any_text_is_a_duration_within_the_limit_or_a_value_error(text):
    try:
        read = durations.parse(text)
    except ValueError:
        return
    assert timedelta() <= read <= durations.MOST


@given(st.timedeltas(timedelta(), durations.MOST))
def test_what_is_written_is_read_as_the_same(duration):
    assert durations.parse(durations.show(duration)) == duration


@pytest.mark.parametrize("text", ["0s", "0.25s", "30s", "90s", "15m", "4h", "36h", "7d", "3650d", "123456.789s"])
def test_a_duration_is_written_in_the_largest_unit_that_divides_it(text):
    assert durations.show(durations.parse(text)) == text


def test_zero_is_no_positive_duration():
    assert durations.positive(timedelta(microseconds=1))
    with pytest.raises(ValueError, match="above zero"):
        durations.positive(timedelta())
