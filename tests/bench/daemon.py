"""Measure the daemon: its start, its memory, and its CPU while nothing happens."""

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.bench.measure import SYNCD, control, stand_ins
from tests.bench.passes import HUBSPOT, WORLDS, configured


def daemon(calls: int, idle_s: float) -> None:
    """Measure the daemon over HubSpot. Watch its CPU for `idle_s` seconds after the first pass."""
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
    """Start the daemon on a ledger that it knows, and stop it.

    Return the seconds until its first request to HubSpot.
    """
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
    """Return the CPU that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
