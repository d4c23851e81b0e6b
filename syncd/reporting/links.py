"""Find the links that open records in the CRM."""

from collections.abc import Sequence
from typing import Any

from syncd.config import Config
from syncd.ledger import LedgerReader


def add_links(rows: Sequence[dict[str, Any]], config: Config, glance: LedgerReader) -> None:
    """Add to each row the `url` that opens it in the CRM, or None."""
    configured = {source.name: source.config for source in config.sources}
    stores: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row["source"]
        if name not in stores:
            stores[name] = {key: value for key, (value, _) in glance.store(name).items()}
        known = configured.get(name)
        row["url"] = None if known is None else known.record_url(row["stream"], row["crm_id"], stores[name])


__all__ = ["add_links"]
