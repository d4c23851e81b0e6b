"""Read an org's schema from describes of Salesforce's shape."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.salesforce.schema import (
    ACCOUNT,
    CASE_SENSITIVE,
    CONTACT,
    EMAIL,
    EMAIL_PEOPLE,
    LEAD,
    TASK,
    TASK_PEOPLE,
    VITAL,
    WANTED,
    Schema,
)
from syncd.sandbox.salesforce import Salesforce, sample
from syncd.sandbox.salesforce.describe import describe

BASE = "/services/data/v66.0"
FEATURES = {
    "enhanced_email": "Enhanced Email",
    "shared_activities": "Shared Activities",
    "tracking": "email tracking",
    "bounce_management": "bounce management",
}


def described(*, custom: Iterable[tuple[str, str]] = (), **settings: Any) -> dict[str, Any]:
    """Describe the wanted objects, as an invented org does."""
    org = Salesforce(seed=1, **settings)
    for object_type, name in custom:
        org.field(object_type, name)
    seen = {name: kind for name in org.kinds if (kind := org.view(name)) is not None}
    return {name: describe(seen[name], BASE, seen) if name in seen else None for name in WANTED}


def without(describes: dict[str, Any], object_type: str, *names: str) -> dict[str, Any]:
    whole = describes[object_type]
    fields = [row for row in whole["fields"] if row["name"] not in names]
    return {**describes, object_type: {**whole, "fields": fields}}


def unfilterable(describes: dict[str, Any], object_type: str, name: str) -> dict[str, Any]:
    whole = describes[object_type]
    fields = [{**row, "filterable": False} if row["name"] == name else row for row in whole["fields"]]
    return {**describes, object_type: {**whole, "fields": fields}}


BARE: dict[str, Any] = dict.fromkeys(FEATURES, False)
WHOLE = described()


def test_the_whole_org_lacks_nothing_and_hides_nothing() -> None:
    schema = Schema.of(WHOLE)
    assert [schema.lacking(name) for name in (TASK, EMAIL)] == [[], []]
    assert list(schema.absent()) == []
    assert schema.hidden() == []
    assert schema.child(EMAIL) == "EmailMessageRelations"
    assert schema.relationship(TASK, "WhoId") == "Who"
    assert schema.relationship(TASK, "Subject") is None


def test_the_recorded_describe_is_read() -> None:
    """The one body of a real org that there is: an account's, cut to eight fields."""
    recorded = sample("describe_account_excerpt.json")
    schema = Schema.of({ACCOUNT: recorded})
    names = {row["name"] for row in recorded["fields"]}
    assert set(schema.fields[ACCOUNT]) == names & set(WANTED[ACCOUNT]) == {"Id", "Name", "Website"}
    assert schema.unfilterable == ()
    assert schema.hidden() == []  # IsPersonAccount is missing almost everywhere


@pytest.mark.parametrize("off", FEATURES)
def test_each_feature_that_is_off_is_named_alone(off: str) -> None:
    settings: dict[str, Any] = {off: False}
    schema = Schema.of(described(**settings))
    assert [feature for feature, _ in schema.absent()] == [FEATURES[off]]
    assert schema.hidden() == []
    assert schema.lacking(TASK) == []


def test_features_that_are_off_together_are_named_as_far_as_they_can_be_missed() -> None:
    """Where there are no email messages, nobody wants to hear that these are not tracked."""
    schema = Schema.of(described(**BARE))
    assert [feature for feature, _ in schema.absent()] == ["Enhanced Email", "Shared Activities"]
    assert schema.hidden() == []
    kept = Schema.of(described(tracking=False, bounce_management=False, shared_activities=False))
    assert [feature for feature, _ in kept.absent()] == ["Shared Activities", "email tracking", "bounce management"]


def test_every_feature_says_what_follows() -> None:
    assert all(consequence for _, consequence in Schema.of({}).absent())


def test_an_org_without_email_messages_has_no_child_query() -> None:
    schema = Schema.of(described(enhanced_email=False))
    assert schema.child(EMAIL) is None
    assert not schema.has(EMAIL)
    assert schema.lacking(EMAIL) == ["EmailMessage.Id", "EmailMessage.SystemModstamp", "EmailMessage.CreatedDate"]


@pytest.mark.parametrize("object_type", WANTED)
def test_each_hidden_field_is_named_once(object_type: str) -> None:
    told_apart = {
        (TASK_PEOPLE, "RelationId"), (EMAIL, "Id"), (EMAIL, "IsTracked"), (EMAIL, "IsBounced"), (TASK, "IsArchived"),
        (TASK_PEOPLE, "IsDeleted"),
        (CONTACT, "IsPersonAccount"), (ACCOUNT, "IsPersonAccount"), (TASK, "IsRecurrence"), (TASK, "WhoCount"),
    }  # fmt: skip
    whole = described(voice_call=True)
    for name in WANTED[object_type]:
        schema = Schema.of(without(whole, object_type, name))
        expected = [] if (object_type, name) in told_apart else [f"{object_type}.{name}"]
        assert schema.hidden() == expected, name


def test_a_hidden_object_is_not_named_field_by_field() -> None:
    assert Schema.of({**WHOLE, CONTACT: None}).hidden() == []


def test_what_spoils_records_for_good_is_told_apart_from_what_leaves_a_key_out() -> None:
    assert Schema.of(WHOLE).vital() == []
    for object_type, names in VITAL.items():
        assert set(names) <= set(WANTED[object_type])
        for name in names:
            assert Schema.of(without(WHOLE, object_type, name)).vital() == [f"{object_type}.{name}"]
    assert Schema.of(without(WHOLE, CONTACT, "Phone")).vital() == []
    assert Schema.of({**WHOLE, CONTACT: None}).vital() == ["Contact"]
    assert Schema.of({**WHOLE, LEAD: None}).vital() == []
    assert Schema.of(described(enhanced_email=False)).vital() == []


@pytest.mark.parametrize("name", ["Id", "SystemModstamp", "CreatedDate", "TaskSubtype", "IsClosed"])
def test_a_needed_field_that_is_hidden_makes_tasks_unreadable(name: str) -> None:
    assert Schema.of(without(WHOLE, TASK, name)).lacking(TASK) == [f"Task.{name}"]


@pytest.mark.parametrize(
    ("object_type", "name"),
    [(TASK, "SystemModstamp"), (TASK, "TaskSubtype"), (TASK, "IsClosed"), (TASK, "Id"), (TASK, "IsDeleted"),
     (EMAIL, "SystemModstamp"), (EMAIL, "IsDeleted")],
)  # fmt: skip
def test_a_field_that_cannot_be_filtered_by_makes_its_object_unreadable_and_no_other(
    object_type: str, name: str
) -> None:
    schema = Schema.of(unfilterable(WHOLE, object_type, name))
    (other,) = {TASK, EMAIL} - {object_type}
    assert schema.lacking(object_type) == [f"{object_type}.{name}"]
    assert schema.lacking(other) == []


def test_a_field_that_nothing_is_filtered_by_need_not_be_filterable() -> None:
    assert Schema.of(unfilterable(WHOLE, TASK, "Subject")).lacking(TASK) == []


def test_the_type_of_a_field_is_told_if_a_query_can_be_filtered_by_it() -> None:
    schema = Schema.of(unfilterable(WHOLE, TASK, "Subject"))
    assert schema.type_to_filter_by(TASK, "Subject") is None
    assert schema.type_to_filter_by(TASK, "Nowhere__c") is None
    assert Schema.of(WHOLE).type_to_filter_by(TASK, "Subject") == "combobox"
    exact = {**WHOLE[TASK], "fields": [{**row, "caseSensitive": True} for row in WHOLE[TASK]["fields"]]}
    sensitive = Schema.of({TASK: exact})
    assert [sensitive.type_to_filter_by(TASK, name) for name in ("Subject", "OwnerId")] == [CASE_SENSITIVE, "reference"]
    assert Schema.unpack(Schema.of(WHOLE).pack()) == Schema.of(WHOLE)


def test_a_hidden_deletion_mark_makes_nothing_unreadable() -> None:
    assert Schema.of(without(WHOLE, TASK, "IsDeleted")).lacking(TASK) == []


def test_custom_fields_are_known_where_they_are_asked_for_and_there() -> None:
    custom = [(TASK, "Call_Time__c"), (CONTACT, "LinkedIn__c")]
    describes = described(custom=custom)
    assert not Schema.of(describes).has(TASK, "Call_Time__c")
    schema = Schema.of(describes, [*custom, (TASK, "Nowhere__c")])
    assert [schema.has(*field) for field in custom] == [True, True]
    assert not schema.has(TASK, "Nowhere__c")
    assert schema.kept(TASK, ("Nowhere__c", "Call_Time__c", "Subject", "Call_Time__c")) == ["Call_Time__c", "Subject"]


def test_an_object_that_cannot_be_queried_is_none() -> None:
    schema = Schema.of({**WHOLE, EMAIL: {**WHOLE[EMAIL], "queryable": False}})
    assert not schema.has(EMAIL)


def test_a_child_relationship_counts_only_where_its_parent_has_it() -> None:
    """Account and Case have EmailMessages too. The parent says whose children they are."""
    bare = {**WHOLE[EMAIL], "childRelationships": [{"relationshipName": None}, {"relationshipName": "Attachments"}]}
    assert Schema.of({**WHOLE, EMAIL: bare}).child(EMAIL) is None
    assert Schema.of(WHOLE).child(TASK) is None


VARIANTS = {
    "whole": WHOLE,
    "bare": described(**BARE),
    "person accounts": described(person_accounts=True, voice_call=True),
    "unfilterable": unfilterable(WHOLE, TASK, "SystemModstamp"),
    "nothing": dict.fromkeys(WANTED),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_kept_as_json_says_the_same_afterwards(variant: str) -> None:
    schema = Schema.of(VARIANTS[variant])
    again = Schema.unpack(json.loads(json.dumps(schema.pack())))
    for ask in (lambda s: s.hidden(), lambda s: list(s.absent()), lambda s: s.lacking(TASK), lambda s: s.lacking(EMAIL),
                lambda s: s.child(EMAIL), lambda s: s.relationship(EMAIL_PEOPLE, "RelationId")):  # fmt: skip
        assert ask(again) == ask(schema)
    everything = [(name, field) for name, fields in WANTED.items() for field in fields]
    assert [again.has(*each) for each in everything] == [schema.has(*each) for each in everything]
    assert json.dumps(again.pack()) == json.dumps(schema.pack())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ROW = st.fixed_dictionaries({}, optional={
    "name": JSON | st.sampled_from(sorted(WANTED[TASK])), "relationshipName": JSON | st.just("EmailMessageRelations"),
    "filterable": JSON,
})  # fmt: skip
DESCRIBE = JSON | st.fixed_dictionaries({}, optional={
    "queryable": JSON, "fields": JSON | st.lists(ROW | JSON, max_size=3),
    "childRelationships": JSON | st.lists(ROW | JSON, max_size=3),
})  # fmt: skip


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(WANTED, DESCRIBE)))
def test_no_json_in_a_describes_place_stops_the_reading(describes: dict[str, Any]) -> None:
    schema = Schema.of(describes, [(TASK, "Call_Time__c")])
    schema.hidden()
    list(schema.absent())
    for object_type in (TASK, EMAIL):
        schema.lacking(object_type)
        schema.child(object_type)
    Schema.unpack(json.loads(json.dumps(schema.pack()))).hidden()
