"""Tell which replica holds which lane of a ledger in PostgreSQL, and which lanes wait for one. Writes nothing."""

from datetime import UTC
from typing import Any

from syncd import clock
from syncd.ledger.lanes import WHOLE
from syncd.ledger.postgres_lease import TTL_S

OVERDUE_S = 2.0  # a replica with a free slot takes a due lane within a second, so a later one finds no free slot
# All by the database's clock. A lane may be taken when its pass is due, or when its dead holder's lease has ended.
_LANES = """
    SELECT source, holder, epoch, until, least(next_pass_at, wake_at),
        extract(epoch FROM clock_timestamp() - coalesce(until, least(next_pass_at, wake_at)))::float, token IS NOT NULL
    FROM lanes WHERE source <> :whole ORDER BY source
"""
_REPLICAS = """
    SELECT name, slots,
        (SELECT count(*) FROM lanes WHERE holder = name AND source <> :whole AND until >= clock_timestamp()),
        (:ttl - extract(epoch FROM until - clock_timestamp()))::float
    FROM replicas ORDER BY until < clock_timestamp(), name
"""


def state(*, is_leased: bool, since_s: float) -> str:
    """Return the state of a lane that may be taken since `since_s`, if that is not below 0. Pure.

    held      a process holds it
    idle      its pass is not due
    due       any replica may take it
    overdue   the same for OVERDUE_S: no replica has a free slot, or none is running
    """
    if since_s < 0:
        return "held" if is_leased else "idle"
    return "due" if since_s <= OVERDUE_S else "overdue"


def fleet(db: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the `lanes` and `replicas` of the document of `syncd status --json`."""
    lanes = db.execute(_LANES, {"whole": WHOLE}).fetchall()
    replicas = db.execute(_REPLICAS, {"whole": WHOLE, "ttl": TTL_S}).fetchall()
    return {"lanes": [_lane(*row) for row in lanes], "replicas": [_replica(*row) for row in replicas]}


def _lane(source: str, holder: Any, epoch: int, until: Any, due_at: Any, since_s: float, leased: Any) -> dict[str, Any]:
    return {
        "source": source,
        "state": state(is_leased=leased, since_s=since_s),
        "holder": holder,
        "epoch": epoch,
        "until": until and clock.text(until.astimezone(UTC)),
        "next_pass_at": clock.text(due_at.astimezone(UTC)),
        "late_s": round(max(0.0, since_s), 1),
    }


def _replica(name: str, slots: int, lanes: int, renewed_s: float) -> dict[str, Any]:
    is_alive = renewed_s < TTL_S
    return {
        "name": name,
        "slots": slots,
        "lanes": lanes,
        "renewed_s": round(max(0.0, renewed_s), 1),
        "is_alive": is_alive,
    }


__all__ = ["OVERDUE_S", "fleet", "state"]
