"""Put the lanes and replicas of a ledger in PostgreSQL into words. Pure. A ledger in a file has none."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]
STATES = ("held", "due", "overdue", "idle")
LATE_S = 300  # a lane that is overdue for longer needs another replica
SHOWN = 20  # replicas, each in a line of its own
MORE = "start another replica, or raise [run] passes: no replica has a free slot"


def counts(document: Document) -> dict[str, int]:
    """Return the number of lanes in each state."""
    found = Counter(each["state"] for each in document["lanes"])
    return {state: found[state] for state in STATES}


def most_overdue(document: Document) -> Mapping[str, Any] | None:
    """Return the lane that has waited longest for a free slot. None if none is overdue."""
    overdue = [each for each in document["lanes"] if each["state"] == "overdue"]
    return max(overdue, key=lambda each: each["late_s"], default=None)


def is_served(document: Document) -> bool:
    """Tell whether a replica is alive. Otherwise a lane is overdue until the next `syncd sync`."""
    return any(each["is_alive"] for each in document["replicas"])


def lanes(document: Document) -> str:
    """Return the number of lanes in each state, and the most overdue lane."""
    told = ", ".join(f"{count:,} {state}" for state, count in counts(document).items())
    worst = most_overdue(document)
    return f"{told}. Most overdue: {worst['source']}, for {worst['late_s']:.0f} s" if worst else told


def replica(each: Mapping[str, Any]) -> str:
    """Return how many lanes a replica holds, and when it last reported."""
    if not each["is_alive"]:
        return f"dead, last reported {each['renewed_s']:.0f} s ago"
    return f"holds {each['lanes']:,} of at most {each['slots']:,} lanes, reported {each['renewed_s']:.0f} s ago"


def lines(document: Document) -> list[str]:
    """Return a line for the lanes and one for each replica. None if no replica has worked on the ledger lately."""
    replicas = document["replicas"]
    if not replicas:
        return []
    told = [f"replica: {each['name']}: {replica(each)}" for each in replicas[:SHOWN]]
    rest = len(replicas) - SHOWN
    return [f"lanes: {lanes(document)}", *told, *([f"replicas: {rest:,} more"] if rest > 0 else [])]


__all__ = ["LATE_S", "MORE", "SHOWN", "counts", "is_served", "lanes", "lines", "most_overdue", "replica"]
