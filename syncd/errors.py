"""What can go wrong, grouped by what happens next, and the exit code of each.

SyncdError                        1   a bug, unless a subclass says otherwise
├── NoSuchActivity               66   `explain` was asked for an id the ledger does not hold
├── Unavailable                  69   a CRM or Recotap cannot be reached, or is out of quota: the next pass goes on
│   └── Malformed                69   it answered what nobody can read
├── LedgerError                  74   the ledger cannot be read or written
├── LedgerHeld                   75   another syncd works on this ledger
├── Unauthorized                 77   credentials refused, or a scope missing
├── ConfigError                  78   the configuration is wrong: every mistake in one report
├── Unreadable                        one record makes no sense: a dead row, and the pass goes on
└── Stopped                           a signal asked us to leave; 130 or 143

Messages say what and which, never a token, an address, a subject, a name or a
phone number; hints say what the operator can do. Both are made fit to be stored, logged and shown here,
because a connector may put a server's words or a file's name into them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from syncd.text import MOST, fit_value


class Exit(IntEnum):
    """Exit codes of `sync`; where several apply, `worst` picks the one to report."""

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


# Several causes in one pass: the first of these is reported (design 4.2, which leaves signals and bugs open).
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
    """Return the one exit code that stands for all `codes`; OK when there are none.

    A code that has no place in the order, a connector's own, counts as a bug: never as OK.
    """
    found = set(codes) - {Exit.OK}
    return next((code for code in PRECEDENCE if code in found), Exit.BUG if found else Exit.OK)


class SyncdError(Exception):
    """Say what went wrong and, in `hint`, what the operator can do about it."""

    exit_code: Exit = Exit.BUG

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = fit_value(message, MOST)
        self.hint = fit_value(hint, MOST)
        super().__init__(self.message)

    @property
    def summary(self) -> str:
        """Return everything that is wrong, in one line."""
        return self.message


class NoSuchActivity(SyncdError):
    """The ledger holds no activity of that id."""

    exit_code = Exit.NO_SUCH_ACTIVITY


class Unavailable(SyncdError):
    """A CRM or Recotap could not be reached, or is out of quota.

    `pause_until` (aware UTC) is set when it told us to stay away for a minute or
    longer: the ledger keeps that, and no request is made before.
    """

    exit_code = Exit.UNAVAILABLE

    def __init__(self, message: str, *, hint: str = "", pause_until: datetime | None = None) -> None:
        super().__init__(message, hint=hint)
        self.pause_until = pause_until


class Malformed(Unavailable):
    """An answer that nobody can read: HTML, cut JSON, or JSON of another shape."""


class LedgerError(SyncdError):
    """The ledger cannot be read or written: full, read-only, corrupt, or of a newer syncd."""

    exit_code = Exit.LEDGER


class LedgerHeld(SyncdError):
    """Another syncd holds this ledger."""

    exit_code = Exit.HELD


class Unauthorized(SyncdError):
    """Credentials were refused, or a scope is missing."""

    exit_code = Exit.UNAUTHORIZED


class Unreadable(SyncdError):
    """One record makes no sense to its connector; the message, which its row keeps and shows, says where and why.

    It never ends a pass, so it has no exit code of its own. As in every message, nothing of the
    record itself stands in it: "line 17 of deals-2026-03.jsonl is not JSON".
    """


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the configuration."""

    path: str  # dotted, e.g. sources.hubspot.start
    message: str  # what stands there and what is expected
    hint: str = ""  # what would be right


class ConfigError(SyncdError):
    """The configuration is wrong; `problems` lists every mistake. None is listed where there is no configuration."""

    exit_code = Exit.CONFIG

    def __init__(self, problems: Iterable[Problem] = (), *, message: str = "", where: str = "", hint: str = "") -> None:
        self.problems = tuple(problems)
        self.where = where
        count = len(self.problems)
        what = "1 mistake" if count == 1 else f"{count} mistakes"
        super().__init__(message or f"{what} in {where or 'the configuration'}", hint=hint)

    @property
    def summary(self) -> str:
        """Return the mistakes themselves where there are any: their number alone helps nobody."""
        return "; ".join(f"{problem.path} {problem.message}" for problem in self.problems) or self.message


class Stopped(SyncdError):
    """A signal asked us to leave; `exit_code` is 128 plus its number."""

    exit_code = Exit.SIGTERM
