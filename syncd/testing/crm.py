"""What a connector's author lends to the suite: a CRM of their own making, in which everything can be arranged.

Each test gets a fresh one, empty but for what records need beside them (people, owners). Its clock is the only
one: it stands still unless `advance` moves it, and where a connector sleeps the suite advances it instead.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, get_args

from syncd.activity import Draft
from syncd.connector import Connector, Record

RETRY_AFTER_S = 7  # what the CRM names on a day of "retry_after"

# unavailable: 503 · html_200: 200 with a page of HTML · cut_json: 200 with the first half of the JSON
# reset: the connection ends in an RST · hang: no byte comes · drip: a byte now and then, without end
# retry_after: 429 or 503 with Retry-After: RETRY_AFTER_S · quota: the day's calls are used up, as this CRM says it
# unauthorized: the credentials are refused, as this CRM says it · echo: a 400 that quotes `private` and `secrets`
FaultName = Literal[
    "unavailable", "html_200", "cut_json", "reset", "hang", "drip", "retry_after", "quota", "unauthorized", "echo"
]
FAULTS: tuple[FaultName, ...] = get_args(FaultName)


class Crm(Protocol):
    """A CRM in which the suite arranges what a connector shall meet.

    Times are aware UTC and multiples of `granule`. The suite writes each record for `stream`, one of the
    connector's, and every record is an activity: it lacks nothing, and belongs to a person and an owner.
    """

    connector: type[Connector]
    granule: timedelta  # the smallest difference of modification times that the CRM keeps
    cuts: Sequence[int]  # after how many records an answer of the CRM, a page of the connector … is cut; shrunk: 10, 12
    secrets: Collection[str]  # credentials; they show nowhere, not even in the store
    private: Collection[str]  # personal data in the records: addresses, names, phone numbers; no message quotes it

    def table(self) -> dict[str, Any]:
        """Return the source's table of the configuration that leads here; the suite may change `timeout`."""

    def now(self) -> datetime:
        """Tell the CRM's time."""

    def advance(self, seconds: float) -> None:
        """Move the CRM's time on; several threads may."""

    def put(self, stream: str, *, modified_at: datetime, title: str, late_by: float = 0.0) -> str:
        """Write a whole record, by `title` as its draft's, and return its id; windows see it in `late_by` seconds."""

    def edit(
        self, stream: str, crm_id: str, *, title: str, modified_at: datetime | None = None, late_by: float = 0.0
    ) -> None:
        """Change a record's title; None: its modification time stays. Windows see it in `late_by` seconds.

        A CRM of which it is known that it shows an edit in the old place meanwhile (a search index that lags
        behind what it shows) does so here.
        """

    def delete(self, stream: str, crm_id: str) -> None:
        """Remove a record: neither a window nor a look-up finds it from now on."""

    def readdress(self, stream: str, crm_id: str, address: str) -> None:
        """Give the record's person this e-mail address; the record's modification time stays."""

    def unknown_id(self, stream: str) -> str:
        """Return an id as the CRM writes them, of no record."""

    def golden(self, stream: str) -> Sequence[tuple[Record, Draft | None]]:
        """Return records as the connector yields them, each with what it means; None: no activity."""

    def outages(self) -> Mapping[str, Callable[[], None]]:
        """Return ways to make the CRM unreadable, by name (a file that is cut, a folder that is gone).

        {} where `fail` does that.
        """

    def heal(self) -> None:
        """End every outage."""

    def requests(self) -> int:
        """Return how many requests the CRM has got; 0 for ever where there are none."""

    def on_request(self, act: Callable[[int], None] | None) -> None:
        """Have `act` called from now on before each request is answered, told its number from 0; None: no more.

        It puts, edits and deletes, from any thread. Where there are no requests: whenever the connector asks
        for something anew (opens a file); or never.
        """


class NetworkCrm(Crm, Protocol):
    """A CRM behind a network, whose outages the suite calls."""

    # If it can: `serve_date(skew: timedelta | None, *, frozen: bool)` sends a Date that is so far ahead of the CRM's
    # clock from now on, the same one in each response if `frozen`; None: no Date at all. Otherwise a test is skipped.

    query_rows: int  # rows that one query can give in all, whatever its pages; shrunk, e.g. to 40

    def fail(self, fault: FaultName, *, times: int | None = 1, skip: int = 0) -> None:
        """Make that fault of the next `times` requests (None: until `heal`), after `skip` that go well.

        A fault of "drip" is always for good. Where the connector logs in, that counts as a request like any other.
        """

    def forbid(self, stream: str) -> None:
        """Take away what the credentials need to read `stream`, as this CRM does it, and the others not."""


__all__ = ["FAULTS", "RETRY_AFTER_S", "Crm", "FaultName", "NetworkCrm"]
