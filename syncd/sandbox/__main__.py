"""Serve the stand-ins on loopback until SIGTERM: `python -m syncd.sandbox`."""

import argparse
from collections.abc import Sequence

from syncd.sandbox.sandbox import serve


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="syncd.sandbox", description=__doc__)
    parser.add_argument("--salesforce", action="store_true", help="also serve Salesforce, over TLS")
    for name in ("--hubspot-port", "--recotap-port", "--salesforce-port"):
        parser.add_argument(name, type=int, default=0, metavar="PORT", help="0 picks a free port")
    for name in ("--latency-hubspot", "--latency-recotap", "--latency-salesforce"):
        parser.add_argument(name, type=float, default=0.0, metavar="S", help="seconds before each response")
    for name in ("--calls", "--emails", "--contacts", "--companies"):
        parser.add_argument(name, type=int, default=0, metavar="N", help="number to generate in HubSpot")
    for name in ("--salesforce-calls", "--salesforce-emails", "--salesforce-contacts"):
        parser.add_argument(name, type=int, default=0, metavar="N", help="number to generate in Salesforce")
    sets = "sets of records as each tool writes them, in addition"
    parser.add_argument("--lifelike", type=int, default=0, metavar="N", help=sets)
    parser.add_argument("--contacts-each", type=int, metavar="N", help="contacts of each call and email in Salesforce")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the generated records")
    parser.add_argument("--clean", action="store_true", help="generate complete records only")
    parser.add_argument("--no-limits", action="store_true", help="disable rate limits")
    parser.add_argument("--ready-file", metavar="FILE", help="receives the line with the URLs when all are ready")
    chosen = parser.parse_args(arguments)
    counts = {name: getattr(chosen, name) for name in ("calls", "emails", "contacts", "companies")}
    in_salesforce = {name: getattr(chosen, f"salesforce_{name}") for name in ("calls", "emails", "contacts")}
    if any(in_salesforce.values()) and not chosen.salesforce:
        parser.error("--salesforce-calls, -emails and -contacts need --salesforce")
    counts["lifelike"] = chosen.lifelike
    in_salesforce["lifelike"] = chosen.lifelike if chosen.salesforce else 0
    manner = {"seed": chosen.seed, "messy": not chosen.clean}
    no_limits = {"search_per_second": 0, "per_ten_seconds": 0, "daily_limit": 0} if chosen.no_limits else {}
    unlimited = {"daily_limit": 0} if chosen.no_limits else {}
    serve(
        world={**counts, **manner} if any(counts.values()) else None,
        salesforce_world={**in_salesforce, **manner, "contacts_each": chosen.contacts_each}
        if any(in_salesforce.values())
        else None,
        ready_file=chosen.ready_file,
        hubspot_port=chosen.hubspot_port, recotap_port=chosen.recotap_port, salesforce_port=chosen.salesforce_port,
        latency_hubspot=chosen.latency_hubspot, latency_recotap=chosen.latency_recotap,
        latency_salesforce=chosen.latency_salesforce,
        seed=chosen.seed, hubspot=no_limits, salesforce=unlimited if chosen.salesforce else None,
    )  # fmt: skip


if __name__ == "__main__":
    main()
