"""Apply the tables [calls] and [emails] to rows: choose those that are read, and the fields that are used. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from connectors.salesforce.conditions import completed, with_whole_ids
from connectors.salesforce.tables import CallFields, CallTable, EmailTable, Fields, SalesforceRules
from syncd.activity import Direction
from syncd.fields import LONGEST_DURATION, number, parse_text
from syncd.types.conditions import Condition, Entry, Pattern, as_text, fold

Row = Mapping[str, Any]
Test = Callable[[Any], bool]
Meanings = tuple[tuple[Pattern, str], ...]

# Task.CallType and EmailMessage.Incoming (Object Reference v67), as conditions see them.
MEANT: dict[str, Direction] = {
    "inbound": "inbound", "outbound": "outbound", "internal": "internal", "true": "inbound", "false": "outbound",
}  # fmt: skip
DIRECTIONS: dict[str, Direction] = {each: each for each in ("inbound", "outbound", "internal")}
LONGEST_S = LONGEST_DURATION.total_seconds()
TRIMMED = "".join(map(chr, range(0x21)))  # by Salesforce when a text is saved (Apex guide v67, String)
JOINER = "\u2060"
REMEMBERED, SHORT = 256, 64  # values of a condition, and characters of one


@dataclass(frozen=True, slots=True)
class Rules:
    """One table, ready to be applied to many rows."""

    match: tuple[Entry, ...]  # complete: IsClosed is implied
    excepted: tuple[Entry, ...]
    fields: Fields
    directions: Meanings
    outcomes: Meanings
    tests: tuple[tuple[tuple[str, Test], ...], ...]  # the conditions of `match`, by entry
    durations: tuple[tuple[str, float], ...]  # a field and the seconds of its unit

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
            tuple(tuple((each.field, _test(each)) for each in entry.conditions) for entry in completed(table.match)),
            tuple(_durations(fields)),
        )  # fmt: skip

    def admits(self, row: Row) -> bool:
        """Tell whether a task belongs to the stream by `match`."""
        get = row.get
        for tests in self.tests:
            for name, holds in tests:
                if not holds(get(name)):
                    break
            else:
                return True
        return False

    def filtered(self, row: Row) -> str | None:
        """Return which entry of `except` leaves a row out, e.g. "except, entry 2", or None.

        An entry applies to rows that have all of its fields: an EmailMessage and an email task differ in them.
        """
        for place, entry in enumerate(self.excepted, 1) if self.excepted else ():
            if all(name in row for name in entry.fields) and entry.holds(row.get):
                return f"except, entry {place}"
        return None

    def direction(self, row: Row) -> Direction | None:
        """Return the direction: by `values` of the field, then of the Subject, then as Salesforce means the field."""
        written = as_text(first_of(row, self.fields.direction)[1])
        meant = _meant(self.directions, written) or _meant(self.directions, row.get("Subject"))
        return DIRECTIONS[meant] if meant else MEANT.get(fold(written))

    def outcome(self, row: Row) -> str | None:
        """Return the outcome: by `values` of the field, then of the Subject, then as the field says."""
        if not isinstance(self.fields, CallFields):
            return None
        written = parse_text(first_of(row, self.fields.outcome)[1])
        return _meant(self.outcomes, written) or _meant(self.outcomes, row.get("Subject")) or written

    def title(self, row: Row) -> str | None:
        """Return the title of a call or the subject of an email."""
        return parse_text(first_of(row, self.fields.title)[1])

    def call_id(self, row: Row) -> str | None:
        """Return the id that each copy of a call has."""
        return parse_text(first_of(row, self.fields.call_id)[1]) if isinstance(self.fields, CallFields) else None

    def duration(self, row: Row) -> timedelta | None:
        """Return a call's duration: the first one that is possible, in seconds, then in minutes."""
        return self._duration(row)[1]

    def origins(self, row: Row) -> dict[str, str]:
        """Return the field that each of these values came from, by our name."""
        found = {"title": first_of(row, self.fields.title)[0], "direction": self._origin(row, "direction")}
        if isinstance(self.fields, CallFields):
            found |= {
                "outcome": self._origin(row, "outcome"),
                "duration_minutes": self._duration(row)[0],
                "call_id": first_of(row, self.fields.call_id)[0],
            }
        return {name: field for name, field in found.items() if field}

    def _origin(self, row: Row, value: str) -> str:
        """Return the field that gave a direction or an outcome, and the table that translated it."""
        table = self.directions if value == "direction" else self.outcomes
        name, written = first_of(row, getattr(self.fields, value))
        if _meant(table, written):
            return f"{name}, values.{value}"
        return f"Subject, values.{value}" if _meant(table, row.get("Subject")) else name

    def _duration(self, row: Row) -> tuple[str, timedelta | None]:
        """Return the field of the first possible duration, and that duration."""
        for name, unit_s in self.durations:
            found = number(row.get(name))
            if found is not None and 0 <= found * unit_s <= LONGEST_S:
                return name, timedelta(seconds=found * unit_s)
        return "", None


def first_of(row: Row, names: tuple[str, ...]) -> tuple[str, Any]:
    """Return the first of the fields that is not empty, and its value."""
    for name in names:
        found = row.get(name)
        if found is not None and (not isinstance(found, str) or found.strip()):
            return name, found
    return "", None


def _test(condition: Condition) -> Test:
    """Return a condition as a test that remembers the values it meets again and again, as of a picklist."""

    def judged(found: Any) -> bool:
        return condition.holds(_as_compared(found))

    known = lru_cache(maxsize=REMEMBERED)(judged)

    def holds(found: Any) -> bool:
        short = found is None or isinstance(found, bool) or (isinstance(found, str) and len(found) <= SHORT)
        return known(found) if short else judged(found)

    return holds


def _as_compared(found: Any) -> Any:
    """Return a value as SOQL compares it. Salesforce trims no white space beyond ASCII, e.g. U+00A0, and conditions do.

    A word joiner keeps it from being trimmed. So no task fits that the query did not ask for.
    """
    return f"{JOINER}{found}{JOINER}" if isinstance(found, str) and found.strip() != found.strip(TRIMMED) else found


def _durations(fields: Fields) -> Iterator[tuple[str, float]]:
    if isinstance(fields, CallFields):
        yield from ((name, 1.0) for name in fields.duration_seconds)
        yield from ((name, 60.0) for name in fields.duration_minutes)


def _meanings(table: Mapping[str, str]) -> Meanings:
    """Return the keys as patterns, those without a star first."""
    found = [(Pattern.of(key), value) for key, value in table.items()]
    return tuple(sorted(found, key=lambda pair: not pair[0].is_exact))


def _meant(meanings: Meanings, written: Any) -> str | None:
    """Return the meaning of a text, by the first key that fits it."""
    if not meanings:
        return None
    text = as_text(written)
    return next((value for pattern, value in meanings if pattern.fits(text)), None) if text else None


CALL_RULES, EMAIL_RULES = Rules.of(CallTable()), Rules.of(EmailTable())  # of a source without these tables
