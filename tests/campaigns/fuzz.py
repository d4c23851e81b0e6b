"""Send odd responses to the clients of Recotap, HubSpot and Salesforce, and check syncd's promises.

    python tests/campaigns/fuzz.py --examples 100000
    python tests/campaigns/fuzz.py --examples 5000 --server hubspot --seed 7

A response is a document of the corpus, possibly with odd values, status, headers, encoding or framing. Each must end
in a SyncdError or in valid records. Nothing counts as delivered without an item that proves it, every conversation
ends, and memory is bounded. An example that breaks this is kept in corpus/found.json, and
tests/test_fuzz_responses.py repeats it. The exit code is then 1.
"""

import argparse
import gzip
import json
import sys
import time
import zlib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402 - found by the line above
from hypothesis import strategies as st  # noqa: E402

from tests.bounded import peak_mib  # noqa: E402
from tests.fuzzing import ACTS, CORPUS, DOCUMENTS, SENT, SERVERS, Example, run  # noqa: E402

MOST_MIB = 400.0  # for hypothesis and three clients in one process
SQUARED = "\xb2"  # a digit by str.isdigit, but not by int()
SLOW_S = 10.0  # for one example
DEEP: Any = "deep"
for _ in range(90):
    DEEP = [DEEP]
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**63, 2**64, 1e308, -1e-308, float("nan"), float("inf"), "", " ", "x" * 300, "\ud83d",
    "cut \ud83d", "\ude00", [], {}, [[]], [{}], {"": None}, {"a": {"b": []}}, "9" * 5_000, "9" * 18, "NaN", DEEP, "²",
    "2026-13-45", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-03-01T10:30:00+14:00", "1e400", "-", "(" * 600,
    "a@b," * 50, "<@" * 50, "\x00\x1b[31m\x85", "[bold]x[/bold]", "https://", "http://[::1", "a.b\n", "\ufeff", ";" * 9,
    "00T000000000001AAA", "003000000000002AAA", "101", "1", 101, 10**30, ["x"], [1], [None], "created", "failed",
    *SENT, "activity already exists", f"Activity with externalActivityId '{SENT[0]}' already exists.",
)  # fmt: skip
STATUSES = ("200 OK",) * 60 + (
    "201 Created", "204 No Content", "207 Multi-Status", "301 Moved", "302 Found", "304 Not Modified", "400 Bad",
    "401 Unauthorized", "403 Forbidden", "404 Not Found", "408 Timeout", "410 Gone", "413 Too Large", "414 Too Long",
    "420 x", "422 x", "423 Locked", "429 Too Many", "431 x", "477 Migrating", "500 x", "502 x", "503 x", "504 x", "530",
    "999 x", "100 Continue", "101 Switching", "600 x", "200",
)  # fmt: skip
HEADERS = (
    "Date: Sun, 01 Mar 2026 12:00:00 GMT", "Date: yesterday", "Date: Fri, 31 Dec 9999 23:59:59 GMT", "Date: ",
    "Date: Mon, 01 Jan 1000 00:00:00 +9999", "Date: 1 2 3 4 5", "Retry-After: 5", "Retry-After: 1e999",
    "Retry-After: nan", "Retry-After: -5", "Retry-After: " + "9" * 5_000, "Retry-After: Sun, 01 Mar 2026 12:00:09 GMT",
    "Retry-After: \xb2", "X-HubSpot-RateLimit-Max: " + "9" * 5_000, "X-HubSpot-RateLimit-Max: 0",
    "X-HubSpot-RateLimit-Max: -1", "Sforce-Limit-Info: api-usage=18/15000", "Sforce-Limit-Info: api-usage=9/0",
    "Sforce-Limit-Info: api-usage=\xe9/1", "Content-Type: text/html", "Location: https://elsewhere.example/", "A: \xff",
    "Set-Cookie: a=b; Expires=x", "X: " + "y" * 5_000, "no colon", ": empty", "Content-Encoding: identity",
    "Transfer-Encoding: gzip", "Connection: close",
)  # fmt: skip


def example(random: Random, server: str) -> Example:
    """Draw a call, and the responses to one or two kinds of its requests."""
    act, kinds = random.choice(list(ACTS[server].items()))
    fuzzed = random.choices(kinds, k=random.choice((1, 1, 1, 2)))
    return Example(server, act, {kind: response(random, DOCUMENTS[server], kind).decode("latin-1") for kind in fuzzed})


def response(random: Random, documents: Any, kind: str) -> bytes:
    """Draw raw HTTP."""
    status = random.choice(STATUSES)
    of = kind if status.startswith("2") or random.random() < 0.2 else "error"
    document = deepcopy(random.choice(documents.get(of) or documents["batch"]))
    for _ in range(random.choice((0, 1, 1, 1, 2, 3, 5))):
        document = mutated(random, document)
    encoding, body = random.choice(ENCODINGS)(random, random.choice(TEXTS)(random, document))
    lines = [f"HTTP/1.{random.choice('1110')} {status}", *random.sample(HEADERS, k=random.choice((0, 1, 1, 2)))]
    framed, body = random.choice(FRAMINGS)(random, body)
    head = "\r\n".join([*lines, *encoding, *framed, "", ""]).encode("latin-1")
    raw = head + body
    return raw if random.random() < 0.95 else raw[: random.randrange(len(raw))]


def mutated(random: Random, document: Any) -> Any:
    """Return the document with one value changed."""
    if not isinstance(document, dict | list) or not document or random.random() < 0.1:
        return deepcopy(random.choice(ODD))
    place: Any = random.choice(list(document) if isinstance(document, dict) else range(len(document)))
    what = random.random()
    if what < 0.7:
        document[place] = mutated(random, document[place])
    elif what < 0.8:
        del document[place]
    elif what < 0.9 and isinstance(document, list):
        document += [deepcopy(document[place])] * random.choice((1, 1, 3, 300))
    elif isinstance(document, dict):
        document[str(random.choice(ODD))[:99]] = document[place]
    return document


def _dumped(random: Random, document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=random.random() < 0.7).encode("utf-8", "surrogatepass")


def _flipped(random: Random, document: Any) -> bytes:
    body = bytearray(_dumped(random, document))
    for _ in range(random.choice((1, 2, 5))):
        body[random.randrange(len(body))] = random.choice(b'\x00\x1f"\\[]{},:\xff\xc3\x80dN')
    return bytes(body)


TEXTS: tuple[Callable[[Random, Any], bytes], ...] = (
    *[_dumped] * 12,
    _flipped,
    lambda random, document: b"\xef\xbb\xbf" + _dumped(random, document),
    lambda random, document: _dumped(random, document)[: random.randrange(200)],
    lambda random, document: _dumped(random, document) * 2,
    lambda random, document: random.choice((b"", b"<html>", b"null", b"[]", b"\x00", b"[" * 5_000, b'{"a":' * 300)),
    lambda random, document: json.dumps(document).encode("utf-16"),
    lambda random, document: b"[" * 101 + _dumped(random, document) + b"]" * 101,
)

BOMB = gzip.compress(b" " * (17 << 20), 1)
LAST = b"0\r\n\r\n"  # chunk
Encoded = tuple[list[str], bytes]
ENCODINGS: tuple[Callable[[Random, bytes], Encoded], ...] = (
    *[lambda random, body: ([], body)] * 14,
    *[lambda random, body: (["Content-Encoding: gzip"], gzip.compress(body))] * 4,
    lambda random, body: (["Content-Encoding: gzip, gzip"], gzip.compress(gzip.compress(body))),
    lambda random, body: (["Content-Encoding: gzip"], body),
    lambda random, body: (["Content-Encoding: deflate"], zlib.compress(body)),
    lambda random, body: (["Content-Encoding: " + random.choice(("br", "zstd", "\xe9", ",", "x" * 2_000))], body),
    lambda random, body: (["Content-Encoding: gzip"], gzip.compress(body)[: random.randrange(40)]),
    lambda random, body: (["Content-Encoding: gzip"], BOMB),
)
FRAMINGS: tuple[Callable[[Random, bytes], Encoded], ...] = (
    *[lambda random, body: ([f"Content-Length: {len(body)}"], body)] * 20,
    lambda random, body: (
        ["Transfer-Encoding: chunked"],
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n",
    ),
    lambda random, body: (["Transfer-Encoding: chunked"], random.choice((b"zz\r\n", b"-1\r\n", b"5;x\r\n")) + body),
    lambda random, body: ([], body),
    lambda random, body: ([f"Content-Length: {random.choice((0, 1, len(body) + 9, 10**12, -1, SQUARED))}"], body),
)


def tried(kept: Example) -> str:
    """Run an example, and return the broken promise or an empty text."""
    began = time.monotonic()
    try:
        run(kept)
    except Exception as error:  # noqa: BLE001 - any exception here is a bug
        return f"{type(error).__name__}: {error}"[:300]
    took = time.monotonic() - began
    return f"took {took:.1f} s" if took > SLOW_S else ""


def campaign(server: str, examples: int, *, first_seed: int | None = None) -> list[tuple[Example, str]]:
    """Try `count` examples. Return those that broke a promise, once for each way, at most 20."""
    faults: dict[str, tuple[Example, str]] = {}

    @settings(
        max_examples=examples, derandomize=first_seed is None, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.integers(min_value=0, max_value=2**48))
    def explore(number: int) -> None:
        kept = example(Random(number), server)
        told = tried(kept)
        if told and len(faults) < 20:
            faults.setdefault(told[:60], (kept, told))

    (explore if first_seed is None else seed(first_seed)(explore))()
    return list(faults.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100_000, help="for all servers together")
    parser.add_argument("--server", choices=SERVERS, action="append")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    servers = chosen.server or SERVERS
    broken: list[tuple[Example, str]] = []
    for server in servers:
        began, count = time.monotonic(), -(-chosen.examples // len(servers))
        faults = campaign(server, count, first_seed=chosen.seed)
        broken += faults
        print(f"{server:<11}{count:>8} examples {time.monotonic() - began:>7.0f} s {peak_mib():>6.0f} MiB peak, "
              f"{len(faults)} faults", flush=True)  # fmt: skip
    for kept, told in broken:
        print(f"{kept.server}, {kept.act}, {', '.join(kept.answers)}: {told}")
    if broken:
        file = CORPUS / "found.json"
        file.write_text(json.dumps([*json.loads(file.read_text()), *(kept.to_json() for kept, _ in broken)], indent=1))
    return 1 if broken or peak_mib() > MOST_MIB else 0


if __name__ == "__main__":
    sys.exit(main())
