"""Give a whole HTTP exchange of urllib3 one deadline and bounds in bytes, for vendors' SDKs.

urllib3's read timeout starts again with every byte, so a server that sends a byte now and then holds a request for
ever. Pass `POOLS` to a PoolManager as `pool_classes_by_scheme`, and give each request a total timeout.
`transport_error` translates its exceptions. Only connectors whose SDK is built on urllib3 import this module.
"""

import io
import re
import socket
import sys
import time
from http.client import HTTPResponse
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    LocationValueError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
)
from urllib3.response import BaseHTTPResponse
from urllib3.response import HTTPResponse as UrllibResponse

from syncd.errors import Malformed
from syncd.http import bodies
from syncd.http.connect import connect
from syncd.http.proxies import Proxy
from syncd.http.response import TransportError
from syncd.http.tls import Trust

CHUNK = 64 * 1024  # bytes read at once
UNREAD = {"preload_content": False, "decode_content": False}


def transport_error(
    error: Exception, *, address: str, trust: Trust, proxy: Proxy | None, timeout_s: float, status_page: str
) -> TransportError:
    """Translate an exception of urllib3, without its text, which holds the whole URL.

    `address` is the configuration key of the request's address, e.g. base_url.
    """
    distrust = trust.distrust(error)
    if distrust:
        return TransportError(distrust.message, hint=distrust.hint, retryable=not distrust.lasts)
    cause = _cause(error)
    if isinstance(cause, LocationValueError):
        return TransportError(
            f"{address} is not an address", hint=f"{address} must be an address like https://host", retryable=False
        )
    if proxy and (isinstance(cause, ProxyError | NewConnectionError) or "Tunnel connection failed" in str(cause)):
        status = re.search(r"Tunnel connection failed: (\d{3})", str(cause))
        said = proxy.refusal(int(status[1])) if status else "no connection to the proxy"
        return TransportError(said, hint=proxy.hint)
    if proxy and isinstance(cause, ConnectTimeoutError):
        return TransportError(f"no connection to the proxy within {timeout_s:g} s", hint=proxy.hint)
    if isinstance(cause, NameResolutionError):
        return TransportError(f"the name of {address} cannot be resolved", hint=f"check {address}, DNS and the network")
    if isinstance(cause, NewConnectionError):
        return TransportError("no connection", hint=f"check {address}, the network and firewalls")
    if isinstance(cause, ConnectTimeoutError | ReadTimeoutError | TimeoutError):
        timed_out = not isinstance(cause, ConnectTimeoutError)
        return TransportError(
            f"no complete response within {timeout_s:g} s", hint=f"see {status_page}", timed_out=timed_out
        )
    broke = f"the connection broke ({type(cause).__name__})"
    return TransportError(broke, hint=f"see {status_page}, and check the network")


def _cause(error: Exception) -> Exception:
    """Return urllib3's innermost error. Others of urllib3 and of requests wrap it."""
    wrapped = error.args[0] if error.args else None
    if isinstance(error, MaxRetryError) and error.reason:
        return _cause(error.reason)
    return _cause(wrapped) if isinstance(wrapped, HTTPError) else error


class _Deadline(io.RawIOBase):
    """A socket's bytes, limited in number, all of which must come before one deadline."""

    def __init__(self, sock: Any, raw: Any) -> None:
        self._sock = sock
        self._raw = raw
        self.left = bodies.HEAD_MOST  # bytes; `_Response` allows more when the head has ended
        self._ends_at = time.monotonic() + sock.gettimeout()  # the rest of the request's total timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._ends_at - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._sock.settimeout(left_s)
        read: int | None = self._raw.readinto(buffer)
        self.left -= read or 0
        if self.left < 0:
            raise Malformed("the response exceeds what HTTP's headers and chunks may take", hint=bodies.ODD_HINT)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._raw = _Deadline(sock, self.fp.detach())
        self.fp = io.BufferedReader(self._raw)

    def begin(self) -> None:
        super().begin()
        self._raw.left = bodies.FRAMED * bodies.bound(self.status, bodies.PAGE_MOST)


class _Connecting(HTTPConnection):
    """A connection of urllib3 for which a dead address does not cost the whole timeout."""

    def _new_conn(self) -> socket.socket:
        try:
            timeout = float(self.timeout) if isinstance(self.timeout, (int, float)) else None
            made = connect(
                self._dns_host, self.port, timeout, options=self.socket_options or (), source=self.source_address
            )
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except UnicodeError:
            raise LocationParseError(self.host) from None
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "no connection before the deadline") from error
        except OSError as error:
            raise NewConnectionError(self, "no connection") from error
        sys.audit("http.client.connect", self, self.host, self.port)
        return made


class _Connection(_Connecting):
    response_class = _Response


class _SecureConnection(_Connecting, HTTPSConnection):
    response_class = _Response


class Pool(HTTPConnectionPool):
    """Plain connections with a deadline, whose responses have their whole body in memory."""

    ConnectionCls = _Connection

    def urlopen(self, *args: Any, **kwargs: Any) -> BaseHTTPResponse:
        return _whole(super().urlopen(*args, **{**kwargs, **UNREAD}))


class SecurePool(HTTPSConnectionPool):
    """The same with TLS."""

    ConnectionCls = _SecureConnection

    def urlopen(self, *args: Any, **kwargs: Any) -> BaseHTTPResponse:
        return _whole(super().urlopen(*args, **{**kwargs, **UNREAD}))


class _Whole(UrllibResponse):
    """A response whose body is in memory."""


def _whole(response: BaseHTTPResponse) -> BaseHTTPResponse:
    """Return the response with its unpacked body in memory. Malformed if the body of a 2xx exceeds a bound.

    With any other status the body is then left out, because the status decides. The SDKs read without a bound, so
    they never see the connection.
    """
    if isinstance(response, _Whole):  # urllib3 calls itself for a retry
        return response
    headers = response.headers.copy()
    try:
        body = bodies.gather(response.stream(CHUNK), headers, most=bodies.bound(response.status, bodies.PAGE_MOST))
    except BaseException as error:
        response.close()  # its rest must not be read as the next response
        if not isinstance(error, Malformed) or bodies.is_good(response.status):
            raise
        body = b""
    response.release_conn()
    for name in ("content-encoding", "content-length", "transfer-encoding"):
        headers.discard(name)
    answered = _Whole(io.BytesIO(body), headers, response.status, preload_content=False, reason=response.reason)
    answered.retries = response.retries  # urllib3 uses them to decide about redirects
    return answered


POOLS = {"http": Pool, "https": SecurePool}
