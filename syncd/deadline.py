"""Bound a whole HTTP exchange in time, however slowly a server drips.

httpx bounds each read, so a server that sends a byte now and then holds a request for
ever. Here every read and write gets what is left until the calling thread's deadline.
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

_local = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give everything that this thread sends and receives in the block `seconds` in all."""
    _local.at = time.monotonic() + seconds
    try:
        yield
    finally:
        _local.at = None


def _left(timeout: float | None, error: type[Exception]) -> float | None:
    at: float | None = getattr(_local, "at", None)
    if at is None:
        return timeout
    left = at - time.monotonic()
    if left <= 0:
        raise error("the deadline has passed")
    return left if timeout is None else min(timeout, left)


def transport(base_url: str, *, limits: httpx.Limits, proxy: str | None = None) -> httpx.BaseTransport:
    """Return a transport that heeds `within`; for plain http it does not read the certificates, which takes 25 ms."""
    return Transport(limits=limits, proxy=proxy, verify=base_url.startswith("https:"))


class Transport(httpx.HTTPTransport):
    """httpx's own transport over streams that know the deadline."""

    def __init__(self, *, limits: httpx.Limits, proxy: str | None = None, verify: bool = True) -> None:
        super().__init__(limits=limits, proxy=proxy, verify=verify)
        # httpx has no public way to pass a network backend on; httpcore, which it wraps, has.
        self._pool._network_backend = _Backend(httpcore.SyncBackend())


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:  # fmt: skip
        """Try one address of `host` after another, each with its share: the standard library gives each the whole."""
        addresses = _addresses(host, port)
        for at, address in enumerate(addresses, 1):
            left = _left(timeout, httpcore.ConnectTimeout)
            share = None if left is None else left / (len(addresses) - at + 1)
            try:
                return _Stream(self._inner.connect_tcp(address, port, share, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if at == len(addresses):
                    raise
        raise httpcore.ConnectError("the name has no address")


def _addresses(host: str, port: int) -> list[str]:
    """Ask the resolver, whose own time-outs nothing here can shorten."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: no name that DNS could hold
        raise httpcore.ConnectError("the name cannot be resolved") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

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
