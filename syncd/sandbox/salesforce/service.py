"""A stand-in for Salesforce: the REST endpoints that a reader of activities uses."""

import gzip
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from syncd.sandbox.salesforce.describe import describe, describe_all
from syncd.sandbox.salesforce.ids import whole
from syncd.sandbox.salesforce.oauth import token, userinfo
from syncd.sandbox.salesforce.plan import Plan
from syncd.sandbox.salesforce.query import page, run
from syncd.sandbox.salesforce.records import Records
from syncd.sandbox.salesforce.refusals import QueryRefusal, SalesforceRefusal, not_found
from syncd.sandbox.salesforce.schema import ObjectKind
from syncd.sandbox.salesforce.soql import Path
from syncd.sandbox.salesforce.world import generate
from syncd.sandbox.standin.server import Request, Response

MAX_BATCH = 25  # subrequests (REST guide v67)
MAX_RETRIEVE = 2000  # ids of one POST composite/sobjects (REST guide v67)
MIN_BATCH_SIZE = 200  # of Sforce-Query-Options (REST guide v67)
UNLIMITED = 5_000_000  # the daily calls reported without a limit, those of a full sandbox (Limits guide v67)
WORTH_GZIP = 1024  # bytes

TOKEN, USERINFO, VERSIONS = "/services/oauth2/token", "/services/oauth2/userinfo", "/services/data"
_DATA = re.compile(r"/services/data/v(?P<version>\d+)\.0(?P<rest>/.*)?")
_NAME = r"(?P<object>\w+)"
# method, path after the version, kind, the method of Salesforce that responds
ROUTES = [
    ("GET", r"/(?P<verb>query|queryAll)", "query", "_query"),
    ("GET", r"/(?P<verb>query|queryAll)/(?P<name>[\w-]+)", "more", "_more"),
    ("GET", r"/limits", "limits", "_limits"),
    ("GET", r"/sobjects", "global", "_describe_all"),
    ("GET", rf"/sobjects/{_NAME}/describe", "describe", "_describe"),
    ("POST", r"/composite/batch", "batch", "_batch"),
    ("POST", rf"/composite/sobjects/{_NAME}", "retrieve", "_retrieve"),
]
_ROUTES = [(method, re.compile(path), kind, name) for method, path, kind, name in ROUTES]

HTML = {"Content-Type": "text/html"}
Json = dict[str, Any]


class Salesforce(Records):
    """The REST API of an invented org."""

    def orders(self) -> dict[str, Callable[..., Any]]:
        """Return the orders of the control endpoint, by name."""
        own = (
            "put", "edit", "delete", "purge", "archive", "relate", "merge", "convert", "user", "queue", "field", "hide",
            "expire_sessions", "kill_locators", "set", "state",
        )  # fmt: skip
        mine: dict[str, Callable[..., Any]] = {name: getattr(self, name) for name in own}
        return {**super().orders(), **mine, "generate": lambda **what: generate(self, self.recotap, **what).summary()}

    def kind(self, request: Request) -> str:
        """Return the endpoint's kind: token, query, more, batch … or other."""
        path = request.path.rstrip("/")
        named = {TOKEN: "token", USERINFO: "userinfo", VERSIONS: "versions"}.get(path)
        match = _DATA.fullmatch(path)
        rest = (match["rest"] or "") if match else ""
        return named or next((kind for _, pattern, kind, _ in _ROUTES if pattern.fullmatch(rest)), "other")

    def respond(self, request: Request) -> Response:
        """Respond as every stand-in does, compressed if the client accepts gzip."""
        answer = super().respond(request)
        if self.gzip and "gzip" in request.headers.get("Accept-Encoding", ""):
            body = answer.encoded()
            if len(body) >= WORTH_GZIP:
                answer.body = gzip.compress(body, compresslevel=1)
                answer.headers = {**answer.headers, "Content-Encoding": "gzip"}
        return answer

    def answer(self, request: Request) -> Response:
        """Process a request: size limits, token, versions, data."""
        headers = sum(len(name) + len(value) + 4 for name, value in request.headers.items())
        if headers > self.uri_limit:
            return Response(431, "<html><body>Request Header Fields Too Large</body></html>", HTML)
        if headers + len(request.target) > self.uri_limit:
            return Response(414, "<html><body>URI Too Long</body></html>", HTML)
        path = request.path.rstrip("/")
        with self.lock:
            self.catch_up()
            if path == TOKEN:
                return token(self, request)
            if path == VERSIONS:
                return Response(200, [_version(number) for number in self.versions])
            try:
                return self._data(request, path)
            except SalesforceRefusal as refused:
                return Response(refused.status, refused.body)

    def _data(self, request: Request, path: str) -> Response:
        """Process a request that needs a session, and report the used part of the daily limit."""
        scheme, _, session = request.headers.get("Authorization", "").partition(" ")
        known = scheme in ("Bearer", "OAuth")
        if not known or not self.sessions.use(session, self.clock.ms(), self.session_lifetime_s):
            raise SalesforceRefusal("INVALID_SESSION_ID", "Session expired or invalid", status=401)
        if path == USERINFO:
            return Response(200, userinfo(self, request))
        self.locators.session = session
        answer = self._counted(request, path)
        answer.headers = {
            **answer.headers,
            "Sforce-Limit-Info": f"api-usage={self.used}/{self.daily_limit or UNLIMITED}",
        }
        return answer

    def _counted(self, request: Request, path: str) -> Response:
        if 0 < self.daily_limit <= self.used:
            return Response(403, SalesforceRefusal("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.").body)
        try:
            match = _DATA.fullmatch(path)
            if match is None:
                raise not_found()
            self._check_version(int(match["version"]))
            base, rest = f"/services/data/v{match['version']}.0", match["rest"] or ""
            self.used += not rest.startswith("/composite/batch")  # each of its subrequests is counted
            return Response(200, orjson.dumps(self._dispatch(request, base, rest)))
        except SalesforceRefusal as refused:
            return Response(refused.status, refused.body)

    def _check_version(self, version: int) -> None:
        if version not in self.versions:
            if version < min(self.versions, default=0):
                raise SalesforceRefusal("GONE", "The requested resource has been retired or removed", status=410)
            raise not_found()

    def _dispatch(self, request: Request, base: str, rest: str) -> Any:
        found = [(method, match, name) for method, path, _, name in _ROUTES if (match := path.fullmatch(rest))]
        route = next((route for route in found if route[0] == request.method), None)
        if route is None and found:
            allowed = f"HTTP Method '{request.method}' not allowed. Allowed are {found[0][0]}"
            raise SalesforceRefusal("METHOD_NOT_ALLOWED", allowed, status=405)
        if route is None:
            raise not_found()
        return getattr(self, route[2])(request, base, **route[1].groupdict())

    def _query(self, request: Request, base: str, *, verb: str) -> Json:
        text = request.first("q")
        if not text:
            raise SalesforceRefusal("MALFORMED_QUERY", "SOQL statements can not be empty or null")
        self._turn += 1
        return run(self, text, base=base, verb=verb, page_size=self._page_size(request), turn=self._turn)

    def _more(self, request: Request, base: str, *, verb: str, name: str) -> Json:
        locator, place = self.locators.find(name, self.clock.ms(), of_session=self.locators_end_with_session)
        return page(self, locator, place, base=base, verb=verb)

    def _page_size(self, request: Request) -> int:
        """Return the page size, at most the batchSize in Sforce-Query-Options."""
        asked = re.search(r"batchSize=(\d+)", request.headers.get("Sforce-Query-Options", ""))
        return self.page_size if asked is None else min(self.page_size, max(MIN_BATCH_SIZE, int(asked[1])))

    def _limits(self, request: Request, base: str) -> Json:
        daily = {"Max": self.daily_limit or UNLIMITED}
        daily["Remaining"] = max(0, daily["Max"] - self.used)
        bulk = {"Max": 15_000, "Remaining": 15_000}
        return {"DailyApiRequests": daily, "DailyBulkApiBatches": bulk, "DailyBulkV2QueryJobs": {**bulk}}

    def _describe(self, request: Request, base: str, *, object: str) -> Json:
        known = {name: kind for name in self.kinds if (kind := self.view(name)) is not None}
        return describe(self._seen_object(object), base, known)

    def _describe_all(self, request: Request, base: str) -> Json:
        return describe_all([kind for name in self.kinds if (kind := self.view(name)) is not None], base)

    def _retrieve(self, request: Request, base: str, *, object: str) -> list[Json | None]:
        """Return rows in the order of the ids, with null for deleted, unknown or invisible ones."""
        kind = self._seen_object(object)
        ids, names = _lists(request, "ids", "fields")
        if len(ids) > MAX_RETRIEVE:
            message = f"record limit reached. cannot submit more than {MAX_RETRIEVE} records in this call"
            raise SalesforceRefusal("EXCEEDED_ID_LIMIT", message)
        plan = self._plan(kind, names)
        plan.fresh(base, self._version)
        for row_id in ids:
            if not str(row_id).startswith(kind.prefix) or len(row_id) not in (15, 18):
                raise SalesforceRefusal(
                    "MALFORMED_ID", f"{kind.name} ID: id value of incorrect type: {row_id}", fields=["Id"]
                )
        rows = [self.find(whole(row_id) if len(row_id) == 15 else row_id) for row_id in ids]
        return [None if row is None else plan.render(row.values) for row in rows]

    def _plan(self, kind: ObjectKind, names: list[str]) -> Plan:
        try:
            paths = [Path((name,), 0) for name in dict.fromkeys(names)]
            return Plan(self, kind, paths)
        except QueryRefusal as unparsed:
            raise SalesforceRefusal(unparsed.code, str(unparsed)) from None

    def _batch(self, request: Request, base: str) -> Json:
        (asked,) = _lists(request, "batchRequests")
        if len(asked) > MAX_BATCH:
            raise SalesforceRefusal("LIMIT_EXCEEDED", f"Batch size {len(asked)} exceeds the limit of {MAX_BATCH}")
        results = [self._subrequest(request, part) for part in asked]
        return {"hasErrors": any(result["statusCode"] >= 400 for result in results), "results": results}

    def _subrequest(self, request: Request, part: Json) -> Json:
        """Process one part of a batch. Its URL begins with the version: v67.0/query?q=…"""
        if not isinstance(part, dict) or not all(isinstance(part.get(name), str) for name in ("method", "url")):
            raise SalesforceRefusal("JSON_PARSER_ERROR", f"Unexpected parser error at {part!r}")
        split = urlsplit(part["url"])
        path = "/services/data/" + split.path.removeprefix("/services/data/").strip("/")
        query = parse_qs(split.query, keep_blank_values=True)
        inner = Request(part["method"].upper(), path, query, request.headers, b"", part["url"])
        if inner.method != "GET" or self.kind(inner) in ("batch", "retrieve"):
            refused = SalesforceRefusal("METHOD_NOT_ALLOWED", "the stand-in takes GET only here", status=405)
            return {"statusCode": refused.status, "result": refused.body}
        answer = self._counted(inner, path)
        body = orjson.Fragment(answer.body) if isinstance(answer.body, bytes) else answer.body
        return {"statusCode": answer.status, "result": body}

    def _seen_object(self, name: str) -> ObjectKind:
        kind = self.view(name)
        if kind is None:
            raise not_found()
        return kind


def _lists(request: Request, *names: str) -> list[list[Any]]:
    """Return the lists of a JSON body by name. Raises SalesforceRefusal for another form."""
    try:
        body = json.loads(request.body)
        found = [body[name] for name in names]
    except (ValueError, KeyError, TypeError) as error:
        raise SalesforceRefusal("JSON_PARSER_ERROR", f"Unexpected parser error ({error!r})") from error
    if not all(isinstance(value, list) for value in found):
        raise SalesforceRefusal("JSON_PARSER_ERROR", f"expected lists for {', '.join(names)}")
    return found


def _version(number: int) -> Json:
    """Return the entry of a release. There are three a year, and v59.0 was Winter '24."""
    year, season = divmod(number - 59, 3)
    label = f"{('Winter', 'Spring', 'Summer')[season]} '{(24 + year) % 100:02}"
    return {"label": label, "url": f"/services/data/v{number}.0", "version": f"{number}.0"}
