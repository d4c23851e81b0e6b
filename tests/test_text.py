"""Strings and times as they go out."""

import time
import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.text import clean, timestamp


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Discovery call \n", "Discovery call"),
        ("first\tsecond", "first second"),
        ("first\r\nsecond", "first second"),
        ("first\nsecond\rthird", "first second third"),
        ("first\vsecond\fthird\x85fourth", "first second third fourth"),
        ("first\u2028second\u2029third", "first second third"),
        ("nul\x00bell\x07escape\x1bdel\x7f", "nulbellescapedel"),
        ("lone \ud83d surrogate", "lone  surrogate"),
        ("Grüße 🙂 – “日本”", "Grüße 🙂 – “日本”"),
        ("\u00a0name\u00a0", "name"),
        ("", None),
        (" \t\r\n\x00 ", None),
        (None, None),
        (42, None),
        (b"bytes", None),
    ],
)
def test_strings_are_trimmed_on_one_line_and_free_of_control_characters(text: object, expected: str | None) -> None:
    assert clean(text) == expected


@given(st.text(st.characters() | st.characters(categories=["Cc", "Cs", "Zl", "Zp"])))
def test_whatever_comes_in_what_goes_out_is_clean_and_stays_so(text: str) -> None:
    out = clean(text)
    if out is not None:
        assert out == out.strip() != ""
        assert not {unicodedata.category(char) for char in out} & {"Cc", "Cs", "Zl", "Zp"}
        assert clean(out) == out
        out.encode()


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (datetime(2026, 4, 22, 10, 30, tzinfo=UTC), "2026-04-22T10:30:00Z"),
        (datetime(2026, 4, 22, 10, 30, 0, 120_000, tzinfo=UTC), "2026-04-22T10:30:00.120Z"),
        (datetime(2026, 4, 22, 10, 30, 0, 1_000, tzinfo=UTC), "2026-04-22T10:30:00.001Z"),
        (datetime(2026, 4, 22, 10, 30, 0, 999, tzinfo=UTC), "2026-04-22T10:30:00Z"),
        (
            datetime(2026, 4, 22, 1, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            "2026-04-21T20:00:00Z",
        ),
        (datetime(99, 1, 1, tzinfo=UTC), "0099-01-01T00:00:00Z"),
    ],
)
def test_times_go_out_in_utc_with_milliseconds_only_where_there_are_some(at: datetime, expected: str) -> None:
    assert timestamp(at) == expected


def test_times_go_out_in_utc_wherever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert timestamp(datetime(2026, 4, 22, 10, 30, tzinfo=UTC)) == "2026-04-22T10:30:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()
