"""The part of a ledger's handle that its readers, its writers and the passes use."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlite_utils import Database

from syncd.errors import LedgerHeld
from syncd.ledger.key_sharing import Key
from syncd.ledger.sealed import Cipher

Opened = TypeVar("Opened", covariant=True)  # the type of an open reader


class Handle(Protocol[Opened]):
    """Name one ledger, and open it for reading. `handle.LedgerHandle` is the whole one."""

    def read(self) -> AbstractContextManager[Opened]:
        """Open an existing ledger for reading, in any thread. Raises LedgerError."""

    def identity(self) -> tuple[int, int] | None:
        """Return a value that changes if another ledger takes this one's place. None if there is none."""

    def is_trusted(self) -> bool:
        """Tell whether the holder may still rely on its hold, without asking the database."""

    def lost(self) -> LedgerHeld:
        """Return the error for a holder that may no longer rely on its hold."""

    def shared_key(self, db: Database) -> Key | None:
        """Return the Recotap key that other lanes of the ledger may use at the same time. None if there are none."""

    def explained(self) -> AbstractContextManager[None]:
        """Turn the database's errors into LedgerError with a hint."""

    def writing(self, db: Database) -> AbstractContextManager[None]:
        """Run one transaction, which no other writer is within. It is committed whole or not at all."""

    def scope(self) -> tuple[str, ...] | None:
        """Return the sources whose rows the holder writes. None: those of all."""

    def fleet(self, db: Database) -> dict[str, list[dict[str, Any]]]:
        """Return the `lanes` and `replicas` of `syncd status --json`. Both are empty if nothing is leased."""

    def wake(self, db: Database, sources: Collection[str] | None) -> None:
        """Have a pass over each of `sources`, or of those with something to send if None. Call it in a transaction."""

    def wake_owners(self, db: Database, ids: Sequence[int]) -> None:
        """Have a pass over each source that the activities `ids` belong to. Call it in a transaction."""

    def new_ids(self, db: Database, count: int) -> Sequence[int]:
        """Return the ids of `count` new activities. Call it in the transaction that adds them."""

    def next_post(self, db: Database) -> int:
        """Return an id that is below those of all later POSTs, and above those of this holder's earlier ones."""

    def went_back(self, db: Database) -> bool:
        """Tell whether the ledger lacks what was once committed, as far as that can be told."""

    def take_history(self, db: Database) -> bool:
        """Take the present history for that of the ledger, in a transaction. False if another process has."""

    def remember(self, db: Database) -> None:
        """Note outside the ledger how far it is, so that a later `went_back` can tell. Raises LedgerError."""

    def snapshot(self, db: Database) -> AbstractContextManager[None]:
        """Read from one snapshot, whatever another process commits meanwhile."""

    def cipher(self, db: Database) -> Cipher | None:
        """Return the cipher of the ledger's payloads and values. None: they stand as they are."""

    def size(self) -> int:
        """Return the bytes that the ledger takes. Raises LedgerError."""

    def written_at(self) -> datetime:
        """Return the time of the last write. Raises LedgerError."""

    def tidy(self, db: Database) -> None:
        """Release unused space, and leave no copy of an erased payload. Raises LedgerError."""

    def rebuild(self, db: Database, *, is_held: bool) -> str:
        """Rewrite the ledger without what was erased. Return why that was not possible, or "". Raises LedgerError."""
