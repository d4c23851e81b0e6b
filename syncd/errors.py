"""All errors, grouped by the action that follows, with their exit codes.

SyncdError                        1   a bug, unless a subclass says otherwise
├── NoSuchActivity               66   the ledger does not hold the id that was asked for
├── Unavailable                  69   a CRM or Recotap cannot be reached, or is out of quota: the next pass continues
│   ├── Malformed                69   its response cannot be parsed
│   └── OutsideWindow            69   the window was read to its end, but something beside it cannot be read
├── LedgerError                  74   the ledger cannot be read or written
├── LedgerHeld                   75   another syncd holds this ledger
├── Unauthorized                 77   credentials were refused, or a scope is missing
├── ConfigError                  78   the configuration is wrong: all mistakes in one report
├── Unreadable                        one record cannot be interpreted: a dead row, and the pass continues
└── Stopped                           a signal asked syncd to exit: 130 or 143

A message names the problem and the item, never a token, an address, a subject, a name or a phone number. A hint names
the operator's remedy. Both are cleaned here before they are stored, logged or shown, because a connector may put a
server's words or a file's name into them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from syncd.text import MOST, fit_value


class Exit(IntEnum):
    """Exit codes of `sync`. If several apply, `worst` chooses the one to report."""

    OK = 0
    BUG = 1
    USAGE = 2
    DIED = 3  # something went from pending to dead in this pass
    UNBALANCED = 4  # the books do not balance
    NO_SUCH_ACTIVITY = 66
    UNAVAILABLE = 69
    LEDGER = 74
    HELD = 75
    UNAUTHORIZED = 77
    CONFIG = 78
    SIGINT = 130
    SIGTERM = 143


# If one pass has several causes, the first of these is reported (design 4.2).
PRECEDENCE = (
    Exit.SIGINT,
    Exit.SIGTERM,
    Exit.BUG,
    Exit.CONFIG,
    Exit.LEDGER,
    Exit.HELD,
    Exit.UNBALANCED,
    Exit.UNAUTHORIZED,
    Exit.UNAVAILABLE,
    Exit.DIED,
    Exit.NO_SUCH_ACTIVITY,
)


def worst(codes: Iterable[int]) -> Exit:
    """Return the exit code to report for all `codes`. OK if there are none.

    A code outside PRECEDENCE, e.g. a connector's own, counts as a bug.
    """
    found = set(codes) - {Exit.OK}
    return next((code for code in PRECEDENCE if code in found), Exit.BUG if found else Exit.OK)


REPORT = "report it with the traceback from the log"  # the remedy for a bug


class SyncdError(Exception):
    """An error with a message for the operator and, in `hint`, the remedy."""

    exit_code: Exit = Exit.BUG

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = fit_value(message, MOST)
        self.hint = fit_value(hint, MOST)
        super().__init__(self.message)

    @property
    def summary(self) -> str:
        """Return the whole error in one line."""
        return self.message


class NoSuchActivity(SyncdError):
    """The ledger holds no activity with that id."""

    exit_code = Exit.NO_SUCH_ACTIVITY


class Unavailable(SyncdError):
    """A CRM or Recotap could not be reached, or is out of quota.

    `pause_until` (aware UTC) is set if the server asked for a pause of a minute or more. The ledger keeps it, and
    syncd makes no request before then.
    """

    exit_code = Exit.UNAVAILABLE

    def __init__(self, message: str, *, hint: str = "", pause_until: datetime | None = None) -> None:
        super().__init__(message, hint=hint)
        self.pause_until = pause_until


class Malformed(Unavailable):
    """A response cannot be parsed: HTML, truncated JSON, or JSON of another shape."""


class OutsideWindow(Unavailable):
    """The window was read to its end, but something beside it cannot be read. A smaller window would not help."""


class LedgerError(SyncdError):
    """The ledger cannot be read or written: full, read-only, corrupt, or written by a newer syncd."""

    exit_code = Exit.LEDGER


class LedgerHeld(SyncdError):
    """Another syncd holds this ledger."""

    exit_code = Exit.HELD


class Unauthorized(SyncdError):
    """Credentials were refused, or a scope is missing."""

    exit_code = Exit.UNAUTHORIZED


class Unreadable(SyncdError):
    """A connector cannot interpret one record. Its row keeps and shows the message, which says where and why.

    It never ends a pass, so it has no exit code of its own. As every message, it holds nothing of the record itself:
    "line 17 of deals-2026-03.jsonl is not JSON".
    """


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the configuration."""

    path: str  # dotted, e.g. sources.hubspot.start
    message: str  # the mistake, and the expected value
    hint: str = ""  # the remedy


class ConfigError(SyncdError):
    """The configuration is wrong. `problems` lists every mistake; it is empty if there is no configuration."""

    exit_code = Exit.CONFIG

    def __init__(self, problems: Iterable[Problem] = (), *, message: str = "", where: str = "", hint: str = "") -> None:
        self.problems = tuple(problems)
        self.where = where
        count = len(self.problems)
        what = "1 mistake" if count == 1 else f"{count} mistakes"
        super().__init__(message or f"{what} in {where or 'the configuration'}", hint=hint)

    @property
    def summary(self) -> str:
        """Return all mistakes in one line, or the message if none is listed."""
        return "; ".join(f"{problem.path} {problem.message}" for problem in self.problems) or self.message


class Stopped(SyncdError):
    """A signal asked syncd to exit. `exit_code` is 128 plus its number."""

    exit_code = Exit.SIGTERM
