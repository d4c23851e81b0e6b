"""Sending in simulated time: POSTs that take a while, several at once, and nothing that really waits."""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from syncd.passes.dispatch import Push
from syncd.recotap.responses import BatchResult
from tests.fake_recotap import LOST, START, HeldPost, ManualPoster, SendingFixture, all_created, opened

DEADLINE_S = 30.0  # of a request
Answer = Callable[[Sequence[str]], tuple[float, BatchResult]]  # ids to (seconds it takes, result)


class SlowRecotap:
    """A Recotap that takes `base_s + per_item_s * items`, and times out if that is over the deadline."""

    def __init__(self, *, base_s: float, per_item_s: float) -> None:
        self.base_s, self.per_item_s = base_s, per_item_s
        self.sizes: Counter[int] = Counter()
        self.timed_out = 0

    def __call__(self, ids: Sequence[str]) -> tuple[float, BatchResult]:
        self.sizes[len(ids)] += 1
        takes_s = self.base_s + self.per_item_s * len(ids)
        if takes_s > DEADLINE_S:
            self.timed_out += 1
            return DEADLINE_S, LOST
        return takes_s, all_created(ids)


def simulate(desk: SendingFixture, answer: Answer, *, watch: Callable[[Push], None] = lambda push: None) -> Push:
    """Make one pass whose POSTs take the time that `answer` says. The clock moves from one return to the next."""
    poster = desk.poster
    assert isinstance(poster, ManualPoster)
    push = desk.push()
    order = itertools.count()
    under_way: list[tuple[float, int, HeldPost, BatchResult]] = []
    while True:
        push.pump()
        watch(push)
        while len(under_way) < push.in_flight:
            held = poster.next()
            takes_s, result = answer(held.ids) if held.ids else (0.1, BatchResult("answered"))
            heapq.heappush(under_way, (desk.clock.monotonic() + takes_s, next(order), held, result))
        if under_way:
            at_s, _, held, result = heapq.heappop(under_way)
            desk.clock.at = max(desk.clock.at, START + timedelta(seconds=at_s))
            held.answer(result)
            desk.settle(push)
        elif push.idle:
            break
        else:
            assert push.wait_s() > 0, "activities are left, but none is in flight and nothing delays them"
            desk.clock.tick(push.wait_s())
    push.close()
    return push


def main(path: Path, count: int = 20_000) -> dict[str, Any]:
    """Deliver a backlog to a Recotap that is too slow for 50 activities, and return the figures."""
    recotap = SlowRecotap(base_s=1.0, per_item_s=1.0)
    most = 0

    def watch(push: Push) -> None:
        nonlocal most
        most = max(most, len(push._waiting))  # the number of ids

    with opened(path, ManualPoster()) as desk:
        desk.book_many(count)
        push = simulate(desk, recotap, watch=watch)
        hours = (desk.clock.at - START).total_seconds() / 3600
        states = desk.states()
    return {"hours": round(hours, 2), "posts": push.totals.posts, "timed_out": recotap.timed_out, "states": states,
            "sizes": recotap.sizes, "most_waiting": most}  # fmt: skip
