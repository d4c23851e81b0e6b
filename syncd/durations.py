"""Durations as people write them: 30s, 15m, 4h, 7d."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
PATTERN = r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*$"


def parse(text: Any) -> timedelta:
    """Read `text`, e.g. "15m"; ValueError, which says what is expected, for anything else."""
    if isinstance(text, timedelta):
        return text
    match = re.match(PATTERN, text) if isinstance(text, str) else None
    if match is None:
        raise ValueError('expected a duration such as "30s", "15m", "4h" or "7d"')
    return timedelta(seconds=float(match[1]) * UNITS[match[2]])


def show(duration: timedelta) -> str:
    """Write `duration` as `parse` reads it, in the largest unit that divides it."""
    seconds = duration.total_seconds()
    for unit in ("d", "h", "m", "s"):
        if seconds >= UNITS[unit] and seconds % UNITS[unit] == 0:
            return f"{int(seconds // UNITS[unit])}{unit}"
    return f"{seconds:g}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse),
    PlainSerializer(show, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["30s", "15m", "4h", "7d"]}),
]
