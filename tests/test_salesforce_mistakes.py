"""The fields that [calls] and [emails] name, compared with what an org shows. All mistakes come at once."""

from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.salesforce.config import SalesforceConfig
from connectors.salesforce.mistakes import broad, problems
from connectors.salesforce.schema import EMAIL, TASK, WANTED, Schema
from syncd.sandbox.salesforce import Salesforce
from syncd.sandbox.salesforce.describe import describe

BASE = {
    "connector": "salesforce", "start": datetime(2026, 3, 1, tzinfo=UTC), "session_id": "env:SESSION",
    "instance_url": "https://acme.my.salesforce.com",
}  # fmt: skip


def org(*hidden: str) -> Schema:
    """Return the schema of an org with a field of its own on each object, without the `hidden` ones."""
    made = Salesforce(seed=1)
    made.field(TASK, "Result__c")
    made.field(TASK, "Notes__c", "textarea")
    made.field(EMAIL, "Way__c")
    for name in hidden:
        made.hide(*name.split("."))
    seen = {name: kind for name in made.kinds if (kind := made.view(name)) is not None}
    described = {name: describe(seen[name], "/services/data/v66.0", seen) for name in WANTED if name in seen}
    own = [(TASK, "Result__c"), (TASK, "Notes__c"), (EMAIL, "Way__c"), (TASK, "Status"), (EMAIL, "Status")]
    return Schema.of(described, own)


def found(schema: Schema, *, read_from: tuple[str, ...] = (EMAIL, TASK), **tables: Any) -> list[str]:
    """Return the places of the mistakes, if emails are read from these objects."""
    config = SalesforceConfig.model_validate({**BASE, **tables})
    return [each.path.removeprefix("sources.crm.") for each in problems(config, schema, source="crm", emails=read_from)]


def test_every_place_that_names_a_hidden_field_is_a_mistake() -> None:
    calls = {
        "match": [{"TaskSubtype": "Call"}, {"Gone__c": "x", "Type": "Call"}], "except": [{"Also__c": "x"}],
        "fields": {"outcome": ["CallDisposition", "Result__c", "Lost__c"], "owner": ["OwnerId"]},
    }  # fmt: skip
    assert found(org(), calls=calls, occurred_at_field="When__c") == [
        "occurred_at_field", "calls.match, entry 2", "calls.except, entry 1", "calls.fields.outcome",
    ]  # fmt: skip


def test_the_defaults_do_without_a_hidden_field() -> None:
    assert found(org("Task.Type", "Task.CallDisposition", "Task.CallType", "EmailMessage.Incoming")) == []
    assert found(org("Task.Type"), calls={"match": [{"Type": "Call"}]}) == ["calls.match, entry 1"]


@pytest.mark.parametrize(
    ("entry", "emails", "is_mistake"),
    [
        ({"Way__c": "x"}, (EMAIL, TASK), False),
        ({"Way__c": "x"}, (TASK,), True),
        ({"Result__c": "x"}, (EMAIL, TASK), False),
        ({"Result__c": "x"}, (EMAIL,), True),
        ({"Result__c": "x", "Way__c": "x"}, (EMAIL, TASK), True),  # no record has both
        ({"Status": "x"}, (EMAIL,), False),
    ],
)
def test_an_exception_for_emails_needs_one_kind_of_record_with_all_its_fields(
    entry: dict[str, str], emails: tuple[str, ...], is_mistake: bool
) -> None:
    assert bool(found(org(), read_from=emails, emails={"except": [entry]})) is is_mistake


def test_a_stream_that_is_not_read_has_no_mistakes() -> None:
    assert found(org(), calls={"read": False, "match": [{"Gone__c": "x"}]}) == []


def test_an_entry_that_says_nothing_in_soql_is_broad() -> None:
    match = [{"TaskSubtype": "Call"}, {"Notes__c": "x"}, {"Notes__c": "x", "Result__c": "*"}]
    config = SalesforceConfig.model_validate({**BASE, "calls": {"match": match}})
    assert list(broad(config, org())) == ["calls.match, entry 2"]
