"""List the files of the done folder, and stamp those again that changed there."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from connectors.jsonl.config import JsonlConfig
from connectors.jsonl.done import listed
from connectors.jsonl.dropped import BadFile, BoundedList, bad, too_large, unavailable
from connectors.jsonl.lines import File
from connectors.jsonl.naming import SUFFIXES, TAKING, done_name, parse_name, shown
from connectors.jsonl.place import Place
from connectors.jsonl.stamps import Stamps
from syncd.connector import Context

FORGED = "in the done folder has a time in its name that syncd cannot have given it"
GIVEN = "a pass renames it and reads it as a new file. If it cannot, move it back to the drop folder"
LOOK_EVERY = 1000  # entries between two checks for a stop


class Archive:
    """Hold the list of one source's done folder for one pass."""

    def __init__(self, config: JsonlConfig, context: Context, stamps: Stamps) -> None:
        self.place: Place | None = None  # the done folder. None: it is missing, or cannot be used
        self._config = config
        self._context = context
        self._stamps = stamps
        self._files: list[File] = []
        self._problems: BoundedList[BadFile] = BoundedList()
        self._listed_at: tuple[int, int, int] | None = None  # the version of the folder that was listed

    def files(self, *, read_only: bool) -> tuple[list[File], BoundedList[BadFile]]:
        """Return the files, and those that cannot be read. The folder is listed again only if its names changed."""
        problems: BoundedList[BadFile] = BoundedList()
        if self.place is None or read_only != self._context.read_only:
            return list(self._found(problems, read_only=read_only)), problems
        version = self._version()
        if self._listed_at != version:
            self._files, self._problems = list(self._found(problems, read_only=read_only)), problems
            self._listed_at = version
        return [*self._files], self._problems

    def add(self, file: File) -> None:
        """Add a file that was moved here."""
        self._files.append(file)

    def defer(self, file: File) -> bool:
        """Stamp an unreadable file again, so that it does not delay the others and is read later.

        False if it keeps its stamp, because it could not be renamed.
        """
        with self.own_change():
            stamped = self._restamped(file)
        if file.size > self._config.max_file_size:  # the other streams of this pass report it too
            self._problems.add(bad(file.name, too_large(self._config)))
        self._files = [stamped if each is file else each for each in self._files]
        return stamped.stamp != file.stamp

    @contextmanager
    def own_change(self) -> Iterator[None]:
        """Follow a change by syncd. If another program changed a name before it, the folder is listed again."""
        is_current = self._listed_at == self._version()
        yield
        if is_current:
            self._listed_at = self._version()

    def _version(self) -> tuple[int, int, int] | None:
        """Return a value that changes if a name in the folder does."""
        status = self.place.status() if self.place else None
        return (status.st_dev, status.st_ino, status.st_mtime_ns) if status else None

    def _found(self, problems: BoundedList[BadFile], *, read_only: bool) -> Iterator[File]:
        """Yield the files. A file that has changed since is stamped again, like a new one.

        A stamp in the future that the store does not know is forged, and no stamp follows it.
        """
        if self.place is None:
            return
        latest = self._stamps.latest_possible()
        unseen = None if read_only else self._context.store.get("unseen")
        changed: list[tuple[File, bool]] = []
        for name, size in self._names(self.place, problems):
            named = parse_name(name)
            if named is None or name.startswith(TAKING) or not named[2].lower().endswith(SUFFIXES):
                continue
            stamp, named_size, dropped = named
            file = File(self.place.path / name, dropped, stamp, named_size, place=self.place)
            is_possible = stamp >= 0 and file.end <= latest
            if is_possible and size == named_size:
                self._stamps.done_end = max(self._stamps.done_end, file.end)
            if is_possible and (read_only or size == named_size) and (unseen is None or file.end < unseen):
                yield file
            elif size > self._config.max_file_size:
                problems.add(bad(dropped, too_large(self._config)))
            elif read_only:
                problems.add(BadFile(f"{shown(dropped)} {FORGED}", GIVEN))
            else:
                changed.append((file, is_possible))
        if unseen is not None:
            self._context.store.put("unseen", None)
        for file, is_possible in changed:
            found = self._restamped(file)
            if is_possible or found.stamp != file.stamp:
                yield found
            else:
                problems.add(BadFile(f"{shown(file.name)} {FORGED}", GIVEN))

    def _names(self, done: Place, problems: BoundedList[BadFile]) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        try:
            for each in listed(done, problems):
                found.append(each)
                if len(found) % LOOK_EVERY == 0:
                    self._context.sleep(0)
        except OSError as error:
            raise unavailable(self._config.done_path, error) from None
        return found

    def _restamped(self, file: File) -> File:
        """Return a file with a new stamp, or unchanged if it cannot be renamed.

        A file over the limit gets size 0 in its name. So it counts as changed once the limit is raised.
        """
        done = self.place
        with suppress(OSError):
            assert done is not None
            found = done.stat(file.path.name)
            size = found.st_size if found.st_size <= self._config.max_file_size else 0
            (stamped,) = self._stamps.give([replace(file, size=size, mtime_ns=found.st_mtime_ns)])
            name = done_name(stamped.stamp, size, file.name)
            done.rename(file.path.name, done, name)
            return replace(stamped, path=done.path / name)
        return file
