"""Find and parse the configuration file, and lay the environment over it."""

import codecs
import errno
import json
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from syncd import files
from syncd.config import syntax
from syncd.errors import ConfigError, Problem

MOST = 2**20  # bytes of a configuration
LONG_NUMBER = re.compile(r"\d(?:_?\d){4300}")  # Python parses no number of more than 4,300 digits
SEARCHED = (Path("config/syncd.toml"), Path("/etc/syncd/syncd.toml"))
FILE_VARIABLE = "SYNCD_CONFIG"
PREFIX = "SYNCD_"

BEGIN = "run: syncd init"


@dataclass
class RawConfig:
    """The unchecked configuration: raw values, their origins, and the problems found so far."""

    tree: dict[str, Any]
    now: datetime  # aware; the latest valid start
    problems: list[Problem] = field(default_factory=list)
    variables: dict[tuple[str, ...], str] = field(default_factory=dict)  # path of a key: the variable that set it

    def add_problem(self, key: tuple[str, ...], message: str, hint: str = "") -> None:
        """Add a problem at `key`. The message names the variable if the value came from the environment."""
        at_or_above = [key[:length] for length in range(len(key), 0, -1)]
        below = [other for other in self.variables if other[: len(key)] == key]
        origin = next((self.variables[place] for place in (*at_or_above, *below) if place in self.variables), "")
        message += f" (see the variable {origin})" if origin else ""
        self.problems.append(Problem(".".join(key), message, hint))


def find(path: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the first existing file. ConfigError if there is none; it names the places.

    The current directory may belong to another user, so its file is refused unless it is root's or the caller's. It
    is refused and not skipped, because otherwise an unexpected file would be used. A directory that the caller may
    not enter counts as empty.
    """
    variable = environ.get(FILE_VARIABLE)
    named = path or (Path(variable) if variable else None)
    candidates = (named,) if named else SEARCHED
    for candidate in candidates:
        searched_here = candidate is not named and not candidate.is_absolute()
        if _is_there(candidate, may_be_closed=not searched_here):
            if searched_here:
                _refuse_unless_safe(candidate)
            return candidate
    looked = " and ".join(map(str, candidates))
    origin = f", which {FILE_VARIABLE} names" if named and not path else ""
    hint = f"correct the path, or {BEGIN}" if named else f"to begin, {BEGIN}"
    raise ConfigError(message=f"no configuration found: looked for {looked}{origin}", where=looked, hint=hint)


def _is_there(file: Path, *, may_be_closed: bool) -> bool:
    """Tell whether `file` exists. One in a closed directory does if it `may_be_closed`; `parse` then fails."""
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:
        return may_be_closed
    except OSError:
        return True
    return True


def _refuse_unless_safe(file: Path) -> None:
    """Refuse a file that was found, not named, if another user could have placed or could change it."""
    try:
        for place in (*reversed(file.parents), file):
            for status in (place.lstat(), _status(place)):
                if why := unsafe(status):
                    what = f"the directory {Path.cwd()}" if place == Path() else str(place)
                    raise ConfigError(
                        message=f"{file} of the current directory is not used: {what} {why}",
                        where=str(file),
                        hint=f"if you trust it, name it: syncd -c {file}. Otherwise run syncd in another directory",
                    )
    except OSError as error:
        raise ConfigError([_unreadable(file, error)], where=str(file)) from None


def _status(place: Path) -> os.stat_result:
    try:
        return place.stat()
    except OSError:
        return place.lstat()  # `parse` says what is wrong with it


def unsafe(status: os.stat_result) -> str:
    """Return who besides root and the caller may change a file or directory, or "".

    The mode of a link is ignored. The caller's own group is accepted, because it often has no other member (umask
    002).
    """
    if status.st_uid not in files.trusted():
        return f"belongs to user {status.st_uid}"
    if stat.S_ISLNK(status.st_mode):
        return ""
    if status.st_mode & stat.S_IWOTH:
        return "can be written by everybody"
    if status.st_mode & stat.S_IWGRP and status.st_gid not in (0, os.getegid()):
        return f"can be written by group {status.st_gid}"
    return ""


def parse(file: Path) -> dict[str, Any]:
    """Return the tables of `file`. ConfigError with the line if it is not TOML."""
    text = ""
    try:
        text = _text(files.read(file, most=MOST, follow=True, owners=files.trusted()))
        return tomllib.loads(text)
    except OSError as error:
        problem = _unreadable(file, error)
    except UnicodeDecodeError:
        problem = Problem(str(file), "is not UTF-8 text", "save it as UTF-8")
    except _Utf16:
        problem = Problem(str(file), "is UTF-16 text", "save it as UTF-8: Windows editors call UTF-16 Unicode")
    except tomllib.TOMLDecodeError as error:
        line, what, hint = syntax.explain(text, str(error))
        problem = Problem(f"{file}:{line}" if line else str(file), f"not TOML: {what}", hint)
    except RecursionError:
        problem = Problem(str(file), "is nested too deeply", "remove brackets. `syncd config example` shows the tables")
    except ValueError:  # raised by int in tomllib
        found = LONG_NUMBER.search(text)
        where = f"{file}:{text.count(chr(10), 0, found.start()) + 1}" if found else str(file)
        problem = Problem(where, "holds a number that is too long", "shorten it, or put it in quotes if it is text")
    raise ConfigError([problem], where=str(file))


class _Utf16(Exception):
    pass


def _text(content: bytes) -> str:
    """Return the text of a file, without a BOM, with the line breaks of any system."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:2]:
        raise _Utf16
    return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def _unreadable(file: Path, error: OSError) -> Problem:
    hints = {
        errno.ENOENT: "it is a broken link: correct it, or name another file",
        errno.EACCES: "give syncd's user the right to read it and to enter its directory",
    }
    hint = getattr(error, "remedy", "") or hints.get(error.errno or 0, "name a file that syncd's user can read")
    if os.path.isdir(file):  # noqa: PTH112 - Path.is_dir raises in a closed directory
        hint = f"name the file in it, e.g. {file / 'syncd.toml'}"
    return Problem(str(file), f"cannot be read: {files.why(error)}", hint)


def overlay(raw: RawConfig, environ: Mapping[str, str]) -> None:
    """Lay the variables named SYNCD_…__… over the tree, shorter names first."""
    names = [name for name in environ if name.upper().startswith(PREFIX) and "__" in name[len(PREFIX) :]]
    for name in sorted(names, key=lambda name: (name.count("__"), name)):
        key = _key(raw.tree, name)
        raw.variables[key] = name
        table = raw.tree
        for part in key[:-1]:
            if not isinstance(table.get(part), dict):
                table[part] = {}
            table = table[part]
        table[key[-1]] = _value(environ[name])


def _key(tree: dict[str, Any], variable: str) -> tuple[str, ...]:
    """Return the key that a variable names. Dashes of a source's name are underscores in it."""
    key = variable[len(PREFIX) :].lower().split("__")
    sources = tree.get("sources")
    if key[0] == "sources" and isinstance(sources, dict):
        spelled = {name.lower().replace("-", "_"): name for name in sources}
        key[1] = spelled.get(key[1], key[1])
    return tuple(key)


def _value(text: str) -> Any:
    """Return a list, table or quoted text from TOML or JSON. Anything else stays text for the models."""
    if text.lstrip()[:1] in ("[", "{", '"'):
        with suppress(ValueError, RecursionError):
            return tomllib.loads(f"value = {text}")["value"]
        with suppress(ValueError, RecursionError):
            return json.loads(text)
    return text
