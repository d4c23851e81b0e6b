"""Map Salesforce rows to drafts (design section 5). Pure.

Rows hold only the fields of `soql`: no bodies, descriptions or recordings. `related` holds what `related.py` added.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache, partial
from typing import Any

from connectors.salesforce import origins
from connectors.salesforce.rules import CALL_RULES, EMAIL_RULES, Rules
from syncd.activity import LONGEST, REMEMBERED, Company, Direction, Draft, Owner, Person, Status, header_person
from syncd.connector import Record
from syncd.fields import EARLIEST_YEAR, addresses, dig, in_minutes, parse_text, parse_time

Row = Mapping[str, Any]

DAY = timedelta(days=1)
NOON = time(12)
YEARS = range(EARLIEST_YEAR, 9999)  # that a call can be in: some hours or a zone away must be a time too
DRAFT = "5"  # EmailMessage.Status (Object Reference v67)
# CallType of Sales Dialer and Service Cloud Voice. Of the others (Bridge, Transfer, …) nothing follows.
CALL_TYPES: dict[str, Direction] = {
    "inbound": "inbound", "outbound": "outbound", "internal": "internal", "internalcall": "internal",
}  # fmt: skip
RUNNING = ("new", "in-progress", "in progress")  # VoiceCall.CallDisposition, a status (Object Reference v67)
ENDS_WITHIN = timedelta(hours=24)  # a voice call that is said to run for longer was never ended
SENDER, RECEIVERS = "FromAddress", ("ToAddress", "CcAddress")  # EmailMessageRelation.RelationType
USER_PREFIX, CONTACT_PREFIX, LEAD_PREFIX, ACCOUNT_PREFIX = "005", "003", "00Q", "001"  # of ids, in every org
TASK_PREFIX, EMAIL_PREFIX, CASE_PREFIX, VOICE_CALL_PREFIX = "00T", "02s", "500", "0LQ"


def call(record: Record, *, zone: tzinfo, rules: Rules = CALL_RULES, emails: Rules = EMAIL_RULES) -> Draft | None:
    """Return the draft of a call's task. None if `rules` do not admit it, or if it is the head of a series.

    If it is booked already, it stays a call although only `emails` admit it now.
    """
    row = record.row
    if not (rules.admits(row) or (is_booked(record) and emails.admits(row))) or _is_series(row):
        return None
    duration = rules.duration(row)
    happened = _said_at(row, rules, zone) or _task_at(record, zone, less=duration or timedelta(0))
    return _task(
        record,
        rules,
        kind="call",
        occurred_at=happened,
        duration_minutes=in_minutes(duration),
        outcome=rules.outcome(row),
        call_id=rules.call_id(row),
    )


def email_task(
    record: Record, *, zone: tzinfo, rules: Rules = EMAIL_RULES, calls: Rules = CALL_RULES, beside_emails: bool = True
) -> Draft | None:  # fmt: skip
    """Return the draft of an email's task. None if `rules` do not admit it, or if it is a call by `calls`.

    An EmailMessage that names it is the email. So the task is no activity, or a duplicate if it is booked already. If
    EmailMessages are not read, the task is the email, unless they were read before.
    """
    named_by = record.related.get("named_by")
    if not _belongs(record, rules, but=calls) or (named_by and beside_emails and not is_booked(record)):
        return None
    happened = _said_at(record.row, rules, zone) or _task_at(record, zone)
    return _task(
        record, rules, kind="email", occurred_at=happened,
        automated="support" if (parse_text(record.row.get("WhatId")) or "").startswith(CASE_PREFIX) else None,
        duplicate_of=named_by if beside_emails else None, counterpart=("emails", named_by) if named_by else None,
    )  # fmt: skip


def is_booked(record: Record) -> bool:
    """Tell whether a record that the ledger holds was looked up by its id."""
    return record.related.get("by_id") is True


def _belongs(record: Record, rules: Rules, *, but: Rules) -> bool:
    """Tell whether a task belongs to the stream of `rules`. One that `but` admits too is left to that stream.

    A booked task stays in its stream, even if only the other one would admit it now.
    """
    row = record.row
    if _is_series(row):
        return False
    if is_booked(record):
        return rules.admits(row) or but.admits(row)
    return rules.admits(row) and not but.admits(row)


def voice_call(record: Record) -> Draft:
    """Return the draft of a voice call. One that has a task by now is the task's duplicate.

    An inbound call that is not accepted stays `new`, so the end of a call counts, not its status (Object Reference,
    v67).
    """
    row, related = record.row, record.related
    created_at = _created_at(record)
    started_at = parse_time(row.get("CallStartDateTime"))
    status = (parse_text(row.get("CallDisposition")) or "").lower()
    duration = CALL_RULES.duration(row)
    account = related.get("account")
    return Draft(
        kind="call",
        occurred_at=started_at or created_at,
        created_at=created_at,
        status=_voice_status(record, status, max(started_at or created_at, created_at), is_done=bool(duration)),
        direction=CALL_TYPES.get((parse_text(row.get("CallType")) or "").lower()),
        duration_minutes=in_minutes(duration),
        outcome=None if status in (*RUNNING, "completed") else parse_text(row.get("CallDisposition")),
        owner=_owner(row.get("OwnerId"), row.get("Owner")),
        contacts=related.get("contacts", ()),
        companies=(account,) if account else (),
        call_id=parse_text(row.get("VendorCallKey")),
        duplicate_of=parse_text(row.get("ActivityId")),
        origins=partial(origins.of_voice_call, row),
    )


def _voice_status(record: Record, status: str, since: datetime, *, is_done: bool) -> Status:
    """Return the status of a voice call of `since`. One that runs for a day has ended, or never took place."""
    ended_at, read_at = parse_time(record.row.get("CallEndDateTime")), record.related.get("read_at")
    if status not in RUNNING or (ended_at is not None and ended_at <= record.ref.modified_at):
        return "done"
    if read_at is None or read_at - since <= ENDS_WITHIN:
        return "unfinished"
    return "done" if is_done or ended_at is not None else "not_sent"


def email(record: Record, *, zone: tzinfo = UTC, rules: Rules = EMAIL_RULES) -> Draft | None:
    """Return the draft of an email message. None if it is an unsent draft."""
    row, related = record.row, record.related
    if parse_text(row.get("Status")) == DRAFT or row.get("IsPrivateDraft") is True:
        return None
    created_at = _created_at(record)
    sent_at = parse_time(row.get("MessageDate"))
    # Incoming mail has the sender's clock, so it counts only up to the row's last change.
    own_time = sent_at if sent_at and sent_at <= record.ref.modified_at else created_at
    happened = _said_at(row, rules, zone) or own_time
    account = related.get("account")
    owners = _email_owners(row, related)
    return Draft(
        kind="email",
        occurred_at=happened,
        created_at=created_at,
        status="not_sent" if row.get("IsBounced") is True else "done",
        direction=rules.direction(row),
        title=rules.title(row),
        open_count=int(row["IsOpened"] is True) if row.get("IsTracked") is True and "IsOpened" in row else None,
        owner=owners[0] if owners else None,
        owners=tuple(owners[1:]),
        sender=_sender(row),
        contacts=related.get("contacts", ()),
        others=tuple(_header_people(row)),
        companies=(account,) if account else (),
        filtered=rules.filtered(row),
        origins=partial(origins.of_email, row, rules, happened),
        automated="support" if _is_of_case(row) else None,
        message_id=parse_text(row.get("MessageIdentifier")),
        counterpart=("email_tasks", task) if (task := parse_text(row.get("ActivityId"))) else None,
    )


def _task(record: Record, rules: Rules, *, occurred_at: datetime, **said: Any) -> Draft:
    row, related = record.row, record.related
    account = related.get("account")
    return Draft(
        created_at=_created_at(record),
        direction=rules.direction(row),
        title=rules.title(row),
        owner=_owner(row.get("OwnerId"), row.get("Owner")),
        contacts=related.get("contacts", ()),
        companies=(account,) if account else (),
        filtered=rules.filtered(row),
        occurred_at=occurred_at,
        origins=partial(origins.of_task, row, rules, occurred_at),
        **said,
    )


def contact(row: Row, account: Company | None) -> Person:
    """Return a contact with its account. A person account is not a company."""
    return _person(row, department=parse_text(row.get("Department")), company=None if _is_person(row) else account)


def lead(row: Row) -> Person:
    """Return a lead. Its company and website stand in for an account."""
    name, website = parse_text(row.get("Company")), parse_text(row.get("Website"))
    employer = Company(str(row.get("Id")), name, (website,) if website else ()) if name or website else None
    return _person(row, company=employer)


def company(row: Any) -> Company | None:
    """Return an account. None if there is none, or if it is a person account."""
    if not isinstance(row, dict) or not row.get("Id") or _is_person(row):
        return None
    website = parse_text(row.get("Website"))
    return Company(str(row["Id"]), parse_text(row.get("Name")), (website,) if website else ())


def owner(row: Row) -> Owner:
    """Return a user, active or not."""
    return Owner(
        parse_text(row.get("Id")),
        parse_text(row.get("Email")),
        parse_text(row.get("Name")),
        row.get("IsActive") is not False,
    )


def task_owner(row: Row) -> Owner | None:
    """Return a task's owner: a user, or a queue."""
    return _owner(row.get("OwnerId"), row.get("Owner"))


def children(row: Row, relation: str) -> list[Any]:
    """Return the rows of a child query, which Salesforce shows as null if there are none."""
    found = dig(row.get(relation), "records")
    return found if isinstance(found, list) else []


def _person(row: Row, **more: Any) -> Person:
    return Person(
        email=parse_text(row.get("Email")),
        crm_id=str(row.get("Id")),
        name=parse_text(row.get("Name")),
        title=parse_text(row.get("Title")),
        phone=parse_text(row.get("Phone")),
        linkedin_url=parse_text(row.get("linkedin")),
        **more,
    )


def _is_person(row: Row) -> bool:
    return row.get("IsPersonAccount") is True


def _is_series(row: Row) -> bool:
    return row.get("IsRecurrence") is True


def _created_at(record: Record) -> datetime:
    return parse_time(record.row.get("CreatedDate")) or record.ref.modified_at


def _said_at(row: Row, rules: Rules, zone: tzinfo) -> datetime | None:
    """Return the time in the first field that the source names and that has one."""
    names = rules.fields.occurred_at
    return next((at for name in names if (at := _time_in(row.get(name), zone))), None) if names else None


def _time_in(written: Any, zone: tzinfo) -> datetime | None:
    """Return the time in a custom field. A date alone counts as its noon. None if it is impossible."""
    at, day = parse_time(written), _day(written)
    if at is not None and day is not None and len(parse_text(written) or "") == len("2026-01-01"):
        return _noon(day, zone)
    return at


def _task_at(record: Record, zone: tzinfo, *, less: timedelta = timedelta(0)) -> datetime:
    """Return when a closed task happened. A task has a day and a completion time, but no time of its own.

    The completion time counts, unless the day is more than one day earlier. Then the call was logged afterwards, and
    only the day is known. A later day is a due date: a closed task happened before it was closed.
    """
    row = record.row
    completed_at = parse_time(row.get("CompletedDateTime"))
    day = _day(row.get("ActivityDate"))
    if (
        completed_at
        and completed_at.year in YEARS
        and (day is None or day >= completed_at.astimezone(zone).date() - DAY)
    ):
        return completed_at - less
    if day is not None and (noon := _noon(day, zone)) <= record.ref.modified_at:
        return noon
    return _created_at(record)


def _noon(day: date, zone: tzinfo) -> datetime:
    """Return noon of a day."""
    return datetime.combine(day, NOON, zone).astimezone(UTC)


def _day(written: Any) -> date | None:
    try:
        found = date.fromisoformat((parse_text(written) or "")[:10])
    except ValueError:
        return None
    return found if found.year in YEARS else None


def _owner(crm_id: Any, row: Any) -> Owner | None:
    """Return the inline owner of a row: a user, or a queue, whose members share its address."""
    if not isinstance(row, dict):
        return None
    return Owner(parse_text(crm_id), parse_text(row.get("Email")), parse_text(row.get("Name")))


def _email_owners(row: Row, related: Mapping[str, Any]) -> list[Owner]:
    """Return an email's owners in order, because it has no field for one: the candidates with an address."""
    roles = ("receiver", "task_owner") if came_in(row, related.get("contacts", ())) else ("sender",)
    owners: list[Owner] = []
    creator = _owner(row.get("CreatedById"), row.get("CreatedBy"))
    for each in [*map(related.get, roles), creator]:
        if each is not None and each.email and each not in owners:
            owners.append(each)
    return owners


def came_in(row: Row, contacts: Collection[Person] = ()) -> bool:
    """Tell whether an email was sent to us: its sender is a contact or lead, whatever `Incoming` says.

    Tools that write through the API leave `Incoming` at its default, false. Then its creator is an integration account.
    """
    if row.get("Incoming") is True:
        return True
    sender_id = row.get("FromId")
    if isinstance(sender_id, str) and sender_id.startswith((CONTACT_PREFIX, LEAD_PREFIX)):
        return True
    address = from_address(row) if contacts else None
    return address is not None and any(person.email and person.email.lower() == address for person in contacts)


def from_address(row: Row) -> str | None:
    """Return the sender's address in lower case. Tools also write display forms and quotes around it."""
    _, address = _from(row)
    return address.lower() if address else None


def _from(row: Row) -> tuple[str | None, str | None]:
    """Return the name and the address in FromAddress. (None, None) if it holds none."""
    written = row.get(SENDER)
    if not isinstance(written, str) or len(written) > LONGEST:
        return None, None
    return _first_of(written)


@lru_cache(maxsize=REMEMBERED)  # a pass meets the same senders again
def _first_of(written: str) -> tuple[str | None, str | None]:
    return next(iter(addresses(written)), (None, None))


def _is_of_case(row: Row) -> bool:
    """Tell whether an email belongs to a case. Email-to-Case sets ParentId (Object Reference v67, EmailMessage)."""
    parent, about = row.get("ParentId"), row.get("RelatedToId")
    return (isinstance(parent, str) and parent.startswith(CASE_PREFIX)) or (
        isinstance(about, str) and about.startswith(CASE_PREFIX)
    )


def _sender(row: Row) -> Person | None:
    name, address = _from(row)
    return header_person(address, parse_text(row.get("FromName")) or name) if address else None


def _header_people(row: Row) -> Iterator[Person]:
    for name in ("FromAddress", "ToAddress", "CcAddress", "BccAddress"):
        for written_name, address in addresses(row.get(name)):
            known = parse_text(row.get("FromName")) if name == SENDER else None
            yield header_person(address, known or written_name)
