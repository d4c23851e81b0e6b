"""Hold a folder open, and use the names in it. Nothing here follows a link or waits for a writer.

Names are looked up in the open folder. So replacing the folder by a link has no effect.
"""

import os
import stat
import weakref
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

from syncd import files
from syncd.files import Refused

BLOCK = 1024 * 1024  # bytes read at once
FOLDER_MODE = 0o755  # of a new folder: only its owner may write in it


class Place:
    """Hold one open folder, which is closed with the last reference to it."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path  # for messages
        self._handle = handle
        weakref.finalize(self, os.close, handle)

    @classmethod
    def at(cls, path: Path) -> Self:
        """Open the folder that the operator named. Refused if it is a link of an untrusted user."""
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode) and found.st_uid not in files.trusted():
            raise Refused(f"is a symbolic link of user {found.st_uid}", path)
        return cls(path, os.open(path.resolve(strict=True), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def inner(self, name: str, *, make: bool = False) -> "Place":
        """Open a folder in this one. FileNotFoundError if it is missing and not to be made."""
        path = self.path / name
        if make:
            with suppress(FileExistsError):
                os.mkdir(name, FOLDER_MODE, dir_fd=self._handle)
        if stat.S_ISLNK(self.stat(name).st_mode):
            raise Refused("is a symbolic link, expected a folder", path)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        return Place(path, os.open(name, flags, dir_fd=self._handle))

    def status(self) -> os.stat_result:
        """Return the folder's own status."""
        return os.fstat(self._handle)

    def entries(self) -> Iterator["os.DirEntry[str]"]:
        """Yield the folder's entries, in no order."""
        with os.scandir(self._handle) as entries:
            yield from entries

    def stat(self, name: str) -> os.stat_result:
        """Return the status of a name, without following a link."""
        return os.stat(name, dir_fd=self._handle, follow_symlinks=False)

    def open(self, name: str) -> BinaryIO:
        """Open a regular file with one name for reading. Refused if it is anything else."""
        return os.fdopen(files.open_regular(Path(name), one_name=True, dir_fd=self._handle), "rb", buffering=BLOCK)

    def read(self, name: str, *, most: int, owners: Collection[int]) -> bytes:
        """Return the content of a small file that belongs to one of `owners`."""
        handle = files.open_regular(Path(name), owners=owners, one_name=True, dir_fd=self._handle)
        with os.fdopen(handle, "rb") as reading:
            content = reading.read(most + 1)
        if len(content) > most:
            raise Refused(f"is larger than {most} bytes", self.path / name)
        return content

    def create(self, mode: int = 0o600) -> tuple[str, BinaryIO]:
        """Create a new file, and return its unguessable name and the file to write."""
        name = files.unguessable(Path("x")).name
        return name, os.fdopen(files.create(Path(name), mode, dir_fd=self._handle), "wb", buffering=BLOCK)

    def write(self, name: str, content: bytes) -> None:
        """Replace `name` by a complete file that survives a power failure."""
        part, writing = self.create(0o644)
        try:
            with writing:
                writing.write(content)
                self.persist(writing)
            self.rename(part, self, name)
        except BaseException:
            with suppress(OSError):
                self.unlink(part)
            raise
        self.sync()

    def rename(self, name: str, into: "Place", new: str) -> None:
        """Move whatever `name` is by now. A link at the target is replaced."""
        os.rename(name, new, src_dir_fd=self._handle, dst_dir_fd=into._handle)

    def unlink(self, name: str) -> None:
        """Remove a file or a link."""
        os.unlink(name, dir_fd=self._handle)

    def may_write(self) -> bool:
        """Tell whether names may be made and removed in the folder."""
        return os.access(".", os.W_OK | os.X_OK, dir_fd=self._handle)

    def persist(self, writing: BinaryIO) -> None:
        """Make a file's content outlast a power failure."""
        writing.flush()
        os.fsync(writing.fileno())

    def sync(self) -> None:
        """Make the names in the folder outlast a power failure."""
        os.fsync(self._handle)


def is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Tell whether two handles are of one file or folder."""
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
