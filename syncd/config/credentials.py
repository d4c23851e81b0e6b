"""Try whether every secret that the configuration refers to can be read, and whether one has changed."""

import hashlib
import re
from collections.abc import Iterable, Iterator

from pydantic import BaseModel

from syncd.config.reading import RawConfig
from syncd.types.secrets import Secret

# What may be named in a message; anything else after env: or file: may be a secret put there by mistake.
NAMES = {"env": r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", "file": r"[~.]{0,2}/.*", "credential": r"[a-z][a-z._-]{0,31}"}


def fingerprint(models: Iterable[BaseModel]) -> str:
    """Return what is another text once a secret of `models` reads otherwise, and tells nothing of it."""
    digest = hashlib.sha256()
    for model in models:
        for place, secret in _secrets((), model):
            try:
                value = secret.read()
            except ValueError:
                value = ""  # cannot be read now: that is another state than any value
            digest.update(f"{place}\0{value}\0".encode())
    return digest.hexdigest()


def references(models: Iterable[BaseModel]) -> Iterator[Secret]:
    """Yield every secret of `models`, unread."""
    for model in models:
        yield from (secret for _, secret in _secrets((), model))


def read_all(raw: RawConfig, key: tuple[str, ...], model: BaseModel) -> None:
    """Read each secret of `model`, so that logs never show it; note those that cannot be read."""
    for place, secret in _secrets(key, model):
        _read(raw, place, secret)


def _secrets(key: tuple[str, ...], model: BaseModel) -> Iterator[tuple[tuple[str, ...], Secret]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Secret):
            yield (*key, name), value
        elif isinstance(value, BaseModel):
            yield from _secrets((*key, name), value)


def _read(raw: RawConfig, key: tuple[str, ...], secret: Secret) -> None:
    try:
        secret.read()
    except ValueError as error:
        why = str(error)
        if not re.fullmatch(NAMES[secret.scheme], secret.name):
            why = why.replace(secret.name, "that it names")
        raw.add_problem(key, why, "set it, or name where it stands: env:NAME, file:PATH or credential:NAME")
