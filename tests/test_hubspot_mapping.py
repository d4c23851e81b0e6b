"""HubSpot's mapping: golden pairs from recorded bodies and from hand-written ones with invented people."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.hubspot import mapping, people
from connectors.hubspot.config import HubSpotCalls, HubSpotEmails
from syncd.activity import Company, Draft, Owner, Person
from syncd.connector import Record, Ref
from syncd.errors import Unreadable
from syncd.sandbox import sample

MODIFIED = datetime(2026, 3, 1, 12, tzinfo=UTC)
CREATED = datetime(2026, 3, 1, 11, tzinfo=UTC)
HAPPENED = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
BASE = {"hs_timestamp": "2026-03-01T10:30:00Z", "hs_createdate": "2026-03-01T11:00:00.000Z"}
ADA = Person("ada@northmill.example", crm_id="1", name="Ada Fennbrook")
REP = Owner("77", "rep@lantern.example", "Runa Dunmere")


def record(properties: dict[str, Any], related: dict[str, Any] | None = None, **row: Any) -> Record:
    return Record(Ref("9", MODIFIED), {"id": "9", "properties": properties, **row}, related or {})


def call(related: dict[str, Any] | None = None, rules: HubSpotCalls | None = None, **properties: Any) -> Draft:
    draft = mapping.call(record({**BASE, **properties}, related), rules or HubSpotCalls())
    assert draft is not None
    return draft


def email(rules: HubSpotEmails | None = None, **properties: Any) -> Draft:
    draft = mapping.email(record({**BASE, **properties}), rules or HubSpotEmails())
    assert draft is not None
    return draft


def headers(**parts: Any) -> str:
    return json.dumps(parts)


def test_a_call_with_everything_says_everything():
    company = Company("5", "Northmill", ("northmill.example",))
    related = {
        "contacts": (ADA,),
        "companies": (company,),
        "owners": (("hubspot_owner_id", REP),),
        "disposition": "Left voicemail",
        "callee": None,
    }
    draft = call(
        related,
        hs_call_title="Discovery call",
        hs_call_duration="3800",
        hs_call_direction="OUTBOUND",
        hs_call_disposition="b2cf5968-551e-4856-9783-52b3da59a7d0",
        hs_call_status="COMPLETED",
    )
    assert draft == Draft(
        kind="call",
        occurred_at=HAPPENED,
        created_at=CREATED,
        direction="outbound",
        title="Discovery call",
        duration_minutes=0.06,
        outcome="Left voicemail",
        owner=REP,
        contacts=(ADA,),
        companies=(company,),
    )


def test_the_recorded_call_is_read():
    row = sample("calls_batch_read.200.json")["results"][0]
    draft = mapping.call(Record(Ref(row["id"], MODIFIED), row, {}))
    assert draft == Draft(
        kind="call",
        occurred_at=datetime(2025, 2, 17, 1, 32, 44, 872000, tzinfo=UTC),
        created_at=datetime(2025, 2, 14, 9, 40, 49, 438000, tzinfo=UTC),  # the envelope's: no hs_createdate there
        title="Support call",
        duration_minutes=0.06,
    )


def test_the_recorded_email_is_read():
    row = sample("email_full_properties.200.json")
    draft = mapping.email(Record(Ref(row["id"], MODIFIED), row, {}))
    sender, receiver = (
        Person("from@domain.com", name="FromFirst FromLast"),
        Person("to@test.com", name="ToFirst ToLast"),
    )
    assert draft == Draft(
        kind="email",
        occurred_at=datetime(2025, 10, 30, 3, 30, 17, 883000, tzinfo=UTC),
        created_at=datetime(2025, 2, 17, 6, 17, 42, 829000, tzinfo=UTC),
        direction="outbound",
        title="Let's talk about Ballerina",
        sender=sender,
        others=(receiver, sender),
    )


def test_the_recorded_email_is_read_the_same_without_its_headers():
    row = sample("email_full_properties.200.json")
    whole = mapping.email(Record(Ref(row["id"], MODIFIED), row, {}))
    bare = {**row, "properties": {**row["properties"], "hs_email_headers": None}}
    assert mapping.email(Record(Ref(row["id"], MODIFIED), bare, {})) == whole


@pytest.mark.parametrize("status", ["CALLING_CRM_USER", "CONNECTING", "IN_PROGRESS", "QUEUED", "RINGING", "HOLD"])
@pytest.mark.parametrize("write", [str, str.lower, lambda status: f" {status} "])
def test_a_running_call_is_unfinished(status, write):
    assert call(hs_call_status=write(status)).status == "unfinished"


@pytest.mark.parametrize(
    "status", ["COMPLETED", "UNKNOWN", "", None, "NO_ANSWER", "BUSY", "FAILED", "CANCELED", "MISSED"]
)
def test_every_other_call_is_done(status):
    assert call(hs_call_status=status).status == "done"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("NO_ANSWER", "No answer"),
        ("BUSY", "Busy"),
        ("FAILED", "Failed"),
        ("CANCELED", "Canceled"),
        ("MISSED", "Missed"),
        ("no_answer", "No answer"),
        ("COMPLETED", None),
        (None, None),
    ],
)
def test_a_call_without_disposition_has_its_statuss_outcome(status, outcome):
    assert call(hs_call_status=status).outcome == outcome
    labelled = call({"disposition": "Connected"}, hs_call_status=status, hs_call_disposition="guid")
    assert labelled.outcome == "Connected"


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("SENT", "done"),
        ("", "done"),
        (None, "done"),
        ("SCHEDULED", "unfinished"),
        ("SENDING", "unfinished"),
        ("RECEIVED", "done"),
        ("sent", "done"),
        ("SOMETHING_NEW", "unfinished"),
        ("BOUNCED", "not_sent"),
        ("FAILED", "not_sent"),
        ("CANCELED", "not_sent"),
    ],
)
def test_an_emails_status_decides(status, meaning):
    assert email(hs_email_status=status).status == meaning


@pytest.mark.parametrize(
    ("written", "direction"),
    [("INBOUND", "inbound"), ("OUTBOUND", "outbound"), (None, None), ("", None), ("SIDEWAYS", None)],
)
def test_a_calls_direction(written, direction):
    assert call(hs_call_direction=written).direction == direction


@pytest.mark.parametrize(
    ("written", "direction"),
    [("EMAIL", "outbound"), ("INCOMING_EMAIL", "inbound"), ("FORWARDED_EMAIL", None), (None, None)],
)
def test_an_emails_direction_and_a_forwarded_one_keeps_its_sender(written, direction):
    draft = email(hs_email_direction=written, hs_email_headers='{"from":{"email":"cleo@northmill.example"}}')
    assert draft.direction == direction
    assert draft.sender == Person("cleo@northmill.example")


def test_a_callee_is_a_stand_in_not_a_contact():
    draft = call({"contacts": (), "callee": ADA})
    assert (draft.contacts, draft.others) == ((), (ADA,))


def test_when_it_happened_falls_back_to_created_then_to_the_envelope_then_to_modified():
    assert mapping.call(record({"hs_createdate": "2026-03-01T11:00:00Z"})).occurred_at == CREATED
    assert mapping.call(record({}, createdAt="2026-03-01T11:00:00Z")).occurred_at == CREATED
    assert mapping.call(record({"hs_timestamp": "soon"})).occurred_at == MODIFIED


def test_open_and_click_counts_are_whole_numbers():  # written by hand: no sample has them
    draft = email(hs_email_open_count="3", hs_email_click_count="1.0")
    assert (draft.open_count, draft.click_count) == (3, 1)
    assert (email().open_count, email(hs_email_open_count="-1").open_count) == (None, None)


def test_a_sender_without_address_is_who_submitted_it():
    parts = {"from": {"email": None, "firstName": "X"}, "sender": {"email": "sub@lantern.example", "lastName": "Sub"}}
    assert email(hs_email_headers=headers(**parts)).sender == Person("sub@lantern.example", name="Sub")


def test_without_headers_the_derived_properties_serve():
    draft = email(
        hs_email_from_email="a@lantern.example",
        hs_email_from_firstname="A",
        hs_email_to_email="Bram+Ivor<b@x.example>;c@x.example",
        hs_email_cc_email='"Juniper, Oda" <o@x.example>, p@x.example',
    )
    assert draft.sender == Person("a@lantern.example", name="A")
    assert [(person.email, person.name) for person in draft.others] == [
        ("b@x.example", "Bram Ivor"),
        ("c@x.example", None),
        ("o@x.example", "Juniper, Oda"),
        ("p@x.example", None),
        ("a@lantern.example", "A"),
    ]
    assert email(hs_email_sender_email="s@lantern.example").sender == Person("s@lantern.example")
    assert email().sender is None
    assert email().others == ()


@pytest.mark.parametrize(
    "written", ["{", "[]", "null", "7", '{"from": "x", "to": {"email": "y"}, "cc": [null, {}]}', 5]
)
def test_broken_headers_are_no_headers(written):
    draft = email(hs_email_headers=written, hs_email_from_email="a@lantern.example")
    assert draft.sender == Person("a@lantern.example")


@pytest.mark.parametrize("entry", ["Jo Do <jo@x.example>", {"email": "'jo@x.example'"}, {"email": "Jo <JO@x.example>"}])
def test_an_entry_of_the_headers_is_read_as_an_address_however_it_is_written(entry):
    draft = email(hs_email_headers=headers(**{"from": entry, "to": [entry]}))
    assert draft.sender is not None
    assert [(person.email or "").lower() for person in (draft.sender, draft.others[0])] == ["jo@x.example"] * 2


@pytest.mark.parametrize(
    ("written", "at_work", "used"),
    [
        ("a@x.example;b@x.example", None, "a@x.example"),
        ("n/a; b@x.example", None, "b@x.example"),
        ("n/a", "Jo <w@x.example>", "w@x.example"),
        (None, "none", None),
    ],
)
def test_a_contact_without_email_has_the_first_usable_other_address(written, at_work, used):
    row = {"id": 7, "properties": {"email": "", "hs_additional_emails": written, "work_email": at_work}}
    assert people.contact(row, department="", seniority=None)[0].email == used


def test_carbon_copies_and_blind_ones_are_people_too():
    parts = {part: [{"email": f"{part}@x.example"}] for part in ("to", "cc", "bcc")}
    draft = email(hs_email_headers=headers(**parts))
    assert [person.email for person in draft.others] == ["to@x.example", "cc@x.example", "bcc@x.example"]
    assert all(person.crm_id is None for person in draft.others)


def test_a_contact_with_everything():
    row = {
        "id": 77,
        "properties": {
            "email": " ada@northmill.example ",
            "firstname": "Ada",
            "lastname": "",
            "jobtitle": "Buyer",
            "phone": None,
            "mobilephone": "555",
            "hs_linkedin_url": "https://example.com/ada",
            "area": "Purchasing",
            "associatedcompanyid": "5",
        },
    }
    person, company_id = people.contact(row, department="area", seniority="VP")
    assert person == Person(
        "ada@northmill.example", "77", "Ada", "Buyer", "Purchasing", "VP", "555", "https://example.com/ada"
    )
    assert company_id == "5"
    assert people.contact(row, department="", seniority=None)[0].department is None


def test_the_recorded_contact_and_company_are_read():
    contact = sample("contacts_search.200.json")["results"][0]
    person, company_id = people.contact(contact, department="", seniority=None)
    assert (person.name, person.crm_id, company_id) == ("Test Person", "100451", None)
    assert people.company(sample("companies_search.200.json")["results"][0]) == Company("2810868468", "Google", ())


def test_a_companys_domains_are_candidates_in_order():
    properties = {"domain": "", "website": "https://www.a.example/x", "hs_additional_domains": "b.example; c.example"}
    company = people.company({"id": "5", "properties": properties})
    assert company.domains == ("https://www.a.example/x", "b.example", "c.example")
    assert people.company({"id": "5", "properties": None}) == Company("5")


def test_the_recorded_owner_and_one_that_has_left_are_read():
    row = sample("owners_page.200.json")["results"][0]
    assert people.owner(row) == Owner("77288308", "owner@example.com", "string string")
    gone = {**row, "firstName": "", "lastName": None, "archived": True, "userId": None}  # names are cleared (seen)
    assert people.owner(gone) == Owner("77288308", "owner@example.com", None, active=False)


@pytest.mark.parametrize("meaning", [mapping.call, mapping.email])
@pytest.mark.parametrize("row", [{}, {"properties": None}, {"properties": []}, {"properties": "a"}, {"properties": 1}])
def test_a_record_without_properties_is_unreadable_and_says_so(meaning, row):
    with pytest.raises(Unreadable, match="no properties"):
        meaning(Record(Ref("7", datetime(2026, 3, 1, tzinfo=UTC)), {"id": "7", **row}))


def test_neither_bodies_nor_numbers_nor_recordings_are_asked_for():
    asked = " ".join((*mapping.CALLS, *mapping.EMAILS))
    assert not [word for word in ("body", "text", "html", "preview", "number", "recording") if word in asked]


ODD = st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.booleans(), st.lists(st.text(), max_size=2))


@given(st.fixed_dictionaries({}, optional=dict.fromkeys({*mapping.CALLS, *mapping.EMAILS}, ODD)))
def test_no_value_of_any_property_stops_the_mapping(properties):
    for stream in ("calls", "emails"):
        draft = getattr(mapping, stream[:-1])(record(properties))
        assert draft is None or (draft.occurred_at.tzinfo is not None and draft.origins())


@given(st.fixed_dictionaries({}, optional=dict.fromkeys({*people.CONTACTS, *people.COMPANIES}, ODD)))
def test_no_value_of_any_property_stops_a_contact_or_company(properties):
    row = {"id": "1", "properties": properties}
    people.contact(row, department="jobtitle", seniority=None)
    people.company(row)
