r"""Read a file line by line, in bounded memory: each line is one record, a bad one too.

    offset     modified at                A line's modification time is when its file arrived, plus a millisecond
    0          stamp                      for each 64 KiB before it. So times ascend within a file, a later line
    65,536     stamp + 1 ms               is the newer version of an id, and a reader that was cut short goes on
    131,072    stamp + 2 ms               from where it was instead of at the top.

What makes a line bad is said in `fault`; nothing here raises but OSError.
"""

import csv
import hashlib
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from connectors.jsonl.config import JsonlConfig
from syncd.activity import Kind
from syncd.values import dig, text

STRIDE = 64 * 1024  # bytes of a file that share one millisecond
LONGEST = 1024 * 1024  # bytes; a longer line is no record
MOST_LINES = 100  # that one CSV record may reach over: a stray quote swallows no file
BLOCK = 1024 * 1024  # bytes read at once
BOM = b"\xef\xbb\xbf"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
AN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # shown in logs and sent as it is; all else is hashed
KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("call", "calls", "phone", "phone call"), "call"),
    **dict.fromkeys(("email", "emails", "e-mail", "mail"), "email"),
}


class FileProblem(Exception):
    """A whole file that cannot be read as it is; says why, without its content."""


class Changed(Exception):
    """Another version of the file stands there now."""


@dataclass(frozen=True, slots=True)
class File:
    """One version of a dropped file."""

    path: Path  # where it stands
    name: str  # as it was dropped
    stamp: int  # epoch milliseconds: when this connector first saw it whole
    size: int  # bytes of this version; what grows beyond is another one
    inode: int = 0
    mtime_ns: int = 0
    waiting: bool = False  # stands in the folder, not among the done

    @property
    def end(self) -> int:
        """Return the modification time of its last bytes."""
        return self.stamp + span(self.size)

    @property
    def is_csv(self) -> bool:
        """Tell a CSV file from JSON Lines."""
        return self.name.lower().endswith(".csv")


class Line(NamedTuple):
    """One record of a file."""

    at: int  # epoch milliseconds: its modification time
    crm_id: str
    kind: Kind
    row: dict[str, Any]
    number: int  # of lines after where the reading began, from 1
    fault: str = ""  # why it is no record, to follow "line 17 of x.jsonl"
    length: int = 0  # bytes


def span(size: int) -> int:
    """Return how many milliseconds a file of that size takes up beyond its first."""
    return max(size - 1, 0) // STRIDE


class Reading:
    """The lines of one file within a stretch of modification time, both ends inclusive."""

    def __init__(self, file: File, config: JsonlConfig, *, since: int, until: int) -> None:
        self.file = file
        self.start = 0 if file.is_csv else max(0, since - file.stamp) * STRIDE  # bytes passed over
        self._config = config
        self._since = since
        self._until = until

    def lines(self, handle: BinaryIO) -> Iterator[Line]:
        """Yield them; `handle` stands at the file's beginning."""
        if self.start:
            handle.seek(self.start - 1)
            self.start += _skip_line(handle, self.file.size - self.start + 1) - 1
        physical = _physical(handle, self.start, self.file.size)
        found = _csv(physical, self._config) if self.file.is_csv else _jsonl(physical)
        for offset, raw, number, row, fault, length in found:
            at = self.file.stamp + offset // STRIDE
            if at > self._until:
                return
            if at >= self._since:
                yield self._line(at, raw, number, row, fault, length)

    @cached_property
    def lines_before(self) -> int:
        """How many lines stand before the place where the reading began."""
        if not self.start:
            return 0
        left, count = self.start, 0
        with self.file.path.open("rb") as handle:
            while left and (block := handle.read(min(left, BLOCK))):
                count += block.count(b"\n")
                left -= len(block)
        return count

    def _line(self, at: int, raw: bytes, number: int, row: dict[str, Any], fault: str, length: int) -> Line:
        columns = self._config.columns
        kind: Kind | None = None
        if not fault:
            word = text(field(row, columns.kind))
            kind = KINDS.get((word or self._config.kind).lower())
            if kind is None:
                fault = f"says neither call nor email in {columns.kind!r}"
        if fault:  # whose it is nobody can tell: one stream takes all of these
            return Line(at, f"line-{_hash(raw)}", kind or "call", {}, number, fault, length)
        written = text(field(row, columns.id))
        if written is None:
            written = _hash(raw)
        elif not AN_ID.fullmatch(written):
            written = _hash(written.encode("utf-8", "surrogatepass"))
        return Line(at, written, kind or "call", row, number, "", length)


def opened(file: File) -> BinaryIO:
    """Open a file for reading; OSError when it cannot be, `Changed` when another version stands there."""
    handle = file.path.open("rb", buffering=BLOCK)
    if file.waiting:
        found = os.fstat(handle.fileno())
        if (found.st_ino, found.st_mtime_ns, found.st_size) != (file.inode, file.mtime_ns, file.size):
            handle.close()
            raise Changed
    return handle


def refuse_unreadable(path: Path, config: JsonlConfig) -> None:
    """Raise `FileProblem` for a file no line of which could be understood, OSError for one that cannot be opened."""
    with path.open("rb") as handle:
        first = handle.readline(LONGEST)
        if first.startswith(UTF_16):
            raise FileProblem("is UTF-16, not UTF-8")
        if not path.name.lower().endswith(".csv") or not first:
            return
        handle.seek(0)
        header = _header(deque(), _physical(handle, 0, os.fstat(handle.fileno()).st_size), config)
    columns = config.columns
    mapped = set(columns.model_dump().values()) - {""}
    twice = sorted(name for name in mapped if header.count(name) > 1)
    if twice:
        raise FileProblem(f"has two columns {twice[0]!r}")
    if not {columns.occurred_at, columns.created_at} & set(header):
        raise FileProblem(f"has no column {columns.occurred_at or columns.created_at!r} in its first line")
    if not config.kind and columns.kind not in header:
        raise FileProblem(f"has no column {columns.kind!r} in its first line, and the source names no kind")


def field(row: Mapping[str, Any], column: str) -> Any:
    """Return what stands in `column`: a name, or else a path such as `contact.email` into nested objects."""
    if not column:
        return None
    if column in row:
        return row[column]
    return dig(row, *column.split(".")) if "." in column else None


# Offset of its first byte, its bytes (of an overlong line their hash), how many lines into the reading.
_Physical = tuple[int, bytes, int, int]
# The same with what it says or why it says nothing, and how long it is.
_Found = tuple[int, bytes, int, dict[str, Any], str, int]

TOO_LONG = f"is longer than {LONGEST // 1024} KiB"


def _physical(handle: BinaryIO, offset: int, size: int) -> Iterator[_Physical]:
    """Yield line by line, without its end; of an overlong one the hash alone, with its length."""
    number = 0
    while raw := handle.readline(min(LONGEST + 1, size - offset)) if offset < size else b"":
        number += 1
        here, length = offset, len(raw)
        if length > LONGEST and not raw.endswith(b"\n"):
            digest = hashlib.sha256(raw)
            while length < size - here and not raw.endswith(b"\n"):
                raw = handle.readline(min(BLOCK, size - here - length))
                if not raw:
                    break
                digest.update(raw)
                length += len(raw)
            raw = digest.digest()
        elif offset == 0 and raw.startswith(BOM):
            raw = raw[len(BOM) :]
        offset += length
        yield here, raw.rstrip(b"\r\n"), number, length


def _skip_line(handle: BinaryIO, most: int) -> int:
    """Read on to the end of a line; return how many bytes that were."""
    passed = 0
    while passed < most and (raw := handle.readline(min(BLOCK, most - passed))):
        passed += len(raw)
        if raw.endswith(b"\n"):
            break
    return passed


def _jsonl(physical: Iterator[_Physical]) -> Iterator[_Found]:
    for offset, raw, number, length in physical:
        if length > LONGEST:
            yield offset, raw, number, {}, TOO_LONG, length
            continue
        try:
            row = orjson.loads(raw)
        except orjson.JSONDecodeError:
            if raw.strip():
                yield offset, raw, number, {}, "is not JSON" if _is_utf8(raw) else "is not UTF-8", length
            continue
        if isinstance(row, dict):
            yield offset, raw, number, row, "", length
        else:
            yield offset, raw, number, {}, "is no JSON object", length


def _csv(physical: Iterator[_Physical], config: JsonlConfig) -> Iterator[_Found]:
    back: deque[_Physical] = deque()  # lines that were read ahead in vain
    header = _header(back, physical, config)
    while (line := _next(back, physical)) is not None:
        offset, raw, number, length = line
        if not raw.strip():
            continue
        raw, fields, fault, length = _record(line, back, physical, config)
        if not fault and len(fields) > len(header) and not any(fields[len(header) :]):
            fields = fields[: len(header)]
        if not fault and len(fields) != len(header):
            fault = f"has {len(fields)} fields where the first line has {len(header)}"
        yield offset, raw, number, {} if fault else dict(zip(header, fields, strict=True)), fault, length


def _header(back: "deque[_Physical]", physical: Iterator[_Physical], config: JsonlConfig) -> list[str]:
    while (line := _next(back, physical)) is not None:
        if line[1].strip():
            return [name.strip() for name in _record(line, back, physical, config)[1]]
    return []


def _record(
    line: _Physical, back: "deque[_Physical]", physical: Iterator[_Physical], config: JsonlConfig
) -> tuple[bytes, list[str], str, int]:
    """Return a record's bytes, fields, fault and length; it may go on over several lines within quotes.

    Where nothing closes the quote, its line alone is bad: those after it are read as lines of their own.
    """
    _, raw, _, length = line
    if length > LONGEST:
        return raw, [], TOO_LONG, length
    fields, fault = _fields(raw, config.delimiter)
    if fields is not None:
        return raw, fields, "", length
    ahead: list[_Physical] = []
    whole, whole_length = raw, length
    while raw.count(b'"') % 2 and len(ahead) < MOST_LINES and whole_length <= LONGEST:
        more = _next(back, physical)
        if more is None:
            break
        ahead.append(more)
        whole, whole_length = whole + b"\n" + more[1], whole_length + more[3]
        if more[1].count(b'"') % 2:
            fields, _ = _fields(whole, config.delimiter)
            break
    if fields is not None:
        return whole, fields, "", whole_length
    back.extendleft(reversed(ahead))
    return raw, [], fault, length


def _fields(raw: bytes, delimiter: str) -> tuple[list[str] | None, str]:
    try:
        return next(csv.reader((raw.decode(),), delimiter=delimiter, strict=True)), ""
    except UnicodeDecodeError:
        return None, "is not UTF-8"
    except (csv.Error, StopIteration):
        return None, "is not CSV"


def _next(back: "deque[_Physical]", physical: Iterator[_Physical]) -> _Physical | None:
    return back.popleft() if back else next(physical, None)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:32]
