"""Listen to everything that is said: log lines, what is printed, and what errors and findings look like."""

import io
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from structlog.testing import capture_logs


class Captured:
    """What was said, line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, things: Iterable[object]) -> None:
        """Take in what these look like; of an error also what led to it, as a traceback would show it."""
        for each in things:
            while each is not None:
                self.lines += [str(each), repr(each)]
                each = _cause(each) if isinstance(each, BaseException) else None


@contextmanager
def captured() -> Iterator[Captured]:
    """Listen as `syncd -v` would: our own lines from debug on, those of libraries from warnings on."""
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
