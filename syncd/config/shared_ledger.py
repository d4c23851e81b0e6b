"""Check [ledger] beyond its single keys: one place, and psycopg if that place is PostgreSQL."""

import importlib.util
from typing import Any

from syncd.config.reading import RawConfig

INSTALL = "pip install 'syncd[postgres]'"
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
    if not is_shared and table.get("password", "") != "":
        raw.add_problem(("ledger", "password"), "is only for a ledger in PostgreSQL", "set url too, or remove it")


__all__ = ["EITHER", "INSTALL", "check"]
