"""Make requests to a server, and print how each ended and the peak memory so far.

`test_bounds.py` runs this as a process: python tests/bounded.py recotap|hubspot|salesforce URL CA_FILE COUNT
"""

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from syncd.connector import Context
from syncd.errors import SyncdError
from syncd.passes.reader import PassStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIMEOUT = "20s"
Ask = Callable[[], object]


def recotap(url: str, _ca_file: str) -> Ask:
    from syncd.recotap.sender import Sender

    sender = Sender(base_url=url, api_key="key-key-key", timeout_s=20.0, concurrency=1, now=lambda: NOW)

    def ask() -> object:
        answer = sender.post([("a", "{}")])
        assert not answer.verdicts
        return f"{answer.outcome} {answer.stored}: {answer.detail}"

    return ask


def hubspot(url: str, _ca_file: str) -> Ask:
    from connectors.hubspot.client import Client
    from connectors.hubspot.config import HubSpotConfig

    table = {"connector": "hubspot", "start": NOW, "access_token": "env:TOKEN", "base_url": url, "timeout": TIMEOUT}
    client = Client(HubSpotConfig(**table, search_per_second=0), context())
    client.stop_retrying()
    return lambda: len(client.search("calls", {})["results"])


def salesforce(url: str, ca_file: str) -> Ask:
    from connectors.salesforce.client import Client
    from connectors.salesforce.config import SalesforceConfig

    table = {"connector": "salesforce", "start": NOW, "ca_file": ca_file, "timeout": TIMEOUT}
    client = Client(SalesforceConfig(**table, session_id="env:SESSION", instance_url=url), context())
    client._retries.stop_retrying()
    return lambda: len(client.query("SELECT Id FROM Task", what="calls")["records"])


def context() -> Context:
    return Context("crm", PassStore({}, lambda: NOW), lambda: NOW, lambda seconds: None)


def peak_mib() -> float:
    """Return the peak memory from the kernel, because getrusage includes the parent's at the fork."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM")) / 1024


def main(server: str, url: str, ca_file: str, count: str) -> None:
    ask = {"recotap": recotap, "hubspot": hubspot, "salesforce": salesforce}[server](url, ca_file)
    for _ in range(int(count)):
        began = time.monotonic()
        try:
            said = str(ask())
        except SyncdError as error:
            said = f"{type(error).__name__} {int(error.exit_code)}: {error.message}"
        print(json.dumps([said, peak_mib(), round(time.monotonic() - began, 2)]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
