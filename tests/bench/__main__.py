"""Measure syncd as its user runs it: `python tests/bench`.

Each figure is of a `syncd sync` process of its own against stand-ins in another process:
wall clock, CPU of the syncd process alone, its peak memory, and its requests to the CRM.
Machines are noisy. Compare figures of one run, or give `--repeat 3` and read the best.

`--peers` measures the same work by other programs: a plug-in reads 20,000 records in pages of 200
and delivers them in POSTs of 50 to a loopback server in another process. RESULTS.md explains it.

`--ledger` measures commands and passes over ledgers of 10,000 to 5,000,000 rows, and the migration of 1,000,000.
"""

import argparse
import os
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import daemon, ledger, passes, peers
from tests.bench.peers.registry import REGISTRY


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repeat", type=int, default=1)
    made.add_argument("--calls", type=int, default=20_000)
    made.add_argument("--crm", choices=("hubspot", "salesforce"), help="this one alone")
    made.add_argument("--skip-large", action="store_true", help="without the ten times larger run")
    made.add_argument("--daemon", action="store_true", help="the daemon's figures alone")
    made.add_argument("--idle", type=float, default=320.0, help="seconds to watch the daemon; 320 hold one pass")
    made.add_argument("--ledger", action="store_true", help="what grows with the ledger, and nothing else")
    made.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000, 5_000_000], help="of --ledger")
    among = made.add_argument_group("--peers")
    among.add_argument("--peers", action="store_true", help="compare syncd with its peers, and nothing else")
    among.add_argument("--only", nargs="+", default=(), choices=tuple(REGISTRY), help="these programs alone")
    among.add_argument("--rounds", type=int, default=5, help="runs of each program, in turn")
    among.add_argument("--records", type=int, default=20_000)
    among.add_argument("--latency-ms", type=float, nargs="+", default=[0, 100], help="of the loopback server")
    among.add_argument("--venvs", type=Path, help="folder of the peers' environments (default: the user's cache)")
    among.add_argument("--results", action="store_true", help="put the tables into RESULTS.md as well")
    return made


def main() -> None:
    """Print the figures."""
    chosen = parser().parse_args()
    if chosen.peers:
        sys.exit(
            peers.compare(
                chosen.only, rounds=chosen.rounds, records=chosen.records, latencies=chosen.latency_ms,
                folder=chosen.venvs, results=chosen.results,
            )
        )  # fmt: skip
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}, Python {sys.version.split()[0]}, {resource.getpagesize()} B pages")
    if chosen.daemon:
        daemon.daemon(500, chosen.idle)
        return
    if chosen.ledger:
        ledger.ledger(chosen.rows)
        return
    for _ in range(chosen.repeat):
        if chosen.crm != "salesforce":
            passes.hubspot(chosen.calls, large=not chosen.skip_large)
        if chosen.crm != "hubspot":
            passes.salesforce(chosen.calls)


if __name__ == "__main__":
    main()
