"""List every key in force with its origin: the file, an environment variable or syncd's default. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from syncd.config.credentials import NAMES
from syncd.config.reading import RawConfig
from syncd.config.sources import plain_streams
from syncd.connector import Source, StreamConfig
from syncd.types.secrets import Secret

FILE, DEFAULT = "file", "default"
HIDDEN = "(hidden, because it may be the secret itself)"


@dataclass(frozen=True, slots=True)
class Setting:
    """One key in force."""

    key: tuple[str, ...]  # e.g. ("sources", "hubspot", "start")
    value: Any  # a JSON value, None if it is not set; of a secret its reference
    origin: str  # FILE, DEFAULT, or the names of environment variables


def settings(raw: RawConfig, tables: Mapping[str, BaseModel], sources: Iterable[Source]) -> Iterator[Setting]:
    """Yield each key of syncd's own `tables` and of `sources`. `raw`: what they were read from."""
    for name, table in tables.items():
        yield from _settings(raw, (name,), table)
    for source in sources:
        key = ("sources", source.name)
        yield from _settings(raw, key, source.config)
        for stream in sorted(plain_streams(source.connector)):
            yield from _settings(raw, (*key, stream), getattr(source.config, stream, StreamConfig()))


def _settings(raw: RawConfig, key: tuple[str, ...], model: BaseModel) -> Iterator[Setting]:
    written = model.model_dump(mode="json", by_alias=True, include={*type(model).model_fields})
    unused: frozenset[str] = getattr(model, "unused", frozenset())
    for name, field in type(model).model_fields.items():
        if name in unused:
            continue
        value, place = getattr(model, name), (*key, field.alias or name)
        if isinstance(value, BaseModel):
            yield from _settings(raw, place, value)
        else:
            yield Setting(place, _shown(value, written[place[-1]]), _origin(raw, place))


def _shown(value: Any, written: Any) -> Any:
    """Return `written`, the JSON of `value`, but for secrets, also in a list, what may be shown of the reference."""
    if isinstance(value, list) and isinstance(written, list):
        return [_shown(item, text) for item, text in zip(value, written, strict=True)]
    return _reference(value) if isinstance(value, Secret) else written


def _reference(secret: Secret) -> str:
    """Return the reference to a secret. A text that is no name may be the secret, put there by mistake."""
    is_name = re.fullmatch(NAMES[secret.scheme], secret.name)
    return str(secret) if is_name else f"{secret.scheme}:{HIDDEN}"


def _origin(raw: RawConfig, key: tuple[str, ...]) -> str:
    """Return the origin of the value at `key`. A table may come from the file and from variables together."""
    found: Any = raw.tree
    for part in key:
        if not isinstance(found, dict) or part not in found:
            return DEFAULT
        found = found[part]
    for length in range(len(key), 0, -1):
        if key[:length] in raw.variables:
            return raw.variables[key[:length]]
    below = {place: name for place, name in raw.variables.items() if place[: len(key)] == key}
    if not below:
        return FILE
    from_variables = {place[len(key)] for place in below}
    rest = [] if isinstance(found, dict) and found.keys() <= from_variables else [FILE]
    return ", ".join([*rest, *sorted(below.values())])
