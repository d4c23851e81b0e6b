"""Signals as events: whoever waits on the queue hears of them in its turn."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import Any


@contextmanager
def hearing(events: "SimpleQueue[Any]") -> Iterator[None]:
    """Put the numbers of SIGTERM, SIGINT and SIGHUP among `events` in the block.

    A second one that asks for the end leaves at once, which the ledger survives.
    """
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(128 + number)
        asked = True
        events.put(number)  # a SimpleQueue may be filled while the same thread waits on it

    def reload(number: int, frame: FrameType | None) -> None:
        events.put(number)

    handlers = {signal.SIGINT: ask, signal.SIGTERM: ask, signal.SIGHUP: reload}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
