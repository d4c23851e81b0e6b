"""The thread that makes passes: after any end of one, the next can be ordered."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, cast

import pytest

from syncd import log, memory
from syncd.config import Config
from syncd.daemon.worker import MANY, Ended, Order, Worker
from syncd.errors import ConfigError, Exit, LedgerError, Problem, Unavailable
from syncd.ledger import Booked
from syncd.passes import wiring
from syncd.passes.dispatch import Totals
from syncd.passes.report import Observer, PassResult
from syncd.signals import StopRequest

LEDGER = SimpleNamespace(url="", path=Path("ledger.db"))  # never opened
ORDER = Order(cast("Config", SimpleNamespace(ledger=LEDGER)), ())
PROBLEM = Problem("sources.crm", "leads to another portal", "use the credentials of the one that it was")


class Passes:
    """A worker whose passes do as the test says, and its log."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ended: SimpleQueue[Any] = SimpleQueue()
        self.stream = io.StringIO()
        self.does: Callable[[Observer], PassResult] = lambda observer: PassResult(Exit.OK, Totals())
        log.configure(stream=self.stream)
        monkeypatch.setattr(wiring, "one_pass", lambda config, *, observer, **how: self.does(observer))
        self.worker = Worker(StopRequest(), self.ended.put)
        self.worker.start()

    def make(self, does: Callable[[Observer], PassResult]) -> Ended:
        self.does = does
        self.worker.order(ORDER)
        return cast("Ended", self.ended.get(timeout=10))

    @property
    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Passes]:
    passes = Passes(monkeypatch)
    yield passes
    passes.worker.stop()
    assert not passes.worker.is_alive()


def raising(error: Exception) -> Callable[[Observer], PassResult]:
    def does(observer: Observer) -> PassResult:
        raise error

    return does


def test_a_bug_is_logged_with_its_traceback_and_without_its_message_and_the_next_pass_is_made(passes):
    ended = passes.make(raising(KeyError("kaya.ivorstone@amber-bolts.com")))
    assert ended.outcome is None
    assert [error.message for error in ended.failed(["crm"]).values()] == ["a bug: KeyError"]
    (line,) = passes.said
    assert (line["event"], line["level"]) == ("pass.bug", "error")
    assert line["hint"] == "report it. The next pass tries again"
    assert "test_worker.py" in line["exception"]
    assert "kaya" not in line["exception"]
    assert passes.make(lambda observer: PassResult(Exit.OK, Totals())).failed(["crm"]) == {}


def test_a_ledger_that_fails_is_one_line_with_what_to_do(passes):
    ended = passes.make(raising(LedgerError("the disk is full", hint="make room")))
    failed = ended.failed(["crm", "another"])
    assert {name: error.exit_code for name, error in failed.items()} == {"crm": Exit.LEDGER, "another": Exit.LEDGER}
    assert [(line["event"], line["hint"]) for line in passes.said] == [("pass.failed", "make room")]


def test_each_mistake_of_a_configuration_is_a_line_for_there_is_nobody_to_print_to(passes):
    ended = passes.make(raising(ConfigError([PROBLEM, PROBLEM])))
    assert ended.failed(["crm"])["crm"].exit_code == Exit.CONFIG
    assert [(line["key"], line["hint"]) for line in passes.said] == [(PROBLEM.path, PROBLEM.hint)] * 2


def test_so_is_one_that_a_source_finds_during_the_pass(passes):
    outage, stranger = Unavailable("it is down"), ConfigError([PROBLEM])
    outcome = PassResult(Exit.CONFIG, Totals(), errors=(outage, stranger), failed={"crm": outage, "another": stranger})
    assert passes.make(lambda observer: outcome).failed(["crm", "another", "third"]) == outcome.failed
    assert [line["event"] for line in passes.said] == ["config.problem"], "the pass has logged the outage itself"


def test_after_a_pass_that_read_much_memory_is_given_back(passes, monkeypatch):
    given: list[str] = []
    monkeypatch.setattr(memory, "give_back", lambda: given.append("back"))

    def reads(count: int) -> Callable[[Observer], PassResult]:
        def does(observer: Observer) -> PassResult:
            observer.read("crm", "calls", Booked(), count)
            return PassResult(Exit.OK, Totals())

        return does

    passes.make(reads(MANY - 1))
    assert given == []
    passes.make(reads(MANY))
    assert given == ["back"]
    assert passes.worker.progress.where == "crm calls"
