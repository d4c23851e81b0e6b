"""Read a CSV file: its first line names the columns, and each record after it is a line."""

import csv
import re
from collections import deque
from collections.abc import Iterator

from connectors.jsonl.config import JsonlConfig
from connectors.jsonl.physical import LONGEST, TOO_LONG, VALUE_BYTES, Found, Physical

MOST_LINES = 100  # of one record, so that a stray quote does not swallow the file
DELIMITERS = (",", ";", "\t", "|")  # that are recognized
SEPARATOR = re.compile(rb'"?sep=([!-~\t])"?,*')  # the line that Excel writes and obeys before the names


class Table:
    """Read one CSV file, given its lines of bytes."""

    def __init__(self, lines: Iterator[Physical], config: JsonlConfig) -> None:
        self._lines = lines
        self._back: deque[Physical] = deque()  # lines that were read ahead and are read again
        self.delimiter = config.delimiter or ","
        self.header: list[str] = []  # the columns' names. Empty if the file has no line
        self.fault = ""  # why the first line cannot be read
        line = self._next_with_text()
        said = SEPARATOR.fullmatch(line[1].strip(b" \r")) if line else None
        if said:
            line = self._next_with_text()
        if line is not None:
            self.delimiter = config.delimiter or (said[1].decode() if said else recognized(line[1], config))
            _, names, self.fault, _ = self._record(line)
            self.header = [name.strip() for name in names]

    def rows(self) -> Iterator[Found]:
        """Yield each record after the first line. A bad one has its fault and no fields."""
        columns = len(self.header)
        while (line := self._next_with_text()) is not None:
            offset, _, number, _ = line
            raw, fields, fault, length = self._record(line)
            if not fault and len(fields) > columns and not any(fields[columns:]):
                fields = fields[:columns]
            if not fault and len(fields) != columns:
                fault = f"has {len(fields)} fields where the first line has {columns}"
            row = {} if fault else dict(zip(self.header, fields, strict=True))
            yield offset, raw, number, row, fault, length + VALUE_BYTES * len(row)

    def _record(self, line: Physical) -> tuple[bytes, list[str], str, int]:
        """Return a record's bytes, fields, fault and length. It may span several lines within quotes.

        If nothing closes the quote, only its line is bad. The lines after it are read as lines of their own.
        """
        _, raw, _, length = line
        if length > LONGEST:
            return raw, [], TOO_LONG, length
        fields, fault = _fields(raw, self.delimiter)
        if fields is not None:
            return raw, fields, "", length
        ahead: list[Physical] = []
        whole, whole_length = raw, length
        while raw.count(b'"') % 2 and len(ahead) < MOST_LINES and whole_length <= LONGEST:
            more = self._next()
            if more is None:
                break
            ahead.append(more)
            whole, whole_length = whole + b"\n" + more[1], whole_length + more[3]
            if more[1].count(b'"') % 2:
                fields, _ = _fields(whole, self.delimiter)
                break
        if fields is not None:
            return whole, fields, "", whole_length
        self._back.extendleft(reversed(ahead))
        return raw, [], fault, length

    def _next_with_text(self) -> Physical | None:
        while (line := self._next()) is not None and not line[1].strip():
            pass
        return line

    def _next(self) -> Physical | None:
        return self._back.popleft() if self._back else next(self._lines, None)


def recognized(first: bytes, config: JsonlConfig) -> str:
    """Return the delimiter by which the first line names most of the mapped columns. A comma if none does better."""
    mapped = set(config.columns.model_dump().values()) - {""}

    def named(delimiter: str) -> int:
        return len(mapped & {name.strip() for name in _fields(first, delimiter)[0] or ()})

    return max(DELIMITERS, key=named)


def _fields(raw: bytes, delimiter: str) -> tuple[list[str] | None, str]:
    try:
        return next(csv.reader((raw.decode(),), delimiter=delimiter, strict=True)), ""
    except UnicodeDecodeError:
        return None, "is not UTF-8"
    except (csv.Error, StopIteration):
        return None, "is not CSV"
