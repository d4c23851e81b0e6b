"""A source that hangs, as on a dead network drive, stalls itself alone and no stop."""

import gc
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
from syncd.activity import Draft
from syncd.connector import Page, Record, Source, Window
from syncd.errors import Exit
from syncd.ledger import LedgerHandle
from syncd.normalize.rules import Rules
from syncd.passes import dry_run, engine, reader
from syncd.passes.dry_run import DryRun
from syncd.passes.engine import Pass
from syncd.passes.report import PassResult
from syncd.signals import StopRequest
from tests.daemons import wait_until
from tests.drops import Drop, call


class Hanging(Jsonl):
    """A folder whose disk does not answer until it is released."""

    released: ClassVar[threading.Event]
    ended: ClassVar[threading.Event]

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        """Wait for ever, as a read of a dead drive does. Once released, read as usual."""
        self.released.wait()
        yield from super().fetch(stream, window)

    def close(self) -> None:
        """Tell the test that the thread ends."""
        self.ended.set()


class HangingOnARecord(Hanging):
    """Read the file, and never return from `normalize` until released."""

    fetch = Jsonl.fetch

    def normalize(self, stream: str, record: Record) -> Draft | None:
        self.released.wait()
        return super().normalize(stream, record)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(engine, "WAKE_S", 0.01)
    monkeypatch.setattr(dry_run, "WAKE_S", 0.01)
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


RULES = Rules(own_domains=frozenset({"lanternfield.com"}))


def sources_of(drops: list[Drop], connector: type[Jsonl] = Hanging) -> list[Source]:
    hangs, other = drops
    return [Source("hangs", hangs.config, connector), Source("other", other.config, Jsonl)]


def passed(drops: list[Drop], stop: StopRequest | None = None, *, connector: type[Jsonl] = Hanging) -> PassResult:
    hangs = drops[0]
    with LedgerHandle(hangs.ledger).open() as ledger:
        return Pass(
            ledger, sources_of(drops, connector), hangs.recotap, RULES, concurrency=1, max_age=timedelta(days=7),
            stop=stop, now=hangs.now,
        ).run()  # fmt: skip


def looked(drops: list[Drop], stop: StopRequest | None = None) -> tuple[list[str], DryRun]:
    """Return the ids that a dry run shows, and the run itself."""
    ledger = LedgerHandle(drops[0].ledger)
    run = DryRun(sources_of(drops), RULES, ledger=ledger, stop=stop or StopRequest(), now=drops[0].now)
    return [reading.crm_id for reading in run.readings()], run


def test_a_source_that_hangs_stalls_itself_alone(drops: list[Drop], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "HANGS_S", 1.0)
    outcome = passed(drops)
    assert outcome.exit_code == Exit.UNAVAILABLE
    (error,) = outcome.errors
    assert error.message == "hangs hangs: nothing was heard of it for minutes"
    hint = "look at the disk or network drive of this source: `syncd check` may tell. The other sources go on"
    assert error.hint == hint
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


def test_a_record_that_a_connector_never_finishes_stalls_its_source_alone(
    drops: list[Drop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "HANGS_S", 1.0)
    (error,) = passed(drops, connector=HangingOnARecord).errors
    assert error.message == "hangs hangs: nothing was heard of it for minutes"
    assert drops[0].states() == {"other": "delivered"}
    assert drops[0].balanced()


def test_what_an_abandoned_reader_sends_later_is_ignored(drops: list[Drop], monkeypatch: pytest.MonkeyPatch) -> None:
    """It wakes while the other source is read."""
    monkeypatch.setattr(reader, "HANGS_S", 0.5)
    drops[1].table["timeout"] = "20s"
    lane = (LedgerHandle(drops[0].ledger), "hangs")
    identity = Jsonl.identity

    def waking(self: Jsonl) -> str | None:
        if self._context.source == "other":
            wait_until(lambda: lane in reader._ABANDONED)
            Hanging.released.set()
            assert Hanging.ended.wait(10)
        return identity(self)

    monkeypatch.setattr(Jsonl, "identity", waking)
    assert passed(drops).exit_code == Exit.UNAVAILABLE
    assert drops[0].states() == {"other": "delivered"}
    assert drops[0].balanced()


def test_a_stop_does_not_wait_for_a_source_that_hangs(drops: list[Drop], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "STOP_S", 0.5)
    stop = StopRequest()
    timer = threading.Timer(0.5, stop.request, (15,))
    began = time.monotonic()
    timer.start()
    outcome = passed(drops, stop)
    assert outcome.exit_code == Exit.SIGTERM
    assert outcome.errors == ()
    assert time.monotonic() - began < 10


def test_a_dry_run_goes_on_without_a_source_that_hangs(drops: list[Drop], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "HANGS_S", 0.5)
    shown, run = looked(drops)
    assert shown == ["other"]
    (error,) = run.errors
    assert (error.exit_code, error.message) == (69, "hangs hangs: nothing was heard of it for minutes")
    threads = threading.active_count()
    shown, run = looked(drops)
    assert shown == ["other"]
    assert [error.message for error in run.errors] == ["hangs hangs: nothing was heard of it since an earlier pass"]
    assert threading.active_count() == threads, "each dry run adds a thread"


def test_a_dry_run_hears_a_stop_while_a_source_hangs(drops: list[Drop]) -> None:
    stop = StopRequest()
    timer = threading.Timer(0.3, stop.request, (15,))
    began = time.monotonic()
    timer.start()
    shown, run = looked(drops, stop)
    assert time.monotonic() - began < 0.3 + 0.2 + 2, "the deadline and 2 s"
    assert shown == []
    assert {error.exit_code for error in run.errors} <= {Exit.SIGTERM}


def test_nothing_is_remembered_of_an_abandoned_thread_that_has_ended(
    drops: list[Drop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "HANGS_S", 0.5)
    passed(drops)
    key = (LedgerHandle(drops[0].ledger), "hangs")
    thread = reader._ABANDONED[key]
    Hanging.released.set()
    thread.join(10)
    del thread
    gc.collect()
    assert key not in reader._ABANDONED
