"""The contract between syncd and a connector, the only part that knows its CRM.

A connector is a class in the entry-point group `syncd.connectors`. One object serves one pass over one source:

    since ─► fetch(stream, Window) ──► Page, Page, …     ascending modification time
    ids   ─► fetch_ids(stream, ids) ─► Page, Page, …     past every cache
    Record ─► normalize(stream, record) ─► Draft          pure, no IO

The engine decides windows and keeps the watermark. The connector only reads.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from syncd import text
from syncd.activity import Draft, Kind, Owner
from syncd.errors import SyncdError
from syncd.http.server_clock import ServerClock
from syncd.types.conditions import Entry, Look, first
from syncd.types.durations import Duration, Positive
from syncd.types.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of record of a source, with its own watermark."""

    name: str  # e.g. calls
    kind: Kind  # what its records become
    object: str = ""  # streams of the same object share ids: a record stays in the stream that booked it first


@dataclass(frozen=True, slots=True)
class Ref:
    """An existing record: its id, and its modification time in the CRM."""

    crm_id: str
    modified_at: datetime  # aware UTC, the CRM's clock, milliseconds


@dataclass(frozen=True, slots=True)
class Record:
    """The CRM's row, unmodified, with its related rows."""

    ref: Ref
    row: Mapping[str, Any]  # unmodified
    related: Mapping[str, Any] = field(default_factory=dict)  # anything else that normalize needs


@dataclass(frozen=True, slots=True)
class Page:
    """Up to about 1,000 complete records, and the ref of every record read.

    `refs` includes the records that `needed` left out. The page is complete up to the greatest modification time in
    `refs` or up to `complete_until`, whichever is earlier: every record up to then that the CRM showed is in this page
    or an earlier one. So that time is safe as a watermark. It may fall between records with the same time, because
    windows are inclusive. On the last page `complete_until` is the window's end. A page whose rows may show a newer
    time than their position gives an earlier one.

    `withheld` on a window's last page ends the pass of that stream with this error, after everything is booked. Each
    record without its content has `Draft.redacted`. syncd holds it without ageing it, and looks it up again once a
    window ends without `withheld`.

    `unserved` has the records that the CRM did not serve although it served others after them, each with the error's
    message. In a window their ids are in `refs` and not in `records`: syncd books them as `crm_error` and looks them up
    later, and the watermark passes over them. In a look-up their ids are neither in `refs` nor in `missing`.
    """

    refs: Sequence[Ref]
    records: Sequence[Record]
    complete_until: datetime | None = None  # low watermark, by the CRM's clock; None in fetch_ids
    missing: Sequence[str] = ()  # only from fetch_ids: ids that the CRM did not find
    withheld: SyncdError | None = None  # why the key may not see this stream's content; None: it may
    unserved: Mapping[str, str] = field(default_factory=dict)  # by crm_id: why the CRM did not serve this record


# Given the refs of a page, returns the crm_ids to read in full. The ledger has the others unchanged.
Needed = Callable[[Sequence[Ref]], Collection[str]]


@dataclass(frozen=True, slots=True)
class Window:
    """A span of modification time, both ends inclusive."""

    since: datetime  # aware UTC
    until: datetime | None  # None: the pass's start by the CRM's clock, which the connector learns
    needed: Needed


class Store(Protocol):
    """Keep small JSON values from pass to pass, without secrets or personal data."""

    def get(self, key: str, *, max_age: timedelta | None = None) -> Any:
        """Return the value of `key`, or None if it is missing or older than `max_age`."""

    def put(self, key: str, value: Any) -> None:
        """Keep `value`, a JSON value. It is committed with the pass."""


@dataclass(frozen=True, slots=True)
class Context:
    """The services that syncd gives a connector for one pass."""

    source: str  # the source's name
    store: Store
    now: Callable[[], datetime]  # aware UTC, the local clock
    sleep: Callable[[float], None]  # seconds; raises Stopped if the pass must end
    read_only: bool = False  # a dry run or a check: change nothing outside
    turn_s: float | None = None  # a check: total wait for limits and failures; None: a pass's rules apply
    clock: ServerClock | None = None  # the CRM's clock; call its `learn` for each response
    unbooked: Collection[str] = ()  # ids for `fetch_ids` that the ledger does not hold: judge them as those of a window

    def server_clock(self) -> ServerClock:
        """Return `clock`, or a new one if it is None."""
        return self.clock or ServerClock(self.now)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `syncd check`."""

    what: str  # e.g. scope sales-email-read
    ok: bool
    message: str
    hint: str = ""  # what to do; empty if ok
    warning: bool = False  # not ok, but does not change the exit code
    exit_code: int = 0  # if not ok


@dataclass(frozen=True, slots=True)
class RowKind:
    """Rows of one of the CRM's objects that agree in the properties that distinguish kinds, and their number."""

    object: str  # the CRM's name, e.g. Task
    fields: Mapping[str, str | bool | None]  # those properties, without personal data. None: empty
    count: int
    read_as: Kind | None  # None: not read
    approximate: bool = False  # the count comes from a difference, or may count a row twice


@dataclass(frozen=True, slots=True)
class Holder:
    """A user, and the number of rows that they own or created."""

    role: Literal["owner", "creator"]
    user: str  # the CRM's id, never a name or an address
    count: int
    of: int  # rows of all users


@dataclass(frozen=True, slots=True)
class Scope:
    """A CRM's rows by kind, and which of them a source reads."""

    kinds: Sequence[RowKind]
    warnings: Sequence[str] = ()  # what an operator should look at. syncd adds its own, see `normalize/scope.py`
    holders: Sequence[Holder] = ()  # the users with most rows
    senders: Mapping[str, int] = field(default_factory=dict)  # by domain: emails that the CRM calls outbound


class Settle(BaseModel):
    """How long a new call or email waits before it is read again and sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    call: Duration = timedelta(minutes=10)
    email: Duration = timedelta(hours=4)


class StreamConfig(BaseModel):
    """The keys of every stream's table, e.g. [sources.hubspot.calls]."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    read: bool = True  # False: the stream is not read at all


class StreamRules(StreamConfig):
    """Which records of a stream are activities, and which of their fields are used. A connector adds its `fields`."""

    match: tuple[Entry, ...] = ()  # a record is read if any entry holds; empty: all
    excepted: tuple[Entry, ...] = Field(default=(), alias="except")  # left out after reading, as `filtered`
    # By our field: the CRM's text, in which * stands for any characters, and its meaning for Recotap.
    values: Mapping[str, Mapping[str, str]] = {}

    def admits(self, look: Look) -> bool:
        """Tell whether a record belongs to the stream by `match`."""
        return not self.match or first(self.match, look) is not None

    def narrowing(self) -> dict[str, Any]:
        """Return `match` as a JSON object."""
        return {"match": [entry.to_table() for entry in self.match]}

    def keeping(self, kept: Mapping[str, Any]) -> Self:
        """Return it with the `match` that `narrowing` gave in the last pass, unless its file names one."""
        entries = kept.get("match")
        if "match" in self.model_fields_set or not isinstance(entries, list) or entries == self.narrowing()["match"]:
            return self
        return self.model_copy(update={"match": tuple(map(Entry.parse, entries))})

    def filtered(self, look: Look) -> str | None:
        """Return which entry of `except` leaves a record out, e.g. "except, entry 2", or None."""
        place = first(self.excepted, look)
        return None if place is None else f"except, entry {place + 1}"


class SourceConfig(BaseModel):
    """The keys of every source. A connector's own model adds to them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connector: str
    start: AwareDatetime
    overlap: Duration = timedelta(minutes=15)
    settle: Settle = Settle()
    external_id: str = "{source}-{kind}-{id}"
    schedule: Schedule = Schedule()  # of the daemon's passes; if neither `every` nor `cron` is set, [schedule] applies
    timeout: Positive = timedelta(seconds=30)

    def reads(self, stream: str) -> bool:
        """Tell whether the source reads a stream of its connector: unless its table says `read = false`."""
        table = getattr(self, stream, None)
        return table.read if isinstance(table, StreamConfig) else True

    def narrowing(self) -> dict[str, dict[str, Any]]:
        """Return the settings that narrow each stream that it reads, as JSON objects by stream."""
        return {name: table.narrowing() for name, table in self if isinstance(table, StreamRules) and self.reads(name)}

    def keeping(self, kept: Mapping[str, Mapping[str, Any]]) -> Self:
        """Return the configuration with the settings of the last pass that its file does not name.

        `kept`: that pass's `narrowing`. A stream that it did not read has `"read": false` there.
        """
        tables = {name: table for name, table in self if isinstance(table, StreamRules) and name in kept}
        return self.model_copy(update={name: table.keeping(kept[name]) for name, table in tables.items()})

    @classmethod
    def narrowing_before(cls, store: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the rules of each stream before ledgers kept them. `store`: the values that the connector kept."""
        return {}

    def record_url(self, stream: str, crm_id: str, store: Mapping[str, Any]) -> str | None:
        """Return the address that opens a record in the CRM. None if it is not known.

        Makes no request. `store`: the values that the connector kept.
        """
        return None

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
            raise ValueError("must give each record its own id: use {kind} and {id}")
        return template


class Connector(Protocol):
    """Read one CRM. Methods that do IO raise Unavailable, Unauthorized, Stopped or ConfigError, nothing else.

    If a request fails with Unavailable in pass after pass while others succeed, syncd asks for less: fewer ids, shorter
    windows, and refs without records (`needed` returns nothing). `OutsideWindow` says that less would not help.

    ConfigError is for a mistake that only a request shows, e.g. an invalid CA file or proxy. It ends the source's
    pass with exit code 78. Other sources continue.
    """

    Config: ClassVar[type[SourceConfig]]  # the model of its configuration table
    streams: tuple[Stream, ...]

    def __init__(self, config: Any, context: Context) -> None:
        """Make no request yet."""

    def identity(self) -> str | None:
        """Return the portal's or org's id, from the store if that is safe. None if the CRM does not identify itself."""

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        """Yield the records modified within `window`, in ascending order of modification time."""

    def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        """Yield the records of `ids`, at most 1,000, read from the CRM and not from a cache.

        syncd may ask for ids between two pages of `fetch`.
        """

    def normalize(self, stream: str, record: Record) -> Draft | None:
        """Return a record as a draft. None if it is no activity (an unsent draft, an open task).

        Pure. Any exception makes the record a dead row, and the pass continues. The row shows the message of an
        `Unreadable`, and only the type of any other exception.
        """

    def owners(self) -> Sequence[Owner]:
        """Return the CRM's users, active or not, that are known so far. Makes no request after the first page."""

    def count(self, stream: str, window: Window) -> int:
        """Return the number of records modified within `window`. `needed` is not called."""

    def check(self) -> list[Finding]:
        """Test credentials, scopes and identity against the CRM. A failure is a finding, not an exception."""

    def close(self) -> None:
        """Close all connections."""


@runtime_checkable
class ShowsScope(Protocol):
    """A connector that can tell which rows of its CRM look like a call or an email, and which of them are read."""

    def scope(self, since: datetime) -> Scope:
        """Return the rows modified since `since` by kind: a few requests, once a day. It raises as a `Connector`."""


@runtime_checkable
class FindsPeople(Protocol):
    """A connector that can find the calls and emails of a person, for `syncd forget`."""

    def records_of(self, address: str) -> Iterator[tuple[str, str]]:
        """Yield (stream, crm_id) of each record in which the person takes part, or which the person owns.

        `address` is clean. A record may come twice, and in each stream of its object. It raises as a `Connector`.
        """


@runtime_checkable
class HasPrice(Protocol):
    """A connector that knows how many requests 1,000 records cost at most. Only a forecast uses it."""

    requests_per_1000: int


@dataclass(frozen=True, slots=True)
class Source:
    """A configured connector."""

    name: str  # of its table, and of its rows in the ledger
    config: SourceConfig  # an instance of the connector's Config
    connector: type[Connector]

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The connector's streams that the source reads."""
        return tuple(stream for stream in self.connector.streams if self.config.reads(stream.name))

    @property
    def unread(self) -> tuple[Stream, ...]:
        """The other streams. Only the rows that the ledger holds of them are looked up."""
        return tuple(stream for stream in self.connector.streams if not self.config.reads(stream.name))


__all__ = [
    "Connector",
    "Context",
    "Finding",
    "FindsPeople",
    "HasPrice",
    "Holder",
    "Needed",
    "Page",
    "Record",
    "Ref",
    "RowKind",
    "Scope",
    "Settle",
    "ShowsScope",
    "Source",
    "SourceConfig",
    "Store",
    "Stream",
    "StreamConfig",
    "StreamRules",
    "Window",
]
