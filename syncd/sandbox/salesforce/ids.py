"""Salesforce ids: a key prefix, random characters that do not grow with time, and a checksum."""

import random
from functools import lru_cache

PREFIXES = {
    "Account": "001", "Contact": "003", "User": "005", "Opportunity": "006", "Organization": "00D", "Profile": "00e",
    "Group": "00G", "Lead": "00Q", "Task": "00T", "EmailMessage": "02s", "TaskWhoRelation": "0RT",
    "EmailMessageRelation": "0sr", "VoiceCall": "0LQ", "Case": "500", "PermissionSet": "0PS",
    "PermissionSetAssignment": "0Pa",
}  # fmt: skip
OBJECTS = {prefix: name for name, prefix in PREFIXES.items()}

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def register(name: str) -> None:
    """Give a custom object a key prefix of its own: a00, a01, …"""
    prefix = PREFIXES.setdefault(name, f"a{len(PREFIXES):02}")
    OBJECTS[prefix] = name


def new_id(draw: random.Random, prefix: str) -> str:
    """Draw an id: the prefix, the instance, then random characters."""
    return whole(f"{prefix}Dn0{''.join(draw.choices(_DIGITS, k=9))}")


def whole(id: str) -> str:
    """Return the 18-character form of an id. Raises ValueError for an invalid id or checksum."""
    if len(id) not in (15, 18) or not (id.isascii() and id.isalnum()):
        raise ValueError(f"not a Salesforce id: {id!r}")
    whole_id = id[:15] + "".join(_check(id[start : start + 5]) for start in (0, 5, 10))
    if len(id) == 18 and id != whole_id:
        raise ValueError(f"not a Salesforce id, its check is wrong: {id!r}")
    return whole_id


@lru_cache(65_536)
def _check(five: str) -> str:
    """Return the check character that encodes which of five characters are capitals.

    With it, ids survive tools that ignore case.
    """
    return _CHECK[sum(1 << place for place, letter in enumerate(five) if "A" <= letter <= "Z")]
