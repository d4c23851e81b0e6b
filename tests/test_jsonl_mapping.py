"""The meaning of a file's line: golden pairs of invented people, and the values of fields."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.jsonl import mapping
from connectors.jsonl.config import JsonlConfig
from syncd.activity import Company, Draft, Kind, Owner, Person
from syncd.connector import Record, Ref
from syncd.errors import Unreadable

HAPPENED = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
BASE = {"occurred_at": "2026-03-01T10:30:00Z"}


def draft(row: dict[str, Any], kind: Kind = "call", related: Any = None, **table: Any) -> Draft | None:
    config = JsonlConfig(connector="jsonl", start="2026-01-01T00:00:00Z", path="/drop", **table)
    record = Record(Ref("1", HAPPENED), row, {"file": "x.jsonl", "line": 7} if related is None else related)
    return mapping.draft(kind, record, config)


def drafted(row: dict[str, Any], kind: Kind = "call", **table: Any) -> Draft:
    found = draft({**BASE, **row}, kind, **table)
    assert found is not None
    return found


def test_a_whole_call() -> None:
    row = {
        "created_at": "2026-03-01T11:00:00+00:00", "direction": "Inbound", "title": " Discovery ",
        "outcome": "No answer", "duration_minutes": "2.5", "owner_id": 7,
        "owner_email": "ada@lantern.example", "owner_name": "Ada Dunmere",
        "contact_id": "k1", "contact_email": "kaya@amber.example", "contact_name": "Kaya Ivorstone",
        "contact_title": "CFO", "contact_department": "Finance", "contact_seniority": "vp", "contact_phone": "+1 415",
        "contact_linkedin_url": "https://l.example/kaya", "account_id": 5, "account_name": "Amber",
        "account_domain": "amber.example", "open_count": 3,
    }  # fmt: skip
    assert drafted(row) == Draft(
        "call", HAPPENED, datetime(2026, 3, 1, 11, tzinfo=UTC), direction="inbound", title="Discovery",
        duration_minutes=2.5, outcome="No answer", owner=Owner("7", "ada@lantern.example", "Ada Dunmere", active=False),
        contacts=(Person("kaya@amber.example", "k1", "Kaya Ivorstone", "CFO", "Finance", "vp", "+1 415",
                         "https://l.example/kaya"),),
        companies=(Company("5", "Amber", ("amber.example",)),),
    )  # fmt: skip


def test_a_whole_email() -> None:
    row = {
        "status": "sent", "subject": "Quote", "open_count": "4", "click_count": 1.0, "duration_minutes": 3,
        "from_email": "ada@lantern.example", "from_name": "Ada",
        "to_email": "Kaya <kaya@amber.example>; b@amber.example",
        "cc_email": ["c@amber.example"],
        "contacts": [{"email": "kaya@amber.example", "phone": "1"}, "d@amber.example", {"x": 1}, None, 5],
    }  # fmt: skip
    assert drafted(row, "email") == Draft(
        "email", HAPPENED, HAPPENED, title="Quote", open_count=4, click_count=1,
        sender=Person("ada@lantern.example", name="Ada"),
        contacts=(Person("kaya@amber.example", phone="1"), Person("d@amber.example")),
        others=(Person("kaya@amber.example", name="Kaya"), Person("b@amber.example"), Person("c@amber.example")),
    )  # fmt: skip


def test_columns_are_named_by_the_operator_into_nested_objects_too() -> None:
    row = {
        "when": {"start": BASE["occurred_at"]},
        "who.mail": "kaya@amber.example",
        "who": {"mail": "no"},
        "title": "x",
    }
    columns = {"occurred_at": "when.start", "contact_email": "who.mail", "title": ""}
    found = draft(row, columns=columns)
    assert found == Draft("call", HAPPENED, HAPPENED, contacts=(Person("kaya@amber.example"),))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-03-01T10:30:00", "2026-03-01T09:30:00+00:00"),
        ("2026-03-01 10:30", "2026-03-01T09:30:00+00:00"),
        ("2026-03-01T10:30:00-05:00", "2026-03-01T15:30:00+00:00"),
        ("2026-03-01", "2026-03-01T11:00:00+00:00"),
        ("2026-07-01", "2026-07-01T10:00:00+00:00"),
        (1772361000, "2026-03-01T10:30:00+00:00"),
        ("1772361000", "2026-03-01T10:30:00+00:00"),
        (1772361000123, "2026-03-01T10:30:00.123000+00:00"),
        ("1772361000.25", "2026-03-01T10:30:00.250000+00:00"),
        ("20260301", "2026-03-01T11:00:00+00:00"),
        (20260301, "2026-03-01T11:00:00+00:00"),
        ("202603011030", "2026-03-01T09:30:00+00:00"),
        ("20260301103000", "2026-03-01T09:30:00+00:00"),
        ("20260301T103000Z", "2026-03-01T10:30:00+00:00"),
        ("999912312359", "2001-09-08T01:25:12.359000+00:00"),
        ("2026-03-01 10:30:00 UTC", "2026-03-01T10:30:00+00:00"),
        ("2026-03-01 10:30 GMT", "2026-03-01T10:30:00+00:00"),
        ("2026-03-01 10:30:00Z", "2026-03-01T10:30:00+00:00"),
        ("2026-03-01 12:30:00 +0200", "2026-03-01T10:30:00+00:00"),
        ("2026-03-01T10:30:00,123456789Z", "2026-03-01T10:30:00.123456+00:00"),
    ],
)
def test_a_time_without_a_zone_is_the_sources_and_a_day_is_its_noon(written: Any, expected: str) -> None:
    found = draft({"occurred_at": written}, timezone="Europe/Berlin")
    assert found is not None
    assert found.occurred_at.isoformat() == expected


@pytest.mark.parametrize(
    "written",
    [
        None, "", "yesterday", [], {}, True, "-", "2026-02-30", "nan", "inf", "1/2/2026", "01.02.2026", "30:00.0",
        "2026-03-01x10:30", "2026-03-01+02:00", "2026-03-01 10:30 CET", "2026-03-01 10:30 PM", "1970-01-01",
        "1999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00",
    ],
)  # fmt: skip
def test_a_line_without_a_time_is_unreadable_and_says_where(written: Any) -> None:
    with pytest.raises(Unreadable) as error:
        draft({"occurred_at": written})
    assert error.value.message == "line 7 of x.jsonl has no time in 'occurred_at'"


@pytest.mark.parametrize(
    "written",
    [
        "46134.4375", 46134, "46134,4375", "2026", 2026, "0", -1, "202604", "2026042", "20261301", "19700101",
        "1.77236E+12", "1,77236E+12", "1772361000000000", 10**30, "99991231235959", "1e5",
    ],
)  # fmt: skip
@pytest.mark.parametrize("column", ["occurred_at", "created_at"])
def test_a_number_that_is_no_date_makes_a_line_unreadable_and_its_column_is_named(written: Any, column: str) -> None:
    """A spreadsheet's serial would otherwise be a day of 1970, and another column would hide it."""
    with pytest.raises(Unreadable) as error:
        draft({"occurred_at": BASE["occurred_at"], "created_at": BASE["occurred_at"], column: written})
    told = f"line 7 of x.jsonl has a number that is no date in {column!r}: {mapping.WRITE}"
    assert error.value.message == told


def test_a_time_before_2000_is_passed_over() -> None:
    found = draft({"occurred_at": "1970-01-01T00:00:00Z", "created_at": BASE["occurred_at"]})
    assert found is not None
    assert (found.occurred_at, found.created_at) == (HAPPENED, HAPPENED)
    assert drafted({"created_at": "0001-01-01"}).created_at == HAPPENED


def test_when_it_was_created_stands_in_where_nobody_says_when_it_happened() -> None:
    found = draft({"created_at": BASE["occurred_at"]})
    assert found is not None
    assert (found.occurred_at, found.created_at) == (HAPPENED, HAPPENED)


@pytest.mark.parametrize(
    ("word", "status"), [("", "done"), ("Completed", "done"), ("planned", "unfinished"), ("BOUNCED", "not_sent")]
)
def test_a_status_is_one_of_ours(word: str, status: str) -> None:
    assert drafted({"status": word}).status == status


def test_a_draft_is_no_activity_and_a_status_that_nobody_knows_is_not_guessed() -> None:
    assert draft({**BASE, "status": "Draft"}) is None
    with pytest.raises(Unreadable, match="a status that is none of"):
        draft({**BASE, "status": "zoomed"})
    assert drafted({"status": "zoomed"}, columns={"status": ""}).status == "done"


@pytest.mark.parametrize(
    ("row", "minutes"),
    [
        ({"duration_seconds": 90}, 1.5),
        ({"duration_minutes": "1,234"}, 1234.0),
        ({"duration_minutes": 0, "duration_seconds": 90}, 0.0),
        ({"duration_minutes": "long"}, None),
        ({"duration_seconds": -1}, None),
        ({"duration_minutes": "2,5"}, 2.5),
        ({"duration_minutes": 1440}, 1440.0),
        ({"duration_minutes": 1441}, None),
        ({"duration_minutes": 90_000, "duration_seconds": 90}, 1.5),
        ({"duration_seconds": 86_401}, None),
    ],
)
def test_a_duration_is_in_minutes_or_seconds(row: dict[str, Any], minutes: float | None) -> None:
    assert drafted(row).duration_minutes == minutes


@pytest.mark.parametrize(("written", "minutes"), [("1,234", 1.23), ("1.234", 1.23), ("1.234,5", 1234.5), ("7", 7.0)])
def test_a_file_delimited_by_semicolons_has_decimal_commas(written: str, minutes: float) -> None:
    related = {"file": "x.csv", "line": 7, "decimal_comma": True}
    found = draft({**BASE, "duration_minutes": written}, related=related)
    assert found is not None
    assert found.duration_minutes == minutes


@pytest.mark.parametrize(
    ("row", "sender"),
    [
        ({"from_email": "Jo Do <jo@amber.example>"}, Person("jo@amber.example", name="Jo Do")),
        ({"from_email": "'jo@amber.example'"}, Person("jo@amber.example")),
        ({"from_email": "Jo Do <jo@amber.example>", "from_name": "Jo"}, Person("jo@amber.example", name="Jo")),
        ({"from_email": "nobody"}, Person("nobody")),
        ({"from_name": "Jo"}, None),
    ],
)
def test_a_sender_may_be_written_as_in_a_header(row: dict[str, Any], sender: Person | None) -> None:
    assert drafted(row, "email").sender == sender


def test_a_fault_becomes_the_message() -> None:
    with pytest.raises(Unreadable, match=r"^line 3 of y.csv is not CSV$"):
        draft({}, related={"file": "y.csv", "line": 3, "fault": "is not CSV"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5,
)  # fmt: skip
NAMES = sorted(JsonlConfig.model_fields["columns"].default.model_dump())


@settings(max_examples=70)
@given(st.dictionaries(st.sampled_from(NAMES), JSON), st.sampled_from(["call", "email"]))
def test_whatever_stands_in_the_fields_a_line_is_a_draft_or_unreadable(row: dict[str, Any], kind: Kind) -> None:
    try:
        found = draft({**BASE, **row}, kind)
    except Unreadable:
        return
    assert found is None or found.occurred_at.tzinfo is not None
