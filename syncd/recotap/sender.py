"""All HTTP to Recotap: POST a batch, check the key, or look for accounts."""

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

import httpx

from syncd import __version__
from syncd.connector import Finding
from syncd.errors import Exit, Malformed, Unauthorized, Unavailable
from syncd.http import bodies, httpx_deadline, proxies
from syncd.http.response import retry_after
from syncd.http.server_clock import ServerClock
from syncd.http.tls import Trust
from syncd.recotap import responses
from syncd.recotap.responses import BatchResult

BATCH = 50  # activities in one POST at most (vendor's page, 2026-04)
PATH = "/sales-activities"
ACCOUNTS = "/accounts?limit=1"  # the vendor's way to test a key
DOMAINS = "/accounts?domains="  # a JSON array, at most 100 (vendor's page)
MOST_DOMAINS = 100
PAGES = "/accounts?limit=100"  # and `cursor`, the nextCursor of the page before
MOST_PAGES = 50
URL_HINT = "recotap.base_url should end in /api/v1, e.g. https://eapi.recotap.com/api/v1"
REACH = "compare recotap.base_url, and let this machine reach it (DNS, proxy, firewall)"
NOT_RECOTAP = "something else answers in Recotap's place: compare recotap.base_url, and look for a proxy"
OUTAGE = "try again later. If it lasts, ask Recotap's support"
BUSY = "try again when no pass is running"
KEY_HINT = "generating a new key invalidates the old one: put the new one where recotap.api_key points"
LEAST_S = 0.5  # of the deadline for a probe after a POST that was refused late
BUSY_S = 1.0  # before another try, if Recotap does not say how long
PROXY_LOGIN = 407  # answered by a proxy, never by Recotap
LATE = "its deadline was over before it could be sent"
# Nothing was sent: the connection, the proxy's tunnel or TLS failed.
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
MOST_BYTES = bodies.RECOTAP_MOST  # unpacked, of a response
RAW_MOST = bodies.HEAD_MOST + bodies.FRAMED * MOST_BYTES  # of all that comes in one exchange


class Withheld(Exception):
    """A POST did not leave, because the sender may no longer send."""


class Sender:
    """POST batches to Recotap. Safe for several threads. Never retries."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        timeout_s: float,
        concurrency: int,
        now: Callable[[], datetime],
        ca_file: str = "",
        transport: httpx.BaseTransport | None = None,
        may_leave: Callable[[], bool] = lambda: True,
    ) -> None:
        """Make no request yet. ConfigError if the CA file or the environment's proxy is invalid.

        `may_leave` is asked in the POST's thread, on an open connection, right before the activities leave.
        """
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        self.timeout_s = timeout_s  # the deadline of a request
        self._now = now
        self._may_leave = may_leave
        self.clock = ServerClock(now)  # Recotap's
        self._base_url = base_url.rstrip("/")
        self._urls: dict[str, httpx.URL] = {}  # by path, because httpx parses a text at each request
        self.host = urlsplit(base_url).netloc.rpartition("@")[2]  # with its port, if the URL names one
        self._trust = Trust("Recotap", "recotap.base_url", "recotap.ca_file", ca_file)
        self._proxy = None if transport else proxies.proxy_for(base_url)
        self._client = httpx.Client(
            headers={
                "X-Api-Key": api_key,
                "User-Agent": f"syncd/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
            },
            timeout=timeout_s,
            limits=limits,
            trust_env=False,
            transport=transport
            or httpx_deadline.Transport(limits=limits, trust=self._trust.context(base_url), proxy=self._proxy),
        )

    def post(self, sent: Sequence[tuple[str, str]], *, late_s: float = 0.0) -> BatchResult:
        """POST (externalActivityId, JSON object) pairs, at most BATCH. Returns every failure, raises none.

        `late_s` of its deadline have passed since its intent.
        """
        until = time.monotonic() + self.timeout_s - late_s
        if late_s >= self.timeout_s:
            return BatchResult("unreachable", LATE)
        content = '{"activities":[' + ",".join(body for _, body in sent) + "]}"
        try:
            response, body = self._exchange("POST", PATH, content.encode(), within_s=self.timeout_s - late_s)
        except Withheld:
            return BatchResult("withheld")
        except UNSENT as error:
            reason, hint = self._unreachable(error)
            return BatchResult("unreachable", reason, hint=hint)
        except httpx.HTTPError as error:
            return BatchResult("down", _reason(error), stored=True)
        except Malformed as error:
            return BatchResult("down", error.message, stored=True)
        if response.status_code == PROXY_LOGIN and self._proxy:
            return BatchResult("unreachable", self._proxy.refusal(PROXY_LOGIN), hint=self._proxy.hint)
        ids = [name for name, _ in sent]
        result = responses.read(response.status_code, response.headers, body, ids, now=self.clock.now())
        if result.outcome in ("unauthorized", "blocked"):  # within the deadline of the POST
            left_s = max(until - time.monotonic(), LEAST_S)
            return responses.confirmed(result, self.probe(within_s=left_s))
        return result

    def probe(self, *, within_s: float | None = None) -> BatchResult:
        """Make the smallest request, `GET /accounts?limit=1`, and return its result. Raises nothing.

        "answered": Recotap is there and accepts the key. `within_s` replaces the deadline of a request.
        """
        try:
            response, body = self._exchange("GET", ACCOUNTS, None, within_s=within_s)
        except httpx.HTTPError as error:
            reason, hint = self._unreachable(error)
            return BatchResult("unreachable", reason, hint=hint)
        except Malformed as error:
            return BatchResult("down", error.message)
        if response.status_code == PROXY_LOGIN and self._proxy:
            return BatchResult("unreachable", self._proxy.refusal(PROXY_LOGIN), hint=self._proxy.hint)
        return responses.read_probe(response.status_code, response.headers, body, now=self.clock.now())

    def ask_the_time(self) -> None:
        """Let `clock` learn Recotap's Date from any response. Without a response nothing changes."""
        with suppress(httpx.HTTPError, Malformed):
            self._exchange("GET", ACCOUNTS, None)

    def check(self, *, turn_s: float = 0.0, sleep: Callable[[float], None] = time.sleep) -> Finding:
        """Try the key and the base URL the vendor's own way: `GET /accounts?limit=1`.

        If Recotap asks for fewer requests (429), wait as long as it says and try again, for `turn_s` in all.
        """
        what = "recotap key"
        try:
            response, body = self._in_turn(ACCOUNTS, turn_s=turn_s, sleep=sleep)
        except httpx.HTTPError as error:
            reason, hint = self._unreachable(error)
            message = f"Recotap cannot be reached: {reason}"
            return Finding(what, False, message, hint or REACH, exit_code=Exit.UNAVAILABLE)
        except Malformed as error:
            message = f"Recotap's answer cannot be read: {error.message}"
            return Finding(what, False, message, error.hint, exit_code=Exit.UNAVAILABLE)
        status = response.status_code
        if status == PROXY_LOGIN and self._proxy:
            message = f"Recotap cannot be reached: {self._proxy.refusal(status)}"
            return Finding(what, False, message, self._proxy.hint, exit_code=Exit.UNAVAILABLE)
        if responses.read_probe(status, response.headers, body, now=self._now()).outcome == "unauthorized":
            return Finding(what, False, f"refused (HTTP {status})", KEY_HINT, exit_code=Exit.UNAUTHORIZED)
        if status in (404, 405) or 300 <= status < 400:
            return Finding(what, False, f"wrong base URL (HTTP {status})", URL_HINT, exit_code=Exit.CONFIG)
        if status == 429:
            message = "Recotap asks for fewer requests at the moment (HTTP 429)"
            return Finding(what, False, message, BUSY, exit_code=Exit.UNAVAILABLE)
        if status != 200 or not responses.is_envelope(body):
            message = f"HTTP {status}, and not Recotap's answer"
            return Finding(what, False, message, _hint_of(status), exit_code=Exit.UNAVAILABLE)
        return Finding(what, True, "accepted")

    def accounts(
        self, domains: Sequence[str], *, turn_s: float = 0.0, sleep: Callable[[float], None] = time.sleep
    ) -> set[str]:
        """Return those of `domains`, at most MOST_DOMAINS, of which Recotap has an account.

        Unauthorized if it refuses the key, Unavailable if it gives no list. `turn_s` is as in `check`.
        """
        query = quote(json.dumps([*domains], separators=(",", ":")))
        page = self._account_page(f"{DOMAINS}{query}", turn_s=turn_s, sleep=sleep)
        if page.next_cursor is not None and len(domains) > 1:  # its pages are shorter than the list
            half = len(domains) // 2
            parts = (self.accounts(part, turn_s=turn_s, sleep=sleep) for part in (domains[:half], domains[half:]))
            return set().union(*parts)
        return page.domains & set(domains)

    def all_accounts(self, *, turn_s: float = 0.0, sleep: Callable[[float], None] = time.sleep) -> Iterator[set[str]]:
        """Yield the domains of Recotap's accounts, at most MOST_PAGES pages. It raises as `accounts`."""
        path, before = PAGES, set[str]()
        for _ in range(MOST_PAGES):
            page = self._account_page(path, turn_s=turn_s, sleep=sleep)
            if page.domains == before:  # a server that ignores `cursor` gives the same page again
                return
            yield page.domains
            if page.next_cursor is None:
                return
            path, before = f"{PAGES}&cursor={quote(page.next_cursor, safe='')}", page.domains

    def _account_page(self, path: str, *, turn_s: float, sleep: Callable[[float], None]) -> responses.AccountPage:
        try:
            response, body = self._in_turn(path, turn_s=turn_s, sleep=sleep)
        except httpx.HTTPError as error:
            reason, hint = self._unreachable(error)
            raise Unavailable(f"Recotap cannot be reached: {reason}", hint=hint or REACH) from None
        if response.status_code == 401:
            raise Unauthorized("Recotap refuses the key (HTTP 401)", hint=KEY_HINT)
        page = responses.account_page(body) if response.status_code == 200 else None
        if page is None:
            status = response.status_code
            raise Unavailable(f"HTTP {status}, and no list of accounts", hint=_hint_of(status))
        return page

    def _in_turn(self, path: str, *, turn_s: float, sleep: Callable[[float], None]) -> tuple[httpx.Response, bytes]:
        """Return the response to a GET. If it is a 429, wait as long as it says and try again, for `turn_s` in all."""
        while True:
            response, body = self._exchange("GET", path, None)
            wait_s = max(retry_after(response.headers, now=self.clock.now()) or 0.0, BUSY_S)
            if response.status_code != 429 or wait_s > turn_s:
                return response, body
            turn_s -= wait_s
            sleep(wait_s)

    def _exchange(
        self, method: str, path: str, content: bytes | None, *, within_s: float | None = None
    ) -> tuple[httpx.Response, bytes]:
        """Return a response and its unpacked body. Malformed if the body of a 2xx exceeds MOST_BYTES."""
        headers, stream = {}, None
        if content is not None:
            headers = {"Content-Type": "application/json", "Content-Length": str(len(content))}
            stream = self._leaving(content)
        url = self._urls.get(path) or self._urls.setdefault(path, httpx.URL(self._base_url + path))
        local_start, began = self._now(), time.monotonic()
        with (
            httpx_deadline.within(within_s or self.timeout_s, at_most=RAW_MOST),
            self._client.stream(method, url, content=stream, headers=headers) as response,
        ):
            self.clock.learn(response.headers, local_start=local_start, elapsed_s=time.monotonic() - began)
            assert isinstance(response.stream, httpx.SyncByteStream)
            try:
                most = bodies.bound(response.status_code, MOST_BYTES)
                return response, bodies.gather(response.stream, response.headers, most=most)
            except Malformed:
                if bodies.is_good(response.status_code):
                    raise
                return response, b""  # the status alone decides

    def _leaving(self, content: bytes) -> Iterator[bytes]:
        """Yield the content when the connection takes it. Withheld instead, which ends the connection."""
        if not self._may_leave():
            raise Withheld
        yield content

    def _unreachable(self, error: httpx.HTTPError) -> tuple[str, str]:
        """Return the reason of a transport error, and the remedy, or "" if there is none."""
        distrust = self._trust.distrust(error)
        if distrust:
            return distrust.message, distrust.hint
        if self._proxy and isinstance(error, httpx.ProxyError):
            status = re.match(r"\d{3}\b", str(error))
            return self._proxy.refusal(int(status[0]) if status else 0), self._proxy.hint
        if self._proxy and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return "no connection to or through the proxy", self._proxy.hint
        return _reason(error), ""

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _hint_of(status: int) -> str:
    """Return the remedy for a response that is not the expected one."""
    if status == 429:
        return BUSY
    if status == 403:
        return responses.FIREWALL_HINT
    return OUTAGE if status >= 500 else NOT_RECOTAP


def _reason(error: httpx.HTTPError) -> str:
    """Return the name of a transport error without its text, which may repeat the request."""
    names = {
        httpx.ConnectTimeout: "no connection within the deadline",
        httpx.ReadTimeout: "no answer within the deadline",
        httpx.WriteTimeout: "the request was not taken within the deadline",
        httpx.ConnectError: "no connection",
        httpx.RemoteProtocolError: "the connection was cut",
        httpx.ReadError: "the connection was cut",
        httpx.WriteError: "the connection was cut",
    }
    return next((text for kind, text in names.items() if isinstance(error, kind)), type(error).__name__)
