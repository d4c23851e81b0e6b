"""The folder: which files stand in it, when each arrived, and how it is moved aside. All that is written there, here.

    dropped ──quiet, readable──► waiting ──read by every stream, in an earlier pass──► done/<stamp>-<size>-<name>
    (left alone until then)      (its stamp stands in the store)                       (its stamp stands in its name)

A stamp is when a file arrived by our own reckoning: later than every stamp before, whatever a clock or `cp -p` says
of the file. So no file comes in behind a watermark, and what is waiting and what is done are read alike, by their
stamps. When a file moves is of no account for that: nothing is lost or doubled wherever a crash falls. What was
changed after it had been read gets a new stamp, in the folder and among the done.
"""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from connectors.jsonl.config import JsonlConfig
from connectors.jsonl.lines import File, FileProblem, refuse_unreadable, span
from syncd.connector import Context
from syncd.errors import Unavailable
from syncd.text import clean
from syncd.values import from_ms, to_ms

SUFFIXES = (".jsonl", ".ndjson", ".csv")
UNDER_WAY = (".tmp", ".part", ".partial", "~")
UNENDED = 60  # times `quiet_for`: how long a file is left alone whose last line has no end
MARK = ".syncd-id"  # in the done folder: whose it is
TAKING = ".syncd-taking-"  # before the name of a file that is being moved
COPYING = ".syncd-copying-"
DONE_NAME = re.compile(r"(\d{8}T\d{9})Z-(\d+)-(.+)", re.DOTALL)
LONGEST_NAME = 180  # bytes of a name that are kept, of the 255 that file systems take
STAMP = "%Y%m%dT%H%M%S"


@dataclass(frozen=True, slots=True)
class Stock:
    """What stands in the folder at one moment."""

    files: Sequence[File]  # to be read, the first to arrive first
    left_alone: Sequence[tuple[str, str]] = ()  # name, and why: it is still being written, or not ours
    problems: Sequence[str] = ()  # what cannot be read or moved, and why
    fresh: bool = False  # files were stamped that no earlier pass has seen
    until: int = 0  # epoch milliseconds: greatest stamp ever given


def shown(name: str) -> str:
    """Return a file's name as it may stand in a message."""
    return (clean(name) or "?")[:120]


class Folder:
    """One source's folder, for one pass."""

    def __init__(self, config: JsonlConfig, context: Context, streams: Collection[str]) -> None:
        self._config = config
        self._context = context
        self._streams = set(streams)
        self._waiting: dict[str, dict[str, Any]] = {}
        self._given = 0  # epoch milliseconds: the end of the latest stamp that was given
        self._done_end = 0  # the same of what is done, whoever gave it
        self._moved: dict[str, int] = {}  # what an earlier pass has read whole: name, stamp
        self._loaded = False

    def identity(self) -> str | None:
        """Return the folder's own id; None before anything was moved there.

        Unavailable where it had one and has none now: an empty mount point is no empty folder.
        """
        known = self._context.store.get("folder")
        try:
            found = (self._config.done_path / MARK).read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            found = ""
        except OSError as error:
            raise _unavailable(self._config.done_path, error) from None
        if found and found != known:
            self._context.store.put("folder", found)
        if known and not found:
            raise Unavailable(
                f"{self._config.done_path} lacks {MARK}, which stood there",
                hint=f"is it mounted? Where it was emptied on purpose: echo {known} > {self._config.done_path / MARK}",
            )
        return found or None

    def stock(self, *, look: bool = False) -> Stock:
        """Return the files to read, with what is new stamped and what was read moved; `look`: change nothing.

        Unavailable when the folder cannot be read.
        """
        self.identity()
        self._load()
        done = list(self._done(look=look))
        files: list[File] = []
        new: list[File] = []
        left_alone: list[tuple[str, str]] = []
        problems: list[str] = []
        for entry in sorted(self._entries(), key=lambda entry: entry.name):
            try:
                reason = self._why_left_alone(entry)
                if reason:
                    left_alone.append((entry.name, reason))
                    continue
                found = _file(Path(entry.path))
                refuse_unreadable(found.path, self._config)
            except FileNotFoundError:
                continue
            except (OSError, FileProblem) as error:
                problems.append(f"{shown(entry.name)} {_why(error)}")
                continue
            self._recognize(entry.name)
            known = self._waiting.get(entry.name)
            if known is None or known["version"] != [found.inode, found.mtime_ns, found.size]:
                new.append(found)
            else:
                files.append(replace(found, stamp=known["stamp"]))
        stamped = self._stamp(new)
        if look:
            return Stock(_in_order([*done, *files, *stamped]), left_alone, problems, until=self._given)
        present = {file.path.name for file in (*files, *stamped)}
        self._waiting = {name: entry for name, entry in self._waiting.items() if name in present}
        for file in stamped:
            version = [file.inode, file.mtime_ns, file.size]
            self._waiting[file.path.name] = {"version": version, "stamp": file.stamp, "read": []}
        kept = [self._moved_aside(file, problems) for file in files]
        self._keep()
        return Stock(_in_order([*done, *kept, *stamped]), left_alone, problems, bool(stamped), self._given)

    def mark_read(self, files: Collection[File], stream: str) -> None:
        """Keep that a pass of `stream` has read these to their end: a later pass moves them."""
        for file in files:
            entry = self._waiting.get(file.path.name)
            if entry is not None and entry["stamp"] == file.stamp and stream not in entry["read"]:
                entry["read"] = sorted([*entry["read"], stream])
        self._keep()

    def forget(self, file: File) -> None:
        """Let a file that could not be read after all be stamped anew: by then the watermark may have passed it."""
        if self._waiting.pop(file.path.name, None) is not None:
            self._keep()

    def put_off(self, file: File) -> bool:
        """Stamp a done file anew that cannot be read just now: so it holds up no other, and is read when it can be.

        False where it keeps its stamp: it could not be renamed, or this pass only looks.
        """
        return not self._context.looks_only and self._restamped(file).stamp != file.stamp

    # -- what stands there --------------------------------------------------------------

    def _entries(self) -> Iterator["os.DirEntry[str]"]:
        try:
            with os.scandir(self._config.path) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        yield entry
        except OSError as error:
            raise _unavailable(self._config.path, error) from None

    def _why_left_alone(self, entry: "os.DirEntry[str]") -> str:
        name = entry.name.lower()
        if entry.name.startswith(TAKING):
            return ""
        if name.startswith(".") or name.endswith(UNDER_WAY):
            return "is still being written, by its name"
        if not name.endswith(SUFFIXES):
            return f"ends in none of {', '.join(SUFFIXES)}"
        if not entry.is_file(follow_symlinks=False):
            return "is no plain file"
        found = entry.stat(follow_symlinks=False)
        quiet = self._context.now() - datetime.fromtimestamp(max(found.st_mtime, 0), UTC)
        if quiet < -timedelta(minutes=1):  # by a clock that is not ours: it says nothing
            quiet = self._config.quiet_for
        if quiet < self._config.quiet_for:
            return "changed a moment ago"
        if quiet < UNENDED * self._config.quiet_for and not _ends_a_line(Path(entry.path), found.st_size):
            return "ends in the middle of a line"
        return ""

    def _done(self, *, look: bool) -> Iterator[File]:
        """Yield what was moved aside; a file that has changed since is stamped anew, as what arrives."""
        changed = []
        for path, size in self._listed():
            named = DONE_NAME.fullmatch(path.name)
            stamp = _stamp_of(named[1]) if named else None
            if named is None or stamp is None or not named[3].lower().endswith(SUFFIXES):
                continue
            file = File(path, named[3], stamp, int(named[2]))
            self._done_end = max(self._done_end, file.end)
            if size != file.size and not look:
                changed.append(file)
            else:
                yield file
        for file in changed:
            yield self._restamped(file)

    def _listed(self) -> list[tuple[Path, int]]:
        try:
            with os.scandir(self._config.done_path) as entries:
                return [
                    (Path(entry.path), entry.stat(follow_symlinks=False).st_size)
                    for entry in entries
                    if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False)
                ]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unavailable(self._config.done_path, error) from None

    def _restamped(self, file: File) -> File:
        with suppress(OSError):
            (found,) = self._stamp([_file(file.path)])
            path = file.path.with_name(_done_name(found.stamp, found.size, file.name))
            file.path.rename(path)
            return File(path, file.name, found.stamp, found.size)
        return file

    # -- stamps -------------------------------------------------------------------------

    def _load(self) -> None:
        if self._loaded:
            return
        kept = self._context.store.get("files") or {}
        self._waiting = {name: {**entry} for name, entry in kept.get("waiting", {}).items()}  # the store's own stays
        self._given = kept.get("last", 0)
        whole = {name: entry for name, entry in self._waiting.items() if self._streams <= set(entry["read"])}
        self._moved = {name: entry["stamp"] for name, entry in whole.items()}
        self._loaded = True

    def _keep(self) -> None:
        kept = {"last": self._given, "waiting": self._waiting}
        if kept != self._context.store.get("files"):
            # A copy: what was put is written when its page is booked, and this goes on changing.
            waiting = {name: {**entry} for name, entry in self._waiting.items()}
            self._context.store.put("files", {**kept, "waiting": waiting})

    def _stamp(self, files: Sequence[File]) -> list[File]:
        """Give each a stamp later than all before: the oldest first, the last one's end no later than now."""
        if not files:
            return []
        stamped = []
        room = sum(span(file.size) + 1 for file in files)
        now = to_ms(self._context.now())
        at = max(now - room + 1, self._given + 1, self._done_end + 1, to_ms(self._config.start))
        for file in sorted(files, key=lambda file: (file.mtime_ns, file.name)):
            stamped.append(replace(file, stamp=at))
            at += span(file.size) + 1
        self._given = at - 1
        return stamped

    def _recognize(self, name: str) -> None:
        """Know a file again whose move was cut short."""
        named = DONE_NAME.fullmatch(name.removeprefix(TAKING))
        if name.startswith(TAKING) and named is not None:
            before = self._waiting.get(named[3])
            if before is not None and before["stamp"] == _stamp_of(named[1]):
                self._waiting[name] = self._waiting.pop(named[3])
                if named[3] in self._moved:
                    self._moved[name] = self._moved.pop(named[3])

    # -- moving -------------------------------------------------------------------------

    def _moved_aside(self, file: File, problems: list[str]) -> File:
        """Return `file` where it stands now: among the done, where an earlier pass has read it whole."""
        key = file.path.name
        if self._moved.get(key) != file.stamp:
            return file
        try:
            moved = self._move(file)
        except OSError as error:
            problems.append(
                f"{shown(file.name)} was read and cannot be moved to {self._config.done_path}: {_why(error)}"
            )
            return file
        self._waiting.pop(key, None)
        return moved

    def _move(self, file: File) -> File:
        """Move a file of the folder aside, whatever stands between: a crash leaves it whole in one of the places."""
        self._make_ready()
        taking = file.path
        if not taking.name.startswith(TAKING):
            taking = file.path.with_name(TAKING + _done_name(file.stamp, file.size, file.name))
            file.path.rename(taking)
        found = _file(taking)
        if (found.inode, found.mtime_ns, found.size) != (file.inode, file.mtime_ns, file.size):
            (found,) = self._stamp([found])  # another version took its place a moment ago: it is to be read
            file = replace(file, stamp=found.stamp, size=found.size)
        done = self._config.done_path / _done_name(file.stamp, file.size, file.name)
        try:
            taking.rename(done)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(taking, done)
            taking.unlink()
        return File(done, file.name, file.stamp, file.size)

    def _make_ready(self) -> None:
        done = self._config.done_path
        done.mkdir(parents=True, exist_ok=True)
        if not os.access(done, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        mark = done / MARK
        if not mark.exists():
            _write(mark, secrets.token_hex(8) + "\n")


def _file(path: Path) -> File:
    """Return a file of the folder, not yet stamped."""
    found = path.stat()
    name = path.name
    if name.startswith(TAKING):
        named = DONE_NAME.fullmatch(name.removeprefix(TAKING))
        name = named[3] if named else name.removeprefix(TAKING)
    return File(path, name, 0, found.st_size, found.st_ino, found.st_mtime_ns, waiting=True)


def _in_order(files: Sequence[File]) -> list[File]:
    return sorted(files, key=lambda file: (file.stamp, file.path.name))


def _done_name(stamp: int, size: int, name: str) -> str:
    at, most = from_ms(stamp), os.fsencode(name)[-LONGEST_NAME:]
    name = name if len(most) < LONGEST_NAME else os.fsdecode(most)
    return f"{at.strftime(STAMP)}{at.microsecond // 1000:03}Z-{size}-{name}"


def _stamp_of(written: str) -> int | None:
    try:
        at = datetime.strptime(written[:-3], STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return to_ms(at) + int(written[-3:])


def _ends_a_line(path: Path, size: int) -> bool:
    with path.open("rb") as handle:
        handle.seek(max(size - 1, 0))
        return handle.read(1) in (b"\n", b"")


def _copy(source: Path, target: Path) -> None:
    part = target.with_name(COPYING + target.name)
    with source.open("rb") as reading, part.open("wb") as writing:
        shutil.copyfileobj(reading, writing, 1024 * 1024)
        writing.flush()
        os.fsync(writing.fileno())
    shutil.copystat(source, part)
    part.rename(target)
    _sync_folder(target.parent)


def _write(path: Path, content: str) -> None:
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="ascii") as writing:
        writing.write(content)
        writing.flush()
        os.fsync(writing.fileno())
    part.rename(path)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    """Have a rename outlast a power failure."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or type(error).__name__})"
    return str(error)


def _unavailable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"{path} cannot be read ({error.strerror or type(error).__name__})",
        hint="is it there, is it mounted, and may syncd's user read it?",
    )
