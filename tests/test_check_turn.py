"""`syncd check` waits its turn beside passes, and blames nobody for a limit that is reached."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.errors import Unavailable
from syncd.http.response import Failure
from syncd.http.retry import RetryBudget
from tests.daemons import daemon, wait_until
from tests.forked import Started, interpreters
from tests.orgs import OrgWorld
from tests.world import World

LIMITS = {"search_per_second": 5, "per_ten_seconds": 100, "daily_limit": 0}  # HubSpot's own
BLAME = ("another integration", "uses it up", "other integrations of the org")


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, real_time=True, hubspot=LIMITS) as world:
        world.configure("sources.hubspot", search_per_second=4, start=world.now() - timedelta(days=1))
        world.configure("schedule", every="1s")
        yield world


def ledger_of_its_own(world: World, name: str) -> Path:
    """Write the world's configuration with another ledger, in a folder of its own."""
    folder = world.path / name
    folder.mkdir()
    world.configure("ledger", path=str(folder / "ledger.db"))
    copy = folder / "syncd.toml"
    copy.write_text(world.write_config().read_text())
    return copy


def checking(config: Path, output: Path) -> Started:
    return interpreters().start(["check", "-c", str(config)], environ=os.environ, cwd=config.parent, output=output)


def refused(stand_in: Any) -> int:
    return sum(status == 429 for *_, status in list(stand_in.log))


def test_check_beside_passes_of_three_ledgers_on_one_portal_is_calm(portal: World) -> None:
    portal.calls(20)
    portal.email()
    configs = [ledger_of_its_own(portal, name) for name in ("one", "two", "three")]
    with ExitStack() as stack:
        daemons = [stack.enter_context(daemon(config)) for config in configs]
        for each in daemons:
            each.hear("pass.finished", at_most=60)
        before = refused(portal.hubspot)
        outputs = [portal.path / f"check-{number}" for number in range(3)]
        chosen = (configs[0], configs[1], configs[1])
        checks = [checking(config, output) for config, output in zip(chosen, outputs, strict=True)]
        codes = [check.wait(90) for check in checks]
        told = [output.read_text() for output in outputs]
        wait_until(lambda: refused(portal.hubspot) > 0, at_most=30, what="the limit is reached by these three alone")
        assert before <= refused(portal.hubspot)
        logs = [str(each.lines) for each in daemons]
    assert codes == [0, 0, 0], told
    assert not [words for words in BLAME for text in (*told, *logs) if words in text]


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long a check in this process waited each time. Only the pace, less than a second, is really waited for."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if seconds < 1:
            time.sleep(seconds)

    monkeypatch.setattr("syncd.cli.check.sleep", sleep)
    return waits


def test_check_sits_a_limit_out_and_honours_how_long_it_is_told(portal: World, command, slept) -> None:
    portal.hubspot.faults.add("secondly", match="/search", count=4)
    portal.hubspot.faults.add("too_many", match="/search", headers={"Retry-After": "3"})
    ran = command("check", "-c", portal.write_config())
    assert ran.code == 0, ran.out
    waits = [seconds for seconds in slept if seconds >= 1]
    assert len(waits) >= 5
    assert sum(waits) > 1 + 2 + 3 + 3 + 3


def test_check_gives_up_within_its_deadline_and_says_what_it_saw(portal: World, command, slept) -> None:
    portal.hubspot.faults.add("secondly", match="contacts/search", count=None)
    ran = command("check", "-c", portal.write_config())
    assert ran.code == 69
    assert "429" in ran.out
    assert 20 < sum(slept) <= 40
    assert not [words for words in BLAME if words in ran.out]


def test_check_waits_for_recotap_too(world: World, command, slept) -> None:
    world.recotap.faults.add("too_many", match="/accounts", count=2, headers={"Retry-After": "7"})
    ran = command("check", "-c", world.write_config())
    assert (ran.code, slept.count(7.0)) == (0, 2)
    world.recotap.faults.add("too_many", match="/accounts", count=None, headers={"Retry-After": "7"})
    ran = command("check", "-c", world.write_config())
    assert (ran.code, slept.count(7.0)) == (69, 6)
    assert "asks for fewer requests" in ran.out
    assert "try again when no pass is running" in ran.out


def test_check_waits_out_a_busy_org(orgs: OrgWorld, command, slept) -> None:
    orgs.org.faults.add("sf_concurrent", match="/query", count=2)
    ran = command("check", "-c", orgs.write_config())
    assert ran.code == 0, ran.out
    assert 10 <= sum(slept) <= 34
    orgs.org.faults.add("sf_concurrent", match="/query", count=None)
    ran = command("check", "-c", orgs.write_config())
    assert ran.code != 0
    assert not [words for words in BLAME if words in ran.out]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_check_that_waits_ends_at_once_when_asked(portal: World, number: signal.Signals, code: int) -> None:
    portal.hubspot.faults.add("ten_secondly", match="/account-info/", count=None)
    output = portal.path / "check"
    check = checking(portal.write_config(), output)
    wait_until(lambda: portal.hubspot.requests["account"], at_most=60, what="the first request")
    time.sleep(0.5)
    began = time.monotonic()
    check.send_signal(number)
    ended = check.wait(20)
    told = output.read_text()
    assert time.monotonic() - began < 5
    assert ended == code, told
    assert "Traceback" not in told


def test_a_turn_is_waited_for_as_often_as_it_takes_but_not_longer_than_allowed() -> None:
    limited, failing = (Failure(Unavailable("busy"), wait_s=4.0, limited=each) for each in (True, False))
    patience = RetryBudget(lambda: 0.0, turn_s=30.0)
    assert [patience.exhausted(limited, attempt=n, began=0.0) for n in range(1, 9)] == [False] * 7 + [True]
    patience = RetryBudget(lambda: 0.0, turn_s=30.0)
    assert [patience.exhausted(failing, attempt=n, began=0.0) for n in (1, 2, 3)] == [False, False, True]
    assert RetryBudget(lambda: 0.0, turn_s=3.0).exhausted(limited, attempt=1, began=0.0)
