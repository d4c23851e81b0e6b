"""Book the spans that `syncd backfill` asks for."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlite_utils import Database

from syncd import clock
from syncd.ledger.ranges import Range

MS = timedelta(milliseconds=1)
_ADD_SPAN = """
    INSERT INTO ranges (stream_id, since, until, why, created_at, newest_first)
    SELECT id, :since, :until, 'backfill', :now, :newest_first FROM streams WHERE source = :source AND stream = :stream
"""
_TURN = "UPDATE ranges SET newest_first = :newest_first WHERE id = :id AND read_to IS NULL"
_RULE = "SELECT rule FROM streams WHERE source = :source AND stream = :stream"
_KEEP_RULE = "UPDATE streams SET rule = :rule WHERE source = :source AND stream = :stream"


@dataclass(frozen=True, slots=True)
class Backfill:
    """A span of modification time of one stream that is to be read, both ends inclusive."""

    source: str
    stream: str
    since: datetime
    until: datetime
    newest_first: bool = False
    goes_on: bool = False  # an earlier backfill that is not read to its end holds it, or its beginning


def continued(asked: Backfill, held: Sequence[Range], *, rule_changed: bool) -> tuple[list[Range], Backfill | None]:
    """Return the ranges that already stand for `asked`, and the span to add beside them, if any. Pure.

    `held` are the stream's ranges. If `rule_changed` since the last backfill, one that is read in part does not count:
    that part was read under the old rule.
    """
    found = []
    for each in sorted(held, key=lambda each: each.since):
        counts = each.read_to is None or (not rule_changed and each.newest_first is asked.newest_first)
        if each.why == "backfill" and counts and each.since <= asked.since <= each.until:
            found.append(each)
            if each.until >= asked.until:
                return found, None
            asked = replace(asked, since=each.until + MS)
    return found, asked


def book(db: Database, asked: Backfill, held: Sequence[Range], *, rule_changed: bool, now: datetime) -> Backfill:
    """Add a span, within a transaction. One that an earlier backfill has begun goes on.

    A change of the stream's rule is no longer reported if the span holds all that it left unread.
    """
    which = {"source": asked.source, "stream": asked.stream, "newest_first": int(asked.newest_first)}
    found, new = continued(asked, held, rule_changed=rule_changed)
    for each in found:
        db.execute(_TURN, {"id": each.id, "newest_first": int(asked.newest_first)})
    if new is not None:
        times = {"since": clock.text(new.since), "until": clock.text(new.until), "now": clock.text(now)}
        db.execute(_ADD_SPAN, {**which, **times})
    _forget_unread(db, asked)
    return replace(asked, goes_on=any(each.read_to is not None for each in found))


def _forget_unread(db: Database, asked: Backfill) -> None:
    which = {"source": asked.source, "stream": asked.stream}
    (kept,) = db.execute(_RULE, which).fetchone()
    rule: dict[str, Any] = json.loads(kept or "{}")
    unread = rule.get("unread")
    if unread and clock.text(asked.since) <= unread["since"] and unread["until"] <= clock.text(asked.until):
        del rule["unread"]
        db.execute(_KEEP_RULE, {**which, "rule": json.dumps(rule, sort_keys=True)})


__all__ = ["Backfill", "book", "continued"]
