"""Run the stand-ins in their own process, for a syncd installed elsewhere on this machine.

with stand_ins() as box:
    box.call(10)
    box.stored()
"""

import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from tests.deployed.booted import DIES_WITH_US

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 20.0  # for one event
OWN, THEIRS = "lanternfield-sales.com", "amber-bolts.com"
FIRST_ID = 9_000_000_000  # far from the stand-in's own ids


class Failed(Exception):
    """An expected event did not happen."""


class StandIns:
    """HubSpot, Salesforce and Recotap on loopback, in their own process."""

    def __init__(self, at: Mapping[str, Any]) -> None:
        self.at = at
        trust = ssl.create_default_context(cafile=at["salesforce_ca"])
        self._open = build_opener(ProxyHandler({}), HTTPSHandler(context=trust)).open  # to loopback, without any proxy
        self._next = FIRST_ID
        self.expected = sum(at[world][kind] for world in ("world", "salesforce_world") for kind in ("calls", "emails"))
        self.put: list[str] = []  # Recotap's ids of the calls that were added later
        before = (datetime.now(UTC) - timedelta(days=9)).isoformat()
        company = {"name": "Amber Bolts", "domain": THEIRS}
        contact = {"email": f"kaya.ivorstone@{THEIRS}", "firstname": "Kaya", "lastname": "Ivorstone"}
        self.hubspot(
            {"do": "owner", "email": f"ada.eschenfeld@{OWN}", "first": "Ada", "last": "Eschenfeld", "id": FIRST_ID},
            {"do": "put", "type": "companies", "properties": company, "id": FIRST_ID, "modified_at": before},
            {"do": "put", "type": "contacts", "id": FIRST_ID, "modified_at": before,
             "properties": {**contact, "associatedcompanyid": str(FIRST_ID)}},
        )  # fmt: skip

    def hubspot(self, *orders: dict[str, Any]) -> Any:
        return self._order("hubspot_control", orders)

    def salesforce(self, *orders: dict[str, Any]) -> Any:
        return self._order("salesforce_control", orders)

    def recotap(self, *orders: dict[str, Any]) -> Any:
        return self._order("recotap_control", orders)

    def _order(self, where: str, orders: Sequence[dict[str, Any]]) -> Any:
        request = Request(self.at[where], data=json.dumps(list(orders)).encode(), method="POST")
        with self._open(request, timeout=10) as answer:
            return json.load(answer)[-1]

    def stored(self) -> dict[str, int]:
        """Return Recotap's activities, and how often each was created."""
        found: dict[str, int] = self.recotap({"do": "stored"})
        return found

    def received(self) -> int:
        """Return the number of activities that reached Recotap, with repetitions."""
        return sum(self.recotap({"do": "received"}).values())

    def call(self, count: int) -> None:
        """Put finished calls into HubSpot, entered a minute ago, so that the next pass sees them."""
        happened, entered = ((datetime.now(UTC) - timedelta(minutes=ago)).isoformat() for ago in (60, 1))
        orders: list[dict[str, Any]] = []
        for _ in range(count):
            self._next += 1
            properties = {
                "hs_call_title": "Discovery call", "hs_call_status": "COMPLETED", "hs_call_duration": "600000",
                "hs_call_direction": "OUTBOUND", "hubspot_owner_id": str(FIRST_ID), "hs_timestamp": happened,
            }  # fmt: skip
            # Associate first, because a pass may be reading now.
            ends = {"from_type": "calls", "from_id": self._next, "to_type": "contacts", "to_id": FIRST_ID}
            call = {"type": "calls", "id": self._next, "properties": properties, "modified_at": entered}
            orders += [{"do": "associate", **ends}, {"do": "put", **call}]
            self.put.append(f"hubspot-call-{self._next}")
        self.hubspot(*orders)
        self.expected += count


@contextmanager
def stand_ins() -> Iterator[StandIns]:
    """Serve stand-ins with a few generated calls and emails in both CRMs, while the context lasts."""
    with tempfile.TemporaryDirectory() as directory:
        ready = Path(directory, "ready")
        line = [*DIES_WITH_US, sys.executable, "-m", "syncd.sandbox", "--ready-file", str(ready), "--clean"]
        line += ["--no-limits", "--calls", "30", "--emails", "20"]
        line += ["--salesforce", "--salesforce-calls", "10", "--salesforce-emails", "10"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, cwd=ROOT)
        try:
            wait_for("the stand-ins", lambda: ready.exists() or process.poll() is not None)
            if process.poll() is not None:
                raise Failed(f"the stand-ins ended with {process.returncode}")
            yield StandIns(json.loads(ready.read_text()))
        finally:
            process.terminate()
            process.wait()


def wait_for(what: str, met: Callable[[], Any], *, every_s: float = 0.1) -> Any:
    """Return the first true value of `met`. Failed if there is none in time."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := met()):
        if time.monotonic() > deadline:
            raise Failed(f"waited {PATIENCE_S:.0f} s for {what}")
        time.sleep(every_s)
    return found


__all__ = ["OWN", "Failed", "StandIns", "stand_ins", "wait_for"]
