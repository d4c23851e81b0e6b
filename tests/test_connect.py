"""One connection to a host with several addresses, on loopback."""

import errno
import socket
import threading
import time

import pytest

from syncd.http import connect
from tests.loopback import request, served

V4, V6 = socket.AF_INET, socket.AF_INET6


def found(host: str, port: int = 80, family: int = V4) -> connect.Found:
    return (family, socket.SOCK_STREAM, 6, "", (host, port))


def test_the_families_take_turns_in_the_resolvers_order():
    a, b, c = (found(f"::{n}", family=V6) for n in "123")
    d, e = found("10.0.0.1"), found("10.0.0.2")
    assert connect.in_turns([a, b, a, c, d, e]) == [a, d, b, e, c]
    assert connect.in_turns([d, a]) == [d, a]
    assert connect.in_turns([]) == []


def resolving(monkeypatch, addresses):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)


def test_an_address_that_refuses_makes_room_for_the_next_at_once(monkeypatch):
    with served(lambda connection: request(connection)) as server:
        with monkeypatch.context() as patch:
            resolving(patch, [found("127.0.0.9", server.port), found("127.0.0.1", server.port)])
            began = time.monotonic()
            with connect.connect("crm.example", 80, 5.0) as connection:
                assert connection.getpeername() == ("127.0.0.1", server.port)
                assert connection.gettimeout() == 5.0
        assert time.monotonic() - began < connect.STAGGER_S


def test_a_family_that_this_machine_lacks_makes_room_too(monkeypatch):
    with served(lambda connection: request(connection)) as server, monkeypatch.context() as patch:
        resolving(patch, [(V6, socket.SOCK_STREAM, 6, "", ("no address", 1)), (99, 1, 6, "", ("a", 1)),
                          found("127.0.0.1", server.port)])  # fmt: skip
        connect.connect("crm.example", 80, 5.0).close()


def test_the_last_failure_is_told_if_all_fail(monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        resolving(monkeypatch, [found("127.0.0.1", unused.getsockname()[1])] * 2)
        with pytest.raises(ConnectionRefusedError):
            connect.connect("crm.example", 80, None)


def test_a_name_without_addresses_is_told(monkeypatch):
    resolving(monkeypatch, [])
    with pytest.raises(OSError, match="no address") as raised:
        connect.connect("crm.example", 80, 1.0)
    assert raised.value.errno == errno.EADDRNOTAVAIL


def test_a_resolver_that_hangs_does_not_outlast_the_timeout(monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(10))
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        connect.connect("crm.example", 80, 0.2)
    assert time.monotonic() - began < 3.0
    over.set()


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), UnicodeError("label too long")])
@pytest.mark.parametrize("timeout", [None, 5.0])
def test_the_resolvers_error_arrives(monkeypatch, error, timeout):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(type(error)):
        connect.connect("crm.example", 80, timeout)


def test_options_and_source_are_set():
    with served(lambda connection: request(connection)) as server:
        option = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connect.connect("127.0.0.1", server.port, 5.0, options=[option], source=("127.0.0.1", 0)) as connection:
            assert connection.getsockopt(*option[:2])
            assert connection.getsockname()[0] == "127.0.0.1"


def test_no_socket_is_left_open(monkeypatch):
    """A source address of another machine, and an option that does not exist."""
    with served(lambda connection: request(connection)) as server:
        with pytest.raises(OSError, match="assign"):
            connect.connect("127.0.0.1", server.port, 5.0, source=("203.0.113.1", 0))
        with pytest.raises(OSError, match="not available"):
            connect.connect("127.0.0.1", server.port, 5.0, options=[(socket.IPPROTO_TCP, 12345, 1)])
