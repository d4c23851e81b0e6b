"""A foreign text is kept for the operator without what is personal in it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.private import GONE, MOST, scrub

PAYLOAD = {
    "externalActivityId": "hubspot-call-9", "activityType": "call", "occurredAt": "2026-03-02T09:00:00Z",
    "domain": "amber-bolts.example", "accountName": "Amber Bolts", "ownerEmail": "ada@lanternfield.example",
    "callTitle": "Quarterly  roof review", "durationMinutes": 30, "outcome": "Connected", "direction": "outbound",
    "from": {"name": "Ada Eschenfeld"},
    "contacts": [
        {"email": "kaya@amber-bolts.example", "name": "Kaya Ivorstone", "phone": "+1 415 555 0101", "title": "VP"},
        {"email": "li@amber-bolts.example", "name": "Li"},
    ],
}  # fmt: skip


def test_a_text_without_anything_personal_stays_as_it_is():
    text = "Internal processing error (code 17): domain should not be empty"
    assert scrub(text, PAYLOAD) == text


def test_white_space_and_line_breaks_become_single_spaces():
    assert scrub("  a\n\tb\r\n c ") == "a b c"


@pytest.mark.parametrize("value", [
    "Quarterly roof review", "Kaya Ivorstone", "Ada Eschenfeld", "+1 415 555 0101", "kaya@amber-bolts.example",
    "Amber Bolts",
])  # fmt: skip
def test_every_string_of_the_payload_is_removed_wherever_it_stands(value):
    assert scrub(f"title '{value}' and {value}!", PAYLOAD) == f"title '{GONE}' and {GONE}!"


@pytest.mark.parametrize("part", ["Kaya", "ivorstone", "ESCHENFELD", "kaya"])
def test_a_part_of_a_name_or_the_user_of_an_address_is_personal_by_itself(part):
    assert scrub(f"no {part} here", PAYLOAD) == f"no {GONE} here"


def test_a_word_of_a_title_is_not_personal_by_itself():
    assert scrub("the roof is odd", PAYLOAD) == "the roof is odd"


@pytest.mark.parametrize("part", ["kaya-lou", "ivorstone", "crm"])
def test_each_part_of_an_addresss_user_is_personal_by_itself(part):
    payload = {"contacts": [{"email": "kaya-lou.ivorstone+crm@amber-bolts.example"}]}
    assert scrub(f"no {part} here", payload).replace(f"{GONE}-{GONE}", GONE) == f"no {GONE} here"


def test_case_and_white_space_hide_nothing():
    assert scrub("KAYA\n  ivorstone: QUARTERLY ROOF\treview", PAYLOAD) == f"{GONE}: {GONE}"


@pytest.mark.parametrize("value", ["hubspot-call-9", "call", "amber-bolts.example", "outbound", "Connected"])
def test_what_is_nobodys_secret_stays_for_the_operator(value):
    assert scrub(f"about {value}.", PAYLOAD) == f"about {value}."


def test_strings_under_three_characters_are_nobodys():
    assert scrub("Li is VP of it", PAYLOAD) == "Li is VP of it"
    assert scrub("Ann is in", {"name": "Ann"}) == f"{GONE} is in"


def test_of_strings_in_one_another_the_whole_is_removed():
    assert scrub("Anna Smith, Ann", {"names": ["Ann", "Anna Smith", "Smith"]}) == f"{GONE}, {GONE}"


def test_of_strings_that_overlap_no_rest_remains():
    assert scrub("x John Doe Smith y", ["John Doe", "Doe Smith"]) == f"x {GONE} y"
    assert scrub("ababab!", ["abab"]) == f"{GONE}!"


def test_a_payload_that_says_removed_does_not_make_the_text_grow():
    assert scrub("removed John", ["removed", "move", "John"]) == f"{GONE} {GONE}"


def test_a_pattern_in_a_payload_is_text():
    assert scrub("a.*b and aXXb", ["a.*b"]) == f"{GONE} and aXXb"


@pytest.mark.parametrize("address", ["kaya@elsewhere.example", "k+tag@x.example", "Zoë@x.example", "a.b@[10.0.0.1]"])
def test_addresses_that_nobody_named_are_removed(address):
    assert scrub(f"to <{address}>, '{address}' ({address})") == f"to <{GONE}>, '{GONE}' ({GONE})"


def test_an_address_is_removed_whole_though_its_user_is_in_the_payload():
    assert scrub("for kaya@elsewhere.example", {"name": "kaya"}) == f"for {GONE}"


@pytest.mark.parametrize("phone", [
    "+1 415 555 0101", "(415) 555-0101", "415.555.0101", "0049 30 1234567", "14155550101", "555-0101",
])  # fmt: skip
def test_phone_numbers_that_nobody_named_are_removed(phone):
    assert phone[2:] not in scrub(f"call {phone} now")
    assert scrub(f"call {phone} now").replace("(", "") == f"call {GONE} now"


@pytest.mark.parametrize("text", ["HTTP 503", "error 1234567", "3 of 50", "1-2-3"])
def test_short_numbers_stay(text):
    assert scrub(text) == text


def test_a_long_text_is_cut_after_it_was_scrubbed():
    assert scrub("x" * 1000) == "x" * MOST
    text = "x" * (MOST - 4) + " kaya@amber-bolts.example"
    assert scrub(text) == "x" * (MOST - 4) + " " + GONE[:3]


@pytest.mark.parametrize(
    "text", ["a" * 300_000, "1" + "-" * 300_000, "a" * 150_000 + "@", "@" * 300_000, "1 " * 150_000]
)
def test_a_text_of_any_length_costs_no_more_than_its_length(text):
    before = time.process_time()
    scrub(text)
    assert time.process_time() - before < 5.0  # the square of it would be minutes


@pytest.mark.parametrize("payload", [None, 5, True, [], {}, [None, 5], {"a": None}])
def test_a_payload_without_strings_takes_nothing_away(payload):
    assert scrub("as it is", payload) == "as it is"


short = st.text(max_size=30)


@given(short, st.lists(short, max_size=5))
def test_no_string_of_a_payload_survives_in_any_text(text, values):
    told = scrub(f"{text} {' '.join(values)}", values).replace(GONE, "\0")
    flat = [" ".join(value.split()) for value in values]
    assert not [value for value in flat if len(value) >= 3 and value in told]
