"""Parse one line as a JSON object, in bounded time and memory. Pure."""

import json
import re
from typing import Any

from syncd.http import bodies

# Half of an emoji, or a control character: the parser changes a text that holds one.
_MAY_BE_MENDED = re.compile(rb"\\u[dD][89a-fA-F]|[\x00-\x1f]")


class NotAnObject(ValueError):
    """Report why a line is not a JSON object within the bounds, to follow "line 17 of x.jsonl"."""


def parse_object(raw: bytes) -> tuple[dict[str, Any], int]:
    """Return the object and its approximate number of values. NotAnObject if it is bad.

    A line in another encoding is refused, because replaced characters would change names for good.
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
    """Return the object of `raw` with unchanged texts. This is `row`, unless `parse_object` may have changed one.

    Ids are compared as written. After a change, two of them could be equal.
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
