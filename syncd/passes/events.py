"""The events of one source's reader, and the call that wakes the ledger's thread for them."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from queue import Empty, SimpleQueue

from syncd.connector import Ref
from syncd.lifecycle.transitions import Reading


@dataclass(frozen=True, slots=True)
class SourceOpened:
    """The CRM has answered. Its pages follow."""

    identity: str | None  # the portal's or org's id; None if the CRM does not tell it


@dataclass(frozen=True, slots=True)
class PageRead:
    """One page with finished readings, to be booked."""

    stream: str
    refs: Sequence[Ref]  # every record read, also those that the ledger has unchanged
    readings: Sequence[Reading]  # of the records read in full; assessed as if a server confirmed the local clock
    missing: Sequence[str] = ()  # look-ups: ids that the CRM did not find, or that are no activity any more
    complete_until: datetime | None = None  # no watermark goes beyond it; the CRM's clock
    looked_up_at: datetime | None = None  # when the look-up by id began; None: a page of a window
    unserved: Mapping[str, str] = field(default_factory=dict)  # look-ups: ids that the CRM cannot serve, and why

    @property
    def changes_rows(self) -> bool:
        """Whether this page may write a row."""
        return bool(self.readings or self.missing or self.unserved)

    @property
    def watermark(self) -> datetime | None:
        """The stream's new watermark by the CRM's clock, or None if this page does not move it."""
        if self.looked_up_at is not None or not self.refs:
            return None
        latest = max(ref.modified_at for ref in self.refs)
        return latest if self.complete_until is None else min(latest, self.complete_until)


@dataclass(frozen=True, slots=True)
class WindowRead:
    """A stream was read to its window's end."""

    stream: str
    until: datetime | None  # the CRM's clock
    sweep: bool  # it was the daily sweep


@dataclass(frozen=True, slots=True)
class Waypoint:
    """Everything before this event is committed once `passed` is set."""

    passed: threading.Event


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """This pass reads no more of a stream, or of the whole source if `stream` is None."""

    stream: str | None
    error: BaseException


@dataclass(frozen=True, slots=True)
class SourceFinished:
    """The thread has ended. No event follows."""


Event = SourceOpened | PageRead | WindowRead | Waypoint | StreamFailed | SourceFinished


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


__all__ = ["Event", "PageRead", "SourceFinished", "SourceOpened", "StreamFailed", "WakeUp", "Waypoint", "WindowRead"]
