"""Count on the pages that a pass reads anyway: senders of outbound emails by domain, and rows that `match` leaves out.

Kept in the store by day of modification. A record that is read again in the overlap counts once. It holds counts,
domains and values of enumerations, and no subject, name or address.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from connectors.hubspot.config import HubSpotStream
from connectors.hubspot.people import headers_of, sender
from syncd.connector import Ref, Store
from syncd.fields import parse_text, to_ms

KEY = "tally"  # and a stream
DAYS = 31
MOST = 40  # entries of one day, the most frequent
IN_MEMORY = 4 * DAYS * MOST  # entries of one pass, so that a first import over years takes no more
VALUE_MOST = 60  # characters
OUTBOUND, FROM = "EMAIL", "hs_email_from_email"
DOMAIN = re.compile(r"[a-z0-9.-]{1,253}")

Row = Mapping[str, Any]
Values = tuple[str | None, ...]


class Tallies:
    """The counts of one source."""

    def __init__(
        self, store: Store, rules: Mapping[str, HubSpotStream], distinguished: Mapping[str, Sequence[str]]
    ) -> None:
        """`distinguished`: by stream, the properties by which the rows that `match` leaves out are counted."""
        self._store = store
        self._rules = rules
        self._distinguished = distinguished
        self._new: dict[str, Counter[tuple[str, str]]] = {}  # by stream: of a day and an entry
        self._until: dict[str, int] = {}  # by stream: the greatest modification time counted in this pass, ms

    def note(self, stream: str, rows: Iterable[tuple[Ref, Row]]) -> None:
        """Count the rows of one page of a window."""
        rule = self._rules[stream]
        if not rule.match and stream != "emails":
            return
        before = (self._store.get(f"{KEY}.{stream}") or {}).get("until", 0)
        found = self._new.setdefault(stream, Counter())
        for ref, row in rows:
            entry = self._entry(stream, rule, row.get("properties"))
            if entry and (at := to_ms(ref.modified_at)) > before:
                self._until[stream] = max(self._until.get(stream, before), at)
                found[ref.modified_at.date().isoformat(), entry] += 1
        if len(found) > IN_MEMORY:
            self._new[stream] = Counter(dict(_entries(_newest(_by_day(found)))))

    def _entry(self, stream: str, rule: HubSpotStream, properties: Any) -> str | None:
        """Return the entry of a row: a domain, or = and its values if `match` leaves it out."""
        if not isinstance(properties, dict):
            return None
        if rule.match and not rule.admits(properties.get):
            values = (parse_text(properties.get(name)) or "" for name in self._distinguished[stream])
            return "".join(f"={value[:VALUE_MOST].replace('=', '')}" for value in values)
        return sender_domain(properties)

    def keep(self, stream: str) -> None:
        """Put the counts of this pass into the store."""
        found = self._new.pop(stream, None)
        if not found:
            return
        kept = self._store.get(f"{KEY}.{stream}") or {}
        days = _by_day(found)
        for day, entries in kept.get("days", {}).items():
            days.setdefault(day, Counter()).update(entries)
        self._store.put(f"{KEY}.{stream}", {"until": self._until[stream], "days": _newest(days)})

    def senders(self, since: datetime) -> dict[str, int]:
        """Return the number of outbound emails by the domain of the sender."""
        return {entry: number for entry, number in self._since("emails", since).items() if not entry.startswith("=")}

    def left_out(self, stream: str, since: datetime) -> dict[Values, int]:
        """Return the number of rows that `match` leaves out, by the values that distinguish kinds."""
        found = {entry: number for entry, number in self._since(stream, since).items() if entry.startswith("=")}
        return {tuple(value or None for value in entry[1:].split("=")): number for entry, number in found.items()}

    def _since(self, stream: str, since: datetime) -> Counter[str]:
        kept, first = self._store.get(f"{KEY}.{stream}") or {}, since.date().isoformat()
        found: Counter[str] = Counter()
        for day, entries in kept.get("days", {}).items():
            if day >= first:
                found.update(entries)
        return found


def _by_day(found: Mapping[tuple[str, str], int]) -> dict[str, Counter[str]]:
    days: dict[str, Counter[str]] = {}
    for (day, entry), number in found.items():
        days.setdefault(day, Counter())[entry] += number
    return days


def _newest(days: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    """Return the last DAYS days, each with its most frequent entries."""
    return {day: dict(days[day].most_common(MOST)) for day in [*sorted(days)][-DAYS:]}


def _entries(days: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[tuple[str, str], int]]:
    return (((day, entry), number) for day, entries in days.items() for entry, number in entries.items())


def sender_domain(properties: Row) -> str | None:
    """Return the domain of the sender of an email that HubSpot calls outbound, or None.

    The headers tell the sender if the property that HubSpot derives from them is empty.
    """
    if properties.get("hs_email_direction") != OUTBOUND:
        return None
    written = parse_text(properties.get(FROM))
    if written is None:
        person, _ = sender(headers_of(properties), properties)
        written = person.email if person else None
    domain = (written or "").rpartition("@")[2].strip(" >").lower()
    return domain if DOMAIN.fullmatch(domain) else None


__all__ = ["FROM", "Tallies", "sender_domain"]
