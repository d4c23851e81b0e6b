"""Small file systems that tests fill or make read-only."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def mounted(at: Path, options: str) -> Iterator[Path]:
    """Mount a small file system. The test is skipped if that is not allowed."""
    at.mkdir(exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(at), b"tmpfs", 0, options.encode()) != 0:
        pytest.skip(f"needs the right to mount a tmpfs: {os.strerror(ctypes.get_errno())}")
    try:
        yield at
    finally:
        assert libc.umount2(os.fsencode(at), 2) == 0


def read_only(at: Path, *, yes: bool = True) -> None:
    """Remount a file system as read-only, or as writable."""
    libc = ctypes.CDLL(None, use_errno=True)
    remount, readonly = 32, 1
    assert libc.mount(b"tmpfs", os.fsencode(at), b"tmpfs", remount | (readonly if yes else 0), None) == 0


def fill(disk: Path) -> Path:
    """Fill `disk` completely, and return the file that does so."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as taken, suppress(OSError):
        while taken.write(b"x" * 4096):
            pass
    assert os.statvfs(disk).f_bavail == 0
    return filler
