"""The HubSpot connector passes the conformance suite over the sandbox's portal."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import connectors.hubspot as hubspot
from connectors.hubspot import HubSpot
from connectors.hubspot.search import TIME, gather, walk
from syncd.activity import Company, Draft, Owner, Person
from syncd.connector import Connector, Record, Ref
from syncd.sandbox import Sandbox
from syncd.sandbox.hubspot import search
from syncd.sandbox.standin.server import Request
from syncd.testing import (
    RETRY_AFTER_S,
    ConnectorConformance,
    FaultName,
    NetworkConformance,
    PartialFault,
)

ROWS, RECORDS, MOST = 10, 12, 40  # rows of a search, a page and a query; 200, 1,000 and 10,000 at HubSpot
ECHO = "zinnia.zephyr@canary-bolts.com Zinnia Zephyr +49 30 5550147 pat-na1-canary-0815"
PRIVATE = ("zinnia.zephyr@canary-bolts.com", "Zinnia Zephyr", "+49 30 5550147", "rona.representer@lanternfield.com")
FAULTS: Mapping[FaultName, Mapping[str, Any]] = {
    "unavailable": {"fault": "unavailable"},
    "html_200": {"fault": "html_200"},
    "cut_json": {"fault": "cut_json"},
    "reset": {"fault": "reset"},
    "hang": {"fault": "hang", "seconds": 5.0},
    "drip": {"fault": "drip"},
    "retry_after": {"fault": "unavailable", "headers": {"Retry-After": str(RETRY_AFTER_S)}},
    "quota": {"fault": "daily"},
    "unauthorized": {"fault": "answer", "status": 401, "body": {"category": "INVALID_AUTHENTICATION", "message": ECHO}},
    "echo": {"fault": "answer", "status": 400, "headers": {"X-Echo": ECHO},
             "body": {"category": ECHO, "message": ECHO, "correlationId": ECHO, "errors": [{"message": ECHO}]}},
}  # fmt: skip
PARTIAL_FAULTS: Mapping[PartialFault, Mapping[str, Any]] = {
    "server_error": {"fault": "server_error"},
    "gateway_timeout": {"fault": "answer", "status": 504, "body": "<html>504 Gateway Time-out</html>"},
    "hang": {"fault": "hang", "seconds": 5.0},
    "cut": {"fault": "cut"},
}
FORBIDDEN = {"status": 403, "body": {"category": "MISSING_SCOPES", "message": ECHO}, "count": None}
MODIFIED, HAPPENED = (datetime(2026, 3, 1, hour, 30, tzinfo=UTC) for hour in (12, 10))
OWNER = Owner("77", "rep@lantern.example", "Runa Dunmere")
RELATED = {
    "contacts": (
        Person("ada@northmill.example", "1", "Ada Fennbrook", company=Company("5", "Northmill", ("n.test",))),
    ),
    "companies": (Company("5", "Northmill", ("n.test",)),),
    "owners": (("hubspot_owner_id", OWNER),),
}
SHOWN = {"owner": OWNER, "contacts": RELATED["contacts"], "companies": RELATED["companies"]}
GOLDEN: dict[str, tuple[dict[str, Any], Draft]] = {
    "calls": (
        {"hs_call_title": "Discovery", "hs_call_status": "NO_ANSWER", "hs_call_direction": "OUTBOUND",
         "hs_call_duration": "90000", "hubspot_owner_id": "77"},
        Draft("call", HAPPENED, MODIFIED, direction="outbound", title="Discovery", duration_minutes=1.5,
              outcome="No answer", **SHOWN),  # type: ignore[arg-type]
    ),
    "emails": (
        {"hs_email_subject": "Quote", "hs_email_status": "BOUNCED", "hs_email_direction": "INCOMING_EMAIL",
         "hs_email_open_count": "2", "hs_email_from_email": "ada@northmill.example"},
        Draft("email", HAPPENED, MODIFIED, status="not_sent", direction="inbound", title="Quote", open_count=2,
              sender=Person("ada@northmill.example"), others=(Person("ada@northmill.example"),), **SHOWN),  # type: ignore[arg-type]
    ),
}  # fmt: skip


class PortalUnderTest:
    """A portal with small searches, pages and queries. Its search shows edits at their old position."""

    connector: type[Connector] = HubSpot
    granule = timedelta(milliseconds=1)
    cuts: Sequence[int] = (ROWS, RECORDS)
    query_rows = MOST
    reads_people_by_id = True
    secrets: Collection[str] = ("pat-na1-canary-0815",)
    private: Collection[str] = PRIVATE

    def __init__(self, path: Path) -> None:
        self.at = datetime(2026, 10, 5, 9, 0, 0, 400_000, tzinfo=UTC)
        # High enough that no request waits, because requests do not move this clock.
        limits = {"search_per_second": 0, "per_ten_seconds": 100_000, "daily_limit": 0}
        self.box = Sandbox(now=self.now, hubspot={**limits, "fresh_properties": True})
        self.portal = self.box.hubspot
        (token,) = self.secrets
        self.portal.set(tokens={token: self.portal.tokens[self.box.token]})
        self.token_file = path / "token"
        self.token_file.write_text(token)
        self.owner = self.portal.owner(PRIVATE[3], "Rona", "Representer")
        self.company = self.portal.put("companies", {"name": "Canary Bolts", "domain": "canary-bolts.com"})
        self._contacts: dict[str, str] = {}
        self._written = 0

    def table(self) -> dict[str, Any]:
        return {
            "connector": "hubspot", "start": datetime(2026, 1, 1, tzinfo=UTC), "search_per_second": 0,
            "access_token": f"file:{self.token_file}", "base_url": self.box.hubspot_url,
        }  # fmt: skip

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        with self.portal.lock:
            self.at += timedelta(seconds=seconds)

    def put(self, stream: str, *, modified_at: datetime, title: str, late_by: float = 0.0) -> str:
        values = {TITLES[stream]: title, "hubspot_owner_id": self.owner, "hs_timestamp": modified_at}
        self._written += 1  # adjacent ids, but not in the order of time
        number = 70_000_000_000 + self._written // 8 * 8 + self._written * 5 % 8
        crm_id = self.portal.put(stream, values, id=number, modified_at=modified_at, late_by=late_by)
        if not self._contacts.get(stream):
            first, last = PRIVATE[1].split()
            person = {"email": PRIVATE[0], "firstname": first, "lastname": last, "phone": PRIVATE[2]}
            self._contacts[stream] = self.portal.put("contacts", {**person, "associatedcompanyid": self.company})
        self.portal.associate(stream, crm_id, "contacts", self._contacts[stream])
        return crm_id

    def edit(
        self, stream: str, crm_id: str, *, title: str, modified_at: datetime | None = None, late_by: float = 0.0
    ) -> None:
        touched = modified_at is not None
        values = {TITLES[stream]: title}
        self.portal.edit(stream, crm_id, touch=touched, modified_at=modified_at, late_by=late_by, **values)

    def delete(self, stream: str, crm_id: str) -> None:
        self.portal.delete(stream, crm_id)

    def readdress(self, stream: str, crm_id: str, address: str) -> None:
        self.portal.edit("contacts", self._contacts[stream], email=address)

    def unknown_id(self, stream: str) -> str:
        return "4711"

    def golden(self, stream: str) -> Sequence[tuple[Record, Draft | None]]:
        properties, draft = GOLDEN[stream]
        times = {"hs_timestamp": HAPPENED.isoformat(), "hs_createdate": MODIFIED.isoformat()}
        return [(Record(Ref("9", MODIFIED), {"id": "9", "properties": {**times, **properties}}, RELATED), draft)]

    def outages(self) -> Mapping[str, Callable[[], None]]:
        return {}

    def heal(self) -> None:
        self.portal.faults.clear()

    def serve_date(self, skew: timedelta | None, *, frozen: bool) -> None:
        self.portal.set_date(
            None if skew is not None else "", skew_s=(skew or timedelta(0)).total_seconds(), frozen=frozen
        )

    def requests(self) -> int:
        return sum(self.portal.requests.values())

    def on_request(self, act: Callable[[int], None] | None) -> None:
        self.portal.on_request = None if act is None else lambda number, kind: act(number)

    def fail(self, fault: FaultName, *, times: int | None = 1, skip: int = 0) -> None:
        self.portal.faults.add(**FAULTS[fault], count=times, skip=skip)

    def forbid(self, stream: str) -> None:
        self.portal.faults.add("answer", match=f"/{stream}/search", **FORBIDDEN)

    def fail_id(self, stream: str, crm_id: str, fault: PartialFault, *, person: bool = False) -> None:
        if person:
            values = {"email": f"own.{crm_id}@canary-bolts.com", "associatedcompanyid": self.company}
            owner_of, crm_id = crm_id, self.portal.put("contacts", values)
            self.portal.associate(stream, owner_of, "contacts", crm_id)
        named = f'"{crm_id}"'.encode()
        self._fail(fault, match="/batch/read", when=lambda request: named in request.body)

    def fail_size(self, stream: str, rows: int, fault: PartialFault) -> None:
        self._fail(fault, match=f"/{stream}/search", when=lambda request: _asked_for(request) > rows)

    def fail_span(self, stream: str, since: datetime, until: datetime, fault: PartialFault) -> None:
        def holds_one(request: Request) -> bool:
            if not _asked_for(request):
                return False
            rows = self.portal.answer(request).body["results"]
            return any(since <= datetime.fromisoformat(row["properties"][TIME]) <= until for row in rows)

        self._fail(fault, match=f"/{stream}/search", when=holds_one)

    def _fail(self, fault: PartialFault, **which: Any) -> None:
        self.portal.faults.add(**PARTIAL_FAULTS[fault], count=None, **which)


def _asked_for(request: Request) -> int:
    """Return the number of rows that a search of a window asks for. 0 for a count, and for a sample of the latest."""
    body = json.loads(request.body)
    of_window = body["sorts"][0]["direction"] == "ASCENDING" and len(body["properties"]) > 1
    return int(body["limit"]) if of_window else 0


TITLES = {"calls": "hs_call_title", "emails": "hs_email_subject"}


class TestHubSpot(ConnectorConformance, NetworkConformance):
    """All tests are the suite's."""

    @pytest.fixture
    def crm(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PortalUnderTest]:
        monkeypatch.setattr(hubspot, "walk", partial(walk, limit=ROWS))
        monkeypatch.setattr(hubspot, "gather", partial(gather, group=RECORDS, refs=3 * RECORDS))
        monkeypatch.setattr(search, "MAX_RESULTS", MOST)
        crm = PortalUnderTest(tmp_path)
        with crm.box:
            yield crm
            crm.heal()
