"""Recotap's validation of a body, as class-validator and validator.js (13) do it.

It follows those libraries, not syncd's rules, so that it can contradict them.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from math import isfinite
from typing import Any

Error = dict[str, Any]  # {"property", "constraints"?, "children"}
Check = tuple[str, Callable[[Any], bool], str]  # constraint, test, message with {} for the property

_USER = re.compile(r"[a-z\d!#$%&'*+\-/=?^_`{|}~\u00A1-\uD7FF\uF900-\uFDCF\uFDF0-\uFFEF]+", re.I)
_QUOTED = re.compile(
    r"(?:[\s\x01-\x08\x0b\x0c\x0e-\x1f\x7f\x21\x23-\x5b\x5d-\x7e\u00A0-\uD7FF\uF900-\uFDCF\uFDF0-\uFFEF]"
    r"|\\[\x01-\x09\x0b\x0c\x0d-\x7f\u00A0-\uD7FF\uF900-\uFDCF\uFDF0-\uFFEF])*",
    re.I,
)
_TLD = re.compile(r"[a-z\u00A1-\u00A8\u00AA-\uD7FF\uF900-\uFDCF\uFDF0-\uFFEF]{2,}|xn[a-z0-9-]{2,}", re.I)
_LABEL = re.compile(r"[a-z\u00a1-\uffff0-9-]+", re.I)
_FULL_WIDTH = re.compile(r"[\uff01-\uff5e]")
_ISO8601 = re.compile(
    r"([+-]?\d{4}(?!\d{2}\b))((-?)((0[1-9]|1[0-2])(\3([12]\d|0[1-9]|3[01]))?|W([0-4]\d|5[0-3])(-?[1-7])?"
    r"|(00[1-9]|0[1-9]\d|[12]\d{2}|3([0-5]\d|6[1-6])))"
    r"([T\s]((([01]\d|2[0-3])((:?)[0-5]\d)?|24:?00)([.,]\d+(?!:))?)?(\17[0-5]\d([.,]\d+)?)?"
    r"([zZ]|([+-])([01]\d|2[0-3]):?([0-5]\d)?)?)?)?"
)


def is_email(value: Any) -> bool:
    """Check an address as isEmail does by default.

    It allows 254 characters in all, 64 bytes before the @, and a domain with a TLD.
    """
    return isinstance(value, str) and len(value) <= 254 and _is_email(value)


@lru_cache(65_536)  # a benchmark sends the same people repeatedly
def _is_email(value: str) -> bool:
    user, at, domain = value.rpartition("@")
    if not at or len(user.encode()) > 64 or len(domain.encode()) > 254 or not is_fqdn(domain):
        return False
    if len(user) > 1 and user[0] == user[-1] == '"':
        return _QUOTED.fullmatch(user[1:-1]) is not None
    return all(_USER.fullmatch(part) for part in user.split("."))


def is_fqdn(value: str) -> bool:
    """Check a domain as isFQDN does by default.

    It requires a TLD and labels of at most 63 characters, and allows no underscore and no trailing dot.
    """
    labels = value.split(".")
    if len(labels) < 2 or not _TLD.fullmatch(labels[-1]):
        return False
    return all(
        len(label) <= 63 and _LABEL.fullmatch(label) and not _FULL_WIDTH.search(label) and label.strip("-") == label
        for label in labels
    )


def is_iso8601(value: Any) -> bool:
    """Check a time as isISO8601 does by default."""
    return isinstance(value, str) and _ISO8601.fullmatch(value) is not None


def is_number(value: Any) -> bool:
    """Check for a finite number, as isNumber does by default."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


STRING: Check = ("isString", lambda v: isinstance(v, str), "{} must be a string")
NOT_EMPTY: Check = ("isNotEmpty", lambda v: v not in ("", None), "{} should not be empty")
EMAIL: Check = ("isEmail", is_email, "{} must be an email")
NUMBER: Check = ("isNumber", is_number, "{} must be a number conforming to the specified constraints")
ISO8601: Check = ("isISO8601", is_iso8601, "{} must be a valid ISO 8601 date string")
DIRECTION: Check = (
    "isIn", lambda v: v in ("inbound", "outbound"), "{} must be one of the following values: inbound, outbound",
)  # fmt: skip
ARRAY: Check = ("isArray", lambda v: isinstance(v, list), "{} must be an array")
SOME: Check = ("arrayMinSize", lambda v: isinstance(v, list) and len(v) >= 1, "{} must contain at least 1 elements")
FIFTY: Check = (
    "arrayMaxSize", lambda v: isinstance(v, list) and len(v) <= 50, "{} must contain no more than 50 elements",
)  # fmt: skip

# Recotap: sales-activities, request body (docs). property: (required, checks, the schema of its value)
Schema = dict[str, tuple[bool, tuple[Check, ...], Any]]
TEXT = (False, (STRING,), None)
CONTACT: Schema = {
    "email": (True, (EMAIL,), None),
    **dict.fromkeys("externalContactId name title department seniority phone linkedinUrl".split(), TEXT),
}
FROM: Schema = {"name": (False, (STRING,), None), "email": (False, (EMAIL,), None)}
ACTIVITY: Schema = {
    "externalActivityId": (True, (STRING, NOT_EMPTY), None),
    "activityType": (True, (STRING, NOT_EMPTY), None),
    "occurredAt": (True, (ISO8601,), None),
    "domain": (True, (STRING, NOT_EMPTY), None),
    "ownerEmail": (True, (EMAIL,), None),
    "contacts": (True, (ARRAY, SOME), CONTACT),
    "from": (False, (), FROM),
    "direction": (False, (DIRECTION,), None),
    **dict.fromkeys("accountName subject ownerName ownerId callTitle outcome".split(), TEXT),
    **dict.fromkeys(("durationMinutes", "openCount", "clickCount"), (False, (NUMBER,), None)),
}
BODY: Schema = {"activities": (True, (ARRAY, SOME, FIFTY), ACTIVITY)}


def validate(value: dict[str, Any], schema: Schema = BODY, *, whitelist: bool = False) -> list[Error]:
    """Return class-validator's error tree, empty for a valid value. `whitelist` refuses unknown keys."""
    errors = []
    for name, (required, checks, inner) in schema.items():
        held = value.get(name)
        if held is None and not required:
            continue
        broken: dict[str, str] = {}
        for rule, test, text in checks:
            if not test(held):
                broken[rule] = text.format(name)
        children: list[Error] = []
        if inner is not None and held is not None:
            children, nested = _nested(held, name, inner, whitelist=whitelist)
            broken |= nested
        if broken or children:
            errors.append(_error(name, broken, children))
    if whitelist:
        unknown = [name for name in value if name not in schema]
        errors += [_error(n, {"whitelistValidation": f"property {n} should not exist"}, []) for n in unknown]
    return errors


def _nested(held: Any, name: str, schema: Schema, *, whitelist: bool) -> tuple[list[Error], dict[str, str]]:
    if isinstance(held, dict):
        return validate(held, schema, whitelist=whitelist), {}
    refusal = {"nestedValidation": f"nested property {name} must be either object or array"}
    if not isinstance(held, list):
        return [], refusal
    children = []
    for index, item in enumerate(held):
        if not isinstance(item, dict):
            children.append(_error(str(index), refusal, []))
        elif errors := validate(item, schema, whitelist=whitelist):
            children.append({"property": str(index), "children": errors})
    return children, {}


def _error(name: str, broken: dict[str, str], children: list[Error]) -> Error:
    return {"property": name, "children": children, **({"constraints": broken} if broken else {})}


def flat(errors: list[Error], prefix: str = "") -> list[str]:
    """Return the messages of an error tree in NestJS's form: activities.3.ownerEmail must be an email."""
    lines: list[str] = []
    for error in errors:
        lines += [prefix + text for text in error.get("constraints", {}).values()]
        lines += flat(error["children"], f"{prefix}{error['property']}.")
    return lines
