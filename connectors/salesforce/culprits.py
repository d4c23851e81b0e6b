"""Find the ids that Salesforce cannot serve while it serves others."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from connectors.salesforce.client import Client
from connectors.salesforce.retry import CULPABLE
from syncd.errors import Unavailable
from syncd.isolation import Budget, in_halves

R = TypeVar("R")


def isolated(
    ids: Sequence[str], ask: Callable[[Sequence[str]], list[R]], *, client: Client, budget: Budget, nobody: str,
    alone: Callable[[str, Unavailable], list[R]], certain: tuple[type[Unavailable], ...] = (),
) -> list[R]:  # fmt: skip
    """Return the results of `ask` for `ids`. If it fails, they are halved until the culprits stand alone.

    `alone` hears of each culprit and returns its results. `nobody` is an id without a record: a working org answers
    for it. An error of `certain` proves that the org answers. Only the first request is tried more than once.
    """

    def ask_some(some: Sequence[str]) -> list[R]:
        if some is ids:
            return ask(some)
        with client.isolating():
            return ask(some)

    if not ids:
        return []
    return in_halves(
        ids, ask_some, too_much=(*CULPABLE, *certain), certain=certain, alone=alone, budget=budget,
        witness=lambda: ask_some([nobody]),
    )  # fmt: skip


__all__ = ["isolated"]
