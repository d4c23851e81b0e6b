"""Which conditions hold, and when each is reported: pure functions of what was seen."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd import clock
from syncd.alerts.conditions import Memory, Seen, conditions
from syncd.alerts.state import MOST_MESSAGES, Episode, Message, State
from syncd.config import AlertsConfig
from syncd.errors import Exit
from syncd.ledger import RECOTAP

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LIMITS = AlertsConfig()
TO = ("first", "second")


def status(**changes: Any) -> dict[str, Any]:
    """Return the part of a healthy ledger's document that conditions depend on."""
    healthy = {
        "activities": {"dead": 3}, "pending": {"due": 0}, "recotap": {"key_refused": False}, "pauses": {},
        "ranges": [], "balanced": True, "clock_confirmed": True,
    }  # fmt: skip
    return {**healthy, **changes}


def at(after: timedelta = timedelta(0), **seen: Any) -> Seen:
    return Seen(**{"now": NOW + after, "status": status(), "free_bytes": 10**10, **seen})


def keys(seen: Seen, memory: Memory | None = None) -> list[str]:
    """Return the conditions of a look. Without `memory`, it is the second look."""
    memory = Memory(dead=3) if memory is None else memory
    return [each.key for each in conditions(seen, memory.after(seen), LIMITS)]


def test_of_a_healthy_syncd_no_condition_holds() -> None:
    assert keys(at()) == []
    assert keys(at(), Memory()) == []


PAUSE = {"hubspot": {"until": "2026-11-29T00:00:00.000Z", "reason": "the daily quota of ada@canary.com is used up"}}
GAPS = [{"source": "hubspot", "why": "gap", "last_error": "ada@canary.com"}] * 2 + [{"source": "x", "why": "start"}]
HOLDING = {
    "fresh:hubspot": at(not_fresh={"hubspot": ("hubspot was last read to its end long ago", "`syncd status`")}),
    "key:recotap": at(status=status(recotap={"key_refused": True})),
    "key:hubspot": at(failed={"hubspot": Exit.UNAUTHORIZED}),
    "books": at(status=status(balanced=False)),
    "died": at(status=status(activities={"dead": 5})),
    "backlog": at(status=status(pending={"due": 2}), due_since={1: NOW - 7 * HOUR, 2: NOW}),
    "pause:hubspot": at(status=status(pauses=PAUSE)),
    "gap:hubspot": at(status=status(ranges=GAPS)),
    "disk": at(free_bytes=10**9 - 1),
    "clock": at(status=status(clock_confirmed=False)),
    "kind:hubspot": at(unread={"hubspot": ["a", "b"]}),
    "flood:hubspot": at(flooded=["hubspot"]),
}


REMEDIES = {
    "fresh:hubspot": "`syncd status`",
    "key:recotap": "syncd uses a new key within seconds",
    "key:hubspot": "`syncd check` names the remedy",
    "books": "let `syncd verify --repair` book the rows again",
    "died": "`syncd retry --state dead` tries them again",
    "backlog": ", `syncd check` tries Recotap",
    "pause:hubspot": "`syncd status` shows the cause. If it is gone: `syncd resume hubspot`",
    "gap:hubspot": "nothing, they are tried again. If it lasts, ask the CRM's support",
    "disk": "make room: a full disk stops all passes",
    "clock": "`syncd check` compares all clocks",
    "kind:hubspot": "`syncd scope` shows them. Extend `match`",
    "flood:hubspot": "set `rules.not_before`: Recotap takes nothing back",
}


@pytest.mark.parametrize("key", HOLDING)
def test_each_condition_holds_alone_says_how_to_respond_and_repeats_no_words_of_others(key: str) -> None:
    seen, memory = HOLDING[key], Memory(dead=3, kinds={"hubspot": ("a",)})
    (found,) = conditions(seen, memory.after(seen), LIMITS)
    assert found.key == key
    assert REMEDIES[key] in found.remedy
    assert "canary" not in f"{found}"
    whole = status(pauses=PAUSE, ranges=GAPS, balanced=False)
    assert keys(replace(seen, status=whole if key == "books" else seen.status), memory)


@pytest.mark.parametrize(
    "seen",
    [
        at(free_bytes=None),
        at(free_bytes=10**9),
        at(due_since={1: NOW - 6 * HOUR}),
        at(status=status(ranges=[{"source": "x", "why": "start"}])),
        at(failed={"hubspot": Exit.UNAVAILABLE, RECOTAP: Exit.UNAUTHORIZED}),
        at(status=status(activities={"dead": 2})),
    ],
)
def test_at_a_limit_and_for_other_causes_none_holds(seen: Seen) -> None:
    assert keys(seen) == []


def test_a_pause_or_a_refused_key_explains_why_a_source_is_not_fresh() -> None:
    stale = {"hubspot": ("old", "wait")}
    assert keys(at(not_fresh=stale, status=status(pauses=PAUSE))) == ["pause:hubspot"]
    assert keys(at(not_fresh=stale, failed={"hubspot": Exit.UNAUTHORIZED})) == ["key:hubspot"]


def test_a_refused_key_stays_until_the_source_is_read_or_fails_otherwise() -> None:
    memory = Memory().after(at(failed={"hubspot": Exit.UNAUTHORIZED}))
    assert keys(at(5 * MINUTE), memory) == ["key:hubspot"]
    assert keys(at(5 * MINUTE, read_at={"hubspot": NOW - MINUTE}), memory) == ["key:hubspot"]
    assert keys(at(5 * MINUTE, read_at={"hubspot": NOW + MINUTE}), memory) == []
    assert keys(at(5 * MINUTE, failed={"hubspot": Exit.UNAVAILABLE}), memory) == []


def test_something_died_is_one_condition_until_nothing_more_died_for_a_day_or_all_were_retried() -> None:
    memory = Memory().after(at())
    for hours, dead in ((1, 4), (13, 9), (36, 9)):
        memory = memory.after(at(hours * HOUR, status=status(activities={"dead": dead})))
        assert memory.died, hours
    seen = at(36 * HOUR, status=status(activities={"dead": 9}))
    (found,) = conditions(seen, memory, LIMITS)
    assert "6 activities were given up" in found.text, "all of this day, not those of before"
    assert keys(at(37 * HOUR, status=status(activities={"dead": 9})), memory) == []
    assert keys(at(20 * HOUR, status=status(activities={"dead": 3})), memory) == []
    over = memory.after(at(40 * HOUR, status=status(activities={"dead": 9})))
    assert keys(at(41 * HOUR, status=status(activities={"dead": 10})), over) == ["died"]


def test_a_kind_is_new_once_and_the_first_count_of_a_source_brings_none() -> None:
    memory = Memory().after(at(unread={"hubspot": ["a"]}))
    assert keys(at(unread={"hubspot": ["a"]}), memory) == []
    memory = memory.after(at(HOUR, unread={"hubspot": ["a", "b"], "other": ["c"]}))
    assert keys(at(2 * HOUR, unread={"hubspot": ["b"]}), memory) == ["kind:hubspot"]
    assert keys(at(2 * HOUR, unread={"hubspot": ["a"]}), memory) == [], "it is read by now, or gone"
    assert keys(at(26 * HOUR, unread={"hubspot": ["a", "b"]}), memory) == []
    gone = memory.after(at(27 * HOUR, unread={"hubspot": []}))
    assert keys(at(28 * HOUR, unread={"hubspot": ["a", "b"]}), gone) == [], "it came back, and is known"


def test_a_flood_lasts_for_a_day_after_the_last_pass_that_brought_it() -> None:
    memory = Memory().after(at(flooded=["hubspot"])).after(at(20 * HOUR, flooded=["hubspot"]))
    assert keys(at(43 * HOUR), memory) == ["flood:hubspot"]
    assert keys(at(44 * HOUR), memory) == []


def test_the_backlog_counts_from_the_first_sight_though_the_ledger_forgets_early_attempts() -> None:
    memory = Memory().after(at(due_since={7: NOW, 8: NOW + HOUR}))
    forgotten = {7: NOW + 5 * HOUR, 8: NOW + HOUR}
    memory = memory.after(at(6 * HOUR + MINUTE, due_since=forgotten))
    assert memory.oldest is not None
    assert (memory.oldest.row, memory.oldest.since) == (7, NOW)
    assert keys(at(6 * HOUR + MINUTE, due_since=forgotten), memory) == ["backlog"]
    assert keys(at(6 * HOUR + MINUTE, due_since={8: NOW + HOUR}), memory) == [], "7 was sent"


# -- when it is reported ---------------------------------------------------------------------

BAD: dict[str, Any] = {"status": status(balanced=False)}
WELL: dict[str, Any] = {"status": status()}


def titles(looks: Iterable[tuple[float, dict[str, Any]]], *, restarts: bool = True) -> list[tuple[float, str]]:
    """Return (minute, title) of each message of looks at these minutes, with a restart between any two."""
    state, found = State(), []
    for minute, seen in looks:
        before = len(state.messages)
        state = state.after(at(minute * MINUTE, **seen), LIMITS, TO)
        found += [(minute, each.title) for each in state.messages[before:]]
        if restarts:
            state = State.of(json.loads(json.dumps(state.to_json())))
    return found


BEGAN, OVER = "syncd: the books do not balance", "syncd: over: the books do not balance"


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([(0, BAD), (9, BAD)], []),
        ([(0, BAD), (10, BAD), (11, BAD), (300, BAD)], [(10, BEGAN)]),
        ([(0, BAD), (9, WELL), (10, BAD), (19, BAD)], []),
        ([(0, BAD), (10, BAD), (20, WELL), (29, WELL)], [(10, BEGAN)]),
        ([(0, BAD), (10, BAD), (20, WELL), (30, WELL), (50, WELL)], [(10, BEGAN), (30, OVER)]),
        ([(0, BAD), (10, BAD), (20, WELL), (29, BAD), (38, WELL), (47, BAD), (60, BAD)], [(10, BEGAN)]),
        ([(0, BAD), (10, BAD), (20, WELL), (30, WELL), (31, BAD), (41, BAD)], [(10, BEGAN), (30, OVER), (41, BEGAN)]),
    ],
)
def test_a_condition_is_reported_once_when_it_has_lasted_and_once_when_it_is_over(
    looks: Sequence[tuple[float, dict[str, Any]]], expected: list[tuple[float, str]], restarts: bool
) -> None:
    assert titles(looks, restarts=restarts) == expected


def test_each_source_has_its_own_condition_and_the_text_says_since_when_and_what_to_do() -> None:
    stale = {name: (f"{name} is old", "look") for name in ("one", "two")}
    state = State().after(at(not_fresh={"one": stale["one"]}), LIMITS, TO)
    state = state.after(at(5 * MINUTE, not_fresh=stale), LIMITS, TO).after(at(12 * MINUTE, not_fresh=stale), LIMITS, TO)
    (first,) = state.messages
    since = clock.text(NOW)
    assert first == Message("syncd: one is not fresh", f"one is old.\nSince: {since}\nWhat to do: look.", True, TO)
    state = state.after(at(15 * MINUTE, not_fresh=stale), LIMITS, TO)
    assert [each.title for each in state.messages[1:]] == ["syncd: two is not fresh"]


def test_without_a_delay_it_is_reported_at_once() -> None:
    limits = LIMITS.model_copy(update={"after": timedelta(0)})
    state = State().after(at(**BAD), limits, TO)
    assert [each.title for each in state.messages] == [BEGAN]
    assert [each.title for each in state.after(at(MINUTE), limits, TO).messages] == [BEGAN, OVER]


def test_a_clock_that_was_ahead_delays_a_report_by_no_more_than_the_delay() -> None:
    state = State().after(at(400 * DAY, **BAD), LIMITS, TO)
    state = state.after(at(**BAD), LIMITS, TO).after(at(10 * MINUTE, **BAD), LIMITS, TO)
    assert [each.title for each in state.messages] == [BEGAN]
    memory = Memory(dead=1).after(at(400 * DAY)).after(at(HOUR))
    assert keys(at(24 * HOUR), memory) == ["died"]
    assert keys(at(25 * HOUR), memory) == []


def test_a_message_waits_for_each_address_alone_and_a_removed_address_gets_none() -> None:
    limits = LIMITS.model_copy(update={"after": timedelta(0)})
    state = State().after(at(**BAD), limits, TO)
    (message,) = state.messages
    state = state.taken(message, "first")
    assert [each.to for each in state.messages] == [("second",)]
    assert state.taken(state.messages[0], "second").messages == ()
    assert state.after(at(MINUTE, **BAD), limits, ["first"]).messages == ()
    later = state.after(at(MINUTE), limits, ["second", "third"])
    assert [each.to for each in later.messages] == [("second",), ("second", "third")]


def test_messages_that_wait_are_bounded_and_the_newest_stay() -> None:
    limits = LIMITS.model_copy(update={"after": timedelta(0)})
    state = State()
    for minute in range(MOST_MESSAGES + 20):
        state = state.after(at(minute * MINUTE, **(BAD, WELL)[minute % 2]), limits, TO)
    assert len(state.messages) == MOST_MESSAGES
    assert clock.text(NOW + (MOST_MESSAGES + 19) * MINUTE) in state.messages[-1].body


@pytest.mark.parametrize("kept", [None, 7, {"episodes": 3}, {"memory": {"dead": "many"}}])
def test_what_is_no_state_counts_as_none(kept: Any) -> None:
    assert State.of(kept) == State()


def test_the_state_survives_json_whole() -> None:
    seen = at(
        status=status(activities={"dead": 9}, pauses=PAUSE), failed={"hubspot": Exit.UNAUTHORIZED}, flooded=["hubspot"],
        unread={"hubspot": ["a", "b"]}, due_since={7: NOW - 8 * HOUR},
    )  # fmt: skip
    state = State(Memory(dead=3, kinds={"hubspot": ("a",)}), (Episode("books", "x", NOW, True, NOW),))
    state = state.after(seen, LIMITS.model_copy(update={"after": timedelta(0)}), TO)
    assert len(state.messages) == 7
    assert State.of(json.loads(json.dumps(state.to_json()))) == state
