"""Decide how many activities one POST carries: fewer after time-outs, and later more again. Pure.

    a batch meets a time-out or a 5xx, and then a smaller POST gets through ──► half of that batch
    GROW_AFTER full batches in a row get through ─────────────────────────────► one trial with twice as many
    the trial gets through ───────────────────────────────────────────────────► its size from now on
    the trial fails ──────────────────────────────────────────────────────────► the size stays, the next trial is later

A trial that fails is no outage: it costs one POST, and the others go on. Growth counts batches, not passes, because a
backlog of days is one pass. After each failed trial the next one waits for twice as many batches, so a server that
stays slow costs ever fewer time-outs.
"""

from collections.abc import Mapping
from typing import Any

GROW_AFTER = 10  # full batches in a row before a trial
GROW_AFTER_MOST = 640  # the same, after trials that failed


class BatchSize:
    """The size of the next batches. It outlives a pass by `to_keep`."""

    def __init__(self, most: int, kept: Any = None) -> None:
        """Begin with the size that an earlier pass kept, otherwise with `most`."""
        self._most = most
        self.size = _within(kept, "batch", 1, most, otherwise=most)
        self._grow_after = _within(kept, "grow_after", GROW_AFTER, GROW_AFTER_MOST, otherwise=GROW_AFTER)
        self._streak = 0  # full batches that got through in a row
        self._failed: int | None = None  # the smallest batch that has failed since something got through
        self._before: int | None = None  # the size before this pass reduced it
        self._grows = True  # in this pass
        self._trying = False

    def to_keep(self) -> dict[str, int]:
        """Return a JSON object for the next pass."""
        return {"batch": self.size, "grow_after": self._grow_after}

    def failed(self, count: int) -> None:
        """Note that a batch of `count` met a time-out or a 5xx. That alone may be an outage."""
        self._streak = 0
        if count > 1:
            self._failed = min(count, self._failed or count)

    def recovered(self, count: int) -> None:
        """Note that a POST of `count` got through after a failure. If it was smaller, the size was the cause."""
        if self._failed is not None and count < self._failed:
            self._reduce(self._failed // 2)
        self._failed = None

    def passed(self, count: int) -> None:
        """Note that a batch of `count` got through."""
        self._streak += count >= self.size

    def too_large(self, count: int) -> None:
        """Note a 413. It is a firm limit, so this pass tries no larger batch."""
        self._grows = False
        self._reduce(count // 2)

    def one_was_the_cause(self) -> None:
        """Return to the size before this pass reduced it, because one activity explains the failures."""
        self.size, self._before, self._failed, self._grows = max(self.size, self._before or 0), None, None, True

    def take_trial(self) -> int | None:
        """Return the size of a trial if one is due. Report its end by `trial_ended`."""
        due = self._grows and not self._trying and self.size < self._most and self._streak >= self._grow_after
        self._trying = self._trying or due
        return min(2 * self.size, self._most) if due else None

    def trial_ended(self, count: int, *, passed: bool | None) -> None:
        """Note the end of the trial with `count` activities. None: it proves nothing about the size."""
        self._trying, self._streak = False, 0
        if passed:
            self.size, self._grow_after = max(self.size, min(count, self._most)), GROW_AFTER
        elif passed is False:
            self._grow_after = min(2 * self._grow_after, GROW_AFTER_MOST)

    def _reduce(self, size: int) -> None:
        self._streak = 0
        if size < self.size:
            self._before = self._before or self.size
            self.size = max(1, size)


def _within(kept: Any, key: str, least: int, most: int, *, otherwise: int) -> int:
    """Read one kept number. Anything else counts as nothing kept."""
    value = kept.get(key) if isinstance(kept, Mapping) else None
    return min(max(value, least), most) if type(value) is int else otherwise


__all__ = ["GROW_AFTER", "GROW_AFTER_MOST", "BatchSize"]
