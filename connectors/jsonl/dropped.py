"""Decide which entries of the drop folder are read, first by the name, then by the open file."""

import math
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from connectors.jsonl.config import JsonlConfig
from connectors.jsonl.lines import File, FileProblem, refuse_unreadable
from connectors.jsonl.naming import SUFFIXES, TAKING, UNDER_WAY, dropped_name, shown
from connectors.jsonl.place import Place
from syncd.errors import Unavailable
from syncd.files import Refused
from syncd.types.sizes import show

UNENDED = 60  # times `quiet_for`: how long a file without a final newline is left alone
AHEAD_S = 60  # a file changed further in the future has another clock's time, which is ignored
NOT_PLAIN = "put a copy in its place: links, hard links, pipes and devices are never read"
TOO_LARGE = "split the file, or raise max_file_size"
MOUNTED = "check that it exists, that it is mounted, and that syncd's user may read it"
LINKED = "set path to the folder itself, or make the link as syncd's user or root"
SOUND = "check that syncd's user may read it, and that its disk is sound"
WHOLE = "rename it when it is whole"
OTHER_KIND = "convert it to one of these kinds, or move it out of the folder"
NOT_OURS = "give it another name, without the one that syncd uses while it moves a file"
UNENDED_LINE = "end its last line. Give a file another name, such as x.jsonl.part, until it is whole"
CHANGING = "nothing to do: it is read when it has not changed for quiet_for"
IN_TURN = "nothing to do: a later pass reads it"


T = TypeVar("T")


class BadFile(NamedTuple):
    """Describe a file that cannot be read or moved."""

    message: str  # names the file and says why
    hint: str  # the remedy


class LeftFile(NamedTuple):
    """Describe a file that is not read yet, or not at all."""

    name: str
    why: str  # to follow "it"
    hint: str  # the remedy


class LeftAlone(Exception):
    """Report why a file is left alone, to follow "it"."""

    def __init__(self, why: str, *, hint: str) -> None:
        super().__init__(why)
        self.hint = hint


class BoundedList(list[T], Generic[T]):
    """Keep a bounded number of different items, and count all of them."""

    MOST = 1000

    def __init__(self, *others: "BoundedList[T]") -> None:
        super().__init__()
        self.total = 0
        self._kept: set[T] = set()
        for other in others:
            for item in other:
                self.add(item)
            self.total += other.total - len(other)

    def add(self, item: T) -> None:
        """Count `item`, and keep it if there is room."""
        if item in self._kept:
            return
        self.total += 1
        if len(self) < self.MOST:
            self.append(item)
            self._kept.add(item)


def candidates(place: Place, done: str, left_alone: BoundedList[LeftFile]) -> Iterator["os.DirEntry[str]"]:
    """Yield the entries to read, by their names. `done` is the name of the done folder."""
    for entry in place.entries():
        name = entry.name.lower()
        is_taken, wanted = entry.name.startswith(TAKING), name.endswith(SUFFIXES)
        if entry.name == done or (entry.is_dir(follow_symlinks=False) and not (is_taken or wanted)):
            continue
        if is_taken:
            yield entry
        elif name.startswith(".") or name.endswith(UNDER_WAY):
            left_alone.add(LeftFile(entry.name, "is still being written, by its name", WHOLE))
        elif not wanted:
            left_alone.add(LeftFile(entry.name, f"ends in none of {', '.join(SUFFIXES)}", OTHER_KIND))
        else:
            yield entry


def ready_file(place: Place, name: str, config: JsonlConfig, now: datetime) -> File:
    """Return a file of the drop folder that is ready to be read, judged by its open handle.

    LeftAlone if it is not ready, FileProblem or OSError if it cannot be read.
    """
    with place.open(name) as handle:
        found = os.fstat(handle.fileno())
        file = File(
            place.path / name, dropped_name(name), 0, found.st_size, found.st_ino, found.st_mtime_ns, True, place
        )
        if not file.name.lower().endswith(SUFFIXES):
            raise LeftAlone("is no file that syncd was moving", hint=NOT_OURS)
        quiet_s = _quiet_s(file, config, now)
        if file.size > config.max_file_size:
            raise too_large(config)
        if quiet_s < UNENDED * config.quiet_for.total_seconds() and not _ends_a_line(handle.fileno(), file.size):
            raise LeftAlone("ends in the middle of a line", hint=UNENDED_LINE)
        refuse_unreadable(handle, file.name, config)
    return file


def too_large(config: JsonlConfig) -> FileProblem:
    """Return the problem of a file over max_file_size."""
    return FileProblem(f"is larger than max_file_size ({show(config.max_file_size)})", hint=TOO_LARGE)


def bad(name: str, error: OSError | FileProblem) -> BadFile:
    """Return the message and hint for a file that cannot be read."""
    return BadFile(f"{shown(name)} {why(error)}", remedy(error))


def why(error: OSError | FileProblem) -> str:
    """Return an error's reason, to follow the name of a file."""
    if isinstance(error, OSError) and not isinstance(error, Refused):
        return f"cannot be read ({error.strerror or type(error).__name__})"
    return str(error.strerror if isinstance(error, Refused) else error)


def remedy(error: OSError | FileProblem) -> str:
    """Return the remedy of an error."""
    if isinstance(error, FileProblem):
        return error.hint
    return NOT_PLAIN if isinstance(error, Refused) else SOUND


def unavailable(path: Path, error: OSError) -> Unavailable:
    """Return the error for a folder that cannot be used."""
    return Unavailable(f"{path} {why(error)}", hint=LINKED if isinstance(error, Refused) else MOUNTED)


def _quiet_s(file: File, config: JsonlConfig, now: datetime) -> float:
    """Return the seconds since a file changed. LeftAlone if that is not long enough."""
    if file.path.name.startswith(TAKING):
        return math.inf
    quiet_s, enough_s = now.timestamp() - file.mtime_ns / 1e9, config.quiet_for.total_seconds()
    if quiet_s < -AHEAD_S:
        return enough_s
    if quiet_s < enough_s:
        raise LeftAlone("changed a moment ago", hint=CHANGING)
    return quiet_s


def _ends_a_line(handle: int, size: int) -> bool:
    return not size or os.pread(handle, 1, size - 1) == b"\n"
