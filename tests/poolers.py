"""A stand-in for a pooler's door: it refuses or drops the start-up options, and passes the rest on."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

PROTOCOL = 3 << 16  # of the start-up message. A request for TLS has another number

Accept = Callable[[socket.socket], None]


@contextmanager
def served(answer: Accept) -> Iterator[int]:
    """Answer each connection to a port of loopback in a thread. Yields the port."""
    threads = []

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads.append(threading.Thread(target=accept, args=(listener,), daemon=True))
        threads[0].start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(5)


def pooler(server: tuple[str, int], *, drops: bool) -> Accept:
    """Return what answers a connection to `server`: it drops the options, as told to ignore them, or refuses them."""

    def answer(client: socket.socket) -> None:
        with client, suppress(OSError):
            words = start_up(client)
            if "options" in words and not drops:
                client.sendall(error("FATAL", "08P01", "unsupported startup parameter: options"))
                return
            kept = {name: value for name, value in words.items() if name != "options"}
            with socket.create_connection(server) as behind:
                behind.sendall(_message(kept))
                back = threading.Thread(target=_pass, args=(behind, client), daemon=True)
                back.start()
                _pass(client, behind)
                back.join(5)

    return answer


def start_up(client: socket.socket) -> dict[str, str]:
    """Read the start-up message of a client, after any request for TLS, and return its parameters."""
    while True:
        length, number = struct.unpack("!II", client.recv(8, socket.MSG_WAITALL))
        body = client.recv(length - 8, socket.MSG_WAITALL) if length > 8 else b""
        if number == PROTOCOL:
            words = [word.decode() for word in body.rstrip(b"\0").split(b"\0")]
            return dict(zip(words[::2], words[1::2], strict=True))
        client.sendall(b"N")


def error(severity: str, state: str, text: str) -> bytes:
    """Return the message by which a server refuses a connection."""
    fields = b"".join(f"{field}\0".encode() for field in (f"S{severity}", "VFATAL", f"C{state}", f"M{text}", ""))
    return b"E" + struct.pack("!I", len(fields) + 4) + fields


def _message(words: dict[str, str]) -> bytes:
    body = struct.pack("!I", PROTOCOL) + b"".join(f"{word}\0".encode() for pair in words.items() for word in pair)
    return struct.pack("!I", len(body) + 5) + body + b"\0"


def _pass(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while some := source.recv(65536):
            target.sendall(some)
        target.shutdown(socket.SHUT_WR)
