"""Compare syncd with its peers at the same work."""

import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.peers import table, venvs
from tests.bench.peers.registry import REGISTRY, Program
from tests.bench.peers.rounds import play


def compare(
    names: Sequence[str],
    *,
    rounds: int,
    records: int,
    latencies: Sequence[float],
    folder: Path | None = None,
    results: bool = False,
    registry: Mapping[str, Program] = REGISTRY,
    compiling: bool = True,
) -> int:
    """Print the tables. Return the exit code: 1 if a run was void.

    `folder` holds the peers' environments. If `results`, RESULTS.md gets the tables too, unless a run was void.
    `compiling` writes the bytecode of syncd and its dependencies first.
    """
    programs = {name: program for name, program in registry.items() if not names or name in names}
    folder = folder or venvs.default_folder()
    ready = {
        name: (each, venvs.python_of(each.peer, folder) if each.peer else sys.executable)
        for name, each in programs.items()
    }
    if compiling:
        for place in (venvs.ROOT / "syncd", venvs.ROOT / "tests" / "bench", Path(sysconfig.get_path("purelib"))):
            venvs.compiled(place)
    begun = table.beginning()
    samples = play(ready, rounds=rounds, records=records, latencies=latencies)
    text = table.report(programs, samples, records=records, rounds=rounds, begun=begun)
    print(text)
    whole = all(len(each) == rounds for of_latency in samples.values() for each in of_latency.values())
    if results and whole:
        table.keep(text)
    return 0 if whole else 1
