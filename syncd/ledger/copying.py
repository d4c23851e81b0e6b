"""Copy a ledger to another place, of either kind, and compare both before anybody uses the copy.

The order of writes is the design:

the mark of an unfinished copy     committed before the first row
the rows                           then compared, table by table, by one code for both ends
the mark of the source             committed after the comparison: from then on it refuses its use
the end of the copy                committed last

So never can both ends be used. A copy that is killed leaves the source as it was, unless all rows were compared and
only the last mark is missing. Then the same command writes it.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import zip_longest
from typing import Any, Protocol
from uuid import uuid4

from syncd import clock
from syncd.errors import ConfigError, LedgerError
from syncd.ledger import marks
from syncd.ledger.lanes import Hold
from syncd.ledger.marks import BEGUN, FOR_READING, IN_USE, WRITTEN, Mark, Marks
from syncd.ledger.tables import Table, tables

COMMAND = "ledger copy"
PREFILLED = "recotap"  # the schema itself puts a row into it
COPYING, COMPARING = "rows copied", "rows compared"  # the two steps, for people

Row = Sequence[Any]
Progress = Callable[[str, int, int], None]  # the step, its rows so far, and in all


class End(Protocol):
    """One ledger of a copy, open. Payloads and the connectors' store pass through `rows` and `write` as plain text."""

    def marks(self) -> Marks:
        """Return its marks."""

    def went_back(self) -> bool:
        """Tell whether it went back, e.g. to a backup, and no pass has noticed that yet."""

    def count(self, table: Table) -> int:
        """Return the number of rows."""

    def rows(self, table: Table) -> Iterator[Sequence[Row]]:
        """Yield all rows in the order of the key, in batches of `table.batch`."""

    def filling(self, mark: Mark) -> AbstractContextManager[None]:
        """Remove all content and mark it as a copy. Complete what the rows need at the end: ids, triggers."""

    def write(self, table: Table, rows: Sequence[Row]) -> None:
        """Write rows that `rows` of another end has yielded. Only within `filling`."""

    def mark(self, *, moved: Mark | None = None, origin: Mark | None = None) -> None:
        """Write the marks that are given."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Read from one snapshot."""


class Place(Protocol):
    """A ledger to copy from or to. The handles of every kind of ledger are such."""

    def read(self) -> AbstractContextManager[Any]:
        """Open it for reading. LedgerError if there is none, or if it is unusable."""

    def hold(self, command: str) -> AbstractContextManager[Hold]:
        """Hold all of it, and create it if there is none. LedgerHeld if another process has it."""

    def leaving(self, *, alone: bool) -> AbstractContextManager[End]:
        """Open it as the source, in one transaction, which is committed at the end. `alone`: no other may write."""

    def arriving(self) -> AbstractContextManager[End]:
        """Open it as the target, and create it as needed."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy has, which is what its source has."""

    rows: dict[str, int]  # by table
    seen: dict[str, int] = field(default_factory=dict)  # by source/stream
    sha256: str = ""  # of all rows of all tables, the same for every kind of ledger
    resumed: bool = False  # an earlier run had copied the rows


def copy(source: Place, target: Place, *, keep: bool, now: datetime, progress: Progress = lambda *_: None) -> Copied:
    """Copy all rows from `source` to `target`, compare them, and let only the target be used from now on.

    `keep`: the source stays in use, is not held, and is read as of one moment. The target is then for reading.
    LedgerHeld if another process holds one of them. ConfigError if the source was moved or went back, or if the target
    holds another ledger. LedgerError if one of them fails, or if they differ.
    """
    with source.read():  # otherwise to hold it would create it
        pass
    with ExitStack() as held:
        if not keep:
            source = held.enter_context(source.hold(COMMAND)).ledger
        target = held.enter_context(target.hold(COMMAND)).ledger
        there = held.enter_context(target.arriving())
        with source.leaving(alone=not keep) as here:
            if not keep and not here.marks().moved and here.went_back():
                raise _went_back(source)
            mark = _judged(source, target, here, there, keep=keep)
            resumed = mark is not None
            mark = mark or Mark(uuid4().hex, str(source), clock.text(now), BEGUN)
            if not resumed:
                _fill(here, there, mark, progress)
            copied = _compared(here, there, progress)
            there.mark(origin=replace(mark, stage=WRITTEN))
            if not keep:
                here.mark(moved=Mark(mark.copy, str(target), mark.at))
        there.mark(origin=replace(mark, stage=FOR_READING if keep else IN_USE))
    return replace(copied, resumed=resumed)


def _went_back(source: Place) -> ConfigError:
    return ConfigError(
        message=f"the ledger at {source} went back, e.g. to a backup, and no pass has noticed that yet",
        hint="run `syncd sync` with it, then copy it. A pass over the copy could not notice it",
    )


def _judged(source: Place, target: Place, here: End, there: End, *, keep: bool) -> Mark | None:
    has_rows = any(there.count(table) for table in tables() if table.name != PREFILLED)
    try:
        return judge(here.marks(), there.marks(), source=str(source), has_rows=has_rows, keep=keep)
    except Occupied:
        raise ConfigError(
            message=f"the ledger at {target} holds rows: a copy would replace them",
            hint="name a place without a ledger, or move that one away",
        ) from None
    except Moved as error:
        raise marks.moved(error.mark, source) from None


class Occupied(Exception):
    """The target holds rows that are not known to be superseded."""


class Moved(Exception):
    """The source is in use elsewhere."""

    def __init__(self, mark: Mark) -> None:
        super().__init__(mark)
        self.mark = mark


def judge(here: Marks, there: Marks, *, source: str, has_rows: bool, keep: bool) -> Mark | None:
    """Return the mark of a copy that lacks only its end, or None if the copy is to begin. Pure.

    Occupied if the target holds rows, unless they are an unfinished copy, or were moved to this very source. Moved if
    the source was moved, unless `keep` wants a copy for reading.
    """
    origin, moved = there.origin, here.moved
    if moved and not keep:
        if origin and origin.copy == moved.copy and origin.stage == WRITTEN:
            return origin
        raise Moved(moved)
    if origin and origin.stage == WRITTEN:
        is_ours = origin.place == source and not moved  # otherwise it may be the only one that is complete
    else:
        is_back = there.moved is not None and here.origin is not None and there.moved.copy == here.origin.copy
        is_ours = not has_rows or is_back or (origin is not None and origin.stage == BEGUN)
    if not is_ours:
        raise Occupied
    return None


def _fill(here: End, there: End, mark: Mark, progress: Progress) -> None:
    total, done = sum(map(here.count, tables())), 0
    with there.filling(mark):
        for table in tables():
            for rows in here.rows(table):
                there.write(table, rows)
                done += len(rows)
                progress(COPYING, done, total)


def _compared(here: End, there: End, progress: Progress) -> Copied:
    """Compare both ends. LedgerError if they differ."""
    counts = {table.name: here.count(table) for table in tables()}
    total, done, digest = sum(counts.values()), 0, hashlib.sha256()
    with there.snapshot():
        for table in tables():
            mine, theirs = hashlib.sha256(), hashlib.sha256()
            for ours, copied in zip_longest(here.rows(table), there.rows(table), fillvalue=()):
                mine.update(json.dumps(ours).encode())
                theirs.update(json.dumps(copied).encode())
                done += len(ours)
                progress(COMPARING, done, total)
            if mine.digest() != theirs.digest():
                raise _differ(table, counts[table.name], there.count(table))
            digest.update(mine.digest())
    return Copied(counts, dict(_seen(here)), digest.hexdigest())


def _seen(end: End) -> Iterator[tuple[str, int]]:
    (streams,) = (table for table in tables() if table.name == "streams")
    for rows in end.rows(streams):
        for row in rows:
            found = dict(zip(streams.columns, row, strict=True))
            yield f"{found['source']}/{found['stream']}", found["seen"]


def _differ(table: Table, rows: int, copied: int) -> LedgerError:
    return LedgerError(
        f"the copy differs from its source in the table {table.name}: {rows:,} rows there, {copied:,} here",
        hint="run it again while no other program writes to either. The source is as it was",
    )


def removed_by_hand(table: Table) -> LedgerError:
    """Return the error for rows that refer to others which a program without syncd's rules has removed."""
    return LedgerError(
        f"the table {table.name} has rows that belong to none, because others were removed by hand",
        hint="restore a backup, or remove these too: foreign_key_check of sqlite3 names them",
    )


__all__ = ["COMPARING", "COPYING", "Copied", "End", "Moved", "Occupied", "Place", "copy", "judge", "removed_by_hand"]
