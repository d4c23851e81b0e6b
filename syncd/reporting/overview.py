"""Say in one sentence how syncd is, and list what needs the operator. Pure: everything comes from the document.

needs_you   nothing happens until the operator acts
waiting     it resolves itself, but something stands still until then
note        worth a look some day
ok          none of the first two
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from syncd import clock
from syncd.errors import REPORT, Exit
from syncd.ledger import RECOTAP
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.remedies import VERDICTS
from syncd.lifecycle.states import Verdict
from syncd.reporting import fleet
from syncd.reporting.times import Times
from syncd.types.schedule import Schedule

Document = Mapping[str, Any]
LONG = timedelta(days=1)  # an outage of this length is no longer left to itself
LEAST = timedelta(hours=2)  # a shorter silence is normal if a timer starts `syncd sync`
GAPS_HINT = "nothing: they are tried again by themselves. If it lasts, ask the CRM's support about that time"
AGAIN = "nothing: the next pass tries again. `syncd check` tries at once"
CHECK = "`syncd check` names the remedy"
# Exit codes of a pass that are not told by another point: their meaning and the remedy.
ENDED = {
    Exit.BUG: ("a bug stopped it", REPORT),
    Exit.DIED: ("it gave activities up", "`syncd failures` groups them by cause"),
    Exit.LEDGER: ("the ledger could not be used", "`syncd check` names the remedy"),
    Exit.UNAUTHORIZED: ("credentials were refused, or a scope is missing", CHECK),
    Exit.CONFIG: ("the configuration does not fit", CHECK),
}
WAITS = frozenset((Reason.SETTLING, Reason.IN_FUTURE, Reason.UNFINISHED, Reason.REDACTED))


class Level(StrEnum):
    """The urgency of a point."""

    NEEDS_YOU = "needs_you"
    WAITING = "waiting"
    NOTE = "note"
    OK = "ok"


WORDS = {
    Level.NEEDS_YOU: "Needs you",
    Level.WAITING: "Waiting",
    Level.NOTE: "Note",
    Level.OK: "All is well",
}


class Point(NamedTuple):
    """One thing to know, and the next action."""

    level: Level
    text: str
    action: str


def summary(document: Document, times: Times) -> dict[str, Any]:
    """Return `summary` of `syncd status --json`: the level, the sentence, and the points behind it."""
    found = sorted(points(document, times), key=lambda point: [*Level].index(point.level))
    return {
        "level": found[0].level.value if found and found[0].level is not Level.NOTE else Level.OK.value,
        "text": sentence(document, found),
        "points": [{"level": each.level.value, "text": each.text, "action": each.action} for each in found],
    }


def sentence(document: Document, found: list[Point]) -> str:
    """Return the first words of `syncd status`. `found`: the most urgent first."""
    urgent = [each for each in found if each.level is not Level.NOTE]
    if urgent:
        more = f" ({len(urgent) - 1} more below)" if len(urgent) > 1 else ""
        return f"{WORDS[urgent[0].level]}: {urgent[0].text}{more}."
    counts = document["activities"]
    parts = [f"{counts['delivered']:,} delivered", f"{counts['pending']:,} to be sent"]
    return f"{WORDS[Level.OK]}: {', '.join(parts)}, {counts['incomplete']:,} waiting for data or time."


def points(document: Document, times: Times) -> Iterator[Point]:
    """Yield everything that an operator should know, in no order of urgency."""
    yield from _books(document)
    yield from _recotap(document, times)
    yield from _sources(document, times)
    yield from _last_pass(document, times)
    yield from _lanes(document)
    yield from _activities(document)
    yield from _settings(document)


def is_overdue(document: Document, schedule: Schedule, now: datetime) -> bool:
    """Tell whether no syncd runs, and the last pass is longer ago than its schedule allows."""
    last = document["last_pass"]
    if last is None or document["held_by"]:
        return False
    at = clock.instant(last["finished_at"] or last["started_at"])
    return schedule.late_after(at, LEAST) < now


def _books(document: Document) -> Iterator[Point]:
    if not document["balanced"]:
        action = "restore a backup, or let `syncd verify --repair` book them again"
        yield Point(Level.NEEDS_YOU, "the books do not balance: rows were removed by hand", action)
    if not document["clock_confirmed"]:
        text = "no server confirms this machine's clock: until one does, nothing dies, and nothing settles"
        yield Point(Level.NEEDS_YOU, text, "`syncd check` compares all clocks")


def _recotap(document: Document, times: Times) -> Iterator[Point]:
    known, pause = document["recotap"], document["pauses"].get(RECOTAP)
    if known["key_refused"]:
        yield Point(Level.NEEDS_YOU, "Recotap refuses the key", VERDICTS[Verdict.UNAUTHORIZED])
    elif pause:
        yield _paused("Recotap", "recotap", pause, times)
    elif known["last_error"]:
        since = known["silent_since"]
        told = f" {times.age(since)}" if since else ""
        level = Level.NEEDS_YOU if since and _is_long(since, times) else Level.WAITING
        action = VERDICTS[Verdict.UNREACHABLE] if level is Level.NEEDS_YOU else AGAIN
        yield Point(level, f"Recotap stopped taking activities{told}: {known['last_error']}", action)


def _sources(document: Document, times: Times) -> Iterator[Point]:
    for name, pause in document["pauses"].items():
        if name != RECOTAP:
            yield _paused(name, name, pause, times)
    failing = {each["source"]: each for each in reversed(document["sources"]) if each["last_error"]}
    last = document["last_pass"]
    refused = last is not None and last["exit_code"] in (Exit.UNAUTHORIZED, Exit.CONFIG)
    for name, each in failing.items():
        if name in document["pauses"] or name in document["sources_gone"]:
            continue
        needs = (refused and not document["recotap"]["key_refused"]) or _is_long(each["last_success_at"], times)
        text = f"{name} {each['stream']} cannot be read (last success: {times.age(each['last_success_at'])})"
        action = CHECK if needs else AGAIN
        yield Point(Level.NEEDS_YOU if needs else Level.WAITING, f"{text}: {each['last_error']}", action)
    yield from _never_read(document, {*failing, *document["pauses"]})
    yield from _ranges(document)


def _never_read(document: Document, told: Collection[str]) -> Iterator[Point]:
    """Yield each source with streams that no pass has read to their end, unless a point about it is `told`."""
    if document["last_pass"] is None and not document["held_by"]:
        return
    streams: dict[str, list[str]] = {}
    for each in document.get("never_read", ()):
        streams.setdefault(each["source"], []).append(each["stream"])
    action = "nothing: the syncd that runs reads it" if document["held_by"] else "`syncd sync` reads it"
    for name in (name for name in streams if name not in told):
        yield Point(Level.WAITING, f"{name} was never read to its end ({', '.join(streams[name])})", action)


def _ranges(document: Document) -> Iterator[Point]:
    found = Counter((each["source"], each["why"] == "gap") for each in document["ranges"])
    for (name, is_gap), count in found.items():
        spans = "a span" if count == 1 else f"{count:,} spans"
        if is_gap:
            yield Point(Level.WAITING, f"{name} does not serve {spans} of modification time", GAPS_HINT)
        elif name not in document["sources_gone"]:
            text = f"{spans} of {name} before its watermarks {'is' if count == 1 else 'are'} not read to the end"
            yield Point(Level.WAITING, text, "nothing: each pass reads on. The lines `to read` say how far it is")
    adoption = document.get("adoption")
    if adoption and not adoption["ended_at"]:
        text = "an adoption goes on: what Recotap already has counts as delivered by this ledger"
        yield Point(Level.WAITING, text, "nothing: it ends when all of its span is read")
    rewound = document.get("rewound")
    if rewound and not rewound["ended_at"]:
        text = "the ledger went back: what the lost part may have delivered counts as delivered by this ledger"
        yield Point(Level.WAITING, text, "nothing: it ends when each stream is read again")


def _paused(shown: str, name: str, pause: Mapping[str, str], times: Times) -> Point:
    action = f"nothing. If its cause is gone: `syncd resume {name}`"
    return Point(Level.WAITING, f"{shown} pauses until {times.aged(pause['until'])}: {pause['reason']}", action)


def _last_pass(document: Document, times: Times) -> Iterator[Point]:
    last = document["last_pass"]
    if last is None:
        if not document["held_by"]:
            yield Point(Level.NEEDS_YOU, "no pass has run yet", "`syncd sync` makes one, `syncd run` one after another")
        return
    ended = last["finished_at"] or last["started_at"]
    if document.get("overdue"):
        text = f"no syncd runs, and the last pass was {times.age(ended)}"
        yield Point(Level.NEEDS_YOU, text, "start `syncd run`, or let a timer start `syncd sync`")
    if last["finished_at"] is None and not document["held_by"]:
        yield Point(
            Level.WAITING, f"the last pass was interrupted (it began {times.age(ended)})", "`syncd sync` goes on"
        )
    told = document["recotap"]["key_refused"] or any(each["last_error"] for each in document["sources"])
    meaning, action = ENDED.get(last["exit_code"], ("", ""))
    if meaning and not (told and last["exit_code"] in (Exit.UNAUTHORIZED, Exit.CONFIG)):
        text = f"the last pass ended with exit code {last['exit_code']}: {meaning}"
        yield Point(Level.NEEDS_YOU, text, action)


def _lanes(document: Document) -> Iterator[Point]:
    worst = fleet.most_overdue(document)
    if worst is not None and worst["late_s"] > fleet.LATE_S and fleet.is_served(document):
        number = fleet.counts(document)["overdue"]
        wait = "1 source waits" if number == 1 else f"{number:,} sources wait"
        text = f"{wait} for a free slot, {worst['source']} for {worst['late_s']:,.0f} s"
        yield Point(Level.WAITING, text, fleet.MORE)


def _activities(document: Document) -> Iterator[Point]:
    reasons, counts, pending = document["reasons"], document["activities"], document["pending"]
    if withheld := reasons["incomplete"].get(Reason.REDACTED, 0):
        text = f"{_activities_are(withheld)} held, because the key may not see their content"
        yield Point(Level.NEEDS_YOU, text, "grant the missing scope: `syncd check` names it")
    if pending["refused"]:
        text = f"Recotap refuses {pending['refused']:,} of the pending activities"
        yield Point(Level.NEEDS_YOU, text, "`syncd failures` shows Recotap's words and the remedy")
    if failed := sum(pending["backing_off"].values()):
        text = f"{_activities_are(failed)} backing off after Recotap failed them"
        yield Point(Level.WAITING, text, "nothing: they are sent again. `syncd failures` shows why")
    if ended := counts["dead"] + counts["skipped"]:
        yield Point(Level.NOTE, f"{_activities_are(ended)} given up (dead, skipped)", "`syncd failures` groups them")
    if lacking := sum(count for name, count in reasons["incomplete"].items() if name not in WAITS):
        text = f"{_activities_are(lacking)} waiting for data in the CRM"
        yield Point(Level.NOTE, text, "`syncd list --state incomplete` names them, `syncd failures` the remedy")


def _settings(document: Document) -> Iterator[Point]:
    for name in document["sources_gone"]:
        text = f"source {name} is not in the configuration, and some of its activities wait"
        yield Point(Level.NEEDS_YOU, text, "put its table back, and it resumes")
    for each in document["warnings"]:
        yield Point(Level.NEEDS_YOU, f"{each['source']}: {each['message']}", "`syncd scope` shows all rows by kind")
    alike = sum(each["count"] for each in document["unread"] if each["looks_like"])
    if alike and not document["warnings"]:
        text = f"{alike:,} rows look like calls or emails and are not read"
        yield Point(Level.NOTE, text, "`syncd scope` shows them by kind")


def _activities_are(count: int) -> str:
    return "1 activity is" if count == 1 else f"{count:,} activities are"


def _is_long(since: str | None, times: Times) -> bool:
    """Tell whether an outage has lasted for more than a day. None: from the beginning."""
    return since is None or times.now - clock.instant(since) > LONG


__all__ = ["WORDS", "Level", "Point", "is_overdue", "points", "sentence", "summary"]
