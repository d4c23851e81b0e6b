"""Salesforce's stand-in counts rows by fields as Salesforce does, and refuses what Salesforce refuses."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.sandbox import Sandbox
from syncd.sandbox.salesforce import aggregate
from tests.test_sandbox_soql import Reader

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
BY_SUBTYPE = "SELECT TaskSubtype, COUNT(Id) n FROM Task GROUP BY TaskSubtype"


@pytest.fixture(scope="module")
def org() -> Iterator[Any]:
    """Serve an org with six tasks, one of them archived and one deleted, and an object of a package."""
    with Sandbox(now=lambda: NOW, salesforce={}) as box:
        salesforce = box.salesforce
        ada = salesforce.user("ada@lanternfield-sales.com", "Ada", "Aldermoor")
        for subtype, kind, status in (
            ("Call", "Call", "Completed"), ("call", None, "Completed"), ("Call", "", "Not Started"),
            ("Email", "Email", "Completed"),
        ):  # fmt: skip
            fields = {"TaskSubtype": subtype, "Type": kind, "Status": status, "OwnerId": ada}
            salesforce.put("Task", fields, modified_at=NOW)
        salesforce.archive(salesforce.put("Task", {"TaskSubtype": "Email", "Status": "Completed"}))
        salesforce.delete("Task", salesforce.put("Task", {"TaskSubtype": "Email"}))
        salesforce.object("aircall__Log__c")
        salesforce.put("aircall__Log__c", {"Name": "a"})
        yield box


@pytest.fixture(scope="module")
def reader(org: Any) -> Iterator[Reader]:
    reader = Reader(org)
    with closing(reader.http):
        yield reader


def groups(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    assert all(row["attributes"] == {"type": "AggregateResult"} for row in rows)
    return [tuple(value for name, value in row.items() if name != "attributes") for row in rows]


def subtypes(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return the groups, whichever writing of a subtype stands for its group."""
    return sorted((subtype.lower(), count) for subtype, count in groups(rows))


def test_rows_are_counted_by_a_field_without_regard_to_case(reader: Reader) -> None:
    assert subtypes(reader.rows(BY_SUBTYPE)) == [("call", 3), ("email", 1)]


def test_query_all_counts_archived_and_deleted_rows_too(reader: Reader) -> None:
    assert subtypes(reader.rows(BY_SUBTYPE, "queryAll")) == [("call", 3), ("email", 3)]
    undeleted = BY_SUBTYPE.replace(" GROUP", " WHERE IsDeleted = false GROUP")
    assert subtypes(reader.rows(undeleted, "queryAll")) == [("call", 3), ("email", 2)]


def test_several_fields_make_a_group_and_an_empty_text_is_null(reader: Reader) -> None:
    fields = "TaskSubtype, Type, IsClosed"
    soql = f"SELECT {fields}, COUNT(Id) n FROM Task WHERE TaskSubtype = 'Call' GROUP BY {fields}"
    assert sorted(groups(reader.rows(soql)), key=repr) == [
        ("Call", "Call", True, 1), ("Call", None, False, 1), ("call", None, True, 1),
    ]  # fmt: skip


def test_groups_have_an_order_and_a_limit(reader: Reader) -> None:
    for order, counts in (("COUNT(Id) DESC LIMIT 1", [3]), ("COUNT(Id)", [1, 3]), ("TaskSubtype DESC OFFSET 1", [3])):
        found = groups(reader.rows(f"{BY_SUBTYPE} ORDER BY {order}"))
        assert [count for _, count in found] == counts


def test_a_function_without_alias_is_called_expr_and_counts_what_is_not_empty(reader: Reader) -> None:
    (row,) = reader.rows("SELECT COUNT(Type), COUNT_DISTINCT(OwnerId) FROM Task")
    assert (row["expr0"], row["expr1"]) == (2, 1)


def test_a_path_leads_to_a_parents_field(reader: Reader) -> None:
    soql = "SELECT Owner.Email, COUNT(Id) n FROM Task GROUP BY Owner.Email"
    assert groups(reader.rows(soql)) == [("ada@lanternfield-sales.com", 4)]


def test_no_group_is_no_row_and_one_without_group_by_is_zero(reader: Reader) -> None:
    assert reader.rows(BY_SUBTYPE.replace(" GROUP", " WHERE Subject = 'none' GROUP")) == []
    assert groups(reader.rows("SELECT COUNT(Id) FROM Task WHERE Subject = 'none'")) == [(0,)]


@pytest.mark.parametrize(
    ("soql", "message"),
    [
        ("SELECT Subject, COUNT(Id) FROM Task GROUP BY Type", "Field must be grouped or aggregated: Subject"),
        ("SELECT Id FROM Task GROUP BY CreatedDate", "Field must be grouped or aggregated: Id"),
        ("SELECT COUNT(Id) FROM Task GROUP BY CreatedDate", "field 'CreatedDate' can not be grouped in a query call"),
        ("SELECT COUNT(Id) FROM Task GROUP BY Description", "field 'Description' can not be grouped in a query call"),
        ("SELECT COUNT(Description) FROM Task", "field 'Description' does not support aggregate operator COUNT"),
        (f"{BY_SUBTYPE} ORDER BY Subject", "Ordered field must be grouped or aggregated: Subject"),
        ("SELECT COUNT(Id) FROM Task LIMIT 1", "LIMIT is not allowed in an aggregate query without GROUP BY"),
        ("SELECT TYPEOF Who WHEN Lead THEN Name END FROM Task GROUP BY WhoId",
         "TYPEOF and child queries are not allowed in an aggregate query"),
        ("SELECT Type FROM Task GROUP Type", "unexpected token: 'GROUP'"),
        ("SELECT (SELECT COUNT(Id) FROM TaskWhoRelations) FROM Task", "unexpected token: '('"),
    ],
)  # fmt: skip
def test_what_cannot_be_grouped_is_refused(reader: Reader, soql: str, message: str) -> None:
    code, text = reader.refusal(soql)
    assert (code, text.splitlines()[-1]) == ("MALFORMED_QUERY", message)


def test_more_groups_than_a_page_are_an_error_unless_limited(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregate, "MOST_GROUPS", 1)
    assert reader.refusal(BY_SUBTYPE)[0] == "EXCEEDED_ID_LIMIT"
    assert len(reader.rows(f"{BY_SUBTYPE} LIMIT 1")) == 1


def test_the_list_of_objects_names_those_of_packages_and_no_hidden_one(reader: Reader, org: Any) -> None:
    def objects() -> dict[str, Any]:
        found = reader.http.get("/services/data/v66.0/sobjects").json()["sobjects"]
        return {row["name"]: row for row in found}

    found = objects()
    assert (found["aircall__Log__c"]["custom"], found["Task"]["custom"], "VoiceCall" in found) == (True, False, False)
    assert not any("fields" in row for row in found.values())
    org.salesforce.hide("aircall__Log__c")
    assert "aircall__Log__c" not in objects()
