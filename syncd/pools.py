"""Connections of urllib3, which vendors' SDKs stand on, whose whole answers meet one deadline.

urllib3's read timeout starts anew with every byte that comes: a server that drips holds
a request for ever. Give `POOLS` to a PoolManager as `pool_classes_by_scheme`, and a
request a total timeout; what goes wrong then, `lost` says in our words. Only connectors
whose SDK is built on urllib3 import this.
"""

import io
import re
import time
from http.client import HTTPResponse
from typing import Any

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

from syncd.exchange import Lost

PROXY = "the environment's HTTPS_PROXY (http_proxy for plain http) and NO_PROXY"


def lost(error: Exception, *, address: str, proxied: bool, timeout_s: float, status_page: str) -> Lost:
    """Say why no answer came, without the error's own text, which holds the whole address.

    `address` is the configuration's key that the request went to, e.g. base_url.
    """
    cause = _cause(error)
    if isinstance(cause, LocationValueError):
        which = f"{address} or the proxy" if proxied else address
        hint = f"{address} must be an address such as https://host"
        return Lost(f"{which} is not an address", hint=f"{hint}; check {PROXY}" if proxied else hint, again=False)
    if isinstance(cause, ProxyError) or "Tunnel connection failed" in str(cause):
        status = re.search(r"Tunnel connection failed: (\d{3})", str(cause))
        return Lost(f"no way through the proxy{f' ({status[1]})' if status else ''}", hint=f"check {PROXY}")
    if isinstance(cause, NameResolutionError):
        return Lost(f"the name of {address} cannot be resolved", hint=f"check {address}, DNS and the network")
    if isinstance(cause, NewConnectionError):
        return Lost("no connection", hint=f"check {address}, the network and firewalls")
    if isinstance(cause, ConnectTimeoutError | ReadTimeoutError | TimeoutError):
        timed_out = not isinstance(cause, ConnectTimeoutError)
        return Lost(f"no whole answer within {timeout_s:g} s", hint=f"see {status_page}", timed_out=timed_out)
    if isinstance(cause, SSLError):
        return Lost("the TLS connection failed", hint="is a proxy in between whose certificate is not trusted?")
    return Lost(f"the connection broke ({type(cause).__name__})", hint=f"see {status_page}, and the network")


def _cause(error: Exception) -> Exception:
    """Return urllib3's own error, out of those of its that carry it and of requests', which wrap it."""
    wrapped = error.args[0] if error.args else None
    if isinstance(error, MaxRetryError) and error.reason:
        return _cause(error.reason)
    return _cause(wrapped) if isinstance(wrapped, HTTPError) else error


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


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


POOLS = {"http": Pool, "https": SecurePool}
