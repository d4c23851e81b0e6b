"""Count a source's records since its start, and estimate how long a first pass takes."""

from collections.abc import Collection, Iterator, Mapping
from math import ceil

from syncd import clock
from syncd.config import Config
from syncd.connector import Connector, Finding, Source
from syncd.errors import LedgerError, Unavailable
from syncd.ledger import chosen
from syncd.passes import counting
from syncd.passes.windows import Span

WHAT = "records"
# Records a second of a first pass. HubSpot: 12 to 31 requests for 1,000 records, of 0.2 to 0.5 s each, take 3 to 15 s
# (limits of its docs, 2026-03). Salesforce serves faster, and Recotap takes 4 POSTs of 50 at once by default.
SLOW, FAST = 70, 300
UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def findings(source: Source, connector: Connector, new: Collection[str]) -> Iterator[Finding]:
    """Yield the number of records since `start`, by a request for each stream. `new`: streams that no pass has read.

    A count that fails is a warning, because a pass does not need it.
    """
    counts: dict[str, int] = {}
    try:
        for stream in source.streams:
            counts[stream.name] = counting.records(connector, stream.name, [Span(source.config.start, None)])
    except Unavailable as error:
        hint = error.hint or "nothing to do: a pass does not count them"
        yield Finding(WHAT, False, f"cannot be counted: {error.message}", hint, warning=True)
    else:
        yield Finding(WHAT, True, told(counts, since=clock.text(source.config.start)[:10], new=new))


def new_streams(config: Config, source: Source) -> frozenset[str]:
    """Return the streams of a source that no pass has read. None of them if the ledger cannot tell."""
    ledger, names = chosen(config.ledger), frozenset(stream.name for stream in source.streams)
    try:
        if not ledger.exists():
            return names
        with ledger.read() as glance:
            return frozenset(name for name in names if glance.stream(source.name, name).watermark is None)
    except LedgerError:
        return frozenset()


def told(counts: Mapping[str, int], *, since: str, new: Collection[str]) -> str:
    """Return the counts of streams in words, and how long a first pass over the `new` ones takes. Pure."""
    total, unread = sum(counts.values()), sum(counts[name] for name in counts if name in new)
    if not total:
        return f"none changed since {since}"
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    message = f"up to {total:,} changed since {since} ({parts})"
    if not unread:
        return message
    return f"{message}. The first pass takes {span(unread)}, at {SLOW} to {FAST} records a second"


def span(records: int) -> str:
    """Return how long a first pass over so many records takes, e.g. `3 to 11 min`. Pure."""
    slow_s, fast_s = records / SLOW, records / FAST
    unit, factor = next((pair for pair in UNITS if slow_s >= 2 * pair[1]), UNITS[-1])
    least, most = ceil(fast_s / factor), ceil(slow_s / factor)
    if most <= 1:
        return "less than a minute"
    return f"about {most} {unit}" if least == most else f"{least} to {most} {unit}"


__all__ = ["findings", "new_streams"]
