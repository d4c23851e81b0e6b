"""Write the medians as Markdown, with the machine that they are from."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from tests.bench.peers.registry import Program
from tests.bench.peers.rounds import Sample
from tests.bench.peers.venvs import ROOT

RESULTS = ROOT / "tests" / "bench" / "RESULTS.md"
BEGIN, END = "<!-- measured: python tests/bench --peers --results -->", "<!-- end -->"
ANCHOR = "drt"  # the program that the others are compared with
HEAD = """\
| | wall s | min to max | CPU s | MiB | wall / drt | CPU / drt | rate / drt | POSTs at once |
|---|---|---|---|---|---|---|---|---|"""


def table(programs: Mapping[str, Program], samples: Mapping[str, Sequence[Sample]]) -> str:
    """Return one table of medians. A program without a valid run is shown as void."""
    drt = samples.get(ANCHOR, ())
    return "\n".join([HEAD, *(_line(program, samples[name], drt) for name, program in programs.items())])


def _line(program: Program, samples: Sequence[Sample], drt: Sequence[Sample]) -> str:
    if not samples:
        return f"| {program.label} | void |" + " |" * 7
    walls = [each.figure.wall_s for each in samples]
    wall, cpu = median(walls), median(each.figure.cpu_s for each in samples)
    peak = median(each.figure.peak_mib for each in samples)
    ratios = ["", "", ""]
    if drt:
        base, base_cpu = (median(getattr(each.figure, name) for each in drt) for name in ("wall_s", "cpu_s"))
        ratios = [f"{wall / base:.2f}", f"{cpu / base_cpu:.2f}", f"{base / wall:.2f}"]
    cells = [f"{wall:.2f}", f"{min(walls):.2f} to {max(walls):.2f}", f"{cpu:.2f}", f"{peak:.0f}", *ratios]
    return f"| {program.label} | {' | '.join(cells)} | {max(each.at_once for each in samples)} |"


def report(
    programs: Mapping[str, Program], samples: Mapping[float, Mapping[str, Sequence[Sample]]], *, records: int,
    rounds: int, begun: str,
) -> str:  # fmt: skip
    """Return all tables, below `begun` and the load at the end, which betrays a busy machine."""
    parts = [f"{begun} Load at the end {os.getloadavg()[0]:.1f}."]
    for latency_ms, of_latency in samples.items():
        when = f"with {latency_ms:g} ms a POST" if latency_ms else "without latency"
        runs = f"{records:,} records, {when}, median of {rounds}"
        parts += [f"**{runs}**", table(programs, of_latency)]
    return "\n\n".join(parts)


def beginning() -> str:
    """Return the machine, its load, the time and the commit, for the head of a report."""
    return (
        f"{machine()}. {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit()}. "
        f"Load at the start {os.getloadavg()[0]:.1f}."
    )


def machine() -> str:
    """Return cores, CPU, memory, kernel and Python in one line."""
    model = re.search(r"(?m)^model name\s*:\s*(.+)$", _text("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+)", _text("/proc/meminfo"))
    return ", ".join(
        (
            f"{os.cpu_count()} cores of {model[1] if model else platform.machine()}",
            f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "memory unknown",
            f"{platform.system()} {platform.release()}",
            f"Python {platform.python_version()}",
        )
    )


def commit() -> str:
    """Return the commit in short, and whether the tree differs from it in anything but the results."""
    git = ["git", "-C", str(ROOT)]
    name = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", ".", ":!tests/bench/RESULTS.md"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return (name.stdout.strip() or "unknown") + (" with changes" if changed.stdout else "")


def keep(text: str) -> None:
    """Put the tables in the place of the earlier ones in RESULTS.md."""
    before, _, rest = RESULTS.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    RESULTS.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:  # not Linux
        return ""
