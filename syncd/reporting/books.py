"""Build the document of `syncd status` from the ledger and the configuration."""

from datetime import datetime
from typing import Any

from syncd import __version__
from syncd.config import Config
from syncd.errors import LedgerError
from syncd.ledger import AnyLedger, Reports, chosen
from syncd.passes import kept_scopes, removed
from syncd.reporting import overview
from syncd.reporting.times import Times


def document(config: Config, glance: Reports, now: datetime) -> dict[str, Any]:
    """Return the document of `syncd status --json` (design 4.4) without its summary. It reads kept counts only."""
    names = [source.name for source in config.sources]
    told = glance.status(version=__version__, now=now)
    found = {
        **told,
        "never_read": _never_read(config, told),
        "unread": kept_scopes.unread(glance, names),
        "warnings": kept_scopes.warnings(glance, names),
        "held_by": _holder(chosen(config.ledger)),
        "sources_gone": [*removed.gone_since(glance, names)],
    }
    return {**found, "overdue": overview.is_overdue(found, config.schedule, now)}


def summarized(found: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return a document of `document` with its `summary`, whose times are in UTC."""
    return {**found, "summary": overview.summary(found, Times(now))}


def _never_read(config: Config, told: dict[str, Any]) -> list[dict[str, str]]:
    """Return the streams that no pass has read to their end."""
    read = {(each["source"], each["stream"]) for each in told["sources"] if each["last_success_at"]}
    streams = [(source.name, stream.name) for source in config.sources for stream in source.streams]
    return [{"source": name, "stream": stream} for name, stream in streams if (name, stream) not in read]


def _holder(ledger: AnyLedger) -> str | None:
    """Return who holds the ledger, or why that cannot be told. The books can be read without it."""
    try:
        return ledger.holder()
    except LedgerError as error:
        return f"unknown: {error.message}"


__all__ = ["document", "summarized"]
