"""The contract between syncd and a connector, which reads one CRM and knows it alone.

A connector is a class found by the entry-point group `syncd.connectors`. One object
serves one pass over one source:

    since ─► fetch(stream, Window) ──► Page, Page, …     ascending modification time
    ids   ─► fetch_ids(stream, ids) ─► Page, Page, …     past every cache
    Record ─► normalize(stream, record) ─► Draft          pure, no IO

The engine decides windows and keeps the watermark; the connector only reads.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, field_validator

from syncd import text
from syncd.activity import Draft, Kind, Owner
from syncd.errors import SyncdError
from syncd.http.server_clock import ServerClock
from syncd.types.durations import Duration, Positive
from syncd.types.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of record of a source, with a watermark of its own."""

    name: str  # e.g. calls
    kind: Kind  # what its records become


@dataclass(frozen=True, slots=True)
class Ref:
    """A record that exists: its id and when the CRM says it was last modified."""

    crm_id: str
    modified_at: datetime  # aware UTC, the CRM's clock, milliseconds


@dataclass(frozen=True, slots=True)
class Record:
    """The CRM's row, untouched, with what belongs to it."""

    ref: Ref
    row: Mapping[str, Any]  # as the CRM gave it
    related: Mapping[str, Any] = field(default_factory=dict)  # whatever normalize needs beside it


@dataclass(frozen=True, slots=True)
class Page:
    """Up to about 1,000 records, complete, and every ref read on the way.

    `refs` holds every record read, also those that `needed` waved off; its greatest
    modification time is safe as a watermark, as far as `complete_until` goes: everything up to the
    earlier of the two, as far as the CRM showed it, stands in this page or an earlier one.
    It may fall between records of one time, because windows are inclusive. `complete_until` is the
    window's end, on its last page for certain; a page that shows rows later than their
    place says less.

    `withheld` on a window's last page ends the pass of that stream with this error, after
    everything is booked. Each record that lacks its content says so by `Draft.redacted`: it is
    held, does not age, and is looked up again once a window ends without `withheld`.
    """

    refs: Sequence[Ref]
    records: Sequence[Record]
    complete_until: datetime | None = None  # no watermark goes beyond it; the CRM's clock; None in fetch_ids
    missing: Sequence[str] = ()  # fetch_ids alone: ids that the CRM did not find
    withheld: SyncdError | None = None  # why the key may not see the content of this stream's records; None: it may


# Told what was read, it answers which crm_ids must be read whole; the others are known as they stand.
Needed = Callable[[Sequence[Ref]], Collection[str]]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of modification time, both ends inclusive."""

    since: datetime  # aware UTC
    until: datetime | None  # None: up to the pass's start by the CRM's clock, which the connector finds out
    needed: Needed


class Store(Protocol):
    """What a connector may keep from pass to pass: small, JSON-able, no personal secret."""

    def get(self, key: str, *, max_age: timedelta | None = None) -> Any:
        """Return what was put under `key`, or None when there is nothing or it is older than `max_age`."""

    def put(self, key: str, value: Any) -> None:
        """Keep `value`, a JSON-able object; it is committed with the pass."""


@dataclass(frozen=True, slots=True)
class Context:
    """What syncd lends to a connector for one pass."""

    source: str  # the source's name
    store: Store
    now: Callable[[], datetime]  # aware UTC, the local clock
    sleep: Callable[[float], None]  # seconds; raises Stopped when the pass is to end
    read_only: bool = False  # a dry run or a check: nothing outside may be changed
    turn_s: float | None = None  # a check: how long to wait in all for limits and failures; None: as a pass does
    clock: ServerClock | None = None  # the CRM's: who asks over a network lets it learn from each response

    def server_clock(self) -> ServerClock:
        """Return `clock`, or a new one if syncd lent none."""
        return self.clock or ServerClock(self.now)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `syncd check`."""

    what: str  # e.g. scope sales-email-read
    ok: bool
    message: str
    hint: str = ""  # what to do; empty when ok
    warning: bool = False  # not ok, but nothing fails for it
    exit_code: int = 0  # what it contributes when not ok


class Settle(BaseModel):
    """How long a call or email waits before it is read again and sent for good."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    call: Duration = timedelta(minutes=10)
    email: Duration = timedelta(hours=4)


class SourceConfig(BaseModel):
    """What every source's table may hold; a connector's own model adds to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connector: str
    start: AwareDatetime
    overlap: Duration = timedelta(minutes=15)
    settle: Settle = Settle()
    external_id: str = "{source}-{kind}-{id}"
    schedule: Schedule = Schedule()  # of the daemon's passes over it; without `every` and `cron` that of [schedule]
    timeout: Positive = timedelta(seconds=30)

    @field_validator("external_id")
    @classmethod
    def _names_each_record(cls, template: str) -> str:
        if mistake := text.mistake_in_template(template):
            raise ValueError(mistake)
        first, *others = (
            text.fill(template, source="s", kind=kind, id=crm_id)
            for kind, crm_id in (("call", "1"), ("email", "1"), ("call", "2"))
        )
        if first in others:
            raise ValueError("must tell records apart: use {kind} and {id}")
        return template


class Connector(Protocol):
    """Read one CRM. Methods that do IO raise Unavailable, Unauthorized, Stopped or ConfigError, nothing else.

    ConfigError: what only a request shows, e.g. a CA file or a proxy that cannot be used. It ends the source's pass
    with exit code 78; other sources go on.
    """

    Config: ClassVar[type[SourceConfig]]  # the model of its configuration table
    streams: tuple[Stream, ...]

    def __init__(self, config: Any, context: Context) -> None:
        """Make no request yet."""

    def identity(self) -> str | None:
        """Return the portal's or org's id, from the store where that is safe; None when it will not tell."""

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        """Yield what was modified within `window`, ascending by modification time."""

    def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        """Yield the records of `ids`, asked anew: no cache is believed. At most 1,000 ids."""

    def normalize(self, stream: str, record: Record) -> Draft | None:
        """Say what a record means; None: not an activity (a draft, an open task).

        Pure. Any exception marks the record unreadable: it becomes a dead row, not a stop. The
        row shows the message of an `Unreadable`, and of any other exception its type alone.
        """

    def owners(self) -> Sequence[Owner]:
        """Return the CRM's people of our side, active and gone, as far as read; no request once a page was read."""

    def count(self, stream: str, window: Window) -> int:
        """Return how many records were modified within `window` (`needed` is not asked)."""

    def check(self) -> list[Finding]:
        """Try credentials, scopes and identity against the CRM; what fails is a finding, not an exception."""

    def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, slots=True)
class Source:
    """A configured connector."""

    name: str  # the name of its table, and of its rows in the ledger
    config: SourceConfig  # of the connector's own Config
    connector: type[Connector]


__all__ = [
    "Connector",
    "Context",
    "Finding",
    "Needed",
    "Page",
    "Record",
    "Ref",
    "Settle",
    "Source",
    "SourceConfig",
    "Store",
    "Stream",
    "Window",
]
