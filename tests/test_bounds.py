"""No response takes more than 200 MiB of memory. These tests use real sockets and a separate process."""

import gzip
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
import urllib3

from syncd.errors import Malformed
from syncd.http.bodies import ODD_HINT
from syncd.http.urllib3_deadline import POOLS
from tests.scripted import Scripted

ROOT = Path(__file__).parents[1]
MOST_MIB = 200
SERVERS = ("recotap", "hubspot", "salesforce")
MIB = 1024 * 1024
CHUNKED = "Transfer-Encoding: chunked"
BOUND = r"exceeds (1|16) MiB"
NOT_READ = rf"{BOUND}|exceeds what HTTP|the connection (broke|was cut)"
ENVELOPES = {"recotap": (b'{"data":{"x":', b"}}"), "hubspot": (b'{"results":[],"x":', b"}"),
             "salesforce": (b'{"done":true,"records":[],"x":', b"}")}  # fmt: skip

BAD_ANSWER = "(Malformed|Unavailable|Unserved|NotServed|Unparsable)"  # the types of error that tell of one


class Case(NamedTuple):
    """A response, and the expected end of its request: `said` for a good status, otherwise the status."""

    name: str
    head: list[str]
    parts: Iterable[bytes]
    said: str
    status: int = 200


@cache
def bomb() -> bytes:
    """Return 300 MiB of spaces in about 300 kB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(b" " * MIB) for _ in range(300)), packer.flush()])


def encoded(name: str) -> str:
    return f"Content-Encoding: {name}"


def cases(server: str) -> list[Case]:
    left, right = ENVELOPES[server]
    most = (1 if server == "recotap" else 16) * MIB
    room = most - len(left) - len(right) - 200
    twice = gzip.compress(bomb(), 9)
    whole = gzip.compress(left + b"1" + right)
    odd = "is encoded as"
    good = r"^0$|not Recotap's"
    return [
        Case("gzip bomb", [encoded("gzip")], [bomb()], BOUND),
        Case("gzip bomb in a 500", [encoded("gzip")], [bomb()], "500", 500),
        Case("gzip bomb in a 403", [encoded("gzip")], [bomb()], "403", 403),
        Case("gzip bomb in a 400", [encoded("gzip")], [bomb()], "400", 400),
        Case("gzip of gzip", [encoded("gzip, gzip")], [twice], odd),
        Case("gzip of gzip, in two lines", [encoded("gzip"), encoded("gzip")], [twice], odd),
        Case("deflate", [encoded("deflate")], [zlib.compress(b" " * 50 * MIB)], odd),
        Case("br", [encoded("br")], [b"\x1b" * 1000], odd),
        Case("zstd", [encoded("zstd")], [b"\x28\xb5\x2f\xfd" * 99], odd),
        Case("unknown encoding", [encoded("x-canary")], [b"{}"], odd),
        Case("gzip cut short", [encoded("gzip")], [whole[:-9]], "middle of its gzip"),
        Case("no gzip", [encoded("gzip")], [left + b"1" + right], "is not the gzip"),
        Case("gzip members without end", [encoded("gzip"), CHUNKED], chunks(repeat(gzip.compress(b"") * 3_000)), BOUND),
        Case("endless body", [CHUNKED], chunks(repeat(b" " * 65_536)), BOUND),
        Case("endless body of small chunks", [CHUNKED], chain([b"\r\n"], repeat(b"40\r\n%64d\r\n" % 0 * 1_000)), BOUND),
        Case("endless body in a 502", [CHUNKED], chunks(repeat(b" " * 65_536)), "502", 502),
        Case("endless body until the end", ["Connection: close"], repeat(b" " * 65_536), BOUND),
        Case("great length", ["Content-Length: 99999999999"], [b" "], BOUND),
        Case("endless header", ["X: "], repeat(b"x" * 65_536), NOT_READ),
        Case("endless headers", ["X: x"], repeat(b"A: b\r\n" * 10_000), NOT_READ),
        Case("endless chunk size", [CHUNKED], chain([b"\r\n"], repeat(b"0" * 65_536)), NOT_READ),
        Case("endless chunk extension", [CHUNKED], chain([b"\r\n1;x="], repeat(b"x" * 65_536)), NOT_READ),
        Case("endless trailer", [CHUNKED], chain([b"\r\n0\r\nX: "], repeat(b"x" * 65_536)), NOT_READ),
        Case("endless trailers", [CHUNKED], chain([b"\r\n0\r\n"], repeat(b"A: b\r\n" * 10_000)), NOT_READ),
        Case("endless 100s", ["continue"], repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000), NOT_READ, 100),
        Case("many values", [encoded("gzip")], [gzip.compress(b"[" + b"[]," * (room // 3) + b"1]")],
             "values|not Recotap's"),
        Case("many objects", [], [left + b"[" + b'{"a":1},' * min(249_000, room // 8) + b"1]" + right], good),
        Case("deep", [], [left + b"[" * min(room, 400_000)], "nests|not Recotap's"),
        Case("deep in a 400", [], [b"[" * 200_000], "400", 400),
        Case("deep in a 403", [], [b'{"a":' * 40_000], "403", 403),
        Case("long text", [], [left + b'"' + "🎉".encode() + b"x" * (room * 3 // 4) + b'"' + right], good),
        Case("halves of emojis", [], [left + b'"' + rb"\ud83d" * (room // 6) + "🎉".encode() + b'"' + right], good),
        Case("halves apart", [], [left + b'"' + rb"\ud83dab" * (room // 32) + b'"' + right], good),
        Case("numbers beyond a double", [], [left + b"[" + b"1e999," * min(400_000, room // 6) + b"1]" + right], good),
    ]  # fmt: skip


def chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    yield b"\r\n"
    for part in parts:
        yield b"%x\r\n%s\r\n" % (len(part), part)


def answer(case: Case, wire) -> None:
    wire.write(f"HTTP/1.1 {case.status} X\r\n".encode())
    ends = case.parts if isinstance(case.parts, list) else None
    if ends is None:  # the start of each part belongs to its head
        wire.write("\r\n".join(case.head).encode() + (b"\r\n" if CHUNKED in case.head else b""))
        if case.head == ["Connection: close"]:
            wire.write(b"\r\n\r\n")
    else:
        length = [] if any("Length" in line for line in case.head) else [f"Content-Length: {sum(map(len, ends))}"]
        wire.write("\r\n".join([*case.head, *length, "", ""]).encode())
    for part in case.parts:
        wire.write(part)


@contextmanager
def serving(some: list[Case], trust: ssl.SSLContext | None) -> Iterator[Scripted]:
    waiting, latest = iter(some), some[0]

    def respond(wire, head: str) -> None:
        nonlocal latest
        if "/accounts?limit=1" not in head:  # the probe after a 403 gets the same response again
            latest = next(waiting)
        answer(latest, wire)

    server = Scripted(respond, trust)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("server", SERVERS)
def test_no_response_costs_much_memory_or_goes_unexplained(server, tmp_path):
    trust = None
    ca_file = tmp_path / "ca.pem"
    if server == "salesforce":
        authority = trustme.CA()
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(trust)
        authority.cert_pem.write_to_path(str(ca_file))
    some = cases(server)
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environ |= {"TOKEN": "token-token", "SESSION": "00DDn0000000001!session", "PYTHONPATH": str(ROOT)}
    with serving(some, trust) as to:
        done = subprocess.run(
            [sys.executable, str(ROOT / "tests" / "bounded.py"), server, to.url, str(ca_file), str(len(some))],
            capture_output=True, text=True, env=environ, timeout=110, check=False,
        )  # fmt: skip
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(some), done.stderr
    for case, (said, peak_mib, _) in zip(some, told, strict=True):
        assert peak_mib < MOST_MIB, (case.name, said)
        _check(server, case, said)


def _check(server: str, case: Case, said: str) -> None:
    assert re.search(case.said, said), (case.name, said)
    assert "canary" not in said
    if case.status != 200 or said == "0":
        return
    if server == "recotap":
        assert said.startswith("down True: "), f"{case.name}: it may have been stored ({said})"
    else:
        assert re.match(
            r"(Malformed|Unavailable|Unserved|NotServed|Unparsable) 69: (HubSpot|Salesforce), calls", said
        ), (case.name, said)


def test_a_proxy_that_answers_connect_without_end_is_left(tmp_path):
    def proxy(wire, _head: str) -> None:
        wire.write(b"HTTP/1.0 200 OK\r\n")
        for _ in range(2_000):
            wire.write(b"A: b\r\n" * 100)

    server = Scripted(proxy)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    manager = urllib3.ProxyManager(server.url, retries=urllib3.Retry(0))
    manager.pool_classes_by_scheme = POOLS
    try:
        with pytest.raises(Malformed, match="exceeds what HTTP's headers", check=lambda error: error.hint == ODD_HINT):
            manager.request("GET", "https://crm.example/", timeout=10.0)
    finally:
        manager.clear()
        server.shutdown()
        server.server_close()
