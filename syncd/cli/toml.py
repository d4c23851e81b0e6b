"""Write JSON values as TOML, each in one line. Pure."""

import json
import re
from collections.abc import Iterable
from typing import Any

BARE = re.compile(r"[A-Za-z0-9_-]+")


def dotted(key: Iterable[str]) -> str:
    """Return a key's path, e.g. sources.hubspot.start."""
    return ".".join(map(_part, key))


def value(found: Any) -> str:
    """Return a JSON value as TOML in printable characters. TOML has no null, so that becomes ""."""
    if found is None:
        return '""'
    if isinstance(found, dict):
        pairs = ", ".join(f"{_part(name)} = {value(each)}" for name, each in found.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(found, list):
        return f"[{', '.join(map(value, found))}]"
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in json.dumps(found, ensure_ascii=False))


def _part(name: str) -> str:
    return name if BARE.fullmatch(name) else value(name)
