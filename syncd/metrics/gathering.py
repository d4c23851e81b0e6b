"""Gather all that the metrics show into one document. No write, no request, and no row of an activity is counted."""

from datetime import datetime, timedelta
from typing import Any

from syncd import __version__, clock
from syncd.config import Config
from syncd.errors import LedgerError
from syncd.ledger import FIRST_DUE, AnyLedger, Reports, chosen
from syncd.passes import kept_scopes, removed

LEAST = timedelta(minutes=1)  # a shorter silence is never reported
QUOTA_LOW = "quota_low"  # in a source's store: whether its connector leaves the rest of a quota to others


def gather(glance: Reports, config: Config, now: datetime) -> dict[str, Any]:
    """Return the document that `render` shows: `syncd status --json`, the counts by stream, and the machine's values.

    LedgerError if the ledger cannot be read.
    """
    ledger, names = chosen(config.ledger), [source.name for source in config.sources]
    return {
        **glance.measures(version=__version__, now=now),
        "running": _is_held(ledger),
        "disk_free_bytes": ledger.free_bytes(),
        "stale_after": stale_after(glance, config),
        "sources_gone": [*removed.gone_since(glance, names)],
        "unread": kept_scopes.unread(glance, names),
        "warnings": kept_scopes.warnings(glance, names),
        "quota_low": {name: bool(low) for name, low in glance.kept(QUOTA_LOW, names).items()},
    }


def stale_after(glance: Reports, config: Config) -> dict[str, str | None]:
    """Return when each configured source ceases to be fresh, by the rule of `syncd health`.

    The third time of its schedule after it was last read to its end, or after the first pass that knew it. None if no
    pass knows it.
    """
    names = [source.name for source in config.sources]
    unread = {(source.name, stream.name) for source in config.sources for stream in source.unread}
    read, due = glance.last_success(unread), glance.kept(FIRST_DUE, names)
    found: dict[str, str | None] = {}
    for source in config.sources:
        at = read.get(source.name) or clock.optional_instant(due.get(source.name))
        until = at and config.schedule_for(source).late_after(at, LEAST)
        found[source.name] = clock.optional_text(until)
    return found


def _is_held(ledger: AnyLedger) -> bool | None:
    """Tell whether a syncd holds the ledger. None if its lock may not be opened."""
    try:
        return ledger.holder() is not None
    except LedgerError:
        return None


__all__ = ["gather", "stale_after"]
