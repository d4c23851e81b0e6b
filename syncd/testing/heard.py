"""Listen to everything that is said: log lines, what is printed, and what errors and findings look like."""

import io
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from structlog.testing import capture_logs


class Heard:
    """What was said, line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def also(self, things: Iterable[object]) -> None:
        """Take in what these look like; of an error also what led to it, as a traceback would show it."""
        for each in things:
            while each is not None:
                self.lines += [str(each), repr(each)]
                each = _cause(each) if isinstance(each, BaseException) else None


@contextmanager
def heard() -> Iterator[Heard]:
    """Listen as `syncd -v` would: our own lines from debug on, those of libraries from warnings on."""
    said = Heard()
    printed = io.StringIO()
    listener = _Listener(said)
    root = logging.getLogger()
    root.addHandler(listener)
    try:
        with redirect_stdout(printed), redirect_stderr(printed), capture_logs() as entries:
            yield said
    finally:
        root.removeHandler(listener)
        said.lines += [repr(entry) for entry in entries]
        said.lines += printed.getvalue().splitlines()


class _Listener(logging.Handler):
    def __init__(self, said: Heard) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.lines.append(self.format(record))


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


__all__ = ["Heard", "heard"]
