"""Say that a source or Recotap pauses."""

from datetime import datetime

from syncd import clock
from syncd.errors import Unavailable


def pausing(name: str, until: datetime, reason: str, *, hint: str = "") -> Unavailable:
    """Return the error of a pause. `name`: the source, or Recotap."""
    return Unavailable(f"{name} pauses until {clock.text(until)}: {reason}", hint=hint)


__all__ = ["pausing"]
