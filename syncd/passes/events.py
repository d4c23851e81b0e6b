"""The events of one source's reader."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from syncd.connector import Ref
from syncd.errors import Unavailable
from syncd.lifecycle.transitions import Reading
from syncd.normalize.provenance import Origin
from syncd.passes.windows import Span


@dataclass(frozen=True, slots=True)
class SourceOpened:
    """The CRM has answered. Its pages follow."""

    identity: str | None  # the portal's or org's id; None if the CRM does not tell it


class RangeEvent:
    """Change what is still to be read beside the windows."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class StartNoted(RangeEvent):
    """A stream is read from another `start` than the ledger knows."""

    stream: str
    start: datetime  # to remember
    added: Span | None  # what an earlier start adds: a range


@dataclass(frozen=True, slots=True)
class Gap:
    """A span that the CRM does not serve, both ends inclusive."""

    since: datetime
    until: datetime
    error: str


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
    gaps: Sequence[Gap] = ()  # before this page: the CRM does not serve them
    range_id: int | None = None  # the ledger's, if this is a page of a range
    in_slice: bool = False  # the range moves only once the whole slice is read
    provenance: Mapping[str, Mapping[str, Origin]] = field(default_factory=dict)  # by crm_id; only for a preview

    @property
    def changes_rows(self) -> bool:
        """Whether this page may write a row."""
        return bool(self.readings or self.missing or self.unserved)

    @property
    def watermark(self) -> datetime | None:
        """The stream's new watermark by the CRM's clock, or None if this page does not move it."""
        return None if self.looked_up_at is not None or self.range_id is not None else reached(self)

    @property
    def read_to(self) -> datetime | None:
        """How far the page's range is read, or None if this page does not move that."""
        return None if self.range_id is None or self.in_slice else reached(self)


class Read(Protocol):
    """The part of a page that tells how far it is read."""

    @property
    def refs(self) -> Sequence[Ref]:
        """Return the refs of all records read."""

    @property
    def complete_until(self) -> datetime | None:
        """Return the low watermark, if there is one."""


def reached(page: Read) -> datetime | None:
    """Return the time up to which everything is in this page or an earlier one. None if it holds nothing."""
    if not page.refs:
        return None
    latest = max(ref.modified_at for ref in page.refs)
    return latest if page.complete_until is None else min(latest, page.complete_until)


@dataclass(frozen=True, slots=True)
class Counted:
    """A stream's window holds about so many records, which follow."""

    stream: str
    count: int


@dataclass(frozen=True, slots=True)
class WindowRead:
    """A stream was read to its window's end."""

    stream: str
    until: datetime | None  # the CRM's clock
    sweep: bool  # it was the daily sweep


@dataclass(frozen=True, slots=True)
class SliceRead(RangeEvent):
    """A range that is read from its end was read down to `read_to`."""

    range_id: int
    read_to: datetime


@dataclass(frozen=True, slots=True)
class RangeRead(RangeEvent):
    """A range was read to its end."""

    range_id: int


@dataclass(frozen=True, slots=True)
class RangeFailed(RangeEvent):
    """This pass reads no more of a range."""

    range_id: int
    stream: str
    why: str  # as `ledger.Range.why`
    error: Unavailable
    next_attempt_at: datetime | None  # None: in the next pass


@dataclass(frozen=True, slots=True)
class Waypoint:
    """Everything before this event is committed once `passed` is set."""

    passed: threading.Event


@dataclass(frozen=True, slots=True)
class Checked:
    """The records of one request were looked up before their rows are sent. Those that the CRM served are booked."""

    stream: str
    is_over: bool  # an outage has ended these look-ups


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """This pass reads no more of a stream, or of the whole source if `stream` is None."""

    stream: str | None
    error: BaseException


@dataclass(frozen=True, slots=True)
class SourceFinished:
    """The thread has ended. No event follows."""


def moves_on(event: "Event | None") -> bool:
    """Tell whether `event` moves a watermark, a range or a sweep."""
    return isinstance(event, WindowRead | RangeEvent) or (isinstance(event, PageRead) and event.looked_up_at is None)


Event = SourceOpened | Counted | PageRead | WindowRead | RangeEvent | Waypoint | Checked | StreamFailed | SourceFinished


__all__ = [
    "Checked",
    "Counted",
    "Event",
    "Gap",
    "PageRead",
    "RangeEvent",
    "RangeFailed",
    "RangeRead",
    "SliceRead",
    "SourceFinished",
    "SourceOpened",
    "StartNoted",
    "StreamFailed",
    "Waypoint",
    "WindowRead",
    "moves_on",
    "reached",
]
