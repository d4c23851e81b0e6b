"""A server with scripted responses, byte by byte if necessary, with or without TLS."""

import ssl
import time
from collections.abc import Callable
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

Answering = Callable[[Any, str], None]  # called with the writable end and the request's head


class Scripted(ThreadingTCPServer):
    """Responds to every request and keeps the requests. With `trust` it uses TLS."""

    daemon_threads = True

    def __init__(self, answering: Answering, trust: ssl.SSLContext | None = None) -> None:
        self.answering = answering
        self.trust = trust
        self.connections = 0
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Requests)

    @property
    def url(self) -> str:
        return f"{'https' if self.trust else 'http'}://127.0.0.1:{self.server_address[1]}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.trust is None:
            super().finish_request(request, client_address)
            return
        with self.trust.wrap_socket(request, server_side=True) as secure:
            super().finish_request(secure, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore the error, because clients are expected to close a dripping connection."""


class _Requests(StreamRequestHandler):
    server: Scripted

    def handle(self) -> None:
        self.server.connections += 1
        while head := self._head():
            length = next(
                (int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:")), 0
            )
            self.server.bodies.append(self.rfile.read(length))
            self.server.heads.append(head)
            self.server.answering(self.wfile, head)

    def _head(self) -> str:
        lines = b""
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            lines += line
        return lines.decode()


def whole(body: str | bytes, *, status: str = "200 OK", **headers: str) -> Answering:
    """Send a complete response at once. In a header's name, `_` means `-`."""
    content = body.encode() if isinstance(body, str) else body
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{lines}\r\n".encode()
    return lambda wire, _: wire.write(head + content)


def drip(head: bytes, text: bytes) -> Answering:
    """Send a byte every 50 ms for 20 s, so that no single read times out."""

    def answer(wire: Any, _: str) -> None:
        wire.write(head)
        for number in range(400):
            wire.write(text[number % len(text) :][:1])
            time.sleep(0.05)

    return answer
