"""Open, identify and list the done folder, and copy files there. Nothing in it is trusted."""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import datetime
from typing import BinaryIO

from connectors.jsonl.config import JsonlConfig
from connectors.jsonl.dropped import NOT_PLAIN, BadFile, BoundedList
from connectors.jsonl.lines import Changed
from connectors.jsonl.naming import MARK, is_leftover, parse_name, shown
from connectors.jsonl.place import BLOCK, Place, is_same
from syncd import files
from syncd.files import Refused

MOST_MARK = 64  # bytes of the folder's own id
LEFTOVER_S = 3600  # age of an incomplete file that is no longer written


def opened_done(config: JsonlConfig, drop: Place, *, make: bool = False) -> Place:
    """Open the done folder. Below the drop folder, its path may hold no link and no other user's folder.

    Refused or another OSError if it cannot be used, FileNotFoundError if it is missing and not `make`.
    """
    place = drop
    if config.done_path.is_relative_to(config.path):
        names = config.done_path.relative_to(config.path).parts
    else:
        if make:
            config.done_path.parent.mkdir(parents=True, exist_ok=True)
        place, names = Place.at(config.done_path.parent), (config.done_path.name,)
    for name in filter(None, names):
        place = place.inner(name, make=make)
        owner = place.status().st_uid
        if owner not in owners(drop):
            raise Refused(f"belongs to user {owner}, not to syncd's user", config.done_path)
    if is_same(place.status(), drop.status()):
        raise Refused("is the drop folder itself", config.done_path)
    return place


def owners(drop: Place) -> Collection[int]:
    """Return the allowed owners of the done folder and its id. The drop folder's owner can replace them anyway."""
    return files.trusted() | {drop.status().st_uid}


def read_mark(done: Place, drop: Place) -> str:
    """Return the id in the done folder, or "" if there is none. OSError if it cannot be read."""
    try:
        content = done.read(MARK, most=MOST_MARK, owners=owners(drop))
    except FileNotFoundError:
        return ""
    found = content.decode("ascii", "replace").strip()
    if any(not "!" <= char <= "~" for char in found):
        raise Refused("holds no id", done.path / MARK)
    return found


def write_mark(done: Place) -> None:
    """Give the done folder an id."""
    done.write(MARK, os.urandom(8).hex().encode() + b"\n")


def listed(done: Place, problems: BoundedList[BadFile]) -> Iterator[tuple[str, int]]:
    """Yield name and size of each regular file. Others that are named like one are problems."""
    for entry in done.entries():
        with suppress(FileNotFoundError):
            found = entry.stat(follow_symlinks=False)
            what = files.kind(found.st_mode)
            if not what:
                yield entry.name, found.st_size
            elif parse_name(entry.name) is not None:
                problems.add(BadFile(f"{shown(entry.name)} among the done is {what}", NOT_PLAIN))


def tidy(done: Place, now: datetime) -> None:
    """Remove files that a crash left incomplete."""
    for entry in done.entries():
        if is_leftover(entry.name):
            with suppress(OSError):
                if now.timestamp() - entry.stat(follow_symlinks=False).st_mtime > LEFTOVER_S:
                    done.unlink(entry.name)


def copy(reading: BinaryIO, done: Place, name: str, pause: Callable[[], None]) -> None:
    """Copy an open file, with its times, from another file system. Changed if it is written to meanwhile."""
    found = os.fstat(reading.fileno())
    part, writing = done.create(found.st_mode & 0o644 | 0o600)
    try:
        with writing:
            left = found.st_size
            while left and (block := reading.read(min(left, BLOCK))):
                writing.write(block)
                left -= len(block)
                pause()
            done.persist(writing)
            os.utime(writing.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns))
        now = os.fstat(reading.fileno())
        if (now.st_size, now.st_mtime_ns) != (found.st_size, found.st_mtime_ns):
            raise Changed
        done.rename(part, done, name)
    except BaseException:
        with suppress(OSError):
            done.unlink(part)
        raise
    done.sync()
