"""Parse and show durations as people write them: 30s, 15m, 4h, 7d."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
PATTERN = r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*$"
ABOVE_ZERO = 'expected a duration above zero, e.g. "30s"'
MOST = timedelta(days=3650)  # ten years: more is a typing mistake, and would soon lead beyond the calendar


def parse(text: Any) -> timedelta:
    """Return the duration of `text`, e.g. "15m", at most `MOST`. ValueError names the expected form."""
    if isinstance(text, timedelta):
        return text
    match = re.match(PATTERN, text, re.ASCII) if isinstance(text, str) else None
    if match is None:
        raise ValueError('expected a duration such as "30s", "15m", "4h" or "7d"')
    seconds = float(match[1]) * UNITS[match[2]]
    if seconds > MOST.total_seconds():  # too many digits become infinity
        raise ValueError(f"expected a duration of at most {show(MOST)}")
    return timedelta(seconds=seconds)


def positive(duration: timedelta) -> timedelta:
    """Return `duration`. ValueError if it is zero."""
    if not duration:
        raise ValueError(ABOVE_ZERO)
    return duration


def show(duration: timedelta) -> str:
    """Return `duration` in the largest unit that divides it, to the microsecond. `parse` reads it again."""
    seconds = duration.total_seconds()
    for unit in ("d", "h", "m", "s"):
        if seconds >= UNITS[unit] and seconds % UNITS[unit] == 0:
            return f"{int(seconds // UNITS[unit])}{unit}"
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse),
    PlainSerializer(show, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["30s", "15m", "4h", "7d"]}),
]
Positive = Annotated[Duration, AfterValidator(positive)]
