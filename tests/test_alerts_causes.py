"""Each condition from its cause, by real passes, to the text that arrives: when it begins, and when it is over.

tests/test_alerts.py has those of the books, the backlog, the disk, a CRM's key, and a source that is not fresh.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from syncd.alerts.watch import Watch
from syncd.sandbox import Fault
from syncd.sandbox.standin.clock import Clock
from tests.poisoned import poisoned
from tests.receivers import Receiver, receiving
from tests.world import World


class Watched:
    """A world whose passes are watched."""

    def __init__(self, world: World, receiver: Receiver) -> None:
        self.world, self.receiver = world, receiver
        world.configure("schedule", every="1d")  # so that nothing is old but by its cause
        world.configure("alerts", urls=["env:TEST_ALERTS"], disk_free="1B", after="0s", backlog="3650d")
        self.watch = Watch(world.config(), now=world.now, monotonic=lambda: 0.0)

    def passes(self, count: int = 1, *, minutes: float = 0) -> None:
        """Make passes with `minutes` between them, and look after each."""
        for _ in range(count):
            result = self.world.sync()
            failed = {name: error.exit_code for name, error in result.failed.items()}
            self.watch.pass_ended(failed, result.flooded)
            self.watch.look()
            self.world.later(minutes=minutes)


Cause = Callable[[Watched], Iterator[None]]


def recotaps_key(watched: Watched) -> Iterator[None]:
    fault = Fault(status=401, body={"message": "ada@canary.com"}, count=None)
    watched.world.recotap.faults.add(fault)
    watched.world.call()
    watched.passes()
    yield
    watched.world.recotap.faults.clear()
    watched.passes()


def death(watched: Watched) -> Iterator[None]:
    watched.world.recotap.rule("fail")
    watched.world.call()
    watched.passes(minutes=60 * 24 * 8)
    watched.passes()
    yield
    watched.world.recotap.clear_rules()
    watched.world.later(hours=25)
    watched.passes()


def pause(watched: Watched) -> Iterator[None]:
    body = {"message": "Canary", "policyName": "DAILY"}
    watched.world.hubspot.faults.add(Fault(status=429, body=body, count=None, headers={"Retry-After": "7200"}))
    watched.passes()
    yield
    watched.world.hubspot.faults.clear()
    watched.world.later(hours=25)
    watched.passes()


def gap(watched: Watched) -> Iterator[None]:
    calls = watched.world.calls(5)
    with poisoned(watched.world.hubspot, f'"{calls[2]}"', path="calls/search", answers=True):
        watched.passes(2, minutes=5)
        yield
    watched.world.later(hours=25)
    watched.passes()


def clock(watched: Watched) -> Iterator[None]:
    for server in (watched.world.hubspot, watched.world.recotap):
        server.clock = Clock(watched.world.now)
        server.clock.offset_s = 3600.0
    watched.world.call()
    watched.passes()
    yield
    for server in (watched.world.hubspot, watched.world.recotap):
        server.clock.offset_s = 0.0
    watched.passes()


CAUSES: dict[str, tuple[Cause, str, tuple[str, ...]]] = {
    "Recotap's key": (recotaps_key, "Recotap refuses the key", ("a scope is missing", "`syncd check`")),
    "a death": (death, "something died", ("1 activity was given up", "`syncd failures`", "`syncd retry --state dead`")),
    "a quota": (pause, "hubspot pauses", ("until 2026-", "nothing, it goes on", "`syncd resume hubspot`")),
    "a gap": (gap, "hubspot has a gap", ("does not serve 1 span", "`syncd status` names the times")),
    "a clock": (clock, "the clock is wrong", ("no server confirms", "nothing dies", "`syncd check`")),
}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One world for all causes, because each is gone at the end of its test."""
    with ExitStack() as stack:
        receiver = stack.enter_context(receiving())
        stack.enter_context(pytest.MonkeyPatch.context()).setenv("TEST_ALERTS", receiver.address)
        watched = Watched(stack.enter_context(World(tmp_path_factory.mktemp("watched"))), receiver)
        watched.passes()
        yield watched


@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_is_reported_with_its_remedy_and_over_once_it_is_gone(watched: Watched, name: str) -> None:
    cause, title, said = CAUSES[name]
    receiver = watched.receiver
    receiver.requests.clear()
    steps = cause(watched)
    next(steps)
    assert receiver.alerts == [f"syncd: {title}"]
    text = receiver.said.decode()
    assert [each for each in (*said, "Since: 2026-", "What to do: ") if each not in text] == []
    watched.passes()
    assert receiver.alerts == [f"syncd: {title}"], "once, however many passes"
    next(steps, None)
    assert receiver.alerts[1:] == [f"syncd: over: {title}"]
    assert "There is nothing to do" in receiver.said.decode().removeprefix(text)
    assert "anary" not in receiver.said.decode()
