"""Apply the tables [calls] and [emails] to rows: choose those that are read, and the fields that are used. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from connectors.salesforce.conditions import completed, with_whole_ids
from connectors.salesforce.tables import CallFields, CallTable, EmailTable, Fields, SalesforceRules
from syncd.activity import Direction
from syncd.fields import number, parse_text
from syncd.types.conditions import Condition, Entry, Pattern, as_text, fold

Row = Mapping[str, Any]
Meanings = tuple[tuple[Pattern, str], ...]

# Task.CallType and EmailMessage.Incoming (Object Reference v67), as conditions see them.
MEANT: dict[str, Direction] = {
    "inbound": "inbound", "outbound": "outbound", "internal": "internal", "true": "inbound", "false": "outbound",
}  # fmt: skip
DIRECTIONS: dict[str, Direction] = {each: each for each in ("inbound", "outbound", "internal")}
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
LONGEST_CALL = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Rules:
    """One table, ready to be applied to many rows."""

    match: tuple[Entry, ...]  # complete: IsClosed is implied
    excepted: tuple[Entry, ...]
    fields: Fields
    directions: Meanings
    outcomes: Meanings

    @classmethod
    def of(cls, table: SalesforceRules, *, occurred_at_field: str = "") -> "Rules":
        """Return the rules of a table. `occurred_at_field` comes before its own fields of that kind."""
        fields = table.fields
        if occurred_at_field:
            times = tuple(dict.fromkeys((occurred_at_field, *fields.occurred_at)))
            fields = fields.model_copy(update={"occurred_at": times})
        return cls(
            completed(table.match), with_whole_ids(table.excepted), fields,
            _meanings(table.values.get("direction", {})), _meanings(table.values.get("outcome", {})),
        )  # fmt: skip

    def admits(self, row: Row) -> bool:
        """Tell whether a task belongs to the stream by `match`."""
        get = row.get
        return any(_all_hold(entry.conditions, get) for entry in self.match)

    def filtered(self, row: Row) -> str | None:
        """Return which entry of `except` leaves a row out, e.g. "except, entry 2", or None.

        An entry applies to rows that have all of its fields: an EmailMessage and an email task differ in them.
        """
        for place, entry in enumerate(self.excepted, 1):
            if all(name in row for name in entry.fields) and entry.holds(row.get):
                return f"except, entry {place}"
        return None

    def direction(self, row: Row) -> Direction | None:
        """Return the direction: by `values` of the field, then of the Subject, then as Salesforce means the field."""
        written = as_text(_first(row, self.fields.direction)[1])
        meant = _meant(self.directions, (written, row.get("Subject")))
        return DIRECTIONS[meant] if meant else MEANT.get(fold(written))

    def outcome(self, row: Row) -> str | None:
        """Return the outcome: by `values` of the field, then of the Subject, then as the field says."""
        if not isinstance(self.fields, CallFields):
            return None
        written = parse_text(_first(row, self.fields.outcome)[1])
        return _meant(self.outcomes, (written, row.get("Subject"))) or written

    def title(self, row: Row) -> str | None:
        """Return the title of a call or the subject of an email."""
        return parse_text(_first(row, self.fields.title)[1])

    def call_id(self, row: Row) -> str | None:
        """Return the id that each copy of a call has."""
        return parse_text(_first(row, self.fields.call_id)[1]) if isinstance(self.fields, CallFields) else None

    def duration(self, row: Row) -> timedelta | None:
        """Return a call's duration: the first one that is possible, in seconds, then in minutes."""
        return next((length for _, length in self._durations(row)), None)

    def _durations(self, row: Row) -> Iterator[tuple[str, timedelta]]:
        """Yield the possible durations of a row, each with its field."""
        if isinstance(self.fields, CallFields):
            for names, unit in ((self.fields.duration_seconds, SECOND), (self.fields.duration_minutes, MINUTE)):
                for name in names:
                    found = number(row.get(name))
                    if found is not None and 0 <= found <= LONGEST_CALL / unit:
                        yield name, found * unit


def _all_hold(conditions: tuple[Condition, ...], look: Callable[[str], Any]) -> bool:
    for each in conditions:  # noqa: SIM110 - a plain loop takes half the time, and each row passes here
        if not each.holds(look(each.field)):
            return False
    return True


def _first(row: Row, names: tuple[str, ...]) -> tuple[str, Any]:
    """Return the first of the fields that is not empty, and its value."""
    for name in names:
        found = row.get(name)
        if found is not None and (not isinstance(found, str) or found.strip()):
            return name, found
    return "", None


def _meanings(table: Mapping[str, str]) -> Meanings:
    """Return the keys as patterns, those without a star first."""
    found = [(Pattern.of(key), value) for key, value in table.items()]
    return tuple(sorted(found, key=lambda pair: not pair[0].is_exact))


def _meant(meanings: Meanings, texts: tuple[Any, ...]) -> str | None:
    if not meanings:
        return None
    for text in filter(None, map(parse_text, texts)):
        for pattern, value in meanings:
            if pattern.fits(text):
                return value
    return None


CALL_RULES, EMAIL_RULES = Rules.of(CallTable()), Rules.of(EmailTable())  # of a source without these tables
