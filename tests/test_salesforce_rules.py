"""The tables [calls] and [emails] applied to rows as tools write them, with invented people."""

import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.salesforce import mapping
from connectors.salesforce.config import SalesforceConfig
from connectors.salesforce.rules import Rules
from connectors.salesforce.tables import CallTable, EmailTable
from syncd.activity import Draft
from syncd.connector import Record, Ref

MODIFIED = datetime(2026, 3, 1, 12, tzinfo=UTC)
TASK: dict[str, Any] = {
    "Id": "00Tx0000001a2BcEAI", "SystemModstamp": "2026-03-01T12:00:00.000+0000", "TaskSubtype": "Call", "Type": None,
    "CreatedDate": "2026-03-01T11:00:00.000+0000", "CompletedDateTime": "2026-03-01T10:40:00.000+0000",
    "IsClosed": True, "IsRecurrence": False, "Subject": "Call", "CallType": None, "CallDisposition": None,
    "CallDurationInSeconds": None, "CallObject": None, "OwnerId": "005x0000001a2BcAAI",
}  # fmt: skip
EMAIL: dict[str, Any] = {
    "Id": "02sx0000001a2BcAAI", "SystemModstamp": "2026-03-01T12:00:00.000+0000", "Status": "3", "Incoming": False,
    "CreatedDate": "2026-03-01T11:00:00.000+0000", "MessageDate": "2026-03-01T10:30:00.000+0000",
    "IsPrivateDraft": False, "IsBounced": False, "Subject": "Your quote",
}  # fmt: skip


def rules(table: type[CallTable] | type[EmailTable] = CallTable, **keys: Any) -> Rules:
    return Rules.of(table.model_validate(keys))


def call(row: Mapping[str, Any], **keys: Any) -> Draft | None:
    return mapping.call(Record(Ref(TASK["Id"], MODIFIED), {**TASK, **row}), zone=UTC, rules=rules(**keys))


def some(draft: Draft | None) -> Draft:
    assert draft is not None
    return draft


def email(row: Mapping[str, Any], **keys: Any) -> Draft:
    record = Record(Ref(EMAIL["Id"], MODIFIED), {**EMAIL, **row})
    return some(mapping.email(record, rules=rules(EmailTable, **keys)))


def email_task(row: Mapping[str, Any], **keys: Any) -> Draft | None:
    record = Record(Ref(TASK["Id"], MODIFIED), {**TASK, "TaskSubtype": "Email", **row})
    return mapping.email_task(record, zone=UTC, rules=rules(EmailTable, **keys))


# -- which tasks are calls --------------------------------------------------------------

TOOLS: dict[str, tuple[dict[str, Any], str | None]] = {  # by tool: its row, and which stream reads it by default
    "Log a Call": ({}, "call"),
    "Open CTI's demo adapter": ({"TaskSubtype": "Task", "Type": "Call"}, "call"),
    "Brekeke": ({"TaskSubtype": "Task", "CallType": "Inbound", "CallDurationInSeconds": 60}, None),
    "Twilio Flex": ({"Type": "Inbound"}, "call"),
    "Kixie without a contact": ({"TaskSubtype": "Task", "Type": "Call", "Subject": "missed: unknown"}, "call"),
    "Aircall, in progress": ({"IsClosed": False, "Type": "Call"}, None),
    "lemlist": ({"TaskSubtype": "Task", "Type": "Email", "Subject": "Email: [lemlist] Hello"}, "email"),
    "Outreach": ({"TaskSubtype": "Email", "Subject": "[Outreach] [Email] [In] Re: Hello"}, "email"),
    "LinkedIn Sales Navigator": ({"TaskSubtype": "Task", "Subject": "InMail"}, None),
    "list email": ({"TaskSubtype": "ListEmail"}, None),
    "a meeting": ({"TaskSubtype": "Task", "Type": "Meeting"}, None),
    "the head of a series": ({"IsRecurrence": True}, None),
    "subtype Call and Type Email": ({"Type": "Email"}, "call"),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tools_task_is_a_call_an_email_or_neither(tool: str) -> None:
    row, expected = TOOLS[tool]
    found = [draft.kind for draft in (call(row), email_task({"TaskSubtype": "Call", **row})) if draft]
    assert found == ([expected] if expected else [])


def test_a_condition_takes_in_what_the_default_leaves_out() -> None:
    brekeke, aircall = TOOLS["Brekeke"][0], TOOLS["Aircall, in progress"][0]
    match = [{"CallType": "*"}, {"TaskSubtype": "Call", "IsClosed": False, "Type": "Call"}]
    assert some(call(brekeke, match=match)).direction == "inbound"
    assert some(call(aircall, match=match)).status == "done"
    assert call({"IsClosed": False, "CallType": "Inbound"}, match=match[:1]) is None  # closed is implied
    assert call({}, match=match) is None


def test_a_task_that_both_streams_admit_is_a_call() -> None:
    both = [{"TaskSubtype": ["Call", "Email"]}]
    record = Record(Ref(TASK["Id"], MODIFIED), {**TASK, "TaskSubtype": "Email"})
    assert mapping.email_task(record, zone=UTC) is not None
    assert mapping.email_task(record, zone=UTC, calls=rules(match=both)) is None


def test_white_space_that_salesforce_keeps_is_part_of_a_text() -> None:
    """It trims ASCII's only, so a query for Call does not find a no-break space before it."""
    match = [{"Type": "Call"}, {"Type": ""}]
    admitted = [
        rules(match=match).admits({"Type": each, "IsClosed": True}) for each in (" Call ", "\u00a0Call", "\u00a0")
    ]
    assert admitted == [True, False, False]
    assert rules(match=[{"Type": "*call"}]).admits({"Type": "\u00a0Call\u2003", "IsClosed": True}) is False
    assert rules(match=[{"Type": "*call*"}]).admits({"Type": "\u00a0Call\u2003", "IsClosed": True})


# -- what is left out -------------------------------------------------------------------

SMS = [{"CreatedById": "005000000000001"}, {"Subject": ["SMS *", "* sms *"]}]


@pytest.mark.parametrize(
    ("row", "entry"),
    [
        ({"Subject": "SMS to Kaya", "CreatedById": None}, 2),
        ({"Subject": "An SMS from Kaya", "CreatedById": "005000000000001AAA"}, 1),
        ({"Subject": "Call", "CreatedById": "005000000000002AAA"}, None),
    ],
)
def test_an_exception_says_by_which_entry_a_call_is_left_out(row: dict[str, Any], entry: int | None) -> None:
    expected = None if entry is None else f"except, entry {entry}"
    assert some(call(row, **{"except": SMS})).filtered == expected


def test_an_exception_applies_to_records_that_have_all_its_fields() -> None:
    """An EmailMessage has no TaskSubtype. So an entry for empty ones does not leave it out."""
    apart = {"except": [{"TaskSubtype": "", "Subject": "*"}, {"FromAddress": "*", "Subject": "*[Opened]*"}]}
    opened = {"Subject": "[Opened] Hello"}
    assert email({**opened, "FromAddress": "a@b.example"}, **apart).filtered == "except, entry 2"
    assert email(opened, **apart).filtered is None
    assert some(email_task({**opened, "FromAddress": "a@b.example"}, **apart)).filtered == "except, entry 2"


# -- fields and values ------------------------------------------------------------------


def fields(**names: list[str]) -> dict[str, Any]:
    return {"fields": names}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"CallDisposition": "Connected", "Result__c": "Other"}, "Connected"),
        ({"CallDisposition": "  ", "Result__c": "Other"}, "Other"),
        ({"Result__c": 7}, "7"),
        ({"Result__c": False}, None),
        ({}, None),
    ],
)
def test_the_first_field_that_is_not_empty_is_the_outcome(row: dict[str, Any], expected: str | None) -> None:
    assert some(call(row, **fields(outcome=["CallDisposition", "Result__c"]))).outcome == expected


KIXIE = {
    "outcome": {"answered:*": "Connected", "missed:*": "Missed"},
    "direction": {"Us": "outbound", "*[In]*": "inbound"},
}


@pytest.mark.parametrize(
    ("row", "outcome", "direction"),
    [
        ({"Subject": "answered: Kaya"}, "Connected", None),
        ({"Subject": "Missed: Kaya", "CallDisposition": "Standard"}, "Missed", None),
        ({"CallDisposition": "answered: twice", "Subject": "missed: once"}, "Connected", None),
        ({"CallDisposition": "Busy"}, "Busy", None),
        ({"Sender__c": "us"}, None, "outbound"),
        ({"Sender__c": "Them", "Subject": "[Outreach] [Call] [in] Hello"}, None, "inbound"),
        ({"Sender__c": "Us", "Subject": "Re: [In] Hello"}, None, "outbound"),
        ({"Sender__c": "Inbound"}, None, "inbound"),
        ({"Sender__c": "INTERNAL"}, None, "internal"),
        ({"Sender__c": "Them"}, None, None),
        ({"CallType": "Outbound"}, None, None),
    ],
)
def test_values_translate_the_field_then_the_subject(
    row: dict[str, Any], outcome: str | None, direction: str | None
) -> None:
    draft = some(call(row, values=KIXIE, fields={"direction": ["Sender__c"]}))
    assert (draft.outcome, draft.direction) == (outcome, direction)


def test_a_key_without_a_star_comes_first_then_the_order_of_the_file() -> None:
    values = {"outcome": {"*a*": "first", "b*": "second", "ab": "exact"}}
    assert [some(call({"CallDisposition": each}, values=values)).outcome for each in ("ab", "ba", "bb")] == [
        "exact", "first", "second",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "minutes"),
    [
        ({"CallDurationInSeconds": 90, "Minutes__c": 5}, 1.5),
        ({"Minutes__c": 2.5}, 2.5),
        ({"CallDurationInSeconds": -5, "Minutes__c": 2}, 2),
        ({"CallDurationInSeconds": 86_401, "Minutes__c": 1440}, 1440),
        ({"CallDurationInSeconds": 86_401, "Minutes__c": 1441}, None),
        ({"CallDurationInSeconds": 0, "Minutes__c": 2}, 0),
    ],
)
def test_the_first_possible_duration_counts(row: dict[str, Any], minutes: float | None) -> None:
    assert some(call(row, **fields(duration_minutes=["Minutes__c"]))).duration_minutes == minutes


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"When__c": "2026-02-01T08:00:00.000+0000", "Day__c": "2026-02-02"}, "2026-02-01T08:00:00+00:00"),
        ({"When__c": None, "Day__c": "2026-02-02"}, "2026-02-02T12:00:00+00:00"),
        ({"When__c": "1970-01-01T00:00:00.000+0000", "Day__c": "1899-12-30"}, "2026-03-01T10:40:00+00:00"),
        ({"When__c": "soon"}, "2026-03-01T10:40:00+00:00"),
    ],
)
def test_the_first_possible_time_counts(row: dict[str, Any], expected: str) -> None:
    draft = some(call(row, **fields(occurred_at=["When__c", "Day__c"])))
    assert draft.occurred_at == datetime.fromisoformat(expected)


def test_the_old_key_for_the_time_comes_before_the_list() -> None:
    table = CallTable.model_validate(fields(occurred_at=["Day__c", "When__c"]))
    assert Rules.of(table, occurred_at_field="When__c").fields.occurred_at == ("When__c", "Day__c")


def test_an_email_takes_its_fields_and_values_too() -> None:
    named = {"title": ["Topic__c", "Subject"], "occurred_at": ["Sent__c"], "direction": ["Way__c", "Incoming"]}
    keys = {"fields": named, "values": {"direction": {"*<<*": "inbound"}}}
    plain = email({}, **keys)
    assert (plain.title, plain.direction, plain.occurred_at.hour) == ("Your quote", "outbound", 10)
    row = {"Topic__c": "Other", "Sent__c": "2026-02-01T08:00:00.000+0000", "Way__c": "Inbound"}
    own = email(row, **keys)
    assert (own.title, own.direction, own.occurred_at.hour) == ("Other", "inbound", 8)
    assert email({"Subject": "Email: << Hello"}, **keys).direction == "inbound"  # Incoming is false by default
    assert some(email_task({"Subject": "Email: << Hello"}, **keys)).direction == "inbound"
    assert some(email_task({"Subject": "Email: Hello"}, **keys)).direction is None
    assert email({"Incoming": True}).direction == "inbound"


def test_a_calls_id_is_the_first_of_its_fields() -> None:
    assert some(call({"CallObject": "0LQ1"})).call_id == "0LQ1"
    assert some(call({"Vendor_Id__c": "x"}, **fields(call_id=["CallObject", "Vendor_Id__c"]))).call_id == "x"


# -- origins ----------------------------------------------------------------------------


def origins(draft: Draft | None) -> Mapping[str, str]:
    found = some(draft).origins
    assert found is not None
    return found()


def test_a_call_tells_the_field_that_each_value_came_from() -> None:
    row = {"CallDurationInSeconds": 60, "CallType": "Outbound", "Subject": "answered: Kaya"}
    found = origins(call(row, values=KIXIE))
    assert {name: found[name] for name in ("occurred_at", "title", "direction", "outcome", "duration_minutes")} == {
        "occurred_at": "CompletedDateTime", "title": "Subject", "direction": "CallType",
        "outcome": "Subject, values.outcome", "duration_minutes": "CallDurationInSeconds",
    }  # fmt: skip
    assert {"owner": "OwnerId", "companies": "AccountId"}.items() <= found.items()


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"ActivityDate": "2026-01-15"}, "ActivityDate"),
        ({"CompletedDateTime": None}, "CreatedDate"),
        ({"When__c": "2026-02-01T08:00:00.000+0000"}, "When__c"),
        ({"When__c": "1970-01-01T00:00:00.000+0000"}, "CompletedDateTime"),
    ],
)
def test_a_call_tells_which_time_it_has(row: dict[str, Any], field: str) -> None:
    assert origins(call(row, **fields(occurred_at=["When__c"])))["occurred_at"] == field


def test_an_email_tells_the_field_that_each_value_came_from() -> None:
    found = origins(email({"Subject": "Email: << Hello"}, values={"direction": {"*<<*": "inbound"}}))
    assert found["direction"] == "Subject, values.direction"
    assert (found["occurred_at"], found["sender"], found["title"]) == ("MessageDate", "FromAddress", "Subject")
    assert origins(email({"MessageDate": None}))["occurred_at"] == "CreatedDate"
    assert "outcome" not in found


# -- the tables themselves --------------------------------------------------------------

BASE = {
    "connector": "salesforce", "start": MODIFIED, "session_id": "env:SESSION",
    "instance_url": "https://acme.my.salesforce.com",
}  # fmt: skip


@pytest.mark.parametrize(
    ("table", "place", "message"),
    [
        ({"calls": {"match": []}}, "calls.match", "expected 1 to 50 entries"),
        ({"calls": {"match": [{"Task Subtype": "Call"}]}}, "calls.match.0", "API name of a field"),
        ({"calls": {"match": [{"Type": []}]}}, "calls.match.0", "text in quotes"),
        ({"calls": {"fields": {"outcome": ["Call Result"]}}}, "calls.fields.outcome.0", "API name of a field"),
        ({"calls": {"fields": {"outcome": ["Id FROM User"]}}}, "calls.fields.outcome.0", "API name of a field"),
        ({"calls": {"fields": {"outcome": [""]}}}, "calls.fields.outcome.0", "API name of a field"),
        ({"calls": {"fields": {"outcomes": ["A"]}}}, "calls.fields.outcomes", "Extra inputs"),
        ({"emails": {"fields": {"outcome": ["A"]}}}, "emails.fields.outcome", "Extra inputs"),
        ({"calls": {"values": {"direction": {"Us": "out"}}}}, "calls", "inbound, outbound, internal right of the ="),
        ({"calls": {"values": {"title": {"a": "b"}}}}, "calls", "tables for direction and outcome only"),
        ({"emails": {"values": {"outcome": {"a": "b"}}}}, "emails", "tables for direction only"),
        ({"calls": {"values": {"outcome": {" ": "b"}}}}, "calls", "keys of 1 to 255 characters"),
        ({"calls": {"values": {"outcome": {str(n): "b" for n in range(201)}}}}, "calls", "at most 200 keys"),
        ({"calls": {"fields": {"outcome": [f"{'x' * 70}{n}" for n in range(15)]}}}, "", "too many fields"),
    ],
)
def test_a_mistake_in_a_table_is_named_at_its_place(table: dict[str, Any], place: str, message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        SalesforceConfig.model_validate({**BASE, **table})
    found = {".".join(map(str, error["loc"])): error["msg"] for error in raised.value.errors()}
    assert message in found[place], found


def test_the_fields_that_a_source_names_are_known_each_once() -> None:
    config = SalesforceConfig.model_validate({
        **BASE, "occurred_at_field": "When__c", "emails": {"except": [{"Status": "5"}]},
        "calls": {"match": [{"Type": "Call", "Status": "Done"}], "fields": {"outcome": ["Type", "Result__c"]}},
    })  # fmt: skip
    assert config.named[:3] == ("When__c", "Type", "Status")
    assert len(set(config.named)) == len(config.named)
    assert {"Result__c", "OwnerId", "Incoming"} <= set(config.named)


def test_the_readmes_conditions_are_valid() -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(\[sources\.salesforce\.calls\]\n.*?)```", text, re.DOTALL)
    shown = CallTable.model_validate(tomllib.loads(block)["sources"]["salesforce"]["calls"])
    assert Rules.of(shown).filtered({"Subject": "SMS from Kaya", "CreatedById": None}) == "except, entry 1"
    assert {"Caller__c", "Call_Result__c"} <= set(shown.named)
