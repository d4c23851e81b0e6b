"""A server that answers as a test scripts it, byte by byte if need be, plain or over TLS."""

import ssl
import time
from collections.abc import Callable
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

Answering = Callable[[Any, str], None]  # told the writable end and the request's head


class Scripted(ThreadingTCPServer):
    """Answers every request, and keeps what it was asked; with `trust`, over TLS."""

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
        """A client that hangs up on a drip is what we want."""


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
    """The whole answer at once; in a header's name `_` stands for `-`."""
    content = body.encode() if isinstance(body, str) else body
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{lines}\r\n".encode()
    return lambda wire, _: wire.write(head + content)


def drip(head: bytes, text: bytes) -> Answering:
    """Send a byte every 50 ms, for 20 s: no single read would ever time out."""

    def answer(wire: Any, _: str) -> None:
        wire.write(head)
        for number in range(400):
            wire.write(text[number % len(text) :][:1])
            time.sleep(0.05)

    return answer
