"""Parse one line as a JSON object, in bounded time and memory. Pure."""

import re
from typing import Any

import orjson

DEEPEST = 100  # levels of arrays and objects
MOST_VALUES = 100_000  # of one line

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")
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
        if opening > DEEPEST and _depth(bare) > DEEPEST:
            raise NotAnObject(f"is nested more than {DEEPEST} levels deep")
    return values


def _counted(raw: bytes) -> tuple[int, int]:
    opening = raw.count(b"[") + raw.count(b"{")
    return opening, opening + raw.count(b",") + raw.count(b":")


def _depth(bare: bytes) -> int:
    depth = deepest = 0
    for found in _BRACKETS.finditer(bare):
        depth += 1 if found[0] in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
