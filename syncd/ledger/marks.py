"""Mark a ledger that was copied, or that is a copy, and refuse its use. `copying` writes the marks.

FROM                        TO                          state of the copy
                            origin, BEGUN               its rows are being written
                            origin, WRITTEN             its rows are compared
moved                       origin, WRITTEN             nobody may use either: the same command completes it
moved                       origin, IN_USE              complete
                            origin, FOR_READING         complete, with --keep
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from syncd.errors import ConfigError, LedgerError
from syncd.ledger.reader import RECOTAP

MOVED = "@moved"  # in the store of a file, under RECOTAP: the ledger is in use elsewhere
ORIGIN = "@origin"  # in the store of a file, under RECOTAP: it is a copy
# The stages of a copy.
BEGUN, WRITTEN, IN_USE, FOR_READING = "begun", "written", "in_use", "for_reading"

_READ = f"SELECT key, value FROM store WHERE source = '{RECOTAP}' AND key IN ('{MOVED}', '{ORIGIN}')"  # nosec B608 # constants


@dataclass(frozen=True, slots=True)
class Mark:
    """One end of a copy, as the other end notes it."""

    copy: str  # random, the same at both ends of one copy
    place: str  # the other end, without its user and parameters
    at: str  # when the copy began
    stage: str = ""  # of an origin

    def written(self) -> str:
        """Return the mark as text."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of one ledger."""

    moved: Mark | None = None
    origin: Mark | None = None

    @property
    def is_unfinished(self) -> bool:
        """Tell whether the ledger is a copy that did not end."""
        return self.origin is not None and self.origin.stage in (BEGUN, WRITTEN)


def marks_of(moved: str | None, origin: str | None) -> Marks:
    """Read the marks from their texts."""
    return Marks(*(None if text is None else Mark(**json.loads(text)) for text in (moved, origin)))


def in_store(db: Any) -> Marks:
    """Return the marks of a ledger that has them in its store, as a file has."""
    found = dict(db.execute(_READ).fetchall())
    return marks_of(found.get(MOVED), found.get(ORIGIN)) if found else Marks()


def require_whole(marks: Marks, where: Any) -> None:
    """Raise LedgerError for an unfinished copy, which holds a part of the rows or none."""
    if marks.is_unfinished and marks.origin:
        raise LedgerError(
            f"the ledger at {where} is an unfinished copy of {marks.origin.place}",
            hint="run the same `syncd ledger copy` again, which completes it. No pass may use it before",
        )


def require_use(marks: Marks, where: Any) -> None:
    """Raise ConfigError for a ledger that is in use elsewhere, or is for reading. LedgerError for an unfinished one."""
    require_whole(marks, where)
    if marks.moved:
        raise moved(marks.moved, where)
    if marks.origin and marks.origin.stage == FOR_READING:
        raise ConfigError(
            message=f"the ledger at {where} is a copy of {marks.origin.place} of {marks.origin.at}, for reading only",
            hint="let [ledger] name the ledger that is in use. To use the copy, `syncd ledger copy` it to a new place",
        )


def moved(mark: Mark, where: Any) -> ConfigError:
    """Return the error for a ledger that was moved."""
    return ConfigError(
        message=f"the ledger at {where} was moved to {mark.place} at {mark.at}",
        hint="let [ledger] name the new place. The way back is `syncd ledger copy` from there to here",
    )


__all__ = [
    "BEGUN", "FOR_READING", "IN_USE", "MOVED", "ORIGIN", "WRITTEN", "Mark", "Marks", "in_store", "marks_of", "moved",
    "require_use", "require_whole",
]  # fmt: skip
