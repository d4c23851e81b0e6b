"""Turn records into readings: what the connector says of each, assessed by the rules."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import orjson

from syncd import clock, text
from syncd.activity import Draft, Owner
from syncd.connector import Connector, Record, Source
from syncd.errors import Unreadable
from syncd.http.server_clock import ServerClock
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import State
from syncd.lifecycle.transitions import Reading
from syncd.normalize.rules import Assessment, OurSide, Rules, assess


class Normalizer:
    """Assess one source after another. An unreadable record is a reading too: it is dead, not lost."""

    def __init__(self, rules: Rules, now: Callable[[], datetime]) -> None:
        self._rules = rules
        self._source: Source | None = None
        self._connector: Connector | None = None
        self._owners: Sequence[Owner] | None = None
        self._our_side = OurSide.of(rules, ())
        self._clock = ServerClock(now)
        self._certain = True

    def meet(self, source: Source, connector: Connector, server_clock: ServerClock) -> None:
        """Judge the records of `source` from now on, by its CRM's clock."""
        self._source, self._connector, self._owners, self._clock = source, connector, None, server_clock

    def readings(
        self, stream: str, records: Sequence[Record], owners: Sequence[Owner], *, certain: bool = True
    ) -> list[Reading]:
        """Return one reading for each record that is an activity; an unreadable one is dead, not lost.

        `certain`: a server confirms the local clock. Otherwise nothing counts as settled.
        """
        self._certain = certain
        if owners is not self._owners:
            self._owners, self._our_side = owners, OurSide.of(self._rules, owners)
        found = (self._reading(stream, record) for record in records)
        return [reading for reading in found if reading is not None]

    def _reading(self, stream: str, record: Record) -> Reading | None:
        assert self._source is not None
        assert self._connector is not None
        if text.is_stand_in(record.ref.crm_id):
            return self._unreadable(stream, record, Unreadable("the ledger cannot hold the id of this record"))
        try:
            draft = self._connector.normalize(stream, record)
            return None if draft is None else self._assessed(record, draft)
        except Exception as error:  # noqa: BLE001 - any record may cause it, and none may stop the others
            return self._unreadable(stream, record, error)

    def _assessed(self, record: Record, draft: Draft) -> Reading:
        assert self._source is not None
        config = self._source.config
        if draft.kind not in ("call", "email"):
            raise ValueError("a draft is a call or an email")
        name = text.fill(config.external_id, source=self._source.name, kind=draft.kind, id=record.ref.crm_id)
        settle: timedelta = getattr(config.settle, draft.kind)
        assessed = assess(
            draft, external_activity_id=name, rules=self._rules, our_side=self._our_side, settle=settle,
            now=self._clock.certain_now(), certain=self._certain,
        )  # fmt: skip
        return _reading(record, draft, name, assessed, settle, self._clock.ahead)

    def _unreadable(self, stream: str, record: Record, error: Exception) -> Reading:
        assert self._source is not None
        kind = next(each.kind for each in self._source.connector.streams if each.name == stream)
        template = self._source.config.external_id
        name = text.fill(template, source=self._source.name, kind=kind, id=record.ref.crm_id)
        told = text.fit_value(getattr(error, "message", ""), text.MOST) if isinstance(error, Unreadable) else ""
        return Reading(
            crm_id=record.ref.crm_id, modified_at=record.ref.modified_at, external_activity_id=name, kind=kind,
            occurred_at=None, wanted=State.DEAD, reason=Reason.UNREADABLE,
            detail=told or f"the connector cannot read this record ({type(error).__name__})",
        )  # fmt: skip


def _reading(
    record: Record, draft: Draft, name: str, assessed: Assessment, settle: timedelta, ahead: timedelta
) -> Reading:
    """Put together what one look says; the CRM's clock is `ahead` of the ledger's, which tells when to look again."""
    if assessed.activity is not None:
        wanted = State.PENDING
        payload = orjson.dumps(assessed.activity.payload).decode()
    else:
        wanted, payload = (State.EXCLUDED if assessed.excluded else State.INCOMPLETE), None
    due_at = None
    if assessed.reason is not None and (due := assessed.reason.due):
        at = due(occurred_at=draft.occurred_at, created_at=draft.created_at, settle=settle)
        due_at = clock.later(at, -ahead)
    return Reading(
        crm_id=record.ref.crm_id, modified_at=record.ref.modified_at, external_activity_id=name, kind=draft.kind,
        occurred_at=draft.occurred_at, wanted=wanted, reason=assessed.reason, payload=payload, due_at=due_at,
    )  # fmt: skip
