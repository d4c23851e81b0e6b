"""The daemon on a ledger that replicas share: what it takes, what ends a pass, and what it leaves to the others.

The rows of the lanes are a stand-in (tests/lanes.py), and a pass is a function of the test. Real passes are made by
tests/test_replica_postgres.py.
"""

import io
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from syncd import clock, log
from syncd.config import Config, load
from syncd.connector import Source
from syncd.daemon import agenda, lane_schedule, lanes, replica
from syncd.daemon.lane_pass import LanePass
from syncd.daemon.lane_schedule import AGAIN_S
from syncd.daemon.replica import ReplicaService
from syncd.daemon.systemd import Notifier
from syncd.errors import Exit, LedgerError, LedgerHeld, SyncdError, Unauthorized, Unavailable
from syncd.ledger import RECOTAP
from syncd.passes import wiring
from syncd.passes.control import PassControl
from syncd.passes.jobs import Totals
from syncd.passes.report import PassResult
from syncd.signals import StopRequest
from tests.daemons import wait_until
from tests.lanes import SharedLanes, StandIn

HOUR_S = 3600.0


class Told(Notifier):
    """A notifier that records the status lines."""

    def __init__(self) -> None:
        super().__init__(None)
        self.lines: list[str] = [""]

    def status(self, line: str) -> None:
        self.lines.append(line)


class Outbox:
    """The facts that a pass leaves in its lane."""

    def __init__(self, send_in_s: float | None = None, **paused_s: float) -> None:
        self._send_in_s, self._paused_s = send_in_s, paused_s

    def next_send_at(self) -> datetime | None:
        return None if self._send_in_s is None else clock.now() + timedelta(seconds=self._send_in_s)

    def pause(self, name: str, now: datetime) -> tuple[datetime, str] | None:
        until_s = self._paused_s.get(name.removeprefix("@"))
        return None if until_s is None else (now + timedelta(seconds=until_s), "quota")


class Pass:
    """One pass as the engine makes it, and what the test may do with it. It obeys the stop and the control."""

    def __init__(self, names: list[str], stop: StopRequest, control: PassControl) -> None:
        self.names = names
        self.stop, self._control = stop, control
        self.errors: dict[str, SyncdError] = {}

    def lasts(self, least_s: float = 60.0) -> bool:
        """Read until a stop, or until the pass is to end soon. The source then gives way."""
        ends = time.monotonic() + least_s
        while time.monotonic() < ends and not self.stop.requested:
            if None in self._control.take():
                break
            time.sleep(0.005)
        return True

    def reads(self) -> bool:
        """Read each source to its end."""
        for name in self.names:
            self._control.ended(name, None)
        return True

    def fails(self, error: SyncdError, name: str = "") -> bool:
        for each in [name] if name else self.names:
            self.errors[each] = error
            self._control.ended(each, error)
        return True

    @property
    def result(self) -> PassResult:
        code = max((error.exit_code for error in self.errors.values()), default=Exit.OK)
        return PassResult(code, Totals(), errors=tuple(self.errors.values()), failed=self.errors)


class Fleet:
    """Any number of replicas of one configuration in this process. `does` makes each pass of a lane."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.lanes = SharedLanes()
        self.does: Callable[[str, Pass], Any] = lambda lane, made: made.reads()
        self.outbox = Outbox()
        self.made: list[tuple[str, tuple[str, ...]]] = []  # the lane, and the sources that its pass read
        self.under_way: list[str] = []
        self.key = path / "key"
        self.key.write_text("a-key-of-recotap")
        self.key.chmod(0o600)
        self.log = io.StringIO()
        log.configure(stream=self.log)
        monkeypatch.setattr(wiring, "one_pass", self._pass)

    def config(self, *names: str, every: str = "1h", **run: Any) -> Path:
        (self.path / "drop").mkdir(exist_ok=True)
        keys = "\n".join(f"{key} = {json.dumps(value)}" for key, value in run.items())
        tables = [
            f'[recotap]\napi_key = "file:{self.key}"', f'[ledger]\npath = "{self.path}/ledger.db"',
            f'[schedule]\nevery = "{every}"', f"[run]\n{keys}", '[rules]\nown_domains = ["lanternfield-sales.com"]',
            *(
                f'[sources.{name}]\nconnector = "jsonl"\nstart = 2026-01-01T00:00:00Z\npath = "{self.path}/drop"'
                for name in names
            ),
        ]  # fmt: skip
        file = self.path / "syncd.toml"
        file.write_text("\n".join(tables) + "\n")
        return file

    def _pass(
        self, config: Config, *, sources: tuple[Source, ...], stop: StopRequest, control: PassControl,
        at_end: Callable[[Any], None], **more: Any,
    ) -> PassResult:  # fmt: skip
        name = threading.current_thread().name.removeprefix("lane ")
        assert name not in self.under_way, "one lane has one writer"
        self.made.append((name, tuple(source.name for source in sources)))
        self.under_way.append(name)
        try:
            made = Pass([source.name for source in sources], stop, control)
            self.does(name, made)
            at_end(self.outbox)
            return made.result
        finally:
            self.under_way.remove(name)

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]

    def row(self, name: str) -> Any:
        return self.lanes.rows[name]

    def passes(self, name: str) -> int:
        return len(self.row(name).releases) if name in self.lanes.rows else 0


class Running:
    """One replica in a thread of its own."""

    def __init__(self, fleet: Fleet, file: Path) -> None:
        self.events: SimpleQueue[Any] = SimpleQueue()
        self.told = Told()
        self.error: Exception | None = None
        self.code: int | None = None
        self.replica = StandIn(fleet.lanes, "a handle")
        config = load(file)
        ledger: Any = replica_ledger(config)
        self.service = ReplicaService(config, self.events, self.told, self.replica, ledger, config_file=file)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.code = self.service.run()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def end(self) -> None:
        self.events.put(int(signal.SIGTERM))
        self.thread.join(20)
        assert not self.thread.is_alive()


def replica_ledger(config: Config) -> Any:
    from syncd.ledger import chosen

    return chosen(config.ledger)


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A fleet whose waits of seconds are hundredths."""
    monkeypatch.setattr(replica, "TICK_S", 0.01)
    monkeypatch.setattr(replica, "KEYS_S", 0.02)
    monkeypatch.setattr(lane_schedule, "IDLE_S", 0.01)
    monkeypatch.setattr(lane_schedule, "FULL_S", 0.02)
    monkeypatch.setattr(lane_schedule, "PATIENCE_S", 0.04)
    monkeypatch.setattr(lanes, "FULL_LOOK_S", 0.02)
    monkeypatch.setattr(lanes, "LOOK_S", 0.05)
    monkeypatch.setattr(lanes, "RETRY_S", 0.02)
    return Fleet(tmp_path, monkeypatch)


@contextmanager
def serving(fleet: Fleet, file: Path, count: int = 1) -> Iterator[list[Running]]:
    running = [Running(fleet, file) for _ in range(count)]
    with ExitStack() as stack:
        for each in running:
            stack.callback(each.end)
        yield running
    assert [(each.error, each.code) for each in running] == [(None, 0)] * count


# -- what is taken --------------------------------------------------------------------------


def test_each_lane_has_a_pass_over_its_source_and_is_due_again_by_its_schedule(fleet: Fleet) -> None:
    with serving(fleet, fleet.config("a", "b", "c")) as (running,):
        wait_until(lambda: all(fleet.passes(name) == 1 for name in "abc"))
        assert sorted(fleet.made) == [("a", ("a",)), ("b", ("b",)), ("c", ("c",))]
        for name in "abc":
            ((pass_in_s, reads_in_s, failures),) = fleet.row(name).releases
            assert pass_in_s == reads_in_s
            assert HOUR_S / 2 <= pass_in_s <= HOUR_S * 1.5
            assert failures == 0
        wait_until(lambda: running.told.lines[-1] == "0 of 8 slots in use")


def test_replicas_share_the_lanes_and_none_has_two_writers(fleet: Fleet) -> None:
    fleet.does = lambda lane, made: made.lasts(0.03) and made.reads()
    names = [f"org{number}" for number in range(12)]
    with serving(fleet, fleet.config(*names, every="20ms", passes=4), count=3) as running:
        wait_until(lambda: all(fleet.passes(name) >= 4 for name in names))
        shares = [len(each.replica.taken) for each in running]
        assert min(shares) > sum(shares) / 8, shares


def test_no_more_passes_are_made_side_by_side_than_there_are_slots(fleet: Fleet) -> None:
    most = [0]

    def does(lane: str, made: Pass) -> None:
        most.append(len(fleet.under_way))
        made.lasts(0.03)
        made.reads()

    fleet.does = does
    names = [f"org{number}" for number in range(6)]
    with serving(fleet, fleet.config(*names, passes=2)) as (running,):
        wait_until(lambda: all(fleet.passes(name) for name in names))
        assert max(most) == 2
        assert any(line.startswith("2 of 2 slots in use: org") for line in running.told.lines)


def test_a_lane_that_is_due_for_its_outbox_alone_reads_no_source(fleet: Fleet) -> None:
    fleet.outbox = Outbox(send_in_s=0.1)
    with serving(fleet, fleet.config("a")):
        wait_until(lambda: len(fleet.made) >= 3)
    assert fleet.made[:3] == [("a", ("a",)), ("a", ()), ("a", ())]
    (_, first, _), (_, second, _) = fleet.row("a").releases[:2]
    assert first - second == pytest.approx(0.1, abs=0.1), "its time stays"


def test_a_lane_that_an_operator_wakes_is_read_before_its_time(fleet: Fleet) -> None:
    with serving(fleet, fleet.config("a")) as (running,):
        wait_until(lambda: fleet.passes("a") == 1)
        running.replica.wake(["a"])
        wait_until(lambda: fleet.passes("a") == 2, at_most=2.0)
        time.sleep(0.1)
    assert fleet.made == [("a", ("a",))] * 2


def test_a_lane_whose_source_the_configuration_lacks_sends_and_leaves_its_reading_to_others(fleet: Fleet) -> None:
    file = fleet.config("a")
    StandIn(fleet.lanes, None).enrol(["gone"])
    before = fleet.row("gone").reads_at
    with serving(fleet, file):
        wait_until(lambda: fleet.passes("gone") == 1)
    assert ("gone", ()) in fleet.made
    assert fleet.row("gone").reads_at == before
    assert fleet.row("gone").releases[0][0] >= HOUR_S / 2


def test_an_orphan_is_taken_first_and_though_the_replica_is_nearly_full(fleet: Fleet) -> None:
    file = fleet.config("a", "b", passes=1)
    with serving(fleet, file) as (running,):
        wait_until(lambda: fleet.passes("a") and fleet.passes("b"))
        with fleet.lanes.lock:
            fleet.row("a").due_at = fleet.row("b").due_at = time.monotonic()
            fleet.row("b").due_at -= 100
            fleet.row("a").token, fleet.row("a").expired = "a dead replica's", True
        wait_until(lambda: fleet.passes("a") == 2 and fleet.passes("b") == 2)
        assert running.replica.taken[2:] == ["a", "b"]


def test_the_orphans_of_a_dead_replica_are_taken_without_a_pause(fleet: Fleet, monkeypatch) -> None:
    monkeypatch.setattr(lane_schedule, "FULL_S", 16.0)
    fleet.does = lambda lane, made: made.lasts()
    file = fleet.config("a", "b", "c", passes=4)
    StandIn(fleet.lanes, None).enrol(["a", "b", "c"])
    for row in fleet.lanes.rows.values():
        row.token, row.expired = "a dead replica's", True
    with serving(fleet, file):
        wait_until(lambda: len(fleet.under_way) == 3, at_most=2.0)


# -- what ends a pass -----------------------------------------------------------------------


def test_a_lane_that_another_replica_took_ends_its_pass_alone(fleet: Fleet) -> None:
    fleet.does = lambda lane, made: made.lasts() if lane == "a" else made.reads()
    with serving(fleet, fleet.config("a", "b")):
        wait_until(lambda: "a" in fleet.under_way and fleet.passes("b"))
        fleet.lanes.steal("a")
        wait_until(lambda: not fleet.under_way)
        time.sleep(0.05)
        assert (fleet.row("a").token, fleet.row("a").releases) == ("another", [])
    (line,) = fleet.said("lane.lost")
    assert line["source"] == "a"
    assert line["hint"] == "nothing: the replica that has it goes on where this one was"


def test_a_lane_that_is_being_released_is_not_lost(fleet: Fleet, monkeypatch) -> None:
    release = StandIn._release

    def slowly(*of: Any, **more: Any) -> None:
        release(*of, **more)
        time.sleep(0.1)

    monkeypatch.setattr(StandIn, "_release", slowly)
    with serving(fleet, fleet.config("a")) as (running,):
        wait_until(lambda: fleet.passes("a") == 1)
        wait_until(lambda: not running.service._lanes)
    assert fleet.said("lane.lost") == []


def test_a_lane_that_is_taken_again_waits_for_the_end_of_its_last_pass_here(fleet: Fleet) -> None:
    """A process that stood still lost its lane, and takes it again before it knows of that."""
    over = threading.Event()
    fleet.does = lambda lane, made: over.wait(10) and made.reads()
    with serving(fleet, fleet.config("a")) as (running,):
        wait_until(lambda: fleet.under_way)
        with fleet.lanes.lock:
            fleet.row("a").expired = True
        wait_until(lambda: len(running.replica.taken) == 2 and fleet.row("a").token is None)
        assert fleet.under_way == ["a"]
        over.set()
        wait_until(lambda: len(fleet.made) == 2 and not fleet.under_way)
        wait_until(lambda: not running.service._lanes)


def test_so_does_a_fence_that_refuses_a_write(fleet: Fleet) -> None:
    def does(lane: str, made: Pass) -> None:
        fleet.lanes.steal("a")
        raise LedgerHeld("the lane was taken by another replica")

    fleet.does = does
    with serving(fleet, fleet.config("a")) as (running,):
        wait_until(lambda: fleet.made and not fleet.under_way)
        time.sleep(0.05)
        assert "FAILED" not in running.told.lines[-1]
    assert len(fleet.made) == 1
    assert (len(fleet.said("lane.lost")), fleet.said("pass.failed")) == (1, [])


def test_a_broken_connection_ends_the_pass_and_the_lane_is_free_soon(fleet: Fleet) -> None:
    def does(lane: str, made: Pass) -> None:
        raise LedgerError("the connection was lost", hint="start PostgreSQL")

    fleet.does = does
    with serving(fleet, fleet.config("a")) as (running,):
        wait_until(lambda: fleet.passes("a") == 1)
        assert fleet.row("a").releases == [(AGAIN_S, None, 1)]
        wait_until(lambda: "a FAILED: the connection was lost" in running.told.lines[-1])
    assert len(fleet.said("pass.failed")) == 1


def test_a_bug_in_a_pass_ends_nothing(fleet: Fleet) -> None:
    fleet.does = lambda lane, made: 1 / 0
    with serving(fleet, fleet.config("a")):
        wait_until(lambda: fleet.passes("a") == 1)
    assert len(fleet.said("pass.bug")) == 1


def test_a_source_that_fails_is_probed_less_and_less_often_whichever_replica_does_it(fleet: Fleet, monkeypatch) -> None:
    monkeypatch.setattr(lane_schedule, "PROBE_FIRST_S", 0.05)
    monkeypatch.setattr(agenda, "PROBE_FIRST_S", 0.05)
    fleet.does = lambda lane, made: made.fails(Unavailable("it is down"))
    with serving(fleet, fleet.config("a"), count=3):
        wait_until(lambda: fleet.passes("a") == 4)
    waits = [pass_in_s for pass_in_s, _, _ in fleet.row("a").releases[:4]]
    assert waits == [0.05, 0.1, 0.2, 0.4]


def test_a_pause_of_the_source_holds_up_no_activity(fleet: Fleet) -> None:
    fleet.outbox = Outbox(send_in_s=60.0, a=HOUR_S * 4)
    with serving(fleet, fleet.config("a")):
        wait_until(lambda: fleet.passes("a") == 1)
    ((pass_in_s, reads_in_s, _),) = fleet.row("a").releases
    assert pass_in_s == pytest.approx(60, abs=1)
    assert reads_in_s == pytest.approx(HOUR_S * 4, abs=1)


def test_what_recotap_does_not_take_waits_for_the_end_of_its_pause(fleet: Fleet) -> None:
    fleet.outbox = Outbox(send_in_s=-1.0, recotap=900.0)
    fleet.does = lambda lane, made: made.reads() and made.fails(Unavailable("quota"), RECOTAP)
    with serving(fleet, fleet.config("a")) as (running,):
        wait_until(lambda: fleet.passes("a") == 1)
        wait_until(lambda: "a FAILED: quota" in running.told.lines[-1])
    assert fleet.row("a").releases[0][0] == pytest.approx(900, abs=1)


# -- turns ----------------------------------------------------------------------------------


def test_a_pass_whose_turn_is_over_makes_room_for_an_overdue_lane_and_goes_on_after_it(fleet: Fleet) -> None:
    fleet.does = lambda lane, made: made.lasts() if lane == "long" else made.reads()
    with serving(fleet, fleet.config("long", "small", every="50ms", passes=1, turn="200ms")):
        wait_until(lambda: fleet.passes("long") >= 2 and fleet.passes("small") >= 2)
    assert {due[:2] for due in fleet.row("long").releases} == {(0.0, 0.0)}
    lanes_made = [name for name, _ in fleet.made]
    assert not any(pair == ("long", "long") for pair in pairwise(lanes_made))


def test_a_pass_goes_on_as_long_as_no_lane_waits(fleet: Fleet, monkeypatch) -> None:
    fleet.does = lambda lane, made: made.lasts() if lane == "long" else made.reads()
    with serving(fleet, fleet.config("long", "small", passes=2, turn="50ms")):
        wait_until(lambda: fleet.passes("small") == 1)
        time.sleep(0.3)
        assert fleet.passes("long") == 0
        monkeypatch.setattr(lane_schedule, "PASS_S", 0.3)
        wait_until(lambda: fleet.passes("long") >= 1, what="the end of a pass is never far")


# -- the end --------------------------------------------------------------------------------


def test_a_stop_releases_all_lanes_at_once_for_the_others(fleet: Fleet) -> None:
    fleet.does = lambda lane, made: made.lasts()
    running = Running(fleet, fleet.config("a", "b", "c"))
    wait_until(lambda: len(fleet.under_way) == 3)
    began = time.monotonic()
    running.end()
    assert (running.code, running.error) == (0, None)
    assert time.monotonic() - began < 1
    assert [fleet.row(name).releases for name in "abc"] == [[(0.0, 0.0, 0)]] * 3
    fleet.does = lambda lane, made: made.reads()
    with serving(fleet, fleet.path / "syncd.toml"):
        wait_until(lambda: all(fleet.passes(name) == 2 for name in "abc"))


def test_who_is_asked_to_end_while_it_starts_takes_nothing(fleet: Fleet) -> None:
    file = fleet.config("a")
    StandIn(fleet.lanes, None).enrol(["a"])
    config = load(file)
    events: SimpleQueue[Any] = SimpleQueue()
    events.put(int(signal.SIGTERM))
    assert ReplicaService(config, events, Told(), StandIn(fleet.lanes, None), replica_ledger(config)).run() == 0
    assert fleet.made == []
    assert fleet.row("a").epoch == 0


def test_a_lane_that_is_taken_during_the_stop_is_released(fleet: Fleet) -> None:
    config, other = load(fleet.config("a")), StandIn(fleet.lanes, None)
    other.enrol(["a"])
    events: SimpleQueue[Any] = SimpleQueue()
    for event in (int(signal.SIGTERM), other.take()):
        events.put(event)
    assert ReplicaService(config, events, Told(), other, replica_ledger(config)).run() == 0
    assert fleet.row("a").releases == [(0.0, None, 0)]
    assert fleet.made == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("where", ["a pass", "the taker"])
def test_a_thread_that_ends_ends_the_daemon_loudly(fleet: Fleet, monkeypatch, where: str) -> None:
    def dies(*_: object) -> None:
        raise SystemExit

    if where == "a pass":
        fleet.does = dies
    else:
        monkeypatch.setattr(StandIn, "take", dies)
    running = Running(fleet, fleet.config("a"))
    running.thread.join(10)
    assert isinstance(running.error, RuntimeError)
    assert "a thread of the daemon has ended" in str(running.error)


# -- the database, the configuration, the keys ----------------------------------------------


def test_a_database_that_is_away_is_said_once_and_asked_again(fleet: Fleet) -> None:
    with serving(fleet, fleet.config("a")):
        wait_until(lambda: fleet.passes("a") == 1)
        fleet.lanes.is_away = True
        time.sleep(0.3)
        fleet.lanes.is_away = False
        StandIn(fleet.lanes, None).wake(["a"])
        wait_until(lambda: fleet.passes("a") == 2)
    (cut_off,), (_,) = fleet.said("lanes.cut_off"), fleet.said("lanes.back")
    assert cut_off["hint"] == "start it. syncd tries again every few seconds"


def test_a_reload_adds_sources_and_slots_and_tries_what_fails_again(fleet: Fleet) -> None:
    fleet.does = lambda lane, made: made.fails(Unavailable("down")) if len(fleet.made) == 1 else made.reads()
    with serving(fleet, fleet.config("a", passes=1)) as (running,):
        wait_until(lambda: fleet.passes("a") == 1)
        wait_until(lambda: "FAILED" in running.told.lines[-1])
        fleet.config("a", "new", passes=3)
        running.events.put(int(signal.SIGHUP))
        wait_until(lambda: fleet.passes("a") == 2 and fleet.passes("new") == 1)
        wait_until(lambda: running.told.lines[-1] == "0 of 3 slots in use")


def test_a_pass_under_way_keeps_the_configuration_with_which_it_began(fleet: Fleet) -> None:
    fleet.does = lambda lane, made: made.lasts(0.4) if lane == "a" else made.reads()
    with serving(fleet, fleet.config("a")) as (running,):
        wait_until(lambda: fleet.under_way)
        fleet.config("a", "new")
        running.events.put(int(signal.SIGHUP))
        wait_until(lambda: fleet.passes("new"))
        assert "a" in fleet.under_way
    assert fleet.said("config.in_force")
    assert fleet.said("config.read")[0]["takes_effect"] == "with the passes that begin"


def test_a_rotated_key_is_tried_at_once(fleet: Fleet) -> None:
    refused = {"yes": True}
    fleet.does = lambda lane, made: made.fails(Unauthorized("refused")) if refused["yes"] else made.reads()
    with serving(fleet, fleet.config("a")):
        wait_until(lambda: fleet.passes("a") == 1)
        refused["yes"] = False
        fleet.key.write_text("another-key-of-recotap")
        wait_until(lambda: fleet.passes("a") == 2)
    assert fleet.said("keys.changed")[0]["passes"] == ["a"]


def test_for_a_lane_only_its_own_keys_and_recotaps_are_read(fleet: Fleet, tmp_path: Path) -> None:
    """With thousands of sources, each pass would read thousands of files."""
    file, token = fleet.config("a"), tmp_path / "token"
    token.write_text("pat-na1-0000-first")
    token.chmod(0o600)
    table = f'connector = "hubspot"\nstart = 2026-01-01T00:00:00Z\naccess_token = "file:{token}"\n'
    file.write_text(f"{file.read_text()}[sources.other]\n{table}")
    config, lanes = load(file), StandIn(fleet.lanes, None)
    lanes.enrol(["a"])
    taken = lanes.take()
    assert taken is not None
    begun = LanePass(taken, config, lambda ended: None).keys
    other = config.secrets_fingerprint("other")
    token.write_text("pat-na1-0000-second")
    assert (begun == config.secrets_fingerprint("a"), other == config.secrets_fingerprint("other")) == (True, False)
    fleet.key.write_text("another-key-of-recotap")
    assert begun != config.secrets_fingerprint("a")


def test_a_source_that_goes_well_in_another_replica_no_longer_fails_here(fleet: Fleet) -> None:
    fleet.does = lambda lane, made: made.fails(Unavailable("it is down"))
    with serving(fleet, fleet.config("a")) as (running,):
        wait_until(lambda: "FAILED" in running.told.lines[-1])
        with fleet.lanes.lock:
            fleet.row("a").failures = 0
        wait_until(lambda: "FAILED" not in running.told.lines[-1])
