"""Read and write the lock's file: its holder's name, and how far the ledger was at the end of its last pass."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from syncd import files
from syncd.ledger.standing import Standing, parsed


def lock_file(path: Path) -> Path:
    """Return the path of the lock beside the ledger."""
    return path.with_name(path.name + ".lock")


def open_lock(lock: Path, flags: int) -> int:
    """Return a descriptor of the lock. Refused for a link, a second name, a FIFO …, which stay untouched."""
    owners = files.trusted() | {lock.parent.stat().st_uid}
    return files.open_regular(lock, flags, owners=owners, one_name=True)


def kept_standing(path: Path) -> Standing | None:
    """Return how far the ledger was at the end of its last pass, by the lock's file. None if that is not known."""
    with suppress(OSError):
        handle = open_lock(lock_file(path), os.O_RDONLY)
        try:
            return parsed(_signed(handle).get("standing"))
        finally:
            os.close(handle)
    return None


def keep_standing(path: Path, found: Standing) -> None:
    """Keep how far the ledger is in the lock's file, if there is one. Call it while the ledger is held.

    It does not wait for the disk: a copy that is too old, or that is missing, claims nothing.
    """
    with suppress(OSError):
        handle = open_lock(lock_file(path), os.O_RDWR)
        try:
            _write(handle, json.dumps({**_signed(handle), "standing": found}))
        finally:
            os.close(handle)


def sign(handle: int, facts: dict[str, Any]) -> None:
    """Write who holds the ledger. The copy of its standing stays."""
    kept = {key: value for key, value in _signed(handle).items() if key == "standing"}
    with suppress(OSError):  # a full disk: the lock still holds, only the name is missing
        _write(handle, json.dumps(facts | kept) if facts or kept else "")


def _write(handle: int, text: str) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, text.encode(), 0)


def _signed(handle: int) -> dict[str, Any]:
    """Return the facts in the lock's file, or none."""
    try:
        found = json.loads(os.pread(handle, 500, 0))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def signature(handle: int) -> str | None:
    """Return the name of the process that signed the lock, or None."""
    holder = _signed(handle)
    if "command" not in holder or "pid" not in holder:
        return None
    return f"`syncd {holder['command']}`, process {holder['pid']}"


__all__ = ["keep_standing", "kept_standing", "lock_file", "open_lock", "sign", "signature"]
