"""The HTTP rim that all stand-ins share: HTTP/1.1 keep-alive on loopback, faults, and the control endpoint."""

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
LOG_LINES = 1000  # enough for a test to look back, bounded for a bench
POLL_S = 0.01  # how long `stop` waits for the accepting loop to notice
STOP_S = 1.0  # how long `stop` waits for connections to close
HANDSHAKE_S = 5.0  # how long a client may take over TLS, in its own thread
DRIP_S = 0.05  # between two bytes of a drip, so that no single read of a client's lasts long
DRIP_BYTES = 1_000_000_000  # that a drip promises: nobody is to see its end


@dataclass(slots=True)
class Request:
    """What a client asked."""

    method: str
    path: str  # without the query
    query: dict[str, list[str]]
    headers: Message
    body: bytes
    target: str = ""  # path and query as they came

    def first(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]


@dataclass(slots=True)
class Response:
    """What goes back, and how much of it."""

    status: int
    body: Any = b""  # bytes and text go out as they are, anything else as JSON
    headers: dict[str, str] = field(default_factory=dict)
    deliver: str = "whole"  # or cut, close, reset, drip

    def encoded(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        text = self.body if isinstance(self.body, str) else json.dumps(self.body, separators=(",", ":"))
        return text.encode()


class StandIn:
    """What the stand-ins have in common; `answer` is theirs."""

    def __init__(self, *, clock: Clock | None = None, latency_s: float = 0.0, seed: int = 1) -> None:
        self.clock = clock or Clock()
        self.date: str | None = None  # served as Date instead of the clock's; empty: no Date at all
        self.date_skew_s = 0.0  # otherwise: how far Date is ahead of the clock, while timestamps are right
        self.latency_s = latency_s  # real time spent before each answer
        self.faults = Faults(seed)
        self.lock = threading.RLock()
        self.requests: Counter[str] = Counter()  # by kind
        self.log: deque[tuple[int, str, str, int]] = deque(maxlen=LOG_LINES)  # index, kind, path, status (0: none sent)
        self.on_request: Callable[[int, str], None] | None = None  # told index (from 0) and kind before each answer
        self._index = 0

    def kind(self, request: Request) -> str:
        """Name the endpoint that a request is for."""
        raise NotImplementedError

    def answer(self, request: Request) -> Response:
        """Do what the request asks."""
        raise NotImplementedError

    def orders(self) -> dict[str, Callable[..., Any]]:
        """Return what the control endpoint offers, by name."""
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
        """Serve another Date than the clock's: `text` as it is (empty: none), one that is off, one that stands still.

        Without arguments: the clock's again.
        """
        self.date, self.date_skew_s = text, skew_s
        self.date = self.served_date() if frozen else text

    def served_date(self) -> str:
        """Return the Date of a response made now; empty for none."""
        return formatdate(self.clock.ms() / 1000 + self.date_skew_s, usegmt=True) if self.date is None else self.date

    def respond(self, request: Request) -> Response:
        """Answer one request, faults and latency included."""
        if request.path == CONTROL:
            return self._control(request)
        kind = self.kind(request)
        with self.lock:
            index, self._index = self._index, self._index + 1
            self.requests[kind] += 1
        if self.on_request is not None:
            self.on_request(index, kind)
        asked = unquote_plus(request.target.partition("?")[2])
        fault = self.faults.choose(request.method, request.path, asked)
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
        """Obey one order, or a list of them; a wrong one is a 400 that says why."""
        try:
            orders = json.loads(request.body)
            results = [self._obey(order) for order in (orders if isinstance(orders, list) else [orders])]
            return Response(200, json.dumps(results if isinstance(orders, list) else results[0]))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with an order, its author wants to read it
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
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = parse_qs(split.query, keep_blank_values=True) if split.query else {}
        if self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            self._send(Response(411, "a stand-in reads bodies with a Content-Length only"))
        else:
            request = Request(self.command, split.path, query, self.headers, body, self.path)
            self._send(self.server.stand_in.respond(request))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _send(self, answer: Response) -> None:
        """Write head and body at once, or as much of them as the answer says."""
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
        if reset:  # a linger of 0 makes close() send an RST; every file on the socket must go first
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.wfile.close()
            self.connection.close()
            raise ConnectionAbortedError("reset on order")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the stand-in keeps its own log."""


class Server(ThreadingHTTPServer):
    """One stand-in on one loopback port, over TLS when there is a context for it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, stand_in: StandIn, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.stand_in = stand_in
        self.tls = tls
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, args=(POLL_S,), daemon=True).start()

    def stop(self) -> None:
        """Stop serving, hang up on everybody and wait shortly until all sockets are closed."""
        self.stand_in.faults.clear()
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            _quietly(socket.socket.shutdown, connection, socket.SHUT_RDWR)  # a TLS socket's own would break its thread
        give_up = time.monotonic() + STOP_S
        while self._open and time.monotonic() < give_up:
            time.sleep(0.001)

    def server_bind(self) -> None:
        # HTTPServer would ask DNS for its own name here, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self.tls is not None:  # the handshake waits for the connection's own thread: it may take long or never come
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is not None:
            request.settimeout(HANDSHAKE_S)
            request.do_handshake()
            request.settimeout(None)
        super().finish_request(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that went away is no news, nor is one that does not trust the certificate.
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError | TimeoutError):
            super().handle_error(request, client_address)


def _quietly(act: Callable[..., object], *arguments: Any) -> None:
    try:
        act(*arguments)
    except OSError:
        return
