"""Parse and show sizes as people write them: 500MB, 1GB, 64KiB."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
PATTERN = r"^\s*(\d+(?:\.\d+)?)\s*(B|[KMGT]B|[KMG]iB)\s*$"
MOST = UNITS["TB"]


def parse(text: Any) -> int:
    """Return the bytes of `text`, e.g. "1GB". ValueError with the expected form for anything else."""
    if isinstance(text, int) and not isinstance(text, bool):
        size: float = text
    else:
        match = re.match(PATTERN, text, re.ASCII) if isinstance(text, str) else None
        if match is None:
            raise ValueError('expected a size such as "500MB", "1GB" or "64KiB"')
        size = float(match[1]) * UNITS[match[2]]
    if not 1 <= size <= MOST:  # too many digits become infinity
        raise ValueError(f'expected a size from "1B" to "{show(MOST)}"')
    return int(size)


def show(size: int) -> str:
    """Return `size` in the largest unit that divides it."""
    units = sorted(UNITS.items(), key=lambda unit: -unit[1])
    name, factor = next((name, factor) for name, factor in units if size % factor == 0)
    return f"{size // factor}{name}"


Size = Annotated[
    int,
    BeforeValidator(parse),
    PlainSerializer(show, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["500MB", "1GB", "64KiB"]}),
]
