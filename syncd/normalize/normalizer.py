"""Turn a source's records into readings: the connector normalizes each, and the rules assess it. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import orjson

from syncd import clock, text
from syncd.activity import Draft, Kind, Owner
from syncd.connector import Connector, Record, Ref, Source
from syncd.errors import Unreadable
from syncd.http.server_clock import ServerClock
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.sameness import Key
from syncd.lifecycle.states import State
from syncd.lifecycle.timing import settles_at
from syncd.lifecycle.transitions import Reading
from syncd.normalize.forgotten import Assess, Forgotten, assess_without
from syncd.normalize.our_side import OurSide, Rules
from syncd.normalize.provenance import Origin, provenance
from syncd.normalize.rules import Assessment, assess
from syncd.normalize.sameness import Complete, KeyMaker


class Normalizer:
    """Normalize the records of one source in one pass, by its CRM's clock."""

    def __init__(
        self, rules: Rules, source: Source, connector: Connector, server_clock: ServerClock,
        secret: bytes | None = None, forgotten: Forgotten | None = None,
    ) -> None:  # fmt: skip
        """`secret` is that of the ledger's keys. None: no activity gets keys. `forgotten` people are left out."""
        self._rules = rules
        self._forgotten = forgotten or Forgotten()
        self._key_maker = KeyMaker(secret) if secret and rules.same_activity != "off" else None
        self._source = source
        self._connector = connector
        self._clock = server_clock
        self._owners: tuple[Owner, ...] = ()
        self._our_side = OurSide.of(rules, ())
        self._complete: list[Complete] = []  # of the page that is read

    def readings(self, stream: str, records: Sequence[Record], owners: Sequence[Owner]) -> list[Reading]:
        """Return one reading for each record that is an activity.

        A record that cannot be read gets a reading too: it is dead, not lost. Nothing that a record holds raises.
        """
        owners = tuple(owners)
        if owners != self._owners:
            known = self._forgotten.owners(owners) if self._forgotten else owners
            self._owners, self._our_side = owners, OurSide.of(self._rules, known)
        now, ahead = self._clock.certain_now(), self._clock.ahead
        found = [self._reading(stream, record, now, ahead) for record in records]
        complete, self._complete = self._complete, []
        if self._key_maker is not None:
            self._key_maker.fill(complete)
        return [reading for reading in found if reading is not None]

    def provenance(self, stream: str, record: Record, owners: Sequence[Owner]) -> dict[str, Origin]:
        """Return where each field of a record's payload came from. Empty if the record is no activity.

        It raises as the connector's `normalize`.
        """
        draft = self._connector.normalize(stream, record)
        if draft is None:
            return {}
        return provenance(draft, rules=self._rules, our_side=OurSide.of(self._rules, owners))

    def _reading(self, stream: str, record: Record, now: datetime, ahead: timedelta) -> Reading | None:
        if text.is_stand_in(record.ref.crm_id):
            return self._unreadable(stream, record, Unreadable("the ledger cannot hold the id of this record"))
        try:
            draft = self._connector.normalize(stream, record)
            return None if draft is None else self._assessed(record, draft, now, ahead)
        except Exception as error:  # noqa: BLE001 - any record may cause it, and none may stop the others
            return self._unreadable(stream, record, error)

    def _assessed(self, record: Record, draft: Draft, now: datetime, ahead: timedelta) -> Reading:
        config = self._source.config
        if draft.kind not in ("call", "email"):
            raise ValueError("a draft is a call or an email")
        name = text.fill(config.external_id, source=self._source.name, kind=draft.kind, id=record.ref.crm_id)
        settle = config.settle.call if draft.kind == "call" else config.settle.email
        judge = partial(
            assess, external_activity_id=name, rules=self._rules, our_side=self._our_side, settle=settle, now=now
        )
        assessed = self._without(draft, judge) if self._forgotten else judge(draft)
        keys: list[Key] = []
        if self._key_maker is not None and assessed.payload is not None:
            self._complete.append((keys, draft, assessed.payload))
        return _reading(record, draft, name, assessed, settle, ahead, keys)

    def _without(self, draft: Draft, judge: Assess) -> Assessment:
        return assess_without(draft, judge, forgotten=self._forgotten, rules=self._rules, our_side=self._our_side)

    def unserved(self, stream: str, ref: Ref, why: str) -> Reading:
        """Return the reading of a record that the CRM names but cannot serve. A look-up by id completes it."""
        kind, name = self._named(stream, ref.crm_id)
        return Reading(
            crm_id=ref.crm_id, modified_at=ref.modified_at, external_activity_id=name, kind=kind, occurred_at=None,
            wanted=State.INCOMPLETE, reason=Reason.CRM_ERROR, detail=why,
        )  # fmt: skip

    def _named(self, stream: str, crm_id: str) -> tuple[Kind, str]:
        """Return the kind and the externalActivityId of a record of which nothing but its id is known."""
        kind = next(each.kind for each in self._source.connector.streams if each.name == stream)
        return kind, text.fill(self._source.config.external_id, source=self._source.name, kind=kind, id=crm_id)

    def _unreadable(self, stream: str, record: Record, error: Exception) -> Reading:
        kind, name = self._named(stream, record.ref.crm_id)
        told = text.fit_value(getattr(error, "message", ""), text.MOST) if isinstance(error, Unreadable) else ""
        return Reading(
            crm_id=record.ref.crm_id, modified_at=record.ref.modified_at, external_activity_id=name, kind=kind,
            occurred_at=None, wanted=State.DEAD, reason=Reason.UNREADABLE,
            detail=told or f"the connector cannot read this record ({type(error).__name__})",
        )  # fmt: skip


def duplicate(reading: Reading) -> Reading:
    """Return a reading whose counterpart is delivered. It is left out, unless another reason excludes it already."""
    if reading.counterpart is None or reading.wanted not in (State.PENDING, State.INCOMPLETE):
        return reading
    return replace(
        reading, wanted=State.EXCLUDED, reason=Reason.DUPLICATE_OF, payload=None, due_at=None, keys=(),
        detail=_same_as(reading.counterpart[1]),
    )  # fmt: skip


def _same_as(crm_id: str) -> str:
    return f"the same as {text.fit_value(crm_id, text.MOST)} in the CRM"


def unconfirmed(reading: Reading) -> Reading:
    """Return `reading` for a pass in which no server confirms the local clock.

    Nothing counts as settled then: a reading that had to settle becomes `settling`. Every other one stays unchanged.
    """
    if reading.wanted is not State.PENDING or reading.due_at is None:
        return reading
    return replace(reading, wanted=State.INCOMPLETE, reason=Reason.SETTLING, payload=None, keys=())


def _reading(
    record: Record, draft: Draft, name: str, assessed: Assessment, settle: timedelta, ahead: timedelta,
    keys: Sequence[Key],
) -> Reading:  # fmt: skip
    """Put a reading together. The CRM's clock is `ahead` of the ledger's, by which the next look-up is due."""
    payload, due_at = None, None
    wanted = State.PENDING if assessed.reason is None else assessed.reason.state
    if assessed.payload is not None:
        payload = orjson.dumps(assessed.payload).decode()
    due = assessed.reason.due if assessed.reason is not None else settles_at if settle else None
    if due is not None:
        due_at = clock.later(due(occurred_at=draft.occurred_at, created_at=draft.created_at, settle=settle), -ahead)
    return Reading(
        crm_id=record.ref.crm_id, modified_at=record.ref.modified_at, external_activity_id=name, kind=draft.kind,
        occurred_at=draft.occurred_at, wanted=wanted, reason=assessed.reason, payload=payload, due_at=due_at,
        owner_id=_owner_id(draft, assessed), domain=assessed.domain,
        detail=assessed.detail or _repeated(draft, assessed.reason), counterpart=draft.counterpart, keys=keys,
    )  # fmt: skip


def _repeated(draft: Draft, reason: Reason | None) -> str | None:
    """Return which record a draft repeats, if that is why it is left out."""
    return _same_as(draft.duplicate_of) if reason is Reason.DUPLICATE_OF and draft.duplicate_of else None


def _owner_id(draft: Draft, assessed: Assessment) -> str | None:
    """Return the CRM's id of the owner that the rules chose, otherwise of the record's owner. None if it has none."""
    crm_id = assessed.payload.get("ownerId") if assessed.payload else None
    if crm_id is None and draft.owner:
        crm_id = draft.owner.crm_id
    return text.fit_value(crm_id, text.MOST) or None


__all__ = ["Normalizer", "duplicate", "unconfirmed"]
