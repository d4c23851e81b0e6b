"""Send all requests to Salesforce.

Each method is one endpoint. It signs in if needed, once for all threads, retries if that helps (retry.py), learns
Salesforce's clock and the org's use of calls, and returns parsed JSON. It raises Unavailable, Unauthorized or Stopped,
and ConfigError if the CA file or the environment's proxy is invalid.
"""

import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from connectors.salesforce import signin
from connectors.salesforce.config import SalesforceConfig
from connectors.salesforce.paging import kept
from connectors.salesforce.retry import (
    CHANGED,
    HOUR_S,
    Attempt,
    Expired,
    LocatorGone,
    NotServed,
    QueryRefused,
    QueryTimeout,
    Request,
    TooSlow,
    interpret,
)
from connectors.salesforce.signin import Session
from syncd.connector import Context
from syncd.errors import Malformed, Unavailable
from syncd.fields import dig
from syncd.http.response import TRIES, Failure, Response, TransportError
from syncd.http.retry import RetryBudget
from syncd.isolation import TriedSize

if TYPE_CHECKING:
    from connectors.salesforce.wire import OrgConnection, Wire

__all__ = ["Client", "LocatorGone", "QueryRefused", "QueryTimeout", "Session", "Usage", "query_path"]

BATCHED = 25  # subrequests of a batch (REST guide v67)
PAGE_MOST, PAGE_LEAST = 2_000, 200  # rows of a page (REST guide v67, Query Options Header)
UNTOLD = frozenset({403, 404})
FURTHER = re.compile(r"/services/data/v\d+\.0/(?!.*\.\.)[\w./-]{1,1000}", re.ASCII)
USED = re.compile(r"(?<![\w-])api-usage=(\d{1,12})/(\d{1,12})", re.ASCII)  # beside per-app-api-usage, in any order

Send = Callable[["OrgConnection"], Response]


class Usage(NamedTuple):
    """Count the org's API calls of the last 24 hours, of all programs."""

    used: int
    total: int


class Client:
    """Send one pass's requests to one org, from any number of threads."""

    def __init__(
        self, config: SalesforceConfig, context: Context, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._context = context
        self._monotonic = monotonic
        self._wire: Wire | None = None
        self._org: OrgConnection | None = None
        self._signing: Future[OrgConnection] | None = None  # in progress; other threads wait for it
        self._clock = context.server_clock()
        self._retries = RetryBudget(monotonic, turn_s=context.turn_s)
        self._timeouts = 0  # in a row
        self._further = threading.local()  # whether requests of this thread isolate a culprit
        self._resume_at = 0.0  # monotonic. A failed request asks for no other one before
        self._lock = threading.Lock()  # over the connection, the org, the clock and the usage
        self.usage: Usage | None = None  # from the newest answer that names it

    def session(self) -> Session:
        """Return the session in use. Signs in if there is none."""
        return self._signed_in().session

    def server_now(self) -> datetime:
        """Return the time by Salesforce's clock, or the local time until that is known."""
        return self._clock.now()

    @property
    def started_at(self) -> datetime | None:
        """Return the start of the pass by Salesforce's clock. None before the first answer, including the token's."""
        return self._clock.started_at

    def query(
        self, soql: str, *, what: str, deleted_too: bool = True, divisible: bool = False, rows: TriedSize | None = None
    ) -> Any:  # fmt: skip
        """Return {totalSize, done, records, nextRecordsUrl} of a query's first page. `what` names it in messages.

        With `deleted_too` deleted and archived rows are included (queryAll). A call is archived a year after its due
        date, however late it was logged. If `divisible`, a time-out is a QueryTimeout, because the query can be made
        smaller. Three time-outs in a row are an outage. `rows` chooses the page size of each try.
        """

        def send(org: "OrgConnection") -> Response:
            size = rows.now if rows is not None and rows.now < PAGE_MOST else None
            return org.query(soql, deleted_too=deleted_too, page_rows=size)

        answer = self._ask(Request(what, "page", divisible=divisible), send, rows)
        if rows is not None:
            rows.served(full=not answer["done"])
        return answer

    def more(self, next_records_url: str, *, what: str, divisible: bool = False) -> Any:
        """Return a further page of a query.

        LocatorGone if Salesforce refuses the locator, also if only the session of its query may use it.
        """
        if not FURTHER.fullmatch(next_records_url):  # a host in there would receive the session
            raise Malformed(f"Salesforce, {what}: the address of the next page is invalid", hint=CHANGED)
        return self._ask(
            Request(what, "page", locator=True, divisible=divisible), lambda org: org.more(next_records_url)
        )

    def retrieve(self, object_type: str, ids: Sequence[str], fields: Sequence[str]) -> list[Any]:
        """Return the records of at most 2,000 ids, in their order. None for an id without a visible record."""
        body = {"ids": list(ids), "fields": list(fields)}
        request = Request(f"{object_type} by id", "list", count=len(ids), divisible=True)
        found: list[Any] = self._ask(request, lambda org: org.post(f"composite/sobjects/{object_type}", body))
        return found

    def batch(self, paths: Sequence[str], *, what: str) -> list[Any | None]:
        """Get up to 25 paths below the version in one request, each counted as a call. None: not found (404)."""
        parts = [{"method": "GET", "url": f"v{self._config.api_version}/{path}"} for path in paths]
        request = Request(what, "batch", count=len(parts), divisible=len(parts) > 1)
        found: list[Any | None] = self._ask(request, lambda org: org.post("composite/batch", {"batchRequests": parts}))
        return found

    def rows(
        self, queries: Sequence[str], *, what: str, deleted_too: bool = False, divisible: bool = False
    ) -> Iterator[Any]:
        """Yield the rows of short queries, up to 25 of which go in one request.

        QueryTimeout if that is too much at once. If our own deadline passes, only if `divisible`.
        """
        for start in range(0, len(queries), BATCHED):
            some = queries[start : start + BATCHED]
            if len(some) == 1:
                firsts = [self.query(some[0], what=what, deleted_too=deleted_too, divisible=divisible)]
            else:
                firsts = self.batch([query_path(query, deleted_too=deleted_too) for query in some], what=what)
            for page in firsts:
                yield from self.all(page, what=what)

    def all(self, page: Any, *, what: str) -> Iterator[Any]:
        """Return the rows of a query's first page and of all further pages."""
        return kept(page, lambda url: self.more(url, what=what))

    @property
    def may_be_down(self) -> bool:
        """Whether another time-out would count as an outage. A small request that is served shows that it is none."""
        return self._timeouts >= TRIES - 1

    @contextmanager
    def isolating(self) -> Iterator[None]:
        """Try each request of this thread only once, while a culprit is searched.

        It waits first, as long as the failed request before it was to wait.
        """
        before, self._further.isolates = self._isolates, True
        try:
            yield
        finally:
            self._further.isolates = before

    @property
    def _isolates(self) -> bool:
        return getattr(self._further, "isolates", False)

    def limits(self) -> Any | None:
        """Return the org's limits, {DailyApiRequests: {Max, Remaining}, …}. None if the user may not read them."""
        return self._ask(Request("limits", tolerated=UNTOLD), lambda org: org.get("limits"))

    def objects(self) -> Any:
        """Return {sobjects: [{name, custom, queryable, …}, …]}, all objects that the user sees (Describe Global)."""
        return self._ask(Request("objects"), lambda org: org.get("sobjects"))

    def check_quota(self) -> None:
        """Raise Unavailable, with a pause of an hour, if only the reserve of the day's calls is left."""
        store, reserve = self._context.store, self._config.quota_reserve
        if self.usage is None and store.get("quota_low"):
            # Requested first. Otherwise each pass would read the same one stream before it learns of the quota.
            self.learn_usage()
        usage = self.usage
        if usage is None:
            return
        low = usage.total - usage.used < reserve * usage.total
        if low != bool(store.get("quota_low")):
            store.put("quota_low", low)
        if not low:
            return
        raise Unavailable(
            f"Salesforce: of the org's {usage.total} API calls of 24 hours {usage.used} are used, and "
            f"quota_reserve {reserve:g} leaves the rest to others",
            hint="syncd continues as calls expire. See who uses them (Setup > System Overview), or lower quota_reserve",
            pause_until=self._context.now() + timedelta(seconds=HOUR_S),
        )

    def learn_usage(self) -> None:
        """Ask for the org's limits, and take the usage from them unless a header names it."""
        limits = self.limits()
        most, left = (dig(limits, "DailyApiRequests", name) for name in ("Max", "Remaining"))
        if self.usage is None and isinstance(most, int) and isinstance(left, int):
            self.usage = Usage(most - left, most)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            wire, self._wire, self._org = self._wire, None, None
        if wire is not None:
            wire.close()

    def _ask(self, request: Request, send: Send, rows: TriedSize | None = None) -> Any:
        request = replace(request, divisible=request.divisible and not self.may_be_down)

        def once(attempt: int) -> Any | Failure:
            org = self._signed_in()
            self._context.sleep(0)  # signing in may have taken a whole deadline: check for a stop
            outcome = self._send_once(request, org, send, attempt)
            if self._config.signs_in and isinstance(outcome, Failure) and isinstance(outcome.error, Expired):
                self._forget(org)
                outcome = self._send_once(request, self._signed_in(), send, attempt, fresh=True)
            if rows is not None and isinstance(outcome, Failure) and isinstance(outcome.error, (NotServed, TooSlow)):
                rows.failed(timed_out=isinstance(outcome.error, TooSlow))
            return outcome

        try:
            return self._with_retries(once)
        except TooSlow:
            self._timeouts += 1
            raise
        except Unavailable:
            if rows is not None:
                rows.gave_up()
            raise

    def _send_once(
        self, request: Request, org: "OrgConnection", send: Send, attempt: int, *, fresh: bool = False
    ) -> Any | Failure:
        return interpret(request, self._send(lambda: send(org)), replace(self._attempt(attempt), fresh=fresh))

    def _with_retries(self, once: Callable[[int], Any | Failure]) -> Any:
        """Return the result of `once`, which gets the attempt's number. Raises its error once retries are exhausted."""
        attempt = 0
        while True:
            attempt += 1
            wait_s = max(0.0, self._resume_at - self._monotonic()) if self._isolates else 0.0
            self._context.sleep(wait_s)  # raises Stopped if the pass is to end, before each request
            began = self._monotonic()
            outcome = once(attempt)
            if not isinstance(outcome, Failure):
                self._retries.record_success()
                self._timeouts = 0
                return outcome
            if self._retries.exhausted(outcome, attempt=attempt, began=began) or self._isolates:
                self._resume_at = self._monotonic() + (outcome.wait_s or 0.0)
                raise outcome.given_up(self._context.now())
            self._context.sleep(outcome.wait_s or 0.0)

    def _signed_in(self) -> "OrgConnection":
        """Return the signed-in org. Of several threads, the first signs in for all."""
        with self._lock:
            if self._org is not None:
                return self._org
            mine = self._signing is None
            signing = self._signing = self._signing or Future()
        if mine:
            self._sign_in(signing)
        return signing.result()

    def _sign_in(self, signing: "Future[OrgConnection]") -> None:
        try:
            session = signin.configured(self._config) or self._with_retries(self._ask_for_session)
            org = self._connected().org(session, self._config.api_version)
        except BaseException as error:  # noqa: BLE001 - raised again in each waiting thread
            with self._lock:
                self._signing = None
            signing.set_exception(error)
        else:
            with self._lock:
                self._org, self._signing = org, None
            signing.set_result(org)

    def _forget(self, org: "OrgConnection") -> None:
        """Make the next request sign in again, unless another thread has done so since."""
        with self._lock:
            if self._org is org:
                self._org = None

    def _ask_for_session(self, attempt: int) -> Session | Failure:
        asked = signin.token_request(self._config, self.server_now())
        answer = self._send(lambda: self._connected().token(asked))
        return signin.interpret(self._config, asked, answer, self._attempt(attempt))

    def _send(self, send: Callable[[], Response]) -> Response | TransportError:
        spacing_s = self._clock.spacing_s()
        if spacing_s:  # Salesforce's clock is in doubt: its next Date can resolve it
            self._context.sleep(spacing_s)
        local_start, began = self._context.now(), self._monotonic()
        try:
            answer = send()
        except TransportError as lost:
            return lost
        with self._lock:
            self._learn(answer, local_start=local_start, elapsed_s=self._monotonic() - began)
        return answer

    def _connected(self) -> "Wire":
        with self._lock:
            if self._wire is None:
                from connectors.salesforce.wire import Wire  # costs 0.4 s and 48 MB
                from syncd.http.tls import Trust

                place = f"sources.{self._context.source}"
                trust = Trust("Salesforce", f"{place}.login_url", f"{place}.ca_file", self._config.ca_file)
                self._wire = Wire(trust=trust, timeout_s=self._config.timeout.total_seconds())
            return self._wire

    def _learn(self, answer: Response, *, local_start: datetime, elapsed_s: float) -> None:
        """Learn Salesforce's clock and the org's use of calls from an answer's headers."""
        self._clock.learn(answer.headers, local_start=local_start, elapsed_s=elapsed_s)
        used = USED.search(answer.headers.get("sforce-limit-info", ""))
        if used is not None:
            self.usage = Usage(int(used[1]), int(used[2]))

    def _attempt(self, attempt: int) -> Attempt:
        return Attempt(
            number=attempt,
            now=self.server_now(),
            jitter=random.random(),  # spreads retries, guards nothing
            version=self._config.api_version,
            renews=self._config.signs_in,
        )


def query_path(soql: str, *, deleted_too: bool = False) -> str:
    """Return the path of a query as a part of a batch."""
    return f"{'queryAll' if deleted_too else 'query'}?q={quote(soql)}"
