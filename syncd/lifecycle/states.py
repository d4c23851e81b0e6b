"""Define an activity's states, their legal moves, and the effect of each verdict.

              ┌──────────────► excluded ◄─────────────┐
              │                 │   │                 │
 (new) ──► incomplete ◄─────────┘   └──────────► pending ──► delivered
              │    └──────────────────────────────►│ └─────► skipped
              └──────────────► dead ◄──────────────┘

excluded and dead come back if the CRM record changes or by `retry`. skipped comes back only by `retry`, delivered
never: Recotap takes no update. Pure.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Described(StrEnum):
    """Give each word of the ledger the description that `status` and `explain` print."""

    description: str  # a test demands it of every member

    def __new__(cls, value: str, description: str = "") -> Self:
        """Create a member. mypy needs the default, because `State("dead")` looks one up."""
        self = str.__new__(cls, value)
        self._value_, self.description = value, description
        return self

    @classmethod
    def describe(cls, name: str) -> str:
        """Return the description of `name`, or "" if only a newer syncd knows it."""
        return next((each.description for each in cls if each == name), "")


class State(Described):
    """The position of an activity in its life cycle."""

    INCOMPLETE = "incomplete", "something is missing, or it may still change: looked up again by itself"
    PENDING = "pending", "complete: sent in the next pass, or when its back-off is over"
    DELIVERED = "delivered", "Recotap has it"
    SKIPPED = "skipped", "Recotap says that it will never take it"
    EXCLUDED = "excluded", "a rule of yours excludes it, or nobody of the other side is in it"
    DEAD = "dead", "given up: `syncd retry --state dead` tries again"


class Cause(StrEnum):
    """Why an activity moves."""

    READ = "read"  # its record was read: new, changed, or looked up because it is incomplete
    VERDICT = "verdict"  # Recotap answered
    AGE = "age"  # it waited too long
    RETRY = "retry"  # the operator asked for another look


_I, _P, _D = State.INCOMPLETE, State.PENDING, State.DELIVERED
_S, _E, _X = State.SKIPPED, State.EXCLUDED, State.DEAD
_READ, _VERDICT, _AGE, _RETRY = Cause.READ, Cause.VERDICT, Cause.AGE, Cause.RETRY

MOVES: dict[tuple[State, State], frozenset[Cause]] = {
    (_I, _P): frozenset({_READ, _RETRY}),
    (_I, _E): frozenset({_READ, _RETRY}),
    (_I, _X): frozenset({_AGE}),
    (_P, _D): frozenset({_VERDICT}),
    (_P, _S): frozenset({_VERDICT}),
    (_P, _X): frozenset({_VERDICT}),
    (_P, _I): frozenset({_READ}),
    (_P, _E): frozenset({_READ}),
    (_S, _P): frozenset({_RETRY}),
    (_E, _P): frozenset({_READ, _RETRY}),
    (_E, _I): frozenset({_READ, _RETRY}),
    (_X, _P): frozenset({_READ, _RETRY}),
    (_X, _I): frozenset({_READ, _RETRY}),
}


class IllegalMove(Exception):
    """Report a move that the table does not allow: a bug."""


def move(old: State, new: State, cause: Cause) -> State:
    """Return `new`. Raise IllegalMove if an activity in `old` may not go there for `cause`."""
    if cause not in MOVES.get((old, new), ()):
        raise IllegalMove(f"{old} may not become {new} by {cause}")
    return new


def follow(old: State, wanted: State, cause: Cause) -> State:
    """Return the state after a re-read: `wanted` if the table allows the move, otherwise `old`."""
    return wanted if cause in MOVES.get((old, wanted), ()) else old


class Verdict(Described):
    """The result that Recotap, or the network, reported for one activity in one attempt."""

    CREATED = "created", "Recotap stored it"
    DUPLICATE = "duplicate", "already there, by an earlier attempt of this ledger or an adopted one"
    FOREIGN_DUPLICATE = "foreign_duplicate", "already there, and no attempt of this ledger explains it"
    SKIPPED = "skipped", "Recotap will never take it"
    FAILED = "failed", "Recotap answered that this one failed"  # 200
    # A 400, or a firewall's 403, and this item is why:
    REFUSED = "refused", "Recotap's validation, or a firewall before it, refuses this one"
    TOO_LARGE = "too_large", "this one alone is too large"  # 413
    BYSTANDER = "bystander", "refused because of another in its batch: sent again at once"  # 400, 403, 413
    THROTTLED = "throttled", "Recotap asked for fewer requests"  # 429
    UNAUTHORIZED = "unauthorized", "Recotap refused the key"  # 401, 403, and a probe says the same
    WRONG_URL = "wrong_url", "no Recotap at that base URL"  # 404, a redirect
    UNREACHABLE = "unreachable", "the request did not reach Recotap"  # no connection
    # A time-out, a 5xx, an unreadable answer, or one without this item:
    UNANSWERED = "unanswered", "no readable answer: Recotap may have it, the next attempt will tell"
    # A time-out or a 5xx:
    SUSPECT = "suspect", "no readable answer for it alone, while others get through: it travels alone"
    # Between the intent and the verdict:
    CRASHED = "crashed", "syncd ended before the answer: Recotap may have it, the next attempt will tell"


UNDER_WAY = "under_way"  # in place of the verdict, in `explain`: the attempt has none yet


@dataclass(frozen=True, slots=True)
class Meaning:
    """The effect of a verdict on an activity."""

    state: State = State.PENDING  # the activity's state afterwards
    unknown: bool = False  # Recotap may have stored it: a later "already exists" proves our delivery
    fault: bool = False  # it is about the item itself: back-off, and dead after max_age
    isolates: bool = False  # from now on sent only together with its like


# ANSWERS prove that Recotap works, SILENCES that it takes nothing at the moment. The others prove neither: one activity
# that crashes the server, and a crash of syncd.
ANSWERS = frozenset(
    (
        Verdict.CREATED, Verdict.DUPLICATE, Verdict.FOREIGN_DUPLICATE, Verdict.SKIPPED, Verdict.FAILED,
        Verdict.REFUSED, Verdict.TOO_LARGE, Verdict.BYSTANDER,
    )
)  # fmt: skip
SILENCES = frozenset(
    (Verdict.THROTTLED, Verdict.UNAUTHORIZED, Verdict.WRONG_URL, Verdict.UNREACHABLE, Verdict.UNANSWERED)
)

MEANINGS: dict[Verdict, Meaning] = {
    Verdict.CREATED: Meaning(State.DELIVERED),
    Verdict.DUPLICATE: Meaning(State.DELIVERED),
    Verdict.FOREIGN_DUPLICATE: Meaning(State.DELIVERED),
    Verdict.SKIPPED: Meaning(State.SKIPPED),
    Verdict.FAILED: Meaning(fault=True),
    Verdict.REFUSED: Meaning(fault=True, isolates=True),
    Verdict.TOO_LARGE: Meaning(fault=True, isolates=True),
    Verdict.BYSTANDER: Meaning(),
    Verdict.THROTTLED: Meaning(),
    Verdict.UNAUTHORIZED: Meaning(),
    Verdict.WRONG_URL: Meaning(),
    Verdict.UNREACHABLE: Meaning(),
    Verdict.UNANSWERED: Meaning(unknown=True),
    Verdict.SUSPECT: Meaning(unknown=True, fault=True, isolates=True),
    Verdict.CRASHED: Meaning(unknown=True),
}
