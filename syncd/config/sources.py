"""Turn the tables of [sources] into specs: load each one's connector, and it alone, and check across them."""

import importlib
import re
from importlib.metadata import entry_points
from itertools import combinations, product
from typing import Any

from syncd.config import mistakes, urls
from syncd.config.reading import BEGIN, Reading
from syncd.connector import Connector, Source, SourceConfig

GROUP = "syncd.connectors"  # the entry-point group that connectors are found by
BUILT_IN = {"hubspot": "connectors.hubspot:HubSpot"}  # for a source tree that was never installed
SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
NAME_EXPECTED = "expected a name of up to 40 lower-case letters, digits, - and _, e.g. [sources.hubspot]"


def specs(reading: Reading) -> tuple[Source, ...]:
    """Return the sources without a mistake, in the file's order; the others' mistakes are noted."""
    tables = reading.tree.get("sources", {})
    if not isinstance(tables, dict) or not tables:
        reading.wrong(("sources",), "expected at least one source, e.g. [sources.hubspot]", BEGIN)
        return ()
    found = tuple(spec for name, table in tables.items() if (spec := _source(reading, name, table)))
    _compare_ids(reading, found)
    return found


def load_connector(at: str) -> type[Connector]:
    """Import the class that an entry point names, e.g. "connectors.hubspot:HubSpot"."""
    module, _, attribute = at.partition(":")
    found: type[Connector] = getattr(importlib.import_module(module), attribute)
    return found


def _source(reading: Reading, name: str, table: Any) -> Source | None:
    key = ("sources", name)
    if not SOURCE_NAME.fullmatch(name):
        reading.wrong(key, NAME_EXPECTED)
    if not isinstance(table, dict):
        reading.wrong(key, f"expected a table, [sources.{name}]")
        return None
    connector = _connector(reading, key, table.get("connector"))
    if connector is None:
        return None
    if _is_number(table.get("start")):  # pydantic would take it for seconds since 1970
        table = {**table, "start": ""}
    config = mistakes.model(reading, key, connector.Config, table)
    if config is None:
        return None
    _check(reading, key, config)
    return Source(name, config, connector)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, str) and value.strip().isdecimal())


def _connector(reading: Reading, key: tuple[str, ...], name: Any) -> type[Connector] | None:
    """Load the connector of that name and no other; None with the mistake noted."""
    place = (*key, "connector")
    known = {**BUILT_IN, **{point.name: point.value for point in entry_points(group=GROUP)}}
    if name is None:
        reading.wrong(place, "is missing", f"expected one of: {', '.join(sorted(known))}")
        return None
    if not isinstance(name, str) or name not in known:
        reading.wrong(place, "unknown connector", mistakes.nearest(str(name), known))
        return None
    try:
        found = load_connector(known[name])
        usable = issubclass(found.Config, SourceConfig)
    except Exception as error:  # noqa: BLE001 - whatever somebody's module does while it is imported
        reading.wrong(place, f"cannot be loaded ({type(error).__name__})", "is its package installed whole?")
        return None
    if not usable:
        reading.wrong(place, "cannot be used: its Config is no SourceConfig", "was it made for this syncd?")
        return None
    return found


def _check(reading: Reading, key: tuple[str, ...], config: SourceConfig) -> None:
    """Check what holds for every connector's table, whatever its own model checks."""
    if config.start > reading.now:
        reading.wrong((*key, "start"), "lies in the future", "expected a time that has been, or a clock that is right")
    if not config.timeout:
        reading.wrong((*key, "timeout"), 'expected a duration above zero, e.g. "30s"')
    for name, value in config:
        if name.endswith("_url") and isinstance(value, str) and value:
            mistake = urls.mistake_in(value) or (urls.INSECURE if urls.is_insecure(value) else "")
            if mistake:
                reading.wrong((*key, name), mistake)


def _compare_ids(reading: Reading, found: tuple[Source, ...]) -> None:
    """Note each pair of sources whose activities could get the same externalActivityId."""
    for earlier, later in combinations(found, 2):
        if any(_can_meet(one, other) for one, other in product(_around_id(earlier), _around_id(later))):
            reading.wrong(
                ("sources", later.name, "external_id"),
                f"can give the same ids as sources.{earlier.name}: one activity would pass for the other's",
                'expected a form that tells them apart, e.g. external_id = "{source}-{kind}-{id}"',
            )


def _around_id(spec: Source) -> list[tuple[str, str]]:
    """Return what stands before and after the CRM's id in the ids of each kind."""
    forms = (spec.config.external_id.format(source=spec.name, kind=kind, id="\0") for kind in ("call", "email"))
    return [(form.partition("\0")[0], form.rpartition("\0")[2]) for form in forms]


def _can_meet(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Say whether two forms can make the same text, a CRM's ids being letters and digits of any length."""
    before, longer_before = sorted((one[0], other[0]), key=len)
    after, longer_after = sorted((one[1], other[1]), key=len)
    rest = longer_before[len(before) :] + longer_after[: len(longer_after) - len(after)]
    same_ends = longer_before.startswith(before) and longer_after.endswith(after)
    return same_ends and (not rest or rest.isalnum())
