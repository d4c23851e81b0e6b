"""Read the secrets that the configuration refers to, and detect a changed one."""

import hashlib
import re
from collections.abc import Iterable, Iterator

from pydantic import BaseModel

from syncd.config.reading import RawConfig
from syncd.types.secrets import Secret

# Names that a message may show. Anything else after env: or file: may be a secret put there by mistake.
NAMES = {"env": r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", "file": r"[~.]{0,2}/.*", "credential": r"[a-z][a-z._-]{0,31}"}

PUT_THE_KEY = "put the key there, or name another place: env:NAME, file:PATH or credential:NAME"


def fingerprint(models: Iterable[BaseModel]) -> str:
    """Return a SHA-256 digest over all secrets of `models`, in hex. An unreadable secret counts as empty."""
    digest = hashlib.sha256()
    for model in models:
        for place, secret in _secrets((), model):
            try:
                value = secret.read()
            except ValueError:
                value = ""
            digest.update(f"{place}\0{value}\0".encode())
    return digest.hexdigest()


def references(models: Iterable[BaseModel]) -> Iterator[Secret]:
    """Yield the references of `models`, without reading the secrets."""
    for model in models:
        yield from (secret for _, secret in _secrets((), model))


def read_all(raw: RawConfig, key: tuple[str, ...], model: BaseModel) -> None:
    """Read each secret of `model`, so that no log shows it. Report those that cannot be read."""
    for place, secret in _secrets(key, model):
        _read(raw, place, secret)


def _secrets(key: tuple[str, ...], model: BaseModel) -> Iterator[tuple[tuple[str, ...], Secret]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Secret):
            yield (*key, name), value
        elif isinstance(value, BaseModel):
            yield from _secrets((*key, name), value)
        elif isinstance(value, list):
            items = enumerate(value)
            yield from (((*key, name, str(place)), item) for place, item in items if isinstance(item, Secret))


def _read(raw: RawConfig, key: tuple[str, ...], secret: Secret) -> None:
    try:
        secret.read()
    except ValueError as error:
        why = str(error)
        if not re.fullmatch(NAMES[secret.scheme], secret.name):
            why = why.replace(secret.name, "that it names")
        raw.add_problem(key, why, PUT_THE_KEY)
