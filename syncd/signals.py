"""Turn signals into a request to stop a pass, or into events of the daemon's queue."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import Any

from syncd.errors import Exit


class StopRequest:
    """A request to end the pass, made by a signal."""

    def __init__(self) -> None:
        self.requested = False
        self.exit_code = Exit.SIGTERM
        self.on_request: Callable[[], None] = lambda: None

    def request(self, number: int) -> None:
        """Request the end because of signal `number`. Safe in a signal handler."""
        self.requested = True
        self.exit_code = Exit.SIGINT if number == signal.SIGINT else Exit.SIGTERM
        self.on_request()


@contextmanager
def handling(stop: StopRequest) -> Iterator[None]:
    """Let SIGINT and SIGTERM request the end within the block. A second signal exits at once: the ledger survives."""

    def handler(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            os._exit(128 + number)
        stop.request(number)

    with _handlers({signal.SIGINT: handler, signal.SIGTERM: handler}):
        yield


@contextmanager
def queued(events: "SimpleQueue[Any]") -> Iterator[None]:
    """Put the numbers of SIGTERM, SIGINT and SIGHUP into `events` within the block.

    A second SIGTERM or SIGINT exits at once: the ledger survives.
    """
    requested = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested:
            os._exit(128 + number)
        requested = True
        events.put(number)  # a SimpleQueue allows a put while the same thread waits in get

    def reload(number: int, frame: FrameType | None) -> None:
        events.put(number)

    with _handlers({signal.SIGINT: end, signal.SIGTERM: end, signal.SIGHUP: reload}):
        yield


@contextmanager
def _handlers(handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
