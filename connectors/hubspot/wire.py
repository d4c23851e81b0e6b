"""HubSpot's SDK, steered: the one module that imports it and urllib3, when the first request is made.

Five things that hubspot-api-client 12.0.0 (its newest, 2025-05) does not do are done here:
- dated paths: it knows /crm/v3 and /crm/v4 only, which end in 2027 (HubSpot changelog, 2026);
- one connection pool: each `client.crm.…` access builds another (api_factory shares ours);
- raw bodies: its models cost 20 times the CPU of json.loads (measured, 200 rows);
- a deadline over the whole answer: urllib3's read timeout starts anew with every byte;
- the proxy that the environment names (HTTPS_PROXY, NO_PROXY).

urllib3 2.6.0 breaks the SDK (no getheader; issue HubSpot/hubspot-api-python#460): >=2.6.1,<3.
"""

import io
import re
import time
from collections.abc import Callable
from functools import cached_property
from http.client import HTTPResponse
from importlib.metadata import version
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from hubspot import HubSpot as Sdk
from hubspot.crm import objects
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from connectors.hubspot.retry import Answer, Lost
from syncd import proxies

PROXY = "the environment's HTTPS_PROXY (http_proxy for plain http) and NO_PROXY"
UNDATED = re.compile(r"^/crm/v\d/(objects|associations|owners)(?=/|$)")


class Wire:
    """Requests to one portal over one pool; to make it and every method may raise Lost."""

    def __init__(self, *, base_url: str, token: str, api_version: str, timeout_s: float) -> None:
        configuration = objects.Configuration()
        configuration.host = base_url
        configuration.access_token = token
        configuration.connection_pool_maxsize = 4  # one searches while others hydrate
        # Our policy decides (retry.py). A redirect is never followed: it would carry the token elsewhere.
        configuration.retries = urllib3.Retry(0, redirect=False)
        try:
            configuration.proxy, configuration.proxy_headers = proxy_for(base_url)
            self._client = _Client(configuration, api_version=api_version, timeout_s=timeout_s)
        except ValueError:  # urllib3's too; without the text, which may hold a password
            raise Lost("the proxy's address is none that can be used", hint=f"check {PROXY}", again=False) from None
        self._version = api_version
        self._timeout_s = timeout_s
        self._proxied = bool(configuration.proxy)
        self._sdk = Sdk(access_token=token, api_factory=lambda package, name, _: getattr(package, name)(self._client))

    def search(self, object_type: str, body: dict[str, Any]) -> Answer:
        return self._send(lambda: self._search.do_search(object_type, body))

    def batch_read(self, object_type: str, body: dict[str, Any]) -> Answer:
        return self._send(lambda: self._batch.read(object_type, body))

    def associations(self, from_type: str, to_type: str, body: dict[str, Any]) -> Answer:
        return self._send(lambda: self._associations.get_page(from_type, to_type, body))

    def owners(self, **query: Any) -> Answer:
        return self._send(lambda: self._owners.get_page(**query))

    def get(self, path: str) -> Answer:
        """Ask for what the SDK has no method for; over the same pool, unlike its api_request."""
        path = path.format(version=self._version)
        header = {"Accept": "application/json"}
        return self._send(lambda: self._client.call_api(path, "GET", None, [], header, auth_settings=["oauth2"]))

    def close(self) -> None:
        """Let go of the connection."""
        self._client.rest_client.pool_manager.clear()
        self._client.close()

    @cached_property
    def _search(self) -> Any:
        return self._sdk.crm.objects.search_api

    @cached_property
    def _batch(self) -> Any:
        return self._sdk.crm.objects.batch_api

    @cached_property
    def _associations(self) -> Any:
        return self._sdk.crm.associations.v4.batch_api

    @cached_property
    def _owners(self) -> Any:
        return self._sdk.crm.owners.owners_api

    def _send(self, request: Callable[[], Any]) -> Answer:
        try:
            answer: Answer = request()
        except (HTTPError, OSError) as error:
            raise self._lost(error) from None  # its text holds the whole address
        return answer

    def _lost(self, error: Exception) -> Lost:
        cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        if isinstance(cause, LocationValueError):
            which = "base_url or the proxy" if self._proxied else "base_url"
            hint = "base_url must be an address such as https://api.hubapi.com"
            return Lost(
                f"{which} is not an address", hint=f"{hint}; check {PROXY}" if self._proxied else hint, again=False
            )
        if isinstance(cause, ProxyError) or "Tunnel connection failed" in str(cause):
            status = re.search(r"Tunnel connection failed: (\d{3})", str(cause))
            return Lost(f"no way through the proxy{f' ({status[1]})' if status else ''}", hint=f"check {PROXY}")
        if isinstance(cause, NameResolutionError):
            return Lost("the name of base_url cannot be resolved", hint="check base_url, DNS and the network")
        if isinstance(cause, NewConnectionError):
            return Lost("no connection", hint="check base_url, the network and firewalls")
        if isinstance(cause, ConnectTimeoutError | ReadTimeoutError | TimeoutError):
            return Lost(f"no whole answer within {self._timeout_s:g} s", hint="see https://status.hubspot.com")
        if isinstance(cause, SSLError):
            return Lost("the TLS connection failed", hint="is a proxy in between whose certificate is not trusted?")
        return Lost(
            f"the connection broke ({type(cause).__name__})", hint="see https://status.hubspot.com, and the network"
        )


def dated(path: str, api_version: str) -> str:
    """Turn the SDK's path into that of a dated version, without the trailing slash of its owners path."""
    return UNDATED.sub(rf"/crm/\1/{api_version}", path).rstrip("/")


def proxy_for(base_url: str) -> tuple[str | None, dict[str, str] | None]:
    """Return the proxy that the environment names for `base_url`, and the headers that it wants; ValueError if odd."""
    written = proxies.proxy_for(base_url)
    if written is None:
        return None, None
    proxy = urlsplit(written)
    if proxy.username is None:
        return proxy.geturl(), None
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    bare = proxy._replace(netloc=proxy.netloc.rpartition("@")[2])
    return bare.geturl(), dict(urllib3.make_headers(proxy_basic_auth=login))


class _Client(objects.ApiClient):  # type: ignore[misc]  # the SDK is published without types
    """The SDK's client with dated paths, a deadline, and answers as they come, whatever their status."""

    def __init__(self, configuration: Any, *, api_version: str, timeout_s: float) -> None:
        super().__init__(configuration)
        self._api_version = api_version
        self._timeout_s = timeout_s
        self.user_agent = f"syncd hubspot-api-client-python; {version('hubspot-api-client')}"
        self.set_default_header("Accept-Encoding", "gzip")
        self.rest_client.pool_manager.pool_classes_by_scheme = {"http": _Http, "https": _Https}

    def sanitize_for_serialization(self, obj: Any) -> Any:
        """Leave bodies and queries as they are: ours are plain JSON, and the SDK's walk of 1,000 inputs costs 3 ms."""
        return obj

    def call_api(self, resource_path: str, method: str, *args: Any, **kwargs: Any) -> Any:
        kwargs.update(_preload_content=False, _request_timeout=self._timeout_s)
        return super().call_api(dated(resource_path, self._api_version), method, *args, **kwargs)

    def request(self, *args: Any, **kwargs: Any) -> Answer:
        try:
            response = super().request(*args, **kwargs)
        except objects.ApiException as error:
            return _answer(error.status, error.headers, error.body)
        return _answer(response.status, response.headers, response.data)


def _answer(status: int, headers: Any, body: bytes | None) -> Answer:
    return Answer(status, {name.lower(): value for name, value in headers.items()}, body or b"")


class _Deadline(io.RawIOBase):
    """A socket's bytes, all of which must come before the deadline, however they trickle."""

    def __init__(self, sock: Any, raw: Any) -> None:
        self._sock = sock
        self._raw = raw
        self._ends_at = time.monotonic() + sock.gettimeout()  # what urllib3 has left of the request's total

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._ends_at - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._sock.settimeout(left_s)
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Deadline(sock, self.fp.detach()))


class _HttpConnection(HTTPConnection):
    response_class = _Response


class _HttpsConnection(HTTPSConnection):
    response_class = _Response


class _Http(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _Https(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
