"""Take the value of an activity from the first property that has one, in the operator's order of preference. Pure.

Each function returns the origin, e.g. the property's name, and the value. The origin is "" if there is no value.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from connectors.hubspot.config import HubSpotCalls, HubSpotStream
from connectors.hubspot.people import Properties
from syncd.activity import Direction
from syncd.connector import Record
from syncd.fields import LONGEST_DURATION, MILLISECOND, MINUTE, duration, in_minutes, number, parse_text, parse_time
from syncd.types.conditions import Pattern

CALL_OUTCOMES = {
    "NO_ANSWER": "No answer",
    "BUSY": "Busy",
    "FAILED": "Failed",
    "CANCELED": "Canceled",
    "MISSED": "Missed",
}
DIRECTIONS: dict[str, Direction] = {
    "INBOUND": "inbound", "OUTBOUND": "outbound", "INTERNAL": "internal", "INCOMING_EMAIL": "inbound",
    "EMAIL": "outbound",
}  # fmt: skip
SECOND = timedelta(seconds=1)
LONGEST_MS = LONGEST_DURATION / MILLISECOND


def text(properties: Properties, names: Sequence[str]) -> tuple[str, str | None]:
    """Return the first of the properties that is not empty, and its text. ("", None) if all are."""
    for name in names:
        if (found := parse_text(properties.get(name))) is not None:
            return name, found
    return "", None


def time(properties: Properties, names: Sequence[str]) -> tuple[str, datetime | None]:
    """Return the first of the properties with a possible time, and the time (aware UTC)."""
    for name in names:
        if (found := parse_time(properties.get(name))) is not None:
            return name, found
    return "", None


def direction(properties: Properties, rules: HubSpotStream) -> tuple[str, Direction | None]:
    """Return the origin of the direction, and the direction: by `values`, otherwise as HubSpot means the property."""
    name, found = text(properties, rules.fields.direction)
    origin, meant = _translated(properties, rules, "direction", name, found)
    if meant is not None:
        return origin, DIRECTIONS[meant.upper()]
    by_hubspot = DIRECTIONS.get(found.upper()) if found else None
    return ("", None) if by_hubspot is None else (name, by_hubspot)


def outcome(record: Record, properties: Properties, rules: HubSpotCalls) -> tuple[str, str | None]:
    """Return the origin of the outcome, and its label. A status means an outcome only if the call reached nobody."""
    name, found = "", None
    for name in rules.fields.outcome:
        written = parse_text(properties.get(name))
        if written is not None:
            found = _label(record, name, written)
        if found is not None:
            break
    origin, meant = _translated(properties, rules, "outcome", name, found)
    if meant is not None:
        return origin, meant
    return (name, found) if found is not None else ("", None)


def _translated(
    properties: Properties, rules: HubSpotStream, value: str, name: str, found: str | None
) -> tuple[str, str | None]:
    """Return the meaning that `values` has for the text found in a property, otherwise for the title."""
    table = rules.values.get(value)
    if not table:  # nearly always
        return "", None
    patterns = _patterns(tuple(table.items()))
    for origin, written in ((name, found), text(properties, rules.fields.title)):
        if written is not None:
            meant = next((meant for pattern, meant in patterns if pattern.fits(written)), None)
            if meant is not None:
                return f"{origin}, values.{value}", meant
    return "", None


@lru_cache(maxsize=64)
def _patterns(table: tuple[tuple[str, str], ...]) -> tuple[tuple[Pattern, str], ...]:
    """Return the keys of a table in the order in which they count: those without a star first."""
    patterns = [(Pattern.of(key), meant) for key, meant in table]
    return tuple(sorted(patterns, key=lambda pair: not pair[0].is_exact))


def _label(record: Record, name: str, written: str) -> str | None:
    if name == "hs_call_disposition":
        return record.related.get("disposition") or written
    if name == "hs_call_status":
        return CALL_OUTCOMES.get(written.upper())
    labels: Mapping[str, str] = record.related.get("labels", {}).get(name, {})
    return labels.get(written, written)


def minutes(properties: Properties, rules: HubSpotCalls) -> tuple[str, float | None]:
    """Return the property with the duration, and the duration in minutes. HubSpot's own is in milliseconds."""
    fields = rules.fields
    if fields.duration_minutes or fields.duration_seconds:
        for names, unit in ((fields.duration_seconds, SECOND), (fields.duration_minutes, MINUTE)):
            for name in names:
                if (found := duration(properties.get(name), unit)) is not None:
                    return name, in_minutes(found)
    ms = number(properties.get("hs_call_duration"))
    return ("hs_call_duration", round(ms / 60_000, 2)) if ms is not None and 0 <= ms <= LONGEST_MS else ("", None)
