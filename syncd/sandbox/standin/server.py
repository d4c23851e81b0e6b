"""The HTTP server of all stand-ins: HTTP/1.1 keep-alive on loopback, faults, and the control endpoint."""

import json
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

from syncd.sandbox.standin.clock import Clock
from syncd.sandbox.standin.faults import Fault, Faults

CONTROL = "/_sandbox"
LOG_LINES = 1000  # enough for a test, bounded for a benchmark
POLL_S = 0.01  # how often the accepting loop checks for a stop
STOP_S = 1.0  # how long `stop` waits for connections to close
HANDSHAKE_S = 5.0  # time limit of a TLS handshake, in the connection's own thread
DRIP_S = 0.05  # between two bytes of a drip, so that no single read by a client takes long
DRIP_BYTES = 1_000_000  # Content-Length of a drip, which never ends; below the bounds that clients have


@dataclass(slots=True)
class Request:
    """A client's request."""

    method: str
    path: str  # without the query
    query: dict[str, list[str]]
    headers: Message
    body: bytes
    target: str = ""  # path and query, unchanged
    client: int = 0  # the port of its connection

    def first(self, name: str, default: str = "") -> str:
        """Return the first value of a query parameter."""
        return self.query.get(name, [default])[0]


@dataclass(slots=True)
class Response:
    """A response, and how much of it is delivered."""

    status: int
    body: Any = b""  # bytes and text are sent unchanged, anything else as JSON
    headers: dict[str, str] = field(default_factory=dict)
    deliver: str = "whole"  # or cut, close, reset, drip

    def encoded(self) -> bytes:
        """Return the body as bytes."""
        if isinstance(self.body, bytes):
            return self.body
        text = self.body if isinstance(self.body, str) else json.dumps(self.body, separators=(",", ":"))
        return text.encode()


class StandIn:
    """The base class of the stand-ins, which implement `kind` and `answer`."""

    def __init__(self, *, clock: Clock | None = None, latency_s: float = 0.0, seed: int = 1) -> None:
        self.clock = clock or Clock()
        self.date: str | None = None  # the Date header instead of the clock's; empty: no Date header
        self.date_skew_s = 0.0  # otherwise: how far Date is ahead of the clock, while timestamps are correct
        self.latency_s = latency_s  # real time before each response
        self.faults = Faults(seed)
        self.lock = threading.RLock()
        self.requests: Counter[str] = Counter()  # by kind
        self.log: deque[tuple[int, str, str, int]] = deque(maxlen=LOG_LINES)  # index, kind, path, status (0: none sent)
        self.on_request: Callable[[int, str], None] | None = (
            None  # called with index (from 0) and kind before each response
        )
        self._index = 0

    def kind(self, request: Request) -> str:
        """Return the name of the request's endpoint, for counters and logs."""
        raise NotImplementedError

    def answer(self, request: Request) -> Response:
        """Process the request."""
        raise NotImplementedError

    def orders(self) -> dict[str, Callable[..., Any]]:
        """Return the orders of the control endpoint, by name."""
        return {
            "fault": lambda name="answer", **changes: self.faults.add(name, **changes) and None,
            "clear_faults": self.faults.clear,
            "release": self.faults.release,
            "clock": self._set_clock,
            "date": self.set_date,
            "latency": lambda seconds: setattr(self, "latency_s", seconds),
            "requests": lambda: {"total": self._index, "by_kind": dict(self.requests), "last": list(self.log)},
        }

    def set_date(self, text: str | None = None, *, skew_s: float = 0.0, frozen: bool = False) -> None:
        """Replace the Date header: by `text` (empty: no header), by a skewed time, or by a frozen one.

        Without arguments, the clock's time is served again.
        """
        self.date, self.date_skew_s = text, skew_s
        self.date = self.served_date() if frozen else text

    def served_date(self) -> str:
        """Return the Date header of a response now, or an empty text for no header."""
        return formatdate(self.clock.ms() / 1000 + self.date_skew_s, usegmt=True) if self.date is None else self.date

    def respond(self, request: Request) -> Response:
        """Respond to one request, with faults and latency."""
        if request.path == CONTROL:
            return self._control(request)
        kind = self.kind(request)
        with self.lock:
            index, self._index = self._index, self._index + 1
            self.requests[kind] += 1
        if self.on_request is not None:
            self.on_request(index, kind)
        asked = unquote_plus(request.target.partition("?")[2])
        fault = self.faults.choose(request.method, request.path, asked, request=request)
        answer = self.answer(request) if fault is None or fault.works_first else Response(503)
        if fault is not None:
            answer = self._spoil(answer, fault)
        if self.latency_s:
            time.sleep(self.latency_s)
        self.log.append((index, kind, request.path, 0 if answer.deliver in ("close", "reset") else answer.status))
        return answer

    def _spoil(self, answer: Response, fault: Fault) -> Response:
        if fault.action == "answer":
            return Response(fault.status, fault.body, dict(fault.headers))
        if fault.action == "drip":
            return Response(200, deliver="drip")
        if fault.action == "cut_json":
            whole = answer.encoded()
            return Response(answer.status, whole[: len(whole) // 2], answer.headers)
        if fault.action in ("hang", "slow"):
            self.faults.wait(fault.seconds)
        if fault.action != "slow":
            answer.deliver = "close" if fault.action == "hang" else fault.action
        return answer

    def _set_clock(self, offset_s: float | None = None, advance_s: float = 0.0) -> dict[str, Any]:
        self.clock.offset_s = (self.clock.offset_s if offset_s is None else offset_s) + advance_s
        return {"offset_s": self.clock.offset_s, "now_ms": self.clock.ms()}

    def _control(self, request: Request) -> Response:
        """Obey one order, or a list of them. An invalid order gets a 400 with the reason."""
        try:
            orders = json.loads(request.body)
            results = [self._obey(order) for order in (orders if isinstance(orders, list) else [orders])]
            return Response(200, json.dumps(results if isinstance(orders, list) else results[0]))
        except Exception as error:  # noqa: BLE001 - the author of an order needs to read any error
            return Response(400, {"error": f"{type(error).__name__}: {error}"})

    def _obey(self, order: dict[str, Any]) -> Any:
        arguments = dict(order)
        what = arguments.pop("do")
        offered = self.orders()
        if what not in offered:
            raise ValueError(f"no such order: {what!r}, expected one of {', '.join(sorted(offered))}")
        result = offered[what](**arguments)
        return {"ok": True} if result is None else result


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def _serve(self) -> None:
        split = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client has hung up before its request was whole
            self.close_connection = True
            return
        query = parse_qs(split.query, keep_blank_values=True) if split.query else {}
        if self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            self._send(Response(411, "a stand-in reads bodies with a Content-Length only"))
        else:
            request = Request(self.command, split.path, query, self.headers, body, self.path, self.client_address[1])
            self._send(self.server.stand_in.respond(request))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _send(self, answer: Response) -> None:
        """Write head and body in one call, or the part of them that `deliver` allows."""
        if answer.deliver in ("close", "reset"):
            self._hang_up(reset=answer.deliver == "reset")
            return
        body = answer.encoded()
        reason = HTTPStatus(answer.status).phrase if answer.status in HTTPStatus._value2member_map_ else "Other"
        date = self.server.stand_in.served_date()
        headers = {
            **({"Date": date} if date else {}),
            "Content-Type": "application/json;charset=utf-8",
            **answer.headers,
            "Content-Length": str(DRIP_BYTES if answer.deliver == "drip" else len(body)),
        }
        if self.close_connection:
            headers["Connection"] = "close"
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        sent = body[: len(body) // 2] if answer.deliver == "cut" else body
        self.wfile.write(f"HTTP/1.1 {answer.status} {reason}\r\n{head}\r\n".encode("latin-1") + sent)
        if answer.deliver == "drip":
            for _ in self.server.stand_in.faults.until_released(DRIP_S):
                self.wfile.write(b" ")
        if answer.deliver in ("cut", "drip"):
            self._hang_up(reset=False)

    def _hang_up(self, *, reset: bool) -> None:
        self.close_connection = True
        if reset:  # a linger of 0 makes close() send an RST, if every file on the socket is closed first
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.wfile.close()
            self.connection.close()
            raise ConnectionAbortedError("reset on order")

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing, because the stand-in keeps its own log."""


class Server(ThreadingHTTPServer):
    """One stand-in on one loopback port, over TLS if a context is given."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, stand_in: StandIn, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.stand_in = stand_in
        self.tls = tls
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """Return the base URL."""
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        """Serve in a daemon thread."""
        threading.Thread(target=self.serve_forever, args=(POLL_S,), daemon=True).start()

    def stop(self) -> None:
        """Stop serving, close all connections, and wait up to STOP_S until their sockets are closed."""
        self.stand_in.faults.clear()
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            _quietly(
                socket.socket.shutdown, connection, socket.SHUT_RDWR
            )  # shutdown() of a TLS socket would break its thread
        give_up = time.monotonic() + STOP_S
        while self._open and time.monotonic() < give_up:
            time.sleep(0.001)

    def server_bind(self) -> None:
        """Bind without the DNS look-up of HTTPServer, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection."""
        connection, address = super().get_request()
        if self.tls is not None:  # the connection's own thread does the handshake, which may take long or never happen
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Do the TLS handshake, then handle the connection."""
        if self.tls is not None:
            request.settimeout(HANDSHAKE_S)
            request.do_handshake()
            request.settimeout(None)
        super().finish_request(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle the connection in a thread, and remember its socket for `stop`."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close the connection."""
        super().shutdown_request(request)
        self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect or distrust the certificate. Other errors are printed."""
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError | TimeoutError):
            super().handle_error(request, client_address)


def _quietly(act: Callable[..., object], *arguments: Any) -> None:
    try:
        act(*arguments)
    except OSError:
        return
