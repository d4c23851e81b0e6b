"""Split a file into lines of bytes, in bounded memory."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from connectors.jsonl.place import BLOCK

LONGEST = 1024 * 1024  # bytes; a longer line is a bad line
VALUE_BYTES = 64  # approximate memory of one value of a parsed line
LOOK_EVERY = 1024 * 1024  # bytes read between two checks for a stop
BOM = b"\xef\xbb\xbf"

# Offset of its first byte, its bytes (of an overlong line their hash), its number in the reading, its length.
Physical = tuple[int, bytes, int, int]
# The same with its object, its fault, and its approximate memory.
Found = tuple[int, bytes, int, dict[str, Any], str, int]

TOO_LONG = f"is longer than {LONGEST // 1024} KiB"


def split(handle: BinaryIO, offset: int, size: int, pause: Callable[[], None] = lambda: None) -> Iterator[Physical]:
    """Yield each line without its end. Of an overlong line only the hash is kept."""
    number, looked = 0, offset
    while raw := handle.readline(min(LONGEST + 1, size - offset)) if offset < size else b"":
        number += 1
        here, length = offset, len(raw)
        if length > LONGEST and not raw.endswith(b"\n"):
            digest = hashlib.sha256(raw)
            while length < size - here and not raw.endswith(b"\n"):
                pause()
                raw = handle.readline(min(BLOCK, size - here - length))
                if not raw:
                    break
                digest.update(raw)
                length += len(raw)
            raw = digest.digest()
        elif offset == 0 and raw.startswith(BOM):
            raw = raw[len(BOM) :]
        offset += length
        if offset - looked >= LOOK_EVERY:
            looked = offset
            pause()
        yield here, raw.rstrip(b"\r\n"), number, length


def skip_line(handle: BinaryIO, most: int, pause: Callable[[], None]) -> int:
    """Skip to the end of a line, and return the number of bytes."""
    passed = 0
    while passed < most and (raw := handle.readline(min(BLOCK, most - passed))):
        pause()
        passed += len(raw)
        if raw.endswith(b"\n"):
            break
    return passed
