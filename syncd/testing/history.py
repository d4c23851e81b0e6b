"""Changes while records are read: edits, deletions, new and late records."""

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from syncd.testing.crm import Crm
from syncd.testing.harness import LATE_S, OVERLAP, Harness

# Returns the ids that an event moves, given its number from 0, all ids in order, and how many were booked so far.
Selector = Callable[[int, list[str], int], list[str]]
EDIT_PATTERNS: Mapping[str, Selector] = {
    "the first": lambda event, ids, booked: ids[:1],
    "one after the other from the first": lambda event, ids, booked: ids[event : event + 1],
    "those read last": lambda event, ids, booked: ids[max(0, booked - 3) : booked],
    "those to be read next": lambda event, ids, booked: ids[booked : booked + 2],
    "the last": lambda event, ids, booked: ids[len(ids) - 1 - event :][:1],
    "many": lambda event, ids, booked: ids[event * 7 : event * 7 + 7],
    "a long stretch": lambda event, ids, booked: ids[len(ids) // 4 : 3 * len(ids) // 4] if event == 1 else [],
    "every third": lambda event, ids, booked: ids[::3] if event == 1 else [],
}


def read_while_moving(harness: Harness, ids: list[str], selector: Selector, move: Callable[[str], None]) -> None:
    """Read everything, and move some records at each request and after each page."""
    events = iter(range(1_000_000))

    def event(_number: int) -> None:
        for crm_id in selector(next(events), ids, len(harness.books)):
            move(crm_id)

    harness.crm.advance(2)
    with on_each_request(harness.crm, event) as act:
        harness.read(between=act)


def random_history(harness: Harness, draw: random.Random) -> None:
    """Run passes during one random history of changes."""
    cut = max(harness.crm.cuts)
    ids = harness.fill(sorted(draw.choices(range(draw.choice((3, cut, 4 * cut))), k=draw.randint(2 * cut, 4 * cut))))

    def event(_number: int) -> None:
        if draw.random() < 0.6:
            act = draw.choice(("edit", "edit", "late edit", "delete", "put", "put late"))
            crm_id = draw.choice(ids)
            if act == "edit":
                harness.edit(crm_id)
            elif act == "late edit":
                harness.edit(crm_id, late_by=LATE_S / 2)
            elif act == "delete":
                harness.delete(crm_id)
            elif act == "put":
                ids.append(harness.put(harness.crm_now()))
            else:
                at = harness.crm_now() - timedelta(seconds=draw.randrange(30))
                ids.append(harness.put(at, late_by=LATE_S / 2))

    for _ in range(6):
        with on_each_request(harness.crm, event) as happens:
            harness.read(overlap=OVERLAP, between=happens, pages=draw.choice((None, 1, 2)))
        event(0)
        harness.crm.advance(draw.choice((1, 20)))
    harness.catch_up()


@contextmanager
def on_each_request(crm: Crm, act: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """Call `act` at each request, and yield a function that calls it too. Calls never overlap."""
    lock = threading.Lock()

    def locked(number: int) -> None:
        with lock:
            act(number)

    crm.on_request(locked)
    try:
        yield locked
    finally:
        crm.on_request(None)


__all__ = ["EDIT_PATTERNS", "random_history", "read_while_moving"]
