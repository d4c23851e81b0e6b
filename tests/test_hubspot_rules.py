"""HubSpot's golden cases of odd records, and the operator's rules: match, except, fields and values."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.hubspot import mapping, people, requested
from connectors.hubspot.config import HubSpotCalls, HubSpotConfig, HubSpotEmails
from connectors.hubspot.search import between, search_body
from syncd.activity import Draft, Owner, Person
from syncd.connector import Record, Ref
from syncd.errors import ConfigError
from tests.world import World

MODIFIED = datetime(2026, 3, 1, 12, tzinfo=UTC)
HAPPENED = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
BASE = {"hs_timestamp": "2026-03-01T10:30:00Z", "hs_createdate": "2026-03-01T10:31:00.000Z"}
RUNA, ODA = Owner("77", "runa@lantern.example", "Runa Dunmere"), Owner("78", "oda@lantern.example", "Oda Vell")
DAYS_LATER = HAPPENED + timedelta(days=3)
SECOND = timedelta(seconds=1)


def record(properties: dict[str, Any], **related: Any) -> Record:
    return Record(Ref("9", MODIFIED), {"id": "9", "properties": {**BASE, **properties}}, related)


def call(rules: dict[str, Any] | None = None, related: dict[str, Any] | None = None, **properties: Any) -> Draft | None:
    return mapping.call(record(properties, **(related or {})), HubSpotCalls.model_validate(rules or {}))


def email(
    rules: dict[str, Any] | None = None, related: dict[str, Any] | None = None, **properties: Any
) -> Draft | None:
    return mapping.email(record(properties, **(related or {})), HubSpotEmails.model_validate(rules or {}))


def headers(**parts: Any) -> str:
    return json.dumps(parts)


def receivers(**properties: Any) -> list[tuple[str | None, str | None]]:
    draft = email(**properties)
    assert draft is not None
    return [(person.email, person.name) for person in draft.others]


# -- golden cases -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draft",
    [
        {"hs_email_status": "DRAFT", "hs_email_direction": "EMAIL"},
        {"hs_email_status": "draft"},
        {"hs_email_direction": "DRAFT_EMAIL"},
        {"hs_email_status": "SENT", "hs_email_direction": "DRAFT_EMAIL"},
    ],
)
def test_a_draft_is_no_activity(draft):
    assert email(**draft) is None


@pytest.mark.parametrize("status", sorted(mapping.RUNNING))
@pytest.mark.parametrize(
    ("read_after", "properties", "expected"),
    [
        (timedelta(hours=24), {"hs_call_duration": "60000"}, "unfinished"),
        (timedelta(hours=24, seconds=61), {"hs_call_duration": "60000"}, "done"),
        (timedelta(days=3), {"hs_call_disposition": "guid"}, "done"),
        (timedelta(days=3), {"hs_call_duration": "60000", "hs_call_disposition": "guid"}, "done"),
        (timedelta(days=3), {}, "not_sent"),
        (timedelta(days=3), {"hs_call_duration": "0"}, "not_sent"),
        (-timedelta(days=3), {"hs_call_duration": "60000"}, "unfinished"),
    ],
)
def test_a_call_that_never_ends_is_judged_after_a_day(status, read_after, properties, expected):
    draft = call(None, {"read_at": HAPPENED + read_after}, hs_call_status=status, **properties)
    assert draft is not None
    assert draft.status == expected


def test_a_call_that_was_logged_late_has_a_day_from_then():
    created = {"hs_createdate": "2026-03-03T10:30:00Z", "hs_call_duration": "60000", "hs_call_status": "IN_PROGRESS"}
    two_days_later = call(None, {"read_at": HAPPENED + timedelta(days=2, hours=12)}, **created)
    assert two_days_later is not None
    assert two_days_later.status == "unfinished"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Jo Do <jo@acme.example>", [("jo@acme.example", "Jo Do")]),
        ('"Do, Jo" <jo@acme.example>', [("jo@acme.example", "Do, Jo")]),
        ("<jo@acme.example>", [("jo@acme.example", None)]),
        ("jo@acme.example", [("jo@acme.example", None)]),
        ("jo@acme.example; al@acme.example", [("jo@acme.example", None), ("al@acme.example", None)]),
        ("'jo@acme.example'", [("jo@acme.example", None)]),
        ("\u200bjo@acme.example", [("jo@acme.example", None)]),
        ("jo@acme.example al@acme.example", [("jo@acme.example", None), ("al@acme.example", None)]),
        ("jo@acme.example.", [("jo@acme.example", None)]),
        ("Jo Do", []),
    ],
)
def test_an_entry_of_the_headers_is_parsed_as_addresses(written, expected):
    assert receivers(hs_email_headers=headers(to=[{"email": written}])) == expected
    draft = email(hs_email_headers=headers(**{"from": {"email": written}}))
    assert draft is not None
    assert draft.sender == (Person(expected[0][0], name=expected[0][1]) if expected else None)


def test_the_name_of_an_entry_wins_over_that_of_its_address():
    entry = {"email": "J. <jo@acme.example>", "firstName": "Jo", "lastName": "Do"}
    assert receivers(hs_email_headers=headers(to=[entry])) == [("jo@acme.example", "Jo Do")]
    two = {**entry, "email": "jo@acme.example, al@acme.example"}
    assert receivers(hs_email_headers=headers(to=[two])) == [("jo@acme.example", None), ("al@acme.example", None)]


def test_an_endless_entry_of_the_headers_is_read_and_not_remembered():
    long = "x" * 500
    assert receivers(hs_email_headers=headers(to=[{"email": f"{long} <jo@acme.example>"}])) == [
        ("jo@acme.example", long)
    ]


@pytest.mark.parametrize("entries", [[], None, [{"email": None, "firstName": "Jo"}], [{"email": "Jo Do"}], ["?"]])
def test_a_part_of_the_headers_without_address_is_completed_by_the_properties(entries):
    found = receivers(
        hs_email_headers=headers(to=entries, cc=[{"email": "al@acme.example"}]), hs_email_to_email="jo@acme.example",
        hs_email_cc_email="not@read.example", hs_email_bcc_email="kim@acme.example",
    )  # fmt: skip
    assert [address for address, _ in found] == ["jo@acme.example", "al@acme.example", "kim@acme.example"]


def test_a_part_of_which_one_entry_lacks_an_address_keeps_the_others():
    found = receivers(
        hs_email_headers=headers(to=[{"email": "jo@acme.example"}, {"email": ""}]),
        hs_email_to_email="jo@acme.example;al@acme.example",
    )
    assert {address for address, _ in found} == {"jo@acme.example", "al@acme.example"}


def test_a_contact_without_an_address_has_an_additional_one_or_the_one_at_work():
    def address(**properties: Any) -> str | None:
        return people.contact({"id": "1", "properties": properties}, department="", seniority=None)[0].email

    assert (
        address(hs_additional_emails="a@acme.example;b@acme.example", work_email="w@acme.example") == "a@acme.example"
    )
    assert address(email="", hs_additional_emails="", work_email="w@acme.example") == "w@acme.example"
    assert address(email="main@acme.example", work_email="w@acme.example") == "main@acme.example"
    assert address() is None


@pytest.mark.parametrize(
    ("marked", "expected"),
    [("true", "out_of_office"), ("TRUE", "out_of_office"), (True, None), ("false", None), ("", None), (None, None)],
)
def test_an_answer_of_somebody_who_is_away_is_automated(marked, expected):
    draft = email(hs_incoming_email_is_out_of_office=marked)
    assert draft is not None
    assert draft.automated == expected


def test_an_email_has_its_message_id():
    draft = email(hs_email_message_id="<ab.12@mail.lantern.example>")
    assert draft is not None
    assert draft.message_id == "<ab.12@mail.lantern.example>"


# -- match and except ---------------------------------------------------------------------


def test_what_no_entry_of_match_admits_is_no_activity():
    rules = {"match": [{"hs_object_source": "INTEGRATION"}, {"hs_call_direction": "*", "hs_call_title": "SMS *"}]}
    assert call(rules, hs_object_source="integration") is not None
    assert call(rules, hs_call_direction="INBOUND", hs_call_title="sms to Jo") is not None
    assert call(rules, hs_call_direction="", hs_call_title="SMS to Jo") is None
    assert call(rules) is None
    assert email({"match": [{"hs_email_status": "SENT"}]}, hs_email_status="BOUNCED") is None


def test_what_except_names_is_left_out_and_says_by_which_entry():
    rules = {"except": [{"hs_call_title": "SMS *"}, {"hs_call_source": ["A", "B"]}]}
    found = [call(rules, **each) for each in ({"hs_call_title": "sms 1"}, {"hs_call_source": "b"}, {})]
    assert [draft and draft.filtered for draft in found] == ["except, entry 1", "except, entry 2", None]
    draft = email({"except": [{"hs_email_subject": ["Accepted:*", "Declined:*"]}]}, hs_email_subject="declined: Demo")
    assert draft is not None
    assert draft.filtered == "except, entry 1"


def test_no_condition_is_judged_while_the_content_is_hidden():
    rules = {"match": [{"hs_email_subject": "Demo*"}], "except": [{"hs_email_subject": ""}]}
    hidden = email(rules, {"redacted": True}, hs_email_subject=None)
    assert hidden is not None
    assert (hidden.redacted, hidden.filtered) == (True, None)
    assert email(rules, hs_email_subject=None) is None


# -- fields and values --------------------------------------------------------------------


def test_the_first_property_that_is_not_empty_counts():
    rules = {"fields": {"outcome": ["verdict", "hs_call_disposition"], "title": ["topic", "hs_call_title"],
                        "occurred_at": ["began", "hs_timestamp"], "call_id": ["vendor_id"]}}  # fmt: skip
    own = call(rules, verdict=" Won ", topic="Mine", began="2026-02-28T08:00:00Z", vendor_id="v-1")
    assert own is not None
    assert (own.outcome, own.title, own.call_id) == ("Won", "Mine", "v-1")
    assert own.occurred_at == datetime(2026, 2, 28, 8, tzinfo=UTC)
    theirs = call(rules, {"disposition": "Busy"}, hs_call_disposition="guid", verdict="", began="soon",
                  hs_call_title="Theirs")  # fmt: skip
    assert theirs is not None
    assert (theirs.outcome, theirs.title, theirs.occurred_at) == ("Busy", "Theirs", HAPPENED)
    by_status = call(rules, hs_call_status="NO_ANSWER")
    assert by_status is not None
    assert by_status.outcome is None, "the list replaces the default"


def test_an_outcome_has_the_label_of_its_option():
    rules = {"fields": {"outcome": ["verdict"]}}
    labels = {"verdict": {"w": "Won", "l": "Lost"}}
    found = [call(rules, {"labels": labels}, verdict=value) for value in ("w", "other")]
    assert [draft and draft.outcome for draft in found] == ["Won", "other"]


@pytest.mark.parametrize(
    ("properties", "minutes"),
    [
        ({"minutes": "2.5", "seconds": "30", "hs_call_duration": "1000"}, 0.5),
        ({"minutes": "2.5", "seconds": "", "hs_call_duration": "1000"}, 2.5),
        ({"minutes": "soon", "hs_call_duration": "90000"}, 1.5),
        ({"minutes": "-1", "seconds": "-1", "hs_call_duration": "-1"}, None),
        ({"hs_call_duration": str(25 * 3_600_000)}, None),
        ({"seconds": str(25 * 3_600), "hs_call_duration": "60000"}, 1.0),
    ],
)
def test_a_duration_comes_in_the_unit_of_its_property(properties, minutes):
    draft = call({"fields": {"duration_minutes": ["minutes"], "duration_seconds": ["seconds"]}}, **properties)
    assert draft is not None
    assert draft.duration_minutes == minutes


@pytest.mark.parametrize(
    ("properties", "direction"),
    [
        ({"hs_email_direction": "EMAIL", "hs_email_subject": "Re: [<<] Prices"}, "inbound"),
        ({"hs_email_direction": "EMAIL", "hs_email_subject": "Prices"}, "outbound"),
        ({"hs_email_direction": "FORWARDED_EMAIL", "hs_email_subject": "[<<]"}, "internal"),
        ({"hs_email_direction": None, "hs_email_subject": "[<<]"}, "inbound"),
        ({}, None),
    ],
)
def test_values_translate_the_property_and_then_the_title(properties, direction):
    rules = {"values": {"direction": {"*[<<]*": "inbound", "FORWARDED_EMAIL": "internal"}}}
    draft = email(rules, **properties)
    assert draft is not None
    assert draft.direction == direction


def test_values_translate_an_outcome():
    rules = {"values": {"outcome": {"Left*": "Voicemail", "*missed*": "Missed"}}}
    found = [call(rules, {"disposition": "Left live message"}, hs_call_disposition="guid"),
             call(rules, hs_call_title="Missed call"), call(rules, hs_call_status="BUSY"), call(rules)]  # fmt: skip
    assert [draft and draft.outcome for draft in found] == ["Voicemail", "Missed", "Busy", None]


def test_the_owners_are_candidates_in_order():
    draft = call(None, {"owners": (("sales_rep", RUNA), ("hubspot_owner_id", ODA))})
    assert draft is not None
    assert (draft.owner, draft.owners) == (RUNA, (ODA,))
    alone = email(None, {"owners": (("hubspot_owner_id", ODA),)})
    assert alone is not None
    assert (alone.owner, alone.owners) == (ODA, ())


def test_a_draft_tells_from_which_property_each_field_comes():
    rules = {"fields": {"outcome": ["verdict", "hs_call_status"]}, "values": {"direction": {"us": "outbound"}}}
    related = {"owners": (("sales_rep", RUNA), ("hubspot_owner_id", ODA)), "contacts": (Person("jo@acme.example"),)}
    draft = call(rules, related, hs_call_status="BUSY", hs_call_direction="US", hs_call_title="Demo")
    assert draft is not None
    assert draft.origins is not None
    assert draft.origins() == {
        "occurred_at": "hs_timestamp", "created_at": "hs_createdate", "status": "hs_call_status",
        "direction": "hs_call_direction, values.direction", "title": "hs_call_title", "outcome": "hs_call_status",
        "owner": "sales_rep", "owners": "hubspot_owner_id", "contacts": "associated contacts",
    }  # fmt: skip
    mail = email(hs_email_headers=headers(**{"from": {"email": "jo@acme.example"}}), hs_email_status="SENT")
    assert mail is not None
    assert mail.origins is not None
    assert mail.origins() == {
        "occurred_at": "hs_timestamp", "created_at": "hs_createdate", "status": "hs_email_status",
        "sender": "hs_email_headers from", "others": "hs_email_headers",
    }  # fmt: skip


def test_origins_are_in_no_message_and_no_comparison():
    draft = call(hs_call_title="Very private subject")
    assert draft == call(hs_call_title="Very private subject")
    assert "origins" not in repr(draft)


# -- configuration ------------------------------------------------------------------------


def mistakes(**table: Any) -> dict[str, str]:
    least = {"connector": "hubspot", "start": MODIFIED, "access_token": "env:HUBSPOT_TOKEN"}
    with pytest.raises(ValidationError) as found:
        HubSpotConfig.model_validate({**least, **table})
    return {".".join(map(str, each["loc"])): each["msg"] for each in found.value.errors()}


@pytest.mark.parametrize(
    ("table", "place", "words"),
    [
        ({"calls": {"fields": {"outcome": ["a b"]}}}, "calls.fields.outcome.0", "internal name of a property"),
        ({"calls": {"fields": {"outcome": "verdict"}}}, "calls.fields.outcome", "tuple"),
        ({"calls": {"fields": {"subject": ["x"]}}}, "calls.fields.subject", "not permitted"),
        ({"emails": {"fields": {"outcome": ["x"]}}}, "emails.fields.outcome", "not permitted"),
        ({"calls": {"values": {"title": {"a": "b"}}}}, "calls.values", "only the tables direction and outcome"),
        ({"emails": {"values": {"outcome": {"a": "b"}}}}, "emails.values", "only the tables direction"),
        ({"calls": {"values": {"direction": {"Us": "out"}}}}, "calls.values", "inbound, outbound or internal"),
        ({"calls": {"match": [{"x" * 90: "a"} for _ in range(20)]}}, "", ""),
        (
            {"calls": {"match": [{f"{n:02}".join(("x", "y" * 90)): "a"} for n in range(14)]}},
            "calls",
            "fewer properties",
        ),
        ({"calls": {"match": [{"hs call": "a"}]}}, "calls.match.0", "API name of a field"),
    ],
)
def test_a_mistake_in_the_rules_is_named(table, place, words):
    if not place:
        HubSpotConfig.model_validate(
            {"connector": "hubspot", "start": MODIFIED, "access_token": "env:HUBSPOT_TOKEN", **table}
        )
        return
    found = mistakes(**table)
    assert words in found[place]


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,99}", fullmatch=True)


@given(st.lists(NAMES, unique=True, max_size=40))
def test_a_search_with_the_named_properties_fits_hubspots_bound(names):
    try:
        rules = HubSpotEmails.model_validate({"match": [{name: "x"} for name in names]})
    except ValidationError:
        return
    body = search_body(between(10**13, 2 * 10**13), "hs_lastmodifieddate", 200, requested("emails", rules))
    assert {*names} <= {*body["properties"]}
    assert len(json.dumps(body)) < 3_000


def test_a_key_of_a_stream_that_is_nearly_right_is_told_as_the_file_has_it(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        world.configure("sources.hubspot", calls={"excep": []})
        with pytest.raises(ConfigError) as found:
            world.config()
    assert [(each.path, each.hint) for each in found.value.problems] == [
        ("sources.hubspot.calls.excep", "did you mean except?")
    ]
