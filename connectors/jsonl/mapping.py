"""Map a line to a draft. Pure."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from connectors.jsonl.config import CONTACT, Columns, JsonlConfig, LineRules
from connectors.jsonl.lines import field
from syncd.activity import Company, Direction, Draft, Kind, Owner, Person, Status
from syncd.connector import Record
from syncd.errors import Unreadable
from syncd.fields import (
    EARLIEST_MS,
    EARLIEST_YEAR,
    LATEST_MS,
    MINUTE,
    addresses,
    count,
    duration,
    from_ms,
    in_minutes,
    parse_text,
)
from syncd.types.conditions import Look, meaning

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
EMPTY: tuple[Any, ...] = (None, "", [], {})
# The columns of each field of a draft: the first one that is filled, or all that are.
ONE_OF: Mapping[str, tuple[str, ...]] = {
    "occurred_at": ("occurred_at", "created_at"),
    "created_at": ("created_at", "occurred_at"),
    "duration_minutes": ("duration_minutes", "duration_seconds"),
    "sender": ("from_email",),
    **{name: (name,) for name in ("status", "direction", "outcome", "open_count", "click_count")},
    **{name: (name,) for name in ("message_id", "call_id")},
}
ALL_OF: Mapping[str, tuple[str, ...]] = {
    "owner": ("owner_id", "owner_email", "owner_name"),
    "contacts": (*(f"contact_{name}" for name in CONTACT), "contacts"),
    "others": ("to_email", "cc_email"),
    "companies": ("account_id", "account_name", "account_domain"),
}
NOON = time(12)  # the time of a date alone
SECOND = timedelta(seconds=1)
NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]*)?(?:[eE][+-]?[0-9]+)?")
COMPACT = (8, 12, 14)  # digits: 20260422 (its noon), 202604221030 and 20260422103000
COMPACT_YEARS = range(EARLIEST_YEAR, 2100)
PLAIN_NUMBER = re.compile(r"[0-9]{10,13}(?:[.][0-9]*)?")  # epoch seconds or milliseconds, which never overlap
ISO = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8})(?:[Tt ] *([0-9][0-9:.,+ -]*+)([Zz]|UTC|GMT)?)?")
WRITE = "write it as 2026-04-22 or 2026-04-22T10:30:00Z"


def draft(kind: Kind, record: Record, config: JsonlConfig) -> Draft | None:
    """Return the draft of a line. None if it is an unsent draft. Unreadable, naming file and line, if it is bad."""
    line = record.related.get("line")
    where = f"{'a line' if line is None else f'line {line}'} of {record.related.get('file')}"
    fault = record.related.get("fault")
    if fault:
        raise Unreadable(f"{where} {fault}")
    columns, row, rules = config.columns, record.row, config.rules(kind)

    def of(column: str) -> str | None:
        return parse_text(field(row, column))

    word = status_word(row, columns)
    if word == NO_ACTIVITY or (rules.match and not rules.admits(look(row, columns))):
        return None
    status = _status(word, where)
    zone = ZoneInfo(config.timezone)
    occurred_at, created_at = (_time(row, column, zone, where) for column in (columns.occurred_at, columns.created_at))
    occurred_at = occurred_at or created_at
    if occurred_at is None:
        raise Unreadable(f"{where} has no time in {columns.occurred_at or columns.created_at!r}")
    is_email = kind == "email"
    title = of(columns.subject) or of(columns.title) if is_email else of(columns.title) or of(columns.subject)
    direction = _meaning(rules, "direction", of(columns.direction), title) or ""
    return Draft(
        kind=kind,
        occurred_at=occurred_at,
        created_at=created_at or occurred_at,
        status=status,
        direction=DIRECTIONS.get(direction.lower()),
        title=title,
        duration_minutes=None if is_email else _minutes(record, columns),
        outcome=None if is_email else _meaning(rules, "outcome", of(columns.outcome), title),
        open_count=count(field(row, columns.open_count)) if is_email else None,
        click_count=count(field(row, columns.click_count)) if is_email else None,
        owner=owner(row, columns),
        sender=_sender(row, columns),
        contacts=_contacts(row, columns),
        others=_addressed(row, columns),
        companies=_companies(row, columns),
        filtered=rules.filtered(look(row, columns)) if rules.excepted else None,
        message_id=of(columns.message_id) if is_email else None,
        call_id=None if is_email else of(columns.call_id),
        origins=partial(origins, kind, row, columns),
    )


def _status(word: str, where: str) -> Status:
    status = STATUSES.get(word)
    if status is None:  # never guess, because sending cannot be undone
        raise Unreadable(f"{where} has a status that is none of done, unfinished, not_sent, draft")
    return status


def look(row: Mapping[str, Any], columns: Columns) -> Look:
    """Return the values that conditions see: of a key of `columns`, otherwise of a column of the file."""
    return lambda name: field(row, columns.named.get(name, name))


def status_word(row: Mapping[str, Any], columns: Columns) -> str:
    """Return a line's status as it is compared. A line without one is done."""
    return (parse_text(field(row, columns.status)) or "done").lower()


def origins(kind: Kind, row: Mapping[str, Any], columns: Columns) -> Mapping[str, str]:
    """Return the columns that each field of the draft comes from, by the field's name."""

    def filled(names: Iterable[str]) -> list[str]:
        return [columns.named[name] for name in names if field(row, columns.named[name]) not in EMPTY]

    one = {**ONE_OF, "title": ("subject", "title") if kind == "email" else ("title", "subject")}
    found = {name: filled(names)[:1] for name, names in one.items()} | {n: filled(each) for n, each in ALL_OF.items()}
    return {name: ", ".join(used) for name, used in found.items() if used}


def _meaning(rules: LineRules, name: str, found: str | None, title: str | None) -> str | None:
    """Return the meaning that `values` gives the text found, otherwise the title, and otherwise the text itself."""
    table = rules.values.get(name)
    if not table:
        return found
    return (meaning(table, found) if found else None) or (meaning(table, title) if title else None) or found


def owner(row: Mapping[str, Any], columns: Columns) -> Owner | None:
    """Return a line's owner, never an active one, because a file cannot say who is active.

    An owner's address is on our side by itself. Two active owners would add their whole domain, so one wrong column
    would turn customers into colleagues.
    """
    crm_id, address = parse_text(field(row, columns.owner_id)), parse_text(field(row, columns.owner_email))
    if crm_id is None and address is None:
        return None
    return Owner(crm_id, address, parse_text(field(row, columns.owner_name)), active=False)


def _time(row: Mapping[str, Any], column: str, zone: ZoneInfo, where: str) -> datetime | None:
    """Return the time in a column. Unreadable if a number stands there that is no time: no other one is right."""
    written = parse_text(field(row, column))
    found = None if written is None else instant(written, zone)
    if found is None and written and NUMBER.fullmatch(written):
        raise Unreadable(f"{where} has a number that is no date in {column!r}: {WRITE}")
    return found


def instant(written: str, zone: ZoneInfo) -> datetime | None:
    """Parse ISO 8601, in `zone` if it names none, a date alone as its noon, or epoch seconds or ms. UTC, or None.

    None also before 2000, and for numbers that are no time: years alone, spreadsheets' serials, rounded milliseconds.
    """
    try:
        if NUMBER.fullmatch(written):
            found = _of_number(written)
        elif match := ISO.fullmatch(written):
            day, at, utc = match.groups()
            found = datetime.fromisoformat(f"{day}T{at or NOON}{'+00:00' if utc else ''}")
        else:
            return None
        found = found.replace(tzinfo=found.tzinfo or zone).astimezone(UTC) if found else None
    except (ValueError, OverflowError):
        return None
    return found if found and found.year >= EARLIEST_YEAR else None


def _of_number(written: str) -> datetime | None:
    if len(written) in COMPACT:
        with suppress(ValueError):
            found = datetime.fromisoformat(f"{written[:8]}T{written[8:] or '12'}")
            if found.year in COMPACT_YEARS:
                return found
    if not PLAIN_NUMBER.fullmatch(written):
        return None
    ms = float(written)
    ms = ms if ms >= EARLIEST_MS else ms * 1000
    return from_ms(int(ms)) if EARLIEST_MS <= ms < LATEST_MS else None


def _minutes(record: Record, columns: Columns) -> float | None:
    """Return the minutes, otherwise the seconds. In a file delimited by `;` 1,234 is less than two."""
    for column, unit in ((columns.duration_minutes, MINUTE), (columns.duration_seconds, SECOND)):
        written = parse_text(field(record.row, column))
        if written and record.related.get("decimal_comma") and written.count(",") == 1 and "." not in written:
            written = written.replace(",", ".")
        found = duration(written, unit)
        if found is not None:
            return in_minutes(found)
    return None


def _sender(row: Mapping[str, Any], columns: Columns) -> Person | None:
    """Return the sender, also of a column in the form of a header: `Jo Do <jo@acme.com>`."""
    written, said = parse_text(field(row, columns.from_email)), parse_text(field(row, columns.from_name))
    if written is None:
        return None
    name, address = next(iter(addresses(written)), (None, written))
    return Person(address, name=said or name)


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
