"""Conditions on a record's fields: the grammar, and its pure evaluation."""

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from syncd.connector import StreamRules
from syncd.types.conditions import Entry, Look, Pattern, as_text, fields_of, first, fold, meaning


def look(**row: Any) -> Look:
    return row.get


def holds(condition: object, found: object) -> bool:
    return Entry.parse({"Field": condition}).holds(look(Field=found))


@pytest.mark.parametrize(
    ("condition", "found", "expected"),
    [
        ("Call", "Call", True),
        ("call", " CALL ", True),
        ("Call", "Call back", False),
        ("Call", None, False),
        (["Call", "Outbound Call"], "outbound call", True),
        ([], "Call", None),
        ("SMS *", "sms to Kaya", True),
        ("SMS *", "sms", False),
        ("* sms *", "an SMS to her", True),
        ("*[In]*", "[Outreach] [Email] [In] hello", True),
        ("*[In]*", "[Outreach] [Email] [out] hello", False),
        ("a*a", "a", False),
        ("a*b*b", "ab", False),
        ("*", "anything", True),
        ("*", "", False),
        ("*", None, False),
        ("**", "", False),
        ("*", False, True),
        ("*", 0, True),
        ("", None, True),
        ("", "  ", True),
        ("", "x", False),
        (True, True, True),
        (True, "true", True),
        (True, "1", False),
        (False, "false", True),
        (False, None, False),
        (False, 0, False),
        ("true", True, True),
        (0, 0, True),
        (0, "0", True),
        (0, "0.0", True),
        (0, False, False),
        (0, None, False),
        (1.5, "1.50", True),
        ("30", 30, True),
        ("straße", "STRASSE", False),
        ("ÄRGER", "ärger", True),
        ("k", "\N{KELVIN SIGN}", False),
        ("100%", "100%", True),
        ("a_c", "abc", False),
        ("x", {"a": 1}, False),
        ("*", ["a"], False),
    ],
)
def test_a_field_agrees_with_a_value(condition: object, found: object, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="expected text in quotes"):
            holds(condition, found)
    else:
        assert holds(condition, found) is expected


@given(st.text("ab*", max_size=8), st.text("abAB", max_size=10))
def test_a_pattern_fits_as_its_regular_expression(written: str, text: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, written.split("*"))), text, re.IGNORECASE) is not None
    if written and not written.strip("*"):
        expected = bool(text)
    assert Pattern.of(written).fits(text) is expected


@given(st.characters(codec="utf-8"))
def test_no_other_character_is_folded_to_an_ascii_letter(character: str) -> None:
    assert any(map(str.isascii, fold(character))) == character.isascii()
    assert len(fold(character)) == 1
    assert fold(fold(character)) == fold(character)


def test_a_hostile_text_takes_no_longer_than_a_search() -> None:
    began = time.process_time()
    assert not Pattern.of("*a" * 120 + "*b").fits("a" * 132_000)
    assert time.process_time() - began < 0.5


def test_all_conditions_of_an_entry_hold_and_the_first_entry_counts() -> None:
    entries = [
        Entry.parse({"Type": "Call", "TaskSubtype": "Task"}),
        Entry.parse({"Type": "Call"}),
        Entry.parse({"CallType": "*"}),
    ]
    assert first(entries, look(Type="Call", TaskSubtype="Task")) == 0
    assert first(entries, look(Type="Call", TaskSubtype="Email")) == 1
    assert first(entries, look(CallType="Inbound")) == 2
    assert first(entries, look()) is None
    assert fields_of(entries) == ("Type", "TaskSubtype", "CallType")


@pytest.mark.parametrize(
    ("table", "mistake"),
    [
        ({}, "expected conditions in braces"),
        ("Call", "expected conditions in braces"),
        ({"Type": {"a": "b"}}, "(Type)"),
        ({"Type": None}, "(Type)"),
        ({"Type": float("nan")}, "(Type)"),
        ({"Type": ["a", ["b"]]}, "(Type)"),
        ({"Type": "x" * 256}, "at most 255 characters"),
        ({"Type": "a\nb"}, "printable"),
        ({"Type": ["x"] * 101}, "at most 100 values"),
        ({"Type = 'x' OR Id": "x"}, "the API name of a field"),
        ({"Owner.Name": "x"}, "the API name of a field"),
        ({"": "x"}, "the API name of a field"),
    ],
)
def test_a_mistake_says_what_is_expected_and_repeats_no_value(table: object, mistake: str) -> None:
    with pytest.raises(ValueError) as caught:
        Entry.parse(table)
    assert mistake in str(caught.value)
    assert "OR Id" not in str(caught.value)


def test_every_mistake_of_an_entry_is_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"\(A\).*; .*\(B\)"):
        Entry.parse({"A": {}, "B": ["x"] * 101, "C": "fine"})


class Model(BaseModel):
    match: tuple[Entry, ...]


def test_a_model_reads_entries_names_the_place_of_a_mistake_and_writes_them_as_they_were() -> None:
    written = {"match": [{"Type": ["Call", "SMS *"]}, {"IsClosed": True, "Seconds": 30}]}
    assert Model.model_validate(written).model_dump(mode="json") == written
    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"match": [{"Type": "Call"}, {"Type": {}}]})
    assert caught.value.errors()[0]["loc"] == ("match", 1)
    assert Model.model_json_schema()["properties"]["match"]["items"]["type"] == "object"


def test_rules_of_a_stream_admit_by_match_and_name_the_entry_that_leaves_out() -> None:
    rules = StreamRules.model_validate(
        {"match": [{"Type": "Call"}], "except": [{"Subject": "SMS *"}, {"Subject": "*sms*"}]}
    )
    assert rules.admits(look(Type="call"))
    assert not rules.admits(look(Type="Email"))
    assert rules.filtered(look(Subject="an sms")) == "except, entry 2"
    assert rules.filtered(look(Subject="hello")) is None
    assert StreamRules().admits(look())


def test_a_meaning_is_that_of_the_exact_key_otherwise_of_the_first_pattern() -> None:
    table = {"*": "unknown", "Us*": "outbound", "us": "inbound"}
    assert meaning(table, "US") == "inbound"
    assert meaning(table, "us two") == "unknown"
    assert meaning({"Us*": "outbound", "*": "unknown"}, "us two") == "outbound"
    assert meaning({"Us": "outbound"}, "them") is None


def test_every_scalar_has_a_text() -> None:
    values: list[Any] = [True, False, 3, 2.5, " a ", None, [], {}]
    assert [as_text(value) for value in values] == [
        "true", "false", "3", "2.5", "a", "", "", "",
    ]  # fmt: skip
