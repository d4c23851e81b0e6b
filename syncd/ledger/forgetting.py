"""Write about forgotten people."""

import json
from collections.abc import Sequence
from datetime import datetime

from syncd import clock
from syncd.ledger.rows import Writer

_LOOK_UP = """
    UPDATE activities SET next_attempt_at = :now
    WHERE stream_id = :stream_id AND crm_id IN (SELECT value FROM json_each(:ids))
        AND state = 'excluded' AND reason = 'forgotten'
"""


class ForgottenRows(Writer):
    """Write the part of a pass that concerns forgotten people."""

    def look_up_forgotten(self, stream_id: int, crm_ids: Sequence[str], now: datetime) -> None:
        """Make forgotten activities due for a look-up, which tells whether somebody else is in them."""
        if crm_ids:
            values = {"stream_id": stream_id, "ids": json.dumps([*crm_ids]), "now": clock.text(now)}
            with self.transaction():
                self._db.execute(_LOOK_UP, values)


__all__ = ["ForgottenRows"]
