"""Parse CRM field values leniently. Pure. Only `from_ms` raises."""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import getaddresses
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
MINUTE = timedelta(minutes=1)
EARLIEST_YEAR = 2000  # no call or email of a CRM is older, so an earlier time is a default or a misread number
EARLIEST_MS, LATEST_MS = 946_684_800_000, 4_102_444_800_000  # 2000 and 2100: a number beyond them is no time
LONGEST_DURATION = timedelta(days=1)  # of a call: a longer one is in another unit, or was never ended
HOURS_MINUTES_SECONDS = re.compile(r"([01]?\d|2[0-3]):([0-5]\d):([0-5]\d)", re.ASCII)  # as phone systems export it
CLOCK = ("hours", "minutes", "seconds")
THOUSANDS = re.compile(r"^-?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$")  # "1,234": seen by Airbyte's users
DECIMAL_COMMA = re.compile(r"^-?(\d+|\d{1,3}(\.\d{3})+),\d+$")  # "2,5", "1.234,5": much of Europe
LONGEST = 132_000  # characters of a field that are read; a CRM's longest has 131,072 (Salesforce, long text area)
# Each starts at `<` or is bounded, so the time grows only with the length of the field.
IN_BRACKETS = re.compile(r"<\s{0,9}([^<>\s;@]{1,320}@[^<>\s;@]{1,255})\s{0,9}>")
BARE = re.compile(r"[^\s<>()\[\],;:\"\\@]{1,64}@[^\s<>()\[\],;:\"\\@]{1,255}")
QUOTES = "'\"`\u00b4\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb"  # that mail programs put around an address
# Characters without a glyph, which pasting brings along: soft hyphen, zero-width ones, direction marks, BOM. Of
# these, no address needs one.
UNSEEN = dict.fromkeys((0xAD, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF))
AROUND = f"{QUOTES}()[]{{}}."  # what people and programs write around an address of a list
BETWEEN = re.compile(r"[\s,|/]+")  # what separates addresses without names
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
    """Return a finite number, written as "3800", "3800.0", "1,234" or "2,5". None for others, e.g. "3092;388"."""
    written = parse_text(value)
    if written is None:
        return None
    if "," in written:
        if THOUSANDS.match(written):
            written = written.replace(",", "")
        elif DECIMAL_COMMA.match(written):
            written = written.replace(".", "").replace(",", ".")
    try:
        found = float(written)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def count(value: Any) -> int | None:
    """Return a whole number of 0 or more. None for anything else. Fractions are dropped."""
    found = number(value)
    return None if found is None or found < 0 else int(found)


def duration(value: Any, unit: timedelta) -> timedelta | None:
    """Return a number of `unit`, or "0:05:23", as a duration. None for others, and if under 0 or over 24 hours."""
    found = number(value)
    if found is None:
        match = HOURS_MINUTES_SECONDS.fullmatch(parse_text(value) or "")
        return timedelta(**dict(zip(CLOCK, map(int, match.groups()), strict=True))) if match else None
    return found * unit if 0 <= found <= LONGEST_DURATION / unit else None


def in_minutes(length: timedelta | None) -> float | None:
    """Return a duration in minutes with two decimals, as Recotap receives it."""
    return None if length is None else round(length / MINUTE, 2)


def parse_time(value: Any) -> datetime | None:
    """Return the instant (aware UTC) of ISO 8601 or epoch milliseconds. UTC if no zone is named.

    None if it is invalid or impossible: before 2000, or a number that is no time, such as a year or a spreadsheet's
    serial. "20260422" is a date.
    """
    written = parse_text(value)
    if written is None:
        return None
    try:
        if written[:5].isdigit():  # five digits at the start cannot be a year
            return _from_digits(written)
        found = datetime.fromisoformat(written)
        if found.year < EARLIEST_YEAR:
            return None
        if found.tzinfo is UTC:
            return found
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _from_digits(written: str) -> datetime | None:
    """Return the instant of "20260422", "20260422T103000Z" or epoch milliseconds. ValueError if it is another text."""
    if written[8:9] in ("", "T"):
        found = datetime.fromisoformat(written)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        return found if found.year >= EARLIEST_YEAR else None
    ms = int(written) if written.isdecimal() else int(float(written))
    return from_ms(ms) if EARLIEST_MS <= ms < LATEST_MS else None


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

    They are separated by `;` or `,`. Addresses without names may also stand in quotes or brackets, and be separated by
    spaces, `|` or `/`. The vendor's sample has the form `ToFirst+ToLast<to@test.com>`.
    """
    written = parse_text(value)
    if written is None:
        return []
    if PLAIN.fullmatch(written):
        return [(None, address) for address in written.replace(" ", "").replace(",", ";").split(";")]
    if not written.isascii():
        written = written.translate(UNSEEN)
    found: list[tuple[str | None, str]] = []
    for piece in written.split(";"):
        if "@" in piece:
            found.extend(_bare(piece) or ((_name(name), address) for name, address in _pairs(piece)))
    return found


def _bare(piece: str) -> list[tuple[str | None, str]]:
    """Return the addresses of a piece that holds nothing else. Otherwise none: prose is no address."""
    if "<" in piece:
        return []
    words = [_address(word) for word in BETWEEN.split(piece) if any(map(str.isalnum, word))]
    return [(None, word) for word in words] if all(map(BARE.fullmatch, words)) else []


def _address(written: str) -> str:
    bare = written.strip(AROUND)
    return bare[7:] if bare[:7].lower() == "mailto:" else bare


def _name(written: str) -> str | None:
    """Return a person's name. None if an address stands in its place, as Outlook writes it."""
    name = (parse_text(written.replace("+", " ")) or "").strip("'\u2018\u2019")
    return name if name and not BARE.fullmatch(name) else None


def _pairs(piece: str) -> list[tuple[str, str]]:
    try:
        pairs = [pair for pair in getaddresses([piece]) if "@" in pair[1]]
    except ODD:
        return list(_bracketed(piece)) or [("", address) for address in BARE.findall(piece)]
    return [(name, _address(address)) for name, address in pairs] or list(_bracketed(piece))


def _bracketed(piece: str) -> Iterator[tuple[str, str]]:
    end = 0
    for match in IN_BRACKETS.finditer(piece):
        before = piece[max(end, match.start() - NAME_MOST) : match.start()]
        yield re.split("[<>]", before)[-1], _address(match[1])
        end = match.end()
