"""Count each source's rows by kind once a day, and keep the counts in the ledger."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from syncd import clock
from syncd.activity import Owner
from syncd.connector import Connector, Scope, ShowsScope, Source, Store
from syncd.errors import Stopped, SyncdError
from syncd.normalize import scope
from syncd.normalize.rules import Rules
from syncd.passes.kept_scopes import KEPT, LOOK

log = structlog.get_logger()

DUE = "@scope_due"  # in a source's store: when the next refresh is due, and the tables that the last one obeyed
SPAN = timedelta(days=30)  # of modification time
EVERY = timedelta(days=1)
AGAIN = timedelta(hours=1)  # after a failure, and after the first pass, which has enough to do
NOT_COUNTED = "no activity is affected, and a pass counts again in an hour. `syncd scope` counts at once"


def refresh_if_due(source: Source, connector: Connector, store: Store, rules: Rules, now: datetime) -> None:
    """Count a CRM's rows by kind, if a day has passed, and keep the counts. A failure is logged, and fails nothing.

    Stopped if the pass is to end. Then the next pass counts.
    """
    if not isinstance(connector, ShowsScope) or not _is_due(store, source, now):
        return
    try:
        found = document(source, connector.scope(now - SPAN), connector.owners(), rules, now - SPAN)
        store.put(KEPT, found)
    except Stopped:
        raise
    except Exception as error:  # noqa: BLE001 - a connector may raise anything, and its records are booked by now
        store.put(DUE, _next(source, now + AGAIN))
        _log_failure(source.name, error)
        return
    store.put(DUE, _next(source, now + EVERY))
    _log(source.name, found)


def document(source: Source, found: Scope, owners: Sequence[Owner], rules: Rules, since: datetime) -> dict[str, Any]:
    """Return a CRM's rows by kind as JSON values, judged. `owners` are the CRM's users."""
    wanted = dict.fromkeys(stream.kind for stream in source.streams)
    return {"since": clock.text(since), **scope.to_json(scope.judged(found, rules, owners, [*wanted]))}


def _is_due(store: Store, source: Source, now: datetime) -> bool:
    """Tell whether a refresh is due. The first one waits an hour, and a changed table makes it due at once."""
    held = store.get(DUE)
    at = clock.optional_instant(held.get("at")) if isinstance(held, dict) else None
    if at is None:
        store.put(DUE, _next(source, now + AGAIN))
        return False
    return not now < at <= now + EVERY or held.get("tables") != _tables(source)


def _next(source: Source, at: datetime) -> dict[str, str]:
    return {"at": clock.text(at), "tables": _tables(source)}


def _tables(source: Source) -> str:
    """Return a digest of the tables of the source's streams, which choose the rows that are read."""
    tables = source.config.model_dump_json(include={stream.name for stream in source.connector.streams})
    return hashlib.sha256(tables.encode()).hexdigest()[:16]


def _log(source: str, found: dict[str, Any]) -> None:
    kinds = scope.kinds_of(found)
    counts = {
        str(read_as or "unread"): sum(kind.count for kind in kinds if kind.read_as == read_as)
        for read_as in ("call", "email", None)
    }
    log.info("scope.counted", source=source, since=found["since"], **counts)
    if found["warnings"]:
        log.warning("scope.warned", source=source, error="; ".join(found["warnings"]), hint=LOOK)


def _log_failure(source: str, error: Exception) -> None:
    if isinstance(error, SyncdError):
        log.warning("scope.failed", source=source, error=error.summary, hint=NOT_COUNTED)
    else:
        log.error("scope.bug", source=source, exc_info=error, hint="report it. No activity is affected")


__all__ = ["EVERY", "document", "refresh_if_due"]
