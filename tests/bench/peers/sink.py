"""Accept activities on loopback and count them, with the standard library alone.

It prints its URL and answers each POST as Recotap does, `--latency-ms` later. A GET returns the counts.
"""

import argparse
import json
import socketserver
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler
from typing import Any

PATH = "/api/v1/sales-activities"


class Arrived:
    """Count the activities that arrived. Several threads may call it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ids: Counter[str] = Counter()
        self.posts = self.largest = 0
        self.under_way = self.most_at_once = 0

    def enter(self) -> None:
        """Count a POST that begins."""
        with self.lock:
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)

    def leave(self, ids: list[str]) -> None:
        """Count a POST that ends, with the externalActivityIds in it."""
        with self.lock:
            self.under_way -= 1
            self.ids.update(ids)
            self.posts += 1
            self.largest = max(self.largest, len(ids))

    def counts(self) -> dict[str, int]:
        """Return the counts as a JSON object."""
        with self.lock:
            return {
                "distinct": len(self.ids),
                "received": self.ids.total(),
                "posts": self.posts,
                "largest": self.largest,
                "at_once": self.most_at_once,
            }


class Handler(BaseHTTPRequestHandler):
    """Serve one connection. `main` makes a subclass that sets the two attributes."""

    protocol_version = "HTTP/1.1"  # connections stay open
    disable_nagle_algorithm = True
    wbufsize = -1  # a response leaves in one packet
    arrived: Arrived
    latency_s: float

    def do_POST(self) -> None:
        """Accept a batch."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != PATH:
            self._answer(404, {"message": "no such path"})
            return
        self.arrived.enter()
        ids = [item["externalActivityId"] for item in json.loads(body)["activities"]]
        time.sleep(self.latency_s)
        self.arrived.leave(ids)
        results = [{"externalActivityId": each, "status": "created"} for each in ids]
        summary = {"total": len(ids), "created": len(ids), "duplicate": 0, "skipped": 0, "failed": 0}
        self._answer(200, {"success": True, "data": {"summary": summary, "results": results}})

    def do_GET(self) -> None:
        """Return the counts."""
        self._answer(200, self.arrived.counts())

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


class Server(socketserver.ThreadingTCPServer):
    """Serve each connection in a thread of its own, which ends with the process."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    chosen = parser.parse_args()
    kind = type("Bound", (Handler,), {"arrived": Arrived(), "latency_s": chosen.latency_ms / 1000})
    with Server(("127.0.0.1", 0), kind) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
