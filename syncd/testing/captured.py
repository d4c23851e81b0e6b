"""Capture all output: log lines, printed text, and the text of errors and findings."""

import io
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from structlog.testing import capture_logs


class Captured:
    """Captured output, line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, things: Iterable[object]) -> None:
        """Add the text of these objects. An error also adds its causes, as a traceback shows them."""
        for each in things:
            while each is not None:
                self.lines += [str(each), repr(each)]
                each = _cause(each) if isinstance(each, BaseException) else None


@contextmanager
def captured() -> Iterator[Captured]:
    """Capture as `syncd -v` does: syncd's log lines from DEBUG up, those of libraries from WARNING up."""
    output = Captured()
    printed = io.StringIO()
    listener = _Listener(output)
    root = logging.getLogger()
    root.addHandler(listener)
    try:
        with redirect_stdout(printed), redirect_stderr(printed), capture_logs() as entries:
            yield output
    finally:
        root.removeHandler(listener)
        output.lines += [repr(entry) for entry in entries]
        output.lines += printed.getvalue().splitlines()


class _Listener(logging.Handler):
    def __init__(self, output: Captured) -> None:
        super().__init__(logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.lines.append(self.format(record))


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


__all__ = ["Captured", "captured"]
