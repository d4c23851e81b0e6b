"""Map a line to a draft. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from connectors.jsonl.config import CONTACT, Columns, JsonlConfig
from connectors.jsonl.lines import field
from syncd.activity import Company, Direction, Draft, Kind, Owner, Person, Status
from syncd.connector import Record
from syncd.errors import Unreadable
from syncd.fields import addresses, count, number, parse_text, parse_time

NO_ACTIVITY = "draft"
STATUSES: Mapping[str, Status] = {
    **dict.fromkeys(("done", "completed", "finished", "closed", "held", "sent", "received"), "done"),
    **dict.fromkeys(("unfinished", "planned", "scheduled", "open", "in progress", "ringing", "sending"), "unfinished"),
    **dict.fromkeys(("not_sent", "bounced", "failed"), "not_sent"),
}
DIRECTIONS: Mapping[str, Direction] = {
    **dict.fromkeys(("inbound", "incoming", "in", "received"), "inbound"),
    **dict.fromkeys(("outbound", "outgoing", "out", "sent"), "outbound"),
    "internal": "internal",
}
SECONDS_BELOW = 10**11  # a smaller number is epoch seconds (until the year 5138), a greater one milliseconds
NOON = time(12)  # the time of a date alone


def draft(kind: Kind, record: Record, config: JsonlConfig) -> Draft | None:
    """Return the draft of a line. None if it is an unsent draft. Unreadable, naming file and line, if it is bad."""
    line = record.related.get("line")
    where = f"{'a line' if line is None else f'line {line}'} of {record.related.get('file')}"
    fault = record.related.get("fault")
    if fault:
        raise Unreadable(f"{where} {fault}")
    columns, row = config.columns, record.row

    def of(column: str) -> str | None:
        return parse_text(field(row, column))

    word = (of(columns.status) or "done").lower()
    if word == NO_ACTIVITY:
        return None
    status = STATUSES.get(word)
    if status is None:  # never guess, because sending cannot be undone
        raise Unreadable(f"{where} has a status that is none of done, unfinished, not_sent, draft")
    zone = ZoneInfo(config.timezone)
    created_at = instant(field(row, columns.created_at), zone)
    occurred_at = instant(field(row, columns.occurred_at), zone) or created_at
    if occurred_at is None:
        raise Unreadable(f"{where} has no time in {columns.occurred_at or columns.created_at!r}")
    sender = of(columns.from_email)
    is_email = kind == "email"
    return Draft(
        kind=kind,
        occurred_at=occurred_at,
        created_at=created_at or occurred_at,
        status=status,
        direction=DIRECTIONS.get((of(columns.direction) or "").lower()),
        title=of(columns.subject) or of(columns.title) if is_email else of(columns.title) or of(columns.subject),
        duration_minutes=None if is_email else _minutes(row, columns),
        outcome=None if is_email else of(columns.outcome),
        open_count=count(field(row, columns.open_count)) if is_email else None,
        click_count=count(field(row, columns.click_count)) if is_email else None,
        owner=owner(row, columns),
        sender=Person(sender, name=of(columns.from_name)) if sender else None,
        contacts=_contacts(row, columns),
        others=_addressed(row, columns),
        companies=_companies(row, columns),
    )


def owner(row: Mapping[str, Any], columns: Columns) -> Owner | None:
    """Return a line's owner, never an active one, because a file cannot say who is active.

    An owner's address is on our side by itself. Two active owners would add their whole domain, so one wrong column
    would turn customers into colleagues.
    """
    crm_id, address = parse_text(field(row, columns.owner_id)), parse_text(field(row, columns.owner_email))
    if crm_id is None and address is None:
        return None
    return Owner(crm_id, address, parse_text(field(row, columns.owner_name)), active=False)


def instant(value: Any, zone: ZoneInfo) -> datetime | None:
    """Parse ISO 8601, in `zone` if it names none, a date alone as its noon, or epoch seconds or ms. UTC, or None."""
    written = parse_text(value)
    if written is None:
        return None
    try:
        seconds = float(written)
    except ValueError:
        pass
    else:
        return parse_time(seconds * 1000 if abs(seconds) < SECONDS_BELOW else seconds)
    try:
        found = datetime.fromisoformat(written)
        if len(written) <= len("2026-01-01"):
            found = datetime.combine(found, NOON)
        return found.replace(tzinfo=found.tzinfo or zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _minutes(row: Mapping[str, Any], columns: Columns) -> float | None:
    minutes, seconds = number(field(row, columns.duration_minutes)), number(field(row, columns.duration_seconds))
    if minutes is None and seconds is not None:
        minutes = seconds / 60
    return None if minutes is None or minutes < 0 else round(minutes, 2)


def _contacts(row: Mapping[str, Any], columns: Columns) -> tuple[Person, ...]:
    people = []
    alone = _person(row, columns.of_contact)
    if alone is not None:
        people.append(alone)
    listed = field(row, columns.contacts)
    for each in listed if isinstance(listed, list) else [listed]:
        if isinstance(each, dict):
            person = _person(each, PERSON)
            people += [person] if person is not None else []
        else:
            people += _bare(each)
    return tuple(people)


PERSON = {name: name for name in CONTACT}


def _person(row: Mapping[str, Any], columns: Mapping[str, str]) -> Person | None:
    values: dict[str, Any] = {}
    for name, column in columns.items():
        written = parse_text(field(row, column))
        if written is not None:
            values["crm_id" if name == "id" else name] = written
    return Person(**{"email": None, **values}) if values else None


def _addressed(row: Mapping[str, Any], columns: Columns) -> tuple[Person, ...]:
    people = []
    for listed in (field(row, columns.to_email), field(row, columns.cc_email)):
        for each in listed if isinstance(listed, list) else [listed]:
            people += _bare(each)
    return tuple(people)


def _bare(listed: Any) -> list[Person]:
    return [Person(address, name=name) for name, address in addresses(listed)] if listed else []


def _companies(row: Mapping[str, Any], columns: Columns) -> tuple[Company, ...]:
    crm_id, name, domain = (
        parse_text(field(row, column)) for column in (columns.account_id, columns.account_name, columns.account_domain)
    )
    known = crm_id or domain or name
    return () if known is None else (Company(known, name, (domain,) if domain else ()),)
