"""Parse HubSpot's ids and lists of ids. Pure, and nothing here raises."""

from typing import Any

from syncd.fields import parse_text

DIGITS_MOST = 20  # of an id; today's have 12


def ids(value: Any) -> list[str]:
    """Return the ids of a list separated by semicolons."""
    written = parse_text(value)
    return [part for part in written.replace(" ", "").split(";") if part] if written else []


def is_id(written: str) -> bool:
    """Tell whether a text can be an id. HubSpot refuses a whole batch for one that cannot."""
    return written.isascii() and written.isdecimal() and len(written) <= DIGITS_MOST


def by_number(crm_id: str) -> tuple[int, str]:
    """Return a sort key that orders ids as numbers."""
    return (int(crm_id) if is_id(crm_id) else 0, crm_id)
