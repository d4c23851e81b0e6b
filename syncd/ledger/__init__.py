"""The SQLite ledger: one row for each activity ever seen, the outbox and the memory at once.

All SQL lives in this package. `chosen` turns the table [ledger] into a `LedgerHandle`, which opens the others:
`Ledger` writes, in the thread that opened it and while the ledger is held. `LedgerReader` reads, from any thread or
process, through a connection of its own. A `PersistentReader` does so for years, and `Reports` answers people.
"""

from syncd.ledger.adoption import ADOPTION, Adoption, adoption_of
from syncd.ledger.alerting import Alerting
from syncd.ledger.backfills import Backfill
from syncd.ledger.comparison import Comparison
from syncd.ledger.contract import Handle
from syncd.ledger.counts import BOUNDS
from syncd.ledger.diagnosis import Diagnosis
from syncd.ledger.examination import Examination
from syncd.ledger.forgetting import Erased, Forget
from syncd.ledger.handle import AnyLedger, LedgerHandle, chosen
from syncd.ledger.key_sharing import Admission
from syncd.ledger.lanes import Hold, Taken
from syncd.ledger.lists import Failing, Filter
from syncd.ledger.lost import Lost
from syncd.ledger.operator import Choice, Operator
from syncd.ledger.persistent import PersistentReader
from syncd.ledger.ranges import Range
from syncd.ledger.reader import (
    ACCOUNTS,
    CLOCK,
    CONNECTOR,
    DESTINATION,
    EARLY,
    FIRST_DUE,
    GONE,
    RECOTAP,
    SENDING,
    TRUSTED,
    LedgerReader,
    StreamState,
)
from syncd.ledger.recount import Recount
from syncd.ledger.reports import Reports
from syncd.ledger.rewinding import REWOUND, Rewind, rewind_of
from syncd.ledger.writing import AttemptResult, Booked, Claim, Claimed, Due, Ledger, RecordKey, Sendable

__all__ = [
    "ACCOUNTS",
    "ADOPTION",
    "BOUNDS",
    "CLOCK",
    "CONNECTOR",
    "DESTINATION",
    "EARLY",
    "FIRST_DUE",
    "GONE",
    "RECOTAP",
    "REWOUND",
    "SENDING",
    "TRUSTED",
    "Admission",
    "Adoption",
    "Alerting",
    "AnyLedger",
    "AttemptResult",
    "Backfill",
    "Booked",
    "Choice",
    "Claim",
    "Claimed",
    "Comparison",
    "Diagnosis",
    "Due",
    "Erased",
    "Examination",
    "Failing",
    "Filter",
    "Forget",
    "Handle",
    "Hold",
    "Ledger",
    "LedgerHandle",
    "LedgerReader",
    "Lost",
    "Operator",
    "PersistentReader",
    "Range",
    "RecordKey",
    "Recount",
    "Reports",
    "Rewind",
    "Sendable",
    "StreamState",
    "Taken",
    "adoption_of",
    "chosen",
    "rewind_of",
]
