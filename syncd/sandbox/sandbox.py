"""The stand-ins, served: as a context manager for tests, or until a signal for another process."""

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
    """HubSpot, Recotap and, when asked for, Salesforce on loopback ports, sharing one clock, while the context lasts.

    Salesforce speaks TLS: its clients trust `salesforce_ca`, the file of an authority that lives as long as the box.
    """

    salesforce: "Salesforce"  # these four only when asked for
    salesforce_ca: str
    client_id: str
    client_secret: str

    def __init__(
        self, *, latency_hubspot: float = 0.0, latency_recotap: float = 0.0, hubspot_port: int = 0,
        recotap_port: int = 0, now: Callable[[], datetime] | None = None, seed: int = 1,
        hubspot: dict[str, Any] | None = None, recotap: dict[str, Any] | None = None,
        salesforce: dict[str, Any] | None = None, latency_salesforce: float = 0.0, salesforce_port: int = 0,
    ) -> None:  # fmt: skip
        """Take latencies in seconds, `now` as an aware clock, and the stand-ins' settings by name.

        Salesforce is there only when its settings are, be they empty.
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
        return self._servers[0].url

    @property
    def recotap_url(self) -> str:
        return f"{self._servers[1].url}/api/v1"

    @property
    def salesforce_url(self) -> str:
        return self._servers[2].url

    def describe(self) -> dict[str, str]:
        """Say where everything is and what opens it."""
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
        # Imported here: a box without it pays neither for a certificate nor for what makes one.
        from syncd.sandbox.salesforce import Certificate, Salesforce

        self.salesforce = Salesforce(clock=self.clock, **settings)
        self.salesforce.recotap = self.recotap
        self.client_id, self.client_secret = self.salesforce.client_id, self.salesforce.client_secret
        certificate = Certificate()
        self.salesforce_ca = str(certificate.ca)
        return certificate


def serve(
    *, world: dict[str, Any] | None = None, salesforce_world: dict[str, Any] | None = None,
    ready_file: str | None = None, **box: Any,
) -> None:  # fmt: skip
    """Serve until SIGTERM or SIGINT; print one JSON line with urls and secrets once everything answers.

    `world` and `salesforce_world` are the arguments of each `world.generate`, `box` those of Sandbox. `ready_file`
    receives the same line in one atomic write.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Sandbox(**box) as sandbox:
        summary = generate(sandbox.hubspot, sandbox.recotap, **world).summary() if world else {}
        told = {**sandbox.describe(), "world": summary}
        if salesforce_world:
            from syncd.sandbox.salesforce.world import generate as generate_org

            told["salesforce_world"] = generate_org(sandbox.salesforce, sandbox.recotap, **salesforce_world).summary()
        gc.freeze()  # what was invented stays; walking it would hold up an answer now and then
        line = json.dumps(told)
        if ready_file:
            partial = Path(f"{ready_file}.partial")
            partial.write_text(line + "\n", encoding="utf-8")
            partial.rename(ready_file)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        stop.wait()
