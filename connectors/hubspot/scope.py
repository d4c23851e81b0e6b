"""Count the portal's calls and emails by the properties that distinguish kinds.

    one search for each object: its total, and the latest 200 rows
      └─► all rows are among them: they are counted here
          otherwise: one search for the total of each kind that these rows show, then of kinds with other values

HubSpot has no aggregate queries, and a search's `total` counts beyond 10,000 rows. A report costs at most 40 searches.
Only values of the properties below are kept. Subjects, names and addresses are not.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors.hubspot.client import Client
from connectors.hubspot.config import HubSpotStream
from connectors.hubspot.mapping import is_draft
from connectors.hubspot.retry import CHANGED
from connectors.hubspot.search import LIMIT, TIME, search_body
from connectors.hubspot.tally import FROM, Tallies, sender_domain
from syncd.activity import Kind
from syncd.connector import RowKind, Scope
from syncd.errors import Malformed
from syncd.fields import count, dig, parse_text, to_ms
from syncd.types.conditions import Entry, fields_of

SEARCHES_MOST = 40  # of one report
DISTINGUISHED = {
    "calls": ("hs_call_status", "hs_object_source"),
    "emails": ("hs_email_direction", "hs_email_status", "hs_object_source"),
}
KINDS: Mapping[str, Kind] = {"calls": "call", "emails": "email"}
# Objects that syncd does not read: SMS, WhatsApp and LinkedIn messages, and meetings, among them recordings of calls.
BESIDE = {"communications": ("hs_communication_channel_type",), "meetings": ("hs_object_source",)}
OTHER = "other"  # the value of each property of the rows without a count of their own

Values = tuple[str | None, ...]  # of the distinguishing properties of an object. None: empty


def scope(
    client: Client, rules: Mapping[str, HubSpotStream], tallies: Tallies, *, since: datetime, until: datetime
) -> Scope:
    """Return the rows modified from `since` to `until` by kind."""
    searches = Searches(client, since=since, until=until)
    kinds: list[RowKind] = []
    for place, (name, rule) in enumerate(rules.items()):
        reserved = len(BESIDE) + (len(rules) - place - 1) * (SEARCHES_MOST // 2 - 1)
        kinds += _kinds(searches, name, rule, tallies, reserved=reserved)
    for name, names in BESIDE.items():
        kinds += _beside(searches, name, names)
    return Scope(kinds, senders=tallies.senders(since) or searches.senders)


@dataclass
class Searches:
    """The searches of one report."""

    client: Client
    since: datetime
    until: datetime
    left: int = SEARCHES_MOST
    senders: Counter[str] = field(default_factory=Counter)  # of the sample, by domain: enough for a first report

    def ask(
        self, object_type: str, filters: Sequence[Mapping[str, Any]], names: Sequence[str], *, limit: int = 1,
        tolerant: bool = False,
    ) -> tuple[int, list[Values]]:  # fmt: skip
        """Return the number of rows that fulfil `filters`, and up to `limit` of them with the values of `names`.

        `tolerant`: a search that the portal refuses finds nothing.
        """
        self.left -= 1
        within = {"propertyName": TIME, "operator": "BETWEEN", "value": str(to_ms(self.since)),
                  "highValue": str(to_ms(self.until))}  # fmt: skip
        body = search_body([within, *filters], TIME, limit, names, direction="DESCENDING")
        answer = self.client.search(object_type, body, tolerant=tolerant)
        if answer is None:
            return 0, []
        total = count(answer.get("total"))
        if total is None:
            raise Malformed(f"HubSpot, {object_type} search: no total", hint=CHANGED)
        return total, [tuple(parse_text(dig(row, "properties", name)) for name in names) for row in answer["results"]]


def _kinds(searches: Searches, name: str, rule: HubSpotStream, tallies: Tallies, *, reserved: int) -> Iterator[RowKind]:
    names = DISTINGUISHED[name]
    asked = tuple(dict.fromkeys((*names, *fields_of(rule.match), *((FROM,) if name == "emails" else ()))))
    total, rows = searches.ask(name, (), asked, limit=LIMIT if rule.read else 1)
    searches.senders.update(filter(None, (sender_domain(dict(zip(asked, row, strict=True))) for row in rows)))
    if not rule.read:
        yield from [RowKind(name, {}, total, None)] if total else []
    elif total <= len(rows):
        yield from _counted_here(name, rule, asked, rows)
    else:
        counts = dict(_counts(searches, name, total, [row[: len(names)] for row in rows], reserved=reserved))
        left_out = tallies.left_out(name, searches.since)
        for values, number in counts.items():
            yield from _judged(name, rule, values, number, left_out.get(values, 0))


def _counted_here(name: str, rule: HubSpotStream, asked: Sequence[str], rows: Sequence[Values]) -> Iterator[RowKind]:
    """Yield the kinds of rows that are all known."""
    names, found = DISTINGUISHED[name], Counter[tuple[Values, bool]]()
    for row in rows:
        properties = dict(zip(asked, row, strict=True))
        found[row[: len(names)], not is_draft(properties) and rule.admits(properties.get)] += 1
    for (values, is_read), number in found.items():
        yield RowKind(name, dict(zip(names, values, strict=True)), number, KINDS[name] if is_read else None)


def _judged(name: str, rule: HubSpotStream, values: Values, number: int, left_out: int) -> Iterator[RowKind]:
    """Yield the kinds of rows of which only these values are known. `left_out` of them are known not to be read."""
    fields = dict(zip(DISTINGUISHED[name], values, strict=True))
    may, must = may_admit(rule.match, fields)
    if is_draft(fields) or not may:
        yield RowKind(name, fields, number, None, approximate=OTHER in values)
        return
    left_out = 0 if must else min(left_out, number)
    approximate = not must or OTHER in values
    if number > left_out:
        yield RowKind(name, fields, number - left_out, KINDS[name], approximate)
    if left_out:
        yield RowKind(name, fields, left_out, None, approximate)


def may_admit(match: Sequence[Entry], known: Mapping[str, str | None]) -> tuple[bool, bool]:
    """Tell whether `match` may admit a record of which only some fields are known, and whether it must."""
    if not match:
        return True, True
    possible = [
        entry
        for entry in match
        if all(each.field not in known or known[each.field] == OTHER or each.holds(known[each.field])
               for each in entry.conditions)
    ]  # fmt: skip
    must = any(all(name in known and known[name] != OTHER for name in entry.fields) for entry in possible)
    return bool(possible), must


def _counts(
    searches: Searches, name: str, total: int, rows: Sequence[Values], *, reserved: int
) -> Iterator[tuple[Values, int]]:
    """Yield the number of rows of each kind, the frequent ones first, and the rest as OTHER. They add up to `total`."""
    names, rest = DISTINGUISHED[name], total
    waiting, seen = Counter(rows), set(rows)
    open_names = [*names]  # properties that may have further values
    while rest > 0 and searches.left > reserved:
        if waiting:
            ((values, _),) = waiting.most_common(1)
            del waiting[values]
            number, _ = searches.ask(name, [_is(each, value) for each, value in zip(names, values, strict=True)], ())
            number = min(number, rest)
            rest -= number
            yield values, number
        elif open_names:
            known = {row[names.index(open_names[0])] for row in seen} - {None}
            _, more = searches.ask(name, [_is_none_of(open_names[0], known)], names, limit=LIMIT, tolerant=True)
            fresh = [row for row in more if row not in seen]
            waiting, seen = Counter(fresh), seen | {*fresh}
            if not fresh:
                del open_names[0]
        else:
            break
    if rest > 0:
        yield (OTHER,) * len(names), rest


def _beside(searches: Searches, name: str, names: Sequence[str]) -> list[RowKind]:
    total, rows = searches.ask(name, (), names, limit=LIMIT, tolerant=True)
    if total > len(rows):
        return [RowKind(name, {}, total, None)]
    return [RowKind(name, dict(zip(names, row, strict=True)), number, None) for row, number in Counter(rows).items()]


def _is(name: str, value: str | None) -> dict[str, Any]:
    if value is None:
        return {"propertyName": name, "operator": "NOT_HAS_PROPERTY"}
    return {"propertyName": name, "operator": "EQ", "value": value}


def _is_none_of(name: str, values: Any) -> dict[str, Any]:
    if not values:
        return {"propertyName": name, "operator": "HAS_PROPERTY"}
    return {"propertyName": name, "operator": "NOT_IN", "values": sorted(values)}


__all__ = ["SEARCHES_MOST", "may_admit", "scope"]
