"""Answer which activities match, which fail, and how the passes ended. Writes nothing."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd import clock
from syncd.ledger.dialect import by_index, listed
from syncd.ledger.reader import LedgerReader
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import SILENCES, State

DELIVERED_SPAN = 100_000  # rows, the latest: their domains stand for all. To read every row would take seconds
# Waiting is the normal course of these, so they are no failure.
WAITS = (Reason.SETTLING, Reason.IN_FUTURE, Reason.UNFINISHED)

_LIST = """
    SELECT external_activity_id, source, stream, crm_id, kind, state, reason, verdict, detail, occurred_at,
        next_attempt_at, owner_id AS owner, domain
    FROM activities CROSS JOIN streams
    WHERE {conditions} ORDER BY activities.id DESC LIMIT :limit
"""
# By part of a filter. A pending row shows a verdict about itself as its reason, as in `status`. The plus keeps SQLite
# from an index of streams, because then it would sort all rows of the stream.
_CONDITIONS = {
    "states": f"state IN {listed('states')}",
    "reason": "(reason = :reason OR (state = 'pending' AND verdict = :reason))",
    "streams": f"+stream_id IN {listed('streams')}",
    "kind": "kind = :kind",
    "domain": "domain = :domain",
    "since": "coalesce(occurred_at, first_seen_at) >= :since",
}
# Two portals may use the same id. An equality is a third of the time of a look into a list.
_OWNED = f"(owner_id = :owner_{{number}} AND +stream_id IN {listed('streams_{number}')})"
_PENDING = "activities.id IN (SELECT activity_id FROM payloads)"  # spares a look at each row of the ledger

# Each reads one index: the rows that ended, those that wait for a look-up, and those that wait for a scope.
_ENDED = f"""
    SELECT state, coalesce(reason, state) AS cause, domain, count(*), max(id) FROM activities {by_index("ended")}
    WHERE state = :state GROUP BY state, reason, domain
"""  # nosec B608 # our own text
_WAITING = f"""
    SELECT state, reason AS cause, domain, count(*), max(activities.id)
    FROM streams CROSS JOIN activities {by_index("look_ups")}
    WHERE stream_id = streams.id AND state <> 'pending' AND next_attempt_at IS NOT NULL
        AND state = 'incomplete' AND reason <> 'redacted' AND reason NOT IN {listed("waits")}
    GROUP BY 1, 2, 3
"""  # nosec B608 # our own text
_WITHHELD = f"""
    SELECT state, reason AS cause, domain, count(*), max(id) FROM activities {by_index("withheld")}
    WHERE state = 'incomplete' AND reason = 'redacted' GROUP BY 1, 2, 3
"""  # nosec B608 # our own text
_REFUSED = f"""
    SELECT state, verdict AS cause, domain, count(*), max(id) FROM activities {by_index("backed_off")}
    WHERE state = 'pending' AND last_post > 0 AND refusals > 0 GROUP BY 1, 2, 3
"""  # nosec B608 # our own text
_UNSENT = f"""
    SELECT state, verdict AS cause, NULL, count(*), max(id) FROM activities {by_index("blameless")}
    WHERE state = 'pending' AND last_post > 0 AND refusals = 0 AND verdict IN {listed("silences")}
    GROUP BY 1, 2
"""  # nosec B608 # our own text


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


@dataclass(frozen=True, slots=True)
class Failing:
    """Activities of one state that fail for one cause."""

    state: str
    cause: str  # a reason, or the last verdict if the state has none
    count: int
    domains: Mapping[str, int]  # the accounts', most activities first; empty if an outage is the cause
    example: str  # the externalActivityId of the latest one
    detail: str | None  # of the example


class Lists(LedgerReader):
    """List activities, failures and passes."""

    def activities(self, wanted: Filter, *, limit: int) -> list[dict[str, Any]]:
        """Return up to `limit` rows of `syncd list --json` (design 4.4) without `url`, the last seen first."""
        values = self._values(wanted)
        conditions = ["streams.id = stream_id", *(_CONDITIONS[part] for part in values)]
        if wanted.states is not None and set(wanted.states) == {State.PENDING}:
            conditions.insert(0, _PENDING)
        if wanted.owners is not None:
            owned, ids = self._owned(wanted.owners)
            conditions, values = [*conditions, owned], {**values, **ids}
        sql = _LIST.format(conditions=" AND ".join(conditions))
        return list(self._rows(sql, {**values, "limit": limit}))

    def _values(self, wanted: Filter) -> dict[str, Any]:
        """Return the values of the conditions that `wanted` takes, by the condition's name."""
        found = {
            "states": None if wanted.states is None else json.dumps([*wanted.states]),
            "reason": wanted.reason,
            "streams": None if wanted.source is None else self._streams_of(wanted.source),
            "kind": wanted.kind,
            "domain": wanted.domain,
            "since": clock.optional_text(wanted.since),
        }
        return {part: value for part, value in found.items() if value is not None}

    def _owned(self, owners: Mapping[str, Collection[str]]) -> tuple[str, dict[str, str]]:
        """Return the condition that any of `owners` owns a row, and its values."""
        parts: list[str] = []
        values: dict[str, str] = {}
        for source, ids in owners.items():
            for owner in ids:
                number = len(parts)
                parts.append(_OWNED.format(number=number))
                values |= {f"owner_{number}": owner, f"streams_{number}": self._streams_of(source)}
        return f"({' OR '.join(parts) or '1 = 0'})", values

    def _streams_of(self, source: str) -> str:
        """Return the row ids of a source's streams, as JSON."""
        sql = "SELECT id FROM streams WHERE source = :source"
        return json.dumps([row_id for (row_id,) in self._db.execute(sql, {"source": source})])

    def failures(self) -> list[Failing]:
        """Return the failing activities by state and cause, most first.

        An activity that only waits for a time, e.g. to settle, does not fail.
        """
        waits, silences = json.dumps(WAITS), json.dumps(sorted(SILENCES))
        found = [
            row
            for sql, values in (
                (_ended(State.DEAD), {}), (_ended(State.SKIPPED), {}), (_WAITING, {"waits": waits}), (_WITHHELD, {}),
                (_REFUSED, {}), (_UNSENT, {"silences": silences}),
            )
            for row in self._db.execute(sql, values)
        ]  # fmt: skip
        groups: dict[tuple[str, str], list[tuple[str | None, int, int]]] = {}
        for state, cause, domain, count, last in found:
            groups.setdefault((state, cause), []).append((domain, count, last))
        each = [self._failing(*key, parts) for key, parts in groups.items()]
        return sorted(each, key=lambda one: (-one.count, one.state, one.cause))

    def _failing(self, state: str, cause: str, parts: list[tuple[str | None, int, int]]) -> Failing:
        domains = {domain: count for domain, count, _ in sorted(parts, key=lambda part: -part[1]) if domain}
        sql = "SELECT external_activity_id, detail FROM activities WHERE id = :id"
        example, detail = self._db.execute(sql, {"id": max(last for *_, last in parts)}).fetchone()
        return Failing(state, cause, sum(count for _, count, _ in parts), domains, example, detail)

    def delivered_domains(self) -> list[str]:
        """Return the domains of the latest deliveries, each once."""
        sql = """
            SELECT DISTINCT domain FROM activities
            WHERE id > (SELECT coalesce(max(id), 0) FROM activities) - :span AND state = 'delivered'
                AND domain IS NOT NULL
        """
        return [domain for (domain,) in self._db.execute(sql, {"span": DELIVERED_SPAN})]

    def domains_in_use(self) -> list[tuple[str | None, int]]:
        """Return the domains of activities that are delivered or held, and their numbers, most first.

        Held: pending or incomplete. None: the rows that an older syncd delivered. It reads every row.
        """
        sql = """
            SELECT domain, count(*) FROM activities
            WHERE state = 'delivered' OR state = 'pending' OR (state = 'incomplete' AND domain IS NOT NULL)
            GROUP BY domain ORDER BY 2 DESC, domain
        """
        return self._db.execute(sql).fetchall()

    def deliveries(self, since: str) -> list[dict[str, Any]]:
        """Return the deliveries from a day such as 2026-11-28 on, by `day` and lateness. They are kept for 90 days.

        Each delivery counts twice: since it was first seen and since it occurred. `within` is a bound in seconds.
        """
        sql = """
            SELECT day, since, within, sum(n) AS n FROM days WHERE day >= :since GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        """
        return list(self._rows(sql, {"since": since}))

    def passes(self, limit: int) -> list[dict[str, Any]]:
        """Return the start, end and exit code of up to `limit` passes, the latest first."""
        sql = "SELECT started_at, finished_at, exit_code FROM passes ORDER BY id DESC LIMIT :limit"
        return list(self._rows(sql, {"limit": limit}))


def _ended(state: State) -> str:
    """Return the query of one state. SQLite uses a partial index only if the state stands in the statement."""
    return _ENDED.replace(":state", f"'{state.value}'")


__all__ = ["Failing", "Filter", "Lists"]
