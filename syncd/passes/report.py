"""The report of one pass: its progress, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from syncd.errors import Exit, SyncdError
from syncd.ledger import Booked
from syncd.passes.dispatch import Totals


class Observer(Protocol):
    """What wants to see a pass go on, e.g. progress bars; called in the ledger's thread."""

    def on_progress(self) -> None:
        """Something came, whatever it was: of a reader, or of a POST."""

    def read(self, source: str, stream: str, booked: Booked, count: int) -> None:
        """One page was booked: what it changed, and how many records it held."""

    def sent(self, totals: Totals) -> None:
        """Verdicts of one POST were booked."""


class NullObserver:
    """Look away."""

    def on_progress(self) -> None:
        """Do nothing."""

    def read(self, source: str, stream: str, booked: Booked, count: int) -> None:
        """Do nothing."""

    def sent(self, totals: Totals) -> None:
        """Do nothing."""


@dataclass(slots=True)
class StreamTotals:
    """What a pass read of one stream."""

    read: int = 0
    new: int = 0
    changed: int = 0
    changed_after_delivery: int = 0


@dataclass(frozen=True, slots=True)
class PassResult:
    """How a pass ended."""

    exit_code: Exit
    totals: Totals
    streams: dict[tuple[str, str], StreamTotals] = field(default_factory=dict)
    errors: tuple[SyncdError, ...] = ()
    failed: Mapping[str, SyncdError] = field(default_factory=dict)  # sources that were not read to the end, and
    # RECOTAP where sending stopped: why
