"""The SQLite ledger: one row for each activity ever seen, the outbox and the memory at once.

All SQL lives in this package. `Ledger` writes, in the thread that opened it and while
`held`; `Glance` reads, from any thread or process, through a connection of its own;
a `Lookout` does so for years.
"""

from syncd.ledger.file import exists, held, holder, require_lock
from syncd.ledger.operator import Operator
from syncd.ledger.reading import CLOCK, RECOTAP, Glance
from syncd.ledger.watch import Lookout
from syncd.ledger.writing import Booked, Claim, Claimed, Judgement, Ledger

__all__ = [
    "CLOCK",
    "RECOTAP",
    "Booked",
    "Claim",
    "Claimed",
    "Glance",
    "Judgement",
    "Ledger",
    "Lookout",
    "Operator",
    "exists",
    "held",
    "holder",
    "require_lock",
]
