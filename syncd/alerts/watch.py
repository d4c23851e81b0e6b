"""Watch for conditions in a thread: once a minute and after each pass. No pass waits for it.

The state is written before a message leaves and after it was taken. So a kill in between repeats a message, and none
is lost. If the ledger cannot be written, the memory of this process goes on alone.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime

import structlog

from syncd import clock
from syncd.alerts.addresses import Address, addresses
from syncd.alerts.looking import look
from syncd.alerts.state import Message, State
from syncd.config import Config
from syncd.errors import LedgerError
from syncd.ledger import Alerting, chosen

log = structlog.get_logger()

EVERY_S = 60.0  # between two looks
LEAST_S = 1.0  # between two looks after short passes
AGAIN_S = 60.0  # until an address that failed is tried again; doubled with each failure
AGAIN_MOST_S = 3600.0
HINT = "`syncd alerts test` tries it. The message is kept and sent again"


class Watch:
    """Look, decide and send. The thread that looks is the only one that touches the state."""

    def __init__(
        self, config: Config, *, now: Callable[[], datetime] = clock.now,
        monotonic: Callable[[], float] = time.monotonic, to: Callable[[Config], list[Address]] | None = None,
    ) -> None:  # fmt: skip
        self._now, self._monotonic = now, monotonic
        self._to = to or (lambda config: addresses(config.alerts.urls))
        self._lock = threading.Lock()
        self._failed: dict[str, int] = {}  # since the last look; guarded by the lock
        self._flooded: set[str] = set()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._state: State | None = None  # None: not read yet
        self._saved = True
        self.configure(config)
        self._thread: threading.Thread | None = None

    def configure(self, config: Config) -> None:
        """Put a configuration into force, and try failing addresses at once. Messages for others are dropped."""
        with self._lock:
            self._config, self._addresses, self._outages = config, self._to(config), _Outages()
        self._wake.set()

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def pass_ended(self, failed: Mapping[str, int], flooded: Collection[str]) -> None:
        """Hear of a pass: the exit code of each source, or RECOTAP, that failed, and the sources with a flood."""
        with self._lock:
            self._failed.update(failed)
            self._flooded.update(flooded)
        self._wake.set()

    def close(self, within_s: float) -> None:
        """Look once more if a pass has ended since the last look. Do not wait longer than `within_s`."""
        self._closing.set()
        self._wake.set()
        if self._thread:
            self._thread.join(within_s)

    def _run(self) -> None:
        while True:
            ended = self._wake.wait(EVERY_S)
            self._wake.clear()
            closing = self._closing.is_set()
            try:
                self.look()
            except Exception:  # a bug must not end the service, nor the alerts
                log.exception("alert.bug", hint="report it. The next look tries again")
            if closing:
                return
            if ended:
                self._closing.wait(LEAST_S)

    def look(self) -> None:
        """Look once, and send what is due. Nothing is done if the ledger cannot be read: a pass reports that."""
        with self._lock:
            config, to, outages = self._config, self._addresses, self._outages
            failed, flooded = self._failed, self._flooded
            self._failed, self._flooded = {}, set()
        try:
            with (
                chosen(config.ledger).alerting() as ledger,
                ledger.looking(has_news=bool(failed or flooded)) as is_turn,
            ):
                if is_turn:
                    self._look(ledger, config, to, outages, failed, flooded)
                    return
        except LedgerError:
            pass
        with self._lock:
            self._failed = failed | self._failed
            self._flooded |= flooded

    def _look(
        self, ledger: Alerting, config: Config, to: list[Address], outages: "_Outages", failed: Mapping[str, int],
        flooded: Collection[str],
    ) -> None:  # fmt: skip
        state = self._state
        if state is None or ledger.is_shared:
            state = State.of(ledger.kept_alerts())
        seen = look(config, ledger, failed=failed, flooded=flooded, now=self._now())
        after = state.after(seen, config.alerts, [each.digest for each in to])
        _log_changes(state, after)
        self._keep(ledger, state, after)
        if after.messages:
            sent = self._send(after, to, outages)
            self._keep(ledger, after, sent)

    def _keep(self, ledger: Alerting, before: State, after: State) -> None:
        """Keep a state in this process, and write a changed one into the ledger."""
        self._state = after
        if after == before and self._saved:
            return
        try:
            ledger.keep_alerts(after.to_json(), self._now())
            self._saved = True
        except LedgerError as error:
            if self._saved:
                log.warning("alert.unsaved", error=error.summary, hint="alerts go on. A restart may repeat them")
            self._saved = False

    def _send(self, state: State, to: list[Address], outages: "_Outages") -> State:
        """Send to all addresses side by side. One that fails keeps its messages for a later look."""
        taken: list[tuple[Message, str]] = []
        failures: dict[str, str] = {}
        ready = [each for each in to if outages.is_over(each.digest, self._monotonic())]
        threads = [
            threading.Thread(target=_send_to, args=(each, state, taken, failures), daemon=True) for each in ready
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()  # Address.send has a deadline
        for message, address in taken:
            state = state.taken(message, address)
        reached = {address for _, address in taken} - {*failures}
        outages.note(failures, reached, self._monotonic())
        _log_failures(state, ready, failures, reached)
        return replace(state, failing=tuple(sorted(({*state.failing} | {*failures}) - reached)))


def _send_to(address: Address, state: State, taken: list[tuple[Message, str]], failures: dict[str, str]) -> None:
    """Send the messages for one address, the oldest first, until one fails."""
    for message in state.messages:
        if address.digest in message.to:
            failure = address.send(message)
            if failure:
                failures[address.digest] = failure
                return
            taken.append((message, address.digest))


def _log_failures(state: State, to: list[Address], failures: Mapping[str, str], reached: Collection[str]) -> None:
    """Log each address that fails from now on, and each that takes messages again."""
    for each in to:
        if each.digest in failures and each.digest not in state.failing:
            log.error("alert.failed", key=each.key, error=failures[each.digest], hint=HINT)
        if each.digest in reached and each.digest in state.failing:
            log.info("alert.recovered", key=each.key)


class _Outages:
    """The addresses that fail, and when each is tried again. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[int, float]] = {}  # address: failures in a row, when to try again

    def is_over(self, address: str, now: float) -> bool:
        return now >= self._failures.get(address, (0, now))[1]

    def note(self, failed: Collection[str], reached: Collection[str], now: float) -> None:
        """Note the addresses that failed, and those that took all their messages."""
        for address in failed:
            count = self._failures.get(address, (0, 0.0))[0] + 1
            self._failures[address] = count, now + min(AGAIN_S * 2 ** min(count - 1, 10), AGAIN_MOST_S)
        for address in reached:
            self._failures.pop(address, None)


def _log_changes(before: State, after: State) -> None:
    """Log each condition that is reported from now on, and each that is over."""
    reported = {each.key: each.name for each in before.episodes if each.reported}
    now = {each.key: each.name for each in after.episodes if each.reported}
    for key in now.keys() - reported.keys():
        log.warning("alert.began", condition=key, error=now[key], hint="`syncd status` shows more")
    for key in reported.keys() - now.keys():
        log.info("alert.ended", condition=key)


__all__ = ["Watch"]
