"""`syncd run`: passes by the clock, for years.

    Jobs: a thread of APScheduler ──"hubspot's time has come"──┐
    signals ─────────────────────────────────────────────────►─┤  Service: the main thread, which
    the ledger: an operator asked for something ───────────────┤  decides by the Agenda what is next
    Worker: a thread that makes one pass at a time ──ended─────┘  and hands it to the worker

All scheduling is here. The worker alone opens the ledger for writing, and makes one pass at a
time: passes never overlap.
"""

from pathlib import Path
from queue import SimpleQueue
from typing import Any

from syncd.signals import queued


def run(config_file: Path | None) -> int:
    """Make passes until SIGTERM or SIGINT; return 0 then.

    ConfigError, LedgerError or LedgerHeld when it cannot begin. From then on no failure ends it.
    """
    events: SimpleQueue[Any] = SimpleQueue()
    with queued(events):  # before the half second that the imports take
        from syncd.daemon.service import serve

        return serve(config_file, events)


__all__ = ["run"]
