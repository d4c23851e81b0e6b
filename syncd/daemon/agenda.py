"""Decide the next pass of the daemon. Pure: the monotonic clock is an argument.

    tick ──► waiting ──begin──► running ──ended──► done, or waiting again: a tick while it was read is made up
                ▲                  │                once, and only if it was read to its end
    wake_at ────┘◄──failed: later──┘

All waiting sources go into one pass together. One that is due during a pass joins it. RECOTAP is the name of the
sender: it is in every pass, and a pass over it alone reads no source and sends the due activities.
"""

from collections import Counter
from collections.abc import Collection, Mapping

from syncd.ledger import RECOTAP

PROBE_FIRST_S = 300.0  # from a failure to the next probe, unless the schedule comes first; doubled with each failure
PROBE_MOST_S = 3600.0


class Agenda:
    """Names of sources, and RECOTAP: those that wait for a pass, and those in one. Times are seconds."""

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}  # in the order of arrival
        self._wake_at: dict[str, float] = {}  # name: when to make a pass outside the schedule
        self._failures: Counter[str] = Counter()  # in a row
        self._missed: Counter[str] = Counter()  # ticks during a pass over the same name
        self._merged: Counter[str] = Counter()  # ticks while the name was waiting already
        self.running: tuple[str, ...] = ()
        self.skipped: Counter[str] = Counter()  # ticks without a pass of their own, since the start

    @property
    def has_work(self) -> bool:
        """Whether a name waits for a pass. After `begin` during a pass: for the next one."""
        return bool(self._waiting)

    def tick(self, name: str) -> None:
        """Note a regular time of `name`. If it waits or runs already, the tick gets no pass of its own."""
        if name in self.running:
            self._missed[name] += 1
        elif name in self._waiting:
            self._merged[name] += 1
        else:
            self._waiting[name] = None

    def want(self, names: Collection[str]) -> None:
        """Have a pass over `names` as soon as possible. A pass that is reading them does not count."""
        self._waiting.update(dict.fromkeys(names))

    def wake(self, name: str, at: float) -> None:
        """Plan a pass over `name` at `at` (monotonic clock). An earlier plan stays."""
        self._wake_at[name] = min(at, self._wake_at.get(name, at))

    def look(self, now: float) -> None:
        """Let the names wait whose planned time has come."""
        for name in [name for name, at in self._wake_at.items() if at <= now]:
            del self._wake_at[name]
            if name not in self.running:
                self._waiting[name] = None

    def begin(self, known: Collection[str]) -> tuple[str, ...]:
        """Move the waiting names that are `known` into a pass, and return them in the order of arrival.

        They join the pass under way, if there is one. A name that is in it already waits for the next one. Every pass
        sends the due activities, so RECOTAP is in it from the beginning. Empty if no name waits.
        """
        wanted = [name for name in self._waiting if name in known and name not in self.running]
        self._waiting = {name: None for name in self._waiting if name in self.running}
        begun = tuple(wanted) if self.running or not wanted else tuple(dict.fromkeys((*wanted, RECOTAP)))
        self.running += begun
        for name in begun:
            self._wake_at.pop(name, None)
        return begun

    def finished(
        self, failed: Collection[str], now: float, *, not_before: Mapping[str, float] | None = None
    ) -> dict[str, int]:
        """End the pass for all that are in it, as `ended` does."""
        return self.ended(self.running, failed, now, not_before=not_before)

    def ended(
        self, names: Collection[str], failed: Collection[str], now: float, *,
        not_before: Mapping[str, float] | None = None,
    ) -> dict[str, int]:  # fmt: skip
        """End the reading of `names`, while others go on. Return for each name the number of ticks that it skipped.

        A probe of each `failed` name is planned, but not before its time in `not_before`.
        """
        skipped = {}
        for name in names:
            self._plan_probe(name, failed, now, (not_before or {}).get(name, now))
            missed = self._missed.pop(name, 0)
            if missed and name not in failed and name != RECOTAP:  # the first tick is made up
                self._waiting[name] = None
                missed -= 1
            if count := missed + self._merged.pop(name, 0):
                skipped[name] = count
        self.running = tuple(name for name in self.running if name not in names)
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
