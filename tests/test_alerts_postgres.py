"""Alerts of several replicas: one message for each condition, whichever of them sees it, and none lost."""

import threading
from collections.abc import Iterator

import pytest

from syncd.alerts.watch import Watch
from syncd.config import load
from syncd.errors import Exit
from tests.ledgers import URL
from tests.receivers import Receiver, receiving
from tests.world import World

pytestmark = pytest.mark.skipif(not URL, reason="needs SYNCD_TEST_POSTGRES")


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as receiver:
        monkeypatch.setenv("TEST_ALERTS", receiver.address)
        yield receiver


@pytest.fixture
def replicas(world: World) -> list[Watch]:
    world.configure("alerts", urls=["env:TEST_ALERTS"], after="0s", disk_free="1B")
    world.calls(1)
    world.sync()
    config = load(world.write_config(), now=world.now())
    return [Watch(config, now=world.now) for _ in range(3)]


def a_minute_later(world: World) -> None:
    world.later(seconds=60)
    world.sql("UPDATE watch SET looked_at = looked_at - interval '60 s'")


def test_each_condition_is_told_once_and_its_end_by_another_replica(
    world: World, receiver: Receiver, replicas: list[Watch]
) -> None:
    world.sql("UPDATE streams SET seen = seen + 1")
    threads = [threading.Thread(target=each.look) for each in replicas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in replicas:
        a_minute_later(world)
        each.look()
    assert receiver.alerts == ["syncd: the books do not balance"]
    world.sql("UPDATE streams SET seen = seen - 1")
    for each in reversed(replicas):
        a_minute_later(world)
        each.look()
    assert receiver.alerts[1:] == ["syncd: over: the books do not balance"]


def test_a_replica_with_news_looks_at_once_and_the_others_once_a_minute(
    world: World, receiver: Receiver, replicas: list[Watch]
) -> None:
    replicas[0].look()
    world.sql("UPDATE streams SET seen = seen + 1")
    replicas[1].look()
    assert receiver.alerts == [], "the first has just looked"
    replicas[2].pass_ended({"hubspot": Exit.UNAUTHORIZED}, ())
    replicas[2].look()
    assert sorted(receiver.alerts) == ["syncd: hubspot refuses the key", "syncd: the books do not balance"]


def test_a_replica_that_dies_while_it_looks_keeps_out_the_others_for_two_minutes_at_most(
    world: World, receiver: Receiver, replicas: list[Watch]
) -> None:
    world.sql("UPDATE streams SET seen = seen + 1")
    world.sql("UPDATE watch SET until = clock_timestamp() + interval '100 s'")
    replicas[0].pass_ended({"hubspot": Exit.UNAUTHORIZED}, ())
    replicas[0].look()
    assert receiver.alerts == []
    world.sql("UPDATE watch SET until = until - interval '101 s'")
    replicas[0].look()
    assert sorted(receiver.alerts) == ["syncd: hubspot refuses the key", "syncd: the books do not balance"], (
        "its news were kept"
    )
