"""A connector's store during one pass. It is loaded at the start, and the ledger's thread keeps the changes."""

import json
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from syncd.text import kept_id


class PassStore:
    """A connector's store for one pass. It is loaded at the start, and the ledger's thread keeps the changes."""

    def __init__(self, kept: Mapping[str, tuple[Any, datetime]], now: Callable[[], datetime]) -> None:
        self._kept = dict(kept)
        self._now = now
        self._changes: dict[str, Any] = {}
        self._lock = threading.Lock()

    def get(self, key: str, *, max_age: timedelta | None = None) -> Any:
        """Return the value of `key`, or None if there is none or it is older than `max_age`."""
        value, at = self._kept.get(key, (None, None))
        if at is None or (max_age is not None and not timedelta(0) <= self._now() - at <= max_age):
            return None
        return value

    def put(self, key: str, value: Any) -> None:
        """Keep `value`. TypeError if JSON or the ledger cannot hold it: now, not at the commit."""
        json.dumps(value)
        if not isinstance(key, str) or kept_id(key) != key:
            raise TypeError("expected a short printable text as the key")
        with self._lock:
            self._kept[key] = (value, self._now())
            self._changes[key] = value

    def take_changes(self) -> dict[str, Any]:
        """Return the values put since the last call."""
        with self._lock:
            changes, self._changes = self._changes, {}
        return changes


__all__ = ["PassStore"]
