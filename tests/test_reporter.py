"""The daemon's reports to systemd, and the feeding of the watchdog."""

import io
import json

import pytest

from syncd import log
from syncd.daemon.reporter import Reporter
from syncd.daemon.systemd import Notifier
from syncd.daemon.worker import PassProgress


class Heard(Notifier):
    def __init__(self) -> None:
        super().__init__(None, watchdog_s=30.0)
        self.sent: list[str] = []

    def _send(self, message: str) -> None:
        self.sent.append(message)


@pytest.fixture
def notifier() -> Heard:
    return Heard()


@pytest.fixture
def reporter(notifier: Heard) -> Reporter:
    return Reporter(notifier)


@pytest.fixture
def logged() -> io.StringIO:
    stream = io.StringIO()
    log.configure(stream=stream)
    return stream


def busy(reporter: Reporter, *, now: float, at: float = 0.0) -> None:
    progress = PassProgress()
    progress.at, progress.where = at, "crm calls"
    reporter.busy(["crm"], progress, failure=None, stuck_after_s=900.0, now=now)


def test_the_watchdog_is_fed_three_times_in_its_interval(notifier, reporter):
    for now in range(31):
        reporter.idle("ok", now=float(now))
    assert notifier.sent.count("WATCHDOG=1") == 4
    assert notifier.sent.count("STATUS=ok") == 1


def test_a_stuck_pass_is_logged_once_and_the_watchdog_goes_hungry(notifier, reporter, logged):
    busy(reporter, now=899.0)
    assert notifier.sent == ["STATUS=reading crm calls", "WATCHDOG=1"]
    busy(reporter, now=900.0)
    busy(reporter, now=960.0)
    assert notifier.sent[2:] == ["STATUS=STUCK for 15 min in crm calls: see the log",
                                 "STATUS=STUCK for 16 min in crm calls: see the log"]  # fmt: skip
    (line,) = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert (line["event"], line["level"], line["where"], line["for_s"]) == ("pass.stuck", "error", "crm calls", 900)
    assert line["stands_at"] is not None
    assert line["hint"] == "the pass makes no progress. A watchdog restarts syncd. If there is none, restart it"
    busy(reporter, now=970.0, at=965.0)
    assert notifier.sent[4:] == ["STATUS=reading crm calls", "WATCHDOG=1"], "it makes progress again"


def test_the_next_pass_that_is_stuck_is_logged_too(reporter, logged):
    busy(reporter, now=900.0)
    reporter.pass_begins()
    busy(reporter, now=2000.0)
    assert logged.getvalue().count("pass.stuck") == 2


def test_while_it_stops_the_line_stays_and_the_watchdog_is_fed(notifier, reporter):
    reporter.stopping(busy=True)
    busy(reporter, now=10.0)
    assert notifier.sent == ["STOPPING=1", "STATUS=stopping: the request under way ends first", "WATCHDOG=1"]


def test_one_stuck_pass_of_a_replica_is_logged_once_and_starves_the_watchdog(notifier, reporter, logged):
    passes = {"a": PassProgress(), "b": PassProgress()}
    for progress, at in zip(passes.values(), (950.0, 0.0), strict=True):
        progress.at = at
    for now in (899.0, 900.0, 960.0):
        reporter.slots("2 of 8 slots in use: a, b", passes, stuck_after_s=900.0, now=now)
    assert notifier.sent == [
        "STATUS=2 of 8 slots in use: a, b", "WATCHDOG=1", "STATUS=STUCK for 15 min in b: see the log",
        "STATUS=STUCK for 16 min in b: see the log",
    ]  # fmt: skip
    (line,) = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert line["sources"] == ["b"]
    passes["b"].at = 960.0
    reporter.slots("2 of 8 slots in use: a, b", passes, stuck_after_s=900.0, now=961.0)
    assert notifier.sent[-1] == "WATCHDOG=1"
    passes["a"].at = passes["b"].at = 0.0
    reporter.slots("2 of 8 slots in use: a, b", passes, stuck_after_s=900.0, now=962.0)
    assert len(logged.getvalue().splitlines()) == 2, "another one is said"
