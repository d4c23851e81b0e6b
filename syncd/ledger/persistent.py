"""A look at the ledger now and then, for as long as the process lives."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from syncd.errors import LedgerError
from syncd.ledger.reader import LedgerReader

if TYPE_CHECKING:
    from syncd.ledger.handle import LedgerHandle

T = TypeVar("T")


class PersistentReader:
    """Keep one connection that only reads. It is made anew after an error, and where the file is another one by now.

    Opened and closed for each look, the last connection would make and remove the WAL each time.
    """

    def __init__(self, handle: "LedgerHandle") -> None:
        self._handle = handle
        self._open = ExitStack()
        self._glance: LedgerReader | None = None
        self._identity: tuple[int, int] | None = None

    def ask(self, question: Callable[[LedgerReader], T], *, otherwise: T) -> T:
        """Return what the ledger answers; `otherwise` where it cannot be read: a pass will say why."""
        try:
            with self._handle.explained():
                return question(self._look())
        except LedgerError:
            self.close()
            return otherwise

    def close(self) -> None:
        """Let go of the connection; the next look makes another."""
        self._glance = None
        self._open.close()

    def _look(self) -> LedgerReader:
        if self._glance is None or self._identity != self._handle.identity():
            self.close()
            self._glance = self._open.enter_context(self._handle.read())
            self._identity = self._handle.identity()
        return self._glance
