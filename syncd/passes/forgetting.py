"""Keep forgotten people out of what a pass reads and keeps."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from syncd.ledger import Ledger, LedgerReader
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import State
from syncd.lifecycle.transitions import Reading
from syncd.normalize.forgotten import Forgotten
from syncd.passes.events import PageRead


def forgotten_of(glance: LedgerReader | None) -> Forgotten:
    """Return the people whom `syncd forget` named so far."""
    hashes = glance.forgotten() if glance else frozenset[str]()
    return Forgotten(hashes, glance.secret()) if glance and hashes else Forgotten()


class LeftOut:
    """Keep out people who are forgotten while a pass reads. Use it in the ledger's thread, within its transactions.

    A reader learns of them when it begins. So a page that was read before may hold them, and so may the values that a
    connector keeps.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._forgotten = Forgotten()

    def page(self, page: PageRead, known: Forgotten) -> tuple[PageRead, Sequence[str]]:
        """Return a page without payloads of forgotten people, and the CRM ids of the activities that lost theirs.

        `known`: the people whom its reader has left out. The activities are to be read again.
        """
        forgotten = self._now()
        if forgotten.hashes == known.hashes:
            return page, ()
        named = [each.crm_id for each in page.readings if each.payload and forgotten.names(json.loads(each.payload))]
        readings = [_held_back(each) if each.crm_id in named else each for each in page.readings]
        return replace(page, readings=readings), named

    def keep(self, source: str, changes: Mapping[str, Any], now: datetime) -> None:
        """Keep a connector's values, with stand-ins for forgotten people."""
        forgotten = self._now() if changes else Forgotten()
        self._ledger.keep(source, forgotten.without(dict(changes)) if forgotten else changes, now)

    def _now(self) -> Forgotten:
        if self._ledger.forgotten() != self._forgotten.hashes:
            self._forgotten = forgotten_of(self._ledger)
        return self._forgotten


def _held_back(reading: Reading) -> Reading:
    return replace(reading, wanted=State.EXCLUDED, reason=Reason.FORGOTTEN, payload=None, due_at=None, keys=())


__all__ = ["LeftOut", "forgotten_of"]
