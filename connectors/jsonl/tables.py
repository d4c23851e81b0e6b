"""Read a CSV file: its first line names the columns, and each record after it is a line."""

import csv
from collections import deque
from collections.abc import Iterator

from connectors.jsonl.config import JsonlConfig
from connectors.jsonl.physical import LONGEST, TOO_LONG, VALUE_BYTES, Found, Physical

MOST_LINES = 100  # of one record, so that a stray quote does not swallow the file


def rows(lines: Iterator[Physical], config: JsonlConfig) -> Iterator[Found]:
    """Yield each record after the first line. A bad one has its fault and no fields."""
    back: deque[Physical] = deque()  # lines that were read ahead and are read again
    header = read_header(back, lines, config)
    while (line := _next(back, lines)) is not None:
        offset, raw, number, length = line
        if not raw.strip():
            continue
        raw, fields, fault, length = _record(line, back, lines, config)
        if not fault and len(fields) > len(header) and not any(fields[len(header) :]):
            fields = fields[: len(header)]
        if not fault and len(fields) != len(header):
            fault = f"has {len(fields)} fields where the first line has {len(header)}"
        row = {} if fault else dict(zip(header, fields, strict=True))
        yield offset, raw, number, row, fault, length + VALUE_BYTES * len(row)


def read_header(back: deque[Physical], lines: Iterator[Physical], config: JsonlConfig) -> list[str]:
    """Return the names of the columns. Empty if the file has no line."""
    while (line := _next(back, lines)) is not None:
        if line[1].strip():
            return [name.strip() for name in _record(line, back, lines, config)[1]]
    return []


def _record(
    line: Physical, back: deque[Physical], lines: Iterator[Physical], config: JsonlConfig
) -> tuple[bytes, list[str], str, int]:
    """Return a record's bytes, fields, fault and length. It may span several lines within quotes.

    If nothing closes the quote, only its line is bad. The lines after it are read as lines of their own.
    """
    _, raw, _, length = line
    if length > LONGEST:
        return raw, [], TOO_LONG, length
    fields, fault = _fields(raw, config.delimiter)
    if fields is not None:
        return raw, fields, "", length
    ahead: list[Physical] = []
    whole, whole_length = raw, length
    while raw.count(b'"') % 2 and len(ahead) < MOST_LINES and whole_length <= LONGEST:
        more = _next(back, lines)
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


def _next(back: deque[Physical], lines: Iterator[Physical]) -> Physical | None:
    return back.popleft() if back else next(lines, None)
