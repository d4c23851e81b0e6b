"""Define conditions on the fields of a record, in one grammar for every CRM. Pure.

    match = [{ TaskSubtype = "Call" }, { Type = ["Call", "Outbound Call"], IsClosed = true }, { CallType = "*" }]

One entry suffices. Within its braces all conditions must hold, each by any of its values. Text compares without case,
and `*` stands for any characters. `"*"` alone means not empty, and `""` means empty.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from syncd.fields import number, parse_text

Look = Callable[[str], Any]  # the value of a record's field, None if it has none
T = TypeVar("T")

FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
MOST_VALUES = 100  # of one field
LONGEST = 255  # characters of a value
VALUE_EXPECTED = 'expected text in quotes, true, false, a number, or a list of them, e.g. "Call" or ["Call", "SMS *"]'


def fold(text: str) -> str:
    """Return `text` as it is compared. No other character is folded to an ASCII letter, so any system can compare."""
    if text.isascii():
        return text.lower()
    return "".join(c if not c.isascii() and any(map(str.isascii, c.lower())) else c.lower() for c in text)


def as_text(found: Any) -> str:
    """Return a field's value as the text that conditions see, "" if it is empty."""
    if isinstance(found, bool):
        return "true" if found else "false"
    return parse_text(found) or ""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text in which `*` stands for any characters, also none. It takes the time of a search, whatever it is."""

    written: str
    parts: tuple[str, ...]  # folded, between the stars

    @classmethod
    def of(cls, written: str) -> "Pattern":
        """Read a pattern as the operator wrote it."""
        return cls(written, tuple(fold(written.strip()).split("*")))

    @property
    def is_exact(self) -> bool:
        """Whether it has no star."""
        return len(self.parts) == 1

    @property
    def is_any(self) -> bool:
        """Whether it has nothing but stars, so that any text fits except for the empty one."""
        return len(self.parts) > 1 and not any(self.parts)

    def fits(self, text: str) -> bool:
        """Tell whether the whole of `text`, as `as_text` returns it, fits."""
        folded = fold(text)
        first, *middle = self.parts
        if not middle:
            return folded == first
        if self.is_any:
            return bool(folded)
        last = middle.pop()
        if len(folded) < len(first) + len(last) or not (folded.startswith(first) and folded.endswith(last)):
            return False
        at, end = len(first), len(folded) - len(last)
        for part in middle:
            at = folded.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True


Wanted = Pattern | bool | int | float


@dataclass(frozen=True, slots=True)
class Condition:
    """One field and the values of which it must have one."""

    field: str
    wanted: tuple[Wanted, ...]

    def holds(self, found: Any) -> bool:
        """Tell whether the field's value is one of those wanted."""
        return any(_agrees(each, found) for each in self.wanted)


@dataclass(frozen=True, slots=True)
class Entry:
    """Conditions that must all hold. A type for models of the configuration: it reads a table."""

    conditions: tuple[Condition, ...]

    @classmethod
    def parse(cls, given: Any) -> "Entry":
        """Return the entry of a table. ValueError names each mistake; it repeats field names, and no value."""
        if isinstance(given, Entry):
            return given
        if not isinstance(given, dict) or not given:
            raise ValueError('expected conditions in braces, e.g. { TaskSubtype = "Call" }')
        mistakes = [
            f"{mistake} ({name})" if FIELD.fullmatch(str(name)) else mistake
            for name, values in given.items()
            if (mistake := _mistake(str(name), values))
        ]
        if mistakes:
            raise ValueError("; ".join(dict.fromkeys(mistakes)))
        return cls(tuple(Condition(name, tuple(map(_wanted, _listed(values)))) for name, values in given.items()))

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of its fields, in order."""
        return tuple(each.field for each in self.conditions)

    def holds(self, look: Look) -> bool:
        """Tell whether a record fulfils all conditions."""
        return all(each.holds(look(each.field)) for each in self.conditions)

    def to_table(self) -> dict[str, Any]:
        """Return it as JSON values, as the file wrote it."""
        written = {
            each.field: [value.written if isinstance(value, Pattern) else value for value in each.wanted]
            for each in self.conditions
        }
        return {field: values[0] if len(values) == 1 else values for field, values in written.items()}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        to_table = core_schema.plain_serializer_function_ser_schema(cls.to_table)
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=to_table)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        value = {"type": ["string", "boolean", "number"]}
        several = {"type": "array", "items": value, "minItems": 1, "maxItems": MOST_VALUES}
        return {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": f"^{FIELD.pattern}$"},
            "additionalProperties": {"anyOf": [value, several]},
            "examples": [{"TaskSubtype": "Call"}],
        }


def first(entries: Sequence[Entry], look: Look) -> int | None:
    """Return the place, from 0, of the first entry that holds, or None."""
    return next((place for place, entry in enumerate(entries) if entry.holds(look)), None)


def fields_of(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Return the names of all fields of `entries`, each once, in order."""
    return tuple(dict.fromkeys(name for entry in entries for name in entry.fields))


def meaning(table: Mapping[str, T], text: str) -> T | None:
    """Return the value of the first key that fits `text`: keys without a star first, then in the file's order."""
    patterns = sorted(((Pattern.of(key), value) for key, value in table.items()), key=lambda pair: not pair[0].is_exact)
    return next((value for pattern, value in patterns if pattern.fits(text)), None)


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _wanted(value: Any) -> Wanted:
    return Pattern.of(value) if isinstance(value, str) else value


def _mistake(name: str, values: Any) -> str:
    """Return what is wrong with one condition, or ""."""
    if not FIELD.fullmatch(name):
        return "expected the API name of a field left of the =: letters, digits and _"
    listed = _listed(values)
    if not listed or not all(map(_is_value, listed)):
        return VALUE_EXPECTED
    if len(listed) > MOST_VALUES:
        return f"expected at most {MOST_VALUES} values"
    if any(isinstance(value, str) and (len(value) > LONGEST or not value.isprintable()) for value in listed):
        return f"expected printable text of at most {LONGEST} characters"
    return ""


def _is_value(value: Any) -> bool:
    return isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))


def _agrees(wanted: Wanted, found: Any) -> bool:
    if isinstance(wanted, Pattern):
        return wanted.fits(as_text(found))
    if isinstance(wanted, bool):
        return as_text(found).lower() == ("true" if wanted else "false")
    return not isinstance(found, bool) and number(found) == wanted


__all__ = ["Condition", "Entry", "Look", "Pattern", "Wanted", "as_text", "fields_of", "first", "fold", "meaning"]
