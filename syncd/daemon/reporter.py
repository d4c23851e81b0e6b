"""Report the daemon's state to systemd, and feed the watchdog as long as passes make progress."""

from collections.abc import Mapping, Sequence

import structlog

from syncd.daemon import status_line
from syncd.daemon.stacks import thread_stacks
from syncd.daemon.systemd import Notifier
from syncd.daemon.worker import PassProgress
from syncd.errors import SyncdError

log = structlog.get_logger()


class Reporter:
    """Set the status line, log a stuck pass once, and feed the watchdog. `now` is seconds of the monotonic clock."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._stuck_logged = False
        self._stopping = False
        self._fed_at = float("-inf")

    def pass_begins(self) -> None:
        """Log the next stuck pass again."""
        self._stuck_logged = False

    def stopping(self, *, busy: bool) -> None:
        """Report that the daemon stops. The status line no longer changes, but the watchdog is still fed."""
        self._notifier.stopping()
        self._notifier.status("stopping" + (": the request under way ends first" if busy else ""))
        self._stopping = True

    def busy(
        self, sources: Sequence[str], progress: PassProgress, *, failure: SyncdError | None, stuck_after_s: float,
        now: float,
    ) -> None:  # fmt: skip
        """Report a pass over `sources`. If it is stuck, the watchdog is not fed, so that systemd restarts syncd."""
        still_s = now - progress.at
        if still_s >= stuck_after_s:
            self._log_stuck(sources, progress, still_s)
            self._show(status_line.stuck(sources, where=progress.where, for_s=still_s))
            return
        self._show(
            status_line.running(
                sources, where=progress.where, read=progress.read_count, delivered=progress.delivered, failure=failure
            )
        )
        self._feed(now)

    def slots(self, line: str, passes: Mapping[str, PassProgress], *, stuck_after_s: float, now: float) -> None:
        """Report the passes over lanes, as `line`. If one is stuck, the watchdog is not fed, as for `busy`."""
        stuck = {name: now - each.at for name, each in passes.items() if now - each.at >= stuck_after_s}
        self._stuck_logged = self._stuck_logged and bool(stuck)
        if not stuck:
            self.idle(line, now=now)
            return
        name = max(stuck, key=lambda each: stuck[each])
        self._log_stuck([name], passes[name], stuck[name])
        self._show(status_line.stuck([name], where=passes[name].where, for_s=stuck[name]))

    def idle(self, line: str, *, now: float) -> None:
        """Report the state between passes, as `line`."""
        self._show(line)
        self._feed(now)

    def _log_stuck(self, sources: Sequence[str], progress: PassProgress, still_s: float) -> None:
        if not self._stuck_logged:
            self._stuck_logged = True
            log.error(
                "pass.stuck", sources=sources, where=progress.where, for_s=round(still_s), stands_at=thread_stacks(),
                hint="the pass makes no progress. A watchdog restarts syncd. If there is none, restart it",
            )  # fmt: skip

    def _show(self, line: str) -> None:
        if not self._stopping:
            self._notifier.status(line)

    def _feed(self, now: float) -> None:
        watchdog_s = self._notifier.watchdog_s
        if watchdog_s is not None and now - self._fed_at >= watchdog_s / 3:
            self._fed_at = now
            self._notifier.feed()


__all__ = ["Reporter"]
