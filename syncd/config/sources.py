"""Turn the tables of [sources] into sources. Only the connectors that they name are loaded."""

import importlib
import re
from collections.abc import Mapping, Set
from itertools import product
from typing import Any, ClassVar, cast

from syncd import text
from syncd.config import mistakes
from syncd.config.models import A_TIME
from syncd.config.reading import RawConfig
from syncd.connector import Connector, Context, Source, SourceConfig, Stream, StreamConfig
from syncd.errors import ConfigError, Problem
from syncd.types import urls

GROUP = "syncd.connectors"  # the entry-point group of connectors
BUILT_IN = {  # found even in a clone that is not installed; no other package can take these names
    "hubspot": "connectors.hubspot:HubSpot",
    "jsonl": "connectors.jsonl:Jsonl",
    "salesforce": "connectors.salesforce:Salesforce",
}
ID_CHARACTERS = re.compile(r"[A-Za-z0-9._-]*")  # of a record's id, in any CRM
SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
INSTALL = "(install another package's connector with syncd's own pip)"
COMMON = [field for field in SourceConfig.model_fields if field != "connector"]
NAME_EXPECTED = "expected a name of up to 40 lower-case letters, digits, - and _, e.g. [sources.hubspot]"

# By source: its table, and its connector, or None if that is unknown.
Configs = dict[str, tuple[SourceConfig, type[Connector] | None]]


def configs(raw: RawConfig) -> Configs:
    """Return the readable tables of sources, in the file's order, and report all mistakes.

    An invalid field is None (see `mistakes.read_model`).
    """
    tables = raw.tree.get("sources", {})
    if not isinstance(tables, dict) or not tables:
        hint = "`syncd config example` shows one"
        raw.add_problem(("sources",), "expected at least one source, e.g. [sources.hubspot]", hint)
        return {}
    found = {name: read for name, table in tables.items() if (read := _source(raw, name, table))}
    _compare_ids(raw, {name: config.external_id for name, (config, _) in found.items()})
    return found


def specs(configs: Configs) -> tuple[Source, ...]:
    """Return the sources of `configs` whose connector is known."""
    return tuple(Source(name, config, connector) for name, (config, connector) in configs.items() if connector)


def not_loaded(configs: Configs) -> list[Problem]:
    """Return the problem of each connector that cannot be loaded."""
    found = (connector for _, connector in configs.values())
    return [connector.problem for connector in found if connector and issubclass(connector, Unloadable)]


def load_connector(at: str) -> type[Connector]:
    """Import the class that an entry point names, e.g. "connectors.hubspot:HubSpot"."""
    module, _, attribute = at.partition(":")
    found: type[Connector] = getattr(importlib.import_module(module), attribute)
    return found


def installed() -> dict[str, str]:
    """Return the connectors of all installed packages by name. This reads the metadata of each: 10 ms of CPU."""
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=GROUP)}


def plain_streams(connector: type[Connector]) -> Set[str]:
    """Return the streams whose table has only the common keys.

    The connector's own model has no table for them. A connector that decides itself which streams it reads has none.
    """
    if connector.Config.reads is not SourceConfig.reads:
        return frozenset()
    fields = connector.Config.model_fields
    return {name for name in _streams(connector) if name not in fields and not hasattr(connector.Config, name)}


def _streams(connector: type[Connector]) -> list[str]:
    return [stream.name for stream in getattr(connector, "streams", ())]


def _source(raw: RawConfig, name: str, table: Any) -> tuple[SourceConfig, type[Connector] | None] | None:
    key = ("sources", name)
    if not SOURCE_NAME.fullmatch(name):
        raw.add_problem(key, NAME_EXPECTED)
    if not isinstance(table, dict):
        raw.add_problem(key, f"expected a table, [sources.{name}]")
        return None
    connector = _connector(raw, key, table.get("connector"))
    if _is_number(table.get("start")):  # pydantic reads a number as seconds since 1970
        table = {**table, "start": ""}
    if connector is None or issubclass(connector, Unloadable):  # the common keys can be checked all the same
        table = {"connector": "", **{field: table[field] for field in COMMON if field in table}}
    kind = connector.Config if connector else SourceConfig
    plain = plain_streams(connector) if connector else ()
    config = mistakes.read_model(raw, key, kind, {name: value for name, value in table.items() if name not in plain})
    mistakes.check_schedule(raw, (*key, "schedule"), table.get("schedule"))
    streams = {name: mistakes.read_model(raw, (*key, name), StreamConfig, table[name]) for name in plain & table.keys()}
    if config is None:
        return None
    config = _checked(raw, key, config.model_copy(update=streams) if streams else config)
    _reads_something(raw, key, config, connector)
    return config, connector


def _reads_something(
    raw: RawConfig, key: tuple[str, ...], config: SourceConfig, connector: type[Connector] | None
) -> None:
    names = _streams(connector) if connector else []
    if names and not any(config.reads(name) for name in names):
        raw.add_problem(key, "reads nothing", f"expected read = true for one of: {', '.join(names)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, str) and value.strip().isdecimal())


def _connector(raw: RawConfig, key: tuple[str, ...], name: Any) -> type[Connector] | None:
    """Load the connector of that name. Return None and report the mistake if it is missing or unknown."""
    place = (*key, "connector")
    known = BUILT_IN if isinstance(name, str) and name in BUILT_IN else {**installed(), **BUILT_IN}
    if name is None:
        raw.add_problem(place, "is missing", f"expected one of: {', '.join(sorted(known))}")
        return None
    if not isinstance(name, str) or name not in known:
        raw.add_problem(place, "unknown connector", f"{mistakes.nearest(str(name), known)} {INSTALL}")
        return None
    try:
        found = load_connector(known[name])
        usable = issubclass(found.Config, SourceConfig)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a foreign module may do anything while it is imported
        what = f"the connector {name!r} cannot be loaded ({type(error).__name__})"
        return unloadable(Problem(".".join(place), what, "install its package again, with all that it needs"))
    if not usable:
        what = f"the connector {name!r} cannot be used: its Config is no SourceConfig"
        return unloadable(Problem(".".join(place), what, "install a version of it that was made for this syncd"))
    return found


class Unloadable:
    """A stand-in for a connector that cannot be loaded. That is no mistake of the configuration.

    Other sources continue. A pass over it, or a check of it, raises the problem as a ConfigError.
    """

    Config: ClassVar[type[SourceConfig]] = SourceConfig
    streams: ClassVar[tuple[Stream, ...]] = ()
    problem: ClassVar[Problem]

    def __init__(self, config: Any, context: Context) -> None:
        raise ConfigError([self.problem])


def unloadable(problem: Problem) -> type[Connector]:
    """Return a new `Unloadable` class for `problem`."""
    return cast(type[Connector], type("Unloadable", (Unloadable,), {"problem": problem}))


def _checked(raw: RawConfig, key: tuple[str, ...], config: SourceConfig) -> SourceConfig:
    """Check the start and the addresses of any connector's table, and normalize the addresses."""
    if config.start and config.start > raw.now:
        raw.add_problem(
            (*key, "start"), "lies in the future", "expected a time in the past. If it is, check this machine's clock"
        )
    if config.start and config.start.year == 1:  # in another zone it may not exist
        raw.add_problem((*key, "start"), A_TIME)
    addresses: dict[str, str] = {}
    for name, value in config:
        if name.endswith("_url") and isinstance(value, str) and value:
            try:
                addresses[name] = urls.checked(value)
            except ValueError as error:
                raw.add_problem((*key, name), str(error))
            else:
                if urls.is_insecure(addresses[name]):
                    raw.add_problem((*key, name), urls.INSECURE)
    return config.model_copy(update=addresses) if addresses else config


def _compare_ids(raw: RawConfig, forms: Mapping[str, str | None]) -> None:
    """Report each source that could give the same externalActivityId as an earlier one. `forms`: by source."""
    around = {name: _around_id(name, form) for name, form in forms.items() if form}
    for place, (later, ends) in enumerate(around.items()):
        earlier = list(around.items())[:place]
        met = [f"sources.{name}" for name, others in earlier if any(_can_meet(*two) for two in product(others, ends))]
        if met:
            raw.add_problem(
                ("sources", later, "external_id"),
                f"can give the same ids as {' and '.join(met)}: one activity could be taken for another",
                'expected a form that tells them apart, e.g. external_id = "{source}-{kind}-{id}"',
            )


def _around_id(name: str, external_id: str) -> list[tuple[str, str]]:
    """Return the texts before and after the CRM's id in the ids of each kind."""
    forms = (text.fill(external_id, source=name, kind=kind, id="\0") for kind in ("call", "email"))
    return [(form.partition("\0")[0], form.rpartition("\0")[2]) for form in forms]


def _can_meet(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Tell whether two forms can give the same text. Ids have any length and consist of ID_CHARACTERS."""
    before, longer_before = sorted((one[0], other[0]), key=len)
    after, longer_after = sorted((one[1], other[1]), key=len)
    rest = longer_before[len(before) :] + longer_after[: len(longer_after) - len(after)]
    same_ends = longer_before.startswith(before) and longer_after.endswith(after)
    return same_ends and ID_CHARACTERS.fullmatch(rest) is not None
