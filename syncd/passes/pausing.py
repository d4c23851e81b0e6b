"""Say that a source or Recotap pauses, and how to end that."""

from datetime import datetime

from syncd import clock
from syncd.errors import Unavailable


def pausing(name: str, until: datetime, reason: str, *, hint: str = "") -> Unavailable:
    """Return the error of a pause. `name`: the source, or Recotap."""
    return Unavailable(f"{name} pauses until {clock.text(until)}: {reason}", hint=hint)


def pause_hint(name: str) -> str:
    """Return the hint for a pause that ends by itself. `name`: as `syncd resume` takes it."""
    return f"nothing to do. If its cause is gone, end it: syncd resume {name}"


__all__ = ["pause_hint", "pausing"]
