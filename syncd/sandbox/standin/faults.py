"""Faults on order: which requests to a stand-in fail, how, and how often.

The conformance suite has the same names for the same faults (syncd.testing.FAULTS).
"""

import json
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

# answer: `status`, `headers` and `body` instead of the real response
# cut_json: the first half of the real body with a matching Content-Length (broken JSON over valid HTTP)
# cut: the first half of the real body with the full Content-Length, then the end of the connection
# close, reset: no response, a FIN or an RST · hang: no response for `seconds` or until released, then a FIN
# slow: the real response after `seconds` · drip: a 200 whose body arrives byte by byte until released
ACTIONS = ("answer", "cut_json", "cut", "close", "reset", "hang", "slow", "drip")


@dataclass
class Fault:
    """One rule. It counts the requests that match it and makes the chosen ones fail."""

    action: str = "answer"  # one of ACTIONS
    match: str = ""  # a part of the path; empty: any
    match_query: str = ""  # a part of the query string, decoded; empty: any
    method: str = ""  # empty: any
    when: Callable[[Any], bool] | None = None  # called with the request; None: any
    count: int | None = 1  # how many requests fail; None: without end
    skip: int = 0  # matching requests that succeed first
    every: int = 1  # of the others, each n-th
    probability: float = 1.0  # of those, this share, drawn with the seed
    after: bool = False  # the request is processed first, and only its response is lost
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = ""  # text is sent unchanged, anything else as JSON
    seconds: float = 0.0
    seen: int = 0  # matching requests so far
    hits: int = 0  # failed requests so far

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"no such fault: {self.action!r}, expected one of {', '.join(ACTIONS)}")

    def fits(self, method: str, path: str, query: str) -> bool:
        """Tell whether a request has the method, path and query of this rule."""
        return self.match in path and self.match_query in query and self.method in ("", method)

    @property
    def works_first(self) -> bool:
        """Return whether the request is processed before it fails."""
        return self.after or self.action in ("cut_json", "cut", "slow")


class Faults:
    """The queue of rules. The first rule that chooses a request applies. Used-up rules are removed."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._rules: list[Fault] = []
        self._released = threading.Event()

    def add(self, fault: "Fault | str", **changes: Any) -> Fault:
        """Queue a rule, or a preset by name, with `changes`. Return the rule, for its counters."""
        rule = preset(fault, **changes) if isinstance(fault, str) else replace(fault, **changes)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Remove all rules and end every hang and drip."""
        with self._lock:
            self._rules.clear()
        self.release()

    def release(self) -> None:
        """End every hang and drip in progress."""
        with self._lock:
            released, self._released = self._released, threading.Event()
        released.set()

    def wait(self, seconds: float) -> None:
        """Wait `seconds`, or until released."""
        self._released.wait(seconds)

    def until_released(self, every_s: float) -> Iterator[None]:
        """Yield every `every_s` seconds until released."""
        released = self._released
        while not released.wait(every_s):
            yield

    def choose(self, method: str, path: str, query: str = "", *, request: Any = None) -> Fault | None:
        """Return the rule that applies to this request, or None."""
        if not self._rules:
            return None
        with self._lock:
            rules = list(self._rules)
        # `when` may ask the stand-in, whose own lock must not be waited for under this one
        found = [rule for rule in rules if rule.fits(method, path, query) and (rule.when is None or rule.when(request))]
        with self._lock:
            return next((rule for rule in found if self._hits(rule)), None)

    def _hits(self, rule: Fault) -> bool:
        if not any(each is rule for each in self._rules):  # used up meanwhile
            return False
        rule.seen += 1
        turn = rule.seen - rule.skip
        if turn <= 0 or turn % rule.every or self._random.random() >= rule.probability:
            return False
        rule.hits += 1
        if rule.count is not None and rule.hits >= rule.count:
            self._rules.remove(rule)
        return True


def _salesforce(status: int, code: str, message: str) -> dict[str, Any]:
    return {"status": status, "body": [{"message": message, "errorCode": code}]}


HTML = {"Content-Type": "text/html"}
PRESETS: dict[str, dict[str, Any]] = {
    "unavailable": {"status": 503, "body": {"status": "error", "message": "Service Unavailable"}},
    "server_error": {"status": 500, "body": {"statusCode": 500, "message": "Internal server error"}},
    "html": {"status": 502, "headers": HTML, "body": "<html><body><h1>502 Bad Gateway</h1></body></html>"},
    "html_200": {"status": 200, "headers": HTML, "body": "<html><body>Scheduled maintenance</body></html>"},
    "garbage": {"status": 200, "body": "\x00\x01{]not json"},
    "empty": {"status": 200, "body": ""},
    "locked": {"status": 423, "body": {"status": "error", "message": "Locked", "category": "LOCKED"}},
    # HubSpot usage guidelines: 477 while a portal moves between data centres, Retry-After in seconds, up to a day
    "migrating": {"status": 477, "headers": {"Retry-After": "86400"}, "body": ""},
    # Seen by Airbyte: a malformed token does not reach HubSpot, Cloudflare answers 530
    "malformed_token": {"status": 530, "headers": HTML, "body": "<html><body>error code: 1016</body></html>"},
    "too_many": {"status": 429, "headers": {"Retry-After": "1"}, "body": '{"message":"Too Many Requests"}'},
    "secondly": {"status": 429, "body": "sample:error_429_secondly_search.json"},
    "ten_secondly": {"status": 429, "body": "sample:error_429_ten_secondly.json"},
    "daily": {"status": 429, "body": "sample:error_429_daily.json"},
    # Salesforce: status codes of the REST guide (v67); 406 and 420 without a body, as seen by Airbyte and Singer
    "sf_unavailable": _salesforce(503, "SERVER_UNAVAILABLE", "Server is unavailable, please try again later"),
    "sf_406": {"status": 406, "body": ""},
    "sf_420": {"status": 420, "body": ""},
    "sf_html": {"status": 502, "headers": HTML, "body": "<html><body><h1>502 Bad Gateway</h1></body></html>"},
    "sf_expired": _salesforce(401, "INVALID_SESSION_ID", "Session expired or invalid"),
    "sf_limit": _salesforce(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    "sf_concurrent": _salesforce(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."),
    "sf_timeout": _salesforce(400, "QUERY_TIMEOUT", "Your query request was running for too long"),
    "sf_locator": _salesforce(400, "INVALID_QUERY_LOCATOR", "invalid query locator"),
    "sf_lock": _salesforce(500, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record"),
}


def preset(name: str, **changes: Any) -> Fault:
    """Return a fault from the name of a preset or an action. Raises ValueError for other names."""
    rule = Fault(**({**PRESETS[name], **changes} if name in PRESETS else {"action": name, **changes}))
    if isinstance(rule.body, str) and rule.body.startswith("sample:"):
        rule.body = sample(rule.body.removeprefix("sample:"))
    return rule


def sample(name: str) -> Any:
    """Return a recorded HubSpot body. Its source is in hubspot/samples/README.md."""
    return json.loads(files("syncd.sandbox.hubspot").joinpath("samples", name).read_text(encoding="utf-8"))
