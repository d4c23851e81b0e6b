"""Write and parse the names that syncd gives to files. Pure.

done/20261005T090000000Z-512-calls.csv             when it arrived, its bytes, its name as it was dropped
.syncd-taking-<random>-20261005T090000000Z-512-…   the same in the drop folder, while it is moved
"""

import os
import re
import secrets
from datetime import UTC, datetime

from syncd.fields import from_ms, to_ms
from syncd.text import clean

SUFFIXES = (".jsonl", ".ndjson", ".csv")
UNDER_WAY = (".tmp", ".part", ".partial", "~")
MARK = ".syncd-id"  # in the done folder: the folder's id
TAKING = ".syncd-taking-"  # before the name of a file that is being moved
LONGEST_NAME = 180  # bytes of a name that are kept; file systems take 255
STAMP = "%Y%m%dT%H%M%S"

_DONE = re.compile(r"(\d{8}T\d{9})Z-(\d{1,15})-(.+)", re.DOTALL | re.ASCII)
_TAKING = re.compile(re.escape(TAKING) + r"(?:[0-9a-f]{16}-)?(.+)", re.DOTALL)
_PART = re.compile(r"\.syncd-[0-9a-f]{16}\.part|\.syncd-copying-.+", re.DOTALL)


def shown(name: str) -> str:
    """Return a file's name for messages, printable and at most 120 characters."""
    return "".join(char for char in clean(name[:255]) or "?" if char.isprintable())[:120]


def done_name(stamp: int, size: int, name: str) -> str:
    """Return a file's name in the done folder. A long `name` loses its beginning."""
    at, most = from_ms(stamp), os.fsencode(name)[-LONGEST_NAME:]
    name = name if len(most) < LONGEST_NAME else os.fsdecode(most)
    return f"{at.strftime(STAMP)}{at.microsecond // 1000:03}Z-{size}-{name}"


def taking_name(name: str) -> str:
    """Return an unguessable name in the drop folder, for a file that is being moved to `name`."""
    return f"{TAKING}{secrets.token_hex(8)}-{name}"


def parse_name(name: str) -> tuple[int, int, str] | None:
    """Return stamp, size and dropped name of a done name or a taking name. None if it is neither."""
    taking = _TAKING.fullmatch(name)
    named = _DONE.fullmatch(taking[1] if taking else name)
    stamp = _stamp(named[1]) if named else None
    return None if named is None or stamp is None else (stamp, int(named[2]), named[3])


def dropped_name(name: str) -> str:
    """Return the name under which a file of the drop folder was dropped."""
    if not name.startswith(TAKING):
        return name
    found = parse_name(name)
    return found[2] if found else name.removeprefix(TAKING)


def is_leftover(name: str) -> bool:
    """Tell whether a name in the done folder is of a file that a crash left incomplete."""
    return _PART.fullmatch(name) is not None


def _stamp(written: str) -> int | None:
    try:
        at = datetime.strptime(written[:-3], STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return to_ms(at) + int(written[-3:])
