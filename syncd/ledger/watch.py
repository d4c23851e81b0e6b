"""A look at the ledger now and then, for as long as the process lives."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from syncd.errors import LedgerError
from syncd.ledger import file
from syncd.ledger.reading import LedgerReader

T = TypeVar("T")


class PersistentReader:
    """Keep one connection that only reads. It is made anew after an error, and where the file is another one by now.

    Opened and closed for each look, the last connection would make and remove the WAL each time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open = ExitStack()
        self._glance: LedgerReader | None = None
        self._file: tuple[int, int] | None = None

    def ask(self, question: Callable[[LedgerReader], T], *, otherwise: T) -> T:
        """Return what the ledger answers; `otherwise` where it cannot be read: a pass will say why."""
        try:
            with file.explained(self._path):
                return question(self._look())
        except LedgerError:
            self.close()
            return otherwise

    def close(self) -> None:
        """Let go of the connection; the next look makes another."""
        self._glance = None
        self._open.close()

    def _look(self) -> LedgerReader:
        if self._glance is None or self._file != self._identity():
            self.close()
            self._glance = self._open.enter_context(LedgerReader.at(self._path))
            self._file = self._identity()
        return self._glance

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino
