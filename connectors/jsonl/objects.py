"""Parse one line as a JSON object, in bounded time and memory. Pure."""

from typing import Any

from syncd import bodies


class NotAnObject(ValueError):
    """A line that is no JSON object, or exceeds a bound; says why, to follow "line 17 of x.jsonl"."""


def parsed(raw: bytes) -> tuple[dict[str, Any], int]:
    """Return the object and about how many values it holds.

    A line in another encoding is refused: replaced characters would change names for good.
    """
    if not _is_utf8(raw):
        raise NotAnObject("is not UTF-8")
    try:
        row = bodies.parse(raw)
    except bodies.NotJson as error:
        raise NotAnObject(str(error)) from None
    if not isinstance(row, dict):
        raise NotAnObject("is no JSON object")
    return row, bodies.values(raw)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
