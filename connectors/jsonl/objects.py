"""Parse one line as a JSON object, in bounded time and memory. Pure."""

import json
import re
from typing import Any

from syncd.http import bodies

# Half of an emoji, or a control character: where one stands the parser changes a text.
_MAY_BE_MENDED = re.compile(rb"\\u[dD][89a-fA-F]|[\x00-\x1f]")


class NotAnObject(ValueError):
    """A line that is no JSON object, or exceeds a bound; says why, to follow "line 17 of x.jsonl"."""


def parse_object(raw: bytes) -> tuple[dict[str, Any], int]:
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


def as_written(raw: bytes, row: dict[str, Any]) -> dict[str, Any]:
    """Return the object of `raw` with its texts as they are written: `row`, unless `parsed` may have mended one.

    An id is compared by what is written. Mended, two of them could be one.
    """
    if not _MAY_BE_MENDED.search(raw):
        return row
    try:
        found = json.loads(raw.decode(), strict=False)
    except ValueError:
        return row
    return found if isinstance(found, dict) else row


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
