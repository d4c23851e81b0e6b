"""Say in the operator's words what pydantic found wrong; never with the value that it found."""

import json
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from syncd.config.models import A_TIME
from syncd.config.reading import Reading
from syncd.secret import Secret

EXPECTED = {  # what pydantic's error types begin with; the first that fits
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


def model(reading: Reading, key: tuple[str, ...], kind: type[BaseModel], table: Any) -> Any:
    """Return `table` as a `kind`, or None with its mistakes noted."""
    if not isinstance(table, dict):
        reading.wrong(key, f"expected a table, [{'.'.join(key)}]")
        return None
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        for detail in error.errors(include_input=False, include_url=False):
            place = tuple(str(part) for part in detail["loc"] if part != "[key]")
            reading.wrong(key + place, *_explain(kind, place, detail))
        return None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint: the known name that `name` was probably meant to be, else all of them."""
    known = sorted(known)
    close = get_close_matches(name.lower(), known, n=1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}" if known else ""


def _explain(kind: type[BaseModel], place: tuple[str, ...], detail: Any) -> tuple[str, str]:
    """Return message and hint for one of pydantic's errors."""
    found, context = detail["type"], detail.get("ctx", {})
    if found == "value_error":
        return str(context["error"]), ""
    table, last = _follow(kind, place)
    if found == "extra_forbidden":
        return "unknown key", nearest(place[-1], table.model_fields if table else ())
    example = _example(place, last) if last else ""
    if found == "missing":
        return "is missing", f"expected {example}" if example else ""
    words = next((words.format(**context) for start, words in EXPECTED.items() if found.startswith(start)), "")
    return words or detail["msg"], f"e.g. {example}" if example else ""


def _follow(kind: type[BaseModel], place: tuple[str, ...]) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """Return the table that holds the last part of `place` and the last field on the way."""
    table: type[BaseModel] | None = kind
    last = None
    for part in place:
        holder = table
        last = table.model_fields.get(part, last) if table else last
        inner = last.annotation if last else None
        table = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
    return (holder if place else kind), last


def _example(place: tuple[str, ...], known: FieldInfo) -> str:
    """Return `key = value` as it could stand in the file; empty when nothing is known."""
    name = next(part for part in reversed(place) if not part.isdecimal())
    if "datetime" in str(known.annotation).lower():
        return f"{name} = 2026-01-01T00:00:00Z"
    default = "env:NAME" if known.annotation is Secret else known.default
    value = known.examples[0] if known.examples else default
    if isinstance(value, Path):
        value = str(value)
    return f"{name} = {json.dumps(value)}" if isinstance(value, (str, int, float, list)) and value != "" else ""
