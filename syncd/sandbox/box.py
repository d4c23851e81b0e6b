"""Both stand-ins, served: as a context manager for tests, or until a signal for another process."""

import json
import signal
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from syncd.sandbox.clock import Clock
from syncd.sandbox.hubspot import HubSpot
from syncd.sandbox.portal import TOKEN
from syncd.sandbox.recotap import KEY, Recotap
from syncd.sandbox.server import Server


class Sandbox:
    """HubSpot and Recotap on two loopback ports, sharing one clock, while the context lasts."""

    def __init__(
        self, *, latency_hubspot: float = 0.0, latency_recotap: float = 0.0, hubspot_port: int = 0,
        recotap_port: int = 0, now: Callable[[], datetime] | None = None, seed: int = 1,
        hubspot: dict[str, Any] | None = None, recotap: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Take latencies in seconds, `now` as an aware clock, and the stand-ins' settings by name."""
        self.clock = Clock(now)
        self.hubspot = HubSpot(clock=self.clock, latency_s=latency_hubspot, seed=seed, **(hubspot or {}))
        self.recotap = Recotap(clock=self.clock, latency_s=latency_recotap, seed=seed, **(recotap or {}))
        self.hubspot.recotap = self.recotap
        self.token, self.key = TOKEN, KEY
        self._servers = (Server(self.hubspot, hubspot_port), Server(self.recotap, recotap_port))

    @property
    def hubspot_url(self) -> str:
        return self._servers[0].url

    @property
    def recotap_url(self) -> str:
        return f"{self._servers[1].url}/api/v1"

    def describe(self) -> dict[str, str]:
        """Say where everything is and what opens it."""
        hubspot, recotap = (server.url for server in self._servers)
        return {
            "hubspot_url": self.hubspot_url, "hubspot_token": self.token, "hubspot_control": f"{hubspot}/_sandbox",
            "recotap_url": self.recotap_url, "recotap_key": self.key, "recotap_control": f"{recotap}/_sandbox",
        }  # fmt: skip

    def __enter__(self) -> Self:
        for server in self._servers:
            server.start()
        return self

    def __exit__(self, *error: object) -> None:
        for server in self._servers:
            server.stop()


def serve(*, world: dict[str, Any] | None = None, ready_file: str | None = None, **box: Any) -> None:
    """Serve until SIGTERM or SIGINT; print one JSON line with urls and secrets once everything answers.

    `world` goes to `world.fill`, `box` to Sandbox; `ready_file` gets the same line, written at once.
    """
    from syncd.sandbox.world import fill

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Sandbox(**box) as sandbox:
        filled = fill(sandbox.hubspot, sandbox.recotap, **world).summary() if world else {}
        line = json.dumps({**sandbox.describe(), "world": filled})
        if ready_file:
            partial = Path(f"{ready_file}.partial")
            partial.write_text(line + "\n", encoding="utf-8")
            partial.rename(ready_file)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        stop.wait()
