"""Gather the facts for the conditions from the ledger and its disk. Sends no request, writes nothing."""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime

from syncd import __version__
from syncd.alerts.conditions import Seen
from syncd.config import Config
from syncd.ledger import Alerting, chosen
from syncd.passes import kept_scopes
from syncd.reporting import health


def look(
    config: Config, ledger: Alerting, *, failed: Mapping[str, int], flooded: Collection[str], now: datetime
) -> Seen:
    """Return the facts of one look. `failed` and `flooded`: of the passes since the last look."""
    names = [source.name for source in config.sources]
    unread = {(source.name, stream.name) for source in config.sources for stream in source.unread}
    findings = health.sources(config, ledger, now, ledger.under_way_since(), held=True)
    return Seen(
        now=now,
        status=ledger.status(version=__version__, now=now),
        not_fresh={name: (each.message, each.hint) for name, each in findings if not each.ok},
        read_at=ledger.last_success(unread),
        unread={name: [_digest(each.what) for each in kept.unread if each.looks_like and each.count]
                for name, kept in kept_scopes.kept(ledger, names)},
        due_since=ledger.due_since(now),
        free_bytes=chosen(config.ledger).free_bytes(),
        failed=failed,
        flooded=flooded,
    )  # fmt: skip


def _digest(kind: str) -> str:
    return hashlib.sha256(kind.encode()).hexdigest()[:16]


__all__ = ["look"]
