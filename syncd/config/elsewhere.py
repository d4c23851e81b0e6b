"""Tell where an unknown key belongs, if another table of the configuration has a key of that name."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pydantic import BaseModel

from syncd.config import mistakes
from syncd.config.models import TABLES
from syncd.config.sources import Configs, plain_streams
from syncd.connector import SourceConfig, StreamConfig
from syncd.errors import Problem

Tables = Mapping[str, type[BaseModel]]  # by path, e.g. sources.hubspot.calls


def pointed_out(problems: Iterable[Problem], configs: Configs) -> list[Problem]:
    """Return the problems. The hint of an unknown key begins with the tables that have such a key."""
    problems = list(problems)
    if not any(map(_is_unknown, problems)):
        return problems
    known = dict(_tables(configs))
    return [_pointed_out(problem, known) if _is_unknown(problem) else problem for problem in problems]


def _is_unknown(problem: Problem) -> bool:
    return problem.message in (mistakes.UNKNOWN_KEY, mistakes.UNKNOWN_TABLE)


def _pointed_out(problem: Problem, known: Tables) -> Problem:
    at, _, name = problem.path.rpartition(".")
    holders = _holders(name, at, known, tables_too=not problem.hint.startswith(mistakes.NEAR))
    if not holders:
        return problem
    places = " and ".join(f"[{holder}]" for holder in holders)
    return replace(problem, hint=f"it is a key of {places}. {problem.hint[:1].upper()}{problem.hint[1:]}".rstrip(". "))


def _holders(name: str, at: str, known: Tables, *, tables_too: bool) -> list[str]:
    """Return the other tables with a key `name`. In a source, its own tables count first, and no other source's.

    Outside the sources, NAME stands for all sources if each of several has the key.
    """
    found = [table for table, kind in known.items() if table != at and _has(kind, name, tables_too=tables_too)]
    own = _source(at)
    if own:
        return [table for table in found if _source(table) == own] or [table for table in found if not _source(table)]
    every = {_source(table) for table in known} - {""}
    if len(every) > 1 and every <= {_source(table) for table in found}:
        found = [re.sub(r"^sources\.[^.]+", "sources.NAME", table) for table in found]
    return list(dict.fromkeys(found))


def _has(kind: type[BaseModel], name: str, *, tables_too: bool) -> bool:
    field = mistakes.keys(kind).get(name)
    return field is not None and (tables_too or not mistakes.is_table(field.annotation))


def _source(table: str) -> str:
    return table.split(".")[1] if table.startswith("sources.") else ""


def _tables(configs: Configs) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield all tables, those in a source's or syncd's own table too."""
    kinds = {
        f"sources.{name}": connector.Config if connector else SourceConfig for name, (_, connector) in configs.items()
    }
    for table, kind in {**TABLES, **kinds}.items():
        yield table, kind
        for name, field in mistakes.keys(kind).items():
            if mistakes.is_table(field.annotation):
                yield f"{table}.{name}", field.annotation
    for name, (_, connector) in configs.items():
        for stream in sorted(plain_streams(connector)) if connector else ():
            yield f"sources.{name}.{stream}", StreamConfig
