"""Have the records of lost payloads read again. A payload is lost if it cannot be decrypted."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.ledger.dialect import listed
from syncd.ledger.rows import ROW_COLUMNS, Held, Writer, row_of
from syncd.lifecycle import transitions

_HELD = f"""
    SELECT id, stream_id, {", ".join(ROW_COLUMNS)} FROM activities WHERE id IN {listed("ids")} AND state = 'pending'
"""  # nosec B608 # names of columns


@dataclass(frozen=True, slots=True)
class Lost:
    """The parts of a ledger that no key opens any more."""

    keys: tuple[str, ...] = ()  # their ids
    payloads: int = 0  # their records are read again
    values: tuple[tuple[str, str], ...] = ()  # the source and the key of each: connectors make them again
    forgotten: int = 0  # people whom `syncd forget` must be told again, because the secret of their hashes is lost


class LostPayloads(Writer):
    """Move the activities of lost payloads, so that a look-up brings another payload."""

    def _without_lost(self, rows: Iterable[Any], body: int, now: datetime) -> list[Any]:
        """Return the rows with a payload. The other activities wait for a look-up that is due now."""
        if self._cipher is None:
            return list(rows)
        found = list(rows)
        if lost := [row[0] for row in found if row[body] is None]:
            self._look_up(lost, now)
        return [row for row in found if row[body] is not None]

    def _look_up(self, activity_ids: Sequence[int], now: datetime) -> None:
        rows = self._db.execute(_HELD, {"ids": json.dumps(activity_ids)}).fetchall()
        for row_id, stream_id, *columns in rows:
            held = Held(row_id, stream_id, row_of(columns))
            self._write(held, transitions.after_lost(held.row, now), now)


__all__ = ["Lost", "LostPayloads"]
