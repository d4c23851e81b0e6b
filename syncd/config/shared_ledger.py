"""Check [ledger] beyond its single keys: one place, and psycopg if that place is PostgreSQL."""

import importlib.util
from contextlib import suppress
from typing import Any

from syncd.config.models import LedgerConfig
from syncd.config.reading import RawConfig
from syncd.types.master_key import key_bytes
from syncd.types.secrets import Secret

INSTALL = "pip install 'syncd[postgres]'"
MAKE = "put the ledger's own key there. For a new ledger, `openssl rand -base64 32` makes one"
NEEDED = "is needed with url: PostgreSQL does not overwrite erased payloads"
KEY = 'set it to the place of a key, which `openssl rand -base64 32` makes, or to "none" to encrypt nothing'
EITHER = 'expected either path or url. Leave the other one out, or set it to ""'


def check(raw: RawConfig, table: Any) -> None:
    """Report the mistakes of the table [ledger], as it was written. Imports nothing."""
    if not isinstance(table, dict):
        return
    is_shared = table.get("url", "") != ""
    if is_shared and table.get("path", "") != "":
        raw.add_problem(("ledger",), EITHER)
    if is_shared and importlib.util.find_spec("psycopg") is None:
        raw.add_problem(("ledger", "url"), "needs the package psycopg, which is not installed", INSTALL)
    if is_shared and table.get("master_key", "") == "":
        raw.add_problem(("ledger", "master_key"), NEEDED, KEY)
    for key in ("password", "master_key"):
        if not is_shared and table.get(key, "") != "":
            raw.add_problem(("ledger", key), "is only for a ledger in PostgreSQL", "set url too, or remove it")


def check_key(raw: RawConfig, ledger: LedgerConfig | None) -> None:
    """Report a master key that is none. One that cannot be read at all is reported with the other secrets."""
    if ledger is None or not isinstance(ledger.master_key, Secret):
        return
    with suppress(ValueError):
        text = ledger.master_key.read()
        try:
            key_bytes(text)
        except ValueError as error:
            raw.add_problem(("ledger", "master_key"), f"{ledger.master_key.scheme}: {error}", MAKE)


__all__ = ["EITHER", "INSTALL", "check", "check_key"]
