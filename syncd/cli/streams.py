"""Make the standard streams safe to write to.

A closed, full or non-UTF-8 stream comes from the environment and is no bug:

    closed            it leads to /dev/null, so that no file of syncd (the ledger!) is opened under its number
    closed early      stdout: the program exits with 0 in silence, as `| head` expects; stderr: it goes on
    full              the rest is dropped, the exit code stays the command's own, and `finish` reports it on stderr
    not UTF-8         characters that it cannot carry are written in ASCII, e.g. -> for an arrow
"""

import codecs
import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import TextIO, cast

_PLAIN = {"→": "->", "…": "...", "–": "-", "—": "-", "“": '"', "”": '"', "‘": "'", "’": "'", "·": "-", "•": "*"}
_HANDLER = "syncd.plain"


class _Raw(io.FileIO):
    """A standard stream's file whose failures stop no command."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.failure: OSError | None = None  # of stdout, the first one

    def write(self, data: object) -> int:
        """Write all of `data`. Raise SystemExit(0) if it is stdout and its reader is gone."""
        size = len(memoryview(data).cast("B"))  # type: ignore[arg-type]
        if self.failure is not None:
            return size
        try:
            while (written := super().write(data)) is None:  # type: ignore[arg-type]  # it does not block
                select.select([], [self], [])
            return written
        except (OSError, ValueError) as error:
            if self.fileno() == 1:
                self.failure = error if isinstance(error, OSError) else OSError(errno.EBADF, os.strerror(errno.EBADF))
                if self.failure.errno == errno.EPIPE:
                    raise SystemExit(0) from None
            return size


def prepare() -> None:
    """Make the streams safe. Call it in the main thread before anything is opened."""
    codecs.register_error(_HANDLER, _plain)
    reserved = _reserve()
    sys.stdin = sys.stdin or _nowhere("r")
    sys.stdout = _safe(sys.stdout, sys.__stdout__, 1, ours=1 in reserved)
    sys.stderr = _safe(sys.stderr, sys.__stderr__, 2, ours=2 in reserved)


def finish() -> None:
    """Flush stdout, and report on stderr if it could not take everything."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Raw) and raw.failure is not None and raw.failure.errno != errno.EPIPE:
        print(f"syncd: standard output is incomplete: {raw.failure.strerror}", file=sys.stderr)
        print("  → make room or redirect it, then run the command again", file=sys.stderr)
    sys.stderr.flush()


def _reserve() -> set[int]:
    """Open /dev/null under each free number from 0 to 2, and return those numbers."""
    reserved = set()
    with suppress(OSError):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(number, True)
            reserved.add(number)
        os.close(number)
    return reserved


def _nowhere(mode: str) -> TextIO:
    """Return a stream that leads to /dev/null for good."""
    stream = os.fdopen(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), mode, encoding="utf-8", closefd=False)
    return cast("TextIO", stream)


def _safe(stream: TextIO | None, first: TextIO | None, number: int, *, ours: bool) -> TextIO:
    """Return `stream` over a safe file. A stream that is not the process's own, as in a test, stays.

    `ours`: the number was free and leads to /dev/null now. Otherwise a file without a stream belongs to someone else.
    """
    if stream is not None and (stream is not first or not isinstance(stream, io.TextIOWrapper)):
        return stream
    with suppress(OSError, ValueError):
        if stream is not None:
            stream.flush()
    encoding = stream.encoding if stream is not None else "utf-8"
    lines = number == 2 or (stream is not None and stream.line_buffering)
    through = isinstance(stream, io.TextIOWrapper) and stream.write_through
    if stream is None and not ours:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - for good
    raw = _Raw(number)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, errors=_HANDLER, line_buffering=lines, write_through=through
    )


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Write characters that an encoding lacks in ASCII. A codec's error handler."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(char) or _escaped(char) for char in lacking), error.end


def _escaped(char: str) -> str:
    return f"\\u{{{ord(char):x}}}"
