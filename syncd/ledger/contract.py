"""The part of a ledger's handle that its readers, its writers and the passes use."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar

Opened = TypeVar("Opened", covariant=True)  # the type of an open reader


class Handle(Protocol[Opened]):
    """Name one ledger, and open it for reading. `handle.LedgerHandle` is the whole one."""

    @property
    def path(self) -> Path:
        """Return the path of the SQLite file. Only this package uses it."""

    def read(self) -> AbstractContextManager[Opened]:
        """Open an existing ledger for reading, in any thread. Raises LedgerError."""

    def identity(self) -> tuple[int, int] | None:
        """Return a value that changes if another ledger takes this one's place. None if there is none."""

    def explained(self) -> AbstractContextManager[None]:
        """Turn the database's errors into LedgerError with a hint."""
