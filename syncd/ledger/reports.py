"""Answers for people: the documents of `status` and `explain`, and the ids that a command names. Writes nothing."""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from syncd import clock
from syncd.errors import Exit, NoSuchActivity
from syncd.ledger.adoption import adoption_of
from syncd.ledger.dialect import IN_FLIGHT
from syncd.ledger.lists import Lists
from syncd.ledger.measures import Measures
from syncd.ledger.ranges import share
from syncd.ledger.reader import CLOCK, GONE, PAUSED, RECOTAP, SENDING, times
from syncd.ledger.rewinding import rewind_of
from syncd.ledger.schema import VERSION
from syncd.lifecycle.states import MEANINGS, State, Verdict
from syncd.text import SHORT_ID

FULL_BATCH = 50  # activities in one POST, unless a pass has kept a smaller size
FAULTS = tuple(verdict.value for verdict, meaning in MEANINGS.items() if meaning.fault)
DUE_MOST = 10_000  # rows whose back-off is over that `status` looks at. The next pass sends them, so more are rare
HELD = (State.PENDING, State.INCOMPLETE)
VERDICTS = ("created", "duplicate", "foreign_duplicate")
# The first time of each queue, by its index. The first row in the line stands for all that no POST has carried.
_NEXT_ATTEMPT = f"""
    SELECT min(at) FROM (
        SELECT * FROM (SELECT next_attempt_at AS at FROM activities WHERE state = 'pending' AND last_post = 0
            ORDER BY occurred_at LIMIT 1) AS fresh
        UNION ALL
        SELECT min(next_attempt_at) FROM activities
        WHERE state = 'pending' AND last_post > 0 AND refusals = 0 AND isolated = 0
        UNION ALL
        SELECT min(next_attempt_at) FROM activities
        WHERE state = 'pending' AND last_post > 0 AND refusals = 0 AND isolated = 1
        UNION ALL
        SELECT min(next_attempt_at) FROM activities
        WHERE state = 'pending' AND last_post > 0 AND refusals > 0 AND isolated = 0
        UNION ALL
        SELECT min(next_attempt_at) FROM activities
        WHERE state = 'pending' AND last_post > 0 AND refusals > 0 AND isolated = 1
        UNION ALL
        SELECT next_attempt_at FROM activities
        WHERE id IN {IN_FLIGHT}
        UNION ALL
        SELECT (SELECT min(next_attempt_at) FROM activities
            WHERE stream_id = streams.id AND state <> 'pending' AND next_attempt_at IS NOT NULL)
        FROM streams) AS queues
"""  # nosec B608 # our own text
# Pending rows that a verdict about themselves delayed, and whose back-off is over.
_DUE_AGAIN = """
    SELECT verdict FROM activities
    WHERE state = 'pending' AND last_post > 0 AND refusals > 0 AND isolated = 0 AND next_attempt_at <= :now
    UNION ALL
    SELECT verdict FROM activities
    WHERE state = 'pending' AND last_post > 0 AND refusals > 0 AND isolated = 1 AND next_attempt_at <= :now
    LIMIT :most
"""
# The pause that holds the next step of a row: Recotap's if it is to be sent, its source's if it is to be looked up.
_HOLDS = f"""
    SELECT until FROM pauses WHERE name = CASE :state WHEN 'pending' THEN :recotap ELSE :source END AND {PAUSED}
"""  # nosec B608 # our own text


class Reports(Lists, Measures):
    """Answer an operator's questions, each as of one moment."""

    def status(self, *, version: str, now: datetime) -> dict[str, Any]:
        """Return the document of `syncd status --json` (design 4.4)."""
        with self.handle.snapshot(self._db):
            return self._status(version, now)

    def measures(self, *, version: str, now: datetime) -> dict[str, Any]:
        """Return the document of `status` with the counts of `counted`, as of one moment."""
        with self.handle.snapshot(self._db):
            return {**self._status(version, now), **self.counted(now)}

    def explain(self, external_activity_id: str, *, now: datetime | None = None) -> dict[str, Any]:
        """Return the document of `syncd explain --json` (design 4.4) for an id from `find`.

        `payload` is the one that will be sent, of a pending row. `now` tells whether a pause holds its next step.
        """
        sql = """
            SELECT external_activity_id, source, stream, crm_id, kind, occurred_at, state, reason, verdict,
                first_seen_at, coalesce(updated_at, CASE state WHEN 'delivered' THEN finished_at END, first_seen_at)
                AS updated_at, CASE state WHEN 'delivered' THEN coalesce(updated_at, finished_at) END AS delivered_at,
                next_attempt_at, modified_at, detail, changed_after_delivery, owner_id AS owner, domain,
                waiting_since, refused_since, body, read_at, activities.id
            FROM activities JOIN streams ON streams.id = stream_id LEFT JOIN posts ON posts.id = last_post
                LEFT JOIN payloads ON activity_id = activities.id
            WHERE external_activity_id = :id
        """
        (row,) = self._rows(sql, {"id": external_activity_id})
        row["changed_after_delivery"] = bool(row["changed_after_delivery"])
        attempts = """
            SELECT at, coalesce(verdict, 'under_way') AS verdict, detail
            FROM attempts JOIN posts ON posts.id = post_id WHERE activity_id = :id ORDER BY post_id
        """
        row_id = row.pop("id")
        now = now or clock.now()
        ((_, body),) = self._opened([(row_id, row.pop("body"))], activity_id=0, body=1)
        read_at = row.pop("read_at")
        story = {
            "attempts": list(self._rows(attempts, {"id": row_id})),
            "twins": self._twins(row_id),
            "clock_confirmed": not self.clock_doubted(),
            "paused_until": self._held_until(row, now),
            "rewound_at": self._rewound_at(row),
            "payload": None if body is None else json.loads(body),
            "payload_read_at": None if read_at is None else clock.text(datetime.fromtimestamp(read_at, UTC)),
        }
        return row | story

    def _held_until(self, row: Mapping[str, Any], now: datetime) -> str | None:
        """Return the end of the pause that holds the next step of `row`, or None."""
        values = {"state": row["state"], "source": row["source"], "recotap": RECOTAP, **times(now)}
        found = self._db.execute(_HOLDS, values).fetchone()
        return None if found is None or row["next_attempt_at"] is None else str(found[0])

    def _twins(self, row_id: int) -> list[str]:
        """Return the ids under which the ledger holds the same call or email."""
        sql = """
            SELECT external_activity_id FROM activities WHERE id IN (
                SELECT first_id FROM twins WHERE activity_id = :id
                UNION ALL SELECT activity_id FROM twins WHERE first_id = :id)
            ORDER BY id
        """
        return [name for (name,) in self._db.execute(sql, {"id": row_id})]

    def find(self, wanted: str) -> list[str]:
        """Return the externalActivityIds that equal `wanted`, or whose CRM id does. NoSuchActivity if there is none.

        If a CRM shows ids without the three characters that check the 15 others, the short id is enough.
        """
        sql = """
            SELECT external_activity_id FROM activities WHERE external_activity_id = :id
            UNION SELECT external_activity_id FROM activities
            WHERE stream_id IN (SELECT id FROM streams) AND crm_id = :id
        """
        found = [row[0] for row in self._db.execute(sql, {"id": wanted})]
        if not found and len(wanted) == SHORT_ID and wanted.isalnum():
            sql = """
                SELECT external_activity_id FROM activities
                WHERE stream_id IN (SELECT id FROM streams) AND crm_id > :id AND crm_id < :id || '~'
                  AND length(crm_id) = 18
            """
            found = [row[0] for row in self._db.execute(sql, {"id": wanted})]
        if not found:
            raise NoSuchActivity(
                f"the ledger holds no activity {wanted!r}",
                hint="give the externalActivityId or the CRM's id. A draft, and what was last changed before "
                "`start`, is not read. A record of the last minutes comes with the next pass",
            )
        return found

    def sample(self, state: str, limit: int) -> list[str]:
        """Return up to `limit` externalActivityIds in `state`, the latest first."""
        sql = "SELECT external_activity_id FROM activities WHERE state = :state ORDER BY id DESC LIMIT :limit"
        return [row[0] for row in self._db.execute(sql, {"state": state, "limit": limit})]

    def _status(self, version: str, now: datetime) -> dict[str, Any]:
        return {
            "version": version,
            "at": clock.text(now),
            "ledger": {"path": str(self.handle), "schema": VERSION, "bytes": self.handle.size()},
            "activities": self.counts(),
            "pending": self._pending(now),
            "verdicts": self._verdicts(),
            **self._adoption(),
            "rewound": self.rewound(),
            "changed_after_delivery": self._number("SELECT coalesce(sum(n), 0) FROM counts WHERE changed = 1"),
            "twins": self._number("SELECT coalesce(sum(twins), 0) FROM streams"),
            "filtered": self._filtered(),
            "seen": self._number("SELECT coalesce(sum(seen), 0) FROM streams"),
            "balanced": self.balanced(),
            "reasons": self._reasons(),
            "sources": self._sources(now),
            "ranges": self._ranges(),
            "oldest_pending_at": self._oldest_pending_at(),
            "next_attempt_at": self._one(_NEXT_ATTEMPT),
            "pauses": self._pauses(now),
            "recotap": self._recotap(now),
            "clock_skew_s": self._clock_skew_s(),
            "clock_confirmed": not self.clock_doubted(),
            "last_pass": self._last_pass(),
            **self.handle.fleet(self._db),
        }

    def _oldest_pending_at(self) -> str | None:
        """Return when the first pending row was first seen. Rows are numbered in the order of first sight."""
        sql = "SELECT first_seen_at FROM activities WHERE id = (SELECT min(activity_id) FROM payloads)"
        row = self._db.execute(sql).fetchone()
        return None if row is None else str(row[0])

    def _verdicts(self) -> dict[str, int]:
        sql = "SELECT verdict, sum(n) FROM counts WHERE state = 'delivered' GROUP BY verdict"
        found = dict(self._db.execute(sql).fetchall())
        return {verdict: found.get(verdict, 0) for verdict in VERDICTS}

    def _adoption(self) -> dict[str, Any]:
        """Return the last adoption, and how many of the duplicates were adopted in all."""
        found = adoption_of(self)
        return {"adopted": found.adopted if found else 0, "adoption": found.to_json() if found else None}

    def rewound(self) -> dict[str, Any] | None:
        """Return when the ledger last went back, and the streams that are to be read again. None if it never did."""
        found = rewind_of(self)
        if found is None:
            return None
        gone = self.kept(GONE, self.sources())
        streams = self._db.execute("SELECT source, stream FROM streams ORDER BY source, stream").fetchall()
        return found.to_report((source, stream) for source, stream in streams if source not in gone)

    def _rewound_at(self, row: Mapping[str, Any]) -> str | None:
        """Return when a rewind was noticed because of which Recotap may have a row that is not sent. None: it has not.

        The row is one of `explain`.
        """
        found = rewind_of(self) if row["state"] in HELD else None
        if found is None:
            return None
        is_covered = found.covers(
            row["source"], row["stream"], first_seen_at=clock.instant(row["first_seen_at"]),
            modified_at=clock.instant(row["modified_at"]), occurred_at=clock.optional_instant(row["occurred_at"]),
        )  # fmt: skip
        return clock.text(found.at) if is_covered else None

    def _reasons(self) -> dict[str, dict[str, int]]:
        """Return the reasons of each state. A pending row's is its last verdict, if that is about the item itself."""
        pending = "SELECT verdict, sum(n) FROM counts WHERE state = 'pending' GROUP BY verdict"
        verdicts = dict(self._db.execute(pending).fetchall())
        sql = """
            SELECT state, CASE reason WHEN '' THEN 'unknown' ELSE reason END, sum(n) FROM counts
            WHERE state IN ('incomplete', 'excluded', 'dead') GROUP BY 1, 2 HAVING sum(n) <> 0
        """
        reasons: dict[str, dict[str, int]] = {"pending": {name: verdicts.get(name, 0) for name in FAULTS}}
        reasons |= {"incomplete": {}, "excluded": {}, "dead": {}}
        for state, reason, rows in self._db.execute(sql):
            reasons[state][reason] = rows
        return reasons

    def _pending(self, now: datetime) -> dict[str, Any]:
        """Return how many pending rows are due, back off by cause, or wait because Recotap refuses them.

        A row is due if the next pass sends it: no verdict about itself delays it, or its back-off is over.
        """
        sql = "SELECT verdict, sum(n) FROM counts WHERE state = 'pending' GROUP BY verdict"
        kept = dict(self._db.execute(sql).fetchall())
        values = {"now": clock.text(now), "most": DUE_MOST}
        again = Counter(verdict for (verdict,) in self._db.execute(_DUE_AGAIN, values))
        waiting = {name: max(kept.get(name, 0) - again[name], 0) for name in FAULTS}
        due = sum(kept.values()) - sum(waiting.values())
        refused = waiting.pop(Verdict.REFUSED.value)
        return {"due": due, "backing_off": waiting, "refused": refused}

    def _filtered(self) -> list[dict[str, Any]]:
        """Return how many activities each entry of an `except` leaves out."""
        sql = """
            SELECT source, stream, part AS entry, sum(n) AS count FROM counts JOIN streams ON streams.id = stream_id
            WHERE reason = 'filtered' AND state = 'excluded' GROUP BY 1, 2, 3 HAVING sum(n) <> 0 ORDER BY 1, 2, 3
        """
        return list(self._rows(sql))

    def _sources(self, now: datetime) -> list[dict[str, Any]]:
        sql = f"""
            SELECT source, stream, watermark, last_success_at, last_error, seen, swept_at,
                (SELECT until FROM pauses WHERE name = source AND {PAUSED}) AS paused_until
            FROM streams ORDER BY source, stream
        """  # nosec B608 # our own text
        return list(self._rows(sql, times(now)))

    def _ranges(self) -> list[dict[str, Any]]:
        sql = """
            SELECT source, stream, since, until, why, read_to, ranges.last_error, next_attempt_at, newest_first
            FROM ranges JOIN streams ON streams.id = stream_id ORDER BY source, stream, since
        """
        return [{**each, "newest_first": bool(each["newest_first"]), "share": _share(each)} for each in self._rows(sql)]

    def _pauses(self, now: datetime) -> dict[str, dict[str, str]]:
        sql = f"SELECT name, until, reason FROM pauses WHERE {PAUSED}"  # nosec B608 # our own text
        rows = self._rows(sql, times(now))
        return {row["name"]: {"until": row["until"], "reason": row["reason"]} for row in rows}

    def _recotap(self, now: datetime) -> dict[str, Any]:
        """Return what the last passes that sent something kept of Recotap. `batch` is the size of the next batches."""
        kept: dict[str, Any] = self.store(RECOTAP).get(SENDING, ({}, now))[0]
        told = {key: kept.get(key) for key in ("host", "last_answer_at", "last_error")}
        pause = self.pause(RECOTAP, now)
        until = None if pause is None else clock.text(pause[0])
        return {
            **told,
            "paused_until": until,
            "batch": kept.get("batch", FULL_BATCH),
            "key_refused": kept.get("exit_code") == Exit.UNAUTHORIZED,
            "silent_since": clock.optional_text(self.silent_since()),
        }

    def _clock_skew_s(self) -> float | None:
        """Return by how many seconds this machine's clock was ahead of the closest server's. None if no server told.

        The last response of each server counts, unless its Date is known to stand still.
        """
        sql = "SELECT value FROM store WHERE key = :key"
        kept = [json.loads(value) for (value,) in self._db.execute(sql, {"key": CLOCK})]
        skews = [-each["skew_s"] for each in kept if each["moves"] is not False]
        return min(skews, key=abs, default=None)


def _share(each: dict[str, Any]) -> float:
    since, until, read_to = (clock.optional_instant(each[key]) for key in ("since", "until", "read_to"))
    assert since
    assert until
    return round(share(since, until, read_to, newest_first=bool(each["newest_first"])), 3)
