"""Wake the ledger's thread."""

from contextlib import suppress
from queue import Empty, SimpleQueue


class WakeUp:
    """Wake the ledger's thread. May be called in any thread, and in a signal handler of the waiting thread itself."""

    def __init__(self) -> None:
        # Not threading.Event: its lock would be taken twice if a signal comes while this thread holds it.
        self._calls: SimpleQueue[None] = SimpleQueue()

    def __call__(self) -> None:
        """End the present wait, or the next one."""
        self._calls.put(None)

    def clear(self) -> None:
        """Forget the calls so far. Look for their cause only afterwards, or it may be missed."""
        while not self._calls.empty():
            self._calls.get()

    def wait(self, timeout: float) -> None:
        """Wait for a call since the last `clear`, at most `timeout` seconds."""
        with suppress(Empty):
            self._calls.get(timeout=timeout)


__all__ = ["WakeUp"]
