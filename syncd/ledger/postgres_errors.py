"""Explain PostgreSQL's errors, each with a remedy. No text of a server is repeated, because it may name people."""

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
    "08": LOST,
    "XX": (
        "PostgreSQL finds it damaged",
        "keep a copy, restore a backup, then run `syncd sync`: it reads what is missing",
    ),
    "58": ("the disk of PostgreSQL answers with errors", "look at that disk and at PostgreSQL's log. Then run again"),
}
# A failed connection has no SQLSTATE: only its text tells the cause (psycopg 3.3). Others are `UNREACHABLE`.
TEXTS = {
    "certificate": TLS,
    "SSL": TLS,
    "authentication failed": REFUSED,
    "no password supplied": REFUSED,
    "no pg_hba.conf entry": REFUSED,
    'role "': REFUSED,
    'database "': NO_DATABASE,
    "read-only": READ_ONLY,
    "hot standby": READ_ONLY,
    "recovery mode": READ_ONLY,
    "too many ": STATES["53300"],
    "remaining connection slots": STATES["53300"],
    "starting up": STATES["57P03"],
    "shutting down": STATES["57P03"],
}
UNREACHABLE = ("PostgreSQL cannot be reached", "start it, or correct the host and port in [ledger] url")


def explanation(error: psycopg.Error, where: Any) -> LedgerError:
    """Return the error to report for one of psycopg. Pure."""
    message, hint = _by_state(error.sqlstate) if error.sqlstate else _by_text(str(error))
    return LedgerError(f"the ledger at {where} cannot be used: {message}", hint=hint)


def _by_state(state: str) -> tuple[str, str]:
    return next((found for start, found in STATES.items() if state.startswith(start)), _other(state))


def _by_text(text: str) -> tuple[str, str]:
    if "connection failed" not in text and "failed to resolve" not in text:
        return LOST if "connection" in text else _other("no reason")
    return next((found for words, found in TEXTS.items() if words in text), UNREACHABLE)


def _other(said: str) -> tuple[str, str]:
    return f"PostgreSQL says {said}", OTHERWISE


__all__ = ["explanation"]
