"""Answer which activities match. Writes nothing."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd import clock
from syncd.ledger.reader import LedgerReader

_LIST = """
    SELECT external_activity_id, source, stream, crm_id, kind, state, reason, verdict, detail, occurred_at,
        next_attempt_at, owner_id AS owner, domain
    FROM activities CROSS JOIN streams ON streams.id = stream_id
    {where} ORDER BY activities.id DESC LIMIT :limit
"""
# By part of a filter. A pending row shows a verdict about itself as its reason, as in `status`.
_CONDITIONS = {
    "states": "state IN (SELECT value FROM json_each(:states))",
    "reason": "(reason = :reason OR (state = 'pending' AND verdict = :reason))",
    "streams": "stream_id IN (SELECT value FROM json_each(:streams))",
    "kind": "kind = :kind",
    "owners": "(stream_id, owner_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:owners))",
    "domain": "domain = :domain",
    "since": "coalesce(occurred_at, first_seen_at) >= :since",
}
_PENDING = "activities.id IN (SELECT activity_id FROM payloads)"  # spares a look at each row of the ledger


@dataclass(frozen=True, slots=True)
class Filter:
    """The activities that an operator asks for. None: any."""

    states: Collection[str] | None = None
    reason: str | None = None  # or the verdict about a pending activity
    source: str | None = None
    kind: str | None = None
    owners: Mapping[str, Collection[str]] | None = None  # by source: the CRM's ids of owners
    domain: str | None = None
    since: datetime | None = None  # when it happened, or was first seen if its record cannot be read


class Lists(LedgerReader):
    """List activities."""

    def activities(self, wanted: Filter, *, limit: int) -> list[dict[str, Any]]:
        """Return up to `limit` rows of `syncd list --json` (design 4.4) without `url`, the latest first."""
        values = self._values(wanted)
        conditions = [_CONDITIONS[part] for part in values]
        if wanted.states is not None and set(wanted.states) == {"pending"}:
            conditions.insert(0, _PENDING)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        return list(self._rows(_LIST.format(where=where), {**values, "limit": limit}))

    def _values(self, wanted: Filter) -> dict[str, Any]:
        """Return the values of the conditions that `wanted` takes, by the condition's name."""
        streams = {row[0]: row[1] for row in self._db.execute("SELECT id, source FROM streams")}
        found: dict[str, Any] = {
            "states": None if wanted.states is None else json.dumps([*wanted.states]),
            "reason": wanted.reason,
            "kind": wanted.kind,
            "domain": wanted.domain,
            "since": clock.optional_text(wanted.since),
        }
        if wanted.source is not None:
            found["streams"] = json.dumps([each for each, source in streams.items() if source == wanted.source])
        if wanted.owners is not None:
            pairs = [[each, owner] for each, source in streams.items() for owner in wanted.owners.get(source, ())]
            found["owners"] = json.dumps(pairs)
        return {part: value for part, value in found.items() if value is not None}


__all__ = ["Filter", "Lists"]
