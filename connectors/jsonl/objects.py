"""Parse one line as a JSON object, in bounded time and memory. Pure."""

import re
from typing import Any

import orjson

DEEPEST = 100  # levels of arrays and objects
MOST_VALUES = 100_000  # of one line

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# An escaped backslash, a surrogate pair, or half of one. The first two are valid and kept.
_HALF = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


class NotAnObject(ValueError):
    """A line that is no JSON object, or exceeds a bound; says why, to follow "line 17 of x.jsonl"."""


def parsed(raw: bytes) -> tuple[dict[str, Any], int]:
    """Return the object and about how many values it holds. Half a surrogate pair is removed from its texts."""
    values = _refuse_excess(raw)
    try:
        row = _loads(raw)
    except orjson.JSONDecodeError:
        raise NotAnObject("is not JSON" if _is_utf8(raw) else "is not UTF-8") from None
    if not isinstance(row, dict):
        raise NotAnObject("is no JSON object")
    return row, values


def _loads(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        if b"\\u" not in raw:
            raise
        # A program that cuts a text in the middle of an emoji writes half of it.
        return orjson.loads(_HALF.sub(lambda found: b"" if found[1] else found[0], raw))


def _refuse_excess(raw: bytes) -> int:
    """Return the number of values, at most. They are counted before the line is parsed."""
    opening, values = _counted(raw)
    if opening > DEEPEST or values > MOST_VALUES:  # it may be brackets and commas of a text
        bare = _STRING.sub(b'""', raw)
        opening, values = _counted(bare)
        if values > MOST_VALUES:
            raise NotAnObject(f"holds more than {MOST_VALUES:,} values")
        if opening > DEEPEST and _is_too_deep(bare):
            raise NotAnObject(f"is nested more than {DEEPEST} levels deep")
    return values


def _counted(raw: bytes) -> tuple[int, int]:
    opening = raw.count(b"[") + raw.count(b"{")
    return opening, opening + raw.count(b",") + raw.count(b":")


def _is_too_deep(bare: bytes) -> bool:
    """Tell whether brackets are left when the innermost ones were removed so many times."""
    left = bare.translate(None, _NOT_BRACKETS)
    for _ in range(DEEPEST):
        inner = left.replace(b"[]", b"").replace(b"{}", b"")
        if len(inner) in (0, len(left)):  # all is gone, or nothing closes what is open
            return bool(inner)
        left = inner
    return True


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
