"""`syncd run`: make passes on schedule, for years.

    Jobs: a thread of APScheduler ──"hubspot is due"───────────┐
    signals ─────────────────────────────────────────────────►─┤  Service: the main thread, which
    the ledger: an operator's request ─────────────────────────┤  chooses the next pass by the Agenda
    Worker: a thread that makes one pass at a time ──ended─────┘  and orders it from the worker

All scheduling is here. Only the worker opens the ledger for writing, and it makes one pass at a time, so passes never
overlap.
"""

from pathlib import Path
from queue import SimpleQueue
from typing import Any

from syncd.signals import queued


def run(config_file: Path | None) -> int:
    """Make passes until SIGTERM or SIGINT, then return 0.

    ConfigError, LedgerError or LedgerHeld if it cannot begin. After that no failure of a source ends it.
    """
    events: SimpleQueue[Any] = SimpleQueue()
    with queued(events):  # before the half second that the imports take
        from syncd.daemon.service import serve

        return serve(config_file, events)


__all__ = ["run"]
