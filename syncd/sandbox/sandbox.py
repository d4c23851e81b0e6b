"""Serve the stand-ins: in a context manager for tests, or as a process until a signal."""

import gc
import json
import signal
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from syncd.sandbox.hubspot.portal import TOKEN
from syncd.sandbox.hubspot.service import HubSpot
from syncd.sandbox.hubspot.world import generate
from syncd.sandbox.recotap.service import KEY, Recotap
from syncd.sandbox.standin.clock import Clock
from syncd.sandbox.standin.server import Server

if TYPE_CHECKING:
    from syncd.sandbox.salesforce import Certificate, Salesforce


class Sandbox:
    """HubSpot, Recotap and, if wanted, Salesforce on loopback ports with one clock.

    They serve while the context lasts. Salesforce uses TLS. Its clients trust `salesforce_ca`, the file of an
    authority that exists as long as the sandbox.
    """

    salesforce: "Salesforce"  # these four exist only with Salesforce
    salesforce_ca: str
    client_id: str
    client_secret: str

    def __init__(
        self, *, latency_hubspot: float = 0.0, latency_recotap: float = 0.0, hubspot_port: int = 0,
        recotap_port: int = 0, now: Callable[[], datetime] | None = None, seed: int = 1,
        hubspot: dict[str, Any] | None = None, recotap: dict[str, Any] | None = None,
        salesforce: dict[str, Any] | None = None, latency_salesforce: float = 0.0, salesforce_port: int = 0,
    ) -> None:  # fmt: skip
        """Create the stand-ins. Latencies are in seconds, `now` is an aware clock, settings go by name.

        Salesforce is served if its settings are given, even empty ones.
        """
        self.clock = Clock(now)
        self.hubspot = HubSpot(clock=self.clock, latency_s=latency_hubspot, seed=seed, **(hubspot or {}))
        self.recotap = Recotap(clock=self.clock, latency_s=latency_recotap, seed=seed, **(recotap or {}))
        self.hubspot.recotap = self.recotap
        self.token, self.key = TOKEN, KEY
        self._certificate: Certificate | None = None
        if salesforce is not None:
            self._certificate = self._add_salesforce(latency_s=latency_salesforce, seed=seed, **salesforce)
        self._servers = [Server(self.hubspot, hubspot_port), Server(self.recotap, recotap_port)]
        if self._certificate is not None:
            self._servers.append(Server(self.salesforce, salesforce_port, self._certificate.context))

    @property
    def hubspot_url(self) -> str:
        """Return HubSpot's base URL."""
        return self._servers[0].url

    @property
    def recotap_url(self) -> str:
        """Return Recotap's base URL, with its path."""
        return f"{self._servers[1].url}/api/v1"

    @property
    def salesforce_url(self) -> str:
        """Return Salesforce's base URL. Raises IndexError if Salesforce is not served."""
        return self._servers[2].url

    def describe(self) -> dict[str, str]:
        """Return the URLs and credentials of all stand-ins."""
        hubspot, recotap, *others = (server.url for server in self._servers)
        salesforce = {
            "salesforce_url": others[0], "salesforce_ca": self.salesforce_ca, "salesforce_client_id": self.client_id,
            "salesforce_client_secret": self.client_secret, "salesforce_control": f"{others[0]}/_sandbox",
        } if others else {}  # fmt: skip
        return {
            "hubspot_url": self.hubspot_url, "hubspot_token": self.token, "hubspot_control": f"{hubspot}/_sandbox",
            "recotap_url": self.recotap_url, "recotap_key": self.key, "recotap_control": f"{recotap}/_sandbox",
            **salesforce,
        }  # fmt: skip

    def __enter__(self) -> Self:
        for server in self._servers:
            server.start()
        return self

    def __exit__(self, *error: object) -> None:
        for server in self._servers:
            server.stop()
        if self._certificate is not None:
            self._certificate.remove()

    def _add_salesforce(self, **settings: Any) -> "Certificate":
        # Imported here, because trustme and its certificate cost time that only Salesforce needs.
        from syncd.sandbox.salesforce import Certificate, Salesforce

        self.salesforce = Salesforce(clock=self.clock, **settings)
        self.salesforce.recotap = self.recotap
        self.client_id, self.client_secret = self.salesforce.client_id, self.salesforce.client_secret
        certificate = Certificate()
        self.salesforce_ca = str(certificate.ca)
        return certificate


def serve(
    *, world: dict[str, Any] | None = None, salesforce_world: dict[str, Any] | None = None,
    ready_file: str | None = None, on_ready: Callable[[dict[str, Any]], None] | None = None, **settings: Any,
) -> None:  # fmt: skip
    """Serve until SIGTERM or SIGINT, and print one JSON line with URLs and secrets when all are ready.

    `world` and `salesforce_world` are the arguments of each `world.generate`, `settings` those of Sandbox.
    `ready_file` receives the same line in one atomic write. `on_ready` is called before, with what the line will hold.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Sandbox(**settings) as sandbox:
        summary = generate(sandbox.hubspot, sandbox.recotap, **world).summary() if world else {}
        ready = {**sandbox.describe(), "world": summary}
        if salesforce_world:
            from syncd.sandbox.salesforce.world import generate as generate_org

            ready["salesforce_world"] = generate_org(sandbox.salesforce, sandbox.recotap, **salesforce_world).summary()
        if on_ready:
            on_ready(ready)
        gc.freeze()  # the generated records stay; a collection that walks them would delay a response
        line = json.dumps(ready)
        if ready_file:
            partial = Path(f"{ready_file}.partial")
            partial.write_text(line + "\n", encoding="utf-8")
            partial.rename(ready_file)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        stop.wait()
