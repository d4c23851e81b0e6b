"""Measure syncd as its user runs it: `python tests/bench`.

Each figure is of a `syncd sync` process of its own against stand-ins in another process:
wall clock, CPU of the syncd process alone, its peak memory, and its requests to the CRM.
Machines are noisy. Compare figures of one run, or give `--repeat 3` and read the best.
"""

import argparse
import os
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import daemon, passes


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repeat", type=int, default=1)
    made.add_argument("--calls", type=int, default=20_000)
    made.add_argument("--crm", choices=("hubspot", "salesforce"), help="this one alone")
    made.add_argument("--skip-large", action="store_true", help="without the ten times larger run")
    made.add_argument("--daemon", action="store_true", help="the daemon's figures alone")
    made.add_argument("--idle", type=float, default=320.0, help="seconds to watch the daemon; 320 hold one pass")
    return made


def main() -> None:
    """Print the figures."""
    chosen = parser().parse_args()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}, Python {sys.version.split()[0]}, {resource.getpagesize()} B pages")
    if chosen.daemon:
        daemon.daemon(500, chosen.idle)
        return
    for _ in range(chosen.repeat):
        if chosen.crm != "salesforce":
            passes.hubspot(chosen.calls, large=not chosen.skip_large)
        if chosen.crm != "hubspot":
            passes.salesforce(chosen.calls)


if __name__ == "__main__":
    main()
