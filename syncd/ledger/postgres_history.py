"""Tell one history of a ledger in PostgreSQL from another: after a failover, a recovery to a point in time, a restore.

    server / timeline / table

A standby that is promoted and a recovery to a point in time begin a new timeline. A dump that is restored makes new
tables, and on another server each part is new. A switch that lost nothing looks the same, and costs no more than a
label. A snapshot of the whole volume that is put back keeps all three, so nothing is claimed then.
"""

from contextlib import suppress
from typing import Any, NamedTuple

import psycopg

UNKNOWN = "-"  # a part that this server does not tell, e.g. Aurora, whose storage loses no commit in a failover
TIMELINE = "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"  # pg_control_checkpoint() is behind it for a while
_SERVER = "(SELECT system_identifier::text FROM pg_control_system())"
_TABLE = "to_regclass('meta')::oid::text"
_BEGIN = "UPDATE meta SET history = :served WHERE history = ''"
_TAKE = "UPDATE meta SET history = :served WHERE history = :kept RETURNING id"


class History(NamedTuple):
    """In which history a ledger was written last, and which one the server serves."""

    kept: str
    served: str

    @property
    def timeline(self) -> str:
        """The timeline that is served, or UNKNOWN."""
        return self.served.split("/")[1]

    @property
    def differs(self) -> bool:
        """Whether the two differ in a part that both tell."""
        pairs = zip(self.kept.split("/"), self.served.split("/"), strict=True)
        return any(one != other and UNKNOWN not in (one, other) for one, other in pairs)


def history(db: Any) -> History:
    """Return the history of a ledger, and begin it if the ledger is new. Call it outside a transaction.

    An ordinary user may ask for it.
    """
    served = _served(db)
    kept = str(db.one("SELECT history FROM meta"))
    if not kept:
        db.execute(_BEGIN, {"served": served})
    return History(kept or served, served)


def take(db: Any, found: History) -> bool:
    """Take the served history for that of the ledger, within a transaction. False if another process has."""
    return db.execute(_TAKE, found._asdict()).fetchone() is not None


def _served(db: Any) -> str:
    with suppress(psycopg.Error):
        return "/".join(db.execute(f"SELECT {_SERVER}, {TIMELINE}, {_TABLE}").fetchone())  # nosec B608 # our own text
    return "/".join(_part(db, expression) for expression in (_SERVER, TIMELINE, _TABLE))


def _part(db: Any, expression: str) -> str:
    with suppress(psycopg.Error):
        return str(db.one(f"SELECT {expression}"))  # nosec B608 # our own text
    return UNKNOWN


__all__ = ["TIMELINE", "UNKNOWN", "History", "history", "take"]
