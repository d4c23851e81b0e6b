"""Open, read, create and rename files that other users can reach. No other module opens such a file.

A name proves nothing: it may be a link, a FIFO or a device by the time it is opened. So each file is judged by its
open handle. Opening never waits for a writer, a read has a bound in bytes, and a new file has a name that cannot be
guessed. Errors are OSError: `Refused` if the file does not meet the conditions.
"""

import errno
import os
import secrets
import shlex
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BLOCK = 64 * 1024  # bytes read at once
MOST_LINKS = 40  # in one path, as the kernel counts them
EXPECTED = ", expected a regular file"
LINK = "find out who made the link. If it is right, name the file that it leads to"
FOREIGN = "find out who put it there and remove it, or name another file"
STREAM = "write it to a file, and name that"
OWNER = "give it to the right user (chown), or run syncd as the user it belongs to"
PART = ".part"  # suffix of a file that is still being written

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class Refused(OSError):
    """The file does not meet the conditions. `strerror` says why, to follow its name: "is a FIFO".

    `remedy` tells the operator what to do.
    """

    def __init__(self, why: str, path: Path, *, remedy: str = "") -> None:
        super().__init__(errno.EPERM, why, str(path))
        self.remedy = remedy


def why(error: OSError) -> str:
    """Return the reason in the form of the system's messages: "Is a FIFO", "Permission denied"."""
    text = (error.strerror or type(error).__name__).removesuffix(EXPECTED)
    return text[:1].upper() + text[1:]


def trusted() -> frozenset[int]:
    """Return the user ids whose files syncd may use: root's and the caller's."""
    return frozenset({0, os.geteuid()})


def resolve(path: Path, *, owners: Collection[int]) -> Path:
    """Return the absolute path without links. The last parts may be missing.

    Refused if a link on the way belongs to a user outside `owners`, who could point it anywhere.
    """
    found, links = Path(os.sep), 0
    left = [*reversed((path if path.is_absolute() else Path.cwd() / path).parts)]
    while left:
        part = left.pop()
        here = found.parent if part == os.pardir else found / part
        try:
            status = here.lstat()
        except FileNotFoundError:
            found = here
            continue
        if not stat.S_ISLNK(status.st_mode):
            found = here
            continue
        if status.st_uid not in owners:
            message = f"is a symbolic link of user {status.st_uid}, expected one of {_users(owners)}"
            raise Refused(message, here, remedy=LINK)
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        left += reversed(here.readlink().parts)
    return found


def make_folders(path: Path) -> None:
    """Make a folder and its missing parents, for the caller alone. Existing folders do not change."""
    try:
        path.mkdir(mode=0o700)
    except FileNotFoundError:
        make_folders(path.parent)
        make_folders(path)
    except FileExistsError:
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None


def open_regular(
    path: Path,
    flags: int = os.O_RDONLY,
    *,
    follow: bool = False,
    owners: Collection[int] | None = None,
    one_name: bool = False,
    dir_fd: int | None = None,
) -> int:
    """Return a descriptor of an existing regular file. Never waits, never creates a file.

    Links are followed only if `follow`. `owners` are the allowed user ids, None for any. With `one_name` it may
    have no other hard link. `dir_fd` is the open folder in which a relative `path` starts. FileNotFoundError if it
    is missing, Refused if it does not meet the conditions.
    """
    found = (
        path.stat(follow_symlinks=follow) if dir_fd is None else os.stat(path, dir_fd=dir_fd, follow_symlinks=follow)
    )
    _require(found, path, owners, one_name=one_name)  # before it is opened, because opening a device may have an effect
    nofollow = 0 if follow else os.O_NOFOLLOW
    try:
        handle = os.open(path, flags | nofollow | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=dir_fd)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise Refused("is a symbolic link", path, remedy=LINK) from None
        raise
    try:
        _require(os.fstat(handle), path, owners, one_name=one_name)
    except BaseException:
        os.close(handle)
        raise
    return handle


def read(path: Path, *, most: int, follow: bool = False, owners: Collection[int] | None = None) -> bytes:
    """Return the content of a regular file. Refused if it holds more than `most` bytes."""
    handle = open_regular(path, follow=follow, owners=owners)
    try:
        content = bytearray()
        while block := os.read(handle, min(BLOCK, most + 1 - len(content))):
            content += block
            if len(content) > most:
                raise Refused(f"is larger than {most:,} bytes", path, remedy="name the right file")
        return bytes(content)
    finally:
        os.close(handle)


def create(path: Path, mode: int = 0o600, *, dir_fd: int | None = None) -> int:
    """Create a file and return a descriptor to write it. FileExistsError if the name is taken."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=dir_fd)


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace the file at `path` in one step. The result survives a power failure.

    A link at `path` is replaced, not followed.
    """
    part = unguessable(path)
    handle = create(part, mode)
    try:
        try:
            written = 0
            while written < len(content):
                written += os.write(handle, content[written:])
            os.fsync(handle)
        finally:
            os.close(handle)
        part.rename(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    sync_folder(path.parent)


def unguessable(path: Path) -> Path:
    """Return a hidden name beside `path` that cannot be guessed, for a file still being written."""
    return path.with_name(f".syncd-{secrets.token_hex(8)}{PART}")


def sync_folder(path: Path) -> None:
    """Let renames in a folder survive a power failure."""
    folder = open_folder(path)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def open_folder(path: Path, *, follow: bool = True) -> int:
    """Return a descriptor of a folder. Refused for a link unless `follow`, NotADirectoryError for anything else."""
    if not follow and stat.S_ISLNK(path.lstat().st_mode):
        raise Refused("is a symbolic link", path)
    nofollow = 0 if follow else os.O_NOFOLLOW
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | nofollow | os.O_CLOEXEC)


@contextmanager
def pinned(path: Path) -> Iterator[int]:
    """Hold a handle of `path`, even of a link, that can only be inspected (O_PATH).

    Closing it drops no lock. An ordinary descriptor of a SQLite file would drop all of this process's locks on it
    (sqlite.org/howtocorrupt.html, 2.2).
    """
    handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def require_regular(
    handle: int, path: Path, *, owners: Collection[int] | None = None, one_name: bool = False
) -> os.stat_result:
    """Return the status of an open file. Refused unless it is regular and meets `owners` and `one_name`."""
    found = os.fstat(handle)
    _require(found, path, owners, one_name=one_name)
    return found


def make_private(handle: int) -> None:
    """Let only the owner read and write the file of a `pinned` handle."""
    try:
        Path(f"/proc/self/fd/{handle}").chmod(0o600)  # fchmod rejects an O_PATH handle
    except FileNotFoundError:  # no /proc here
        if stat.S_IMODE(os.fstat(handle).st_mode) != 0o600:
            raise


def kind(mode: int) -> str:
    """Return the kind of file that `mode` tells, e.g. "a FIFO". "" for a regular file."""
    return next((name for holds, name in _KINDS if holds(mode)), "" if stat.S_ISREG(mode) else "no regular file")


def _require(found: os.stat_result, path: Path, owners: Collection[int] | None, *, one_name: bool) -> None:
    what = kind(found.st_mode)
    if what:
        is_stream = path.is_relative_to("/dev") or path.is_relative_to("/proc")  # <(…), /dev/stdin
        remedy = LINK if stat.S_ISLNK(found.st_mode) else STREAM if is_stream else FOREIGN
        raise Refused(f"is {what}{EXPECTED}", path, remedy=remedy)
    if owners is not None and found.st_uid not in owners:
        raise Refused(f"belongs to user {found.st_uid}, expected {_users(owners)}", path, remedy=OWNER)
    if one_name and found.st_nlink > 1:
        remedy = f"remove the other name: find {shlex.quote(str(_mount(path)))} -xdev -inum {found.st_ino}"
        raise Refused("has a second name (a hard link)", path, remedy=remedy)


def _mount(path: Path) -> Path:
    """Return the mount point above `path`. All names of a file are below it."""
    top = Path(os.path.realpath(path.parent))
    with suppress(OSError):
        device = top.stat().st_dev
        for above in top.parents:
            if above.stat().st_dev != device:
                break
            top = above
    return top


def _users(owners: Collection[int]) -> str:
    return " or ".join("root" if owner == 0 else f"user {owner}" for owner in sorted(owners))
