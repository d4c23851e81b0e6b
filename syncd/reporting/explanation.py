"""Explain one activity: its origin, state, attempts and next step."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from syncd import clock
from syncd.config import Config
from syncd.ledger import Reports
from syncd.lifecycle import timing
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import UNDER_WAY, State, Verdict
from syncd.reporting.links import add_links
from syncd.reporting.times import Times

Document = Mapping[str, Any]
CLOCK = (
    "no server confirms this machine's clock: until one does, nothing dies, and nothing is sent because it has "
    "settled. `syncd check` compares all clocks"
)
REWOUND = "Recotap may have it: a state of the ledger that was lost may have delivered it"
HELD = (State.PENDING, State.INCOMPLETE)
RETRY = "nothing, unless its record changes in the CRM or `syncd retry` asks for it"


def document_of(name: str, glance: Reports, config: Config, now: datetime) -> dict[str, Any]:
    """Return the document of `syncd explain --json` (design 4.4) for an externalActivityId, with `url`."""
    document = glance.explain(name, now=now)
    add_links([document], config, glance)
    return {**document, "gives_up_at": gives_up_at(document, config.recotap.max_age)}


def facts(document: Document, times: Times) -> Iterator[tuple[str, str]]:
    """Yield the facts about an activity in the order of its life, each with its name."""
    yield "activity", document["external_activity_id"]
    yield "from", f"{document['source']} {document['stream']}, record {document['crm_id']} ({document['kind']})"
    if document["url"]:
        yield "link", document["url"]
    if document["domain"]:
        yield "account", document["domain"]
    if document["owner"]:
        yield "owner", f"{document['owner']} (its id in the CRM)"
    yield "happened", times.aged(document["occurred_at"]) if document["occurred_at"] else "unknown"
    yield "first seen", f"{times.aged(document['first_seen_at'])}, last moved {times.aged(document['updated_at'])}"
    yield from _state(document)
    yield from (("same as", f"{twin}: the same call or email under another id") for twin in document["twins"])
    yield "next", next_step(document, times)
    if document["gives_up_at"]:
        yield "given up", f"{times.aged(document['gives_up_at'])}, unless it is delivered or excluded by then"
    if not document["clock_confirmed"] and document["state"] in HELD:
        yield "clock", CLOCK
    if document["rewound_at"]:
        yield "note", f"{REWOUND}, as was noticed {times.aged(document['rewound_at'])}"
    if document["changed_after_delivery"]:
        yield "note", "the record changed in the CRM after delivery; Recotap takes no update"
    yield from (("attempt", _attempt(each, times)) for each in document["attempts"])
    if document["payload"] is not None:
        yield "payload", _age_of_payload(document, times)


def _state(document: Document) -> Iterator[tuple[str, str]]:
    yield "state", f"{document['state']}: {State.describe(document['state'])}"
    if document["reason"]:
        yield "reason", f"{document['reason']}: {Reason.describe(document['reason'])}"
    if document["verdict"]:
        yield "last verdict", f"{document['verdict']}: {Verdict.describe(document['verdict'])}"
    if document["detail"]:
        yield "detail", document["detail"]


def next_step(document: Document, times: Times) -> str:
    """Return what happens next to an activity, and when."""
    state, reason, at = document["state"], document["reason"], document["next_attempt_at"]
    if state == State.DELIVERED:
        return "nothing: it is done"
    if document["paused_until"]:
        who, does = ("Recotap", "sent") if state == State.PENDING else (document["source"], "looked up in the CRM")
        return f"{does} in the first pass after {who}'s pause, which ends {times.aged(document['paused_until'])}"
    if state == State.PENDING:
        return f"sent in the first pass after {times.aged(at)}"
    if reason == Reason.REDACTED:
        return "looked up in the first pass in which the key may see its content"
    if at:
        gone = ". If that does not find it either, it is excluded as deleted" if reason == Reason.NOT_FOUND else ""
        return f"looked up in the CRM in the first pass after {times.aged(at)}{gone}"
    return "nothing, unless `syncd retry` asks for it" if state == State.SKIPPED else RETRY


def gives_up_at(document: Document, max_age: timedelta) -> str | None:
    """Return when an activity is given up: a pending one `max_age` after its first refusal. None: not by age."""
    if not document["clock_confirmed"]:
        return None
    if document["state"] == State.PENDING and document["refused_since"]:
        return clock.text(clock.later(clock.instant(document["refused_since"]), max_age))
    if document["state"] == State.INCOMPLETE and document["waiting_since"] and document["reason"] != Reason.REDACTED:
        since, happened = clock.instant(document["waiting_since"]), clock.optional_instant(document["occurred_at"])
        return clock.text(timing.gives_up_at(waiting_since=since, occurred_at=happened))
    return None


def _attempt(attempt: Mapping[str, Any], times: Times) -> str:
    verdict = attempt["verdict"]
    words = "being sent" if verdict == UNDER_WAY else Verdict.describe(verdict)
    detail = f" ({attempt['detail']})" if attempt["detail"] else ""
    return f"{times.aged(attempt['at'])} {verdict}: {words}{detail}"


def _age_of_payload(document: Document, times: Times) -> str:
    read = clock.optional_instant(document["payload_read_at"])
    if read is not None and timing.fresh_reads(times.now)[0] <= read.timestamp():
        return "as it will be sent:"
    return "as it will be sent, unless its record changed: it is read again before that"


__all__ = ["CLOCK", "document_of", "facts", "gives_up_at", "next_step"]
