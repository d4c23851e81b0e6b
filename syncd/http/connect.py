"""Connect to a host with several addresses. A dead address costs a quarter of a second, not the deadline.

After RFC 8305 (happy eyeballs): IPv6 and IPv4 alternate. The next address is tried in parallel as soon as an attempt
fails or STAGGER_S has passed. The first connection wins.
"""

import errno
import os
import selectors
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from itertools import chain, zip_longest
from typing import Any

STAGGER_S = 0.25  # RFC 8305, section 5: Connection Attempt Delay

Address = tuple[Any, ...]
Found = tuple[int, int, int, str, Address]  # as getaddrinfo returns it


def connect(
    host: str, port: int, timeout: float | None, *, options: Iterable[Any] = (), source: Address | None = None
) -> socket.socket:
    """Return a connection to `host` with `timeout` set.

    `timeout` (seconds) covers the look-up of the name and all addresses together. TimeoutError, socket.gaierror or
    another OSError if it fails. UnicodeError if `host` is invalid as a name.
    """
    ends_at = None if timeout is None else time.monotonic() + timeout
    addresses = in_turns(_resolve(host, port, timeout))
    connection = _first(addresses, ends_at, source)
    try:
        for option in options:
            connection.setsockopt(*option)
        connection.settimeout(timeout)
    except BaseException:
        connection.close()
        raise
    return connection


def in_turns(found: Sequence[Found]) -> list[Found]:
    """Return each address once, in the resolver's order, with the families alternating."""
    unique = list({(each[0], each[4]): each for each in found}.values())
    first = [each for each in unique if each[0] == unique[0][0]]
    others = [each for each in unique if each[0] != unique[0][0]]
    return [each for each in chain.from_iterable(zip_longest(first, others)) if each is not None]


def _resolve(host: str, port: int, timeout: float | None) -> list[Found]:
    """Ask the resolver. If it hangs, the thread is abandoned, because nothing can interrupt it."""
    if timeout is None or _is_address(host):
        return _ask(host, port)
    found: list[list[Found] | Exception] = []

    def ask() -> None:
        try:
            found.append(_ask(host, port))
        except Exception as error:  # noqa: BLE001 - raised below, in the waiting thread
            found.append(error)

    thread = threading.Thread(target=ask, name="resolve", daemon=True)
    thread.start()
    thread.join(timeout)
    if not found:
        raise TimeoutError("the resolver did not answer")
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def _ask(host: str, port: int) -> list[Found]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _is_address(host: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(host))
    return False


def _first(addresses: Sequence[Found], ends_at: float | None, source: Address | None) -> socket.socket:
    """Return the first connection that succeeds. Raise the last error if none does."""
    waiting = list(addresses)
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "the name has no address")
    with selectors.DefaultSelector() as under_way:
        try:
            while waiting or under_way.get_map():
                if waiting:
                    failure = _begin(waiting.pop(0), source, under_way) or failure
                if not under_way.get_map():
                    continue
                for key, _ in under_way.select(_wait_s(ends_at, more=bool(waiting))):
                    connection: socket.socket = key.fileobj  # type: ignore[assignment]
                    code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    under_way.unregister(connection)
                    if code == 0:
                        return connection
                    connection.close()
                    failure = OSError(code, os.strerror(code))
            raise failure
        finally:
            for key in list(under_way.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]


def _begin(address: Found, source: Address | None, under_way: selectors.BaseSelector) -> OSError | None:
    """Start to connect. Return the error if that fails at once, e.g. without IPv6."""
    family, kind, protocol, _, place = address
    try:
        connection = socket.socket(family, kind, protocol)
    except OSError as error:
        return error
    try:
        connection.setblocking(False)
        if source:
            connection.bind(source)
        code = connection.connect_ex(place)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        under_way.register(connection, selectors.EVENT_WRITE)
    except OSError as error:
        connection.close()
        return error
    return None


def _wait_s(ends_at: float | None, *, more: bool) -> float | None:
    """Return the seconds to wait before the next attempt starts. TimeoutError past the deadline."""
    left = None if ends_at is None else ends_at - time.monotonic()
    if left is not None and left <= 0:
        raise TimeoutError("no connection before the deadline")
    if not more:
        return left
    return STAGGER_S if left is None else min(STAGGER_S, left)
