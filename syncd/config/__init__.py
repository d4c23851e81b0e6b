"""Read the configuration from a TOML file and the environment, and report all mistakes at once.

    file ─► tables ─┐
                    ├─► one tree ─► models ─► checks across them ─► Config
    SYNCD_A__B ─────┘                  └────────────┴─► mistakes ─► one ConfigError

`reading.overlay` lays the environment over the file, not pydantic-settings. That costs 35 ms and 5 MB at every start
and cannot do three things: report an unknown variable, name the variable that a mistake came from, and leave a source's
table to a model that is known only once its connector is loaded.

No message repeats a value, because a misplaced value may be a secret.
"""

import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from syncd.config import alerting, credentials, elsewhere, mistakes, origins, reading, shared_ledger, sources
from syncd.config.models import (
    TABLES,
    AlertsConfig,
    LedgerConfig,
    RecotapConfig,
    RulesConfig,
    RunConfig,
    ScheduleConfig,
    WebConfig,
)
from syncd.config.origins import Setting
from syncd.connector import Source
from syncd.errors import ConfigError, Problem
from syncd.types import urls
from syncd.types.schedule import Schedule

OPEN_PAGE = 'add token = "env:SYNCD_WEB_TOKEN", or listen on 127.0.0.1'


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration, checked."""

    path: Path  # the file it came from
    recotap: RecotapConfig
    ledger: LedgerConfig
    schedule: ScheduleConfig
    run: RunConfig
    rules: RulesConfig
    web: WebConfig
    alerts: AlertsConfig
    sources: tuple[Source, ...]  # in the file's order, at least one

    def schedule_for(self, source: Source) -> Schedule:
        """Return the schedule of `source`: its own, otherwise [schedule]."""
        own = source.config.schedule
        return own if own.is_set else self.schedule

    def secrets_fingerprint(self, of: str | None = None) -> str:
        """Return a digest of all secrets, to detect a changed key. `of`: only of this source, and of Recotap."""
        configs = (source.config for source in self.sources if of in (None, source.name))
        return credentials.fingerprint((self.recotap, *configs))


def locate(environ: Mapping[str, str] | None = None) -> Path:
    """Return the file to read if none is named. ConfigError if there is none, or if others could change it."""
    return reading.find(None, os.environ if environ is None else environ)


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    secrets: bool = True,
    connectors: bool = False,
    now: datetime | None = None,
) -> Config:
    """Read and check the configuration. Makes no network call.

    The file is `path`, otherwise that of SYNCD_CONFIG, otherwise config/syncd.toml, otherwise /etc/syncd/syncd.toml.
    With `secrets`, each secret is read once too, always from the process's own environment. With `connectors`, one that
    cannot be loaded is a mistake. Otherwise a pass over its source reports it. `now` (aware) is the latest valid start.
    Raises ConfigError with all mistakes, and nothing else.
    """
    return _read(path, environ, secrets=secrets, connectors=connectors, now=now)[0]


def judge(
    tree: Mapping[str, Any], where: Path, *, environ: Mapping[str, str], secrets: bool = False, connectors: bool = False
) -> Config:
    """Check the tables of a configuration that is not written yet, as `load` would. `where`: its file-to-be."""
    return _checked(deepcopy(dict(tree)), where, environ, secrets=secrets, connectors=connectors, now=None)[0]


def explained(
    path: Path | None = None, *, environ: Mapping[str, str] | None = None, now: datetime | None = None
) -> tuple[Config, list[Setting]]:
    """Return the configuration, and each of its keys with the origin. Reads no secret. ConfigError as for `load`."""
    config, raw = _read(path, environ, secrets=False, connectors=True, now=now)
    tables = {name: getattr(config, name) for name in TABLES}
    return config, list(origins.settings(raw, tables, config.sources))


def _read(
    path: Path | None, environ: Mapping[str, str] | None, *, secrets: bool, connectors: bool, now: datetime | None
) -> tuple[Config, reading.RawConfig]:
    environ = os.environ if environ is None else environ
    file = reading.find(path, environ)
    return _checked(reading.parse(file), file, environ, secrets=secrets, connectors=connectors, now=now)


def _checked(
    tree: dict[str, Any], file: Path, environ: Mapping[str, str], *, secrets: bool, connectors: bool,
    now: datetime | None,
) -> tuple[Config, reading.RawConfig]:  # fmt: skip
    is_empty = not tree
    raw = reading.RawConfig(tree, now=now or datetime.now(UTC))
    reading.overlay(raw, environ)
    tables = _tables(raw)
    configs = sources.configs(raw)
    if secrets:
        _own_domains(raw, tables.get("rules"))
        for name, table in tables.items():
            credentials.read_all(raw, (name,), table)
        for name, (config, _) in configs.items():
            credentials.read_all(raw, ("sources", name), config)
        alerting.check(raw, tables.get("alerts"))
        shared_ledger.check_key(raw, tables.get("ledger"))
    if connectors:
        raw.problems += sources.not_loaded(configs)
    if raw.problems and is_empty:
        raw.problems.insert(0, Problem(str(file), "is empty", reading.BEGIN))
    if raw.problems:
        raise ConfigError(elsewhere.pointed_out(raw.problems, configs), where=str(file))
    return Config(path=file, sources=sources.specs(configs), **tables), raw


def _own_domains(raw: reading.RawConfig, rules: RulesConfig | None) -> None:
    """Report own domains that are public suffixes."""
    if not (rules and rules.own_domains):
        return
    from syncd.addresses import is_public_suffix

    for place, name in enumerate(rules.own_domains):
        if is_public_suffix(name):
            hint = 'name your own part of it, e.g. "yourcompany.com"'
            raw.add_problem(("rules", "own_domains", str(place)), "is a public suffix, shared by everyone", hint)


def _tables(raw: reading.RawConfig) -> dict[str, Any]:
    """Return syncd's own tables as models, without those that cannot be read."""
    for name in sorted(raw.tree.keys() - TABLES.keys() - {"sources"}):
        raw.add_problem((name,), mistakes.UNKNOWN_TABLE, mistakes.nearest(name, [*TABLES, "sources"]))
    models = {name: mistakes.read_model(raw, (name,), kind, raw.tree.get(name, {})) for name, kind in TABLES.items()}
    recotap = models["recotap"]
    if recotap and recotap.base_url and recotap.allow_insecure_http is False and urls.is_insecure(recotap.base_url):
        hint = "use https://, or set allow_insecure_http = true beside it"
        raw.add_problem(("recotap", "base_url"), urls.INSECURE, hint)
    mistakes.check_schedule(raw, ("schedule",), raw.tree.get("schedule"))
    shared_ledger.check(raw, raw.tree.get("ledger"))
    web = models["web"]
    if web and web.lacks_token:
        raw.add_problem(("web", "token"), "is missing, and other machines can reach web.listen", OPEN_PAGE)
    return {name: model for name, model in models.items() if model}


__all__ = [
    "AlertsConfig",
    "Config",
    "LedgerConfig",
    "RecotapConfig",
    "RulesConfig",
    "RunConfig",
    "ScheduleConfig",
    "Setting",
    "Source",
    "WebConfig",
    "explained",
    "judge",
    "load",
    "locate",
]
