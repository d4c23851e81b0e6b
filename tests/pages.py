"""The status page under test: a server on a free port, and a client that sends exactly what a test says."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser

from syncd.errors import ConfigError
from syncd.web import serving
from syncd.web.server import Page
from tests.world import World


@dataclass(frozen=True)
class Got:
    """A response."""

    status: int
    headers: dict[str, str]  # by name in lower case
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def words(self) -> str:
        """Return the text of an HTML page as a reader sees it, with single spaces."""
        return " ".join(" ".join(_Words.of(self.text)).split())


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._is_style = False

    @classmethod
    def of(cls, text: str) -> list[str]:
        parser = cls()
        parser.feed(text)
        return parser.found

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._is_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._is_style = False

    def handle_data(self, data: str) -> None:
        if not self._is_style:
            self.found.append(data)


class Client:
    """Ask a page at 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(self, path: str = "/", *, method: str = "GET", host: str | None = "", **headers: str) -> Got:
        """Send a request. `host` "" is the right one, None sends none. `headers`: _ is written as -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if host is not None:
                connection.putheader("Host", host or f"127.0.0.1:{self.port}")
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            got = connection.getresponse()
            return Got(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        finally:
            connection.close()


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def served(world: World, *, host: str = "127.0.0.1", **web: str) -> Iterator[tuple[Page, Client]]:
    """Serve the page of a world's ledger in this process."""
    with ExitStack() as stack:
        page, port = _begun(world, host, stack, **web)
        yield page, Client(port)


def _begun(world: World, host: str, stack: ExitStack, **web: str) -> tuple[Page, int]:
    """Return a page that is served, and its port. Another test may take a free port first."""
    for last in (False, False, True):
        port = free_port()
        world.configure("web", listen=f"{host}:{port}", **web)
        try:
            page = stack.enter_context(serving(world.config()))
        except ConfigError:
            if last:
                raise
        else:
            assert page
            return page, port
    raise AssertionError
