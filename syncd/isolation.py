"""Ask a CRM for less if it fails: fewer items until the culprit stands alone, and smaller pages.

    items ─► served
      └─ fail ─► one item alone ─► another one ─► both fail: an outage, no item is to blame
                        └─ served ─► both halves, and so on ─► one item alone fails
                                          one that was served is served again, and it fails again ─► `alone`

No IO but `ask` and `witness`.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Generic, TypeVar

from syncd.connector import Store
from syncd.errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")

REQUESTS = 200  # further ones of one budget. About 20 isolate one of 100 items
SECONDS = 300.0  # of one budget: eight time-outs of half a minute isolate one of 100 items
PROBES = 2  # further requests that fail before a failure counts as an outage


class Budget:
    """Bound the further requests of a pass, and the seconds that they take. Thread-safe."""

    def __init__(
        self, requests: int = REQUESTS, seconds: float = SECONDS, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._left = requests
        self._left_s = seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()

    @property
    def is_used_up(self) -> bool:
        """Whether no request or no time is left."""
        return self._left <= 0 or self._left_s <= 0

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Count a request, and the time that it takes."""
        began = self._monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._left -= 1
                self._left_s -= self._monotonic() - began


def in_halves(
    items: Sequence[T],
    ask: Callable[[Sequence[T]], list[R]],
    *,
    too_much: tuple[type[Unavailable], ...],
    alone: Callable[[T, Unavailable], list[R]] | None = None,
    certain: tuple[type[Unavailable], ...] = (),
    witness: Callable[[], object] | None = None,
    budget: Budget | None = None,
) -> list[R]:
    """Return the results of `ask` for all `items`, in their order.

    If `ask` raises one of `too_much`, the items are halved until the culprits stand alone. `alone` returns the results
    of a culprit, or raises. Without it, the culprit's error is raised. An item is a culprit only if another request is
    served after its failure and it then fails again. If nothing is served, the first error is raised: it is an outage.
    Of up to PROBES items all may be culprits, so there `witness` counts too, a request that a working CRM serves.

    An error of `certain` proves that the CRM answers: its item is a culprit at once. An error with `pause_until` is
    always raised. Once `budget` is used up, a part is divided only if its error is certain. Otherwise all its items are
    culprits.
    """
    try:
        return ask(items)
    except too_much as error:
        if error.pause_until is not None or not items or (len(items) == 1 and alone is None):
            raise
        isolation = _Isolation(items, ask, too_much, alone, certain, witness, budget or Budget())
        return isolation.results(error)


class _Isolation(Generic[T, R]):
    """Isolate the culprits of one failed request."""

    def __init__(
        self,
        items: Sequence[T],
        ask: Callable[[Sequence[T]], list[R]],
        too_much: tuple[type[Unavailable], ...],
        alone: Callable[[T, Unavailable], list[R]] | None,
        certain: tuple[type[Unavailable], ...],
        witness: Callable[[], object] | None,
        budget: Budget,
    ) -> None:
        self._items = items
        self._ask = ask
        self._too_much = too_much
        self._alone = alone
        self._certain = certain
        self._witness = witness
        self._budget = budget
        self._found: dict[int, list[R]] = {}  # by the position of a part's first item
        self._served: list[int] = []  # positions of items that were served

    def results(self, error: Unavailable) -> list[R]:
        """Divide the items, whose request has failed with `error`."""
        self._expect_service(error)
        self._divide(range(len(self._items)), error)
        return [result for start in sorted(self._found) for result in self._found[start]]

    def _divide(self, whole: range, error: Unavailable) -> None:
        """Divide the largest parts first, so that those are small which are left once the budget is used up."""
        waiting = deque([(whole, error)])
        while waiting:
            part, error = waiting.popleft()
            is_certain = isinstance(error, self._certain)
            if len(part) == 1 or (self._budget.is_used_up and not is_certain):
                self._judge(part, error)
                continue
            middle = len(part) // 2
            asked = [(half, self._request(half)) for half in (part[:middle], part[middle:])]
            failed = [(half, failure) for half, failure in asked if failure is not None]
            if len(failed) > 1:  # an outage may have begun
                self._expect_service(failed[-1][1])
            for each in reversed(failed):  # a certain error goes first: if all items are refused, one item tells
                (waiting.appendleft if isinstance(each[1], self._certain) else waiting.append)(each)

    def _judge(self, part: range, error: Unavailable) -> None:
        """Blame a part that was not divided, unless it is served when it is asked again."""
        if self._alone is None:
            raise error
        if not isinstance(error, self._certain):
            self._expect_service(error)
            again = self._request(part)
            if again is None:
                return
            error = again if len(part) == 1 else error  # one certain item says nothing of the others
        for at in part:
            self._found[at] = self._alone(self._items[at], error)

    def _request(self, part: range) -> Unavailable | None:
        """Ask for a part and keep its results. Return the error if it fails."""
        try:
            self._found[part.start] = self._asked(part)
        except self._too_much as error:
            if error.pause_until is not None:
                raise
            return error
        return None

    def _asked(self, part: range) -> list[R]:
        with self._budget.spend():
            found = self._ask(self._items[part.start : part.stop])
        self._served += part
        return found

    def _expect_service(self, error: Unavailable) -> None:
        """Raise `error` unless the CRM serves an item, the witness, or has answered with a certain error."""
        if not isinstance(error, self._certain) and not any(map(self._serves, self._proofs())):
            raise error

    def _proofs(self) -> Iterator[Callable[[], object]]:
        """Yield requests of which one is served unless there is an outage. Items that were served are preferred."""
        count = len(self._items)
        others = self._served or (range(count) if count > 1 else ())
        for at in random.sample(others, min(PROBES, len(others))):
            yield partial(self._asked, range(at, at + 1))
        if self._witness is not None and count <= PROBES:
            yield self._witness

    def _serves(self, proof: Callable[[], object]) -> bool:
        try:
            proof()
        except self._too_much as error:
            if error.pause_until is not None:
                raise
            return False
        return True


class AdaptiveSize:
    """Hold the size of a page or batch that works, from pass to pass.

    A size that is too much is halved. It doubles after each request of full size that works, so an outage, which looks
    the same, does not keep it small. Within a pass it never reaches a size that failed in that pass.
    """

    def __init__(self, store: Store, key: str, most: int, least: int = 1) -> None:
        """Begin with the size that an earlier pass kept under `key`, otherwise with `most`."""
        self._store = store
        self._key = key
        self._most = most
        self._least = least
        kept = store.get(key)
        is_size = isinstance(kept, int) and not isinstance(kept, bool)
        self.size = self._kept = min(max(kept, least), most) if is_size else most
        self._failed: int | None = None  # the smallest size that was too much in this pass

    def at_least(self, size: int) -> int:
        """Return `size`, but no less than the least one."""
        return max(self._least, size)

    def was_too_much(self, size: int) -> None:
        """Halve `size`, and stay below it in this pass."""
        self._failed = size if self._failed is None else min(size, self._failed)
        self._keep(min(self.size, self.at_least(self._failed // 2)))

    def was_enough(self, size: int) -> None:
        """Double after a request of this `size` worked. A smaller one than the present size proves nothing."""
        larger = min(2 * self.size, self._most)
        if size >= self.size:
            self._keep(larger if self._failed is None or larger < self._failed else self.size)

    def return_to(self, size: int) -> None:
        """Return to a larger size that worked, because something else explains the failures since."""
        if self._failed is not None and self._failed <= size:
            self._failed = None
        self._keep(max(self.size, size))

    def begin_next_with(self, size: int) -> None:
        """Let the next pass begin with `size`, unless this pass keeps another one later."""
        self._store_size(self.at_least(size))

    def _keep(self, size: int) -> None:
        self.size = size
        self._store_size(size)

    def _store_size(self, size: int) -> None:
        if size != self._kept:
            self._kept = size
            self._store.put(self._key, None if size == self._most else size)


class TriedSize:
    """Choose the size of each try of a request: the adaptive size, half of it after a time-out, then a quarter.

    Any other failure may be chance, so only the third try is smaller then, unless the size is larger than any that
    worked in this pass. A size that has worked in this pass is too much only if two requests in a row fail with it. So
    a long pass with a failure now and then does not end with tiny pages. One object serves one pass. Not thread-safe.
    """

    def __init__(self, size: AdaptiveSize) -> None:
        self._size = size
        self._failed: list[int] = []  # sizes of this request's failed tries
        self._timed_out = False
        self._worked = 0  # the largest full size that worked in this pass
        self._struck = False  # the request before this one failed with a size that has worked
        self._gave_up = False  # in this pass

    @property
    def now(self) -> int:
        """The size of the next try."""
        tries, is_trial = len(self._failed), self._size.size > self._worked > 0
        divisor = 4 if tries > 1 else 2 if tries and (self._timed_out or is_trial) else 1
        return self._size.at_least(self._size.size // divisor)

    def failed(self, *, timed_out: bool) -> None:
        """Note that a try failed, perhaps because it asked for too much."""
        self._failed.append(self.now)
        self._timed_out = self._timed_out or timed_out

    def gave_up(self) -> None:
        """Note that the request has no further try: no size helps.

        It may be an outage, or a span that cannot be read, so this pass goes on with the largest size that worked. If
        the request timed out and no larger size has worked, the next pass begins smaller.
        """
        if self._worked > self._size.size:
            self._size.return_to(self._worked)
        if self._timed_out and min(self._failed) > self._worked and not self._gave_up:
            self._size.begin_next_with(min(self._failed) // 2)
            self._gave_up = True
        self._failed, self._timed_out = [], False

    def served(self, *, full: bool) -> None:
        """Note that a try was served, and whether its answer was as large as it may be."""
        now, smallest = self.now, min(self._failed, default=0)
        self._failed, self._timed_out = [], False
        self._worked = max(now, self._worked) if full else self._worked
        if smallest > now:
            if smallest > self._worked or self._struck:
                self._size.was_too_much(smallest)
                self._struck = False
            else:
                self._struck = True
        elif full:
            self._struck = False
            self._size.was_enough(now)


__all__ = ["AdaptiveSize", "Budget", "TriedSize", "in_halves"]
