"""What the daemon asks the ledger, in the terms it decides by; where the ledger cannot be read, a pass will say why."""

from collections.abc import Iterable
from datetime import datetime

from syncd import clock
from syncd.connector import Source
from syncd.ledger import RECOTAP, LedgerHandle, LedgerReader
from syncd.types.schedule import Schedule


class DueQueries:
    """Answers about now, by the wall clock; durations in seconds."""

    def __init__(self, ledger: LedgerHandle) -> None:
        self._ledger = ledger.persistent()
        self._requests = self._ledger.ask(LedgerReader.requests, otherwise=0)

    def close(self) -> None:
        """Let go of the ledger."""
        self._ledger.close()

    def due_at_start(self, sources: Iterable[tuple[Source, Schedule]]) -> list[str]:
        """Return whose time has come: every interval's; of cron's what was missed meanwhile, or was never done."""
        never: dict[str, datetime] = {}
        last, now = self._ledger.ask(LedgerReader.last_success, otherwise=never), clock.now()
        due = [RECOTAP] if self.can_send() else []
        for source, schedule in sources:
            before = last.get(source.name)
            if schedule.cron is None or before is None or schedule.after(before) <= now:
                due.append(source.name)
        return due

    def can_send(self) -> bool:
        """Tell whether an activity may go out now."""
        wait_s = self.send_in_s()
        return wait_s is not None and wait_s <= 0 and self.pause_s(RECOTAP) == 0.0

    def send_in_s(self) -> float | None:
        """Return how long until the first pending activity may go out, 0 or less for now; None when there is none."""
        at = self._ledger.ask(LedgerReader.next_send_at, otherwise=None)
        return None if at is None else (at - clock.now()).total_seconds()

    def pause_s(self, name: str) -> float:
        """Return for how long a source, or RECOTAP, is to be left alone; 0 for not at all."""
        pause = self._ledger.ask(lambda glance: glance.pause(name, clock.now()), otherwise=None)
        return 0.0 if pause is None else max(0.0, (pause[0] - clock.now()).total_seconds())

    def newly_requested(self) -> list[str] | None:
        """Return what an operator's request since the last look makes due; None when there was none."""
        requests = self._ledger.ask(LedgerReader.requests, otherwise=self._requests)
        if requests == self._requests:
            return None
        self._requests = requests
        nothing: set[str] = set()
        sources = self._ledger.ask(lambda glance: glance.sources_to_look_up(clock.now()), otherwise=nothing)
        return [*sorted(sources), *([RECOTAP] if self.can_send() else [])]

    def counts(self) -> dict[str, int]:
        """Return how many activities stand in each state."""
        return self._ledger.ask(LedgerReader.counts, otherwise={})
