"""Decide who may ask for what, and send every response with the headers that keep it private."""

import asyncio
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syncd.types.listen import Address
from syncd.web.pace import Pace

log = structlog.get_logger()

PROBES = frozenset(("/livez", "/readyz"))  # a cluster's probe cannot hold a secret; they answer in one word
METHODS = ("GET", "HEAD")
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
WORDS = {
    HTTPStatus.MISDIRECTED_REQUEST: "the Host header is not the address in web.listen",
    HTTPStatus.METHOD_NOT_ALLOWED: "only GET and HEAD",
    HTTPStatus.UNAUTHORIZED: "send the header Authorization: Bearer TOKEN, with the token of web.token",
    HTTPStatus.SERVICE_UNAVAILABLE: "too many requests: try again in a second",
}
MORE_HEADERS = {
    HTTPStatus.METHOD_NOT_ALLOWED: {"allow": ", ".join(METHODS)},
    HTTPStatus.UNAUTHORIZED: {"www-authenticate": "Bearer"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"retry-after": "1"},
}


def policy(style_hash: str) -> dict[str, str]:
    """Return the headers of every response. `style_hash`: the only style that a browser may apply, as sha256-…."""
    allowed = f"style-src '{style_hash}'; img-src 'self'; form-action 'self'"
    return {
        "content-security-policy": f"default-src 'none'; {allowed}; base-uri 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "geolocation=(), camera=(), microphone=()",
        "connection": "close",  # see `connections.Impatient`
    }


@dataclass(frozen=True, slots=True)
class Access:
    """Judge requests by the configured address and the token. Pure."""

    address: Address
    token: str = ""  # "": none is needed

    def judge(self, method: str, path: str, hosts: list[str], authorization: str) -> HTTPStatus:
        """Return OK, or the status that refuses the request. The Host is judged first.

        A page of another site whose name leads here (DNS rebinding) sends its own name as Host.
        """
        if len(hosts) != 1 or not self._is_ours(hosts[0].lower()):
            return HTTPStatus.MISDIRECTED_REQUEST
        if method not in METHODS:
            return HTTPStatus.METHOD_NOT_ALLOWED
        if self.token and path not in PROBES and not self._is_known(authorization):
            return HTTPStatus.UNAUTHORIZED
        return HTTPStatus.OK

    def _is_ours(self, host: str) -> bool:
        """Tell whether a Host header names the address. If it stands for all addresses, any IP address does."""
        name, port = _split(host)
        if port != self.address.port:
            return False
        if self.address.is_wildcard:
            return _is_ip_address(name) or name == "localhost"
        if self.address.is_loopback and name in LOOPBACK:
            return True
        return host == str(self.address) or (port == 80 and name == str(self.address).rpartition(":")[0])

    def _is_known(self, authorization: str) -> bool:
        """Tell whether the header has the token. The time that it takes tells nothing about the token."""
        scheme, _, token = authorization.partition(" ")
        is_same = hmac.compare_digest(token.strip().encode(), self.token.encode())
        return scheme.lower() == "bearer" and is_same


class Guard:
    """Refuse requests that `Access` refuses, give each its turn, and add the headers of `policy`. ASGI.

    Those that are refused wait in a line of their own, so that no stranger can keep out those with the token. A bug in
    an answer is logged once, until another answer succeeds.
    """

    def __init__(self, app: ASGIApp, access: Access, headers: dict[str, str], new_pace: Callable[[], Pace]) -> None:
        self.access = access  # may be replaced while it serves
        self._app = app
        self._headers = headers
        self._pages, self._probes, self._refused = new_pace(), new_pace(), new_pace()
        self._has_failed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        sent = self._with_headers(send)
        status = await self._admit(scope)
        if status is HTTPStatus.OK:
            await self._answer(scope, receive, sent)
        else:
            await _refusal(status)(scope, receive, sent)

    async def _admit(self, scope: Scope) -> HTTPStatus:
        """Return OK when it is the request's turn, or the status that refuses it."""
        headers, path = Headers(scope=scope), scope["path"]
        status = self.access.judge(scope["method"], path, headers.getlist("host"), headers.get("authorization", ""))
        line = self._refused if status is not HTTPStatus.OK else self._probes if path in PROBES else self._pages
        wait_s = line.wait_s(time.monotonic())
        if wait_s is None:
            return HTTPStatus.SERVICE_UNAVAILABLE
        if wait_s:
            await asyncio.sleep(wait_s)
        return status

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
            self._has_failed = False
        except Exception as error:
            if not self._has_failed:
                self._has_failed = True
                log.error("web.bug", path=_known_path(scope["path"]), exc_info=error, hint="report it. Passes go on")

    def _with_headers(self, send: Send) -> Send:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        return sent


def _refusal(status: HTTPStatus) -> PlainTextResponse:
    return PlainTextResponse(f"{WORDS[status]}\n", status, headers=MORE_HEADERS.get(status))


def _known_path(path: str) -> str:
    """Return a path for the log. Another one may hold anything."""
    return path if path in ("/", "/activity", "/metrics", *PROBES) else "another"


def _split(host: str) -> tuple[str, int | None]:
    """Return the name of a Host header, an IPv6 address in brackets, and its port. None if that is no number."""
    name, colon, port = host.rpartition(":")
    if not colon or name.startswith("[") != name.endswith("]"):
        return host, 80
    return name, int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else None


def _is_ip_address(name: str) -> bool:
    try:
        return bool(ip_address(name.removeprefix("[").removesuffix("]")))
    except ValueError:
        return False


__all__ = ["PROBES", "Access", "Guard", "policy"]
