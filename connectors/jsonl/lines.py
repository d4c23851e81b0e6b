r"""Read a file line by line, in bounded memory. Each line is one record, even a bad one.

    offset     modified at                A line's modification time is when its file arrived, plus a millisecond
    0          stamp                      for each 64 KiB before it. So times ascend within a file, a later line
    65,536     stamp + 1 ms               is the newer version of an id, and an interrupted reader continues
    131,072    stamp + 2 ms               at its position instead of the top.

`fault` says why a line is bad.
"""

import dataclasses
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from connectors.jsonl.config import Columns, JsonlConfig
from connectors.jsonl.naming import shown
from connectors.jsonl.objects import NotAnObject, as_written, parse_object
from connectors.jsonl.physical import LONGEST, TOO_LONG, VALUE_BYTES, Found, Physical, skip_line, split
from connectors.jsonl.place import BLOCK, Place
from connectors.jsonl.tables import Table
from syncd import files
from syncd.activity import Kind
from syncd.fields import dig, parse_text

STRIDE = 64 * 1024  # bytes of a file that share one millisecond
MOST_COLUMNS = 2000  # of a CSV file; Salesforce exports at most 800
HEADER_WITHIN = 2 * LONGEST  # bytes in which a CSV file's first line must end
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
NAMES = "name the file's column in the source's columns, or correct its first line: nothing of it was read"
PUT_RIGHT = "correct the file, or remove it from the folder: nothing of it was read"
OTHER_KINDS = frozenset(  # shown in the scope. Another word could be anything, such as a name in the wrong column
    "chat event fax letter linkedin meeting message note sms task text video visit voicemail whatsapp".split()
)
AN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # shown in logs and sent unchanged; others are hashed
ROUNDED = re.compile(r"[+-]?\d{1,20}(?:[.,]\d{1,30})?[eE]\+\d{1,3}")  # as spreadsheets write numbers over 11 digits
NO_IDS = frozenset(  # as spreadsheets and programs write an empty field
    (
        "#n/a",
        "#na",
        "#name?",
        "#null!",
        "#num!",
        "#ref!",
        "#value!",
        "n/a",
        "null",
        "none",
        "nil",
        "nan",
        "undefined",
        "-",
        "\\n",
    )
)
KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("call", "calls", "phone", "phone call"), "call"),
    **dict.fromkeys(("email", "emails", "e-mail", "mail"), "email"),
}


class FileProblem(Exception):
    """Report why a whole file cannot be read, without its content."""

    def __init__(self, message: str, *, hint: str = PUT_RIGHT) -> None:
        super().__init__(message)
        self.hint = hint


class Changed(Exception):
    """Report that the file has been replaced by another version."""


@dataclass(frozen=True, slots=True)
class File:
    """Identify one version of a dropped file."""

    path: Path  # its present place
    name: str  # as it was dropped
    stamp: int  # epoch milliseconds: when this connector first saw it whole
    size: int  # bytes of this version; a larger file is another version
    inode: int = 0
    mtime_ns: int = 0
    waiting: bool = False  # is in the drop folder, not in the done folder
    place: Place | None = dataclasses.field(default=None, compare=False, repr=False)  # the open folder that it is in

    @property
    def end(self) -> int:
        """Return the modification time of its last bytes."""
        return self.stamp + span(self.size)

    @property
    def is_csv(self) -> bool:
        """Tell a CSV file from JSON Lines."""
        return self.name.lower().endswith(".csv")


class Line(NamedTuple):
    """Hold one record of a file."""

    at: int  # epoch milliseconds: its modification time
    crm_id: str
    kind: Kind
    row: dict[str, Any]
    number: int  # counted from the start of the reading, from 1
    fault: str = ""  # why it is a bad line, to follow "line 17 of x.jsonl"
    weight: int = 0  # approximate bytes of memory
    other: str | None = None  # if it is neither call nor email: its kind if that is a common word, "" if it names none


def span(size: int) -> int:
    """Return how many milliseconds a file of `size` bytes spans beyond its first."""
    return max(size - 1, 0) // STRIDE


class LineReader:
    """Read the lines of one file within a window of modification time, both ends inclusive."""

    def __init__(
        self,
        file: File,
        config: JsonlConfig,
        *,
        since: int,
        until: int,
        pause: Callable[[], None] = lambda: None,  # called often; raises Stopped if the pass is to end
    ) -> None:
        self.file = file
        self.name = shown(file.name)  # for messages
        self.start = 0 if file.is_csv else max(0, since - file.stamp) * STRIDE  # bytes skipped
        self._config = config
        self._since = since
        self._until = until
        self._pause = pause
        self._else: Kind = "call" if config.reads("calls") or not config.reads("emails") else "email"
        self._lines_before: int | None = None
        self.has_decimal_commas = False  # a CSV file delimited by `;` comes from a place that writes 2,5

    def lines(self, handle: BinaryIO) -> Iterator[Line]:
        """Yield the lines. `handle` is at the file's beginning. Only OSError and Stopped are raised."""
        if self.start:
            handle.seek(self.start - 1)
            self.start += skip_line(handle, self.file.size - self.start + 1, self._pause) - 1
        physical = split(handle, self.start, self.file.size, self._pause)
        for offset, raw, number, row, fault, weight in self._found(physical):
            at = self.file.stamp + offset // STRIDE
            if at > self._until:
                return
            if at >= self._since:
                yield self._line(at, raw, number, row, fault, weight)

    def _found(self, physical: Iterator[Physical]) -> Iterator[Found]:
        if not self.file.is_csv:
            return _jsonl(physical)
        table = Table(physical, self._config)
        self.has_decimal_commas = table.delimiter == ";"
        return table.rows()

    def line_number(self, line: Line) -> int | None:
        """Return the line's number in its file. None if the file was changed or removed meanwhile."""
        if self._lines_before is None:
            try:
                self._lines_before = self._count_before()
            except (OSError, Changed):
                return None
        return self._lines_before + line.number

    def _count_before(self) -> int:
        if not self.start:
            return 0
        left, count = self.start, 0
        with opened(self.file) as handle:
            while left and (block := handle.read(min(left, BLOCK))):
                self._pause()
                count += block.count(b"\n")
                left -= len(block)
        return count

    def _line(self, at: int, raw: bytes, number: int, row: dict[str, Any], fault: str, weight: int) -> Line:
        columns = self._config.columns
        kind: Kind | None = None
        other: str | None = None
        if not fault:
            word = (parse_text(field(row, columns.kind)) or self._config.kind).lower()
            kind = KINDS.get(word)
            if kind is None:
                other = word if word in OTHER_KINDS or not word else "other"
                fault = f"says neither call nor email in {columns.kind!r}"
        found = None if fault else field(row if self.file.is_csv else as_written(raw, row), columns.id)
        if isinstance(found, float):  # 12345678901234567890123 and …124 are the same one
            fault = f"has a number in {columns.id!r} that is no whole one or too large: write it in quotes"
        fault = fault or _not_an_id(row, columns)
        if fault:  # if its kind is unknown, the first stream that is read takes it
            return Line(at, f"line-{_hash(raw)}", kind or self._else, {}, number, fault, weight, other)
        written = parse_text(found)
        if written is None:
            written = _hash(raw)
        elif not AN_ID.fullmatch(written):
            written = _hash(written.encode("utf-8", "surrogatepass"))
        return Line(at, written, kind or self._else, row, number, "", weight)


def _not_an_id(row: Mapping[str, Any], columns: Columns) -> str:
    """Return the fault of a line with an id that others may share, or "": a rounded number, or a word for none."""
    for column in (columns.id, columns.owner_id, columns.contact_id, columns.account_id):
        found = field(row, column)
        if isinstance(found, str) and "+" in found and ROUNDED.fullmatch(found.strip()):
            return f"has a rounded number in {column!r}, such as 1.2E+11: format that column as text and export again"
    found = field(row, columns.id)
    if isinstance(found, str) and found.strip().lower() in NO_IDS:
        return f"has a word for no value in {columns.id!r}: leave it empty if there is no id"
    return ""


def opened(file: File) -> BinaryIO:
    """Open a file for reading. OSError if it cannot be opened, `Changed` if another version stands there."""
    if file.place is not None:
        handle = file.place.open(file.path.name)
    else:
        handle = os.fdopen(files.open_regular(file.path, one_name=True), "rb", buffering=BLOCK)
    if file.waiting and not is_version(file, os.fstat(handle.fileno())):
        handle.close()
        raise Changed
    return handle


def is_version(file: File, found: os.stat_result) -> bool:
    """Tell whether `found` is the status of this version of a file of the folder."""
    return (found.st_ino, found.st_mtime_ns, found.st_size) == (file.inode, file.mtime_ns, file.size)


def refuse_unreadable(handle: BinaryIO, name: str, config: JsonlConfig) -> None:
    """Raise `FileProblem` for an open file no line of which could be understood. `name`: as it was dropped."""
    first = handle.readline(LONGEST)
    if first.startswith(UTF_16):
        raise FileProblem("is UTF-16, not UTF-8", hint="save it as UTF-8: nothing of it was read")
    if not name.lower().endswith(".csv") or not first:
        return
    handle.seek(0)
    size = min(os.fstat(handle.fileno()).st_size, HEADER_WITHIN)
    table = Table(split(handle, 0, size), config)
    header = table.header
    if table.fault:
        raise FileProblem(f"has a first line that {table.fault}")
    if len(header) > MOST_COLUMNS:
        raise FileProblem(f"has more than {MOST_COLUMNS} columns")
    columns = config.columns
    mapped = set(columns.model_dump().values()) - {""}
    twice = sorted(name for name in mapped if header.count(name) > 1)
    if twice:
        raise FileProblem(f"has two columns {twice[0]!r}")
    if not {columns.occurred_at, columns.created_at} & set(header):
        raise FileProblem(f"has no column {columns.occurred_at or columns.created_at!r} in its first line", hint=NAMES)
    if not config.kind and columns.kind not in header:
        message = f"has no column {columns.kind!r} in its first line, and the source names no kind"
        raise FileProblem(message, hint=f"set kind for a source of one kind. Otherwise {NAMES}")


def field(row: Mapping[str, Any], column: str) -> Any:
    """Return the value of `column`: a name, otherwise a path such as `contact.email` into nested objects."""
    if not column:
        return None
    if column in row:
        return row[column]
    return dig(row, *column.split(".")) if "." in column else None


def _jsonl(physical: Iterator[Physical]) -> Iterator[Found]:
    for offset, raw, number, length in physical:
        if length > LONGEST:
            yield offset, raw, number, {}, TOO_LONG, len(raw)
        elif raw.strip():
            try:
                row, values = parse_object(raw)
            except NotAnObject as error:
                yield offset, raw, number, {}, str(error), len(raw)
            else:
                yield offset, raw, number, row, "", length + VALUE_BYTES * values


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:32]
