"""A whole HTTP exchange ends within its deadline with any server. Real sockets on loopback."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpcore
import httpx
import pytest

from syncd.errors import Malformed
from syncd.http import bodies, httpx_deadline
from syncd.http.tls import Trust
from tests.loopback import request, served

NOBODY = Trust("Recotap", "recotap.base_url", "recotap.ca_file")
SHORT = 0.4  # seconds given
SLACK = 3.0  # seconds that a busy machine may take longer; what drips below would drip for 10
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    limits = httpx.Limits(max_connections=8, max_keepalive_connections=8)
    trust = NOBODY.context("http:")
    with httpx.Client(transport=httpx_deadline.Transport(limits=limits, trust=trust), timeout=30.0) as client:
        yield client


@contextmanager
def ends_in(seconds: float) -> Iterator[None]:
    before = time.monotonic()
    yield
    assert time.monotonic() - before < seconds + SLACK


def drip(connection: socket.socket, text: bytes) -> None:
    for byte in text:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def test_a_server_that_drips_its_headers_is_left_at_the_deadline(client):
    def serve(connection):
        request(connection)
        drip(connection, b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 200)

    with served(serve) as server, ends_in(SHORT), pytest.raises(httpx.ReadTimeout), httpx_deadline.within(SHORT):
        client.get(server.url)


def test_a_server_that_drips_its_body_is_left_at_the_deadline(client):
    def serve(connection):
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n")
        drip(connection, b"x" * 200)

    with served(serve) as server, ends_in(SHORT), pytest.raises(httpx.ReadTimeout), httpx_deadline.within(SHORT):
        client.get(server.url)


def test_a_server_that_drips_is_waited_for_while_the_deadline_lasts(client):
    def serve(connection):
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        drip(connection, b"slow")

    with served(serve) as server, httpx_deadline.within(5.0):
        assert client.get(server.url).text == "slow"


def test_more_bytes_than_allowed_name_what_may_have_answered(client):
    def serve(connection):
        request(connection)
        connection.sendall(OK)

    with served(serve) as server, httpx_deadline.within(5.0, at_most=len(OK)):
        assert client.get(server.url).text == "ok"
    with served(serve) as server, httpx_deadline.within(5.0, at_most=len(OK) - 1), pytest.raises(Malformed) as raised:
        client.get(server.url)
    assert (raised.value.exit_code, raised.value.hint) == (69, bodies.ODD_HINT)


def test_a_server_that_says_nothing_is_left_at_the_deadline(client):
    with (
        served(lambda connection: request(connection) and connection.recv(1)) as server,
        ends_in(SHORT), pytest.raises(httpx.ReadTimeout), httpx_deadline.within(SHORT),
    ):  # fmt: skip
        client.get(server.url)


def test_a_server_that_takes_nothing_is_left_at_the_deadline(client):
    content = b"x" * 50_000_000  # more than the sockets' buffers hold
    with (
        served(lambda connection: time.sleep(2 * SHORT)) as server,
        ends_in(SHORT), pytest.raises(httpx.WriteTimeout), httpx_deadline.within(SHORT),
    ):  # fmt: skip
        client.post(server.url, content=content)


@pytest.fixture
def blackhole() -> Iterator[int]:
    """A port whose backlog is full: it neither accepts nor refuses connections."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        yield listener.getsockname()[1]
        for filler in fillers:
            filler.close()


def test_a_connection_that_is_never_taken_is_left_at_the_deadline(client, blackhole):
    with ends_in(SHORT), pytest.raises(httpx.ConnectTimeout), httpx_deadline.within(SHORT):
        client.get(f"http://127.0.0.1:{blackhole}")


def test_a_name_of_several_addresses_gets_one_deadline_and_not_one_for_each(client, blackhole, monkeypatch):
    def resolve(*_, **__):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", blackhole)) for _ in range(5)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with ends_in(SHORT), pytest.raises(httpx.ConnectTimeout), httpx_deadline.within(SHORT):
        client.get("http://recotap.example")


def test_the_second_address_of_a_name_is_tried_when_the_first_refuses(client, monkeypatch):
    with served(lambda connection: request(connection) and connection.sendall(OK)) as server:
        real = socket.getaddrinfo

        def resolve(host, port, *rest, **named):
            if host != "recotap.example":
                return real(host, port, *rest, **named)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port)) for n in (9, 1)]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with httpx_deadline.within(5.0):
            assert client.get(f"http://recotap.example:{server.port}").text == "ok"


def test_a_name_that_nobody_knows_is_no_connection(client, monkeypatch):
    for error in (socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        with pytest.raises(httpx.ConnectError):
            client.get("http://recotap.example")


def test_a_name_without_addresses_is_no_connection(client, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(httpx.ConnectError):
        client.get("http://recotap.example")


def test_a_port_that_refuses_is_no_connection(client):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(httpx.ConnectError), httpx_deadline.within(SHORT):
            client.get(f"http://127.0.0.1:{unused.getsockname()[1]}")


def test_a_tls_handshake_that_hangs_is_left_at_the_deadline(client):
    with (
        served(lambda connection: time.sleep(2 * SHORT)) as server,
        ends_in(SHORT), pytest.raises(httpx.ConnectTimeout), httpx_deadline.within(SHORT),
    ):  # fmt: skip
        client.get(f"https://127.0.0.1:{server.port}")


def test_a_server_that_speaks_no_tls_is_no_connection(client):
    with (
        served(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server,
        pytest.raises(httpx.ConnectError), httpx_deadline.within(5.0),
    ):  # fmt: skip
        client.get(f"https://127.0.0.1:{server.port}")


def test_after_tls_the_deadline_holds_too():
    """There is no certificate here, so this calls the stream directly: start_tls returns one with the deadline."""

    class Inner(httpcore.NetworkStream):
        asked: list[float | None] = []  # noqa: RUF012 - one test, one list

        def start_tls(self, ssl_context, server_hostname=None, timeout=None):
            self.asked.append(timeout)
            return self

        def read(self, max_bytes, timeout=None):
            self.asked.append(timeout)
            return b""

        def get_extra_info(self, info):
            return info.upper()

    inner = Inner()
    with httpx_deadline.within(10.0):
        stream = httpx_deadline._Stream(inner).start_tls(ssl.create_default_context(), "x", 30.0)
        stream.read(1, 5.0)
        stream.read(1, None)
    stream.read(1, 7.0)
    assert stream.get_extra_info("socket") == "SOCKET"
    assert inner.asked[0] == pytest.approx(10.0, abs=1.0)
    assert inner.asked[1] == 5.0
    assert inner.asked[2] == pytest.approx(10.0, abs=1.0)
    assert inner.asked[3] == 7.0


def echo(connection: socket.socket) -> None:
    while request(connection):
        connection.sendall(OK)


def test_a_normal_request_is_answered(client):
    with served(echo) as server, httpx_deadline.within(5.0):
        assert client.get(server.url).text == "ok"
        assert client.post(server.url, content=b"body").text == "ok"


def test_a_connection_is_used_again_by_the_next_requests(client):
    with served(echo) as server:
        for _ in range(5):
            with httpx_deadline.within(5.0):
                client.get(server.url)
        assert server.connections == 1


def test_a_connection_that_met_a_deadline_is_not_used_again(client):
    hung = threading.Event()

    def serve(connection):
        request(connection)
        if not hung.is_set():
            hung.set()
            connection.recv(1)
        else:
            connection.sendall(OK)

    with served(serve) as server:
        with pytest.raises(httpx.ReadTimeout), httpx_deadline.within(SHORT):
            client.get(server.url)
        with httpx_deadline.within(5.0):
            assert client.get(server.url).text == "ok"
        assert server.connections == 2


def test_without_a_deadline_httpx_keeps_its_own_times(client):
    with (
        served(lambda connection: request(connection) and connection.recv(1)) as server,
        ends_in(SHORT), pytest.raises(httpx.ReadTimeout),
    ):  # fmt: skip
        client.get(server.url, timeout=SHORT)


def test_a_deadline_ends_with_its_block_even_by_an_error():
    with pytest.raises(ZeroDivisionError), httpx_deadline.within(-1.0):
        raise ZeroDivisionError
    assert httpx_deadline._left(5.0, httpcore.ReadTimeout) == 5.0
    assert httpx_deadline._left(None, httpcore.ReadTimeout) is None


def test_past_the_deadline_nothing_is_begun():
    with httpx_deadline.within(0.0), pytest.raises(httpcore.ReadTimeout):
        httpx_deadline._left(5.0, httpcore.ReadTimeout)


def test_each_thread_has_a_deadline_of_its_own(client):
    ended: dict[float, float] = {}

    def ask(seconds: float) -> None:
        before = time.monotonic()
        with pytest.raises(httpx.ReadTimeout), httpx_deadline.within(seconds):
            client.get(server.url)
        ended[seconds] = time.monotonic() - before

    with served(lambda connection: request(connection) and connection.recv(1)) as server:
        threads = [threading.Thread(target=ask, args=(seconds,)) for seconds in (0.3, 0.5, 0.7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(ended) == {0.3, 0.5, 0.7}
    assert all(seconds <= took < seconds + SLACK for seconds, took in ended.items())
