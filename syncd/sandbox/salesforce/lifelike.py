"""Define rows of calls and emails as real tools write them, and rows that only look like one.

Sources: Salesforce's Object Reference v67, the tools' own documentation and source, and published audits of orgs' tasks
(2026-11). `read_as` is the kind that the connector's defaults make of a row.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from syncd.sandbox.salesforce.records import Records

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
DONE = {"Status": "Completed"}
CALL, EMAIL = {**DONE, "TaskSubtype": "Call"}, {**DONE, "TaskSubtype": "Email"}
SENT = {"Status": "3", "FromAddress": "{rep_address}", "FromId": "{rep}", "ToAddress": "{buyer_address}"}
CAME = {"Status": "1", "Incoming": True, "FromAddress": "{buyer_address}", "ToAddress": "{rep_address}"}


@dataclass(frozen=True, slots=True)
class Written:
    """A row as a tool writes it. In its values {rep}, {buyer} and so on stand for the org's people.

    A timedelta is a time after the row's own, or the day of that time in a date field.
    """

    tool: str  # and which of its rows
    fields: Mapping[str, Any]
    read_as: Literal["call", "email"] | None
    object: str = "Task"
    people: tuple[str, ...] = ("buyer",)  # contacts, in order; of an email, with their roles in `roles`
    task: Mapping[str, Any] | None = None  # the task that the tool writes beside an email or a voice call
    roles: Mapping[str, str] = field(default_factory=dict)  # of people that are related to an email
    is_archived: bool = False


ROWS = (
    # -- calls
    Written("Log a Call", {**CALL, "Subject": "Call"}, "call"),
    Written("Open CTI demo adapter", {
        **DONE, "Type": "Call", "Subject": "Call 2026-04-22 10:30", "CallType": "Outbound",
        "CallDisposition": "Connected", "CallDurationInSeconds": 65,
    }, "call"),
    Written("Open CTI without type", {
        **DONE, "Subject": "Call", "CallType": "Inbound", "CallDurationInSeconds": 30,
    }, None),
    Written("Twilio Flex", {
        **CALL, "Type": "Outbound", "Subject": "Outbound call", "CallType": "Outbound", "CallDisposition": "completed",
    }, "call"),
    Written("Aircall", {
        **CALL, "Type": "Call", "Subject": "Outbound answered call", "CallType": "Outbound",
        "CallDisposition": "[tags: demo] - outbound - done - 15550100", "CallObject": "1428571428",
        "CallDurationInSeconds": 300, "OwnerId": "{integration}",
    }, "call"),
    Written("Aircall, left in progress", {
        "Status": "In Progress", "TaskSubtype": "Call", "Type": "Call", "Subject": "Missed inbound call",
        "CallType": "Inbound",
    }, None),
    Written("Aircall, SMS", {**CALL, "Type": "Call", "Subject": "SMS sent to a customer"}, "call"),
    Written("Dialpad, unmatched", {**CALL, "Subject": "Call", "CallDurationInSeconds": 12}, "call", people=()),
    Written("Kixie, subtype Task", {**DONE, "Type": "Call", "Subject": "answered: outbound call"}, "call", people=()),
    Written("Vonage", {
        **CALL, "Subject": "Interaction", "CallType": "Inbound", "CallDurationInSeconds": 240,
        "CallObject": "8f1d2c3b-5a6e-4f70-9b81-0c2d3e4f5a6b",
    }, "call"),
    Written("Vonage, interaction log", {
        **CALL, "Subject": "Interaction log", "CallType": "Inbound", "CallDurationInSeconds": 240,
        "CallObject": "8f1d2c3b-5a6e-4f70-9b81-0c2d3e4f5a6b",
    }, "call"),
    Written("Gong, first contact", {**CALL, "Subject": "Gong: Weekly", "CallDurationInSeconds": 1800}, "call"),
    Written("Gong, second contact", {**CALL, "Subject": "Gong: Weekly", "CallDurationInSeconds": 1800}, "call",
            people=("colleague",)),
    Written("Outreach, call", {**CALL, "Subject": "[Outreach] [Call] [outbound] Intro"}, "call"),
    Written("Nektar, call stamped again by a backfill", {
        **CALL, "Subject": "Call", "ActivityDate": -40 * DAY, "CompletedDateTime": timedelta(0),
    }, "call"),
    Written("Salesloft, due in a month", {
        **CALL, "Subject": "Call", "ActivityDate": 30 * DAY, "CompletedDateTime": timedelta(0),
        "CallDurationInSeconds": 60,
    }, "call"),
    Written("Log a Call, with three people, archived", {**CALL, "Subject": "Call", "ActivityDate": -400 * DAY}, "call",
            people=("buyer", "colleague", "boss"), is_archived=True),
    Written("Fastcall, task without type", {**DONE, "Subject": "Call", "CallDurationInSeconds": 45}, None),
    Written("Genesys, SMS", {**DONE, "Subject": "SMS interaction"}, None),
    Written("Gong, a meeting invite", {"Status": "In Progress", "TaskSubtype": "Call", "Subject": "Gong: Demo"}, None),
    Written("Log a Call, with a lead", {**CALL, "Subject": "Call"}, "call", people=("lead",)),
    Written("a call that is planned", {
        "Status": "Not Started", "TaskSubtype": "Call", "Subject": "Call back", "ActivityDate": 3 * DAY,
    }, None),
    # -- email tasks
    Written("Outreach, sent", {**EMAIL, "Subject": "[Outreach] [Email] [Out] Intro"}, "email"),
    Written("Outreach, received", {**EMAIL, "Subject": "[Outreach] [Email] [In] Re: Intro"}, "email"),
    Written("Outreach, opened", {**EMAIL, "Subject": "[Outreach] [Email] [Opened] Intro"}, "email"),
    Written("Outreach, LinkedIn", {**DONE, "Subject": "[Outreach] [Other] LinkedIn message"}, None),
    Written("Apollo, sent", {**DONE, "Type": "Email", "Subject": "Email: >> Intro"}, "email"),
    Written("Groove, received", {**DONE, "Type": "Email", "Subject": "Email: << Re: Intro"}, "email"),
    Written("lemlist", {**DONE, "Type": "Email", "Subject": "Email: [lemlist] Intro"}, "email"),
    Written("lemlist, a note", {**DONE, "Subject": "[lemlist] lead deleted"}, None),
    Written("Email to Salesforce", {**EMAIL, "Subject": "Email: Your quote"}, "email"),
    Written("Mixmax, sent", {**DONE, "Subject": "Sent (New): Intro"}, None),
    Written("Mixmax, opened", {**DONE, "Subject": "Opened: Intro"}, None),
    Written("Yesware, reply", {**DONE, "Subject": "Replied: Re: Intro"}, None),
    Written("Nooks, email", {**DONE, "Subject": "Nooks: Email sent"}, None),
    Written("HubSpot's sync, sent", {**DONE, "Subject": "Sent Email: News", "OwnerId": "{integration}"}, None),
    Written("HubSpot's sync, opened", {**DONE, "Subject": "Opened Email: News", "OwnerId": "{integration}"}, None),
    Written("LinkedIn Sales Navigator, InMail", {**DONE, "Subject": "InMail: Hello"}, None),
    Written("list email", {**DONE, "TaskSubtype": "ListEmail", "Subject": "List Email: News"}, None),
    Written("a to-do", {**DONE, "Subject": "Send the brochure"}, None),
    # -- email messages
    Written("Outlook integration, sent", {**SENT, "Subject": "Your offer", "MessageIdentifier": "<1@lantern.example>"},
            "email", "EmailMessage", task={**EMAIL, "Type": "Email", "Subject": "Email: Your offer"},
            roles={"buyer": "ToAddress", "rep": "FromAddress"}),
    Written("Einstein Activity Capture, received", {**CAME, "Subject": "Re: Your offer"}, "email", "EmailMessage",
            task={**EMAIL, "Subject": "Email: Re: Your offer"}, roles={"buyer": "FromAddress", "rep": "ToAddress"}),
    Written("Weflow, received, Incoming left at its default", {
        "Status": "3", "Incoming": False, "Subject": "Re: Your plan", "FromAddress": "{buyer_address}",
        "ToAddress": "{rep_address}", "FromId": "{buyer}", "CreatedById": "{integration}",
    }, "email", "EmailMessage", roles={"buyer": "FromAddress", "rep": "ToAddress"}),
    Written("composer, bounced", {**SENT, "Subject": "Hello", "IsBounced": True}, "email", "EmailMessage",
            roles={"buyer": "ToAddress"}),
    Written("composer, a draft", {**SENT, "Subject": "Not yet", "Status": "5"}, None, "EmailMessage",
            roles={"buyer": "ToAddress"}),
    Written("Email-to-Case", {
        **CAME, "Subject": "It does not work", "ParentId": "{case}", "ToAddress": "help@lantern.example",
    }, "email", "EmailMessage", roles={"buyer": "FromAddress"}),
    # -- voice calls
    Written("Service Cloud Voice", {
        "CallType": "Inbound", "CallStartDateTime": -10 * MINUTE, "CallEndDateTime": -5 * MINUTE,
        "CallDurationInSeconds": 300, "CallDisposition": "completed", "RelatedRecordId": "{buyer}",
        "VendorCallKey": "5c7b9a1d-3e2f-4a6b-8c9d-0e1f2a3b4c5d",
    }, None, "VoiceCall"),
    Written("Sales Dialer", {
        "CallType": "Outbound", "CallStartDateTime": -10 * MINUTE, "CallEndDateTime": -9 * MINUTE,
        "CallDurationInSeconds": 60, "CallDisposition": "completed", "RelatedRecordId": "{buyer}",
    }, None, "VoiceCall", task={**CALL, "Subject": "Call", "CallType": "Outbound", "CallDurationInSeconds": 60}),
)  # fmt: skip


def furnish(
    salesforce: Records, *, at: datetime, people: Mapping[str, str], every: timedelta = MINUTE
) -> dict[str, str]:  # fmt: skip
    """Write each row of ROWS that the org has the object for, and return their ids by tool.

    The first one is modified at `at`, and each following one `every` later. `people` has the ids of rep, integration,
    buyer, colleague, boss and lead, and addresses as rep_address and buyer_address. A task beside an email or a voice
    call is returned as "<tool>: task".
    """
    case = salesforce.put("Case", {"Subject": "It does not work", "ContactId": people["buyer"]}, modified_at=at)
    found: dict[str, str] = {}
    for number, row in enumerate(ROWS):
        if salesforce.view(row.object) is not None:
            found |= dict(_write(salesforce, row, at + number * every, {**people, "case": case}))
    return found


def _write(salesforce: Records, row: Written, at: datetime, people: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    given = {"OwnerId": people["rep"]} if row.object == "Task" else {}
    fields = {**given, **_filled(row.fields, at, people)}
    if row.object == "EmailMessage":
        fields = {"MessageDate": at, **fields}
    if row.task is not None:
        task = {"OwnerId": people["rep"], "WhoId": people["buyer"], **_filled(row.task, at, people)}
        fields["ActivityId"] = salesforce.put("Task", task, created_at=at, modified_at=at)
        yield f"{row.tool}: task", fields["ActivityId"]
    if row.object == "Task" and row.people:
        fields["WhoId"] = people[row.people[0]]
    crm_id = salesforce.put(row.object, fields, created_at=at, modified_at=at)
    for person in row.people[1:] if row.object == "Task" else ():
        salesforce.relate(crm_id, people[person])
    for person, role in row.roles.items():
        salesforce.relate(crm_id, people[person], RelationType=role)
    if row.is_archived:
        salesforce.archive(crm_id)
    yield row.tool, crm_id


def _filled(fields: Mapping[str, Any], at: datetime, people: Mapping[str, str]) -> dict[str, Any]:
    return {name: _value(value, at, people) for name, value in fields.items()}


def _value(value: Any, at: datetime, people: Mapping[str, str]) -> Any:
    if isinstance(value, timedelta):
        return at + value
    return value.format_map(people) if isinstance(value, str) and value.startswith("{") else value


__all__ = ["ROWS", "Written", "furnish"]
