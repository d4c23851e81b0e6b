"""Turn the ledger's documents into the parts of a page. Pure: a template only prints them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from syncd import clock
from syncd.config import Config
from syncd.errors import Exit
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.remedies import remedy
from syncd.lifecycle.states import State, Verdict
from syncd.reporting import explanation, facts, fleet, health, overview
from syncd.reporting.times import Times
from syncd.types.schedule import Schedule
from syncd.web.charts import DAYS, chart

Document = Mapping[str, Any]
LATENESS_DAYS = 7
# Bounds in seconds that the ledger counts deliveries by, and their names.
BOUNDS = {
    60: "1 minute", 300: "5 minutes", 900: "15 minutes", 3600: "1 hour", 4 * 3600: "4 hours", 86_400: "1 day",
    7 * 86_400: "7 days",
}  # fmt: skip
UNREAD = 10  # kinds of unread rows, each in a line of its own
ENDS = {
    Exit.OK: "all done",
    Exit.BUG: "a bug stopped it",
    Exit.DIED: "activities were given up",
    Exit.UNBALANCED: "the books do not balance",
    Exit.UNAVAILABLE: "a CRM or Recotap could not be reached, or is out of quota",
    Exit.LEDGER: "the ledger could not be used",
    Exit.HELD: "another syncd held the ledger",
    Exit.UNAUTHORIZED: "credentials were refused, or a scope is missing",
    Exit.CONFIG: "the configuration does not fit",
    Exit.SIGINT: "a signal stopped it",
    Exit.SIGTERM: "a signal stopped it",
}
STATES = (State.DELIVERED, State.PENDING, State.INCOMPLETE, State.EXCLUDED, State.SKIPPED, State.DEAD)


class Reading(NamedTuple):
    """How the configuration reads one source."""

    schedule: Schedule
    streams: Sequence[str]
    unread: frozenset[str]  # streams that it leaves out


class Facts(NamedTuple):
    """All that the page at / shows, as of one moment."""

    document: Document  # of `syncd status --json`, with its summary
    days: Sequence[Document]  # deliveries: day, since ("seen", "occurred"), within (seconds), n
    passes: Sequence[Document]  # the latest first
    sources: Mapping[str, Reading]  # those that are configured
    now: datetime


class Stamp(NamedTuple):
    """A time as a page shows it."""

    iso: str  # as the ledger holds it
    shown: str  # UTC, to the minute
    age: str


def readings(config: Config) -> dict[str, Reading]:
    """Return how each configured source is read, by its name."""
    return {
        source.name: Reading(
            config.schedule_for(source),
            [stream.name for stream in source.streams],
            frozenset(stream.name for stream in source.unread),
        )
        for source in config.sources
    }


def first_day(now: datetime, days: int = DAYS) -> str:
    """Return the first of the last `days` days, in UTC."""
    return (now - timedelta(days=days - 1)).date().isoformat()


def page(given: Facts) -> dict[str, Any]:
    """Return the parts of the page at /."""
    document, times = given.document, Times(given.now)
    by_day: Counter[str] = Counter()
    for each in given.days:
        if each["since"] == "seen":
            by_day[each["day"]] += each["n"]
    return {
        "at": stamp(document["at"], times),
        "summary": document["summary"],
        "words": {level.value: word for level, word in overview.WORDS.items()},
        "balanced": document["balanced"],
        "balance": facts.BALANCE[document["balanced"]],
        "seen": document["seen"],
        "counts": document["activities"],
        "held_by": document["held_by"],
        "lanes": fleet.lanes(document),
        "replicas": [(each["name"], fleet.replica(each)) for each in document["replicas"][: fleet.SHOWN]],
        "streams": [*streams(given)],
        "chart": chart(by_day, given.now.date()),
        "lateness": lateness(given.days, given.now),
        "lateness_days": LATENESS_DAYS,
        "states": [*states(document)],
        "causes": causes(document),
        "ranges": [_range(each, times) for each in document["ranges"]],
        "unread": unread(document["unread"]),
        "recotap": [(name, value or "-") for name, value in facts.recotap(document, times)],
        "passes": [_pass(each, times) for each in given.passes],
    }


def activity(document: Document, now: datetime) -> dict[str, Any]:
    """Return the parts of the page of one activity: what `syncd explain` shows, without the payload."""
    document = {**document, "payload": None}
    url = document["url"] or ""
    return {
        "name": document["external_activity_id"],
        "facts": [(name, value) for name, value in explanation.facts(document, Times(now)) if name != "link"],
        "url": url if url.startswith(("https://", "http://")) else "",
    }


def stamp(written: str | None, times: Times) -> Stamp | None:
    """Return a time that `clock.text` wrote. None stays None."""
    if written is None:
        return None
    return Stamp(written, f"{written[:10]} {written[11:16]}", times.age(written))


def streams(given: Facts) -> Iterator[dict[str, Any]]:
    """Yield each stream with its freshness. One that no pass has booked yet comes after the others of its source."""
    document, times = given.document, Times(given.now)
    known = {(each["source"], each["stream"]): each for each in document["sources"]}
    planned = [(name, stream) for name, reading in given.sources.items() for stream in reading.streams]
    for source, stream in sorted({*known, *planned}):
        each = known.get((source, stream), {})
        pause = document["pauses"].get(source)
        reading = given.sources.get(source)
        at = each.get("last_success_at")
        level, word = freshness(stream, at, reading, is_paused=pause is not None, now=given.now)
        yield {
            "source": source, "stream": stream, "level": level, "word": word, "seen": each.get("seen", 0),
            "schedule": str(reading.schedule) if reading else "-", "last_success": stamp(at, times),
            "watermark": stamp(each.get("watermark"), times), "error": each.get("last_error"),
            "pause": f"until {times.aged(pause['until'])}: {pause['reason']}" if pause else None,
        }  # fmt: skip


def freshness(
    stream: str, at: str | None, reading: Reading | None, *, is_paused: bool, now: datetime
) -> tuple[str, str]:  # fmt: skip
    """Return the level and the word for a stream that was last read to its end at `at`."""
    if reading is None:
        return "needs_you", "not configured"
    if stream in reading.unread:
        return "note", "not read"
    if is_paused:
        return "waiting", "paused"
    if at is None:
        return "waiting", "not read to its end yet"
    is_late = health.is_late(clock.instant(at), reading.schedule, now)
    return ("needs_you", "late") if is_late else ("ok", "fresh")


def lateness(days: Sequence[Document], now: datetime) -> list[dict[str, Any]]:
    """Return for each bound the share of the last days' deliveries within it: since first sight, and since it happened.

    Shares are from 0 to 1. Nothing is returned without a delivery.
    """
    first, counts = first_day(now, LATENESS_DAYS), {"seen": Counter[int](), "occurred": Counter[int]()}
    for each in days:
        if each["day"] >= first and each["since"] in counts:
            counts[each["since"]][each["within"]] += each["n"]
    totals = {since: found.total() for since, found in counts.items()}
    if not any(totals.values()):
        return []
    return [
        {"bound": name, **{since: _share(found, bound, totals[since]) for since, found in counts.items()}}
        for bound, name in BOUNDS.items()
    ]


def _share(found: Mapping[int, int], bound: int, total: int) -> float | None:
    return sum(n for within, n in found.items() if within <= bound) / total if total else None


def states(document: Document) -> Iterator[dict[str, Any]]:
    """Yield each state with its count, its meaning and its reasons."""
    for state in STATES:
        yield {
            "state": state.value, "count": document["activities"][state], "meaning": state.description,
            "parts": [
                {"name": name, "count": count, "meaning": meaning}
                for name, count, meaning in facts.parts(document, state)
            ],
        }  # fmt: skip


def causes(document: Document) -> list[dict[str, Any]]:
    """Return the causes of failure, most activities first, each with its remedy. It needs only the kept counts."""
    reasons = document["reasons"]
    found = [(State.PENDING.value, name, count) for name, count in reasons["pending"].items()]
    found += [(State.DEAD.value, name, count) for name, count in reasons["dead"].items()]
    found += [(State.SKIPPED.value, State.SKIPPED.value, document["activities"][State.SKIPPED])]
    waits = overview.WAITS - {Reason.REDACTED}
    found += [(State.INCOMPLETE.value, name, n) for name, n in reasons["incomplete"].items() if name not in waits]
    return [
        {"state": state, "cause": cause, "count": count, "meaning": _meaning(cause), "remedy": remedy(state, cause)}
        for state, cause, count in sorted(found, key=lambda each: (-each[2], *each[:2]))
        if count
    ]


def _meaning(cause: str) -> str:
    """Return what a cause means, without the remedy that a reason's description ends with."""
    known = next((reason.meaning for reason in Reason if reason == cause), "")
    return known or Verdict.describe(cause)


def unread(found: Sequence[Document]) -> dict[str, Any]:
    """Return the kinds of rows that no stream reads: those like calls or emails, and the number of all others."""
    alike = sorted((each for each in found if each["looks_like"]), key=lambda each: -each["count"])
    shown = alike[:UNREAD]
    return {"kinds": shown, "others": sum(each["count"] for each in found) - sum(each["count"] for each in shown)}


def _range(each: Document, times: Times) -> dict[str, Any]:
    return {
        "name": f"{each['source']} {each['stream']}", "since": stamp(each["since"], times),
        "until": stamp(each["until"], times), "why": facts.WHY[each["why"]], "share": each["share"],
        "error": each["last_error"], "next": stamp(each["next_attempt_at"], times),
    }  # fmt: skip


def _pass(each: Document, times: Times) -> dict[str, Any]:
    code = each["exit_code"]
    took = None
    if code is not None:
        took = (clock.instant(each["finished_at"]) - clock.instant(each["started_at"])).total_seconds()
    interrupted = "interrupted" if each["finished_at"] else "under way, or interrupted"
    known = next((text for known, text in ENDS.items() if known == code), f"exit code {code}")
    return {
        "started": stamp(each["started_at"], times), "took": took, "code": code,
        "end": interrupted if code is None else known,
        "level": "note" if code is None else "ok" if code in (0, Exit.SIGINT, Exit.SIGTERM) else "needs_you",
    }  # fmt: skip


__all__ = ["Facts", "Reading", "Stamp", "activity", "causes", "first_day", "freshness", "lateness", "page", "readings"]
