"""The Salesforce connector passes the conformance suite over the sandbox's org, in two variants.

Salesforce does not document whether a later page shows the rows of the query's time or their present versions, nor
how many rows make a query time out.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

import connectors.salesforce as salesforce
from connectors.salesforce import Salesforce, client, reading
from syncd.activity import Company, Draft, Owner, Person
from syncd.connector import Connector, Record, Ref
from syncd.sandbox import Sandbox
from syncd.sandbox.salesforce import service
from syncd.sandbox.salesforce.ids import whole
from syncd.sandbox.salesforce.sessions import Sessions
from syncd.sandbox.standin.server import Request
from syncd.testing import (
    RETRY_AFTER_S,
    ConnectorConformance,
    FaultName,
    NetworkConformance,
    PartialFault,
)

PAGE = 11  # rows per page, 2,000 at Salesforce: 11 calls, or 5 emails with a person each; every fourth has two
PART = 6  # records per page of the connector, normally 1,000
MOST = 40  # the most rows of a query that does not time out in a slow org
SECRET = "canary-consumer-secret-0815"
ECHO = f"zinnia.zephyr@canary-bolts.com Zinnia Zephyr +49 30 5550147 {SECRET}"
PRIVATE = ("zinnia.zephyr@canary-bolts.com", "Zinnia Zephyr", "+49 30 5550147", "rona.representer@lanternfield.com")
TITLES = {"voice_calls": "VendorCallKey"}  # the field that the suite's titles are written to
OBJECTS = {"calls": "Task", "emails": "EmailMessage", "email_tasks": "Task", "voice_calls": "VoiceCall"}
SUBTYPES = {"calls": "Call", "email_tasks": "Email"}
# Part of the windows of a stream. Tasks are one object, so a permission on one kind of task alone is invented.
FORBIDDEN = {
    "calls": "TaskSubtype = 'Call'", "emails": " FROM EmailMessage WHERE IsDeleted",
    "email_tasks": "TaskSubtype = 'Email'", "voice_calls": " FROM VoiceCall WHERE ",
}  # fmt: skip


def refusal(status: int, code: str) -> dict[str, Any]:
    """Return a refusal in the form of Salesforce and of its token endpoint, which quotes private data."""
    said = {"message": ECHO, "errorCode": code, "error": code, "error_description": ECHO}
    return {"fault": "answer", "status": status, "headers": {"X-Echo": ECHO}, "body": [said]}


FAULTS: Mapping[FaultName, Mapping[str, Any]] = {
    "unavailable": {"fault": "sf_unavailable"},
    "html_200": {"fault": "html_200"},
    "cut_json": {"fault": "cut_json"},
    "reset": {"fault": "reset"},
    "hang": {"fault": "hang", "seconds": 5.0},
    "drip": {"fault": "drip"},
    "retry_after": {"fault": "sf_unavailable", "headers": {"Retry-After": str(RETRY_AFTER_S)}},
    "quota": {"fault": "sf_limit"},
    "unauthorized": refusal(401, "INVALID_SESSION_ID"),
    "echo": refusal(400, ECHO),
}
PARTIAL_FAULTS: Mapping[PartialFault, Mapping[str, Any]] = {
    "server_error": {"fault": "answer", "status": 500, "body": [{"errorCode": "UNKNOWN_EXCEPTION", "message": ECHO}]},
    "gateway_timeout": {"fault": "answer", "status": 504, "body": "<html>504 Gateway Time-out</html>"},
    "hang": {"fault": "hang", "seconds": 5.0},
    "cut": {"fault": "cut"},
}
MODIFIED, HAPPENED = (datetime(2026, 3, 1, hour, 30, tzinfo=UTC) for hour in (12, 10))
STAMP, THEN = (at.strftime("%Y-%m-%dT%H:%M:%S.000+0000") for at in (MODIFIED, HAPPENED))
CALL, EMAIL, REP, VOICE_CALL = (whole(f"{prefix}Dn0000000001") for prefix in ("00T", "02s", "005", "0LQ"))
COMPANY = Company("001", "Northmill", ("n.test",))
ADA = Person("ada@northmill.example", "003", "Ada Fennbrook", company=COMPANY)
RUNA = Owner(REP, "rep@lantern.example", "Runa Dunmere")
GOLDEN: dict[str, tuple[dict[str, Any], dict[str, Any], Draft]] = {
    "calls": (
        {"Id": CALL, "TaskSubtype": "Call", "IsClosed": True, "Subject": "Discovery", "CallType": "Outbound",
         "CallDurationInSeconds": 90, "CallDisposition": "No answer", "OwnerId": REP,
         "Owner": {"Name": RUNA.name, "Email": RUNA.email}, "ActivityDate": "2026-03-01",
         "CompletedDateTime": "2026-03-01T10:31:30.000+0000"},
        {"contacts": (ADA,), "account": COMPANY},
        Draft("call", HAPPENED, MODIFIED, direction="outbound", title="Discovery", duration_minutes=1.5,
              outcome="No answer", owner=RUNA, contacts=(ADA,), companies=(COMPANY,)),
    ),
    "emails": (
        {"Id": EMAIL, "Status": "3", "Subject": "Quote", "Incoming": True, "IsBounced": True, "IsTracked": True,
         "IsOpened": True, "MessageDate": THEN, "FromAddress": "ada@northmill.example", "FromName": "Ada"},
        {"contacts": (ADA,), "account": COMPANY, "receiver": RUNA},
        Draft("email", HAPPENED, MODIFIED, status="not_sent", direction="inbound", title="Quote", open_count=1,
              owner=RUNA, contacts=(ADA,), companies=(COMPANY,), sender=Person("ada@northmill.example", name="Ada"),
              others=(Person("ada@northmill.example", name="Ada"),)),
    ),
}  # fmt: skip
GOLDEN["email_tasks"] = (
    {"Id": CALL, "TaskSubtype": "Task", "Type": "Email", "IsClosed": True, "Subject": "Email: >> Quote", "OwnerId": REP,
     "Owner": {"Name": RUNA.name, "Email": RUNA.email}, "ActivityDate": "2026-03-31",
     "CompletedDateTime": THEN},
    {"contacts": (ADA,), "account": COMPANY},
    Draft("email", HAPPENED, MODIFIED, title="Email: >> Quote", owner=RUNA, contacts=(ADA,), companies=(COMPANY,)),
)  # fmt: skip
GOLDEN["voice_calls"] = (
    {"Id": VOICE_CALL, "CallType": "Outbound", "CallStartDateTime": THEN, "CallEndDateTime": STAMP,
     "CallDurationInSeconds": 7200, "CallDisposition": "completed", "VendorCallKey": "0815", "OwnerId": REP,
     "Owner": {"Name": RUNA.name, "Email": RUNA.email}},
    {"contacts": (ADA,), "account": COMPANY},
    Draft("call", HAPPENED, MODIFIED, direction="outbound", duration_minutes=120, owner=RUNA, contacts=(ADA,),
          companies=(COMPANY,), call_id="0815", title="0815"),
)  # fmt: skip
NONE: dict[str, dict[str, Any]] = {
    "calls": {"IsClosed": False},
    "emails": {"Status": "5"},
    "email_tasks": {"Type": "Meeting"},
}  # the change that makes it no activity

OTHERS: Sequence[dict[str, Any]] = (  # tasks that are neither calls nor emails: open, a to-do, in the recycle bin
    {"Status": "Not Started"}, {"TaskSubtype": "Task"}, {"IsDeleted": True},
)  # fmt: skip


class Titled(Salesforce):
    """The connector, with a title for voice calls. A VoiceCall has none, and the suite recognizes records by it."""

    def normalize(self, stream: str, record: Record) -> Draft | None:
        draft = super().normalize(stream, record)
        return replace(draft, title=draft.call_id) if draft and stream == "voice_calls" else draft


class OrgUnderTest:
    """An org with small pages.

    A `slow` one allows MOST rows per query, unless one second has more.
    """

    granule = timedelta(seconds=1)
    cuts: Sequence[int] = (PART, PAGE)
    query_rows = MOST
    reads_people_by_id = True
    private: Collection[str] = PRIVATE

    def __init__(self, path: Path, *, live_locators: bool, slow: bool, connector: type[Connector]) -> None:
        self.connector = connector
        self.at = datetime(2026, 10, 5, 9, 0, 0, 400_000, tzinfo=UTC)
        settings = {
            "page_size": PAGE, "live_locators": live_locators, "client_secret": SECRET, "daily_limit": 0,
            "voice_call": True,
        }  # fmt: skip
        self.box = Sandbox(now=self.now, salesforce=settings)
        self.org = self.box.salesforce
        self.slow = slow
        self.secrets: Collection[str] = [SECRET]
        self.org.sessions = _Sessions(self.secrets, self.org.sessions)
        self.files = {"client_id": self.box.client_id, "client_secret": SECRET}
        for name, content in self.files.items():
            (path / name).write_text(content)
        self.path = path
        self.rep = self.org.user(PRIVATE[3], "Rona", "Representer")
        company = {"Name": "Canary Bolts", "Website": "canary-bolts.com"}
        self.account = self.org.put("Account", company)
        self.people = {stream: self._contact() for stream in OBJECTS}
        self.second = self._contact()
        self._add_what_is_no_row()
        self._seconds: Counter[datetime] = Counter()
        self._written = 0

    def table(self) -> dict[str, Any]:
        every = self.connector is not CallsAndEmails
        return {
            "connector": "salesforce", "start": datetime(2026, 1, 1, tzinfo=UTC), "login_url": self.box.salesforce_url,
            "emails": {"from": "both" if every else "messages"}, "voice_calls": every,
            "ca_file": self.box.salesforce_ca, **{name: f"file:{self.path / name}" for name in self.files},
        }  # fmt: skip

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        with self.org.lock:
            self.at += timedelta(seconds=seconds)

    def put(self, stream: str, *, modified_at: datetime, title: str, late_by: float = 0.0) -> str:
        self._written += 1
        values = {**self._values(stream, modified_at), TITLES.get(stream, "Subject"): title}
        times: dict[str, Any] = {"created_at": modified_at, "modified_at": modified_at, "late_by": late_by}
        with self.org.lock:
            crm_id = self.org.put(OBJECTS[stream], values, **times)
            if stream == "emails":
                self.org.relate(crm_id, self.people[stream], RelationType="ToAddress", late_by=late_by)
            if self._written % 4 == 1 and stream != "voice_calls":
                self.org.relate(crm_id, self.second, late_by=late_by)
        self._seconds[modified_at] += 1
        if self.slow:
            self.org.query_timeout_rows = max(MOST, *self._seconds.values())
        return crm_id

    def edit(
        self, stream: str, crm_id: str, *, title: str, modified_at: datetime | None = None, late_by: float = 0.0
    ) -> None:
        how: dict[str, Any] = {"touch": modified_at is not None, "modified_at": modified_at, "late_by": late_by}
        how[TITLES.get(stream, "Subject")] = title
        self.org.edit(OBJECTS[stream], crm_id, **how)

    def delete(self, stream: str, crm_id: str) -> None:
        self.org.delete(OBJECTS[stream], crm_id)

    def readdress(self, stream: str, crm_id: str, address: str) -> None:
        self.org.edit("Contact", self.people[stream], Email=address)

    def unknown_id(self, stream: str) -> str:
        return str(GOLDEN[stream][0]["Id"])

    def golden(self, stream: str) -> Sequence[tuple[Record, Draft | None]]:
        fields, related, draft = GOLDEN[stream]
        row = {"SystemModstamp": STAMP, "CreatedDate": STAMP, **fields}
        record = Record(Ref(fields["Id"], MODIFIED), row, related)
        none = [(Record(record.ref, {**row, **NONE[stream]}, related), None)] if stream in NONE else []
        return [(record, draft), *none]

    def outages(self) -> Mapping[str, Callable[[], None]]:
        return {}

    def heal(self) -> None:
        self.org.faults.clear()

    def serve_date(self, skew: timedelta | None, *, frozen: bool) -> None:
        self.org.set_date(
            None if skew is not None else "", skew_s=(skew or timedelta(0)).total_seconds(), frozen=frozen
        )

    def requests(self) -> int:
        return sum(self.org.requests.values())

    def on_request(self, act: Callable[[int], None] | None) -> None:
        self.org.on_request = None if act is None else lambda number, kind: act(number)

    def fail(self, fault: FaultName, *, times: int | None = 1, skip: int = 0) -> None:
        self.org.faults.add(**FAULTS[fault], count=times, skip=skip)

    def forbid(self, stream: str) -> None:
        refused = refusal(403, "INSUFFICIENT_ACCESS")
        self.org.faults.add(**refused, match_query=FORBIDDEN[stream], count=None)

    def fail_id(self, stream: str, crm_id: str, fault: PartialFault, *, person: bool = False) -> None:
        if person:
            own = {"LastName": "Own", "Email": f"own.{crm_id}@canary-bolts.com", "AccountId": self.account}
            owner_of, crm_id = crm_id, self.org.put("Contact", own)
            if stream == "voice_calls":
                self.org.edit("VoiceCall", owner_of, touch=False, RelatedRecordId=crm_id)
            else:
                self.org.relate(owner_of, crm_id)
        named = crm_id.encode()
        self._fail(fault, lambda request: named in request.target.encode() or named in request.body)

    def fail_size(self, stream: str, rows: int, fault: PartialFault) -> None:
        self._fail(fault, lambda request: len(self._shown(request, stream)) > rows)

    def fail_span(self, stream: str, since: datetime, until: datetime, fault: PartialFault) -> None:
        def holds_one(request: Request) -> bool:
            shown = (datetime.fromisoformat(row["SystemModstamp"]) for row in self._shown(request, stream))
            return any(since <= modified_at <= until for modified_at in shown)

        self._fail(fault, holds_one)

    def _shown(self, request: Request, stream: str) -> Sequence[dict[str, Any]]:
        """Return the rows of a stream that a window's request would show."""
        asked = request.first("q")
        if self.org.kind(request) not in ("query", "more") or (
            asked and not re.search(r"SystemModstamp (>=|=)", asked)
        ):
            return ()
        found = json.loads(self.org.answer(request).encoded())
        rows = found["records"] if isinstance(found, dict) else ()
        return [row for row in rows if row["attributes"]["type"] == OBJECTS[stream]]

    def _fail(self, fault: PartialFault, when: Callable[[Request], bool]) -> None:
        self.org.faults.add(**PARTIAL_FAULTS[fault], count=None, when=when)

    def _add_what_is_no_row(self) -> None:
        """Fill the first seconds of every window with rows that no query may return."""
        for second in range(3):
            at = self.at - timedelta(days=1) + second * self.granule
            for fields in OTHERS:
                self.org.put("Task", {**self._values("calls", at), **fields}, created_at=at, modified_at=at)
            email = {**self._values("emails", at), "IsDeleted": True}
            self.org.put("EmailMessage", email, created_at=at, modified_at=at)
            task = self.org.put("Task", self._values("email_tasks", at), created_at=at, modified_at=at)
            self.org.edit("Task", task, touch=False, Status="Not Started")
            voice = {**self._values("voice_calls", at), "ActivityId": task}
            self.org.put("VoiceCall", voice, created_at=at, modified_at=at)

    def _contact(self) -> str:
        first, last = PRIVATE[1].split()
        person = {"FirstName": first, "LastName": last, "Email": PRIVATE[0], "Phone": PRIVATE[2]}
        return self.org.put("Contact", {**person, "AccountId": self.account})

    def _values(self, stream: str, at: datetime) -> dict[str, Any]:
        if stream == "emails":
            return {"FromId": self.rep, "FromAddress": PRIVATE[3], "ToAddress": PRIVATE[0], "MessageDate": at}
        person = self.people[stream]
        if stream == "voice_calls":
            times = {"CallStartDateTime": at, "CallEndDateTime": at, "CallType": "Outbound"}
            return {"RelatedRecordId": person, "OwnerId": self.rep, "CallDisposition": "completed", **times}
        return {"TaskSubtype": SUBTYPES[stream], "Status": "Completed", "OwnerId": self.rep, "WhoId": person}


class _Sessions(Sessions):
    """Sessions whose access tokens are added to the suite's secrets."""

    def __init__(self, secrets: Any, others: Any) -> None:
        vars(self).update(vars(others))
        self._secrets = secrets

    def open(self, org_id: str, now: int) -> str:
        key = super().open(org_id, now)
        self._secrets.append(key)
        return key


class CallsAndEmails(Titled):
    """The connector of an org whose emails are messages. The other streams are read in the same way."""

    streams = Titled.streams[:2]


class Others(Titled):
    """The connector of an org with all streams, of which the suite reads those that CallsAndEmails lacks."""

    streams = Titled.streams[2:]


# Tests about how windows are read, by the same code for all streams. They took two thirds of this file's time, so they
# read two streams: the first those that TestSlowSalesforce leaves out, the others the two that most users have.
SOME: Mapping[str, type[Connector]] = {
    "test_a_crash_after_any_page_loses_nothing": Others,
    "test_a_crash_with_edits_and_late_rows_before_the_next_pass_loses_nothing": Others,
    "test_edits_that_show_late_hide_none_of_their_neighbours": Others,
    "test_no_history_loses_a_record": Others,
    "test_records_deleted_while_they_are_read_hide_none_of_their_neighbours": Others,
    "test_records_edited_while_they_are_read_hide_none_of_their_neighbours": Others,
    "test_a_failure_of_any_request_is_survived": CallsAndEmails,
    "test_an_outage_blames_no_record": CallsAndEmails,
    "test_an_outage_from_any_request_on_loses_nothing": CallsAndEmails,
    "test_one_span_that_cannot_be_read_holds_up_nothing_beside_it": CallsAndEmails,
    "test_pages_that_are_too_large_become_smaller_and_later_larger_again": CallsAndEmails,
}


class TestSalesforce(ConnectorConformance, NetworkConformance):
    """All tests are the suite's."""

    org: ClassVar[dict[str, Any]] = {"live_locators": True, "slow": False}
    connector: ClassVar[type[Connector] | None] = None  # of every test

    @pytest.fixture
    def crm(
        self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[OrgUnderTest]:
        monkeypatch.setattr(reading, "AT_ONCE", PART)
        monkeypatch.setattr(client, "PAGE_MOST", PAGE)
        monkeypatch.setattr(salesforce, "PAGE_MOST", PAGE)
        monkeypatch.setattr(salesforce, "PAGE_LEAST", 1)
        monkeypatch.setattr(service, "MIN_BATCH_SIZE", 1)
        connector = self.connector or SOME.get(request.function.__name__, Titled)
        crm = OrgUnderTest(tmp_path, **self.org, connector=connector)
        with crm.box:
            yield crm
            crm.heal()


class TestSlowSalesforce(ConnectorConformance):
    """A slow org, whose later pages show the rows of the query's time."""

    org: ClassVar[dict[str, Any]] = {"live_locators": False, "slow": True}
    connector = CallsAndEmails
    crm = TestSalesforce.crm
    test_more_records = NetworkConformance.test_more_records_than_one_query_can_give_are_all_read
