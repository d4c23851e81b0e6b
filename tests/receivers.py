"""A receiver of alerts and heartbeats on loopback: an HTTP server that keeps each request, and fails on demand."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Keep what came. `status` is that of the answers, None to keep the sender waiting until the end."""

    def __init__(self) -> None:
        self.status: int | None = 200
        self.requests: list[tuple[str, str, bytes]] = []  # method, path, the head and the body as they came
        self._over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                receiver.requests.append((self.command, self.path, bytes(self.headers) + body))
                if receiver.status is None:
                    receiver._over.wait(60)
                    return
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = _answer

            def log_message(self, *arguments: Any) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def address(self) -> str:
        """Return its address for Apprise."""
        return f"json://127.0.0.1:{self.port}/alerts"

    @property
    def beat(self) -> str:
        """Return its address for a heartbeat."""
        return f"http://127.0.0.1:{self.port}/ping/canary-beat-41d5"

    @property
    def alerts(self) -> list[str]:
        """Return the titles of the alerts so far."""
        return [json.loads(raw[raw.index(b"{") :])["title"] for method, _, raw in self.requests if method == "POST"]

    @property
    def beats(self) -> list[str]:
        """Return the ends of the paths of the pings so far, "" for a success."""
        return [path.removeprefix("/ping/canary-beat-41d5") for method, path, _ in self.requests if method == "GET"]

    @property
    def said(self) -> bytes:
        """Return every byte that came."""
        return b"\n".join(f"{method} {path}".encode() + raw for method, path, raw in self.requests)

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()
