"""`syncd run`: passes by the clock, for years.

    Jobs: a thread of APScheduler ──"hubspot's time has come"──┐
    signals ─────────────────────────────────────────────────►─┤  Service: the main thread, which
    the ledger: an operator asked for something ───────────────┤  decides by the Agenda what is next
    Worker: a thread that makes one pass at a time ──ended─────┘  and hands it to the worker

All scheduling is here. The worker alone opens the ledger for writing, and makes one pass at a
time: passes never overlap.
"""

from syncd.daemon.service import run

__all__ = ["run"]
