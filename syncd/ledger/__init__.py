"""The SQLite ledger: one row for each activity ever seen, the outbox and the memory at once.

All SQL lives in this package. `Ledger` writes, in the thread that opened it and while
`held`; `Glance` reads, from any thread or process, through a connection of its own.
"""

from syncd.ledger.file import held
from syncd.ledger.operating import Operator
from syncd.ledger.reading import Glance
from syncd.ledger.writing import RECOTAP, Booked, Claim, Claimed, Judgement, Ledger

__all__ = ["RECOTAP", "Booked", "Claim", "Claimed", "Glance", "Judgement", "Ledger", "Operator", "held"]
