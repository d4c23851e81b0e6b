"""Compute a ledger row after each event: first seen, read again, missing, verdict. Pure.

`ledger` writes the returned rows. `certain`: a server confirms the clock that `now` comes from. If none does, no row
dies of its age, and no age begins: a stamp by a wrong clock would kill the row once the clock is right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from syncd.activity import Kind
from syncd.lifecycle import timing
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.sameness import Key
from syncd.lifecycle.states import MEANINGS, Cause, State, Verdict, follow, move

LOST = "its payload could not be decrypted: its record is read again"


@dataclass(slots=True)  # never changed, as Row
class Reading:
    """One CRM record as read and assessed."""

    crm_id: str
    modified_at: datetime  # the CRM's clock
    external_activity_id: str
    kind: Kind
    occurred_at: datetime | None  # None: unreadable
    wanted: State  # pending, incomplete, excluded, or dead when unreadable
    reason: Reason | None = None
    detail: str | None = None
    payload: str | None = None  # JSON text; only with pending
    due_at: datetime | None = None  # when time alone may complete it: it has settled, or it happens
    owner_id: str | None = None  # the CRM's id of the activity's owner
    domain: str | None = None  # the account's, never a free-mail domain
    counterpart: tuple[str, str] | None = None  # (stream, crm_id) of another record of the same activity
    keys: Sequence[Key] = ()  # by which it is recognized under another id; only with pending


@dataclass(slots=True)  # never changed; `frozen` alone is a twentieth of the ledger's CPU for a new activity
class Row:
    """The part of a ledger row that changes."""

    state: State
    modified_at: datetime
    occurred_at: datetime | None
    reason: str | None = None  # a Reason, or one of a newer syncd that wrote the row
    verdict: Verdict | None = None  # the last one
    detail: str | None = None  # its text, or why it is unreadable
    next_attempt_at: datetime | None = None  # pending: when it is sent. Otherwise: when it is looked up.
    waiting_since: datetime | None = None  # incomplete: since when
    missing_since: datetime | None = None  # the first look-up that did not find it
    refused_since: datetime | None = None  # the first verdict about the item itself
    refusals: int = 0  # number of those
    unknown: bool = False  # an earlier attempt may have stored it
    isolated: bool = False  # sent only together with its like
    changed_after_delivery: bool = False
    owner_id: str | None = None  # of the last reading that told it, as `domain`
    domain: str | None = None


def first_seen(reading: Reading, now: datetime, *, certain: bool = True) -> Row:
    """Return the row of an activity seen for the first time."""
    row = Row(
        state=reading.wanted,
        modified_at=reading.modified_at,
        occurred_at=reading.occurred_at,
        reason=reading.reason,
        detail=reading.detail,
        next_attempt_at=now if reading.wanted is State.PENDING else None,
        owner_id=reading.owner_id,
        domain=reading.domain,
    )
    return _wait(row, reading.due_at, now, certain) if row.state is State.INCOMPLETE else row


def after_reread(
    row: Row, reading: Reading, now: datetime, *, same_payload: bool, by_id: bool = False, certain: bool = True
) -> Row:
    """Return `row` after its record was read again.

    Delivered and skipped rows only note the change. A row that `retry` asked for (due, although it does not wait by
    itself) moves by that cause. An older version from a search changes nothing, because searches lag behind look-ups
    (`by_id`).
    """
    asked_for = row.state not in (State.INCOMPLETE, State.PENDING) and row.next_attempt_at is not None
    cause = Cause.RETRY if asked_for else Cause.READ
    if reading.modified_at < row.modified_at and not by_id:
        return row
    if reading.reason is Reason.CRM_ERROR and (row.state is not State.INCOMPLETE or row.reason == Reason.REDACTED):
        return _look_up_change(row, now)  # nothing is known but its id
    if row.state is State.PENDING and by_id and _says_nothing_new(reading, certain):
        return row
    told = replace(row, owner_id=reading.owner_id or row.owner_id, domain=reading.domain or row.domain)
    if row.state is State.DELIVERED:
        changed = row.changed_after_delivery or reading.modified_at > row.modified_at
        return replace(told, modified_at=reading.modified_at, changed_after_delivery=changed)
    state = follow(row.state, reading.wanted, cause)
    seen = replace(told, modified_at=reading.modified_at, occurred_at=reading.occurred_at or row.occurred_at)
    if state is not reading.wanted:  # the table keeps it where it is
        return _stay(seen, now, certain)
    if state is State.PENDING and row.state is State.PENDING and same_payload:
        return seen
    return _arrive(replace(seen, state=state), reading, now, certain)


def may_arrive(row: Row, reading: Reading, *, by_id: bool) -> bool:
    """Tell whether `after_reread` would make a row pending that is not, so that a copy of it may stand in its way.

    A row that Recotap may have stored is sent again whatever it is, because only the answer tells.
    """
    if reading.wanted is not State.PENDING or row.unknown or (reading.modified_at < row.modified_at and not by_id):
        return False
    if row.state is State.SKIPPED:
        return row.next_attempt_at is not None
    return row.state not in (State.PENDING, State.DELIVERED)


def duplicate_of(reading: Reading, first: str) -> Reading:
    """Return `reading` as excluded, because another activity is the same call or email. `first` is that one's id."""
    return replace(
        reading, wanted=State.EXCLUDED, reason=Reason.DUPLICATE_OF, detail=first, payload=None, due_at=None, keys=()
    )


def _look_up_change(row: Row, now: datetime) -> Row:
    """Return an excluded or dead `row` with a look-up, because its record has changed and was not served.

    The watermark passes over it, so nothing else would show the change.
    """
    if row.state not in (State.EXCLUDED, State.DEAD):
        return row
    return replace(row, next_attempt_at=row.next_attempt_at or now + timing.CHANGE_AGAIN_AFTER)


def _says_nothing_new(reading: Reading, certain: bool) -> bool:
    """Tell whether a look-up leaves a pending row as it is: without content, or it settles by an unconfirmed clock."""
    return reading.reason is Reason.REDACTED or (reading.reason is Reason.SETTLING and not certain)


def keep_requested(before: Row, after: Row, *, began_at: datetime, now: datetime) -> Row:
    """Return `after`, due again if `retry` asked for that since a look-up or a POST began."""
    asked_at = before.next_attempt_at
    if asked_at is None or not began_at < asked_at <= now or after.state is State.DELIVERED:
        return after
    return replace(after, next_attempt_at=asked_at)


def _stay(row: Row, now: datetime, certain: bool) -> Row:
    match row.state:
        case State.PENDING:
            return row
        case State.INCOMPLETE:
            return _wait(replace(row, missing_since=None), None, now, certain)
        case _:
            return replace(row, next_attempt_at=None)


def _arrive(row: Row, reading: Reading, now: datetime, certain: bool) -> Row:
    """Fill the fields of the state that `row` has just reached, or reached again."""
    clean = replace(
        row, reason=reading.reason, detail=reading.detail, missing_since=None, next_attempt_at=None,
        refused_since=None, refusals=0,
    )  # fmt: skip
    match clean.state:
        case State.PENDING:
            return replace(clean, waiting_since=None, next_attempt_at=now, detail=None)
        case State.INCOMPLETE:
            return _wait(clean, reading.due_at, now, certain)
        case _:
            return replace(clean, waiting_since=None)


def _wait(row: Row, due_at: datetime | None, now: datetime, certain: bool) -> Row:
    """Return `row` with its next look-up, or dead of age.

    A redacted row does not age and has no look-up of its own: the reader asks for it once its content can be seen.
    """
    if row.reason == Reason.REDACTED:
        return replace(row, waiting_since=None, next_attempt_at=None)
    if not certain:
        return replace(row, next_attempt_at=timing.look_up_unconfirmed_at(due_at=due_at, now=now))
    since = _since(row.waiting_since, now)
    if now >= timing.gives_up_at(waiting_since=since, occurred_at=row.occurred_at):
        dead = move(State.INCOMPLETE, State.DEAD, Cause.AGE)
        return replace(row, state=dead, waiting_since=None, next_attempt_at=None)
    settles = row.reason == Reason.SETTLING
    at = timing.look_up_at(waiting_since=since, occurred_at=row.occurred_at, due_at=due_at, now=now, settles=settles)
    return replace(row, waiting_since=since, next_attempt_at=at)


def _since(began_at: datetime | None, now: datetime) -> datetime:
    """Return when an age began: now if it never did, or if a clock that was ahead booked it."""
    return now if began_at is None else min(began_at, now)


def after_missing(row: Row, now: datetime, *, stale: bool = False, certain: bool = True) -> Row:
    """Return `row` after a look-up by id that did not find the record.

    A pending row moves only if it is `stale`. Otherwise a page that was read meanwhile has completed it.
    """
    if row.state is State.PENDING:
        return _not_found(_unsent(row), now, certain) if stale and not row.unknown else row
    if row.state is State.EXCLUDED and row.reason == Reason.DUPLICATE_OF:  # one look-up proves nothing
        row = replace(row, state=move(row.state, State.INCOMPLETE, Cause.READ))
    if row.state is not State.INCOMPLETE:  # asked for by `retry`, but gone: the state stays
        return replace(row, next_attempt_at=None)
    if not certain or row.missing_since is None or row.missing_since > now:
        return _not_found(row, now, certain)
    if now - row.missing_since < timing.MISSING_AGAIN_AFTER:
        return replace(row, next_attempt_at=row.missing_since + timing.MISSING_AGAIN_AFTER)
    gone = move(row.state, State.EXCLUDED, Cause.READ)
    return replace(row, state=gone, reason=Reason.DELETED, waiting_since=None, missing_since=None, next_attempt_at=None)


def _unsent(row: Row) -> Row:
    """Return a pending row as incomplete. Its verdicts about the item do not count any more."""
    state = move(row.state, State.INCOMPLETE, Cause.READ)
    return replace(row, state=state, missing_since=None, refused_since=None, refusals=0)


def _not_found(row: Row, now: datetime, certain: bool) -> Row:
    row = replace(row, reason=Reason.NOT_FOUND, detail=None)
    if not certain:
        return replace(row, next_attempt_at=timing.look_up_unconfirmed_at(due_at=None, now=now))
    since = now if row.waiting_since is None else row.waiting_since
    return replace(row, waiting_since=since, missing_since=now, next_attempt_at=now + timing.MISSING_AGAIN_AFTER)


def after_unserved(row: Row, detail: str, now: datetime, *, certain: bool = True) -> Row:
    """Return `row` after the CRM could not serve its record, while it served others. `detail` is the error's text.

    An incomplete row waits as `crm_error` and ages. A redacted one keeps its reason, any other row its state. One that
    `retry` asked for, or whose record has changed, is looked up again a day later.
    """
    if row.state in (State.PENDING, State.DELIVERED) or row.reason == Reason.REDACTED:
        return row
    if row.state is not State.INCOMPLETE:
        return replace(row, next_attempt_at=now + timing.DAY)
    return _wait(replace(row, reason=Reason.CRM_ERROR, detail=detail), None, now, certain)


def after_forgotten(row: Row, now: datetime) -> Row:
    """Return a pending `row` after its payload was erased with a forgotten person in it.

    It is excluded, and due for a look-up, which tells whether somebody else is in it.
    """
    gone = move(row.state, State.EXCLUDED, Cause.READ)
    return replace(
        row, state=gone, reason=Reason.FORGOTTEN, detail=None, next_attempt_at=now, refused_since=None, refusals=0
    )


def after_lost(row: Row, now: datetime) -> Row:
    """Return a pending `row` whose payload cannot be decrypted.

    It waits for a look-up by id, which is due now. The record's new reading makes it pending again.
    """
    return replace(_unsent(row), reason=Reason.SETTLING, detail=LOST, next_attempt_at=now)


def after_removal(row: Row, *, gone_at: datetime, now: datetime) -> Row:
    """Return an incomplete `row` of a source that the configuration lacks since `gone_at`. It dies of age.

    Nothing can look it up, so all of them age from the removal. `now` is of a clock that a server confirms.
    """
    if row.state is not State.INCOMPLETE:
        return row
    since = _since(gone_at, now)
    if now < timing.gives_up_at(waiting_since=since, occurred_at=row.occurred_at):
        return row
    dead = move(State.INCOMPLETE, State.DEAD, Cause.AGE)
    return replace(row, state=dead, waiting_since=None, next_attempt_at=None)


def after_verdict(
    row: Row,
    verdict: Verdict,
    detail: str | None,
    *,
    now: datetime,
    max_age: timedelta,
    random: Callable[[], float],
    certain: bool = True,
) -> Row:
    """Return a pending `row` after one attempt's verdict.

    An outage costs it nothing: it stays due at once. A verdict about the item itself delays it. `max_age` after the
    first of those it is dead.
    """
    meaning = MEANINGS[verdict]
    after_verdict = replace(
        row,
        verdict=verdict,
        detail=detail,
        unknown=row.unknown or meaning.unknown,
        isolated=row.isolated or meaning.isolates,
    )
    if meaning.state is not State.PENDING:
        return replace(after_verdict, state=move(row.state, meaning.state, Cause.VERDICT), next_attempt_at=None)
    if not meaning.fault:
        return replace(after_verdict, next_attempt_at=now)
    refusals = row.refusals + 1
    at = now + timing.back_off(refusals=refusals, random=random)
    if not certain:
        return replace(after_verdict, refusals=refusals, next_attempt_at=at)
    since = _since(row.refused_since, now)
    if now - since >= max_age:
        dead = move(row.state, State.DEAD, Cause.VERDICT)
        return replace(after_verdict, state=dead, reason=Reason[verdict.name], next_attempt_at=None)
    return replace(after_verdict, refused_since=since, refusals=refusals, next_attempt_at=min(at, since + max_age))
