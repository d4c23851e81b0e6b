"""Read from the ledger each source's last counts of rows by kind, which `scopes` keeps there. Nothing here writes."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from syncd import clock
from syncd.connector import RowKind
from syncd.ledger import LedgerReader
from syncd.normalize import scope
from syncd.normalize.scope import Unread

KEPT = "@scope"  # in a source's store: the last refresh, as `scope.to_json` and `since`
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


__all__ = ["KEPT", "LOOK", "Kept", "kept", "unread", "warnings"]
