"""Measure processes: wall clock, CPU and memory. Serve the stand-ins that they talk to."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

SYNCD = [sys.executable, "-m", "syncd"]


@dataclass(frozen=True)
class Figure:
    """The cost of one run, from its start to its end.

    CPU is user and system time of every process of the run. Memory is the sum of their peaks.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float
    exit_code: int  # the first that is not 0


def measure(
    pipeline: Sequence[Sequence[str]],
    environ: Mapping[str, str],
    *,
    folder: Path | None = None,
    log: IO[bytes] | int = subprocess.DEVNULL,
) -> Figure:
    """Run the commands of a pipeline in `folder` and wait for them.

    `log` takes every stderr and the last stdout.
    """
    began = time.perf_counter()
    processes: list[subprocess.Popen[bytes]] = []
    for place, command in enumerate(pipeline):
        source = processes[-1].stdout if processes else subprocess.DEVNULL
        target = log if place == len(pipeline) - 1 else subprocess.PIPE
        processes.append(subprocess.Popen(command, env=environ, cwd=folder, stdin=source, stdout=target, stderr=log))
        if processes[:-1]:
            source.close()  # type: ignore[union-attr]  # the pipe is the next one's alone
    cpu = peak = 0.0
    for process in processes:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        cpu += used.ru_utime + used.ru_stime
        peak += used.ru_maxrss / 1024
    wall = time.perf_counter() - began
    return Figure(wall, cpu, peak, next((each.returncode for each in processes if each.returncode), 0))


@contextmanager
def stand_ins(**options: Any) -> Iterator[dict[str, Any]]:
    """Serve the stand-ins in another process. Yield the document that they print: URLs, keys and files."""
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
    """Send a command to a stand-in's control endpoint. Return its JSON answer."""
    context = ssl.create_default_context(cafile=ca_file) if ca_file else None
    request = urllib.request.Request(url, json.dumps(command).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        return json.load(answer)


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
