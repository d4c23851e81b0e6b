"""Give a whole HTTP exchange of httpx one deadline, even if a server sends byte by byte.

httpx bounds each read, so a server that sends a byte now and then holds a request for ever. Here each read and write
gets the time that is left until the calling thread's deadline.
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx
from httpcore._backends.sync import SyncStream

from syncd.errors import Malformed
from syncd.http import bodies
from syncd.http.connect import connect
from syncd.http.proxies import Proxy

NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

_local = threading.local()


@contextmanager
def within(seconds: float, *, at_most: int | None = None) -> Iterator[None]:
    """Limit everything that this thread sends and receives in the block to `seconds` in all.

    Malformed if it receives more than `at_most` bytes, headers included.
    """
    _local.at, _local.bytes_left = time.monotonic() + seconds, at_most
    try:
        yield
    finally:
        _local.at = _local.bytes_left = None


def _left(timeout: float | None, error: type[Exception]) -> float | None:
    at: float | None = getattr(_local, "at", None)
    if at is None:
        return timeout
    left = at - time.monotonic()
    if left <= 0:
        raise error("the deadline has passed")
    return left if timeout is None else min(timeout, left)


def _counted(received: bytes) -> bytes:
    left: int | None = getattr(_local, "bytes_left", None)
    if left is not None:
        _local.bytes_left = left - len(received)
        if left < len(received):
            raise Malformed("the response exceeds what HTTP's headers and chunks may take", hint=bodies.ODD_HINT)
    return received


class Transport(httpx.HTTPTransport):
    """httpx's transport over streams that obey the deadline of `within`. `trust` comes from syncd.http.tls."""

    def __init__(self, *, limits: httpx.Limits, trust: ssl.SSLContext, proxy: Proxy | None = None) -> None:
        through = httpx.Proxy(proxy.url, headers=dict(proxy.headers)) if proxy else None
        super().__init__(limits=limits, proxy=through, verify=trust, trust_env=False)
        # httpx has no public way to set a network backend. httpcore, which it wraps, has one.
        self._pool._network_backend = _Backend()


class _Backend(httpcore.NetworkBackend):
    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:  # fmt: skip
        """Share the time that is left among all addresses. The standard library gives each address all of it."""
        left = _left(timeout, httpcore.ConnectTimeout)
        source = None if local_address is None else (local_address, 0)
        try:
            connection = connect(host, port, left, options=(*(socket_options or ()), NO_DELAY), source=source)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("no connection before the deadline") from error
        except (OSError, UnicodeError) as error:  # UnicodeError: invalid as a name
            raise httpcore.ConnectError("no connection") from error
        return _Stream(SyncStream(connection))


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return _counted(self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout, httpcore.ConnectTimeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
