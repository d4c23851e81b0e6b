"""Strip what is personal from a text that somebody else wrote. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

GONE = "[removed]"
MOST = 300  # characters of a foreign text that are kept
SHORTEST = 3  # a payload's string shorter than this is no person's

# It begins where the one before ended: else a long text without an @ would cost the square of its length.
_ADDRESS = re.compile(r"(?<![^\s@<>\"'(),;:])[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+")
_PHONE = re.compile(r"\+?\d[\d\s()./-]{6,}\d")
# What an activity says that is nobody's secret: the operator needs it to find the record.
_NAMES = frozenset({"name", "ownerName"})  # each word of these is personal by itself
_ADDRESSES = frozenset({"email", "ownerEmail"})  # and what stands before the @ of these
_OPEN_KEYS = frozenset({"externalActivityId", "activityType", "occurredAt", "domain", "direction", "outcome"})


def scrub(text: str, payload: Any = None) -> str:
    """Return `text` without addresses and phone numbers, and without any string of `payload`, cut short."""
    flat = " ".join(text.split())
    flat = _without(flat, {value for value in _strings(payload) if len(value) >= SHORTEST})
    return _PHONE.sub(GONE, _ADDRESS.sub(GONE, flat))[:MOST]


def _without(text: str, known: Iterable[str]) -> str:
    """Cut out every place where one of `known` stands; where two overlap, both go whole."""
    places = sorted(
        (found.start(), found.start() + len(value))
        for value in known
        for found in re.finditer(f"(?={re.escape(value)})", text, re.IGNORECASE)
    )
    kept, at = [], 0
    for start, end in places:
        if start >= at:
            kept += [text[at:start], GONE]
        at = max(at, end)
    return "".join(kept) + text[at:]


def _strings(payload: Any, key: str = "") -> Iterator[str]:
    if isinstance(payload, str):
        if key not in _OPEN_KEYS:
            yield " ".join(payload.split())
        if key in _NAMES:
            yield from payload.split()
        if key in _ADDRESSES:
            local = payload.partition("@")[0]
            yield from (local, *re.split(r"[._+-]", local))
    elif isinstance(payload, dict):
        for name, value in payload.items():
            yield from _strings(value, name)
    elif isinstance(payload, Iterable):
        for value in payload:
            yield from _strings(value, key)
