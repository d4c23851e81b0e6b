"""The sandbox that a connector's author provides: a CRM whose records, clock and faults the suite controls.

Each test gets a fresh one that holds only the people and owners that records need. Its clock is the only
clock. It stands still until `advance` moves it, and the suite advances it whenever a connector sleeps.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, get_args

from syncd.activity import Draft
from syncd.connector import Connector, Record

RETRY_AFTER_S = 7  # seconds, in the responses of the fault "retry_after"

# unavailable: 503 · html_200: 200 with a page of HTML · cut_json: 200 with the first half of the JSON
# reset: an RST ends the connection · hang: no byte arrives · drip: a byte now and then, without end
# retry_after: 429 or 503 with Retry-After: RETRY_AFTER_S · quota: the day's calls are used up, in this CRM's form
# unauthorized: the credentials are refused, in this CRM's form · echo: a 400 that quotes `private` and `secrets`
FaultName = Literal[
    "unavailable", "html_200", "cut_json", "reset", "hang", "drip", "retry_after", "quota", "unauthorized", "echo"
]
FAULTS: tuple[FaultName, ...] = get_args(FaultName)

# server_error: 500 · gateway_timeout: 504 · hang: no byte arrives · cut: the connection ends in the middle of the body
PartialFault = Literal["server_error", "gateway_timeout", "hang", "cut"]
PARTIAL_FAULTS: tuple[PartialFault, ...] = get_args(PartialFault)


class Crm(Protocol):
    """A CRM whose content the suite controls.

    Times are aware UTC and multiples of `granule`. The suite writes each record for one of the connector's
    streams. Every record is a complete activity that belongs to a person and an owner.
    """

    connector: type[Connector]
    granule: timedelta  # the resolution of the CRM's modification times
    cuts: Sequence[int]  # records per page, of the CRM and of the connector; shrunk for tests, e.g. 10 and 12
    secrets: Collection[str]  # credentials; they appear nowhere, not even in the store
    private: Collection[str]  # the records' addresses, names and phone numbers; no message quotes them

    def table(self) -> dict[str, Any]:
        """Return the configuration table of a source that reads this CRM. The suite may change `timeout`."""

    def now(self) -> datetime:
        """Return the CRM's time."""

    def advance(self, seconds: float) -> None:
        """Advance the CRM's clock. Thread-safe."""

    def put(self, stream: str, *, modified_at: datetime, title: str, late_by: float = 0.0) -> str:
        """Write a complete record whose draft has this `title`, and return its id.

        Windows see it after `late_by` seconds.
        """

    def edit(
        self, stream: str, crm_id: str, *, title: str, modified_at: datetime | None = None, late_by: float = 0.0
    ) -> None:
        """Change a record's title, and its modification time unless that is None.

        Windows see the edit after `late_by` seconds. If the CRM is known to show an edit at the old position
        meanwhile (its search index lags behind the values that it shows), the sandbox does so too.
        """

    def delete(self, stream: str, crm_id: str) -> None:
        """Delete a record. Neither windows nor look-ups find it from now on."""

    def readdress(self, stream: str, crm_id: str, address: str) -> None:
        """Change the e-mail address of the record's person. The record's modification time stays."""

    def unknown_id(self, stream: str) -> str:
        """Return an id in the CRM's form that belongs to no record."""

    def golden(self, stream: str) -> Sequence[tuple[Record, Draft | None]]:
        """Return records as the connector yields them, each with its expected draft, or None for no activity."""

    def outages(self) -> Mapping[str, Callable[[], None]]:
        """Return functions that make the CRM unreadable, by name, e.g. a missing folder.

        A NetworkCrm returns {}, because `fail` does this.
        """

    def heal(self) -> None:
        """End every outage and fault."""

    def requests(self) -> int:
        """Return the number of requests so far. It is always 0 for a CRM without requests."""

    def on_request(self, act: Callable[[int], None] | None) -> None:
        """Call `act` before each response from now on, with the request's number from 0. None ends this.

        `act` puts, edits and deletes, from any thread. A CRM without requests calls it whenever the connector
        reads something again (opens a file), or never.
        """


class NetworkCrm(Crm, Protocol):
    """A CRM behind a network, whose faults the suite orders."""

    # Optional: `serve_date(skew: timedelta | None, *, frozen: bool)` sends a Date that is `skew` ahead of the CRM's
    # clock from now on, the same in each response if `frozen`. None sends no Date. Without it, a test is skipped.

    query_rows: int  # the most rows of one query over all its pages; shrunk, e.g. to 40
    reads_people_by_id: bool  # whether the connector names people in requests of their own, to complete records

    def fail(self, fault: FaultName, *, times: int | None = 1, skip: int = 0) -> None:
        """Apply the fault to the next `times` requests (None: until `heal`), after `skip` normal ones.

        A login counts as a request. The suite orders "drip" only with `times=None`.
        """

    def forbid(self, stream: str) -> None:
        """Revoke the permission to read `stream`, and no other, as this CRM does it."""

    def fail_id(self, stream: str, crm_id: str, fault: PartialFault, *, person: bool = False) -> None:
        """Apply the fault, until `heal`, to each request that names this record by its id, alone or among others.

        With `person` it names the record's person instead, who from now on is no other record's. Both may be ordered
        for several records.
        """

    def fail_size(self, stream: str, rows: int, fault: PartialFault) -> None:
        """Apply the fault, until `heal`, to each request of a window of `stream` for more than `rows` rows.

        If requests of this CRM name no number of rows, those fail whose response would hold more.
        """

    def fail_span(self, stream: str, since: datetime, until: datetime, fault: PartialFault) -> None:
        """Apply the fault, until `heal`, to each request of a window whose response would hold a record of a span.

        The span is of modification time, both ends inclusive. Requests by id are served.
        """


__all__ = ["FAULTS", "PARTIAL_FAULTS", "RETRY_AFTER_S", "Crm", "FaultName", "NetworkCrm", "PartialFault"]
