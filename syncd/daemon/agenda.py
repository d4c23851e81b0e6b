"""What the daemon does next; pure: the monotonic clock is an argument.

    tick ──► waiting ──begin──► running ──finished──► done, or waiting again: a time that came meanwhile
                ▲                  │                   is made up once, and only after a pass that went well
    wake_at ────┘◄──failed: later──┘

Several sources that wait go into one pass together. RECOTAP is the sender's own name: a pass that
reads no source and sends what is due.
"""

from collections import Counter
from collections.abc import Collection, Mapping

from syncd.ledger import RECOTAP

PROBE_FIRST_S = 300.0  # after a failure another look, unless the schedule comes first; doubled with each
PROBE_MOST_S = 3600.0


class Agenda:
    """Names of sources, and RECOTAP: which wait for a pass, which are in one."""

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}  # in the order in which they came
        self._wake_at: dict[str, float] = {}  # when to look again besides the schedule
        self._failures: Counter[str] = Counter()  # in a row
        self._missed: Counter[str] = Counter()  # times that came while their pass was running
        self._merged: Counter[str] = Counter()  # times that came while another was waiting already
        self.running: tuple[str, ...] = ()
        self.skipped: Counter[str] = Counter()  # times that got no pass of their own, since the start

    @property
    def has_work(self) -> bool:
        """Whether something waits for a pass."""
        return bool(self._waiting)

    def tick(self, name: str) -> None:
        """Note that `name`'s regular time has come; while it waits or runs already that is no pass of its own."""
        if name in self.running:
            self._missed[name] += 1
        elif name in self._waiting:
            self._merged[name] += 1
        else:
            self._waiting[name] = None

    def want(self, names: Collection[str]) -> None:
        """Have a pass over `names` as soon as may be; one under way does not count."""
        self._waiting.update(dict.fromkeys(names))

    def wake(self, name: str, at: float) -> None:
        """Have a pass over `name` at that time of the monotonic clock; an earlier one that is planned stays."""
        self._wake_at[name] = min(at, self._wake_at.get(name, at))

    def look(self, now: float) -> None:
        """Let those wait whose time to look again has come."""
        for name in [name for name, at in self._wake_at.items() if at <= now]:
            del self._wake_at[name]
            if name not in self.running:
                self._waiting[name] = None

    def begin(self, known: Collection[str]) -> tuple[str, ...]:
        """Take what waits, as far as it is `known`, into a pass; return it in the order in which it came.

        Every pass sends what is due, so RECOTAP is in each.
        """
        wanted = [name for name in self._waiting if name in known]
        self._waiting.clear()
        self.running = tuple(dict.fromkeys((*wanted, RECOTAP))) if wanted else ()
        for name in self.running:
            self._wake_at.pop(name, None)
        return self.running

    def finished(
        self, failed: Collection[str], now: float, *, not_before: Mapping[str, float] | None = None
    ) -> dict[str, int]:
        """Note that the pass has ended; return how many regular times it made each name skip.

        What `failed` is looked at again soon, but `not_before` the time of the monotonic clock that is given.
        """
        skipped = {}
        for name in self.running:
            self._plan_probe(name, failed, now, (not_before or {}).get(name, now))
            missed = self._missed.pop(name, 0)
            if missed and name not in failed and name != RECOTAP:  # the first of them is made up
                self._waiting[name] = None
                missed -= 1
            if count := missed + self._merged.pop(name, 0):
                skipped[name] = count
        self.running = ()
        self.skipped.update(skipped)
        return skipped

    def _plan_probe(self, name: str, failed: Collection[str], now: float, earliest: float) -> None:
        if name not in failed:
            self._failures.pop(name, None)
            return
        self._failures[name] += 1
        delay_s = PROBE_FIRST_S * 2 ** min(self._failures[name] - 1, 10)
        self.wake(name, max(now + min(delay_s, PROBE_MOST_S), earliest))


__all__ = ["Agenda"]
