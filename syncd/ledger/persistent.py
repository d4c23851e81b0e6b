"""Queries of the ledger from time to time, for as long as the process lives."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from syncd.errors import LedgerError
from syncd.ledger.contract import Handle
from syncd.ledger.reader import LedgerReader

T = TypeVar("T")


class PersistentReader:
    """Keep one connection for queries. It is opened again after an error, or if another ledger takes its place.

    One connection per query would create and delete the WAL each time.
    """

    def __init__(self, handle: Handle[LedgerReader]) -> None:
        self._handle = handle
        self._open = ExitStack()
        self._glance: LedgerReader | None = None
        self._identity: tuple[int, int] | None = None

    def ask(self, question: Callable[[LedgerReader], T], *, otherwise: T) -> T:
        """Return the ledger's answer, or `otherwise` if it cannot be read. The next pass reports the reason."""
        try:
            with self._handle.explained():
                return question(self._look())
        except LedgerError:
            self.close()
            return otherwise

    def close(self) -> None:
        """Close the connection. The next query opens another one."""
        self._glance = None
        self._open.close()

    def _look(self) -> LedgerReader:
        if self._glance is None or self._identity != self._handle.identity():
            self.close()
            self._glance = self._open.enter_context(self._handle.read())
            self._identity = self._handle.identity()
        return self._glance
