"""Measure whole passes of `syncd sync` over the stand-ins of HubSpot and Salesforce."""

import os
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.measure import SYNCD, control, measure, show, stand_ins, status

HUBSPOT = """
        [sources.hubspot]
        connector = "hubspot"
        access_token = "env:BENCH_TOKEN"
        start = 2020-01-01T00:00:00Z
        base_url = "{hubspot_url}"
        search_per_second = 0
"""
SALESFORCE = """
        [sources.salesforce]
        connector = "salesforce"
        login_url = "{salesforce_url}"
        ca_file = "{salesforce_ca}"
        client_id = "env:BENCH_CLIENT_ID"
        client_secret = "env:BENCH_CLIENT_SECRET"
        start = 2020-01-01T00:00:00Z
"""


def configured(folder: Path, box: dict[str, Any], source: str) -> dict[str, str]:
    """Write a configuration for the stand-ins. Return the environment that names it."""
    file = folder / "syncd.toml"
    file.write_text(
        f"""
        [recotap]
        base_url = "{box["recotap_url"]}"
        api_key = "env:BENCH_KEY"
        [ledger]
        path = "{folder / "ledger.db"}"
        {source.format(**box)}
        """
    )
    keys = {
        "BENCH_KEY": box["recotap_key"], "BENCH_TOKEN": box["hubspot_token"],
        "BENCH_CLIENT_ID": box.get("salesforce_client_id", ""),
        "BENCH_CLIENT_SECRET": box.get("salesforce_client_secret", ""),
    }  # fmt: skip
    return {**os.environ, **keys, "SYNCD_CONFIG": str(file)}


def passes(calls: int, *, what: str, bounds: str, idle_bounds: str = "", crm: str = "hubspot", **options: Any) -> float:
    """Measure a first pass over `calls` new calls. Return its peak memory in MiB.

    With `idle_bounds`, measure a second pass too, which finds nothing new.
    """
    source = {"hubspot": HUBSPOT, "salesforce": SALESFORCE}[crm]
    with stand_ins(**WORLDS[crm](calls), **options) as box, tempfile.TemporaryDirectory() as folder:
        environ = configured(Path(folder), box, source)
        first = measure([[*SYNCD, "sync"]], environ)
        books = status(environ)
        size = books["ledger"]["bytes"] / 1e6
        delivered = books["activities"]["delivered"]
        asked = control(box[f"{crm}_control"], box.get(f"{crm}_ca"), do="requests")["by_kind"]
        note = f"delivered {delivered}/{calls}, exit {first.exit_code}, ledger {size:.1f} MB, asked {asked}"
        show(what, first, bounds, note)
        if idle_bounds:
            show("  a pass with nothing new", measure([[*SYNCD, "sync"]], environ), idle_bounds)
    return first.peak_mib


def _portal(calls: int) -> dict[str, Any]:
    return {"calls": calls, "contacts": 3000, "companies": 1000, "clean": True, "no_limits": True}


def _org(calls: int) -> dict[str, Any]:
    return {
        "salesforce": True, "salesforce_calls": calls, "salesforce_contacts": 3000, "contacts_each": 3, "clean": True,
    }  # fmt: skip


WORLDS = {"hubspot": _portal, "salesforce": _org}


def hubspot(calls: int, *, large: bool) -> None:
    """Measure passes over HubSpot. If `large`, add one of ten times the calls."""
    peak = passes(
        calls, what=f"{calls} new calls, no latency", bounds="6 s wall, 5 s CPU, 110 MiB", idle_bounds="1.2 s wall"
    )
    passes(
        calls, what=f"{calls} new calls, 50 ms and 100 ms", bounds="15 s wall", latency_hubspot=0.05,
        latency_recotap=0.1,
    )  # fmt: skip
    if large:
        ten = passes(calls * 10, what=f"{calls * 10} new calls, no latency", bounds="memory within 15 %")
        print(f"  memory against the smaller run: {ten / peak:.2f}")


def salesforce(calls: int) -> None:
    """Measure passes over Salesforce."""
    passes(
        calls, what=f"{calls} new tasks, three contacts each", bounds="8 s wall, 6 s CPU, 140 MiB",
        idle_bounds="3 requests, one for each stream", crm="salesforce",
    )  # fmt: skip
    passes(
        calls, what=f"{calls} new tasks, 50 ms and 100 ms", bounds="none", crm="salesforce", latency_salesforce=0.05,
        latency_recotap=0.1,
    )  # fmt: skip
