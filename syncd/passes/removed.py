"""Tell which sources the configuration lacks, and what becomes of their activities. Nothing here writes."""

from collections.abc import Collection
from datetime import datetime

from syncd import clock
from syncd.ledger import GONE, LedgerReader
from syncd.lifecycle import timing

BRING_BACK = "put its table back, and it resumes"


def gone_since(glance: LedgerReader, configured: Collection[str]) -> dict[str, datetime | None]:
    """Return the sources that the configuration lacks, and since when a pass knows it. None: no pass knows it yet."""
    held = glance.sources_with_rows()
    since = glance.kept(GONE, held)
    return {name: clock.optional_instant(since.get(name)) for name in held if name not in configured}


def gone_text(since: datetime | None) -> str:
    """Return what becomes of the activities of a source that is gone since then. None: no pass knows it yet."""
    at = f" since {clock.text(since)}" if since else ""
    until = f"on {clock.text(clock.later(since, timing.GIVE_UP_AFTER))}" if since else "30 days after the next pass"
    return f"not in the configuration{at}: what is pending is sent, what is incomplete dies {until}"


__all__ = ["BRING_BACK", "gone_since", "gone_text"]
