"""What happens to records while they are read: edits, deletions, new and late ones, in the middle of everything."""

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from syncd.testing.crm import Crm
from syncd.testing.scene import LATE_S, OVERLAP, Scene

# Whose turn it is when an event comes: its number from 0, the ids in order, and how many were booked so far.
Who = Callable[[int, list[str], int], list[str]]
EDITED: Mapping[str, Who] = {
    "the first": lambda event, ids, booked: ids[:1],
    "one after the other from the first": lambda event, ids, booked: ids[event : event + 1],
    "those read last": lambda event, ids, booked: ids[max(0, booked - 3) : booked],
    "those to be read next": lambda event, ids, booked: ids[booked : booked + 2],
    "the last": lambda event, ids, booked: ids[len(ids) - 1 - event :][:1],
    "many": lambda event, ids, booked: ids[event * 7 : event * 7 + 7],
    "a long stretch": lambda event, ids, booked: ids[len(ids) // 4 : 3 * len(ids) // 4] if event == 1 else [],
    "every third": lambda event, ids, booked: ids[::3] if event == 1 else [],
}


def moved_while_read(scene: Scene, ids: list[str], who: Who, move: Callable[[str], None]) -> None:
    """Read everything while, at each request and after each page, some are moved."""
    events = iter(range(1_000_000))

    def event(_number: int) -> None:
        for crm_id in who(next(events), ids, len(scene.books)):
            move(crm_id)

    scene.crm.advance(2)
    with acting(scene.crm, event) as act:
        scene.read(between=act)


def storm(scene: Scene, draw: random.Random) -> None:
    """Live through one history: what happens, and when, is drawn."""
    cut = max(scene.crm.cuts)
    ids = scene.fill(sorted(draw.choices(range(draw.choice((3, cut, 4 * cut))), k=draw.randint(2 * cut, 4 * cut))))

    def event(_number: int) -> None:
        if draw.random() < 0.6:
            act = draw.choice(("edit", "edit", "late edit", "delete", "put", "put late"))
            crm_id = draw.choice(ids)
            if act == "edit":
                scene.edit(crm_id)
            elif act == "late edit":
                scene.edit(crm_id, late_by=LATE_S / 2)
            elif act == "delete":
                scene.delete(crm_id)
            elif act == "put":
                ids.append(scene.put(scene.crm_now()))
            else:
                at = scene.crm_now() - timedelta(seconds=draw.randrange(30))
                ids.append(scene.put(at, late_by=LATE_S / 2))

    for _ in range(6):
        with acting(scene.crm, event) as happens:
            scene.read(overlap=OVERLAP, between=happens, pages=draw.choice((None, 1, 2)))
        event(0)
        scene.crm.advance(draw.choice((1, 20)))
    scene.catch_up()


@contextmanager
def acting(crm: Crm, act: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """Have `act` done at each request, and by whoever calls what this gives: one at a time."""
    lock = threading.Lock()

    def locked(number: int) -> None:
        with lock:
            act(number)

    crm.on_request(locked)
    try:
        yield locked
    finally:
        crm.on_request(None)


__all__ = ["EDITED", "moved_while_read", "storm"]
