"""Decide when a condition is reported: once when it has lasted, and once when it is over. Pure.

    seen ──lasted `after`──► reported: "began" ──gone for `after`──► "over"
     │                          ▲      │
     └──gone: never reported    └──────┘ back sooner: nothing is said

All of it is one JSON value in the ledger, so a restart neither repeats nor loses a message. A message stays in it for
each address that has not taken it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from syncd import clock
from syncd.alerts.conditions import Condition, Memory, Seen, conditions
from syncd.config import AlertsConfig

MOST_MESSAGES = 100  # that wait for an address; then the oldest are dropped


@dataclass(frozen=True, slots=True)
class Episode:
    """A condition from its first sight to its end."""

    key: str
    name: str
    since: datetime
    reported: bool = False
    gone_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One text, and the addresses that have not taken it yet."""

    title: str
    body: str
    begins: bool  # or ends
    to: tuple[str, ...]  # digests of the references

    def taken_by(self, address: str) -> "Message":
        """Return the message without `address`."""
        return replace(self, to=tuple(each for each in self.to if each != address))


@dataclass(frozen=True, slots=True)
class State:
    """All that the alerts remember."""

    memory: Memory = field(default_factory=Memory)
    episodes: tuple[Episode, ...] = ()
    messages: tuple[Message, ...] = ()  # the oldest first
    failing: tuple[str, ...] = ()  # digests of the references whose failure the log has

    @classmethod
    def of(cls, kept: Any) -> "State":
        """Read what `to_json` wrote. Anything else is an empty state."""
        try:
            return _ADAPTER.validate_python(kept)
        except ValidationError:
            return cls()

    def to_json(self) -> Any:
        """Return a JSON value."""
        return _ADAPTER.dump_python(self, mode="json")

    def after(self, seen: Seen, limits: AlertsConfig, addresses: Iterable[str]) -> "State":
        """Return the state after one more look, with a message to all `addresses` for each beginning and end."""
        to = tuple(addresses)
        memory = self.memory.after(seen)
        found = {each.key: each for each in conditions(seen, memory, limits)}
        held = {each.key: each for each in self.episodes}
        steps = [_step(held.get(key), found.get(key), seen.now, limits.after, to) for key in {**held, **found}]
        episodes = tuple(episode for episode, _ in steps if episode)
        new = [message for _, message in steps if message]
        kept = (replace(each, to=tuple(address for address in each.to if address in to)) for each in self.messages)
        messages = [each for each in (*kept, *new) if each.to]
        failing = tuple(address for address in self.failing if address in to)
        return State(memory, episodes, tuple(messages[-MOST_MESSAGES:]), failing)

    def taken(self, message: Message, address: str) -> "State":
        """Return the state after `address` has taken `message`."""
        messages = (each.taken_by(address) if each == message else each for each in self.messages)
        return replace(self, messages=tuple(each for each in messages if each.to))


def _step(
    held: Episode | None, found: Condition | None, now: datetime, after: timedelta, to: tuple[str, ...]
) -> tuple[Episode | None, Message | None]:
    """Return the episode after a look, if it goes on, and the message that is due.

    A time ahead of `now` was seen by a wrong clock, and counts as now.
    """
    if found is not None:
        episode = Episode(found.key, found.name, now) if held is None else held
        episode = replace(episode, name=found.name, since=min(episode.since, now), gone_since=None)
        if episode.reported or now - episode.since < after:
            return episode, None
        return replace(episode, reported=True), _began(found, episode.since, to)
    if held is None or not held.reported:
        return None, None
    gone_since = min(held.gone_since or now, now)
    if now - gone_since < after:
        return replace(held, gone_since=gone_since), None
    return None, _over(held, gone_since, to)


def _began(found: Condition, since: datetime, to: tuple[str, ...]) -> Message:
    body = f"{found.text}.\nSince: {clock.text(since)}\nWhat to do: {found.remedy}."
    return Message(f"syncd: {found.name}", body, True, to)


def _over(episode: Episode, gone_since: datetime, to: tuple[str, ...]) -> Message:
    body = f"It lasted from {clock.text(episode.since)} to {clock.text(gone_since)}. There is nothing to do."
    return Message(f"syncd: over: {episode.name}", body, False, to)


_ADAPTER = TypeAdapter(State)

__all__ = ["Episode", "Message", "State"]
