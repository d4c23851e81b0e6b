"""Golden files as spreadsheets and other programs write them: the payload of each line, or why it is dead."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.drops import Drop

HEAD = "id,kind,occurred_at,title,owner_email,contact_email,account_domain"
REST = "Discovery,ada.eschenfeld@lanternfield.com,kaya@amber-bolts.com,amber-bolts.com"
NO_DATE = "has a number that is no date in 'occurred_at': write it as 2026-04-22 or 2026-04-22T10:30:00Z"
ROUNDED = "has a rounded number in 'id', such as 1.2E+11: format that column as text and export again"


def sent(drop: Drop) -> dict[str, dict[str, Any]]:
    """Make a pass, and return the payload of each activity by its CRM id."""
    assert drop.sync() is not None
    assert drop.balanced()
    return {name.split("-", 2)[2]: json.loads(body) for name, body in drop.recotap.bodies.items()}


@pytest.mark.parametrize(
    ("written", "occurred_at"),
    [
        ("20260422", "2026-04-22T12:00:00Z"),
        ("2026-04-22", "2026-04-22T12:00:00Z"),
        ("20260422103000", "2026-04-22T10:30:00Z"),
        ("2026-04-22 10:30", "2026-04-22T10:30:00Z"),
        ("2026-04-22 10:30:00 UTC", "2026-04-22T10:30:00Z"),
        ("2026-04-22T12:30:00+02:00", "2026-04-22T10:30:00Z"),
        ("1776853800", "2026-04-22T10:30:00Z"),
        ("1776853800000", "2026-04-22T10:30:00Z"),
    ],
)
def test_issue_12_a_date_is_sent_as_the_date_that_it_is(tmp_path: Path, written: str, occurred_at: str) -> None:
    with Drop(tmp_path) as drop:
        drop.file("x.csv", HEAD, f"a,call,{written},{REST}")
        assert sent(drop)["a"]["occurredAt"] == occurred_at


@pytest.mark.parametrize("written", ["46134.4375", "46134", "2026", "1.77685E+12", "0"])
def test_issue_12_a_number_that_is_no_date_makes_a_dead_line_with_its_place(tmp_path: Path, written: str) -> None:
    with Drop(tmp_path) as drop:
        drop.file("x.csv", HEAD, f"a,call,2026-04-22,{REST}", f"b,call,{written},{REST}")
        assert list(sent(drop)) == ["a"]
        assert drop.details() == {"b": f"line 3 of x.csv {NO_DATE}"}


def test_issue_12_lines_with_rounded_ids_are_dead_lines_each_with_its_place(tmp_path: Path) -> None:
    with Drop(tmp_path) as drop:
        lines = (f"1.23457E+11,call,2026-04-{day},{REST}" for day in range(10, 15))
        drop.file("x.csv", HEAD, *lines, f"123456789012,call,2026-04-22,{REST}")
        assert list(sent(drop)) == ["123456789012"]
        assert sorted(drop.details().values()) == [f"line {number} of x.csv {ROUNDED}" for number in range(2, 7)]


@pytest.mark.parametrize(("first", "mark"), [("", ";"), ("sep=;\n", ";"), ("\ufeff", "\t"), ("", "|")])
def test_issue_12_a_file_is_read_whatever_delimits_it(tmp_path: Path, first: str, mark: str) -> None:
    head, line = f"{HEAD},duration_minutes", f"a,call,2026-04-22,{REST},2.5"
    number = "2,5" if mark == ";" else "2.5"
    with Drop(tmp_path) as drop:
        drop.file("x.csv", first + head.replace(",", mark), line.replace(",", mark).replace("2.5", number))
        payload = sent(drop)["a"]
        assert (payload["callTitle"], payload["durationMinutes"]) == ("Discovery", 2.5)


@pytest.mark.parametrize(
    "to",
    [
        "'p@amber-bolts.com'",
        "\u200bp@amber-bolts.com",
        "p@amber-bolts.com.",
        '"P Amber" <p@amber-bolts.com>',
        "mailto:p@amber-bolts.com",
        "'p@amber-bolts.com' <p@amber-bolts.com>",
        "p@amber-bolts.com p@amber-bolts.com",
    ],
)
def test_issue_12_a_receiver_is_a_contact_however_it_is_quoted(tmp_path: Path, to: str) -> None:
    row = {"id": "a", "kind": "email", "occurred_at": "2026-04-22", "from_email": "ada.eschenfeld@lanternfield.com"}
    with Drop(tmp_path) as drop:
        drop.file("x.jsonl", json.dumps({**row, "direction": "out", "to_email": to}, ensure_ascii=False))
        assert [each["email"] for each in sent(drop)["a"]["contacts"]] == ["p@amber-bolts.com"]


def test_issue_12_addresses_separated_by_a_space_are_two_contacts(tmp_path: Path) -> None:
    row = {"id": "a", "kind": "email", "occurred_at": "2026-04-22", "from_email": "ada.eschenfeld@lanternfield.com"}
    with Drop(tmp_path) as drop:
        drop.file("x.jsonl", json.dumps({**row, "direction": "out", "to_email": "p@amber-bolts.com q@amber-bolts.com"}))
        assert [each["email"] for each in sent(drop)["a"]["contacts"]] == ["p@amber-bolts.com", "q@amber-bolts.com"]


def test_issue_12_impossible_values_are_left_out_or_replaced(tmp_path: Path) -> None:
    with Drop(tmp_path) as drop:
        drop.file(
            "x.csv",
            f"{HEAD},created_at,duration_minutes,duration_seconds",
            f"a,call,1970-01-01T00:00:00Z,{REST},2026-04-22T10:30:00Z,1500,-3",
            f"b,call,1999-12-31,{REST},,,",
        )
        payload = sent(drop)["a"]
        assert (payload["occurredAt"], "durationMinutes" in payload) == ("2026-04-22T10:30:00Z", False)
        assert drop.details() == {"b": "line 3 of x.csv has no time in 'occurred_at'"}
