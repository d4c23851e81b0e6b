"""Hold the activities that a pass will send again. Bounded, and without their payloads.

- `again`: Recotap stored none of it (bystanders of a 400, halves of a batch that is too large). It goes out first.
- `suspects`: it met a time-out or a 5xx. It goes out last, one batch at a time.

Only ids are held. The ledger reads the bodies again with the next intent.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from syncd.ledger import Due, Sendable
from syncd.recotap.sender import BATCH

MOST_SUSPECTS = 20 * BATCH  # from here on suspects go before fresh activities, so memory does not grow with the backlog


@dataclass(frozen=True, slots=True)
class Group:
    """Activities that go out together, or in parts."""

    activities: tuple[Due, ...]
    silent: bool = False  # Recotap gave no readable answer for them in this pass
    alone: bool = False  # one activity, which has failed as a probe

    def part(self, first: int, end: int) -> "Group":
        """Return the activities from `first` up to `end`, as a group."""
        return replace(self, activities=self.activities[first:end])


class Waiting:
    """The queues of one pass. Not thread-safe: the ledger's thread alone uses it."""

    def __init__(self) -> None:
        self._again: deque[Group] = deque()
        self._suspects: deque[Group] = deque()

    def __len__(self) -> int:
        """Return the number of activities."""
        return sum(len(group.activities) for group in (*self._again, *self._suspects))

    @property
    def has_any(self) -> bool:
        """Whether anything waits."""
        return bool(self._again or self._suspects)

    @property
    def has_again(self) -> bool:
        """Whether something waits that goes out first."""
        return bool(self._again)

    @property
    def has_suspects(self) -> bool:
        """Whether something waits that goes out last."""
        return bool(self._suspects)

    @property
    def is_full(self) -> bool:
        """Whether the suspects must go out before anything joins them."""
        return sum(len(group.activities) for group in self._suspects) >= MOST_SUSPECTS

    @property
    def has_probe(self) -> bool:
        """Whether a suspect waits that has not failed as a probe."""
        return any(not group.alone for group in self._suspects)

    def send_again(self, activities: Sequence[Sendable], *, halved: bool = False) -> None:
        """Queue activities of which Recotap stored none, in two halves if `halved`."""
        if activities:
            self._again.extend(_groups(Group(ids(activities)), halved=halved))

    def suspect(self, activities: Sequence[Sendable], *, silent: bool, halved: bool = False) -> None:
        """Queue activities that met an outage. Halves of an earlier suspect group go before the other suspects."""
        groups = _groups(Group(ids(activities), silent), halved=halved)
        if halved:
            self._suspects.extendleft(reversed(groups))
        else:
            self._suspects.extend(groups)

    def set_aside(self, activity: Sendable, *, silent: bool) -> None:
        """Queue a suspect that has failed as a probe. It goes out alone, after all others."""
        self._suspects.append(Group(ids([activity]), silent, alone=True))

    def next_again(self, size: int = BATCH) -> Group:
        """Take the next `size` activities at most of those that go out first."""
        return _take(self._again, size)

    def next_suspects(self, size: int) -> Group:
        """Take the next `size` suspects at most. Those that failed as a probe come last."""
        if self._suspects[0].alone and self.has_probe:
            self._suspects.rotate(-1)
            return self.next_suspects(size)
        return _take(self._suspects, size)

    def one_suspect(self, share: float) -> Group:
        """Take a single suspect as the probe: of the last group, the one at `share` (0 up to 1) of it."""
        while self._suspects[-1].alone and self.has_probe:
            self._suspects.rotate(1)
        group = self._suspects.pop()
        chosen = int(share * len(group.activities))
        rest = replace(group, activities=group.activities[:chosen] + group.activities[chosen + 1 :])
        if rest.activities:
            self._suspects.append(rest)
        return group.part(chosen, chosen + 1)


def ids(activities: Sequence[Sendable]) -> tuple[Due, ...]:
    """Return the activities without their payloads."""
    return tuple(Due(each.id, each.isolated, each.crashes_server) for each in activities)


def _take(queue: deque[Group], size: int) -> Group:
    group = queue.popleft()
    if len(group.activities) > size:
        queue.appendleft(group.part(size, len(group.activities)))
    return group.part(0, size)


def _groups(group: Group, *, halved: bool) -> list[Group]:
    count = len(group.activities)
    middle = (count + 1) // 2
    return [group.part(0, middle), group.part(middle, count)] if halved and count > 1 else [group]


__all__ = ["MOST_SUSPECTS", "Group", "Waiting", "ids"]
