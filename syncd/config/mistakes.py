"""Translate pydantic's errors for the operator, without repeating a value."""

import json
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import BaseModel, ValidationError, create_model, model_validator
from pydantic.fields import FieldInfo

from syncd.config.models import A_TIME
from syncd.config.reading import RawConfig
from syncd.types.secrets import Secret

UNKNOWN_KEY, UNKNOWN_TABLE = "unknown key", "unknown table"  # the whole message
NEAR = "did you mean"  # how the hint begins if a known key is close
EITHER = 'expected either every = "5m" or cron = "*/5 * * * *". Leave the other one out, or set it to ""'
EXPECTED = {  # by the beginning of pydantic's error type; the first match counts
    "string_type": "expected text in quotes",
    "bool": "expected true or false",
    "int": "expected a whole number",
    "float": "expected a number",
    "path_type": "expected a path in quotes",
    "list": "expected a list",
    "tuple": "expected a list",
    "set": "expected a list",
    "frozen_set": "expected a list",
    "dict": "expected a table",
    "model": "expected a table",
    "datetime": A_TIME,
    "timezone": A_TIME,
    "greater_than_equal": "expected {ge} or more",
    "less_than_equal": "expected {le} or less",
}


def read_model(raw: RawConfig, key: tuple[str, ...], kind: type[BaseModel], table: Any) -> Any:
    """Return `table` as a `kind`, and report its mistakes, so that further checks can continue.

    An invalid or missing field becomes None, whatever its type. The result is None if nothing can be read.
    """
    if not isinstance(table, dict):
        raw.add_problem(key, f"expected a table, [{'.'.join(key)}]")
        return None
    try:
        return kind.model_validate(table, by_alias=True, by_name=False)  # a file has one name for each key
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
    for detail in details:
        place = tuple(str(part) for part in detail["loc"] if part != "[key]")
        raw.add_problem(key + place, *_explain(kind, place, detail))
    at_fault = {str(detail["loc"][0]) for detail in details if detail["loc"]}
    rest = {name: value for name, value in table.items() if name not in at_fault}
    if all(detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1 for detail in details):
        return read_model(raw, key, kind, rest)  # all fields are present, so the checks across fields run too
    return _readable_part(kind, rest, at_fault & kind.model_fields.keys())


def _readable_part(kind: type[BaseModel], table: dict[str, Any], unreadable: set[str]) -> BaseModel | None:
    """Return a `kind` whose `unreadable` fields are None, without its checks across fields."""
    fields: dict[str, Any] = dict.fromkeys(unreadable, (Any, None))
    checks = kind.__pydantic_decorators__.model_validators
    off: dict[str, Any] = {
        name: model_validator(mode="after")(lambda self: self)
        for name, check in checks.items()
        if check.info.mode == "after"
    }
    try:
        return create_model(kind.__name__, __base__=kind, __validators__=off, **fields).model_validate(table)
    except Exception:  # noqa: BLE001 - a connector's own code, which may fail on half a table
        return None


def check_schedule(raw: RawConfig, key: tuple[str, ...], schedule: Any) -> None:
    """Report a schedule that sets both `every` and `cron`."""
    if isinstance(schedule, dict) and all(schedule.get(name, "") != "" for name in ("every", "cron")):
        raw.add_problem(key, EITHER)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint with the known name closest to `name`, or with all known names."""
    known = sorted(known)
    close = get_close_matches(name.lower(), known, n=1)
    return f"{NEAR} {close[0]}?" if close else f"known here: {', '.join(known)}" if known else ""


def keys(table: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a table by the key that the file has for them."""
    return {field.alias or name: field for name, field in table.model_fields.items()}


def is_table(annotation: Any) -> TypeGuard[type[BaseModel]]:
    """Tell whether a field of this type is a table in the file."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _explain(kind: type[BaseModel], place: tuple[str, ...], detail: Any) -> tuple[str, str]:
    """Return the message and hint for one error of pydantic."""
    found, context = detail["type"], detail.get("ctx", {})
    if found == "value_error":
        left = "left of the =: " if "[key]" in detail["loc"] else ""
        return f"{left}{context['error']}", ""
    table, last = _follow(kind, place)
    if found == "extra_forbidden":
        return UNKNOWN_KEY, nearest(place[-1], keys(table) if table else ())
    example = _example(place, last) if last else ""
    if found == "missing":
        return "is missing", f"expected {example}" if example else ""
    words = next((words.format(**context) for start, words in EXPECTED.items() if found.startswith(start)), "")
    return words or detail["msg"], f"e.g. {example}" if example else ""


def _follow(kind: type[BaseModel], place: tuple[str, ...]) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """Return the table that holds the last part of `place`, and the last field on the way."""
    table: type[BaseModel] | None = kind
    last = None
    for part in place:
        holder = table
        last = keys(table).get(part, last) if table else last
        inner = last.annotation if last else None
        table = inner if is_table(inner) else None
    return (holder if place else kind), last


def _example(place: tuple[str, ...], known: FieldInfo) -> str:
    """Return an example `key = value` for the file, or "" if none is known."""
    name = next(part for part in reversed(place) if not part.isdecimal())
    if "datetime" in str(known.annotation).lower():
        return f"{name} = 2026-01-01T00:00:00Z"
    default = "env:NAME" if known.annotation is Secret else known.default
    value = known.examples[0] if known.examples else default
    if isinstance(value, Path):
        value = str(value)
    return f"{name} = {json.dumps(value)}" if isinstance(value, (str, int, float, list)) and value != "" else ""
