"""Run the programs in turn, and judge each run by the counts of the sink."""

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import Figure, measure
from tests.bench.peers.programs.records import BATCH
from tests.bench.peers.registry import Program, Run, environ

SINK = Path(__file__).parent / "sink.py"


@dataclass(frozen=True)
class Sample:
    """Hold the figures of one valid run."""

    figure: Figure
    at_once: int  # the greatest number of POSTs under way


class Void(Exception):
    """A run did not do the whole work, so its figure does not count."""


@contextmanager
def sink(latency_ms: float) -> Iterator[str]:
    """Serve a new sink in another process. Yield its URL."""
    command = [sys.executable, str(SINK), f"--latency-ms={latency_ms}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def run_once(program: Program, python: str, *, records: int, latency_ms: float) -> Sample:
    """Let a program deliver the records from nothing. Raises Void."""
    with sink(latency_ms) as url, tempfile.TemporaryDirectory(prefix="syncd-bench-") as name:
        run = Run(python, Path(name), url)
        pipeline, own = program.prepare(run)
        with (run.folder / "log").open("w+b") as log:
            figure = measure(pipeline, {**environ(run, records), **own}, folder=run.folder, log=log)
            log.seek(0)
            last = log.read()[-2000:].decode(errors="replace")
        with urllib.request.urlopen(url, timeout=60) as answer:
            arrived: dict[str, int] = json.load(answer)
    if mistake := void(figure, arrived, records):
        raise Void(f"{program.label}: {mistake}\n{last}")
    return Sample(figure, arrived["at_once"])


def void(figure: Figure, arrived: Mapping[str, int], records: int) -> str:
    """Return why a run is void, or "" if each record arrived once, in batches of at most 50."""
    if figure.exit_code:
        return f"exit code {figure.exit_code}"
    if arrived["distinct"] != records or arrived["received"] != records:
        return f"{arrived['received']} activities arrived, {arrived['distinct']} different, instead of {records}"
    return f"a POST of {arrived['largest']}" if arrived["largest"] > BATCH else ""


def play(
    programs: Mapping[str, tuple[Program, str]], *, rounds: int, records: int, latencies: Sequence[float]
) -> dict[float, dict[str, list[Sample]]]:
    """Run each program once a round and latency, in turn. Return the valid samples by latency and name."""
    samples: dict[float, dict[str, list[Sample]]] = {each: {name: [] for name in programs} for each in latencies}
    for number in range(1, rounds + 1):
        for latency_ms in latencies:
            for name, (program, python) in programs.items():
                said = f"round {number}, {latency_ms:g} ms, {program.label}"
                try:
                    sample = run_once(program, python, records=records, latency_ms=latency_ms)
                except Void as reason:
                    print(f"{said}: void: {reason}", file=sys.stderr, flush=True)
                    continue
                samples[latency_ms][name].append(sample)
                figure = sample.figure
                cost = f"{figure.wall_s:.2f} s wall, {figure.cpu_s:.2f} s CPU, {figure.peak_mib:.0f} MiB"
                print(f"{said}: {cost}", file=sys.stderr, flush=True)
    return samples
