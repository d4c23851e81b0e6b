"""Ask for less where Salesforce, or our deadline, takes a request for too much."""

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
    """Return what `ask` gives for all `items`, in their order.

    One item that Salesforce itself refuses as too much is `alone`'s to answer for, so that
    it does not hold up the others; without `alone`, and where it is our deadline that
    passed or a locator that died, which both may fare better, it raises.
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
