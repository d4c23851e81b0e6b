"""A source that hangs, as on a dead network drive: it stalls itself alone, and no stop."""

import logging
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest
import structlog

from connectors.jsonl import Jsonl
from syncd import engine, pull
from syncd.connector import Page, Source, Window
from syncd.engine import Halt, Outcome, Pass
from syncd.errors import Exit
from syncd.ledger import Ledger
from syncd.rules import Rules
from tests.drops import Drop, call


class Hanging(Jsonl):
    """A folder whose disk answers to nobody until it is released."""

    released: ClassVar[threading.Event]
    ended: ClassVar[threading.Event]

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        """Wait for ever, as a read of a dead drive does, then go on as if nothing had been."""
        self.released.wait()
        yield from super().fetch(stream, window)

    def close(self) -> None:
        """Tell the test that the thread has come to its end."""
        self.ended.set()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(engine, "WAKE_S", 0.01)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    Hanging.released, Hanging.ended = threading.Event(), threading.Event()
    yield
    Hanging.released.set()
    assert Hanging.ended.wait(10), "the abandoned thread goes on for ever"


@pytest.fixture
def drops(tmp_path: Path) -> list[Drop]:
    """Return the folder that hangs and the healthy one, each with a file."""
    made = []
    for name in ("hangs", "other"):
        (tmp_path / name).mkdir()
        made.append(Drop(tmp_path / name, timeout="200ms"))
        made[-1].file("a.jsonl", call(name))
    return made


def passed(drops: list[Drop], halt: Halt | None = None) -> Outcome:
    hangs, other = drops
    sources = [Source("hangs", hangs.config, Hanging), Source("other", other.config, Jsonl)]
    rules = Rules(own_domains=frozenset({"lanternfield.com"}))
    with Ledger.open(hangs.ledger) as ledger:
        return Pass(
            ledger, sources, hangs.recotap, rules, concurrency=1, max_age=timedelta(days=7), halt=halt, now=hangs.now
        ).run()


def test_a_source_that_hangs_stalls_itself_alone(drops: list[Drop], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "HANGS_S", 1.0)
    outcome = passed(drops)
    assert outcome.exit_code == Exit.UNAVAILABLE
    (error,) = outcome.errors
    assert error.message == "hangs hangs: nothing was heard of it for minutes"
    assert error.hint
    assert drops[0].states() == {"other": "delivered"}
    assert drops[0].balanced()
    threads = threading.active_count()
    (error,) = passed(drops).errors
    assert error.message == "hangs hangs: nothing was heard of it since an earlier pass"
    assert threading.active_count() == threads, "each pass adds a thread"
    Hanging.released.set()
    assert Hanging.ended.wait(10)
    for thread in threading.enumerate():
        if thread.name == "read hangs":
            thread.join(10)
    assert passed(drops).exit_code == Exit.OK
    assert drops[0].states() == {"hangs": "delivered", "other": "delivered"}


def test_what_an_abandoned_reader_sends_later_is_ignored(drops: list[Drop], monkeypatch: pytest.MonkeyPatch) -> None:
    """It wakes while the next source is read."""
    monkeypatch.setattr(pull, "HANGS_S", 0.5)
    identity = Jsonl.identity

    def waking(self: Jsonl) -> str | None:
        if self._context.source == "other":
            Hanging.released.set()
            assert Hanging.ended.wait(10)
        return identity(self)

    monkeypatch.setattr(Jsonl, "identity", waking)
    assert passed(drops).exit_code == Exit.UNAVAILABLE
    assert drops[0].states() == {"other": "delivered"}
    assert drops[0].balanced()


def test_a_stop_does_not_wait_for_a_source_that_hangs(drops: list[Drop], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "STOP_S", 0.5)
    halt = Halt()
    timer = threading.Timer(0.5, halt.ask, (15,))
    began = time.monotonic()
    timer.start()
    outcome = passed(drops, halt)
    assert outcome.exit_code == Exit.SIGTERM
    assert outcome.errors == ()
    assert time.monotonic() - began < 10
