"""Explain PostgreSQL's errors, each with a remedy. No text of a server is repeated, because it may name people."""

import re
from typing import Any

import psycopg

from syncd.errors import LedgerError

FULL = ("the disk of PostgreSQL is full", "make room there. Nothing booked is lost, and the next pass goes on")
LOST = (
    "the connection to PostgreSQL was lost",
    "nothing, if PostgreSQL is back: the next pass goes on. Otherwise look at its log",
)
REFUSED = ("PostgreSQL refuses its user or the password", "see [ledger] url and password, and pg_hba.conf")
NO_DATABASE = ("PostgreSQL has no such database", "create it with createdb, or correct [ledger] url")
READ_ONLY = (
    "PostgreSQL is read-only there",
    "let [ledger] url name the primary, e.g. with target_session_attrs=read-write",
)
TLS = (
    "no verified TLS connection to PostgreSQL",
    "see sslrootcert in [ledger] url, and ssl in the settings of PostgreSQL",
)
FOREIGN = (
    "another program has tables in its schema",
    "give syncd a database or a schema of its own, e.g. with options=-csearch_path%3Dsyncd in [ledger] url",
)
NO_OPTIONS = "unsupported startup parameter"  # of PgBouncer, in all versions
POOLER = (
    "a pooler in front of PostgreSQL takes no options",
    "remove options from [ledger] url, and set search_path with ALTER ROLE",
)
ANSWERED = (
    "PostgreSQL refuses the connection",
    "see [ledger] url and password. The log of PostgreSQL says why",
)
OTHERWISE = "run psql with the same address, which says more"
# By the beginning of SQLSTATE (PostgreSQL 15, appendix A). The first match counts.
STATES = {
    "53100": FULL,
    "53300": ("PostgreSQL has no connection left", "raise max_connections, or end other programs' connections"),
    "25006": READ_ONLY,
    "28": REFUSED,
    "3D": NO_DATABASE,
    "42501": ("its user may not do that", "grant it CREATE and USAGE on its schema, and its tables"),
    "42P": FOREIGN,
    "42703": FOREIGN,
    "55P03": (
        "another program keeps it locked",
        "end the long transaction that pg_stat_activity shows, then run again",
    ),
    "25P03": LOST,  # a transaction stood still: this process was suspended
    "57P03": ("PostgreSQL is starting or stopping", "nothing, if that ends soon: the next pass goes on"),
    "57": LOST,
    "XX": (
        "PostgreSQL finds it damaged",
        "keep a copy, restore a backup, then run `syncd sync`: it reads what is missing",
    ),
    "58": ("the disk of PostgreSQL answers with errors", "look at that disk and at PostgreSQL's log. Then run again"),
}
# A failed connection has no SQLSTATE: only its text tells the cause (psycopg 3.3, libpq 18). The texts of libpq and of
# PgBouncer are English, because Python sets no LC_MESSAGES. Those of a server are in its lc_messages, which only a
# superuser may set, and only once the user is known. PQsetErrorVerbosity would add the SQLSTATE, but psycopg does not
# offer it. So a text in another language is `ANSWERED`. If no server has answered, it is `UNREACHABLE`.
TEXTS = {
    NO_OPTIONS: POOLER,
    "no pg_hba.conf entry": REFUSED,  # its text may say "SSL encryption"
    "certificate": TLS,
    "SSL": TLS,
    "authentication failed": REFUSED,
    "no password supplied": REFUSED,
    'role "': REFUSED,
    "permission denied": STATES["42501"],
    'database "': NO_DATABASE,
    "read-only": READ_ONLY,
    "hot standby": READ_ONLY,
    "recovery mode": READ_ONLY,
    "too many ": STATES["53300"],
    "remaining connection slots": STATES["53300"],
    "starting up": STATES["57P03"],
    "shutting down": STATES["57P03"],
    "server login": ANSWERED,
}
_SEVERITY = re.compile(r" failed: [^\s:]+:  ")  # e.g. "FATAL:  ", before the text of a server, in its language
_NOT_CONNECTED = ("connection failed", "connection is bad", "failed to resolve", "timeout expired")
UNREACHABLE = ("PostgreSQL cannot be reached", "start it, or correct the host and port in [ledger] url")


def explanation(error: psycopg.Error, where: Any) -> LedgerError:
    """Return the error to report for one of psycopg. Pure."""
    state, text = error.sqlstate or "", str(error)
    message, hint = _by_state(state, text) if state else _by_text(text)
    return LedgerError(f"the ledger at {where} cannot be used: {message}", hint=hint)


def _by_state(state: str, text: str) -> tuple[str, str]:
    if state.startswith("08"):  # PgBouncer has it for each failure to connect to PostgreSQL
        return _worded(text, otherwise=LOST)
    return next((found for start, found in STATES.items() if state.startswith(start)), _other(state))


def _by_text(text: str) -> tuple[str, str]:
    if not any(words in text for words in _NOT_CONNECTED):
        return LOST if "connection" in text else _other("no reason")
    return _worded(text, otherwise=ANSWERED if _SEVERITY.search(text) else UNREACHABLE)


def _worded(text: str, *, otherwise: tuple[str, str]) -> tuple[str, str]:
    return next((found for words, found in TEXTS.items() if words in text), otherwise)


def _other(said: str) -> tuple[str, str]:
    return f"PostgreSQL says {said}", OTHERWISE


__all__ = ["NO_OPTIONS", "explanation"]
