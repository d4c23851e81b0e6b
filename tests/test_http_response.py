"""Retry-After and Date, as every client reads them from a response."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.errors import Malformed, Unauthorized, Unavailable
from syncd.http.response import RETRY_AFTER_MAX_S, Failure, retry_after

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def wait(value: str, *, now: datetime = NOW, **headers: str) -> float | None:
    return retry_after({"retry-after": value, **headers}, now=now)


@pytest.mark.parametrize(("value", "seconds"), [
    ("0", 0.0), ("1", 1.0), ("1.5", 1.5), (" 30 ", 30.0), ("-5", 0.0), ("86400", 86_400.0), ("86401", 86_400.0),
    ("1e400", 86_400.0), ("-inf", 0.0), ("9" * 400, 86_400.0),
])  # fmt: skip
def test_seconds_are_taken_between_none_and_a_day(value, seconds):
    assert wait(value) == seconds


@pytest.mark.parametrize(("value", "seconds"), [
    ("Mon, 02 Mar 2026 09:02:00 GMT", 120.0),
    ("Mon, 02 Mar 2026 10:02:00 +0100", 120.0),
    ("Mon, 02 Mar 2026 09:02:00 -0000", 120.0),
    ("Mon, 02 Mar 2026 08:00:00 GMT", 0.0),
    ("Fri, 01 Jan 2100 00:00:00 GMT", 86_400.0),
])  # fmt: skip
def test_a_date_is_counted_from_now(value, seconds):
    assert wait(value) == seconds
    assert wait(value, now=NOW + timedelta(seconds=60)) == (seconds if seconds in (0.0, 86_400.0) else seconds - 60)


@pytest.mark.parametrize("value", [
    "", "soon", "nan", "1 minute", "Mon, 99999999999 Jan 2026 10:00:00 GMT",
    "Mon, 02 Mar 2026 99999999999999999999:00:00 GMT", "Mon, 01 Jan 2026 10:00:00 +99999999999",
])  # fmt: skip
def test_nonsense_is_no_time(value):
    assert wait(value) is None


def test_a_response_without_the_header_asks_for_nothing():
    assert retry_after({}, now=NOW) is None


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=400), -timedelta(days=400)])
def test_a_date_is_compared_with_the_clock_that_wrote_it(ahead):
    """The local clock may be a year off: a minute is a minute, by the Date of the same response."""
    served, until = (format_datetime(NOW + ahead + timedelta(seconds=each), usegmt=True) for each in (0, 60))
    assert wait(until, date=served) == 60.0


@given(st.text() | st.from_regex(r"\w{3}, \d{1,12} \w{3} \d{1,12} \d+:\d+:\d+ [+-]?\w+", fullmatch=True))
def test_no_value_raises(value):
    seconds = wait(value)
    assert seconds is None or 0.0 <= seconds <= RETRY_AFTER_MAX_S


def test_a_failure_that_asks_for_a_pause_is_given_up_with_its_end():
    found = Failure(Unavailable("busy"), pause_s=90.0).given_up(NOW)
    assert isinstance(found, Unavailable)
    assert found.pause_until == NOW + timedelta(seconds=90)


def test_without_a_pause_the_error_is_raised_as_it_is():
    for error in (Malformed("odd"), Unauthorized("refused")):
        assert Failure(error).given_up(NOW) is error
    assert Failure(error := Unavailable("down"), wait_s=1.0).given_up(NOW) is error
    assert error.pause_until is None
