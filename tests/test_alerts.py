"""Alerts end to end: a ledger on disk, Apprise, and a receiver over HTTP that fails and comes back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from syncd.alerts import heartbeat
from syncd.alerts.watch import Watch
from syncd.connector import RowKind, Scope
from syncd.errors import LedgerError
from syncd.ledger import Alerting, LedgerHandle
from syncd.normalize.scope import to_json
from syncd.passes import kept_scopes
from syncd.sandbox import Fault
from syncd.types.secrets import HiddenUrl
from tests.daemons import wait_until
from tests.receivers import Receiver, receiving
from tests.world import World

UNBALANCED = "syncd: the books do not balance"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as receiver:
        monkeypatch.setenv("TEST_ALERTS", receiver.address)
        yield receiver


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


class Clock:
    """The monotonic clock of a watch, beside the world's clock. A test moves both."""

    def __init__(self, world: World) -> None:
        self.world, self.seconds = world, 0.0

    def later(self, minutes: float) -> None:
        self.world.later(minutes=minutes)
        self.seconds += 60 * minutes

    def __call__(self) -> float:
        return self.seconds


def watch(world: World, clock: Clock, **table: Any) -> Watch:
    """Return a watch that only looks when a test says so, as after a start."""
    world.configure("alerts", **{"urls": ["env:TEST_ALERTS"], "disk_free": "1B", **table})
    return Watch(world.config(), now=world.now, monotonic=clock)


def unbalance(world: World, by: int = 1) -> None:
    world.sql("UPDATE streams SET seen = seen + ?", by)


def looks(world: World, clock: Clock, minutes: int, *, every: int = 1) -> None:
    """Look now and then, with a restart before each look."""
    for _ in range(0, minutes, every):
        watch(world, clock).look()
        clock.later(every)


# -- begin, end, flapping, receiver down, restarts -------------------------------------------


def test_one_alert_when_it_begins_and_one_when_it_is_over_whatever_restarts(world: World, receiver: Receiver) -> None:
    world.configure("schedule", every="1d")
    world.calls(2)
    world.sync()
    clock = Clock(world)
    looks(world, clock, 3)
    assert receiver.alerts == []
    unbalance(world)
    looks(world, clock, 10, every=3)
    assert receiver.alerts == [], "it has not lasted"
    looks(world, clock, 20, every=3)
    assert receiver.alerts == [UNBALANCED]
    for _ in range(5):  # it comes and goes
        unbalance(world, -1)
        looks(world, clock, 5, every=2)
        unbalance(world)
        looks(world, clock, 3, every=2)
    assert receiver.alerts == [UNBALANCED]
    unbalance(world, -1)
    looks(world, clock, 30, every=3)
    assert receiver.alerts == [UNBALANCED, f"syncd: over: {UNBALANCED.removeprefix('syncd: ')}"]


def test_while_the_receiver_is_down_it_is_said_once_and_nothing_is_lost_or_repeated(
    world: World, receiver: Receiver
) -> None:
    world.configure("schedule", every="1d")
    world.calls(1)
    world.sync()
    clock = Clock(world)
    unbalance(world)
    receiver.status = 503
    looking = watch(world, clock)
    with structlog.testing.capture_logs() as logs:
        for _ in range(60):
            looking.look()
            clock.later(1)
        assert [line["event"] for line in logs] == ["alert.began", "alert.failed"]
        assert logs[0]["hint"] == "`syncd status` shows more"
        assert logs[1]["key"] == "alerts.urls.0"
        assert logs[1]["hint"] == "`syncd alerts test` tries it. The message is kept and sent again"
        tries = len(receiver.alerts)
        assert 4 <= tries <= 8, "it is tried again, less and less often"
        unbalance(world, -1)
        receiver.status = 200
        for _ in range(90):
            looking.look()
            clock.later(1)
    assert [line["event"] for line in logs][2:] == ["alert.ended", "alert.recovered"]
    assert [title.removeprefix("syncd: ")[:4] for title in receiver.alerts[tries:]] == ["the ", "over"]
    looks(world, clock, 20, every=5)
    assert len(receiver.alerts) == tries + 2


def test_a_reload_tries_an_address_that_fails_at_once(world: World, receiver: Receiver) -> None:
    world.sync()
    unbalance(world)
    receiver.status = 404
    looking = watch(world, Clock(world), after="0s")
    looking.look()
    receiver.status = 200
    looking.look()
    assert len(receiver.alerts) == 1, "it waits"
    looking.configure(world.config())
    looking.look()
    looking.look()
    assert receiver.alerts == [UNBALANCED] * 2


def test_by_a_timer_a_receiver_that_is_down_is_said_once_too(world: World, receiver: Receiver) -> None:
    world.sync()
    clock = Clock(world)
    unbalance(world)
    receiver.status = 503
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            watch(world, clock, after="0s").look()
        receiver.status = 200
        for _ in range(2):
            watch(world, clock, after="0s").look()
    said = [line["event"] for line in logs if line["event"] in ("alert.failed", "alert.recovered")]
    assert said == ["alert.failed", "alert.recovered"]
    assert len(receiver.alerts) == 4


def test_one_address_that_fails_holds_up_no_other_and_gets_its_message_later(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.calls(1)
    world.sync()
    clock = Clock(world)
    unbalance(world)
    with receiving() as second:
        monkeypatch.setenv("TEST_SECOND", second.address)
        second.status = 500
        table = {"urls": ["env:TEST_ALERTS", "env:TEST_SECOND"], "after": "0s"}
        watch(world, clock, **table).look()
        watch(world, clock, **table).look()
        assert receiver.alerts.count(UNBALANCED) == 1
        assert len(second.alerts) == 2
        second.status = 200
        watch(world, clock, **table).look()
        watch(world, clock, **table).look()
        assert second.alerts[2:].count(UNBALANCED) == 1
        assert receiver.alerts.count(UNBALANCED) == 1


def test_a_ledger_that_cannot_be_written_stops_no_alert_and_repeats_none(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.configure("schedule", every="1d")
    world.calls(1)
    world.sync()
    unbalance(world)
    clock = Clock(world)

    def full(*_: object) -> None:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(Alerting, "keep_alerts", full)
    looking = watch(world, clock, after="0s")
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            looking.look()
            clock.later(1)
    assert receiver.alerts == [UNBALANCED]
    (unsaved,) = [line for line in logs if line["event"] == "alert.unsaved"]
    assert unsaved["hint"] == "alerts go on. A restart may repeat them"
    monkeypatch.undo()
    monkeypatch.setenv("TEST_ALERTS", receiver.address)
    looking.look()
    watch(world, clock, after="0s").look()
    assert receiver.alerts == [UNBALANCED], "it is kept as soon as that is possible"


def test_a_kill_between_sending_and_booking_repeats_the_message_and_loses_none(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.calls(1)
    world.sync()
    unbalance(world)
    clock = Clock(world)
    killed = watch(world, clock, after="0s")

    def sent(*what: Any) -> None:
        Watch._send(killed, *what)
        raise KeyboardInterrupt

    monkeypatch.setattr(killed, "_send", sent)
    with pytest.raises(KeyboardInterrupt):
        killed.look()
    assert receiver.alerts == [UNBALANCED]
    for _ in range(2):
        watch(world, clock, after="0s").look()
    assert receiver.alerts == [UNBALANCED, UNBALANCED]


@pytest.mark.parametrize("version", [7, 99], ids=["older", "newer"])
def test_a_ledger_of_another_schema_is_left_alone(world: World, receiver: Receiver, version: int) -> None:
    world.sync()
    unbalance(world)
    world.sql(f"PRAGMA user_version = {version}")
    before = world.ledger.read_bytes()
    watch(world, Clock(world), after="0s").look()
    assert receiver.requests == []
    assert world.ledger.read_bytes() == before


def test_without_a_ledger_nothing_happens(world: World, receiver: Receiver) -> None:
    watch(world, Clock(world), after="0s").look()
    assert receiver.requests == []
    assert not world.ledger.exists()


# -- the conditions, of a real ledger --------------------------------------------------------


def test_a_refused_key_and_an_outage_of_the_crm_are_reported_and_over_once_it_is_read(
    world: World, receiver: Receiver
) -> None:
    world.calls(1)
    world.sync()
    clock = Clock(world)
    looking = watch(world, clock, after="0s")
    world.hubspot.faults.add(Fault(status=401, body={"message": "ada@canary.com"}, count=None))
    result = world.sync()
    looking.pass_ended({name: error.exit_code for name, error in result.failed.items()}, result.flooded)
    looking.look()
    clock.later(30)
    looking.look()
    assert receiver.alerts == ["syncd: hubspot refuses the key"], "which is why it is not fresh"
    world.hubspot.faults.clear()
    world.hubspot.faults.add(Fault(status=503, count=None))
    result = world.sync()
    looking.pass_ended({name: error.exit_code for name, error in result.failed.items()}, result.flooded)
    looking.look()
    assert receiver.alerts[1:] == ["syncd: over: hubspot refuses the key", "syncd: hubspot is not fresh"]
    world.hubspot.faults.clear()
    assert world.sync().exit_code == 0
    looking.look()
    assert receiver.alerts[3:] == ["syncd: over: hubspot is not fresh"]
    assert b"canary" not in receiver.said


def test_activities_that_recotap_does_not_take_are_reported_after_the_backlog_and_in_all(
    world: World, receiver: Receiver
) -> None:
    world.configure("schedule", every="1h")
    world.calls(30)
    world.recotap.faults.add(Fault("answer", match="sales-activities", status=503, count=None))
    clock = Clock(world)
    for _ in range(8):  # each of them makes it due again
        world.sync()
        watch(world, clock, backlog="6h", after="0s").look()
        clock.later(60)
    backlog = "syncd: activities are not sent"
    assert receiver.alerts == [backlog]
    assert b"30 activities in all" in receiver.said
    world.recotap.faults.clear()
    world.sync()
    watch(world, clock, backlog="6h", after="0s").look()
    assert receiver.alerts == [backlog, "syncd: over: activities are not sent"]


def test_little_room_on_the_disk_is_reported(world: World, receiver: Receiver) -> None:
    world.sync()
    free = LedgerHandle(world.ledger).free_bytes()
    assert free
    watch(world, Clock(world), after="0s", disk_free="1TB").look()
    assert receiver.alerts == (["syncd: the disk is nearly full"] if free < 10**12 else [])
    watch(world, Clock(world), after="0s", disk_free="1B").look()
    assert receiver.alerts[1:] == (["syncd: over: the disk is nearly full"] if free < 10**12 else [])


def test_no_byte_of_an_alert_or_a_ping_holds_a_secret_or_a_person(world: World, receiver: Receiver) -> None:
    """Each condition that a pass can cause is caused, with private words in every answer."""
    echo = f"{world.box.token} {world.box.key} ada@canary.com +49 30 5550142788 Canary subject"
    world.configure("alerts", heartbeat_url=receiver.beat)
    world.calls(2, hs_call_title="Canary subject", contacts=[world.person("canary.person", phone="+49305550142788")])
    world.sync()
    clock = Clock(world)
    looking = watch(world, clock, after="0s", disk_free="1TB", backlog="1s")
    looking.look()
    world.hubspot.faults.add(Fault(status=429, body={"message": echo, "policyName": "DAILY"}, count=None,
                                   headers={"Retry-After": "7200"}))  # fmt: skip
    world.recotap.faults.add(Fault(status=401, body={"message": echo}, count=None))
    world.calls(2)
    result = world.sync()
    unbalance(world)
    world.sql("UPDATE store SET value = 'true' WHERE key = '@doubt'")
    looking.pass_ended({"hubspot": 77}, ["hubspot"])
    looking.look()
    heartbeat.ping(HiddenUrl(receiver.beat), f"/{int(result.exit_code)}")
    assert len(receiver.alerts) >= 5
    said = receiver.said.decode()
    for private in ("canary.com", "Canary", "5550142788", world.box.token, world.box.key, "hubspot-call-", "@"):
        assert private not in said, private


def test_rows_of_a_new_kind_are_reported_and_named_only_by_the_command(world: World, receiver: Receiver) -> None:
    world.sync()
    clock = Clock(world)

    def counted(*subtypes: str) -> None:
        kinds = [RowKind("calls", {"hs_call_source": each}, 7, None) for each in subtypes]
        with LedgerHandle(world.ledger).open() as ledger:
            ledger.keep("hubspot", {kept_scopes.KEPT: {"since": "2026-10-01T00:00:00.000Z", **to_json(Scope(kinds))}},
                        world.now())  # fmt: skip

    counted("first")
    watch(world, clock, after="0s").look()
    assert receiver.alerts == []
    counted("first", "canary call")
    watch(world, clock, after="0s").look()
    watch(world, clock, after="0s").look()
    assert receiver.alerts == ["syncd: hubspot has rows of a new kind"]
    assert b"1 new kind of rows" in receiver.said
    assert b"canary" not in receiver.said
    counted("first")
    watch(world, clock, after="0s").look()
    assert receiver.alerts[1:] == ["syncd: over: hubspot has rows of a new kind"]


def test_a_bug_in_a_look_is_logged_and_the_next_look_goes_on(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sync()
    unbalance(world)
    looking = watch(world, Clock(world), after="0s")
    whole = Alerting.due_since
    monkeypatch.setattr(Alerting, "due_since", lambda *_: 1 // 0)
    with structlog.testing.capture_logs() as logs:
        looking.start()
        looking.pass_ended({}, ())
        wait_until(lambda: [line["event"] for line in logs] == ["alert.bug"])
        monkeypatch.setattr(Alerting, "due_since", whole)
        looking.close(20)
    assert logs[0]["hint"] == "report it. The next look tries again"
    assert receiver.alerts == [UNBALANCED]
