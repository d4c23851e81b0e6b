"""Find the conditions that somebody should know of. Pure: all facts come as values.

A state of things (a key is refused) holds as long as it is seen. An event (something died, a flood) is over at once,
so it counts as a condition for a day after the last one of its kind. No condition is made for each item.

No text holds an address, an id, or the words of a CRM or of Recotap. `syncd status` shows those.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from syncd import clock
from syncd.config import AlertsConfig
from syncd.errors import Exit
from syncd.ledger import RECOTAP
from syncd.types import durations, sizes

EVENT_LASTS = timedelta(days=1)  # after the last event of its kind
MOST_KINDS = 1000  # of one source that are known; a CRM's rows have some dozens
STATUS = "`syncd status` shows the cause"


@dataclass(frozen=True, slots=True)
class Condition:
    """A state of syncd that needs somebody, or that somebody should know of."""

    key: str  # its kind, and the source if it is one of a source
    name: str  # in a few words
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Seen:
    """The facts of one look."""

    now: datetime
    status: Mapping[str, Any]  # the document of `syncd status --json`, at least the ledger's part
    not_fresh: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # source: the fact, the remedy
    read_at: Mapping[str, datetime] = field(default_factory=dict)  # source: when it was last read to its end
    unread: Mapping[str, Collection[str]] = field(default_factory=dict)  # source: digests of its kinds, once counted
    due_since: Mapping[int, datetime] = field(default_factory=dict)  # row: since when it is due
    free_bytes: int | None = None  # where the ledger is; None: that cannot be told
    failed: Mapping[str, int] = field(default_factory=dict)  # source, or RECOTAP: exit code, of passes since the last
    flooded: Collection[str] = ()  # sources, in passes since the last


@dataclass(frozen=True, slots=True)
class Event:
    """Something new, and when it was last seen."""

    at: datetime
    kinds: tuple[str, ...] = ()  # of rows: their digests


@dataclass(frozen=True, slots=True)
class Oldest:
    """The activity that is due for the longest time."""

    row: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Memory:
    """The facts that no single look shows."""

    dead: int | None = None  # activities in that state; None: never seen
    dead_before: int = 0  # before the last ones died
    died: Event | None = None
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # source: digests of the kinds that are known
    new_kinds: Mapping[str, Event] = field(default_factory=dict)
    floods: Mapping[str, Event] = field(default_factory=dict)
    refused: Mapping[str, datetime] = field(default_factory=dict)  # source: when its key was last refused
    oldest: Oldest | None = None

    def after(self, seen: Seen) -> "Memory":
        """Return the memory after one more look. Rows that a first look finds are not new."""
        dead = int(seen.status["activities"]["dead"])
        died, before = _ongoing(self.died, seen.now), self.dead_before
        if self.dead is not None and dead > self.dead:
            died, before = Event(seen.now), before if died else self.dead
        kinds = {**self.kinds, **{name: _known(self.kinds.get(name, ()), found) for name, found in seen.unread.items()}}
        return Memory(
            dead=dead,
            dead_before=before,
            died=died if dead > before else None,
            kinds=kinds,
            new_kinds=dict(self._new_kinds(seen)),
            floods=_events(self.floods, seen.flooded, seen.now),
            refused=self._refused(seen),
            oldest=self._oldest(seen.due_since),
        )

    def _new_kinds(self, seen: Seen) -> Iterator[tuple[str, Event]]:
        for source, found in seen.unread.items():
            event = _ongoing(self.new_kinds.get(source), seen.now)
            new = set(found) - set(self.kinds.get(source, found))
            left = new | ({*event.kinds} & {*found} if event else set())
            if left:
                yield source, Event(seen.now if new or event is None else event.at, tuple(sorted(left)))

    def _refused(self, seen: Seen) -> dict[str, datetime]:
        """A refusal lasts until the source was read to its end, or until it fails for another cause."""
        held = {
            name: at for name, at in self.refused.items()
            if name not in seen.failed and not (name in seen.read_at and seen.read_at[name] > at)
        }  # fmt: skip
        return held | {
            name: seen.now for name, code in seen.failed.items() if code == Exit.UNAUTHORIZED and name != RECOTAP
        }

    def _oldest(self, due_since: Mapping[int, datetime]) -> Oldest | None:
        """Return the row that is due for the longest time. The ledger forgets a row's first attempts, so the time that
        was seen first counts.
        """
        known = self.oldest
        ages = [
            Oldest(row, min(known.since, at) if known and known.row == row else at) for row, at in due_since.items()
        ]
        return min(ages, key=lambda each: (each.since, each.row), default=None)


def conditions(seen: Seen, memory: Memory, limits: AlertsConfig) -> Iterator[Condition]:
    """Yield the conditions that hold. `memory`: after this look. One cause makes one condition."""
    yield from _states(seen, memory)
    yield from _measures(seen, memory, limits)
    yield from _events_of(seen, memory)


def _states(seen: Seen, memory: Memory) -> Iterator[Condition]:
    status = seen.status
    if status["recotap"]["key_refused"]:
        yield _refused_key("recotap", "Recotap")
    for name in memory.refused:
        yield _refused_key(name, name)
    for name, pause in status["pauses"].items():
        shown = "recotap" if name == RECOTAP else name
        remedy = f"nothing, it goes on by itself. `syncd status` shows the cause. If it is gone: `syncd resume {shown}`"
        yield Condition(f"pause:{name}", f"{shown} pauses", f"{shown} pauses until {pause['until']}", remedy)
    for name, (text, remedy) in seen.not_fresh.items():
        if name not in memory.refused and name not in status["pauses"]:
            yield Condition(f"fresh:{name}", f"{name} is not fresh", text, remedy)
    gaps = [each["source"] for each in status["ranges"] if each["why"] == "gap"]
    for name in dict.fromkeys(gaps):
        text = f"{name} does not serve {_many(gaps.count(name), 'span')} of modification time"
        remedy = "nothing, they are tried again. If it lasts, ask the CRM's support: `syncd status` names the times"
        yield Condition(f"gap:{name}", f"{name} has a gap", text, remedy)
    if not status["balanced"]:
        remedy = "restore a backup, or let `syncd verify --repair` book the rows again"
        yield Condition("books", "the books do not balance", "rows were removed from the ledger by hand", remedy)
    if not status["clock_confirmed"]:
        text = "no server confirms this machine's clock. Until one does, nothing dies, and nothing settles"
        yield Condition("clock", "the clock is wrong", text, "`syncd check` compares all clocks")


def _refused_key(source: str, shown: str) -> Condition:
    remedy = "`syncd check` names the remedy. syncd uses a new key within seconds"
    text = f"{shown} refuses syncd's credentials, or a scope is missing"
    return Condition(f"key:{source}", f"{shown} refuses the key", text, remedy)


def _measures(seen: Seen, memory: Memory, limits: AlertsConfig) -> Iterator[Condition]:
    oldest = memory.oldest
    if oldest and seen.now - oldest.since > limits.backlog:
        text = (
            f"an activity has been due since {clock.text(oldest.since)}, longer than {durations.show(limits.backlog)}. "
            f"{_many(seen.status['pending']['due'], 'activity', 'activities')} in all can be sent"
        )
        yield Condition("backlog", "activities are not sent", text, f"{STATUS}, `syncd check` tries Recotap")
    if seen.free_bytes is not None and seen.free_bytes < limits.disk_free:
        text = (
            f"{seen.free_bytes / 10**9:.2f} GB are free on the ledger's disk, less than {sizes.show(limits.disk_free)}"
        )
        yield Condition("disk", "the disk is nearly full", text, "make room: a full disk stops all passes")


def _events_of(seen: Seen, memory: Memory) -> Iterator[Condition]:
    if memory.died is not None:
        count = int(seen.status["activities"]["dead"]) - memory.dead_before
        text = f"{_many(count, 'activity was', 'activities were')} given up"
        remedy = "`syncd failures` groups them by cause. Once it is gone, `syncd retry --state dead` tries them again"
        yield Condition("died", "something died", text, remedy)
    for name, event in memory.new_kinds.items():
        text = (
            f"{name} has {_many(len(event.kinds), 'new kind')} of rows that look like calls or emails and are not read"
        )
        remedy = "`syncd scope` shows them. Extend `match` if they are calls or emails"
        yield Condition(f"kind:{name}", f"{name} has rows of a new kind", text, remedy)
    for name in memory.floods:
        text = f"{name} brought far more activities from before its `start` than usual. All of them are sent"
        remedy = "if a tool imports old mail, set `rules.not_before`: Recotap takes nothing back"
        yield Condition(f"flood:{name}", f"{name} brings a flood", text, remedy)


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


def _known(before: Collection[str], found: Collection[str]) -> tuple[str, ...]:
    """Return the kinds that are known from now on. A kind that comes back is not new."""
    return tuple(dict.fromkeys((*sorted(found), *before)))[:MOST_KINDS]


def _ongoing(event: Event | None, now: datetime) -> Event | None:
    """Return the event unless it is over. One of the future was seen by a wrong clock, and counts from now."""
    if event is None or now - event.at >= EVENT_LASTS:
        return None
    return replace(event, at=min(event.at, now))


def _events(before: Mapping[str, Event], new: Collection[str], now: datetime) -> dict[str, Event]:
    held = {name: event for name, each in before.items() if (event := _ongoing(each, now))}
    return held | {name: Event(now) for name in new}


__all__ = ["Condition", "Event", "Memory", "Oldest", "Seen", "conditions"]
