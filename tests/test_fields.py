"""Values in the odd forms of CRMs."""

import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd import addresses, fields

SECOND = timedelta(seconds=1)
HAPPENED = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("3800", 3800.0),
        (" 3800.5 ", 3800.5),
        ("1,234", 1234.0),
        ("1,234,567.5", 1234567.5),
        ("3092;388", None),
        ("1,23", 1.23),
        ("2,5", 2.5),
        ("0,123", 0.123),
        ("-0,5", -0.5),
        ("1.234,5", 1234.5),
        ("1,2,3", None),
        ("1.23,45", None),
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
        ("20260301", datetime(2026, 3, 1, tzinfo=UTC)),
        ("20260301T103000Z", HAPPENED),
        ("20260301T123000+0200", HAPPENED),
        ("2000-01-01T00:00:00Z", datetime(2000, 1, 1, tzinfo=UTC)),
        ("yesterday", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("", None),
        ({}, None),
    ],
)
def test_times_in_odd_forms(written, read):
    assert fields.parse_time(written) == read


@pytest.mark.parametrize(
    "written",
    [
        "2026",  # a year, which is no time
        "46134.4375",  # a spreadsheet's serial
        46134,
        "0",
        "-1",
        "1772361000",  # seconds, which would be in 1970
        "1772361000000000",  # microseconds
        "20260301103000",  # would be in the year 2612
        "20261301",  # no month
        "19700101",
        "1.77236E+12",
        "1999-12-31T23:59:59Z",
        "1970-01-01T00:00:00.000+0000",
        "1900-01-01",
        "19991231T235959Z",
    ],
)
def test_a_time_before_2000_and_a_number_that_is_no_time_are_none(written):
    assert fields.parse_time(written) is None


@pytest.mark.parametrize(
    ("written", "unit", "minutes"),
    [
        ("90", SECOND, 1.5),
        (90_000, fields.MILLISECOND, 1.5),
        ("2,5", fields.MINUTE, 2.5),
        (0, SECOND, 0.0),
        (86_400, SECOND, 1440.0),
        (86_401, SECOND, None),
        (-1, SECOND, None),
        ("1e300", SECOND, None),
        ("long", SECOND, None),
        ("00:05:23", SECOND, 5.38),
        ("1:30:00", fields.MINUTE, 90.0),
        ("24:00:00", SECOND, None),
        ("05:23", SECOND, None),  # minutes or hours
        ("0:60:00", SECOND, None),
        (None, SECOND, None),
        (True, SECOND, None),
    ],
)
def test_a_duration_under_0_or_over_a_day_is_left_out(written, unit, minutes):
    assert fields.in_minutes(fields.duration(written, unit)) == minutes


BOTH = [(None, "p@acme.example"), (None, "q@acme.example")]


@pytest.mark.parametrize(
    "written",
    [
        "p@acme.example q@acme.example",
        "p@acme.example  q@acme.example ",
        "p@acme.example\nq@acme.example",
        "p@acme.example\u00a0q@acme.example",
        "p@acme.example / q@acme.example",
        "p@acme.example|q@acme.example",
        "p@acme.example & q@acme.example",
        "p@acme.example, ,q@acme.example;",
        "'p@acme.example', 'q@acme.example'",
        "\u2018p@acme.example\u2019;\u201cq@acme.example\u201d",
        '"p@acme.example" "q@acme.example"',
        "\u00abp@acme.example\u00bb; \u201eq@acme.example\u201c",
        '["p@acme.example","q@acme.example"]',
        "[p@acme.example];(q@acme.example)",
        "<p@acme.example> <q@acme.example>",
        "mailto:p@acme.example; MAILTO:q@acme.example",
        "<mailto:p@acme.example>,<q@acme.example>",
        "\u200bp@acme.example;\ufeffq@acme.example",
        "p@acme.\u00adexample,q@acme.example\u202c",
        "p@acme.example.; q@acme.example.",
        "'p@acme.example.' <p@acme.example.>; q@acme.example",
        "<'p@acme.example'>, <q@acme.example>",
    ],
)
def test_addresses_are_found_however_people_separate_and_quote_them(written):
    assert list(dict.fromkeys(fields.addresses(written))) == BOTH


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Jo Do <jo@acme.example>", "Jo Do"),
        ('"Jo Do" <jo@acme.example>', "Jo Do"),
        ("'Jo Do' <jo@acme.example>", "Jo Do"),
        ("Jo+Do<jo@acme.example>", "Jo Do"),
        ("jo@acme.example (Jo Do)", "Jo Do"),
        ("Jo\u200b Do <jo@acme.example>", "Jo Do"),
        ("Jo O'Neil <jo@acme.example>", "Jo O'Neil"),
        ("\"'jo@acme.example'\" <jo@acme.example>", None),
    ],
)
def test_a_display_name_is_the_name_unless_it_is_an_address(written, name):
    assert fields.addresses(written) == [(name, "jo@acme.example")]


@pytest.mark.parametrize(
    "prose", ["ask jo@acme.example first", "Jo Do jo@acme.example", "inferred: jo at acme.example"]
)
def test_prose_is_no_address(prose):
    assert not [address for _, address in fields.addresses(prose) if addresses.email(address)]


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
