"""Salesforce's mapping: golden pairs of hand-written rows with invented people. No task of a real org was available."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.salesforce import Salesforce, mapping
from connectors.salesforce.config import SalesforceConfig
from connectors.salesforce.related import Related
from connectors.salesforce.rules import Rules as TableRules
from connectors.salesforce.schema import WANTED, Schema
from connectors.salesforce.tables import CallTable, EmailTable
from syncd.activity import Company, Draft, Owner, Person
from syncd.connector import Context, Record, Ref
from syncd.isolation import AdaptiveSize, Budget
from syncd.normalize.rules import OurSide, Rules, assess
from syncd.passes.reader import PassStore
from syncd.recotap.payload import validate
from syncd.sandbox.salesforce import sample
from syncd.types.conditions import Entry

MODIFIED = datetime(2026, 3, 1, 12, tzinfo=UTC)
CREATED = datetime(2026, 3, 1, 11, tzinfo=UTC)
COMPLETED = datetime(2026, 3, 1, 10, 40, tzinfo=UTC)
TASK = {
    "Id": "00Tx0000001a2BcEAI", "SystemModstamp": "2026-03-01T12:00:00.000+0000", "TaskSubtype": "Call",
    "CreatedDate": "2026-03-01T11:00:00.000+0000", "IsClosed": True, "IsRecurrence": False,
}  # fmt: skip
EMAIL = {
    "Id": "02sx0000001a2BcAAI", "SystemModstamp": "2026-03-01T12:00:00.000+0000",
    "CreatedDate": "2026-03-01T11:00:00.000+0000", "Status": "3", "Incoming": False,
    "MessageDate": "2026-03-01T10:30:00.000+0000", "IsPrivateDraft": False, "IsBounced": False,
}  # fmt: skip
NORTHMILL = Company("001x0000001a2BcAAI", "Northmill", ("https://www.northmill-looms.com/about",))
ADA = Person("ada@northmill-looms.com", "003x0000001a2BcAAI", "Ada Fennbrook", "Buyer", company=NORTHMILL)
RUNA = Owner("005x0000001a2BcAAI", "runa@lanternfield.com", "Runa Dunmere")
ODA = Owner("005x0000001a2BdAAI", "oda@lanternfield.com", "Oda Juniper")
IVO = Owner("005x0000001a2BeAAI", "ivo@lanternfield.com", "Ivo Hollisgrave")


def record(row: dict[str, Any], related: dict[str, Any] | None = None) -> Record:
    return Record(Ref(str(row["Id"]), MODIFIED), row, related or {})


def call(
    related: dict[str, Any] | None = None, *, zone: str = "UTC", occurred_at_field: str = "", **fields: Any
) -> Draft:  # fmt: skip
    rules = TableRules.of(CallTable(), occurred_at_field=occurred_at_field)
    draft = mapping.call(record({**TASK, **fields}, related), zone=ZoneInfo(zone), rules=rules)
    assert draft is not None
    return draft


def email(related: dict[str, Any] | None = None, **fields: Any) -> Draft:
    draft = mapping.email(record({**EMAIL, **fields}, related))
    assert draft is not None
    return draft


# -- calls ------------------------------------------------------------------------------


def test_a_call_with_everything_says_everything() -> None:
    draft = call(
        {"contacts": (ADA,), "account": NORTHMILL},
        Subject=" Discovery call ",
        CompletedDateTime="2026-03-01T10:40:00.000+0000",
        ActivityDate="2026-03-01",
        CallDurationInSeconds=605,
        CallType="Outbound",
        CallDisposition="Left voicemail",
        OwnerId=RUNA.crm_id,
        Owner={"attributes": {"type": "Name"}, "Name": "Runa Dunmere", "Email": "runa@lanternfield.com"},
        AccountId=NORTHMILL.crm_id,
        WhoId=ADA.crm_id,
    )
    assert draft == Draft(
        kind="call",
        occurred_at=COMPLETED - timedelta(seconds=605),
        created_at=CREATED,
        direction="outbound",
        title="Discovery call",
        duration_minutes=10.08,
        outcome="Left voicemail",
        owner=RUNA,
        contacts=(ADA,),
        companies=(NORTHMILL,),
    )


def test_a_call_with_next_to_nothing_is_a_call() -> None:
    assert call() == Draft(kind="call", occurred_at=CREATED, created_at=CREATED)


@pytest.mark.parametrize("subtype", ["Task", "Email", "ListEmail", "LinkedIn", "Cadence", "", None])
def test_a_task_of_another_subtype_is_no_call(subtype: str | None) -> None:
    assert mapping.call(record({**TASK, "TaskSubtype": subtype}), zone=UTC) is None


@pytest.mark.parametrize("fields", [{"IsClosed": False}, {"IsClosed": None}, {"IsRecurrence": True}])
def test_an_open_task_and_the_head_of_a_series_are_no_activity(fields: dict[str, Any]) -> None:
    assert mapping.call(record({**TASK, **fields}), zone=UTC) is None
    assert mapping.email_task(record({**TASK, "TaskSubtype": "Email", **fields}), zone=UTC) is None


def test_an_org_that_hides_series_has_calls_all_the_same() -> None:
    row = {name: value for name, value in TASK.items() if name != "IsRecurrence"}
    assert mapping.call(record(row), zone=UTC) is not None


@pytest.mark.parametrize(
    ("written", "direction"),
    [("Inbound", "inbound"), ("Outbound", "outbound"), ("Internal", "internal"), ("Bridge", None), (None, None)],
)
def test_a_calls_direction(written: str | None, direction: str | None) -> None:
    assert call(CallType=written).direction == direction


@pytest.mark.parametrize(
    ("seconds", "minutes"),
    [(0, 0), (60, 1), (100, 1.67), (3, 0.05), ("90", 1.5), (90.0, 1.5), (-5, None), (None, None), (1e300, None),
     ("soon", None), (True, None)],
)  # fmt: skip
def test_a_duration_is_minutes_with_two_decimals(seconds: Any, minutes: float | None) -> None:
    assert call(CallDurationInSeconds=seconds).duration_minutes == minutes


# -- when a call happened ---------------------------------------------------------------


def test_the_configured_field_knows_best() -> None:
    draft = call(
        occurred_at_field="Call_Time__c",
        Call_Time__c="2026-02-27T08:15:00.000+0000",
        CompletedDateTime="2026-03-01T10:40:00.000+0000",
        ActivityDate="2026-03-01",
    )
    assert draft.occurred_at == datetime(2026, 2, 27, 8, 15, tzinfo=UTC)


@pytest.mark.parametrize("written", [None, "", "soon", [], True])
def test_an_empty_configured_field_leaves_it_to_the_others(written: Any) -> None:
    draft = call(
        occurred_at_field="Call_Time__c", Call_Time__c=written, CompletedDateTime="2026-03-01T10:40:00.000+0000"
    )
    assert draft.occurred_at == COMPLETED


@pytest.mark.parametrize(
    ("zone", "day", "takes"),
    [
        ("UTC", None, True), ("UTC", "", True), ("UTC", "2026-03-01", True), ("UTC", "2026-02-28", True),
        ("UTC", "2026-03-02", True), ("UTC", "2026-02-27", False), ("UTC", "2026-03-31", True),
        # There 10:40 of the first of March in UTC is the second, …
        ("Pacific/Kiritimati", "2026-03-03", True), ("Pacific/Kiritimati", "2026-02-28", False),
        # … and there still the last of February.
        ("Pacific/Pago_Pago", "2026-02-27", True), ("Pacific/Pago_Pago", "2026-02-26", False),
    ],
)  # fmt: skip
def test_the_completion_counts_unless_the_day_is_more_than_one_earlier(zone: str, day: Any, takes: bool) -> None:
    """A later day is a due date. The days are those of the zone."""
    completed = "2026-03-01T10:40:00.000+0000"
    draft = call(zone=zone, CompletedDateTime=completed, ActivityDate=day, CallDurationInSeconds=600)
    assert (draft.occurred_at == COMPLETED - timedelta(minutes=10)) is takes


@pytest.mark.parametrize(
    ("zone", "day", "noon"),
    [
        ("UTC", "2026-01-15", "2026-01-15T12:00:00+00:00"),
        ("Europe/Berlin", "2026-01-15", "2026-01-15T11:00:00+00:00"),
        ("Europe/Berlin", "2025-07-15", "2025-07-15T10:00:00+00:00"),
        ("Europe/Berlin", "2025-10-26", "2025-10-26T11:00:00+00:00"),  # the day on which summer time ends
        ("America/New_York", "2025-03-09", "2025-03-09T16:00:00+00:00"),  # the day on which it begins
        ("Pacific/Auckland", "2026-01-15", "2026-01-14T23:00:00+00:00"),
        ("Asia/Kolkata", "2026-01-15", "2026-01-15T06:30:00+00:00"),
        ("UTC", "2026-01-15T00:00:00.000+0000", "2026-01-15T12:00:00+00:00"),
    ],
)
@pytest.mark.parametrize("completed", [None, "2026-03-20T10:40:00.000+0000"])
def test_a_call_that_was_logged_later_is_at_noon_of_its_day(
    zone: str, day: str, noon: str, completed: str | None
) -> None:
    """The same holds without any completion. The duration is not taken from noon."""
    draft = call(zone=zone, ActivityDate=day, CompletedDateTime=completed, CallDurationInSeconds=600)
    assert draft.occurred_at.isoformat() == noon


@pytest.mark.parametrize("day", ["2026-03-02", "2026-04-15"])
def test_a_day_after_the_last_change_is_a_due_date_so_the_creation_tells(day: str) -> None:
    assert call(ActivityDate=day, CompletedDateTime=None).occurred_at == CREATED


@pytest.mark.parametrize("day", ["1970-01-01", "1999-12-31", "1900-01-01T00:00:00.000+0000"])
def test_a_day_before_2000_is_no_day_so_the_next_time_tells(day: str) -> None:
    assert call(ActivityDate=day, CompletedDateTime=None).occurred_at == CREATED
    assert call(ActivityDate=day, CompletedDateTime="2026-03-01T10:40:00.000+0000").occurred_at == COMPLETED


@pytest.mark.parametrize("day", ["soon", 20260301, "0001-01-01", "9999-12-31", ["2026-01-01"], True])
def test_a_day_that_is_none_is_none(day: Any) -> None:
    assert call(ActivityDate=day).occurred_at in (CREATED, datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert call(ActivityDate=day, CompletedDateTime="2026-03-01T10:40:00.000+0000").occurred_at in (
        COMPLETED, datetime(2026, 3, 1, 12, tzinfo=UTC)
    )  # fmt: skip


def test_without_any_time_it_happened_when_it_was_created_or_else_modified() -> None:
    assert call(CallDurationInSeconds=600).occurred_at == CREATED
    assert call(CreatedDate=None).occurred_at == MODIFIED


def test_a_completion_at_the_calendars_end_is_no_reason_to_stumble() -> None:
    for written in ("0001-01-01T00:00:00.000+0000", "9999-12-31T23:59:59.000+0000"):
        for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
            for day in (None, "2026-01-15"):
                draft = call(zone=zone, CompletedDateTime=written, ActivityDate=day, CallDurationInSeconds=99_999_999)
                assert draft.occurred_at.tzinfo is not None


# -- owners and people of calls ---------------------------------------------------------


def test_a_queue_that_owns_a_call_has_its_address_or_none() -> None:
    queue = {"attributes": {"type": "Name"}, "Name": "Inbound calls", "Email": "calls@lanternfield.com"}
    owned = call(OwnerId="00Gx0000001a2BcEAI", Owner=queue).owner
    assert owned == Owner("00Gx0000001a2BcEAI", "calls@lanternfield.com", "Inbound calls")
    bare = call(OwnerId="00Gx0000001a2BcEAI", Owner={**queue, "Email": None}).owner
    assert bare == Owner("00Gx0000001a2BcEAI", None, "Inbound calls")


def test_an_owner_that_is_not_shown_is_none() -> None:
    assert call(OwnerId=RUNA.crm_id, Owner=None).owner is None


def test_a_contact_with_everything() -> None:
    row = {
        "Id": ADA.crm_id, "Name": "Ada Fennbrook", "Email": " ada@northmill-looms.com ", "Title": "Buyer",
        "Department": "Purchasing", "Phone": "+1 555 0101", "linkedin": "https://linkedin.example/ada",
        "AccountId": NORTHMILL.crm_id,
    }  # fmt: skip
    assert mapping.contact(row, NORTHMILL) == Person(
        "ada@northmill-looms.com", ADA.crm_id, "Ada Fennbrook", "Buyer", "Purchasing", None, "+1 555 0101",
        "https://linkedin.example/ada", NORTHMILL,
    )  # fmt: skip


def test_a_person_account_is_nobodys_company() -> None:
    account = {"Id": NORTHMILL.crm_id, "Name": "Ada Fennbrook", "Website": None, "IsPersonAccount": True}
    assert mapping.company(account) is None
    contact = {"Id": ADA.crm_id, "Email": ADA.email, "IsPersonAccount": True}
    assert mapping.contact(contact, Company("001x0000001a2BcAAI", "Ada Fennbrook")).company is None


def test_a_lead_brings_its_company_along() -> None:
    row = {"Id": "00Qx0000001a2BcEAI", "Name": "Bram Ivorstone", "Email": "bram@cinder-kilns.com", "Title": "CEO",
           "Phone": None, "Company": "Cinder Kilns", "Website": "cinder-kilns.com"}  # fmt: skip
    assert mapping.lead(row) == Person(
        "bram@cinder-kilns.com", "00Qx0000001a2BcEAI", "Bram Ivorstone", "CEO",
        company=Company("00Qx0000001a2BcEAI", "Cinder Kilns", ("cinder-kilns.com",)),
    )  # fmt: skip
    assert mapping.lead({**row, "Website": None}).company == Company("00Qx0000001a2BcEAI", "Cinder Kilns")
    assert mapping.lead({**row, "Website": "", "Company": None}).company is None


def test_the_recorded_account_is_read() -> None:
    row = sample("account_record.json")
    expected = Company("0011Y00003HVMu4QAH", "Alaska Center for Performing Arts", ("www.coolcorp1.net",))
    assert mapping.company(row) == expected
    nothing: list[Any] = [None, {}, [], "001", {"Name": "No id"}]
    assert [mapping.company(each) for each in nothing] == [None] * 5


def test_a_user_is_an_owner_active_or_gone() -> None:
    row = {"Id": RUNA.crm_id, "Name": "Runa Dunmere", "Email": "runa@lanternfield.com", "IsActive": True}
    assert mapping.owner(row) == RUNA
    assert mapping.owner({**row, "IsActive": False}) == replace(RUNA, active=False)
    assert mapping.owner({**row, "IsActive": None}).active


def test_the_recorded_child_rows_are_found_and_none_where_there_are_none() -> None:
    row = sample("query_parent_and_child.json")["records"][0]
    assert [each["Name"] for each in mapping.children(row, "Whizbangs__r")] == ["Child Whizbang"]
    odd: Any
    for odd in (None, [], "x", {"records": None}, {"records": {}}):
        assert mapping.children({"Kids": odd}, "Kids") == []


# -- emails -----------------------------------------------------------------------------


def test_an_email_with_everything_says_everything() -> None:
    draft = email(
        {"contacts": (ADA,), "account": NORTHMILL, "sender": RUNA},
        Subject="Your quote",
        FromAddress="runa@lanternfield.com",
        FromName="Runa Dunmere",
        ToAddress="ada@northmill-looms.com",
        CcAddress=None,
        IsTracked=True,
        IsOpened=True,
        CreatedById=ODA.crm_id,
        CreatedBy={"Name": ODA.name, "Email": ODA.email},
    )
    sender = Person("runa@lanternfield.com", name="Runa Dunmere")
    assert draft == Draft(
        kind="email",
        occurred_at=datetime(2026, 3, 1, 10, 30, tzinfo=UTC),
        created_at=CREATED,
        direction="outbound",
        title="Your quote",
        open_count=1,
        owner=RUNA,
        owners=(ODA,),
        sender=sender,
        contacts=(ADA,),
        others=(sender, Person("ada@northmill-looms.com")),
        companies=(NORTHMILL,),
    )


@pytest.mark.parametrize("fields", [{"Status": "5"}, {"Status": 5}, {"IsPrivateDraft": True}])
def test_a_draft_is_no_activity(fields: dict[str, Any]) -> None:
    assert mapping.email(record({**EMAIL, **fields})) is None


@pytest.mark.parametrize("status", ["0", "1", "2", "3", "4", None, ""])
def test_every_other_email_is_one(status: str | None) -> None:
    assert email(Status=status).status == "done"


def test_a_bounced_email_was_not_sent() -> None:
    assert email(IsBounced=True).status == "not_sent"
    assert email(IsBounced=None).status == "done"  # bounce management is off


@pytest.mark.parametrize(("written", "direction"), [(True, "inbound"), (False, "outbound"), (None, None), ("x", None)])
def test_an_emails_direction(written: Any, direction: str | None) -> None:
    assert email(Incoming=written).direction == direction


@pytest.mark.parametrize(
    ("written", "happened"),
    [
        ("2026-03-01T10:30:00.000+0000", datetime(2026, 3, 1, 10, 30, tzinfo=UTC)),
        ("2019-03-01T10:30:00.000+0000", datetime(2019, 3, 1, 10, 30, tzinfo=UTC)),
        ("2026-03-01T12:00:00.000+0000", MODIFIED),
        ("2026-03-01T12:00:01.000+0000", CREATED),  # later than the row's own last change: the sender's clock is wrong
        ("2036-03-01T10:30:00.000+0000", CREATED),
        (None, CREATED), ("soon", CREATED),
    ],
)  # fmt: skip
def test_an_email_happened_when_its_header_says_unless_that_is_the_future(
    written: str | None, happened: datetime
) -> None:
    assert email(MessageDate=written).occurred_at == happened


@pytest.mark.parametrize(
    ("tracked", "opened", "count"),
    [(True, True, 1), (True, False, 0), (True, None, 0), (False, True, None), (False, False, None), (None, None, None)],
)
def test_opens_are_one_or_none_where_tracked(tracked: Any, opened: Any, count: int | None) -> None:
    draft = email(IsTracked=tracked, IsOpened=opened)
    assert (draft.open_count, draft.click_count) == (count, None)


GONE = replace(IVO, active=False)
BARE = Owner("005x0000001a2BfAAI", None)
CREATOR = {"CreatedById": ODA.crm_id, "CreatedBy": {"Name": ODA.name, "Email": ODA.email}}


@pytest.mark.parametrize(
    ("incoming", "related", "creator", "owner"),
    [
        (False, {"sender": RUNA}, CREATOR, RUNA),
        (False, {"sender": GONE}, CREATOR, GONE),
        (False, {"sender": BARE}, CREATOR, ODA),
        (False, {}, CREATOR, ODA),
        (False, {"sender": BARE}, {}, None),
        (False, {"receiver": IVO, "task_owner": IVO}, CREATOR, ODA),  # whoever received it did not send it
        (False, {"receiver": IVO, "contacts": (ADA,)}, {**CREATOR, "FromAddress": "Ada@Northmill-Looms.com"}, IVO),
        (False, {"receiver": IVO, "contacts": (ADA,)}, {**CREATOR, "FromAddress": f"Ada <{ADA.email}>"}, IVO),
        (False, {"receiver": IVO, "contacts": (ADA,)}, {**CREATOR, "FromAddress": "runa@lanternfield.com"}, ODA),
        (False, {"task_owner": IVO}, {**CREATOR, "FromId": "003x0000001a2BcAAI"}, IVO),
        (False, {"task_owner": IVO}, {**CREATOR, "FromId": "00Qx0000001a2BcEAI"}, IVO),
        (True, {"receiver": RUNA, "task_owner": IVO}, CREATOR, RUNA),
        (True, {"receiver": BARE, "task_owner": IVO}, CREATOR, IVO),
        (True, {"task_owner": IVO}, CREATOR, IVO),
        (True, {"task_owner": BARE}, CREATOR, ODA),
        (True, {"sender": RUNA}, CREATOR, ODA),
        (True, {}, CREATOR, ODA),
        (True, {}, {"CreatedById": ODA.crm_id, "CreatedBy": None}, None),
        (True, {}, {"CreatedById": ODA.crm_id, "CreatedBy": {"Name": ODA.name, "Email": ""}}, None),
        (None, {"sender": RUNA}, CREATOR, RUNA),
    ],
)  # fmt: skip
def test_an_email_belongs_to_the_first_of_its_people_who_has_an_address(
    incoming: Any, related: dict[str, Any], creator: dict[str, Any], owner: Owner | None
) -> None:
    assert email(related, Incoming=incoming, **creator).owner == owner


def test_an_emails_further_owners_follow_in_order() -> None:
    """`not_owners` may name the first ones."""
    draft = email({"receiver": RUNA, "task_owner": IVO}, Incoming=True, **CREATOR)
    assert (draft.owner, draft.owners) == (RUNA, (IVO, ODA))
    draft = email({"receiver": RUNA, "task_owner": RUNA}, Incoming=True)
    assert (draft.owner, draft.owners) == (RUNA, ())


@pytest.mark.parametrize("field", ["ParentId", "RelatedToId"])
def test_an_email_of_a_case_is_support_mail(field: str) -> None:
    assert email(None, **{field: "500x0000001a2BcAAI"}).automated == "support"
    assert email(None, **{field: "001x0000001a2BcAAI"}).automated is None


def test_an_email_task_about_a_case_is_support_mail_and_a_call_about_one_is_a_reps() -> None:
    case = "500x0000001a2BcAAI"
    for what, expected in ((case, "support"), ("006x0000001a2BcAAI", None), (None, None)):
        draft = mapping.email_task(record({**EMAIL_TASK, "WhatId": what}), zone=UTC)
        assert draft is not None
        assert draft.automated == expected
    assert call(WhatId=case).automated is None


def test_an_email_names_its_message_id_and_its_task() -> None:
    draft = email(MessageIdentifier=" <1@lanternfield.com> ", ActivityId=TASK["Id"])
    assert (draft.message_id, draft.counterpart) == ("<1@lanternfield.com>", ("email_tasks", TASK["Id"]))
    assert (email().message_id, email().counterpart) == (None, None)


def test_header_addresses_are_people_by_any_separator() -> None:
    draft = email(
        FromAddress="runa@lanternfield.com",
        FromName="Runa Dunmere",
        ToAddress='"Fennbrook, Ada" <ada@northmill-looms.com>; bram@cinder-kilns.com, cleo@cinder-kilns.com',
        CcAddress="Dora <dora@northmill-looms.com>",
        BccAddress="; ,e@northmill-looms.com;",
    )
    assert [(person.email, person.name) for person in draft.others] == [
        ("runa@lanternfield.com", "Runa Dunmere"),
        ("ada@northmill-looms.com", "Fennbrook, Ada"),
        ("bram@cinder-kilns.com", None),
        ("cleo@cinder-kilns.com", None),
        ("dora@northmill-looms.com", "Dora"),
        ("e@northmill-looms.com", None),
    ]
    assert all(person.crm_id is None for person in draft.others)


@pytest.mark.parametrize(
    "written", ["Ada <ada@x.example>", "(ada@x.example)", "'ada@x.example'; ", "ada@x.example b@y.example"]
)
def test_a_sender_is_read_as_a_header_however_it_is_written(written: str) -> None:
    draft = email(FromAddress=written, FromName="Ada")
    assert draft.sender == Person("ada@x.example", name="Ada")


def test_an_email_without_headers_has_no_sender_and_no_others() -> None:
    draft = email(FromAddress="", FromName="Nobody", ToAddress=None)
    assert (draft.sender, draft.others) == (None, ())


def test_an_email_task_has_no_direction_and_no_sender() -> None:
    row = {**TASK, "TaskSubtype": "Email", "Subject": "Email: Your quote", "ActivityDate": "2026-01-15",
           "OwnerId": RUNA.crm_id, "Owner": {"Name": RUNA.name, "Email": RUNA.email},
           "CallDurationInSeconds": 600}  # fmt: skip
    draft = mapping.email_task(record(row, {"contacts": (ADA,), "account": NORTHMILL}), zone=ZoneInfo("Europe/Berlin"))
    assert draft == Draft(
        kind="email",
        occurred_at=datetime(2026, 1, 15, 11, tzinfo=UTC),
        created_at=CREATED,
        title="Email: Your quote",
        owner=RUNA,
        contacts=(ADA,),
        companies=(NORTHMILL,),
    )
    assert mapping.email_task(record(TASK), zone=UTC) is None  # a call


MESSAGE = "02sx0000001a2BcAAI"
EMAIL_TASK = {**TASK, "TaskSubtype": "Email"}


def test_an_email_task_that_an_email_message_names_is_that_email() -> None:
    """Once it is booked, it is the duplicate of that email. If EmailMessages are not read, it is the email."""
    named = record(EMAIL_TASK, {"named_by": MESSAGE})
    assert mapping.email_task(named, zone=UTC) is None
    booked = mapping.email_task(record(EMAIL_TASK, {"named_by": MESSAGE, "by_id": True}), zone=UTC)
    assert booked is not None
    assert (booked.duplicate_of, booked.counterpart) == (MESSAGE, ("emails", MESSAGE))
    alone = mapping.email_task(named, zone=UTC, beside_emails=False)
    assert alone is not None
    assert (alone.duplicate_of, alone.counterpart) == (None, ("emails", MESSAGE))


def test_a_task_that_matches_both_streams_is_a_call_and_a_booked_one_stays() -> None:
    both = TableRules.of(EmailTable(match=(Entry.parse({"TaskSubtype": "*"}),)))
    assert mapping.email_task(record(TASK), zone=UTC, rules=both) is None
    assert mapping.email_task(record(TASK, {"by_id": True}), zone=UTC, rules=both) is not None
    assert mapping.email_task(record(TASK, {"by_id": True}), zone=UTC) is not None  # only a call by now
    assert mapping.call(record(EMAIL_TASK), zone=UTC) is None
    assert mapping.call(record(EMAIL_TASK, {"by_id": True}), zone=UTC) is not None
    assert mapping.call(record({**TASK, "TaskSubtype": "Task"}, {"by_id": True}), zone=UTC) is None


# -- voice calls ------------------------------------------------------------------------

VOICE = {
    "Id": "0LQx0000001a2BcAAI", "SystemModstamp": "2026-03-01T12:00:00.000+0000",
    "CreatedDate": "2026-03-01T11:00:00.000+0000", "CallStartDateTime": "2026-03-01T10:30:00.000+0000",
    "CallEndDateTime": "2026-03-01T10:40:00.000+0000", "CallDisposition": "completed",
}  # fmt: skip


def test_a_voice_call_knows_when_it_began() -> None:
    row = {**VOICE, "CallType": "Inbound", "CallDurationInSeconds": 600, "OwnerId": RUNA.crm_id,
           "Owner": {"Name": RUNA.name, "Email": RUNA.email}, "VendorCallKey": "5c7b9a1d"}  # fmt: skip
    draft = mapping.voice_call(record(row, {"contacts": (ADA,), "account": NORTHMILL}))
    assert draft == Draft(
        kind="call", occurred_at=datetime(2026, 3, 1, 10, 30, tzinfo=UTC), created_at=CREATED, direction="inbound",
        duration_minutes=10, owner=RUNA, contacts=(ADA,), companies=(NORTHMILL,), call_id="5c7b9a1d",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "ended", "expected", "outcome"),
    [
        ("completed", "2026-03-01T10:40:00.000+0000", "done", None),
        ("busy", "2026-03-01T10:40:00.000+0000", "done", "busy"),
        ("new", "2026-03-01T10:40:00.000+0000", "done", None),  # nobody accepted it
        ("new", None, "unfinished", None),
        ("in-progress", "2026-03-01T12:00:01.000+0000", "unfinished", None),
        ("In Progress", None, "unfinished", None),
        (None, None, "done", None),
    ],
)
def test_a_voice_call_is_over_once_it_has_ended(
    status: str | None, ended: str | None, expected: str, outcome: str | None
) -> None:
    draft = mapping.voice_call(record({**VOICE, "CallDisposition": status, "CallEndDateTime": ended}))
    assert (draft.status, draft.outcome) == (expected, outcome)


@pytest.mark.parametrize(
    ("written", "direction"),
    [
        ("Inbound", "inbound"), ("Outbound", "outbound"), ("InternalCall", "internal"), ("Transfer", None),
        ("Coach", None), ("inbound", "inbound"), (" OUTBOUND ", "outbound"),
    ],
)  # fmt: skip
def test_a_voice_calls_direction(written: str, direction: str | None) -> None:
    assert mapping.voice_call(record({**VOICE, "CallType": written})).direction == direction


@pytest.mark.parametrize(
    ("hours", "seconds", "status"),
    [(23, 300, "unfinished"), (25, 300, "done"), (25, None, "not_sent"), (25, 0, "not_sent")],
)
def test_a_voice_call_that_runs_for_a_day_was_never_ended(hours: int, seconds: int | None, status: str) -> None:
    row = {**VOICE, "CallDisposition": "in-progress", "CallEndDateTime": None, "CallDurationInSeconds": seconds}
    began_at = max(CREATED, mapping.voice_call(record(row)).occurred_at)
    assert mapping.voice_call(record(row, {"read_at": began_at + timedelta(hours=hours)})).status == status


def test_a_voice_call_that_has_a_task_by_now_is_its_duplicate() -> None:
    assert mapping.voice_call(record({**VOICE, "ActivityId": TASK["Id"]})).duplicate_of == TASK["Id"]


def test_a_voice_call_without_times_happened_when_it_was_created() -> None:
    assert mapping.voice_call(record({**VOICE, "CallStartDateTime": "soon"})).occurred_at == CREATED


# -- who took part ----------------------------------------------------------------------

SCHEMA = Schema({name: dict.fromkeys(fields) for name, fields in WANTED.items()},
                {"EmailMessage": ["EmailMessageRelations"]})  # fmt: skip
CONTACT_ROW = {"Id": ADA.crm_id, "Name": ADA.name, "Email": ADA.email, "Title": ADA.title,
               "AccountId": NORTHMILL.crm_id}  # fmt: skip
ACCOUNT_ROW = {"Id": NORTHMILL.crm_id, "Name": "Northmill", "Website": NORTHMILL.domains[0]}
LEAD_ID = "00Qx0000001a2BcEAI"
LEAD_ROW = {"Id": LEAD_ID, "Name": "Bram Ivorstone", "Email": "bram@cinder-kilns.com", "Company": "Cinder Kilns"}
OTHER = Company("001x0000001a2BdAAI", "Cinder Kilns", ("cinder-kilns.com",))


class Org:
    """Answer requests for people from memory: Client and Org in one."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows_by_id = {row["Id"]: row for row in rows}
        self.retrieved: list[tuple[str, list[str]]] = []
        self.at_once = AdaptiveSize(PassStore({}, lambda: MODIFIED), "at_once", 2_000)
        self.budget = Budget()
        self.unserved: dict[str, str] = {}

    def retrieve(self, object_type: str, ids: Sequence[str], fields: Sequence[str]) -> list[Any]:
        self.retrieved += [(object_type, list(ids))] if ids else []
        return [self.rows_by_id.get(each) for each in ids]

    def by_address(self, written: Any) -> Owner | None:
        return next((each for each in (RUNA, ODA, IVO) if each.email == written), None)

    def is_ours(self, crm_id: str) -> bool:
        return crm_id in {each.crm_id for each in (RUNA, ODA, IVO)}

    def rows(self, queries: Sequence[str], **_how: Any) -> list[Any]:
        """Return the rows that queries by ids of tasks name."""
        return [row for query in queries if "FROM Task WHERE" in query
                for crm_id, row in self.rows_by_id.items() if crm_id in query]  # fmt: skip

    def users(self, ids: Sequence[str], *, fresh: bool = False) -> dict[str, Owner]:
        return {str(each.crm_id): each for each in (RUNA, ODA, IVO) if each.crm_id in ids}


def related(org: Org, row: dict[str, Any]) -> Any:
    """Return the related rows of a row."""
    finder = Related(org, org, SCHEMA, linkedin_field="")  # type: ignore[arg-type]
    of = finder.of_emails if "Incoming" in row else finder.of_tasks
    (found,) = of([(Ref(str(row["Id"]), MODIFIED), row)]).records
    return found.related


def who(kind: str, row: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"WhoId": row["Id"], "Who": {"attributes": {"type": kind}, **row, **more}, "WhoCount": 1}


def test_a_calls_contact_and_account_stand_in_its_row() -> None:
    org = Org()
    found = related(org, {**TASK, **who("Contact", CONTACT_ROW, Account=ACCOUNT_ROW)})
    assert (found["contacts"], found["account"], org.retrieved) == ((ADA,), None, [])


def test_a_contact_of_another_account_keeps_its_own() -> None:
    row = {**TASK, **who("Contact", CONTACT_ROW, Account=ACCOUNT_ROW), "AccountId": OTHER.crm_id,
           "Account": {"Name": "Cinder Kilns", "Website": "cinder-kilns.com"}}  # fmt: skip
    found = related(Org(), row)
    assert (found["contacts"], found["account"]) == ((ADA,), OTHER)


def test_a_converted_lead_is_the_contact_that_it_became() -> None:
    org = Org(CONTACT_ROW, ACCOUNT_ROW)
    row = {**TASK, **who("Lead", LEAD_ROW, IsConverted=True, ConvertedContactId=ADA.crm_id)}
    assert related(org, row)["contacts"] == (ADA,)
    assert org.retrieved == [("Contact", [ADA.crm_id]), ("Account", [NORTHMILL.crm_id])]


@pytest.mark.parametrize("became", [{}, {"IsConverted": True}, {"ConvertedContactId": "003x0000001a2BcAAI"}])
def test_a_lead_that_became_nobody_stays_itself(became: dict[str, Any]) -> None:
    """Neither one whose contact is deleted or hidden."""
    found = related(Org(), {**TASK, **who("Lead", LEAD_ROW, **became)})
    expected = Person(
        "bram@cinder-kilns.com", LEAD_ID, "Bram Ivorstone", company=Company(LEAD_ID, "Cinder Kilns")
    )  # fmt: skip
    assert found["contacts"] == (expected,)


def test_a_call_of_a_person_account_has_no_company() -> None:
    person = {"Name": "Ada Fennbrook", "Website": "ada-at-home.com", "IsPersonAccount": True}
    row = {**TASK, **who("Contact", CONTACT_ROW, Account=person, IsPersonAccount=True),
           "AccountId": NORTHMILL.crm_id, "Account": person}  # fmt: skip
    found = related(Org(), row)
    assert (found["contacts"], found["account"]) == ((replace(ADA, company=None),), None)


def relation(kind: str, crm_id: str | None) -> dict[str, Any]:
    return {"RelationType": kind, "RelationId": crm_id, "RelationAddress": None}


def test_an_emails_people_are_its_relations_by_their_roles() -> None:
    people = [
        relation("CcAddress", IVO.crm_id), relation("ToAddress", RUNA.crm_id), relation("BccAddress", ODA.crm_id),
        relation("OtherAddress", LEAD_ID), relation("FromAddress", ADA.crm_id), relation("ToAddress", None),
    ]  # fmt: skip
    row = {**EMAIL, "Incoming": True, "RelatedToId": NORTHMILL.crm_id,
           "EmailMessageRelations": {"totalSize": 6, "done": True, "records": people}}  # fmt: skip
    found = related(Org(CONTACT_ROW, ACCOUNT_ROW, LEAD_ROW), row)
    assert [person.crm_id for person in found["contacts"]] == [ADA.crm_id, LEAD_ID]
    assert (found["account"], found["receiver"]) == (NORTHMILL, RUNA)
    assert found["sender"] is None


def test_an_emails_sender_is_its_from_id_before_its_relation() -> None:
    people = {"totalSize": 1, "done": True, "records": [relation("FromAddress", ODA.crm_id)]}
    found = related(Org(), {**EMAIL, "FromId": RUNA.crm_id, "EmailMessageRelations": people})
    assert found["sender"] == RUNA
    found = related(Org(), {**EMAIL, "FromId": ADA.crm_id, "EmailMessageRelations": people})
    assert found["sender"] == ODA
    found = related(Org(), {**EMAIL, "FromId": None, "FromAddress": IVO.email, "EmailMessageRelations": None})
    assert found["sender"] == IVO


def test_an_email_that_came_in_to_none_of_our_users_has_its_tasks_owner() -> None:
    task = {"Id": TASK["Id"], "OwnerId": IVO.crm_id, "Owner": {"Email": IVO.email, "Name": IVO.name}}
    row = {**EMAIL, "Incoming": True, "ActivityId": TASK["Id"], "EmailMessageRelations": None}
    assert related(Org(task), row)["task_owner"] == IVO
    assert related(Org(), row)["task_owner"] is None
    queue = {**task, "OwnerId": "00Gx0000001a2Bd", "Owner": {"Email": "inside@lanternfield.com", "Name": "Inside"}}
    assert related(Org(queue), row)["task_owner"] == Owner("00Gx0000001a2Bd", "inside@lanternfield.com", "Inside")


# -- as the contract has it -------------------------------------------------------------


class Kept:
    """A store in which nothing is."""

    def get(self, key: str, *, max_age: timedelta | None = None) -> Any:
        return None

    def put(self, key: str, value: Any) -> None:
        raise AssertionError("normalize is pure")


CONFIG = SalesforceConfig.model_validate({
    "connector": "salesforce", "start": "2026-01-01T00:00:00Z", "session_id": "env:SESSION",
    "instance_url": "https://acme.my.salesforce.com", "timezone": "Europe/Berlin", "occurred_at_field": "Call_Time__c",
})  # fmt: skip
CONNECTOR = Salesforce(CONFIG, Context("salesforce", Kept(), lambda: MODIFIED, lambda _: None))


def test_normalize_tells_calls_emails_and_email_tasks_apart_and_knows_the_zone_and_field() -> None:
    timed = CONNECTOR.normalize("calls", record({**TASK, "Call_Time__c": "2026-02-01T08:00:00.000+0000"}))
    assert timed is not None
    assert (timed.kind, timed.occurred_at) == ("call", datetime(2026, 2, 1, 8, tzinfo=UTC))
    task = CONNECTOR.normalize("email_tasks", record({**TASK, "TaskSubtype": "Email", "ActivityDate": "2026-01-15"}))
    assert task is not None
    assert (task.kind, task.occurred_at) == ("email", datetime(2026, 1, 15, 11, tzinfo=UTC))
    mail = CONNECTOR.normalize("emails", record(EMAIL))
    assert mail is not None
    assert (mail.kind, mail.direction) == ("email", "outbound")
    assert CONNECTOR.normalize("email_tasks", record(TASK)) is None
    voice = CONNECTOR.normalize("voice_calls", record(VOICE))
    assert voice is not None
    assert voice.kind == "call"


# -- to what Recotap gets ---------------------------------------------------------------

OUR_SIDE = OurSide.of(Rules(), [RUNA, ODA, IVO])
NOW = datetime(2026, 3, 10, tzinfo=UTC)


def payload(draft: Draft) -> dict[str, Any]:
    assessed = assess(
        draft, external_activity_id="salesforce-call-1", rules=Rules(), our_side=OUR_SIDE,
        settle=timedelta(minutes=10), now=NOW,
    )  # fmt: skip
    assert assessed.payload is not None, assessed.reason
    assert validate(assessed.payload) == []
    return assessed.payload


def test_a_calls_payload() -> None:
    draft = call(
        {"contacts": (ADA,), "account": NORTHMILL}, Subject="Discovery call", CallType="Outbound",
        CompletedDateTime="2026-03-01T10:40:00.000+0000", CallDurationInSeconds=600, CallDisposition="Connected",
        OwnerId=RUNA.crm_id, Owner={"Name": RUNA.name, "Email": RUNA.email},
    )  # fmt: skip
    assert payload(draft) == {
        "externalActivityId": "salesforce-call-1", "activityType": "call", "occurredAt": "2026-03-01T10:30:00Z",
        "domain": "northmill-looms.com", "accountName": "Northmill", "ownerEmail": "runa@lanternfield.com",
        "ownerName": "Runa Dunmere", "ownerId": RUNA.crm_id, "callTitle": "Discovery call", "durationMinutes": 10,
        "outcome": "Connected", "direction": "outbound",
        "from": {"name": "Runa Dunmere", "email": "runa@lanternfield.com"},
        "contacts": [{"email": "ada@northmill-looms.com", "externalContactId": ADA.crm_id, "name": "Ada Fennbrook",
                      "title": "Buyer"}],
    }  # fmt: skip


def test_a_call_about_another_account_than_its_contacts_is_its_accounts() -> None:
    other = Company("001x0000001a2BdAAI", "Cinder Kilns", ("cinder-kilns.com",))
    sent = payload(call({"contacts": (ADA,), "account": other}, Owner={"Email": RUNA.email}, OwnerId=RUNA.crm_id))
    assert (sent["domain"], sent["accountName"]) == ("cinder-kilns.com", "Cinder Kilns")


def test_a_call_without_account_is_its_contacts_accounts() -> None:
    sent = payload(call({"contacts": (ADA,)}, Owner={"Email": RUNA.email}, OwnerId=RUNA.crm_id))
    assert (sent["domain"], sent["accountName"]) == ("northmill-looms.com", "Northmill")


def test_a_call_with_a_lead_is_its_companys() -> None:
    lead = mapping.lead({"Id": "00Qx0000001a2BcEAI", "Email": "bram@gmail.com", "Company": "Cinder Kilns",
                         "Website": "http://cinder-kilns.com"})  # fmt: skip
    sent = payload(call({"contacts": (lead,)}, Owner={"Email": RUNA.email}, OwnerId=RUNA.crm_id))
    assert (sent["domain"], sent["accountName"]) == ("cinder-kilns.com", "Cinder Kilns")


def test_a_call_of_a_queue_without_address_has_no_owner() -> None:
    draft = call({"contacts": (ADA,)}, OwnerId="00Gx0000001a2BcEAI", Owner={"Name": "Inbound calls", "Email": None})
    assessed = assess(draft, external_activity_id="1", rules=Rules(), our_side=OUR_SIDE, settle=timedelta(0), now=NOW)
    assert assessed.reason == "no_owner_email"
    ours = Rules(default_owner_email="oda@lanternfield.com")
    kept = assess(draft, external_activity_id="1", rules=ours, our_side=OUR_SIDE, settle=timedelta(0), now=NOW)
    assert kept.payload is not None
    assert kept.payload["ownerId"] == ODA.crm_id


def test_an_inbound_emails_payload_is_from_its_sender() -> None:
    draft = email(
        {"receiver": RUNA}, Incoming=True, Subject="Re: Your quote", FromAddress="ada@northmill-looms.com",
        FromName="Ada Fennbrook", ToAddress="runa@lanternfield.com", **CREATOR,
    )  # fmt: skip
    sent = payload(draft)
    assert sent["from"] == {"name": "Ada Fennbrook", "email": "ada@northmill-looms.com"}
    assert (sent["ownerEmail"], sent["ownerId"]) == ("runa@lanternfield.com", RUNA.crm_id)
    assert sent["domain"] == "northmill-looms.com"
    assert [each["email"] for each in sent["contacts"]] == ["ada@northmill-looms.com"]
    assert "direction" not in sent


def test_an_email_among_ourselves_is_internal_and_a_bounced_one_not_sent() -> None:
    among = email({"sender": RUNA}, FromAddress=RUNA.email, ToAddress=ODA.email)
    bounced = email({"sender": RUNA, "contacts": (ADA,)}, FromAddress=RUNA.email, IsBounced=True)
    for draft, reason in ((among, "internal"), (bounced, "not_sent")):
        found = assess(draft, external_activity_id="1", rules=Rules(), our_side=OUR_SIDE, settle=timedelta(0), now=NOW)
        assert found.reason == reason


# -- whatever stands in a row -----------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
TIME = st.datetimes(timezones=st.just(UTC)).map(lambda at: at.strftime("%Y-%m-%dT%H:%M:%S.000+0000").zfill(28))
ODD = JSON | TIME | st.dates().map(str) | st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
USER = ODD | st.fixed_dictionaries({}, optional=dict.fromkeys(("Name", "Email"), ODD))
TASK_FIELDS = (
    "CreatedDate", "Subject", "ActivityDate", "CompletedDateTime", "CallDurationInSeconds", "CallType",
    "CallDisposition", "OwnerId", "AccountId", "WhoId", "WhatId", "Call_Time__c", "IsRecurrence",
)  # fmt: skip
EMAIL_FIELDS = (
    "CreatedDate", "Status", "Subject", "MessageDate", "Incoming", "FromAddress", "FromName", "FromId", "ToAddress",
    "CcAddress", "BccAddress", "CreatedById", "IsPrivateDraft", "IsBounced", "IsTracked", "IsOpened", "ParentId",
    "RelatedToId", "ActivityId", "MessageIdentifier",
)  # fmt: skip
VOICE_CALL_FIELDS = WANTED["VoiceCall"]


@given(st.fixed_dictionaries({}, optional={**dict.fromkeys(TASK_FIELDS, ODD), "Owner": USER}))
@example({"CompletedDateTime": "0001-01-01T00:00:00Z", "CallDurationInSeconds": 60})
def test_no_value_of_any_field_stops_a_task(fields: dict[str, Any]) -> None:
    for stream, subtype in (("calls", "Call"), ("email_tasks", "Email")):
        draft = CONNECTOR.normalize(stream, record({**TASK, **fields, "TaskSubtype": subtype}))
        assert draft is None or draft.occurred_at.tzinfo is not None
        assert draft is not None or fields.get("IsRecurrence") is True


@given(st.fixed_dictionaries({}, optional={**dict.fromkeys(EMAIL_FIELDS, ODD), "CreatedBy": USER}))
@example({"Incoming": []})
def test_no_value_of_any_field_stops_an_email(fields: dict[str, Any]) -> None:
    draft = CONNECTOR.normalize("emails", record({**EMAIL, **fields}))
    assert draft is None or draft.occurred_at.tzinfo is not None
    draft = draft and replace(draft, contacts=(ADA,), owner=RUNA)
    assert draft is None or assess(
        draft, external_activity_id="1", rules=Rules(), our_side=OUR_SIDE, settle=timedelta(0), now=NOW
    )


@given(st.fixed_dictionaries({}, optional={**dict.fromkeys(VOICE_CALL_FIELDS, ODD), "Owner": USER}))
def test_no_value_of_any_field_stops_a_voice_call(fields: dict[str, Any]) -> None:
    assert mapping.voice_call(record({**VOICE, **fields, "Id": VOICE["Id"]})).occurred_at.tzinfo is not None


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(
    ("Id", "Name", "Email", "Title", "Department", "Phone", "Company", "Website", "IsPersonAccount", "IsActive",
     "linkedin"), ODD)))  # fmt: skip
def test_no_value_of_any_field_stops_a_person_or_an_account(row: dict[str, Any]) -> None:
    mapping.contact(row, mapping.company(row))
    mapping.lead(row)
    mapping.owner(row)
