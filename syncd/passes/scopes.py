"""Count each source's rows by kind once a day, and read the last counts from the ledger."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import structlog

from syncd import clock
from syncd.activity import Owner
from syncd.connector import Connector, RowKind, Scope, ShowsScope, Source, Store
from syncd.errors import Stopped, SyncdError
from syncd.ledger import LedgerReader
from syncd.normalize import scope
from syncd.normalize.rules import Rules
from syncd.normalize.scope import Unread

log = structlog.get_logger()

KEPT = "@scope"  # in a source's store: the last refresh, as `scope.to_json` and `since`
DUE = "@scope_due"  # in a source's store: when the next refresh is due, and the tables that the last one obeyed
SPAN = timedelta(days=30)  # of modification time
EVERY = timedelta(days=1)
AGAIN = timedelta(hours=1)  # after a failure, and after the first pass, which has enough to do
NOT_COUNTED = "no activity is affected, and a pass counts again in an hour. `syncd scope` counts at once"
LOOK = "`syncd scope` shows all rows by kind"


class Kept(NamedTuple):
    """The last refresh of a source."""

    since: datetime  # modification time
    kinds: Sequence[RowKind]
    warnings: Sequence[str]

    @property
    def unread(self) -> list[Unread]:
        """The rows that no stream reads."""
        return scope.unread(self.kinds)


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


def kept(glance: LedgerReader, names: Sequence[str]) -> Iterator[tuple[str, Kept]]:
    """Yield the last refresh of each source, in the order of `names`. A source without one is left out."""
    found = glance.kept(KEPT, names)
    for name in names:
        if isinstance(held := found.get(name), dict):
            since = clock.optional_instant(held.get("since"))
            if since is not None:
                yield name, Kept(since, scope.kinds_of(held), [*map(str, held.get("warnings", ()))])


def unread(glance: LedgerReader, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return `unread` of `syncd status --json` (design 4.4)."""
    return [
        {"source": name, "what": each.what, "count": each.count, "looks_like": each.looks_like}
        for name, held in kept(glance, names)
        for each in held.unread
    ]


def warnings(glance: LedgerReader, names: Sequence[str]) -> list[dict[str, str]]:
    """Return the warnings of the last refresh of each source, for `syncd status`."""
    return [
        {"source": name, "message": message} for name, held in kept(glance, names) for message in held.warnings
    ]  # fmt: skip


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


__all__ = ["EVERY", "KEPT", "LOOK", "Kept", "document", "kept", "refresh_if_due", "unread", "warnings"]
