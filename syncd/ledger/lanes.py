"""Name what a process holds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Hold:
    """A ledger that this process holds."""

    ledger: Any  # its handle, to be opened
    is_held: Callable[[], bool]  # asks no server


__all__ = ["Hold"]
