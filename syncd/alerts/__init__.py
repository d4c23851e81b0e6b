"""Report by itself when syncd needs somebody: alerts through Apprise, and a heartbeat.

    passes ──► Watching ──► Watch (a thread): look ──► conditions ──► state ──► Address (Apprise)
                   └──────► Heartbeat (a thread): start, success, exit code

Nothing of it is imported before [alerts] names a place to send to. Nothing here can fail a pass or hold one up.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from syncd.config import Config
from syncd.errors import Exit, SyncdError

if TYPE_CHECKING:
    from syncd.alerts.heartbeat import Heartbeat
    from syncd.alerts.watch import Watch

STOP_S = 1.0  # that a stop waits for all parts; the ledger keeps the messages that are left
END_S = 45.0  # that the end of `syncd sync` waits for all parts
STOPS = (Exit.SIGINT, Exit.SIGTERM)


class Watching:
    """Hear of each pass, and let the parts that are configured report it."""

    def __init__(self, config: Config, *, heartbeat: bool = True, between_passes: bool = True) -> None:
        """Start what `config` asks for. Without `between_passes`, nothing looks before the end of a pass."""
        self._watch: Watch | None = None
        self._heartbeat: Heartbeat | None = None
        self.code: int | None = None  # of the last pass
        self._has_heartbeat, self._between_passes = heartbeat, between_passes
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Put a configuration into force."""
        self._config = config
        if self._watch is not None:
            self._watch.configure(config)
        elif self._between_passes:
            self._start_watch()
        url = config.alerts.heartbeat_url if self._has_heartbeat else None
        if self._heartbeat is not None:
            self._heartbeat.url = url
        elif url is not None:
            from syncd.alerts.heartbeat import Heartbeat

            self._heartbeat = Heartbeat(url)

    def pass_begins(self) -> None:
        """Hear that a pass begins, and the ledger is held for it."""
        if self._heartbeat is not None:
            self._heartbeat.begin()

    def pass_ended(
        self, code: int, *, failed: Mapping[str, SyncdError] | None = None, flooded: Collection[str] = ()
    ) -> None:
        """Hear that a pass ended with `code`. `failed`: by source, or RECOTAP, why it failed.

        If another syncd holds the ledger, there was none, and that one reports.
        """
        self.code = code
        if code == Exit.HELD:
            return
        if self._heartbeat is not None:
            self._heartbeat.end(code)
        self._start_watch()
        if self._watch is not None:
            codes = {name: error.exit_code for name, error in (failed or {}).items() if error.exit_code not in STOPS}
            self._watch.pass_ended(codes, flooded)

    def pass_failed(self, code: int) -> None:
        """Hear that an error with `code` ended the block of a pass. It counts unless the pass had ended before."""
        if self.code is None:
            self.pass_ended(code)

    def close(self, within_s: float = STOP_S) -> None:
        """Send what is left, but wait at most `within_s`. The heartbeat may take half of it."""
        until = time.monotonic() + within_s
        if self._heartbeat is not None:
            self._heartbeat.close(within_s / 2)
        if self._watch is not None:
            self._watch.close(until - time.monotonic())

    def _start_watch(self) -> None:
        if self._watch is None and self._config.alerts.urls:
            from syncd.alerts.watch import Watch

            self._watch = Watch(self._config)
            self._watch.start()


@contextmanager
def around(config: Config, *, whole: bool) -> Iterator[Watching]:
    """Report the one pass that the block makes, and its error. The block calls `pass_begins` and `pass_ended`.

    If the pass is not `whole`, because the operator wanted a part of it, the heartbeat hears nothing of it. An error
    after `pass_ended` is none of the pass.
    """
    watching = Watching(config, heartbeat=whole, between_passes=False)
    try:
        yield watching
    except SyncdError as error:
        watching.pass_failed(error.exit_code)
        raise
    except Exception:
        watching.pass_failed(Exit.BUG)
        raise
    finally:
        watching.close(STOP_S if watching.code in (None, *STOPS, Exit.HELD) else END_S)


__all__ = ["Watching", "around"]
