"""Objects that an attacker may put in place of a file, and snapshots of a folder."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices, and becomes another user")
KINDS = (
    "link to a file", "dangling link", "link to a directory", "link to itself", "hard link", "FIFO", "device",
    "link to a device", "directory", "socket",
)  # fmt: skip
NOBODY = 65534


def plant(kind: str, path: Path, *, target: bytes = b"theirs") -> Path:
    """Create an object of a kind at `path`. The targets of links are in the directory `theirs` beside it."""
    theirs = path.parent / "theirs"
    theirs.mkdir(exist_ok=True)
    file = theirs / f"{path.name}.target"
    match kind:
        case "link to a file":
            file.write_bytes(target)
            file.chmod(0o644)
            path.symlink_to(file)
        case "dangling link":
            path.symlink_to(theirs / "nowhere")
        case "link to a directory":
            path.symlink_to(theirs)
        case "link to itself":
            path.symlink_to(path)
        case "hard link":
            file.write_bytes(target)
            file.chmod(0o644)
            path.hardlink_to(file)
        case "FIFO":
            os.mkfifo(path)
        case "device":
            if os.geteuid() != 0:
                pytest.skip("only root makes devices")
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero
        case "link to a device":
            path.symlink_to("/dev/zero")
        case "directory":
            path.mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
    return path


def state(folder: Path) -> dict[str, Any]:
    """Return the type, owner, mode, time and content of everything below `folder`, by name."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        holds = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        written = None if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns
        found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, written, holds)
    return found


def as_user(uid: int, act: Callable[[], str]) -> str:
    """Return the result of `act` in a process of another user."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing was said"
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            said = act()
        except BaseException as error:  # noqa: BLE001 - the other process asserts
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(writing, said.encode()[:4000])
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said
