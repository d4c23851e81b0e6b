"""Let another thread take part in a pass under way: add sources, ask it to end soon, and hear of each source's end."""

from collections.abc import Callable
from queue import SimpleQueue

from syncd.connector import Source
from syncd.errors import SyncdError


class PassControl:
    """The connection between the daemon and one pass. `join` and `end_soon` may be called in any thread."""

    def __init__(
        self, ended: Callable[[str, SyncdError | None], None] = lambda source, error: None, *,
        turn_s: float | None = None,
    ) -> None:  # fmt: skip
        """`ended` is called in the pass's thread when a source was read to its end, or has failed with an error.

        It is not called for a source that gave way to the pass's end, or that the pass did not begin to read.
        `turn_s`: for which a source may read before it gives way, by default TURN_S of `turns`.
        """
        self.ended = ended
        self.turn_s = turn_s
        self.on_call: Callable[[], None] = lambda: None
        self._calls: SimpleQueue[Source | None] = SimpleQueue()  # None: end soon

    def join(self, source: Source) -> None:
        """Read `source` in this pass, too. If the pass ends before, nothing happens."""
        self._call(source)

    def end_soon(self) -> None:
        """Have each source give way as soon as its turn is over, and end the pass."""
        self._call(None)

    def take(self) -> list[Source | None]:
        """Return the calls since the last `take`, in order. None stands for `end_soon`."""
        calls = []
        while not self._calls.empty():
            calls.append(self._calls.get())
        return calls

    def _call(self, call: Source | None) -> None:
        self._calls.put(call)
        self.on_call()


__all__ = ["PassControl"]
