"""Decide whether two activities with different ids are the same call or email. Pure.

    email   by its Message-ID; otherwise by sender, subject, time and a contact in common
    call    by an id that every copy has; otherwise by owner, account, time and duration. In one stream the calls must
            overlap: a rep who reaches nobody makes several calls of the same length in a minute

Recotap is create-only: a missed copy counts twice, and a wrong match loses an activity. So every doubt means no match.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd.activity import Kind

# By likeness. A mail's copies carry one time, and capture tools round it. Two dialers log a call's start alike.
ALIKE_WITHIN: dict[Kind, timedelta] = {"call": timedelta(minutes=2), "email": timedelta(minutes=5)}
# By a call's id. A task may have only a date, which stands for noon.
CALL_ID_WITHIN = timedelta(hours=12)
MOST = 20  # later copies of one activity. An id that more of them have, e.g. a call centre's name, names no activity.


# A mark that all copies of an activity have (a plain tuple, because each activity has one or more):
#   slot        a span of time, in which copies are looked for. Negative: a mark by id, otherwise by likeness
#   hash        signed, 8 bytes, keyed
#   has_own_id  1: the activity has an id besides, which an email's copies have too
Key = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Marked:
    """An activity that has a key in common with another one."""

    kind: Kind
    stream_id: int
    occurred_at: datetime
    domain: str | None  # of its account
    has_own_id: bool  # as in `Key`
    lasts: timedelta | None = None  # a call; None: unknown, but two that share a key by likeness last equally long


def is_same(slot: int, one: Marked, other: Marked) -> bool:
    """Tell whether two activities that share a key in `slot` are the same call or email."""
    if one.kind != other.kind:
        return False
    apart = abs(one.occurred_at - other.occurred_at)
    if slot < 0:
        return one.kind == "email" or (one.domain == other.domain and apart <= CALL_ID_WITHIN)
    # A Message-ID is unique in the world, a call's id only where it was given.
    differ = one.has_own_id and other.has_own_id and (one.kind == "email" or one.stream_id == other.stream_id)
    lasts = one.lasts or other.lasts
    follows = one.kind == "call" and one.stream_id == other.stream_id and lasts is not None and apart >= lasts
    return not differ and not follows and apart <= ALIKE_WITHIN[one.kind]


__all__ = ["ALIKE_WITHIN", "CALL_ID_WITHIN", "MOST", "Key", "Marked", "is_same"]
