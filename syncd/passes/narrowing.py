"""Compare the settings that narrow a source's streams with those of earlier passes. Only `kept_of` and `keep` do IO.

A setting that the file does not name stays as the ledger keeps it. If one that it names admits more than before, the
records behind the watermark were not read under it: they are reported, with the span that reads them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from syncd import clock
from syncd.connector import Source
from syncd.ledger import Ledger, LedgerReader, StreamState

REPORTED_FOR = timedelta(days=30)  # in `syncd check`, after the change
UNREAD, READ = "unread", "read"  # keys of a kept rule beside those of the connector

Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Unread:
    """Records of a stream that an earlier rule left out and the present one would read."""

    stream: str
    since: datetime  # of modification time, both ends inclusive
    until: datetime
    changed_at: datetime  # when the rule changed, by the local clock

    def told(self) -> str:
        """Return the message."""
        return (
            f"{self.stream} modified from {clock.text(self.since)} to {clock.text(self.until)} were not read under the "
            "present rule"
        )

    def remedy(self, source: str) -> str:
        """Return the command that reads them."""
        return f"`syncd backfill --since {clock.text(self.since)} --until {clock.text(self.until)} --source {source}`"


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A source as a pass reads it."""

    source: Source
    rules: Mapping[str, Rule]  # to keep, by stream
    news: tuple[Unread, ...]  # since the last pass
    unread: tuple[Unread, ...]  # these, and those of the last passes
    stays: tuple[str, ...] = ()  # streams whose rule is the ledger's and not the default, because the file names none


@dataclass(frozen=True, slots=True)
class Kept:
    """A ledger's knowledge of a source's streams."""

    states: Mapping[str, StreamState]
    rules: Mapping[str, Rule]
    store: Mapping[str, Any]  # the connector's own values, by key


def kept_of(glance: LedgerReader | None, source: Source) -> Kept:
    """Return the ledger's knowledge of a source. It is empty if there is no ledger yet."""
    if glance is None:
        return Kept({}, {}, {})
    names = [stream.name for stream in source.connector.streams]
    return Kept(
        {name: glance.stream(source.name, name) for name in names},
        glance.rules_of(source.name),
        {key: value for key, (value, _) in glance.store(source.name).items()},
    )


def narrowed(source: Source, kept: Kept, now: datetime) -> Narrowed:
    """Return `source` with the settings that its file does not name, and the rules for its ledger."""
    before = _before(source, kept)
    config = source.config.keeping(before)
    present = config.narrowing()
    rules = {
        name: {**rule, READ: False} for name, rule in before.items()
        if name not in present and (name in kept.rules or kept.states[name].watermark is not None)
    }  # fmt: skip
    news, unread = [], []
    for name, rule in present.items():
        found = _unread(name, before.get(name), rule, kept.states.get(name, StreamState()), config.start, now)
        news += [found] if found else []
        found = found or _kept_unread(name, before.get(name, {}), rule)
        unread += [found] if found and now - found.changed_at <= REPORTED_FOR else []
        rules[name] = {**rule, UNREAD: _packed(found)} if found else rule
    default = source.config.narrowing()
    stays = tuple(name for name in {**default, **present} if default.get(name) != present.get(name))
    return Narrowed(replace(source, config=config), rules, tuple(news), tuple(unread), stays)


def keep(ledger: Ledger, source: Source, now: datetime) -> Narrowed:
    """Return `source` with the settings that its file does not name, and keep all that narrow its streams."""
    kept = kept_of(ledger, source)
    found = narrowed(source, kept, now)
    with ledger.transaction():
        for stream in found.source.streams:
            ledger.stream_id(source.name, stream.name)
        for name, rule in found.rules.items():
            if rule != kept.rules.get(name):
                ledger.note_rule(ledger.stream_id(source.name, name), rule)
    return found


def _before(source: Source, kept: Kept) -> dict[str, Rule]:
    """Return the rules of the last pass. A ledger that kept none yet was filled under those of older versions."""
    if kept.rules:
        return dict(kept.rules)
    older = source.config.narrowing_before(kept.store)
    filled = {name for name, state in kept.states.items() if state.watermark is not None}
    return {name: rule for name, rule in older.items() if filled and (name in filled or rule.get(READ) is False)}


def _unread(
    name: str, before: Rule | None, rule: Rule, state: StreamState, start: datetime, now: datetime
) -> Unread | None:  # fmt: skip
    """Return the records that a changed rule leaves unread, or None. Without a watermark all are read."""
    if before is None or state.watermark is None or not widens(before, rule):
        return None
    return Unread(name, state.start or start, state.watermark, now)


def widens(before: Rule, rule: Rule) -> bool:
    """Tell whether `rule` may admit a record that `before` did not. No `match` admits all."""
    entries, old = rule.get("match") or [], before.get("match") or []
    others = {key for key in rule.keys() - {"match", READ, UNREAD} if rule[key] != before.get(key)}
    more = any(entry not in old for entry in entries) if entries else True
    return bool(others) or (bool(old) and more)


def _packed(unread: Unread) -> dict[str, str]:
    return {key: clock.text(at) for key, at in _times(unread)}


def _times(unread: Unread) -> Iterable[tuple[str, datetime]]:
    return (("since", unread.since), ("until", unread.until), ("changed_at", unread.changed_at))


def _kept_unread(name: str, before: Rule, rule: Rule) -> Unread | None:
    """Return the records that an earlier change left unread, if the rule is still the same."""
    kept = before.get(UNREAD)
    if not isinstance(kept, dict) or {**before, UNREAD: None} != {**rule, UNREAD: None}:
        return None
    return Unread(name, **{key: clock.instant(at) for key, at in kept.items()})


__all__ = ["Kept", "Narrowed", "Unread", "keep", "kept_of", "narrowed", "widens"]
