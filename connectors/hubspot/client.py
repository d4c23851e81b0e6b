"""Send all requests to HubSpot.

Each method is one endpoint. It stays within the rate limits, retries if that helps (retry.py), learns HubSpot's
clock, and returns parsed JSON. It raises Unavailable, Unauthorized or Stopped, and ConfigError if the CA file or the
environment's proxy is invalid.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from connectors.hubspot.config import HubSpotConfig
from connectors.hubspot.ids import is_id
from connectors.hubspot.rate_limit import EvenSpacing, RollingWindow
from connectors.hubspot.retry import TOO_MUCH, Attempt, Request, interpret, timed_out
from connectors.hubspot.search import TIME, search_body
from syncd.connector import Context
from syncd.errors import Stopped, SyncdError, Unauthorized, Unavailable
from syncd.http.response import Failure, Response, TransportError
from syncd.http.retry import RetryBudget
from syncd.isolation import TriedSize

if TYPE_CHECKING:
    from connectors.hubspot.wire import Wire

IN_PARALLEL = 3  # batch reads in flight at once
BRIEF_S = 1.0  # an abandoned thread still finishes a wait up to this
CONTACTS_READ = "crm.objects.contacts.read"
COMPANIES_READ = "crm.objects.companies.read"
OWNERS_READ = "crm.objects.owners.read"
EMAIL_READ = "sales-email-read"
SAMPLE = 20  # emails that show whether the token sees the content of emails
SCOPES = {
    "calls": CONTACTS_READ,
    "contacts": CONTACTS_READ,
    "companies": COMPANIES_READ,
    "emails": EMAIL_READ,
}

# Labels are optional: a portal or a kind of token that may not read them is no error. The portal's id is optional too,
# but a 401 there means that the token is refused.
UNLABELLED = frozenset({400, 401, 403, 404, 405, 410})
UNTOLD = frozenset({403, 404, 410})

Send = Callable[["Wire"], Response]
T = TypeVar("T")
R = TypeVar("R")


class DailyCalls(NamedTuple):
    """Count the calls of the portal's day."""

    left: int
    limit: int


class Client:
    """Send one pass's requests to one portal, from the searching and the hydrating threads."""

    def __init__(
        self,
        config: HubSpotConfig,
        context: Context,
        *,
        zone: Callable[[], str | None] = lambda: None,  # the portal's time zone, if known
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._context = context
        self._zone = zone
        self._monotonic = monotonic
        self._wire: Wire | None = None
        self._spacing = EvenSpacing(config.search_per_second)
        self._rolling = RollingWindow()
        self._clock = context.server_clock()
        self._retries = RetryBudget(monotonic, turn_s=context.turn_s)
        self._thread = threading.local()  # abandoned: done once no thread waits for this one
        self._lock = threading.Lock()  # over the limiters, the clock and the connection
        self.daily: DailyCalls | None = None  # from the newest answer that names it. A search does not

    def token(self) -> str:
        """Read the access token. Unauthorized if it is missing or invalid."""
        where = self._config.access_token
        try:
            token = where.read()
        except ValueError as error:
            raise Unauthorized(
                f"HubSpot's access_token: {error}", hint=f"put the token where access_token points, {where}"
            ) from None
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise Unauthorized(
                f"HubSpot's access_token ({where}) contains characters that no token has",
                hint="copy it completely, on one line",
            )
        return token

    def stop_retrying(self) -> None:
        """Stop retrying for the rest of the pass."""
        self._retries.stop_retrying()

    def abandon_when(self, abandoned: "Future[None]") -> None:
        """Raise Stopped in the calling thread, at its next request or wait, once `abandoned` is done."""
        self._thread.abandoned = abandoned

    def in_parallel(self, ask: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Return the result of `ask` for each item, the first alone, the others IN_PARALLEL at a time.

        So an outage costs one request, or those in flight. These threads are abandoned with the calling one.
        """
        results = [ask(item) for item in items[:1]]
        if len(items) < 2:
            return results
        abandoned: Future[None] = getattr(self._thread, "abandoned", None) or Future()
        pool = ThreadPoolExecutor(min(IN_PARALLEL, len(items) - 1), "parallel", self.abandon_when, (abandoned,))
        try:
            asked = [pool.submit(ask, item) for item in items[1:]]
            return results + [each.result() for each in asked]
        except Unavailable:
            self.stop_retrying()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def server_now(self) -> datetime:
        """Return the time by HubSpot's clock, or the local time until that is known."""
        return self._clock.now()

    def certain_now(self) -> datetime:
        """Return the time by HubSpot's clock for an irrevocable decision. In doubt it is the earlier of two clocks."""
        return self._clock.certain_now()

    @property
    def started_at(self) -> datetime | None:
        """Return the start of the pass by HubSpot's clock. None before the first answer."""
        return self._clock.started_at

    def search(
        self, object_type: str, body: dict[str, Any], rows: TriedSize | None = None, *, tolerant: bool = False
    ) -> Any:
        """Return {total, results, paging} with at most 200 rows (HubSpot search, 2026-03).

        `rows` chooses the limit of each try instead of the body. `tolerant`: None if the portal refuses.
        """
        request = Request(
            f"{object_type} search", scope=SCOPES.get(object_type, CONTACTS_READ), search=True, exempt=True,
            tolerated=UNLABELLED if tolerant else frozenset(),
        )  # fmt: skip
        if rows is None:
            return self._ask(request, lambda wire: wire.search(object_type, body))
        answer = self._ask(request, lambda wire: wire.search(object_type, {**body, "limit": rows.now}), rows)
        rows.served(full=len(answer["results"]) >= rows.now)
        return answer

    def latest_emails(self) -> Any:
        """Return the emails modified last, with subject and headers, as a sample."""
        names = ("hs_email_subject", "hs_email_headers")
        return self.search("emails", search_body([], TIME, SAMPLE, names, direction="DESCENDING"))["results"]

    def batch_read(
        self, object_type: str, ids: Sequence[str], properties: Sequence[str], *, isolates: bool = False
    ) -> Any:
        """Return the rows of at most 100 ids, without those that HubSpot does not find (207).

        `isolates`: these are some of a failed request's ids.
        """
        body = {"properties": list(properties), "inputs": [{"id": each} for each in ids]}
        request = Request(
            f"{object_type} batch read",
            scope=SCOPES[object_type],
            batch=True,
            divisible=len(ids) > 1,
            isolates=isolates,
        )
        return self._ask(request, lambda wire: wire.batch_read(object_type, body))["results"]

    def associations(
        self, from_type: str, to_type: str, inputs: Sequence[dict[str, str]], *, isolates: bool = False
    ) -> Any:
        """Return {from, to, paging} rows of at most 1,000 inputs, without inputs that have none (207)."""
        request = Request(
            f"associations {from_type} to {to_type}", scope=SCOPES[to_type], exempt=True, batch=True,
            divisible=len(inputs) > 1, isolates=isolates,
        )  # fmt: skip
        return self._ask(request, lambda wire: wire.associations(from_type, to_type, {"inputs": list(inputs)}))[
            "results"
        ]

    def owners(self, *, archived: bool, after: str | None = None, limit: int = 500) -> Any:
        """Return one page {results, paging} of active or of archived owners."""
        query = {"archived": "true" if archived else "false", "limit": limit} | ({"after": after} if after else {})
        return self._ask(Request("owners", scope=OWNERS_READ), lambda wire: wire.owners(**query))

    def dispositions(self) -> Any:
        """Return [{id, label}], or None if the portal refuses (v1: unsupported after September 2027)."""
        request = Request("dispositions", expects="list", tolerated=UNLABELLED, optional=True)
        return self._get(request, "/calling/v1/dispositions")

    def options(self, object_type: str, name: str) -> Any:
        """Return a property's {options}, or None if the portal refuses."""
        request = Request(f"property {name}", expects="object", tolerated=UNLABELLED, optional=True)
        return self._get(request, f"/crm/properties/{{version}}/{object_type}/{name}")

    def properties(self, object_type: str) -> Any:
        """Return {results} with each property of an object (docs, 2026-03), or None if the portal refuses."""
        request = Request(f"properties of {object_type}", tolerated=UNLABELLED)
        return self._get(request, f"/crm/properties/{{version}}/{object_type}")

    def account(self) -> Any:
        """Return the portal's {portalId, timeZone}, or None if it refuses."""
        return self._get(Request("account-info", expects="object", tolerated=UNTOLD), "/account-info/{version}/details")

    def daily_usage(self) -> Any:
        """Return {results} of today's use of private apps, or None if the portal refuses."""
        path = "/account-info/{version}/api-usage/daily/private-apps"
        return self._get(Request("daily usage", tolerated=UNTOLD), path)

    def close(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _get(self, request: Request, path: str) -> Any:
        return self._ask(request, lambda wire: wire.get(path))

    def _ask(self, request: Request, send: Send, rows: TriedSize | None = None) -> Any:
        attempt = 0
        while True:
            attempt += 1
            self._pace(request)
            began = self._monotonic()
            answer = self._send(send)
            outcome = interpret(request, answer, self._attempt(attempt))
            if not isinstance(outcome, Failure):
                self._retries.record_success()
                return outcome
            if outcome.refusal and isinstance(answer, Response) and answer.status in request.tolerated:
                self._retries.record_success()
                return None
            if request.optional:
                pauses = isinstance(answer, Response) and answer.status < 500
                raise outcome.given_up(self._context.now()) if pauses else outcome.error
            too_much = isinstance(outcome.error, TOO_MUCH)  # perhaps
            if rows is not None and too_much:
                rows.failed(timed_out=timed_out(answer))
            is_last = too_much and (request.isolates or (request.divisible and timed_out(answer)))
            if self._retries.exhausted(outcome, attempt=attempt, began=began) or is_last:
                if rows is not None:
                    rows.gave_up()
                raise self._given_up(request, outcome)
            self._sleep(outcome.wait_s or 0.0)

    def _given_up(self, request: Request, outcome: Failure) -> SyncdError:
        """Return the error to raise. Once all requests have failed for a minute, it is an outage of no input."""
        error = outcome.given_up(self._context.now())
        if request.isolates and isinstance(error, TOO_MUCH) and self._retries.has_failed_for_long:
            return Unavailable(error.message, hint=error.hint, pause_until=error.pause_until)
        return error

    def _pace(self, request: Request) -> None:
        """Wait for the request's turn. Stopped if the pass is to end.

        If HubSpot's clock is in doubt, the second request of the pass waits until its Date can resolve it.
        """
        limiter = self._spacing if request.search else None if request.exempt else self._rolling
        with self._lock:
            wait_s = limiter.wait_s(self._monotonic()) if limiter else 0.0
        self._sleep(max(wait_s, self._clock.spacing_s()))

    def _sleep(self, seconds: float) -> None:
        """Wait. Stopped if the pass is to end or this thread is abandoned, even during a long wait."""
        abandoned: Future[None] | None = getattr(self._thread, "abandoned", None)
        if abandoned is None or (seconds <= BRIEF_S and not abandoned.done()):
            self._context.sleep(seconds)
            return
        slept: Future[None] = Future()
        if not abandoned.done():
            threading.Thread(target=_run, args=(slept, lambda: self._context.sleep(seconds)), daemon=True).start()
            wait((slept, abandoned), return_when=FIRST_COMPLETED)
        if abandoned.done():
            raise Stopped("no thread waits for the answer any more")
        slept.result()

    def _send(self, send: Send) -> Response | TransportError:
        try:
            wire = self._connected()
            local_start, began = self._context.now(), self._monotonic()
            answer = send(wire)
        except TransportError as lost:
            return lost
        with self._lock:
            self._learn(answer, local_start=local_start, elapsed_s=self._monotonic() - began)
        return answer

    def _connected(self) -> "Wire":
        with self._lock:
            if self._wire is None:
                token = self.token()
                from connectors.hubspot.wire import Wire  # the SDK costs 0.2 s and 20 MB
                from syncd.http.tls import Trust

                place = f"sources.{self._context.source}"
                self._wire = Wire(
                    base_url=self._config.base_url,
                    token=token,
                    trust=Trust("HubSpot", f"{place}.base_url", f"{place}.ca_file", self._config.ca_file),
                    api_version=self._config.api_version,
                    timeout_s=self._config.timeout.total_seconds(),
                )
            return self._wire

    def _learn(self, answer: Response, *, local_start: datetime, elapsed_s: float) -> None:
        """Learn HubSpot's clock and rate limits from an answer's headers (usage guidelines, 2026-03)."""
        self._clock.learn(answer.headers, local_start=local_start, elapsed_s=elapsed_s)
        maximum, interval, limit, left = (
            answer.headers.get(f"x-hubspot-ratelimit-{name}", "")
            for name in ("max", "interval-milliseconds", "daily", "daily-remaining")
        )
        if is_id(limit) and is_id(left) and int(limit):
            self.daily = DailyCalls(int(left), int(limit))
        if is_id(maximum) and interval in ("", "10000"):
            self._rolling.learn(int(maximum))

    def _attempt(self, attempt: int) -> Attempt:
        return Attempt(
            number=attempt,
            now=self.server_now(),
            zone=self._zone(),
            jitter=random.random(),  # spreads retries, guards nothing
            version=self._config.api_version,
            token=str(self._config.access_token),
        )


def _run(future: "Future[None]", act: Callable[[], None]) -> None:
    try:
        act()
    except BaseException as error:  # noqa: BLE001 - raised again by the waiting thread
        future.set_exception(error)
    else:
        future.set_result(None)
