"""Stamp the files of the drop folder, and move them to the done folder. Only this module and `archive` write there.

    dropped ──quiet, readable──► waiting ──read by every stream, in an earlier pass──► done/<stamp>-<size>-<name>
    (left alone until then)      (its stamp is in the store)                           (its stamp is in its name)

A stamp is the time at which syncd first saw a file. It is later than every stamp before, whatever a clock or `cp -p`
says. So no file arrives behind a watermark, and waiting and done files are read alike, by their stamps. The time of the
move does not matter: nothing is lost or doubled wherever a crash falls. A file that changes after it was read gets a
new stamp, in both folders.
"""

import errno
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from connectors.jsonl.archive import LOOK_EVERY, Archive
from connectors.jsonl.config import JsonlConfig
from connectors.jsonl.done import copy, opened_done, read_mark, tidy, write_mark
from connectors.jsonl.dropped import (
    IN_TURN,
    MOUNTED,
    BadFile,
    BoundedList,
    LeftAlone,
    LeftFile,
    bad,
    candidates,
    ready_file,
    too_large,
    unavailable,
    why,
)
from connectors.jsonl.lines import Changed, File, FileProblem, is_version
from connectors.jsonl.naming import MARK, TAKING, done_name, parse_name, shown, taking_name
from connectors.jsonl.place import Place
from connectors.jsonl.stamps import Stamps
from syncd.connector import Context
from syncd.errors import Unavailable
from syncd.files import Refused

MOST_NEW = 10_000  # new files in one pass; the others wait for the next pass
STAYS = "check that syncd's user may write there, and that there is room. A later pass moves it"
REMOVE = "remove it, or give it to syncd's user: until then files are read but not moved"


@dataclass(frozen=True, slots=True)
class Listing:
    """Hold the content of the folder at one moment."""

    files: Sequence[File]  # to be read, by arrival
    left_alone: BoundedList[LeftFile]  # still being written, or of another kind
    problems: BoundedList[BadFile]  # files that cannot be read or moved
    fresh: bool = False  # files were stamped for the first time
    until: int = 0  # epoch milliseconds: greatest stamp ever given
    is_complete: bool = True  # False: the done folder cannot be read just now


class Folder:
    """Manage one source's folder for one pass."""

    def __init__(self, config: JsonlConfig, context: Context, streams: Collection[str]) -> None:
        self._config = config
        self._context = context
        self._streams = set(streams)
        self._drop: Place | None = None
        self._stamps = Stamps(config.start, context.now)
        self._archive = Archive(config, context, self._stamps)
        self._trouble: BadFile | None = None  # why the done folder cannot be used
        self._is_marked = False
        self._is_tidy = False
        self._waiting: dict[str, dict[str, Any]] = {}
        self._moved: dict[str, int] = {}  # read completely by an earlier pass: name, stamp
        self._loaded = False

    def identity(self) -> str | None:
        """Return the folder's own id. None before the first file was moved.

        Unavailable if the id has vanished, because an empty mount point is not an empty folder. If the done folder or
        the id cannot be read, the stored id is returned, because the folder's other files are still good.
        """
        self._open()
        known: str | None = self._context.store.get("folder")
        found = self._mark()
        if self._trouble is not None:
            return known
        if found and found != known:
            self._context.store.put("folder", found)
        if known and not found:
            raise Unavailable(
                f"{self._config.done_path} lacks {MARK}, which was there before",
                hint=f"mount it. If it was emptied on purpose: echo {known} > {self._config.done_path / MARK}",
            )
        return found or None

    def listing(self, *, read_only: bool = False) -> Listing:
        """Return the files to read, after stamping new ones and moving read ones. `read_only`: change nothing.

        The done folder is listed again only if its names have changed. Unavailable if the folder cannot be read.
        """
        self.identity()
        self._load()
        done, told = self._archive.files(read_only=read_only)
        problems = BoundedList(told)
        left_alone: BoundedList[LeftFile] = BoundedList()
        if self._trouble is not None:
            problems.add(self._trouble)
        known, new = self._dropped(problems, left_alone)
        stamped = self._stamps.give(new)
        whole = self._trouble is None
        if read_only:
            files = _in_order([*done, *known, *stamped])
            return Listing(files, left_alone, problems, False, self._stamps.given, whole)
        present = {file.path.name for file in (*known, *stamped)}
        self._waiting = {name: entry for name, entry in self._waiting.items() if name in present}
        for file in stamped:
            version = [file.inode, file.mtime_ns, file.size]
            self._waiting[file.path.name] = {"version": version, "stamp": file.stamp, "read": []}
        kept = [self._moved_aside(file, problems) for file in known] if whole else known
        self._keep()
        files = _in_order([*done, *kept, *stamped])
        return Listing(files, left_alone, problems, bool(stamped), self._stamps.given, whole)

    def mark_read(self, files: Collection[File], stream: str) -> None:
        """Record that `stream` has read these files completely. A later pass moves them."""
        for file in files:
            entry = self._waiting.get(file.path.name)
            if entry is not None and entry["stamp"] == file.stamp and stream not in entry["read"]:
                entry["read"] = sorted([*entry["read"], stream])
        self._keep()

    def forget(self, file: File) -> None:
        """Have an unreadable file stamped again later, because the watermark may have passed it by then."""
        if self._waiting.pop(file.path.name, None) is not None:
            self._keep()

    def defer(self, file: File) -> bool:
        """Stamp an unreadable done file again, so that it does not delay the others and is read later.

        False if it keeps its stamp, because it could not be renamed or this pass is read-only.
        """
        if self._context.read_only:
            return False
        return self._archive.defer(file)

    def read_without_done(self, since: int) -> None:
        """Record that the done files from `since` (epoch ms) on were not read. A watermark may pass them."""
        before = self._context.store.get("unseen")
        if not self._context.read_only and (before is None or since < before):
            self._context.store.put("unseen", since)

    def may_write(self) -> tuple[bool, bool]:
        """Tell whether files can be moved out of the drop folder, and into the done folder."""
        drop, done = self._drop, self._archive.place
        return drop is not None and drop.may_write(), done is not None and done.may_write()

    def statuses(self) -> tuple[os.stat_result, os.stat_result | None]:
        """Return the status of the folder and of the done folder. None if that is missing or unusable."""
        drop, done = self._drop, self._archive.place
        assert drop is not None
        return drop.status(), done.status() if done else None

    # -- the folders --------------------------------------------------------------------

    def _open(self) -> None:
        self._archive.place, self._trouble, self._is_marked = None, None, False
        try:
            self._drop = Place.at(self._config.path)
        except OSError as error:
            raise unavailable(self._config.path, error) from None
        try:
            self._archive.place = opened_done(self._config, self._drop)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._trouble = _trouble(self._config.done_path, error)

    def _mark(self) -> str:
        """Return the id in the done folder, or "". If it cannot be read, the folder is not read either."""
        if self._archive.place is None or self._drop is None:
            return ""
        try:
            found = read_mark(self._archive.place, self._drop)
        except OSError as error:
            self._trouble, self._archive.place = _trouble(self._config.done_path / MARK, error), None
            return ""
        self._is_marked = bool(found)
        return found

    def _ready(self, drop: Place) -> Place:
        """Return the done folder, made, marked and tidy."""
        done = self._archive.place or opened_done(self._config, drop, make=True)
        self._archive.place = done
        if not done.may_write():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if not self._is_marked:
            write_mark(done)
            self._is_marked = True
        if not self._is_tidy:
            tidy(done, self._context.now())
            self._is_tidy = True
        return done

    # -- what stands there --------------------------------------------------------------

    def _dropped(
        self, problems: BoundedList[BadFile], left_alone: BoundedList[LeftFile]
    ) -> tuple[list[File], list[File]]:
        """Return the files with a stamp, and those that need one: the first to be dropped, if many."""
        config, now = self._config, self._context.now()
        known: list[File] = []
        new: list[File] = []
        for name in self._names(left_alone):
            if len(new) >= MOST_NEW and name not in self._waiting:
                left_alone.add(LeftFile(name, f"waits for its turn: {MOST_NEW:,} files are read first", IN_TURN))
                continue
            try:
                assert self._drop is not None
                file = ready_file(self._drop, name, config, now)
            except FileNotFoundError:
                continue
            except LeftAlone as reason:
                left_alone.add(LeftFile(name, str(reason), reason.hint))
                continue
            except (OSError, FileProblem) as error:
                problems.add(bad(name, error))
                continue
            self._recognize(file)
            entry = self._waiting.get(name)
            if entry is None or entry["version"] != [file.inode, file.mtime_ns, file.size]:
                new.append(file)
            else:
                known.append(replace(file, stamp=entry["stamp"]))
        return known, new

    def _names(self, left_alone: BoundedList[LeftFile]) -> Iterator[str]:
        """Yield the names to inspect, by ctime, which cannot be forged."""
        config, place = self._config, self._drop
        assert place is not None
        done = config.done_path.name if config.done_path.parent == config.path else ""
        found: list[tuple[int, str]] = []
        try:
            for entry in candidates(place, done, left_alone):
                with suppress(FileNotFoundError):
                    found.append((entry.stat(follow_symlinks=False).st_ctime_ns, entry.name))
                if len(found) % LOOK_EVERY == 0:
                    self._context.sleep(0)
        except OSError as error:
            raise unavailable(config.path, error) from None
        for number, (_, name) in enumerate(sorted(found), 1):
            if number % LOOK_EVERY == 0:
                self._context.sleep(0)
            yield name

    # -- what the store keeps -----------------------------------------------------------

    def _load(self) -> None:
        if self._loaded:
            return
        kept = self._context.store.get("files") or {}
        self._waiting = {name: {**entry} for name, entry in kept.get("waiting", {}).items()}  # copied
        self._stamps.given = kept.get("last", 0)
        whole = {name: entry for name, entry in self._waiting.items() if self._streams <= set(entry["read"])}
        self._moved = {name: entry["stamp"] for name, entry in whole.items()}
        self._loaded = True

    def _keep(self) -> None:
        kept = {"last": self._stamps.given, "waiting": self._waiting}
        if kept != self._context.store.get("files"):
            # Copied, because the store writes it when the page is booked, and this dict changes before that.
            waiting = {name: {**entry} for name, entry in self._waiting.items()}
            self._context.store.put("files", {**kept, "waiting": waiting})

    def _recognize(self, file: File) -> None:
        """Recognize a file whose move was interrupted."""
        name, named = file.path.name, parse_name(file.path.name)
        if not name.startswith(TAKING) or named is None:
            return
        stamp, _, dropped = named
        before = self._waiting.get(dropped)
        version = [file.inode, file.mtime_ns, file.size]
        if before is not None and before["stamp"] == stamp and before["version"] == version:
            self._waiting[name] = self._waiting.pop(dropped)
            if dropped in self._moved:
                self._moved[name] = self._moved.pop(dropped)

    # -- moving -------------------------------------------------------------------------

    def _moved_aside(self, file: File, problems: BoundedList[BadFile]) -> File:
        """Return `file`, moved to the done folder if an earlier pass has read it completely."""
        key = file.path.name
        if self._moved.get(key) != file.stamp:
            return file
        try:
            with self._archive.own_change():
                moved = self._move(file)
        except Changed:  # the next pass reads the other version
            return file
        except (OSError, FileProblem) as error:
            told = f"{shown(file.name)} was read and cannot be moved to {self._config.done_path}: {why(error)}"
            problems.add(BadFile(told, STAYS))
            return file
        self._waiting.pop(key, None)
        self._archive.add(moved)
        return moved

    def _move(self, file: File) -> File:
        """Move a file to the done folder. A crash leaves it complete in one of both places."""
        drop = self._drop
        assert drop is not None
        done = self._ready(drop)
        taking = file.path.name
        if not taking.startswith(TAKING):
            taking = taking_name(done_name(file.stamp, file.size, file.name))
            drop.rename(file.path.name, drop, taking)
        with drop.open(taking) as reading:
            found = os.fstat(reading.fileno())
            if not is_version(file, found):  # it was replaced a moment ago, so the new file must be read
                if found.st_size > self._config.max_file_size:
                    raise too_large(self._config)
                (file,) = self._stamps.give([replace(file, size=found.st_size, mtime_ns=found.st_mtime_ns)])
            name = done_name(file.stamp, file.size, file.name)
            with suppress(FileNotFoundError):
                done.stat(name)
                raise Refused(f"{name} stands there already", done.path)
            try:
                drop.rename(taking, done, name)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                copy(reading, done, name, lambda: self._context.sleep(0))
                drop.unlink(taking)
        return File(done.path / name, file.name, file.stamp, file.size, place=done)


def _in_order(files: Sequence[File]) -> list[File]:
    return sorted(files, key=lambda file: (file.stamp, file.path.name))


def _trouble(path: Path, error: OSError) -> BadFile:
    return BadFile(f"{path} {why(error)}", REMOVE if isinstance(error, Refused) else MOUNTED)
