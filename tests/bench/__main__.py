"""Measure syncd as its user runs it: `python tests/bench`.

Each figure is of a `syncd sync` process of its own against stand-ins in another process:
wall clock, CPU of the syncd process alone, its peak memory, and what it asked of the CRM.
Machines are noisy: compare figures of one run, or give `--repeat 3` and read the best.
"""

import argparse
import json
import os
import resource
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SYNCD = [sys.executable, "-m", "syncd"]


@dataclass(frozen=True)
class Figure:
    """One process, measured."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    exit_code: int


@contextmanager
def stand_ins(**options: Any) -> Iterator[dict[str, Any]]:
    """Serve the stand-ins in a process of their own."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not True]
    flags += [f"--{name.replace('_', '-')}" for name, value in options.items() if value is True]
    command = [sys.executable, "-m", "syncd.sandbox", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)


def control(url: str, ca_file: str | None = None, **command: Any) -> Any:
    """Ask a stand-in's control endpoint."""
    context = ssl.create_default_context(cafile=ca_file) if ca_file else None
    request = urllib.request.Request(url, json.dumps(command).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        return json.load(answer)


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
    """Write a configuration for the stand-ins; return the environment that leads to it."""
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


def measure(environ: dict[str, str], *arguments: str) -> Figure:
    """Run syncd and wait for it."""
    began = time.perf_counter()
    process = subprocess.Popen([*SYNCD, *arguments], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    return Figure(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, process.returncode)


def status(environ: dict[str, str]) -> dict[str, Any]:
    """Return the document of `syncd status --json`."""
    done = subprocess.run([*SYNCD, "status", "--json"], env=environ, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def show(what: str, figure: Figure, bounds: str, note: str = "") -> None:
    """Print one line of the table."""
    print(
        f"{what:<46} {figure.wall_s:6.2f} s wall {figure.cpu_s:6.2f} s CPU {figure.peak_mib:6.1f} MiB"
        f"   bound: {bounds:<32} {note}",
        flush=True,
    )


def passes(calls: int, *, what: str, bounds: str, idle_bounds: str = "", crm: str = "hubspot", **options: Any) -> float:
    """Measure a first pass over `calls` new calls, and one with nothing new; return the first's peak in MiB."""
    source = {"hubspot": HUBSPOT, "salesforce": SALESFORCE}[crm]
    with stand_ins(**WORLDS[crm](calls), **options) as box, tempfile.TemporaryDirectory() as folder:
        environ = configured(Path(folder), box, source)
        first = measure(environ, "sync")
        books = status(environ)
        size = books["ledger"]["bytes"] / 1e6
        delivered = books["activities"]["delivered"]
        asked = control(box[f"{crm}_control"], box.get(f"{crm}_ca"), do="requests")["by_kind"]
        note = f"delivered {delivered}/{calls}, exit {first.exit_code}, ledger {size:.1f} MB, asked {asked}"
        show(what, first, bounds, note)
        if idle_bounds:
            show("  a pass with nothing new", measure(environ, "sync"), idle_bounds)
    return first.peak_mib


def _portal(calls: int) -> dict[str, Any]:
    return {"calls": calls, "contacts": 3000, "companies": 1000, "clean": True, "no_limits": True}


def _org(calls: int) -> dict[str, Any]:
    return {
        "salesforce": True, "salesforce_calls": calls, "salesforce_contacts": 3000, "contacts_each": 3, "clean": True,
    }  # fmt: skip


WORLDS = {"hubspot": _portal, "salesforce": _org}


def daemon(calls: int, idle_s: float) -> None:
    """Measure the daemon over HubSpot: its start, its memory, and what it costs while nothing happens."""
    with stand_ins(**WORLDS["hubspot"](calls)) as box, tempfile.TemporaryDirectory() as folder:
        environ = configured(Path(folder), box, HUBSPOT) | {"SYNCD_SCHEDULE__EVERY": "5m"}
        starts = [_start(environ, box["hubspot_control"]) for _ in range(5)]
        line = f"best {min(starts):.2f} s, worst of five {max(starts):.2f} s"
        print(f"{'daemon: from its start to the first request':<46} {line}   bound: 1.5 s", flush=True)
        with subprocess.Popen([*SYNCD, "run"], env=environ, stderr=subprocess.DEVNULL) as process:
            time.sleep(10.0)  # past the first pass
            before, began = _used(process.pid), time.monotonic()
            time.sleep(idle_s)
            share = (_used(process.pid) - before) / (time.monotonic() - began)
            facts = Path(f"/proc/{process.pid}/status").read_text().split()
            rss, peak = (int(facts[facts.index(name) + 1]) / 1024 for name in ("VmRSS:", "VmHWM:"))
            process.send_signal(signal.SIGTERM)
        note = f"over {idle_s:.0f} s with {int((10 + idle_s) // 300)} regular passes"
        print(f"{'daemon: CPU while idle, every = 5m':<46} {share:.3%} of a core {note}   bound: 0.2 %", flush=True)
        print(f"{f'daemon: memory after {calls} calls':<46} {rss:.1f} MiB, at most {peak:.1f} MiB   bound: 90 MiB")


def _start(environ: dict[str, str], url: str) -> float:
    """Start the daemon on a ledger that it knows; return the seconds until HubSpot was asked, and stop it."""
    asked = sum(control(url, do="requests")["by_kind"].values())
    began = time.monotonic()
    with subprocess.Popen([*SYNCD, "run"], env=environ, stderr=subprocess.DEVNULL) as process:
        while sum(control(url, do="requests")["by_kind"].values()) == asked:
            time.sleep(0.01)
        took = time.monotonic() - began
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
    return took


def _used(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--crm", choices=("hubspot", "salesforce"), help="this one alone")
    parser.add_argument("--skip-large", action="store_true", help="without the ten times larger run")
    parser.add_argument("--daemon", action="store_true", help="the daemon's figures alone")
    parser.add_argument("--idle", type=float, default=320.0, help="seconds to watch the daemon; 320 hold one pass")
    chosen = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}, Python {sys.version.split()[0]}, {resource.getpagesize()} B pages")
    if chosen.daemon:
        daemon(500, chosen.idle)
        return
    for _ in range(chosen.repeat):
        if chosen.crm != "salesforce":
            hubspot(chosen.calls, large=not chosen.skip_large)
        if chosen.crm != "hubspot":
            salesforce(chosen.calls)


def hubspot(calls: int, *, large: bool) -> None:
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
    passes(
        calls, what=f"{calls} new tasks, three contacts each", bounds="8 s wall, 6 s CPU, 140 MiB",
        idle_bounds="2 requests", crm="salesforce",
    )  # fmt: skip
    passes(
        calls, what=f"{calls} new tasks, 50 ms and 100 ms", bounds="none", crm="salesforce", latency_salesforce=0.05,
        latency_recotap=0.1,
    )  # fmt: skip


if __name__ == "__main__":
    main()
