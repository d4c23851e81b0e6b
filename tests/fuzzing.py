"""Run the real clients against responses in memory, and check the results.

Only the wire is replaced: h11 and http.client parse HTTP from bytes as usual. An `Example` names the calls and the
responses to some kinds of requests. All other requests get the CRM's usual responses.
"""

import gzip
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import httpcore
import orjson

from connectors.hubspot import HubSpot, HubSpotConfig
from connectors.salesforce import Salesforce, SalesforceConfig
from connectors.salesforce.schema import CHILDREN, WANTED
from syncd.connector import Connector, Context, Window
from syncd.errors import SyncdError
from syncd.http import httpx_deadline, urllib3_deadline
from syncd.lifecycle.states import Verdict
from syncd.normalize.rules import OurSide, Rules, assess
from syncd.passes.reader import PassStore
from syncd.recotap.sender import Sender

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CORPUS = Path(__file__).parent / "campaigns" / "corpus"
SERVERS = ("recotap", "hubspot", "salesforce")
DOCUMENTS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    name: json.loads((CORPUS / f"{name}.json").read_text(encoding="utf-8")) for name in SERVERS
}
SENT = ("crm-call-1", "crm-call-2", "crm-email-3")
REQUESTS_MOST = 3_000  # the most requests of one example; more mean that it does not end
RELATED = ("contacts read", "companies read", "associations", "owners", "property")
SALESFORCE = ("token", "describe", "more", "users", "query", "composite", "batch")
# The calls, and the kinds of requests that each makes.
ACTS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "recotap": {"post": ["post"], "post again": ["post"], "check": ["post"]},
    "hubspot": {
        "fetch calls": ["calls search", "calls search", "dispositions", *RELATED],
        "fetch emails": ["emails search", "emails search", *RELATED],
        "ids calls": ["calls read", "calls read", "dispositions", *RELATED],
        "ids emails": ["emails read", "emails read", *RELATED],
        "owners": ["owners"],
        "count": ["calls search", "account"],
        "check": ["account", "usage", "search", "calls search", "emails search", "owners"],
        "identity": ["account"],
    },
    "salesforce": {
        "fetch calls": ["tasks", "tasks", *SALESFORCE],
        "fetch emails": ["messages", "messages", *SALESFORCE],
        "ids calls": ["tasks", "tasks", *SALESFORCE],
        "ids emails": ["messages", "messages", *SALESFORCE],
        "count": ["tasks"],
        "check": ["tasks", "messages", "limits", *SALESFORCE],
        "identity": ["token"],
    },
}
IDS = {"hubspot": {"calls": ["101", "102"], "emails": ["201"]},
       "salesforce": {"calls": ["00T000000000001AAA"], "emails": ["02s000000000001AAA"]}}  # fmt: skip
RULES = Rules(own_domains=frozenset({"lanternfield.example"}))


@dataclass(frozen=True)
class Example:
    """One call and the responses to its requests."""

    server: str
    act: str
    answers: Mapping[str, str]  # kind of request -> raw HTTP, one character per byte

    @classmethod
    def of(cls, kept: Any) -> "Example":
        return cls(**kept)

    def to_json(self) -> Any:
        return {"server": self.server, "act": self.act, "answers": dict(self.answers)}


def found() -> list[Example]:
    """Return the examples that once found a bug."""
    return [Example.of(kept) for kept in json.loads((CORPUS / "found.json").read_text(encoding="utf-8"))]


def plain(document: Any, status: str = "200 OK") -> bytes:
    body = json.dumps(document).encode()
    date = b"Date: Sun, 01 Mar 2026 12:00:00 GMT"
    return b"HTTP/1.1 %b\r\n%b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), date, len(body), body)


def run(example: Example) -> None:
    """Run an example. AssertionError or an exception other than SyncdError means a broken promise."""
    try:
        (_recotap if example.server == "recotap" else _crm)(example)
    except SyncdError as error:
        _told(error)


def _told(error: SyncdError) -> None:
    f"{error.message}{error.hint}".encode()
    assert not re.search(r"amber-bolts|Mira|Copperwell|Cleo", error.message + error.hint)
    assert int(error.exit_code) in (69, 77), "the server or a key is at fault, never a bug"


# -- Recotap ------------------------------------------------------------------------------


class _Stream(httpcore.NetworkStream):
    def __init__(self, raw: bytes) -> None:
        self._raw = io.BytesIO(raw)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._raw.read(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        pass

    def close(self) -> None:
        pass

    def get_extra_info(self, info: str) -> Any:
        return info == "is_readable" or None


class _Backend(httpcore.NetworkBackend):
    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def connect_tcp(self, *_: Any, **__: Any) -> httpcore.NetworkStream:
        return httpx_deadline._Stream(_Stream(self._raw))


def _recotap(example: Example) -> None:
    raw = example.answers["post"].encode("latin-1")
    with Sender(
        base_url="http://127.0.0.1:9", api_key="invented-key", timeout_s=30.0, concurrency=1, now=lambda: NOW
    ) as to:
        transport: Any = to._client._transport
        transport._pool._network_backend = _Backend(raw)
        if example.act == "check":
            f"{to.check()}".encode()
            return
        answer = to.post([(name, "{}") for name in SENT])
    f"{answer}".encode()
    assert set(answer.verdicts) <= set(SENT)
    for name, judged in answer.verdicts.items():
        if judged.verdict in (Verdict.CREATED, Verdict.DUPLICATE):
            assert is_proven(raw, name, judged.verdict), (name, judged)
    if re.match(rb"HTTP/1\.[01] 20[01]\b", raw):
        assert answer.outcome == "answered" or answer.stored, "the items may have been stored"


def is_proven(raw: bytes, name: str, verdict: Verdict) -> bool:
    """Return whether a 200 or 201 contains an item with that id and status. It uses a separate parser."""
    head, _, body = raw.partition(b"\r\n\r\n")
    if not re.match(rb"HTTP/1\.[01] 20[01]\b", head):
        return False
    if re.search(rb"(?mi)^transfer-encoding: *chunked", head):
        body = b"".join(re.findall(rb"(?s)[0-9a-f]+\r\n(.*?)\r\n(?=[0-9a-f]+\r\n)", body))
    length = re.search(rb"(?mi)^content-length: *(\d+)", head)
    body = body[: int(length[1])] if length else body
    if re.search(rb"(?mi)^content-encoding: *gzip", head):
        body = gzip.decompress(body)
    text = body.decode("utf-8", "replace").lstrip("\ufeff")
    document = json.loads(re.sub(r"[\x00-\x1f]", " ", text), strict=False)
    data = document.get("data", document)
    items = [item for item in data["results"] if isinstance(item, dict) and _cleaned(item) == name]
    wanted = "created" if verdict is Verdict.CREATED else "failed"
    return any(_bare(item.get("status")) == wanted for item in items)


def _cleaned(item: Any) -> Any:
    return _bare(item.get("externalActivityId"))


def _bare(text: Any) -> Any:
    return text.encode("utf-8", "ignore").decode() if isinstance(text, str) else text


# -- CRMs ---------------------------------------------------------------------------------


class _Socket:
    """A connection that responds to the bytes written to it."""

    def __init__(self, respond: Callable[[bytes], bytes]) -> None:
        self._respond = respond
        self._sent = b""

    def sendall(self, text: bytes) -> None:
        self._sent += text

    def makefile(self, *_: Any, **__: Any) -> Any:
        return io.BufferedReader(io.BytesIO(self._respond(self._sent)))

    def gettimeout(self) -> float:
        return 30.0

    def settimeout(self, _seconds: float) -> None: ...

    def close(self) -> None: ...

    def shutdown(self, _how: int) -> None: ...


@contextmanager
def wired(respond: Callable[[bytes], bytes]) -> Iterator[None]:
    """Respond to each request of the pools by `respond`, over a new connection each time."""

    def connect(self: Any) -> None:
        self.sock, self.is_verified = _Socket(respond), True

    def is_connected(self: Any) -> bool:
        return False

    plain_one, secure = urllib3_deadline.Pool.ConnectionCls, urllib3_deadline.SecurePool.ConnectionCls
    with (
        mock.patch.object(plain_one, "connect", connect), mock.patch.object(secure, "connect", connect),
        mock.patch.object(plain_one, "is_connected", property(is_connected)),
        mock.patch.object(secure, "is_connected", property(is_connected)),
        mock.patch("ssl.SSLContext.load_default_certs", return_value=None),  # 25 ms, and no example needs them
        mock.patch.dict("os.environ", {"FUZZ_SECRET": "invented-secret", "NO_PROXY": "*"}),
    ):  # fmt: skip
        yield


def _crm(example: Example) -> None:
    count = 0
    respond = _hubspot_says if example.server == "hubspot" else _salesforce_says

    def answer(request: bytes) -> bytes:
        nonlocal count
        count += 1
        assert count <= REQUESTS_MOST, "the requests do not end"
        head, _, body = request.partition(b"\r\n\r\n")
        target = head.split(b" ")[1].decode("latin-1")
        kind, document = respond(target, body.decode("latin-1"))
        raw = example.answers.get(kind)
        return plain(document) if raw is None else raw.encode("latin-1")

    with wired(answer):
        source = _source(example.server)
        try:
            _act(source, example)
        finally:
            source.close()


def _source(server: str) -> Connector:
    context = Context(server, PassStore({}, lambda: NOW), lambda: NOW, lambda seconds: None)
    if server == "hubspot":
        return HubSpot(
            HubSpotConfig(connector="hubspot", start=NOW, access_token="env:FUZZ_SECRET",
                          base_url="http://127.0.0.1:9", search_per_second=0), context)  # fmt: skip
    return Salesforce(
        SalesforceConfig(connector="salesforce", start=NOW, login_url="https://fuzz.example",
                         client_id="env:FUZZ_SECRET", client_secret="env:FUZZ_SECRET"), context)  # fmt: skip


def _act(source: Connector, example: Example) -> None:
    verb, _, stream = example.act.partition(" ")
    window = Window(NOW - timedelta(hours=6), NOW, lambda refs: [ref.crm_id for ref in refs])
    if verb == "check":
        f"{source.check()}".encode()
    elif verb == "owners":
        f"{source.owners()}".encode()
    elif verb == "identity":
        f"{source.identity()}".encode()
    elif verb == "count":
        assert isinstance(source.count("calls", window), int)
    else:
        wanted = IDS[example.server][stream]
        pages = source.fetch(stream, window) if verb == "fetch" else source.fetch_ids(stream, wanted)
        for page in pages:
            for record in page.records:
                assert record.ref in page.refs
                _sent(source, stream, record)


def _sent(source: Connector, stream: str, record: Any) -> None:
    """Build the payload as the engine does. An odd record may raise only SyncdError."""
    f"{record}".encode()
    try:
        draft = source.normalize(stream, record)
    except SyncdError:
        return
    if draft is None:
        return
    owners = OurSide.of(RULES, source.owners())
    name = f"crm-{draft.kind}-{record.ref.crm_id}"
    assessed = assess(draft, external_activity_id=name, rules=RULES, our_side=owners, settle=timedelta(0), now=NOW)
    if assessed.payload is not None:
        orjson.dumps(assessed.payload)


def _hubspot_says(target: str, body: str) -> tuple[str, Any]:
    documents = DOCUMENTS["hubspot"]
    for kind in ("calls", "emails"):
        if f"/{kind}/search" in target:
            return f"{kind} search", documents[f"{kind} search"][0]
    for kind in ("calls", "emails", "contacts", "companies"):
        if f"/{kind}/batch/read" in target and "associations" not in target:
            return f"{kind} read", documents[f"{kind} read"][0]
    for part, kind in (("/search", "search"), ("associations", "associations"), ("/owners", "owners"),
                       ("dispositions", "dispositions"), ("/properties/", "property"), ("/details", "account"),
                       ("api-usage", "usage")):  # fmt: skip
        if part in target:
            return kind, documents[kind][0]
    raise AssertionError(target)


def _salesforce_says(target: str, body: str) -> tuple[str, Any]:
    documents = DOCUMENTS["salesforce"]
    if "oauth2/token" in target:
        return "token", documents["token"][0]
    if "composite/batch" in target:
        asked = json.loads(body)["batchRequests"]
        results = [{"statusCode": 200, "result": _part(each["url"])} for each in asked]
        return ("describe" if "describe" in body else "batch"), {"hasErrors": False, "results": results}
    if "composite/sobjects" in target:
        return "composite", [None for _ in json.loads(body)["ids"]]
    if "/limits" in target:
        return "limits", documents["limits"][0]
    if "/query/01g" in target:
        return "more", documents["more"][0]
    for part, kind in (("FROM+Task", "tasks"), ("FROM+EmailMessage", "messages"), ("FROM+User", "users")):
        if part in target.replace("%20", "+"):
            return kind, documents[kind][0]
    return "query", documents["query"][0]


def _part(url: str) -> Any:
    described = re.search(r"sobjects/(\w+)/describe", url)
    if described is None:
        return DOCUMENTS["salesforce"]["users" if "FROM%20User" in url else "query"][0]
    names = WANTED[described[1]]
    leads = {"AccountId": "Account", "OwnerId": "Owner"}
    fields = [
        {"name": name, "filterable": True, "type": "string", "relationshipName": leads.get(name)} for name in names
    ]
    children = [{"relationshipName": CHILDREN[described[1]]}] if described[1] in CHILDREN else []
    return {"queryable": True, "fields": fields, "childRelationships": children}
