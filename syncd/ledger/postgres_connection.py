"""Connect to PostgreSQL, directly or through a pooler in transaction mode.

A pooler gives each transaction to any session, so no statement relies on one. Each BEGIN carries the settings of its
transaction (`SETTINGS`). Start-up options set them for single reads too, unless a pooler refuses them.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from syncd.http.tls import system_bundle
from syncd.ledger.postgres_errors import NO_OPTIONS
from syncd.ledger.postgres_session import SETTINGS, Session
from syncd.types import postgres_url

CONNECT_S = 10  # for one host of the address
# A cut network is noticed within the time in which another process may take the ledger. Otherwise Linux waits for 2 h.
ALIVE = {
    "keepalives_idle": 5,  # s
    "keepalives_interval": 2,  # s
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # ms
}
_MARK = "syncd.options"  # a setting of its own, which tells whether the options have reached PostgreSQL
_OPTIONS = " ".join(f"-c {name}={value}" for name, value in {**SETTINGS, _MARK: "1"}.items())
_HAS_OPTIONS = f"SELECT current_setting('{_MARK}', true)"
_pooled: set[str] = set()  # the addresses whose pooler refuses start-up options


class Password(Protocol):
    """A reference to the password of the user in the address."""

    def read_line(self) -> str:
        """Return the password. ValueError if it cannot be read."""


def connect(url: str, password: Password | None = None) -> Session:
    """Return a connection of its own, which commits each statement unless a transaction is open.

    psycopg.OperationalError if there is none, or if a pooler does not pass the options of the address on. ValueError if
    the password cannot be read.
    """
    given = conninfo_to_dict(url)
    more = _parameters(url, given, password)
    own = str(given.get("options") or "")
    if url not in _pooled:
        try:
            return _with_options(url, more, own)
        except psycopg.OperationalError as error:
            if own or NO_OPTIONS not in str(error):
                raise
            _pooled.add(url)
    return _opened(url, more)


def _parameters(url: str, given: Mapping[str, Any], password: Password | None) -> dict[str, Any]:
    return {
        "connect_timeout": given.get("connect_timeout") or CONNECT_S,
        **{name: value for name, value in ALIVE.items() if name not in given},
        **postgres_url.tls(url, bundle=system_bundle()),
        **({"password": password.read_line()} if password else {}),
    }


def _with_options(url: str, more: Mapping[str, Any], own: str) -> Session:
    """Connect with start-up options. A pooler that ignores them must not lose those of the address: a search_path."""
    session = _opened(url, {**more, "options": f"{_OPTIONS} {own}".rstrip()})
    if own and session.one(_HAS_OPTIONS) != "1":
        session.close()
        raise psycopg.OperationalError(f"connection failed: {NO_OPTIONS}: options")
    return session


def _opened(url: str, more: Mapping[str, Any]) -> Session:
    # No prepared statements: a pooler in transaction mode may pass the next one to another session.
    return Session(psycopg.connect(make_conninfo(url, **more), autocommit=True, prepare_threshold=None))


__all__ = ["Password", "connect"]
