"""A stand-in for Recotap: create-only sales activities, accounts, and misbehaviour on order."""

import json
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from syncd.sandbox.recotap.traffic import Traffic
from syncd.sandbox.recotap.validator import flat, validate
from syncd.sandbox.standin.clock import Clock, iso
from syncd.sandbox.standin.server import Request, Response, StandIn

KEY = "sandbox-key"
BASES = ("/api/v1", "/api/v1/crm")  # current docs; older docs
MAX_DOMAINS = 100  # domains one accounts request may name (docs)
UNSUPPORTED = "Only call and email activity types are supported"
MAX_POSTS = 100_000  # the most entries kept in `posts`

Item = dict[str, Any]

# The effects of a rule on the items that it matches.
PER_ITEM = ("fail", "skip", "omit", "double")  # omit: stored, but missing from the results · double: twice in them
PER_BODY = (
    "refuse",  # 400 that names the item
    "error",  # 500, nothing stored
    "crash",  # the connection reset, nothing stored
    "store_then_error",  # 500, all stored
    "store_then_drop",  # all stored, the connection reset
    "unknown_id",  # the results contain an item that was never sent
    "wrong_summary",  # the summary has wrong counts
    "bare",  # {results, summary} without the envelope
    "html",  # 200 with a page of HTML; all stored
)


@dataclass
class Rule:
    """One misbehaviour. It applies to the items that match `ids` and `when`, or to all without them."""

    do: str  # one of PER_ITEM or PER_BODY
    ids: Collection[str] | None = None  # externalActivityIds
    when: Callable[[Item], bool] | None = None
    count: int | None = None  # how many times; None: always
    text: str = "Internal processing error"  # error or reason in the response
    hits: int = field(default=0)

    def __post_init__(self) -> None:
        if self.do not in PER_ITEM + PER_BODY:
            raise ValueError(f"no such rule: {self.do!r}, expected one of {', '.join(PER_ITEM + PER_BODY)}")
        self.ids = None if self.ids is None else frozenset(self.ids)

    def matches(self, item: Item) -> bool:
        """Return whether the rule names an item, regardless of `count`."""
        named = self.ids is None or item.get("externalActivityId") in self.ids
        return named and (self.when is None or self.when(item))

    def take(self, item: Item) -> bool:
        """Return whether the rule applies to the item now, and count it."""
        if (self.count is not None and self.hits >= self.count) or not self.matches(item):
            return False
        self.hits += 1
        return True


class Recotap(StandIn):
    """An invented Recotap. Every attribute below may be changed while it serves."""

    def __init__(self, *, clock: Clock | None = None, latency_s: float = 0.0, seed: int = 1, **settings: Any) -> None:
        super().__init__(clock=clock, latency_s=latency_s, seed=seed)
        self.keys = {KEY}
        self.style = "nested"  # the form of a 400: nested, flat, opaque, bare
        self.whitelist = False  # refuse unknown keys
        self.max_body = 1_048_576  # bytes; a larger body gets a 413
        self.slow_over = 0  # a batch of more items is stored, but gets no answer for `slow_s`. 0: none is slow
        self.slow_s = 60.0
        self.forbidden: Collection[str] = ()  # texts that a firewall refuses with a 403 of its own, whatever the key
        self.dedupe = True  # False: an id that exists already is stored again and counted in `doubled`
        self.keep_payloads = True  # False: only ids and counts, for benchmarks
        self.stored: dict[str, tuple[Item, int]] = {}  # id -> payload, how many times created
        self.received: Counter[str] = Counter()  # id -> how often it arrived in a POST with a valid key
        self.posts: deque[tuple[tuple[str, ...], int]] = deque(maxlen=MAX_POSTS)  # ids, status (0: no response sent)
        self.traffic = Traffic(self.clock.ms)
        self.accounts: dict[str, Item] = {}  # domain -> account
        self.rules: list[Rule] = []
        self.set(**settings)

    @property
    def doubled(self) -> int:
        """Return the number of ids that were created more than once."""
        return sum(times > 1 for _, times in self.stored.values())

    def rule(self, do: str, **how: Any) -> Rule:
        """Add a misbehaviour and return its rule, for its counter."""
        rule = Rule(do, **how)
        with self.lock:
            self.rules = [*self.rules, rule]
        return rule

    def clear_rules(self) -> None:
        """Remove all rules."""
        with self.lock:
            self.rules = []

    def account(self, domain: str, name: str | None = None) -> None:
        """Add an account. Its domain is cleaned as the docs describe."""
        with self.lock:
            clean = clean_domain(domain)
            aid = f"rtp-{len(self.accounts) + 1}"
            self.accounts[clean] = {"domain": clean, "rtp_aid": aid, "externalId": None, "name": name or clean}

    def set(self, **settings: Any) -> None:
        """Change settings by name."""
        for name, value in settings.items():
            if name.startswith("_") or not hasattr(self, name) or callable(getattr(self, name)) or name == "doubled":
                raise ValueError(f"no such setting: {name!r}")
            setattr(self, name, set(value) if name == "keys" else value)

    def state(self) -> dict[str, Any]:
        """Return the counts of stored and received items, POSTs and accounts."""
        with self.lock:
            return {
                "stored": len(self.stored), "doubled": self.doubled, "received": self.received.total(),
                "posts": self.requests["post"], "accounts": len(self.accounts), "now": iso(self.clock.ms()),
                "most_in_flight": self.traffic.most_in_flight(),
            }  # fmt: skip

    def forget(self) -> None:
        """Forget everything that was stored or received."""
        with self.lock:
            self.stored, self.received = {}, Counter()
            self.posts.clear()
            self.traffic.forget()

    def orders(self) -> dict[str, Callable[..., Any]]:
        """Return the orders of the control endpoint, by name."""
        own: dict[str, Callable[..., Any]] = {
            "rule": lambda rule, **how: self.rule(rule, **how) and None,
            "stored": lambda: {name: times for name, (_, times) in self.stored.items()},
            "payloads": lambda ids: {name: self.stored[name][0] for name in ids if name in self.stored},
            "received": lambda: dict(self.received),
            "posts": lambda: [[list(ids), status] for ids, status in self.posts],
            "arrivals": self.traffic.listed,
        }
        mine = {name: getattr(self, name) for name in ("clear_rules", "account", "set", "state", "forget")}
        return {**super().orders(), **own, **mine}

    def kind(self, request: Request) -> str:
        """Return post, accounts or other."""
        base, _, name = request.path.rpartition("/")
        wanted = {"sales-activities": ("POST", "post"), "accounts": ("GET", "accounts")}.get(name)
        return wanted[1] if base in BASES and wanted is not None and wanted[0] == request.method else "other"

    def respond(self, request: Request) -> Response:
        """Respond to one request. A POST is in flight until its response is ready, also while a fault delays it."""
        if self.kind(request) != "post":
            return super().respond(request)
        with self.traffic.post(request):
            return super().respond(request)

    def answer(self, request: Request) -> Response:
        """Process a request in the order of an Express and NestJS server.

        That order is body parser, route, key, validation, work. A firewall comes before all of them.
        """
        if self.forbidden and any(text in request.body.decode("utf-8", "replace") for text in self.forbidden):
            return Response(403, {"message": "Forbidden"})
        if len(request.body) > self.max_body:
            return self._error(request, 413, "request entity too large")
        body: Any = {}  # the body parser's result if the content type is not JSON
        if request.headers.get_content_type() == "application/json" and request.body:
            try:
                body = json.loads(request.body)
            except ValueError:
                return self._error(request, 400, "Unexpected token in JSON")
        kind = self.kind(request)
        if kind == "other":
            return self._error(request, 404, f"Cannot {request.method} {request.path}")
        key = request.headers.get("X-Api-Key", "")
        if key not in self.keys:
            return self._error(request, 401, "Invalid API key" if key else "X-Api-Key header is required")
        if kind == "accounts":
            return self._accounts(request)
        answer = self._post(request, body)
        if 0 < self.slow_over < len(_items(body)):
            self.faults.wait(self.slow_s)
            return Response(200, deliver="close")
        return answer

    def _post(self, request: Request, body: Any) -> Response:
        with self.lock:  # creation is atomic: two requests with the same id cannot both create it
            items = _items(body)
            ids = tuple(str(item.get("externalActivityId")) for item in items)
            self.traffic.carries(request, ids)
            self.received.update(ids)
            answer = self._refusal(request, body, items) or self._create(request, items)
            self.posts.append((ids, 0 if answer.deliver == "reset" else answer.status))
            return answer

    def _refusal(self, request: Request, body: Any, items: list[Item]) -> Response | None:
        """Return the refusal of the whole body if one item is invalid. Nothing is stored then."""
        errors = validate(body if isinstance(body, dict) else {}, whitelist=self.whitelist)
        if errors:
            return self._invalid(request, errors)
        refused = [
            {"property": str(index), "children": [
                {"property": "domain", "children": [], "constraints": {"isAcceptable": "domain is not acceptable"}}]}
            for index, item in enumerate(items) if self._taken("refuse", item)
        ]  # fmt: skip
        if refused:
            return self._invalid(request, [{"property": "activities", "children": refused}])
        if any(self._taken("error", item) for item in items):
            return self._error(request, 500, "Internal server error")
        return Response(500, deliver="reset") if self._any("crash", items) else None

    def _create(self, request: Request, items: list[Item]) -> Response:
        results: list[Item] = []
        for item in items:
            result = self._store(item)
            omitted, doubled = self._taken("omit", item), self._taken("double", item)
            results += [] if omitted else [result, result] if doubled else [result]
        statuses = Counter(result["status"] for result in results)
        summary = {"total": len(items), **{status: statuses[status] for status in ("created", "failed", "skipped")}}
        if self._any("wrong_summary", items):
            summary = {"total": 999, "created": 999, "failed": 0, "skipped": 0}
        if self._any("unknown_id", items):
            results = [{"externalActivityId": "never-sent", "status": "created"}, *results]
        data: Item = {"results": results, "summary": summary}
        if not self._any("bare", items):
            data = self._envelope(request, 200, data=data)
        return self._misdelivered(request, items) or Response(200, data)

    def _misdelivered(self, request: Request, items: list[Item]) -> Response | None:
        """Return a faulty response to completed work, if a rule orders one."""
        if self._any("store_then_drop", items):
            return Response(200, deliver="reset")
        if self._any("store_then_error", items):
            return self._error(request, 500, "Internal server error")
        if self._any("html", items):
            return Response(200, "<html><body>Welcome</body></html>", {"Content-Type": "text/html"})
        return None

    def _store(self, item: Item) -> Item:
        name = item["externalActivityId"]
        if item["activityType"] not in ("call", "email"):
            return {"externalActivityId": name, "status": "skipped", "reason": UNSUPPORTED}
        if rule := self._taken("skip", item):
            return {"externalActivityId": name, "status": "skipped", "reason": rule.text}
        times = self.stored[name][1] if name in self.stored else 0
        if times and self.dedupe:
            error = f"Activity with externalActivityId '{name}' already exists."
            return {"externalActivityId": name, "status": "failed", "error": error}
        if rule := self._taken("fail", item):
            return {"externalActivityId": name, "status": "failed", "error": rule.text}
        self.stored[name] = (item if self.keep_payloads else {}, times + 1)
        return {"externalActivityId": name, "status": "created"}

    def _taken(self, do: str, item: Item) -> Rule | None:
        for rule in self.rules:
            if rule.do == do and rule.take(item):
                return rule
        return None

    def _any(self, do: str, items: list[Item]) -> bool:
        """Return whether a rule for whole bodies matches any item. It is counted once."""
        return any(self._taken(do, item) for item in items)

    def _accounts(self, request: Request) -> Response:
        with self.lock:
            accounts = list(self.accounts.values())
        if "domains" in request.query:
            try:
                wanted = [clean_domain(str(domain)) for domain in json.loads(request.first("domains"))]
            except (ValueError, TypeError):
                return self._error(request, 400, "domains must be a JSON array")
            if len(wanted) > MAX_DOMAINS:
                return self._error(request, 400, f"domains must contain no more than {MAX_DOMAINS} elements")
            accounts = [account for account in accounts if account["domain"] in wanted]
        limit, start = request.first("limit", "100"), request.first("cursor", "0")
        if not (limit.isdecimal() and 1 <= int(limit) <= 100 and start.isdecimal()):
            return self._error(request, 400, "limit must not be less than 1 nor greater than 100")
        end = int(start) + int(limit)
        # nextCursor is filled even on the last page (seen), only hasNextPage ends the list
        page = {"data": accounts[int(start) : end], "nextCursor": str(end), "hasNextPage": end < len(accounts)}
        return Response(200, self._envelope(request, 200, data={**page, "syncTimestamp": iso(self.clock.ms())}))

    def _invalid(self, request: Request, errors: list[Item]) -> Response:
        """Return a 400 in the configured style. The docs promise none of these styles."""
        envelope = self._envelope(request, 400, message="Bad Request")
        styles = {
            "nested": {**envelope, "data": errors},
            "flat": {"statusCode": 400, "message": flat(errors), "error": "Bad Request"},
            "opaque": {**envelope, "customMessage": "Validation failed", "data": None},
            "bare": envelope,
        }
        return Response(400, styles[self.style])

    def _error(self, request: Request, status: int, message: str) -> Response:
        return Response(status, self._envelope(request, status, message=message))

    def _envelope(self, request: Request, status: int, **more: Any) -> Item:
        return {"statusCode": status, "timestamp": iso(self.clock.ms()), "path": request.path, **more}


def clean_domain(domain: str) -> str:
    """Clean a domain as Recotap does: lower case, without scheme, www. and path (docs)."""
    bare = domain.strip().lower().partition("://")[2] or domain.strip().lower()
    return bare.partition("/")[0].removeprefix("www.")


def _items(body: Any) -> list[Item]:
    activities = body.get("activities") if isinstance(body, dict) else None
    return [item for item in activities if isinstance(item, dict)] if isinstance(activities, list) else []
