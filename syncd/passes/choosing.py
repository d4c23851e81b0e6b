"""Choose the activities of the next POST: those that go out again, the due ones, and suspects last.

An activity that fails alone while others get through is a poison message. It is sent after everything else, one at a
time, and never as the probe of an outage. If nothing else is left to send, the smallest request that Recotap has shows
whether it is there before a suspect is sent.
"""

import random
from collections.abc import Callable, Sequence
from datetime import datetime

from syncd.ledger import Sendable
from syncd.passes.batch_size import BatchSize
from syncd.passes.breaker import Breaker, Circuit
from syncd.passes.jobs import Batch
from syncd.passes.stale import StaleRows
from syncd.passes.waiting import Group, Waiting


class Choosing:
    """Choose the next batch of one pass. The ledger's thread alone uses it."""

    def __init__(
        self,
        waiting: Waiting,
        breaker: Breaker,
        size: BatchSize,
        stale: StaleRows,
        first_post: int,
        now: Callable[[], datetime],
        rng: random.Random,
    ) -> None:
        """Choose from `waiting` and from the due rows of `stale`. `first_post` is the first one of this pass."""
        self._waiting = waiting
        self._breaker = breaker
        self._size = size
        self._stale = stale
        self._first_post = first_post
        self._now = now
        self._random = rng

    @property
    def takes_whole_requests(self) -> bool:
        """Whether Recotap takes activities, so that it is worth while to look up more than the next batch."""
        return self._breaker.state is Circuit.CLOSED

    @property
    def has_any(self) -> bool:
        """Whether anything is left to send now."""
        return self._waiting.has_any or bool(self._due(1))

    @property
    def has_only_suspects(self) -> bool:
        """Whether only such activities are left that go out with nothing else in flight."""
        if self._waiting.has_again:
            return False
        if self._waiting.is_full:
            return True
        due = self._due(1)
        return due[0].isolated if due else self._waiting.has_suspects

    @property
    def must_look(self) -> bool:
        """Whether to look if Recotap is there before a suspect is sent, because nothing else can show it."""
        if self._waiting.has_again:
            return False
        due = self._due(1)
        suspects = not due and self._waiting.has_suspects and self._breaker.failing and not self._stale.busy
        return suspects or any(activity.isolated for activity in due)

    def next(self) -> Batch:
        """Take the next batch. It has no activity if nothing is left."""
        if self._breaker.failing:
            return self._probe()
        if self._waiting.has_again:
            return _batch(self._waiting.next_again())
        if self._waiting.is_full:
            return _batch(self._waiting.next_suspects(self._size.size), suspect=True)
        trial = self._size.take_trial() if self._breaker.state is Circuit.CLOSED else None
        due = self._due(trial or self._size.size)
        fresh = bool(due) and not due[0].isolated
        is_trial = trial is not None and fresh and len(due) > self._size.size
        self.end_trial(trial is not None and not is_trial)
        return Batch(due, trial=is_trial) if fresh else self._next_suspect(due)

    def end_trial(self, trial: bool) -> None:
        """Take back a trial that did not leave."""
        if trial:
            self._size.trial_ended(0, passed=None)

    def _due(self, limit: int) -> Sequence[Sendable]:
        due = self._stale.due(limit, first_post=self._first_post, now=self._now(), ahead=self.takes_whole_requests)
        return [activity for activity in due if not (self._breaker.failing and activity.crashes_server)]

    def _next_suspect(self, due: Sequence[Sendable]) -> Batch:
        refused = [activity for activity in due if not activity.crashes_server]
        if refused:
            return Batch(refused, suspect=True)
        if self._waiting.has_suspects and not self._stale.busy:
            return _batch(self._waiting.next_suspects(self._size.size), suspect=True)
        return Batch(due[:1], suspect=True)

    def _probe(self) -> Batch:
        """Choose a single activity as the probe, if possible one that has not just failed.

        So a request that the server may still be working on is not repeated at once,
        and a poison message is not taken for an outage.
        """
        if self._waiting.has_again:
            return _batch(self._waiting.next_again(1))
        due = self._due(1)
        if due or not self._waiting.has_suspects or self._stale.busy:
            return Batch(due)
        return _batch(self._waiting.one_suspect(self._random.random()), suspect=True)


def _batch(group: Group, *, suspect: bool = False) -> Batch:
    return Batch(group.activities, suspect=suspect, silent=group.silent)


__all__ = ["Choosing"]
