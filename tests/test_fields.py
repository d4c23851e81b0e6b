"""Values in the odd forms of CRMs."""

import re
import time
from datetime import UTC, datetime
from email.utils import getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd import fields

HAPPENED = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("3800", 3800.0),
        (" 3800.5 ", 3800.5),
        ("1,234", 1234.0),
        ("1,234,567.5", 1234567.5),
        ("3092;388", None),
        ("1,23", None),
        ("NaN", None),
        ("inf", None),
        ("", None),
        (None, None),
        (True, None),
        (12, 12.0),
        ([], None),
        ("0x10", None),
    ],
)
def test_numbers_in_odd_forms(written, read):
    assert fields.number(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-03-01T10:30:00Z", HAPPENED),
        ("2026-03-01T12:30:00+02:00", HAPPENED),
        ("2026-03-01T10:30:00", HAPPENED),
        ("1772361000000", HAPPENED),
        (1772361000000, HAPPENED),
        ("1772361000000.0", HAPPENED),
        ("99999999999999999999", None),
        ("9" * 400, None),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("yesterday", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("", None),
        ({}, None),
    ],
)
def test_times_in_odd_forms(written, read):
    assert fields.parse_time(written) == read


@given(
    st.lists(st.from_regex(re.compile(fields.ONE, re.ASCII), fullmatch=True), min_size=1, max_size=4)
    .flatmap(lambda few: st.sampled_from((";", "; ", ",", ", ", ";  ", " ")).map(lambda mark: mark.join(few)))
    | st.text("aZ9._+-@ ;,<>()", max_size=12).map("a@b.c".__add__)
)  # fmt: skip
def test_plain_addresses_are_read_as_the_whole_parser_reads_them(written):
    if fields.PLAIN.fullmatch(written):
        whole = [address for piece in written.split(";") for _, address in getaddresses([piece])]
        assert fields.addresses(written) == [(None, address) for address in whole]
        assert len(whole) == written.count("@")


@pytest.mark.parametrize("mark", [";", "; ", ",", ", "])
def test_a_list_of_plain_addresses_takes_no_parser(mark):
    assert fields.PLAIN.fullmatch(mark.join(["ada@acme.example", "b.c+d@sub.acme.example", "e_f@x.co"]))


def test_a_field_of_prose_is_searched_for_addresses_in_a_moment():
    """In quadratic time it would take half an hour."""
    assert fields.addresses("ab " * 300_000) == []
    assert fields.addresses("x" * 5_000 + "; Ada Fennbrook <ada@northmill.example>; b@northmill.example")[-2:] == [
        ("Ada Fennbrook", "ada@northmill.example"), (None, "b@northmill.example"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "odd", ["(" * 600, ":" * 600, '"' * 600, "[" * 600, "(:" * 600, "\\" * 600, "<" * 600, "@" * 600]
)
def test_a_header_that_no_parser_takes_is_searched_for_what_looks_like_an_address(odd):
    fields.addresses(odd)
    assert ("Jo Do", "jo@acme.example") in fields.addresses(f"{odd};Jo Do <jo@acme.example>")
    fields.addresses(f"{odd} <jo@acme.example>")


def test_an_address_beside_hundreds_of_brackets_is_found():
    assert fields.addresses("(" * 600 + " Jo+Do <jo@acme.example>")[0][1] == "jo@acme.example"
    assert fields.addresses("(" * 600 + "jo@acme.example") == [(None, "jo@acme.example")]


@pytest.mark.parametrize(
    "unit", ["(", ":", '"', "<", "<@", "[", "a@", "<a@", "<a@b ", ";", ",", "\\", "x<", "( ", "a@b;", "@,", "()", "é<@"]
)
def test_no_header_takes_longer_than_its_length(unit):
    began = time.process_time()
    for _ in fields.addresses(unit * (2_000_000 // len(unit))):
        pass
    assert time.process_time() - began < 10.0


@pytest.mark.parametrize(
    "odd",
    [
        {},
        [],
        [["a"]],
        {"a": {}},
        True,
        False,
        None,
        1e308,
        -1,
        2**63,
        "9" * 5_000,
        "²",
        "-",
        "\x00",
        "٣",
        "x" * 200_000,
    ],
)
def test_no_reader_raises_whatever_a_field_holds(odd):
    for read in (fields.parse_text, fields.number, fields.count, fields.parse_time, fields.addresses):
        read(odd)
    fields.full_name(odd, odd)
    fields.dig(odd, "a", "b")
    assert len(fields.parse_text(odd) or "") <= fields.LONGEST
