"""Read the raw values: find the file, parse it, lay the environment over it."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from syncd.errors import ConfigError, Problem

SEARCHED = (Path("config/syncd.toml"), Path("/etc/syncd/syncd.toml"))
FILE_VARIABLE = "SYNCD_CONFIG"
PREFIX = "SYNCD_"

BEGIN = "run: syncd config example > syncd.toml, set the lines marked <--, and run: syncd check -c syncd.toml"


@dataclass
class Reading:
    """One load on its way: the tree of raw values, where each came from, and what is wrong so far."""

    tree: dict[str, Any]
    now: datetime
    problems: list[Problem] = field(default_factory=list)
    variables: dict[tuple[str, ...], str] = field(default_factory=dict)  # key's path: the variable that set it

    def wrong(self, key: tuple[str, ...], message: str, hint: str = "") -> None:
        """Note a mistake at `key`, and the variable when it came from the environment."""
        at_or_above = [key[:length] for length in range(len(key), 0, -1)]
        below = [other for other in self.variables if other[: len(key)] == key]
        origin = next((self.variables[place] for place in (*at_or_above, *below) if place in self.variables), "")
        message += f" (see the variable {origin})" if origin else ""
        self.problems.append(Problem(".".join(key), message, hint))


def find(path: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the first file there is; ConfigError, which says where was looked, when there is none."""
    variable = environ.get(FILE_VARIABLE)
    named = path or (Path(variable) if variable else None)
    candidates = (named,) if named else SEARCHED
    for candidate in candidates:
        if os.path.lexists(candidate):  # unreadable is not absent: parse says so
            return candidate
    looked = " and ".join(map(str, candidates))
    origin = f", which {FILE_VARIABLE} names" if named and not path else ""
    hint = f"correct the path, or begin: {BEGIN}" if named else f"to begin, {BEGIN}"
    raise ConfigError(message=f"no configuration found: looked for {looked}{origin}", where=looked, hint=hint)


def parse(file: Path) -> dict[str, Any]:
    """Return the tables of `file`; ConfigError, with the line, when it is not TOML."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        problem = Problem(str(file), f"cannot be read: {error.strerror}", "give syncd's user the right to read it")
    except UnicodeDecodeError:
        problem = Problem(str(file), "is not UTF-8 text", "save it as UTF-8")
    except tomllib.TOMLDecodeError as error:
        problem = _syntax(file, str(error))
    except RecursionError:
        problem = Problem(str(file), "is nested too deeply", "see syncd config example")
    raise ConfigError([problem], where=str(file))


def _syntax(file: Path, message: str) -> Problem:
    what, line = message, ""
    match = re.fullmatch(r"(.*) \(at line (\d+), column \d+\)", message, re.DOTALL)
    if match:
        what, line = match[1], f":{match[2]}"
    return Problem(f"{file}{line}", f"not TOML: {what}", 'text stands in quotes, e.g. timeout = "30s"')


def overlay(reading: Reading, environ: Mapping[str, str]) -> None:
    """Lay the variables named SYNCD_…__… over the tree; a shorter name before a longer one."""
    names = [name for name in environ if name.upper().startswith(PREFIX) and "__" in name[len(PREFIX) :]]
    for name in sorted(names, key=lambda name: (name.count("__"), name)):
        key = _key(reading.tree, name)
        reading.variables[key] = name
        table = reading.tree
        for part in key[:-1]:
            if not isinstance(table.get(part), dict):
                table[part] = {}
            table = table[part]
        table[key[-1]] = _value(environ[name])


def _key(tree: dict[str, Any], variable: str) -> tuple[str, ...]:
    """Return the path that a variable names; of a source named with dashes it has underscores."""
    key = variable[len(PREFIX) :].lower().split("__")
    sources = tree.get("sources")
    if key[0] == "sources" and isinstance(sources, dict):
        spelled = {name.lower().replace("-", "_"): name for name in sources}
        key[1] = spelled.get(key[1], key[1])
    return tuple(key)


def _value(text: str) -> Any:
    """Read a list, table or quoted text as TOML or JSON; all else is text, which the models can read."""
    if text.lstrip()[:1] in ("[", "{", '"'):
        with suppress(ValueError):
            return tomllib.loads(f"value = {text}")["value"]
        with suppress(ValueError):
            return json.loads(text)
    return text
