"""`python -m syncd.sandbox`: serve both stand-ins on loopback until SIGTERM."""

import argparse
from collections.abc import Sequence

from syncd.sandbox.box import serve


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="syncd.sandbox", description=__doc__)
    for name in ("--hubspot-port", "--recotap-port"):
        parser.add_argument(name, type=int, default=0, help="0: a free one")
    for name in ("--latency-hubspot", "--latency-recotap"):
        parser.add_argument(name, type=float, default=0.0, help="seconds before each answer")
    for name in ("--calls", "--emails", "--contacts", "--companies"):
        parser.add_argument(name, type=int, default=0, help="how many to invent")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clean", action="store_true", help="invent records without oddities")
    parser.add_argument("--no-limits", action="store_true", help="no rate limits")
    parser.add_argument("--ready-file", help="gets the line with the urls once everything answers")
    chosen = parser.parse_args(arguments)
    counts = {name: getattr(chosen, name) for name in ("calls", "emails", "contacts", "companies")}
    no_limits = {"search_per_second": 0, "per_ten_seconds": 0, "daily_limit": 0} if chosen.no_limits else {}
    serve(
        world={**counts, "seed": chosen.seed, "messy": not chosen.clean} if any(counts.values()) else None,
        ready_file=chosen.ready_file,
        hubspot_port=chosen.hubspot_port, recotap_port=chosen.recotap_port,
        latency_hubspot=chosen.latency_hubspot, latency_recotap=chosen.latency_recotap,
        seed=chosen.seed, hubspot=no_limits,
    )  # fmt: skip


if __name__ == "__main__":
    main()
