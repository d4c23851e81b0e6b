"""Halve requests that are too much for Salesforce or for our deadline."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from connectors.salesforce.retry import LocatorGone, QueryTimeout, TooSlow
from syncd.errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")

TOO_MUCH: tuple[type[Unavailable], ...] = (QueryTimeout, LocatorGone)


def in_halves(
    items: Sequence[T],
    ask: Callable[[Sequence[T]], list[R]],
    *,
    alone: Callable[[T, Unavailable], list[R]] | None = None,
    too_much: tuple[type[Unavailable], ...] = TOO_MUCH,
) -> list[R]:
    """Return the results of `ask` for all `items`, in their order.

    If Salesforce refuses a single item as too much, `alone` returns its results, so that it does not delay the others.
    Without `alone` the error is raised. So it is if our deadline passed or a locator died, because a retry may succeed.
    """
    try:
        return ask(items)
    except too_much as error:
        if len(items) > 1:
            middle = len(items) // 2
            halves = (items[:middle], items[middle:])
            return [found for half in halves for found in in_halves(half, ask, alone=alone, too_much=too_much)]
        if alone is None or not items or isinstance(error, (TooSlow, LocatorGone)):
            raise
        return alone(items[0], error)
