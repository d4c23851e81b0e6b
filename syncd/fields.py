"""Parse CRM field values leniently. Pure. Only `from_ms` raises."""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import getaddresses
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
THOUSANDS = re.compile(r"^-?\d{1,3}(,\d{3})+(\.\d+)?$")  # "1,234": seen by Airbyte's users
LONGEST = 132_000  # characters of a field that are read; a CRM's longest has 131,072 (Salesforce, long text area)
# Each starts at `<` or is bounded, so the time grows only with the length of the field.
IN_BRACKETS = re.compile(r"<\s{0,9}([^<>\s;@]{1,320}@[^<>\s;@]{1,255})\s{0,9}>")
BARE = re.compile(r"[^\s<>()\[\],;:\"\\@]{1,64}@[^\s<>()\[\],;:\"\\@]{1,255}")
# Addresses and nothing else, as most fields hold: email.utils returns them as they are, at 20 times the CPU.
ONE = r"[\w+-]{1,64}(?:\.[\w+-]{1,64}){0,9}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,9}"
PLAIN = re.compile(f"{ONE}(?:[;,] ?{ONE})*+", re.ASCII)
NO_SCALAR = (bool, dict, list)  # a tuple: `bool | dict | list` would be built at each call
NAME_MOST = 200  # characters before `<` that may be a name
# All that email.utils raises for odd text. It recurses at each ( and each :
ODD = (RecursionError, ValueError, IndexError, TypeError, AttributeError)


def parse_text(value: Any) -> str | None:
    """Return a trimmed text of at most LONGEST characters. None if it is null, empty or not a scalar."""
    if isinstance(value, str):
        return value[:LONGEST].strip() or None
    return None if value is None or isinstance(value, NO_SCALAR) else str(value)


def dig(value: Any, *path: str) -> Any:
    """Return the value at `path` in nested objects. None if any part is missing or no object."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def number(value: Any) -> float | None:
    """Return a finite number, written as "3800", "3800.0" or "1,234". None for anything else, e.g. "3092;388"."""
    written = parse_text(value)
    if written is None:
        return None
    if "," in written and THOUSANDS.match(written):
        written = written.replace(",", "")
    try:
        found = float(written)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def count(value: Any) -> int | None:
    """Return a whole number of 0 or more. None for anything else. Fractions are dropped."""
    found = number(value)
    return None if found is None or found < 0 else int(found)


def parse_time(value: Any) -> datetime | None:
    """Return the instant (aware UTC) of ISO 8601 or epoch milliseconds. UTC if no zone is named. None if invalid."""
    written = parse_text(value)
    if written is None:
        return None
    try:
        if written[:5].isdigit() or written[0] == "-":  # five digits at the start cannot be a year
            return from_ms(int(float(written)))
        found = datetime.fromisoformat(written)
        if found.tzinfo is UTC:
            return found
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def to_ms(at: datetime) -> int:
    """Return epoch milliseconds, rounded down."""
    return (at - EPOCH) // MILLISECOND


def from_ms(ms: int) -> datetime:
    """Return the instant (aware UTC) of epoch milliseconds. OverflowError beyond the calendar."""
    return EPOCH + timedelta(milliseconds=ms)


def full_name(first: Any, last: Any) -> str | None:
    """Return "first last", or the one of them that is set. None if neither is."""
    first, last = parse_text(first), parse_text(last)
    return f"{first} {last}" if first and last else first or last


def addresses(value: Any) -> list[tuple[str | None, str]]:
    """Return the (name, address) pairs of a header-like list.

    They are separated by `;` or `,`. The vendor's sample has the form `ToFirst+ToLast<to@test.com>`.
    """
    written = parse_text(value)
    if written is None:
        return []
    if PLAIN.fullmatch(written):
        return [(None, address) for address in written.replace(" ", "").replace(",", ";").split(";")]
    found: list[tuple[str | None, str]] = []
    for piece in written.split(";"):
        found.extend((parse_text(name.replace("+", " ")), address) for name, address in _pairs(piece))
    return found


def _pairs(piece: str) -> list[tuple[str, str]]:
    try:
        pairs = [pair for pair in getaddresses([piece]) if "@" in pair[1]]
    except ODD:
        return list(_bracketed(piece)) or [("", address) for address in BARE.findall(piece)]
    return pairs or list(_bracketed(piece))


def _bracketed(piece: str) -> Iterator[tuple[str, str]]:
    end = 0
    for match in IN_BRACKETS.finditer(piece):
        before = piece[max(end, match.start() - NAME_MOST) : match.start()]
        yield re.split("[<>]", before)[-1], match[1]
        end = match.end()
