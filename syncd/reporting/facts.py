"""Put the parts of `syncd status` into words, for the lines of a pipe and the tables of a terminal alike. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from syncd import clock
from syncd.ledger import RECOTAP
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import State, Verdict
from syncd.reporting import fleet
from syncd.reporting.times import Times

Document = Mapping[str, Any]
UNREAD = 10  # kinds of rows that are not read, each in a line of its own
TWINS = "the same call or email as an earlier one, under another id (rules.same_activity)"
WHY = {"start": "an earlier start", "gap": "a gap that the CRM did not serve", "backfill": "a backfill"}
BALANCE = {True: "the books balance", False: "the books do not balance"}
DUE = "goes out in the next pass that reaches Recotap"


def parts(document: Document, state: str) -> Iterator[tuple[str, int, str]]:
    """Yield the verdicts or reasons of a state: each one's name, count and meaning."""
    if state == State.PENDING:
        yield from _pending(document["pending"])
    elif state == State.DELIVERED:
        yield from ((name, n, Verdict.describe(name)) for name, n in document["verdicts"].items() if n)
    else:
        for name, count in sorted(document["reasons"].get(state, {}).items()):
            yield name, count, Reason.describe(name)
            if name == Reason.FILTERED:
                for each in document["filtered"]:
                    yield f"filtered by {each['entry']}", each["count"], f"of {each['source']} {each['stream']}"


def _pending(pending: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    if pending["due"]:
        yield "due", pending["due"], DUE
    for name, count in pending["backing_off"].items():
        if count:
            yield f"backing off ({name})", count, Verdict.describe(name)
    if pending["refused"]:
        yield "refused", pending["refused"], Verdict.describe("refused")


def recotap(document: Document, times: Times) -> list[tuple[str, str]]:
    """Return the facts about Recotap, each with its name."""
    known, pause = document["recotap"], document["pauses"].get(RECOTAP)
    found = [("host", known["host"]), ("last answer", times.aged(known["last_answer_at"]))]
    found += [("next batches", f"{known['batch']} activities each")]
    if known["key_refused"]:
        found += [("key", "refused")]
    if known["silent_since"]:
        found += [("takes nothing since", times.aged(known["silent_since"]))]
    if pause:
        found += [("pause until", f"{times.aged(pause['until'])}: {pause['reason']}")]
    return [*found, ("last error", known["last_error"])] if known["last_error"] else found


def pauses(document: Document, times: Times) -> list[str]:
    """Return a line for each pause that a CRM or Recotap asked for."""
    return [
        f"pause: {name.removeprefix('@')} until {times.aged(each['until'])}: {each['reason']}"
        for name, each in document["pauses"].items()
    ]


def notes(document: Document, times: Times) -> Iterator[str]:
    """Yield a line for each other fact: errors of streams, copies, ranges, rows that are not read, the last pass.

    On a terminal pauses and warnings stand above, among the points of the summary.
    """
    for each in document["sources"]:
        if each["last_error"]:
            yield f"last error: {each['source']} {each['stream']}: {each['last_error']}"
    yield from (f"to read: {_range(each, times)}" for each in document["ranges"])
    if document["twins"]:
        yield f"{TWINS}: {document['twins']:,}"
    if document.get("adoption"):
        yield _adoption(document["adoption"], times)
    if document.get("rewound"):
        yield _rewound(document["rewound"], times)
    yield from unread(document["unread"])
    if not times.local:
        yield from (f"warning: {each['source']}: {each['message']}" for each in document["warnings"])
        yield from pauses(document, times)
    last = document["last_pass"]
    if last:
        yield f"last pass: began {times.aged(last['started_at'])}, {_ended(last, times)}"
    yield f"running: {document['held_by'] or 'no syncd'}"
    yield from fleet.lines(document)
    if document["next_attempt_at"]:
        yield f"next attempt or look-up: {times.aged(document['next_attempt_at'])}"


def _adoption(found: Mapping[str, Any], times: Times) -> str:
    ended = f"ended {times.aged(found['ended_at'])}" if found["ended_at"] else "goes on in the next pass"
    return (
        f"adopted: {found['adopted']:,} of the duplicates. The adoption began {times.aged(found['began_at'])}, {ended}"
    )


def _rewound(found: Mapping[str, Any], times: Times) -> str:
    left = f"still to be read again: {', '.join(found['streams'])}"
    ended = f"all was read again by {times.at(found['ended_at'])}" if found["ended_at"] else left
    return f"went back: the ledger is older than its deliveries, as was noticed {times.aged(found['at'])}. {ended}"


def unread(found: list[dict[str, Any]]) -> list[str]:
    """Return a line for each kind of rows that looks like a call or an email and is not read, and for the others."""
    alike = [each for each in found if each["looks_like"]]
    lines = [f"not read: {each['source']} {each['what']}: {each['count']}" for each in alike[:UNREAD]]
    rest = sum(each["count"] for each in found) - sum(each["count"] for each in alike[:UNREAD])
    return [*lines, f"not read: rows of other kinds: {rest}, see `syncd scope`"] if rest else lines


def _ended(last: Mapping[str, Any], times: Times) -> str:
    if last["exit_code"] is not None:
        return f"ended {times.at(last['finished_at'])} with exit code {last['exit_code']}"
    return "was interrupted" if last["finished_at"] else "was interrupted, or is still running"


def _range(each: Mapping[str, Any], times: Times) -> str:
    direction = "down" if each.get("newest_first") else "up"
    read = f", read {direction} to {times.at(each['read_to'])}, {_share(each):.0%} of it" if each["read_to"] else ""
    after = f", tried again after {times.aged(each['next_attempt_at'])}" if each["next_attempt_at"] else ""
    error = f": {each['last_error']}" if each["last_error"] else ""
    span = f"{each['source']} {each['stream']} {times.at(each['since'])} to {times.at(each['until'])}"
    return f"{span} ({WHY[each['why']]}){read}{after}{error}"


def _share(each: Mapping[str, Any]) -> float:
    """Return the share of a range's time that is read, from 0 to 1."""
    since, until, at = (clock.instant(each[key]) for key in ("since", "until", "read_to"))
    read = until - at if each.get("newest_first") else at - since
    return 1.0 if until <= since else min(max(read / (until - since), 0.0), 1.0)


__all__ = ["BALANCE", "TWINS", "notes", "parts", "pauses", "recotap", "unread"]
