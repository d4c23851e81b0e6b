"""Write and read back the part of a ledger row that changes, within a transaction."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from sqlite_utils import Database

from syncd import clock
from syncd.ledger.contract import Handle
from syncd.ledger.counts import Changes, kind_of
from syncd.ledger.reader import LedgerReader
from syncd.lifecycle.states import State, Verdict
from syncd.lifecycle.transitions import Row

ROW_COLUMNS = (
    "state", "modified_at", "occurred_at", "reason", "verdict", "detail", "next_attempt_at", "waiting_since",
    "missing_since", "refused_since", "refusals", "unknown", "isolated", "changed_after_delivery",
    "owner_id", "domain",
)  # fmt: skip
UNWRITTEN = "the ledger cannot hold what was said or read here"  # in place of a text that cannot be written
# What SQLite's module raises for one value: a lone surrogate, a number or text that is too large, another type.
UNWRITABLE = (ValueError, OverflowError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
_UPDATE = f"""
    UPDATE activities SET updated_at = CASE state WHEN 'delivered' THEN updated_at ELSE ? END,
        {", ".join(f"{column} = ?" for column in ROW_COLUMNS)}
    WHERE id = ?
"""  # nosec B608 # names of columns
_RELEASE = """
    UPDATE activities SET next_attempt_at = :now
    WHERE id IN (SELECT activity_id FROM twins WHERE first_id = :id) AND state = 'excluded' AND reason = 'duplicate_of'
"""


class Held(NamedTuple):
    """One activity as the ledger holds it."""

    id: int
    stream_id: int
    row: Row
    body: str | None = None  # of a pending row, if it was asked for
    read_at: int | None = None  # as `body`: when its record was last read, in epoch seconds


class Writer(LedgerReader):
    """Write rows within transactions, for the subclasses. The counts of the rows change in the same transaction."""

    def __init__(self, db: Database, handle: Handle[LedgerReader]) -> None:
        super().__init__(db, handle)
        self._depth = 0
        self._changes = Changes()
        self._key = handle.shared_key(db)
        self._has_erased = False  # a payload, since the ledger was opened

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything that is written within, or nothing. An inner transaction is part of the outer one."""
        self._depth += 1
        try:
            if self._depth > 1:
                yield
            else:
                with self.handle.writing(self._db):
                    yield
                    self._changes.write(self._db)
        finally:
            self._depth -= 1
            if not self._depth:
                self._changes.clear()

    def lock_shared(self) -> None:
        """Lock the rows that lanes share, within a transaction and before the first of them is read or written."""
        if self._key is not None:
            self._key.lock()

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        """Undo the writes within if they fail, and nothing else of the transaction."""
        self._db.conn.execute("SAVEPOINT one")
        mark = self._changes.mark()
        try:
            yield
        except BaseException:
            self._changes.back_to(mark)
            if self._db.conn.in_transaction:  # a full disk ends the whole transaction
                self._db.conn.execute("ROLLBACK TO one")
                self._db.conn.execute("RELEASE one")
            raise
        self._db.conn.execute("RELEASE one")

    def _write(self, held: Held, after: Row, now: datetime) -> None:
        """Write `after`. If the row leaves pending, its payload is erased, and its copies are looked up again."""
        before = held.row
        if after == before:
            return
        self._db.conn.execute(_UPDATE, (clock.text(now), *columns_of(after), held.id))
        self._changes.move(kind_of(held.stream_id, before), kind_of(held.stream_id, after))
        if before.state is State.PENDING and after.state is not State.PENDING:
            self._db.execute("DELETE FROM payloads WHERE activity_id = :id", {"id": held.id})
            self._has_erased = True
            self._db.execute(_RELEASE, {"id": held.id, "now": clock.text(now)})


def row_of(columns: Sequence[Any]) -> Row:
    """Read ROW_COLUMNS."""
    (
        state, modified, occurred, reason, verdict, detail, due, waiting, missing, refused, refusals,
        unknown, isolated, changed, owner_id, domain,
    ) = columns  # fmt: skip
    return Row(
        State(state), clock.instant(modified), clock.optional_instant(occurred), reason,
        None if verdict is None else Verdict(verdict), detail, clock.optional_instant(due),
        clock.optional_instant(waiting), clock.optional_instant(missing), clock.optional_instant(refused),
        refusals, bool(unknown), bool(isolated), bool(changed), owner_id, domain,
    )  # fmt: skip


def columns_of(row: Row) -> tuple[Any, ...]:
    """Write ROW_COLUMNS."""
    occurred, due, waiting = row.occurred_at, row.next_attempt_at, row.waiting_since
    missing, refused = row.missing_since, row.refused_since
    return (
        row.state.value, clock.text(row.modified_at), occurred and clock.text(occurred), row.reason,
        row.verdict and row.verdict.value, row.detail,
        due and clock.text(due), waiting and clock.text(waiting), missing and clock.text(missing),
        refused and clock.text(refused), row.refusals, int(row.unknown), int(row.isolated),
        int(row.changed_after_delivery), row.owner_id, row.domain,
    )  # fmt: skip
