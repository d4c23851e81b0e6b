"""`syncd run`: make passes on schedule, for years.

    Jobs: a thread of APScheduler ──"hubspot is due"───────────┐
    signals ─────────────────────────────────────────────────►─┤  Service: the main thread, which
    the ledger: an operator's request ─────────────────────────┤  chooses the sources by the Agenda, and orders a
    Worker: a thread that makes one pass at a time ──ended─────┘  pass over them or lets them join the one under way

All scheduling is here. Only the worker opens the ledger for writing. It makes one pass at a time, in which the sources
are read side by side. A source that is due joins the pass under way, so it waits for no other. A pass ends soon if
something waits for its end, and after five minutes at the latest. What has more to read goes on in the next one.

On a ledger in PostgreSQL, `replica` takes the place of all this: any number of processes share the sources.
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
