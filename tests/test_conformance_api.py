"""The client that connectors/README.md shows passes the suite, in a small connector for an API on loopback.

`ApiUnderTest` is also the shortest example of a sandbox for a network.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from syncd.activity import Draft, Owner, Person
from syncd.connector import Connector, Context, Finding, Page, Record, Ref, SourceConfig, Stream, Window
from syncd.errors import SyncdError, Unavailable
from syncd.fields import parse_time
from syncd.isolation import AdaptiveSize, TriedSize, in_halves
from syncd.sandbox.standin.clock import Clock
from syncd.sandbox.standin.server import Request, Response, Server, StandIn
from syncd.testing import (
    RETRY_AFTER_S,
    ConnectorConformance,
    FaultName,
    NetworkConformance,
    PartialFault,
)
from syncd.types.secrets import Secret

README = (Path(__file__).parents[1] / "connectors" / "README.md").read_text(encoding="utf-8")
SIZE = 5  # records per page
TOKEN, ADDRESS = "api-token-0815", "zinnia.zephyr@canary-bolts.com"
OWNER = Owner("7", "rona.representer@lanternfield.com")
NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
ECHO = f"{ADDRESS} {TOKEN}"
FAULTS: Mapping[FaultName, dict[str, Any]] = {
    "retry_after": {"fault": "unavailable", "headers": {"Retry-After": str(RETRY_AFTER_S)}},
    "hang": {"fault": "hang", "seconds": 5.0},
    "quota": {"fault": "answer", "status": 429, "headers": {"Retry-After": "3600"}},
    "unauthorized": {"fault": "answer", "status": 401, "body": ECHO},
    "echo": {"fault": "answer", "status": 400, "body": ECHO},
}
PARTIAL: Mapping[PartialFault, dict[str, Any]] = {
    "server_error": {"fault": "server_error"},
    "gateway_timeout": {"fault": "answer", "status": 504},
    "hang": FAULTS["hang"],
    "cut": {"fault": "cut"},
}


def client_of_the_readme() -> type[Any]:
    """Return the class that a stranger copies, word for word."""
    names: dict[str, Any] = {}
    exec(next(block for block in re.findall(r"(?ms)^```python\n(.*?)^```", README) if "class Client" in block), names)
    found: type[Any] = names["Client"]
    return found


class ApiConfig(SourceConfig):
    """The keys that the client needs."""

    base_url: str
    token: Secret
    ca_file: str = ""


class Api:
    """A connector that pages by keyset: the rows after (modification time, id)."""

    Config: ClassVar[type[SourceConfig]] = ApiConfig
    streams: tuple[Stream, ...] = (Stream("calls", "call"), Stream("emails", "email"))
    Client: ClassVar[type[Any]] = client_of_the_readme()

    def __init__(self, config: ApiConfig, context: Context) -> None:
        self.client = self.Client(config, context)
        self.sizes = {
            each.name: TriedSize(AdaptiveSize(context.store, f"rows.{each.name}", SIZE)) for each in self.streams
        }

    def identity(self) -> str | None:
        return str(self.client.get("/account")["id"])

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        query, size = {"kind": stream, "since": text(window.since)}, self.sizes[stream]
        if window.until is not None:
            query["until"] = text(window.until)
        while True:
            answer = self.client.get("/rows", size, **query)
            size.served(full=len(answer["rows"]) >= size.now)
            until = window.until or self.client.clock.started_at
            rows = [row for row in answer["rows"] if read_ref(row).modified_at <= until]
            yield page(rows, until, window.needed([read_ref(row) for row in rows]))
            if answer["after"] is None or len(rows) < len(answer["rows"]):
                return
            query["after"] = answer["after"]

    def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        ids = list(dict.fromkeys(ids))
        for start in range(0, len(ids), 500):  # more would not fit into an address
            some, unserved = ids[start : start + 500], dict[str, str]()
            rows = in_halves(some, partial(self.rows, stream), too_much=(Unavailable,), alone=partial(note, unserved))
            missing = sorted(set(some) - {row["id"] for row in rows} - unserved.keys())
            yield replace(page(rows, None, some, missing), unserved=unserved)

    def rows(self, stream: str, ids: Sequence[str]) -> list[Any]:
        return list(self.client.get("/rows", kind=stream, ids=",".join(ids))["rows"])

    def normalize(self, stream: str, record: Record) -> Draft | None:
        kind = next(each.kind for each in self.streams if each.name == stream)
        at, address = parse_time(record.row["at"]), record.row["address"]
        assert at is not None
        return Draft(kind, at, at, title=record.row["title"], owner=OWNER, contacts=(Person(address),))

    def owners(self) -> Sequence[Owner]:
        return (OWNER,)

    def count(self, stream: str, window: Window) -> int:
        found = Window(window.since, window.until, lambda refs: ())
        return sum(len(each.refs) for each in self.fetch(stream, found))

    def check(self) -> list[Finding]:
        try:
            return [Finding("token", True, f"of {self.identity()}")]
        except SyncdError as error:
            return [Finding("token", False, error.message, error.hint, exit_code=error.exit_code)]

    def close(self) -> None:
        self.client.close()


def note(unserved: dict[str, str], crm_id: str, error: Unavailable) -> list[Any]:
    unserved[crm_id] = error.message
    return []


def page(rows: Any, until: datetime | None, needed: Collection[str], missing: Sequence[str] = ()) -> Page:
    refs, whole = [read_ref(row) for row in rows], set(needed)
    return Page(refs, [Record(read_ref(row), row) for row in rows if row["id"] in whole], until, missing)


def read_ref(row: Any) -> Ref:
    at = parse_time(row["modified"])
    assert at is not None
    return Ref(row["id"], at)


def text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


class Endpoints(StandIn):
    """The API: /account, and /rows by time or by id."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.rows: dict[str, dict[str, Any]] = {}
        self.late: dict[str, tuple[float, dict[str, Any]]] = {}  # by id: when windows see it (ms), and the row

    def kind(self, request: Request) -> str:
        return request.path

    def answer(self, request: Request) -> Response:
        if request.headers["Authorization"] != f"Bearer {TOKEN}":
            return Response(401, {})
        if request.path == "/account":
            return Response(200, {"id": "A-1"})
        with self.lock:
            for crm_id in [each for each, (at, _) in self.late.items() if at <= self.clock.ms()]:
                self.rows[crm_id] = self.late.pop(crm_id)[1]
            return Response(200, self._rows(request))

    def _rows(self, request: Request) -> dict[str, Any]:
        rows = [row for row in self.rows.values() if row["kind"] == request.first("kind")]
        if "ids" in request.query:
            ids = set(request.first("ids").split(","))
            return {"rows": [row for row in rows if row["id"] in ids]}
        first, size = request.first("after") or request.first("since"), int(request.first("limit", str(SIZE)))
        last = f"{request.first('until') or '~'} ~"
        found = sorted((key(row), row["id"]) for row in rows if first < key(row) < last)
        after = found[size - 1][0] if len(found) > size else None
        return {"rows": [self.rows[crm_id] for _, crm_id in found[:size]], "after": after}


def key(row: Mapping[str, Any]) -> str:
    return f"{row['modified']} {row['id']}"


class ApiUnderTest:
    """The API with its records, clock and faults."""

    connector: type[Connector] = Api
    granule = timedelta(milliseconds=1)
    cuts: Sequence[int] = (SIZE,)
    query_rows = 8 * SIZE  # any number, because a keyset has no limit
    reads_people_by_id = False  # a row brings its address along
    secrets: Collection[str] = (TOKEN,)
    private: Collection[str] = (ADDRESS, str(OWNER.email))

    def __init__(self, path: Path) -> None:
        self.at = NOON
        self.api = Endpoints(Clock(self.now))
        self.server = Server(self.api)
        self.key = path / "key"
        self.key.write_text(TOKEN)
        self.written = 0

    def __enter__(self) -> "ApiUnderTest":
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    def table(self) -> dict[str, Any]:
        start = NOON - timedelta(days=9)
        return {"connector": "api", "start": start, "base_url": self.server.url, "token": f"file:{self.key}"}

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        with self.api.lock:
            self.at += timedelta(seconds=seconds)

    def put(self, stream: str, *, modified_at: datetime, title: str, late_by: float = 0.0) -> str:
        self.written += 1
        crm_id = f"{self.written * 7919 % 10_007:05}"  # ids do not rise with time, as in no CRM
        row = {"id": crm_id, "kind": stream, "modified": text(modified_at), "at": text(modified_at), "title": title}
        self._write({**row, "address": ADDRESS}, late_by)
        return crm_id

    def edit(
        self, stream: str, crm_id: str, *, title: str, modified_at: datetime | None = None, late_by: float = 0.0
    ) -> None:
        with self.api.lock:
            row = self.api.rows.get(crm_id) or self.api.late[crm_id][1]
            self._write({**row, "title": title, **({"modified": text(modified_at)} if modified_at else {})}, late_by)

    def _write(self, row: dict[str, Any], late_by: float) -> None:
        with self.api.lock:
            self.api.late.pop(row["id"], None)
            if late_by:
                self.api.late[row["id"]] = (self.api.clock.ms() + 1000 * late_by, row)
            else:
                self.api.rows[row["id"]] = row

    def delete(self, stream: str, crm_id: str) -> None:
        with self.api.lock:
            self.api.rows.pop(crm_id, None)
            self.api.late.pop(crm_id, None)

    def readdress(self, stream: str, crm_id: str, address: str) -> None:
        self.api.rows[crm_id] = {**self.api.rows[crm_id], "address": address}

    def unknown_id(self, stream: str) -> str:
        return "no-such-id"

    def golden(self, stream: str) -> Sequence[tuple[Record, Draft | None]]:
        kind: Any = stream.removesuffix("s")
        row = {"title": "Quote", "at": text(NOON), "address": "ada@northmill.example"}
        draft = Draft(kind, NOON, NOON, title="Quote", owner=OWNER, contacts=(Person("ada@northmill.example"),))
        return [(Record(Ref("1", NOON), row), draft)]

    def outages(self) -> Mapping[str, Callable[[], None]]:
        return {}

    def heal(self) -> None:
        self.api.faults.clear()

    def requests(self) -> int:
        return sum(self.api.requests.values())

    def on_request(self, act: Callable[[int], None] | None) -> None:
        self.api.on_request = None if act is None else lambda number, kind: act(number)

    def serve_date(self, skew: timedelta | None, *, frozen: bool) -> None:
        skew_s = (skew or timedelta(0)).total_seconds()
        self.api.set_date(None if skew is not None else "", skew_s=skew_s, frozen=frozen)

    def fail(self, fault: FaultName, *, times: int | None = 1, skip: int = 0) -> None:
        self.api.faults.add(**FAULTS.get(fault, {"fault": fault}), count=times, skip=skip)

    def forbid(self, stream: str) -> None:
        self.api.faults.add("answer", status=403, body=ECHO, match_query=f"kind={stream}", count=None)

    def fail_id(self, stream: str, crm_id: str, fault: PartialFault, *, person: bool = False) -> None:
        if not person:
            self._fail(stream, fault, lambda request: crm_id in request.first("ids").split(","))

    def fail_size(self, stream: str, rows: int, fault: PartialFault) -> None:
        self._fail(stream, fault, lambda request: int(request.first("limit", str(rows))) > rows)

    def fail_span(self, stream: str, since: datetime, until: datetime, fault: PartialFault) -> None:
        def holds_one(request: Request) -> bool:
            with self.api.lock:
                found = [] if "ids" in request.query else self.api._rows(request)["rows"]
            return any(since <= read_ref(row).modified_at <= until for row in found)

        self._fail(stream, fault, holds_one)

    def _fail(self, stream: str, fault: PartialFault, when: Callable[[Request], bool]) -> None:
        self.api.faults.add(**PARTIAL[fault], when=when, match_query=f"kind={stream}", count=None)


class TestApi(ConnectorConformance, NetworkConformance):
    """All tests are the suite's."""

    @pytest.fixture
    def crm(self, tmp_path: Path) -> Iterator[ApiUnderTest]:
        with ApiUnderTest(tmp_path) as crm:
            yield crm
            crm.heal()
