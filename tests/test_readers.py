"""The queue of one pass's sources, without their threads."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.connector import Source
from syncd.errors import Unavailable
from syncd.ledger import Ledger, LedgerHandle
from syncd.normalize.own_domains import Vouching
from syncd.passes import readers, turns
from syncd.passes.control import PassControl
from syncd.passes.events import PageRead, SourceFinished
from syncd.passes.limits import Limits
from syncd.passes.readers import Readers
from syncd.passes.report import PassReport
from syncd.passes.stale import StaleRows
from tests.ledgers import book, reading
from tests.paced import NOW, RULES, Crm


class Idle:
    """A reader without a thread. That of `hung` is called for look-ups, and an earlier one of its name hangs."""

    has_event = gave_way = is_limited = False

    def __init__(self, source: Source) -> None:
        self.source = source
        self.is_alone = source.name in ("hung", "alone")
        self.was_asked = False

    def pointless(self) -> Unavailable | None:
        return Unavailable("it hangs") if self.source.name == "hung" else None

    def start(self) -> None:
        """Do nothing."""

    def booked(self, event: Any) -> None:
        """Do nothing."""

    def read_no_more(self) -> None:
        self.was_asked = True

    def give_way(self) -> None:
        self.was_asked = True


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with LedgerHandle(tmp_path / "ledger.db").open() as ledger:
        yield ledger


def of(
    ledger: Ledger, control: PassControl, *names: str, limits: Limits | None = None
) -> tuple[Readers, dict[str, Idle]]:
    """Return the readers of some sources, and those that were begun, by name."""
    begun: dict[str, Idle] = {}

    def new(source: Source) -> Any:
        begun[source.name] = Idle(source)
        return begun[source.name]

    made = Readers(
        [Crm(name, 1).source for name in names], ledger, PassReport(), Vouching(RULES),
        StaleRows(ledger, (), now=lambda: NOW), control, limits or Limits(), new=new, fail=lambda *_: None,
        now=lambda: NOW,
    )  # fmt: skip
    return made, begun


def test_look_ups_that_cannot_begin_do_not_keep_a_pass_that_is_to_end(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MOST", 1)
    control = PassControl()
    sources, begun = of(ledger, control, "long", "hung")
    sources.start(may_send=True)
    control.end_soon()
    sources.start(may_send=True)
    sources.booked(begun["long"], SourceFinished())  # type: ignore[arg-type]
    sources.start(may_send=True)
    assert "hung" in begun
    assert sources.is_over


def test_a_source_that_waits_for_its_own_look_ups_asks_no_other_to_give_way(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TURN_S", 0.0)
    control = PassControl()
    sources, begun = of(ledger, control, "long", "alone")
    sources.start(may_send=True)
    for reader in begun.values():
        sources.booked(reader, PageRead("calls", (), (), looked_up_at=NOW))  # type: ignore[arg-type]
    time.sleep(0.05)  # then both have had their turn
    control.join(Crm("alone", 1).source)
    sources.start(may_send=True)
    assert not begun["long"].was_asked, "there is room"


def test_a_reached_limit_ends_the_readers_except_for_one_that_looks_up_what_is_sent(ledger: Ledger) -> None:
    sources, begun = of(ledger, PassControl(), "long", "alone", limits=(limits := Limits(most=1)))
    sources.start(may_send=True)
    book(ledger, reading("1"))
    sources.start(may_send=True)
    assert limits.is_reached(ledger, NOW)
    assert {name: reader.was_asked for name, reader in begun.items()} == {"long": True, "alone": False}
