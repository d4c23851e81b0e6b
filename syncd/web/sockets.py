"""Open the sockets of the status page. It needs no package of the extra `web`."""

import errno
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from syncd.errors import ConfigError, Problem
from syncd.types.listen import Address

BACKLOG = 64
ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # e.g. ::1 for localhost on a machine without IPv6
HINTS = {
    errno.EADDRINUSE: "another program listens there: stop it, or choose another port",
    errno.EACCES: "syncd's user may not listen there: choose a port above 1023",
    errno.EADDRNOTAVAIL: "this machine has no such address: choose one of its own, e.g. 127.0.0.1",
}


def listening(address: Address) -> list[socket.socket]:
    """Return sockets that listen on `address`, one for each of this machine's addresses that its name stands for.

    ConfigError with the remedy if one of them is in use, or if there is none. Then nothing listens.
    """
    opened: list[socket.socket] = []
    try:
        absent = [error for place in _places(address) if (error := _open(*place, opened))]
        if not opened:
            raise absent[0]
    except OSError as error:
        for each in opened:
            each.close()
        hint = HINTS.get(error.errno or 0, "choose another address, e.g. 127.0.0.1:8321")
        message = f"cannot listen on {address}: {error.strerror or error}"
        raise ConfigError([Problem("web.listen", message, hint)]) from error
    return opened


def _places(address: Address) -> Iterable[tuple[int, Any]]:
    """Return the family and the address of each socket. OSError if the name is unknown."""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return dict.fromkeys((family, place) for family, _, _, _, place in found)


def _open(family: int, place: Any, opened: list[socket.socket]) -> OSError | None:
    """Add a socket that listens on `place`. Return the error if this machine lacks the address."""
    try:
        with ExitStack() as on_error:
            made = on_error.enter_context(socket.socket(family, socket.SOCK_STREAM))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(place)
            made.listen(BACKLOG)
            on_error.pop_all()
    except OSError as error:
        if error.errno in ABSENT:
            return error
        raise
    opened.append(made)
    return None


__all__ = ["listening"]
