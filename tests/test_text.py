"""Clean strings, ids and times."""

import time
import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.text import (
    LONGEST_ID,
    MOST,
    SEARCHED,
    clean,
    fill,
    fit,
    fit_value,
    is_stand_in,
    kept_id,
    mistake_in_template,
    timestamp,
    unfill,
    visible,
)  # fmt: skip


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


ODD = "".join(map(chr, (*range(32), *range(127, 160), 0xAD, 0x200B, 0x200F, 0x202E, 0x2066, 0xFEFF, 0xE0041, 0xE000)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("as it is: Grüße 🙂 “日本”", "as it is: Grüße 🙂 “日本”"),
        ("cut \ud83d half", "cut  half"),
        ("red \x1b[31malert\x1b[0m", "red [31malert[0m"),
        ("c1 \x9b31m and \x9d0;title\x9c", "c1 31m and 0;title"),
        ("a\x00b", "ab"),
        ("one\r\ntwo\u2028three\u2029four\x85five", "one two three four five"),
        ("\u202egnp.exe\u202c \u2066x\u2069", "gnp.exe x"),
        ("zero\u200b\u200d\u2060\ufeff\u00ad width", "zero width"),
        ("selectors \u2764\ufe0f \U000e0100 tag \U000e0041", "selectors \u2764  tag"),
        ("private \ue000\U000f0000 use", "private  use"),
        ("fillers \u3164\u115f\uffa0", "fillers"),
        ("", ""),
    ],
)
def test_external_text_is_stored_without_what_cannot_be_seen(text: str, expected: str) -> None:
    assert fit(text) == expected


@given(st.text(st.characters() | st.sampled_from(ODD + "\ud83d")))
def test_fit_text_can_be_stored_and_shown_and_stays_as_it_is(text: str) -> None:
    out = fit(text)
    assert out.isprintable() or {unicodedata.category(char) for char in out if not char.isprintable()} <= {"Zs"}
    assert fit(out) == out
    out.encode()


@pytest.mark.parametrize("char", ["a", "é", "\x1b", "\ud83d", " ", "\u202e"])
def test_a_text_of_any_length_is_truncated_before_it_is_looked_at(char: str) -> None:
    text = char * 4_000_000
    before = time.process_time()
    assert len(fit(text)) <= MOST
    assert len(fit_value({"a": [text, {"b": text}]})) <= SEARCHED
    assert len(visible(text)) < 20 * SEARCHED
    assert time.process_time() - before < 0.2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"), (None, ""), (False, ""), ([], ""), (0, ""), (True, "True"), (5, "5"), (1.5, "1.5"),
        ({"code": 5}, "{'code': 5}"), (["a\x1b"], "['a\\x1b']"),
    ],
)  # fmt: skip
def test_a_value_of_any_json_type_is_told(value: object, expected: str) -> None:
    assert fit_value(value) == expected


def test_a_value_of_any_depth_is_told() -> None:
    deep: object = "x"
    for _ in range(100_000):
        deep = [deep, deep]
    assert len(fit_value(deep)) <= SEARCHED
    while isinstance(deep, list):  # or its end would be a recursion of the interpreter's own
        deep = deep.pop()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hubspot-call-1", "hubspot-call-1"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x1b]0;x\x07", r"\x1b]0;x\x07"),
        ("\x9b31m \x7f", r"\x9b31m \x7f"),
        ("\u202e\ufeff\udc80\U000e0041", r"\u{202e}\u{feff}\u{dc80}\u{e0041}"),
        ("Grüße 🙂", "Grüße 🙂"),
        ("no\u00a0break", "no break"),
        (5, "5"),
    ],
)
def test_what_a_person_reads_is_escaped_and_not_dropped(text: object, expected: str) -> None:
    assert visible(text) == expected


@given(st.text(st.characters() | st.sampled_from(ODD + "\ud83d")))
def test_visible_text_is_printable(text: str) -> None:
    assert visible(text).isprintable()
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize("crm_id", ["1", "00QTfO000005LQ2zUAG", "a.b_c-d", "Ünïcode 7", "x" * LONGEST_ID])
def test_an_ordinary_id_is_kept(crm_id: str) -> None:
    assert kept_id(crm_id) is crm_id
    assert not is_stand_in(crm_id)


ODD_IDS: list[object] = [
    "", "a\ud83d", "a\ud83e", "a\x00", "a\x00b", "a\nb", "a\x1b", "x" * 5_000_000, "x" * 5_000_001, "\ufffd", None,
    1.5, ("a",), "\u202ea",
]  # fmt: skip


def test_every_other_id_has_a_stand_in_of_its_own_that_can_be_kept() -> None:
    stand_ins = [kept_id(crm_id) for crm_id in ODD_IDS]
    assert len(set(stand_ins)) == len(ODD_IDS)
    assert all(is_stand_in(each) and len(each) < LONGEST_ID and each.isprintable() for each in stand_ins)
    assert stand_ins == [kept_id(crm_id) for crm_id in ODD_IDS]
    assert kept_id(5) == "5"


@pytest.mark.parametrize(
    "template",
    [
        "{source.__class__}-{kind}-{id}", "{id:>200000000}{kind}", "{id!r}{kind}", "{id[0]}{kind}", "{0}{kind}{id}",
        "{}{kind}{id}", "{{id}}{kind}{id}", "{kind}{id}}", "{nope}{kind}{id}", "{kind}\n{id}", "{kind}\ud83d{id}",
        "{kind}{id}" + "x" * 200, "{source }{kind}{id}", "{id:{kind}}", "{kind.format}{id}",
    ],
)  # fmt: skip
def test_a_template_takes_three_bare_fields_and_nothing_else(template: str) -> None:
    assert mistake_in_template(template)


def test_a_template_is_filled_once() -> None:
    assert mistake_in_template("x-{source}-{kind}-{id}") == ""
    assert fill("x-{source}-{kind}-{id}", source="crm", kind="call", id="{kind}") == "x-crm-call-{kind}"
    assert fill("{id}-{kind}{id}", source="crm", kind="email", id="7") == "7-email7"
    assert fill("{kind}", source="crm", kind="email", id="7") == "email"


@pytest.mark.parametrize("template", ["{source}-{kind}-{id}", "{kind}{id}", "{id}{kind}{id}", "{id}-{kind}"])
@pytest.mark.parametrize("crm_id", ["7", "call", "00T5g00000ABCDEEA4", "a-b-c"])
@pytest.mark.parametrize("kind", ["call", "email"])
def test_the_id_within_an_external_id_is_the_one_that_made_it(template: str, crm_id: str, kind: str) -> None:
    assert unfill(template, fill(template, source="s", kind=kind, id=crm_id), source="s", kind=kind) == crm_id
    assert unfill(template, "neither", source="s", kind="x") is None
