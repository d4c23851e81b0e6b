"""The daemon's questions to the ledger. If the ledger cannot be read, a pass will report why."""

from collections.abc import Iterable
from datetime import datetime

from syncd import clock
from syncd.connector import Source
from syncd.ledger import RECOTAP, AnyLedger, LedgerReader
from syncd.types.schedule import Schedule


class DueQueries:
    """Answers for now, by the wall clock. Durations are in seconds."""

    def __init__(self, ledger: AnyLedger) -> None:
        self._ledger = ledger.persistent()
        self._requests = self._ledger.ask(LedgerReader.requests, otherwise=0)

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    def due_at_start(self, sources: Iterable[tuple[Source, Schedule]]) -> list[str]:
        """Return the names to run at the start: all with an interval, and cron's if a time was missed.

        A cron source that was never read counts as missed. RECOTAP is first if an activity is due.
        """
        never: dict[str, datetime] = {}
        sources = list(sources)
        unread = {(source.name, stream.name) for source, _ in sources for stream in source.unread}
        last, now = self._ledger.ask(lambda glance: glance.last_success(unread), otherwise=never), clock.now()
        due = [RECOTAP] if self.can_send() else []
        for source, schedule in sources:
            before = last.get(source.name)
            if schedule.cron is None or before is None or schedule.after(before) <= now:
                due.append(source.name)
        return due

    def can_send(self) -> bool:
        """Tell whether an activity may be sent now."""
        wait_s = self.send_in_s()
        return wait_s is not None and wait_s <= 0 and self.pause_s(RECOTAP) == 0.0

    def send_in_s(self) -> float | None:
        """Return the seconds until the first pending activity is due, 0 or less for now. None if there is none."""
        at = self._ledger.ask(LedgerReader.next_send_at, otherwise=None)
        return None if at is None else (at - clock.now()).total_seconds()

    def pause_s(self, name: str) -> float:
        """Return the seconds that are left of the pause of a source or RECOTAP. 0 if there is none."""
        pause = self._ledger.ask(lambda glance: glance.pause(name, clock.now()), otherwise=None)
        return 0.0 if pause is None else max(0.0, (pause[0] - clock.now()).total_seconds())

    def newly_requested(self) -> list[str] | None:
        """Return the names that an operator's request since the last call makes due. None without a request."""
        requests = self._ledger.ask(LedgerReader.requests, otherwise=self._requests)
        if requests == self._requests:
            return None
        known, self._requests = self._requests, requests
        nothing: set[str] = set()
        sources = self._ledger.ask(
            lambda glance: glance.sources_to_look_up(clock.now()) | glance.wanted_since(known), otherwise=nothing
        )
        return [*sorted(sources), *([RECOTAP] if self.can_send() else [])]

    def counts(self) -> dict[str, int]:
        """Return the number of activities in each state."""
        return self._ledger.ask(LedgerReader.counts, otherwise={})
