"""Check the properties that the configuration names, once a day.

HubSpot ignores an unknown name in `properties`, so a condition on it would never hold. Its list of an object's
properties has all that the token may see. Sensitive ones, and those of another object, are not in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from itertools import islice
from typing import Any

from connectors.hubspot.client import Client
from connectors.hubspot.config import HubSpotStream
from syncd.connector import Store
from syncd.errors import ConfigError, Problem, Unavailable
from syncd.fields import parse_text
from syncd.types.conditions import FIELD

KEEP = timedelta(hours=24)
KEY = "properties"  # in the store: by object and name, the labels of the options
LABELS_MOST, LABEL_MOST = 200, 255  # options of one property whose labels are kept, and characters of a label

Labels = Mapping[str, Mapping[str, str]]  # by property: the label of each value


class NamedProperties:
    """Check the properties that a configuration names, and know their labels."""

    def __init__(
        self, client: Client, store: Store, rules: Mapping[str, HubSpotStream], known: Mapping[str, Sequence[str]],
        *, source: str,
    ) -> None:  # fmt: skip
        """`known`: by object, the properties of every portal."""
        self._client = client
        self._store = store
        self._source = source
        self._named = {
            stream: [name for name in each.properties if name not in known[stream]] for stream, each in rules.items()
        }
        self._checked = False  # in this pass
        self._labels: dict[str, Labels] = {}

    def require(self) -> None:
        """Check all named properties. ConfigError names each that HubSpot does not show.

        It costs one request for each object, and none if a check of the last 24 hours found them all. If HubSpot
        does not answer, an older check counts.
        """
        if not self._checked:
            kept = self._kept(KEEP) if self.count else {}
            self._labels = self._fresh() if kept is None else kept
            self._checked = True

    def _fresh(self) -> dict[str, Labels]:
        try:
            shown, problems = self.look()
        except Unavailable as error:
            before = self._kept(None)
            if before is None or error.pause_until is not None:  # HubSpot asked for a pause
                raise
            return before
        if problems:
            raise ConfigError(problems, where=f"[sources.{self._source}]")
        found = {stream: labels or {name: {} for name in self._named[stream]} for stream, labels in shown.items()}
        self._store.put(KEY, found)
        return found

    def _kept(self, max_age: timedelta | None) -> dict[str, Labels] | None:
        """Return the labels that an earlier check found. None if it lacks a property that is named now."""
        kept = self._store.get(KEY, max_age=max_age)
        found: dict[str, Labels] = kept if isinstance(kept, dict) else {}
        return found if all(name in found.get(stream, {}) for stream, name in self._each()) else None

    def labels(self, stream: str) -> Labels:
        """Return the labels of the named properties' options, by property, after `require`."""
        return {name: each for name, each in self._labels.get(stream, {}).items() if each}

    def look(self) -> tuple[dict[str, Labels | None], list[Problem]]:
        """Return by object the named properties that HubSpot shows, and a problem for each other one.

        None: the portal does not show that object's properties at all, so it may have them.
        """
        found: dict[str, Labels | None] = {}
        problems: list[Problem] = []
        for stream, names in self._named.items():
            rows = self._client.properties(stream) if names else {"results": ()}
            if rows is None:
                found[stream] = None
                continue
            shown = {name: row for row in rows["results"] if FIELD.fullmatch(name := str(row.get("name")))}
            found[stream] = {name: _options(shown[name]) for name in names if name in shown}
            place = f"sources.{self._source}.{stream}"
            problems += [_unknown(place, stream, name, shown) for name in names if name not in shown]
        return found, problems

    @property
    def count(self) -> int:
        """The number of named properties."""
        return sum(map(len, self._named.values()))

    def _each(self) -> Iterator[tuple[str, str]]:
        return ((stream, name) for stream, names in self._named.items() for name in names)


def _unknown(place: str, stream: str, name: str, shown: Mapping[str, Any]) -> Problem:
    close = get_close_matches(name.lower(), shown, n=1)
    meant = f"Did you mean {close[0]}?" if close else "The internal name is meant, not the label."
    return Problem(
        place,
        f"names the property {name}, which HubSpot does not show for {stream}",
        f"{meant} If it exists, grant its scope to the token: sensitive properties have scopes of their own",
    )


def _options(row: Mapping[str, Any]) -> dict[str, str]:
    options = row.get("options")
    pairs = ((parse_text(each.get("value")), parse_text(each.get("label"))) for each in _dicts(options))
    short = ((value, label[:LABEL_MOST]) for value, label in pairs if value and label and len(value) <= LABEL_MOST)
    return dict(islice(short, LABELS_MOST))


def _dicts(found: Any) -> list[Mapping[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


__all__ = ["KEY", "NamedProperties"]
