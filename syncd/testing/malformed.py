"""Malformed records: each field missing or replaced by junk."""

from collections.abc import Iterator, Mapping
from typing import Any

from syncd.connector import Record

LONG = 65_536  # characters, of a field filled by hand

_JUNK: tuple[Any, ...] = (
    None, "", " ", "x" * LONG, "not a time", "9999-12-31T23:59:59Z", "-1", -1, 0, 10**30, 1.5, True, [], {}, [None],
    {"x": None}, "\x00", "a@b@c", "<>;,;<>", "null", float("nan"),
)  # fmt: skip


def malformed(record: Record) -> Iterator[Record]:
    """Yield the record with each field removed, and with each field replaced by junk, related parts included."""
    yield Record(record.ref, record.row, {})
    yield Record(record.ref, {}, record.related)
    for place in ("row", "related"):
        whole = getattr(record, place)
        for path in _paths(whole):
            for junk in (_GONE, *_JUNK):
                parts: dict[str, Any] = {"row": record.row, "related": record.related}
                parts[place] = _with(whole, path, junk)
                yield Record(record.ref, parts["row"], parts["related"])


_GONE = object()


def _paths(value: Any) -> Iterator[tuple[str, ...]]:
    """Yield the path of each field in nested objects."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield (key,)
            yield from ((key, *path) for path in _paths(inner))


def _with(value: Any, path: tuple[str, ...], new: Any) -> Any:
    key, *rest = path
    changed = dict(value)
    if rest:
        changed[key] = _with(value[key], tuple(rest), new)
    elif new is _GONE:
        del changed[key]
    else:
        changed[key] = new
    return changed


__all__ = ["malformed"]
