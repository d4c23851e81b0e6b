"""Replicas of `syncd run` on one ledger in PostgreSQL: processes of their own, which are killed, frozen and stopped."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from syncd.passes import pins, wiring
from syncd.sandbox import Fault
from syncd.signals import StopRequest
from tests.conftest import Command
from tests.daemons import Daemon, daemon, wait_until
from tests.drops import call as line
from tests.ledgers import URL
from tests.world import World

pytestmark = pytest.mark.skipif(not URL, reason="needs SYNCD_TEST_POSTGRES")

START = datetime(2026, 1, 1, tzinfo=UTC)
TTL_S = 10.0
HANG = Fault("hang", match="sales-activities", after=True, seconds=60, count=None)


def drop(world: World, name: str, count: int, *, part: str = "a", **values: str) -> None:
    """Put a file of calls into the folder of the source `name`, as if it had arrived a minute ago."""
    folder = world.path / name
    folder.mkdir(exist_ok=True)
    file = folder / f"{part}.jsonl"
    file.write_text("".join(line(f"{name}-{part}-{number}", **values) + "\n" for number in range(count)))
    os.utime(file, (time.time() - 60, time.time() - 60))


def folders(world: World, *names: str, every: str = "1h", **run: object) -> World:
    """Configure a source over a folder for each name, with three calls."""
    for name in names:
        drop(world, name, 3)
        world.configure(f"sources.{name}", connector="jsonl", path=str(world.path / name), start=START, timeout="2s")
    world.configure("recotap", timeout="3s", concurrency=4)
    world.configure("schedule", every=every)
    world.configure("run", **run)
    return world


@contextmanager
def replicas(world: World, count: int = 2) -> Iterator[list[Daemon]]:
    """Run `count` processes with the same configuration."""
    text = world.write_config().read_text()
    with ExitStack() as stack:
        files = [_place(world.path / f"replica{number}", text) for number in range(count)]
        yield [stack.enter_context(daemon(file)) for file in files]


def _place(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "syncd.toml").write_text(text)
    return folder / "syncd.toml"


def held_by(world: World, running: Daemon) -> list[str]:
    sql = f"SELECT source FROM lanes WHERE token IS NOT NULL AND holder LIKE '%process {running.pid} %'"
    return sorted(source for (source,) in world.sql(sql))


def epochs(world: World) -> dict[str, int]:
    return dict(world.sql("SELECT source, epoch FROM lanes"))


def hanging(world: World, running: list[Daemon], *names: str) -> tuple[Daemon, Daemon, list[str]]:
    """Let Recotap hang with something to send in each lane. Return a replica that waits for it, another, its lanes."""
    released(world)
    world.recotap.faults.add(HANG)
    for name in names:
        drop(world, name, 3, part="b")
    wake(world)
    one = wait_until(lambda: next((each for each in running if held_by(world, each)), None))
    time.sleep(0.3)  # its POST is on its way
    return one, next(each for each in running if each is not one), held_by(world, one)


def released(world: World) -> None:
    """Wait until the first passes have ended."""
    wait_until(lambda: not world.sql("SELECT 1 FROM lanes WHERE token IS NOT NULL"))


def wake(world: World) -> None:
    world.sql("UPDATE lanes SET wake_at = clock_timestamp() RETURNING 1")


def takes_part(world: World, running: Daemon, passes: int) -> bool:
    """Tell whether `running` has made more than so many passes, and have another one made."""
    wake(world)
    return len(running.said("pass.finished")) > passes


def delivered(world: World) -> int:
    return int(world.status()["activities"]["delivered"])


def books(world: World) -> tuple[int, int, bool]:
    status = world.status()
    return world.recotap.doubled, status["verdicts"]["foreign_duplicate"], status["balanced"]


def test_replicas_share_the_sources_deliver_each_activity_once_and_release_all_at_the_end(
    live: World, command: Command
) -> None:
    names = [f"org{number}" for number in range(6)]
    with replicas(folders(live, *names, every="1s")) as running:
        wait_until(lambda: len(live.recotap.stored) == 18)
        assert command("health", "-c", live.config_file).code == 0
        for each in running:
            each.hear("pass.finished", 2)
            assert each.stop() == 0
        assert command("health", "-c", live.config_file).code == 69
    passes = [line for each in running for line in each.said("pass.finished")]
    assert {line["lane"] for line in passes} == {*names}
    assert {line["exit_code"] for line in passes} <= {0, 143}
    assert [each.lines[-1]["event"] for each in running] == ["run.finished"] * 2
    assert live.sql("SELECT count(*) FROM lanes WHERE token IS NOT NULL") == [(0,)]
    assert books(live) == (0, 0, True)


def test_the_lanes_of_a_killed_replica_are_taken_within_their_lease_and_a_second(live: World) -> None:
    with replicas(folders(live, "a", "b", "c", "d")) as running:
        wait_until(lambda: len(live.recotap.stored) == 12)
        dead, survivor, lost = hanging(live, running, *"abcd")
        dead.signal(signal.SIGKILL)
        killed, before = time.monotonic(), epochs(live)
        live.recotap.faults.clear()
        wait_until(lambda: all(epochs(live)[name] > before[name] for name in lost))
        assert time.monotonic() - killed <= TTL_S + 1
        wait_until(lambda: delivered(live) >= 12 + 3 * len(lost))
        assert survivor.stop() == 0
    assert books(live) == (0, 0, True)


def test_a_replica_that_stood_still_for_longer_than_its_lease_drops_its_lanes_and_goes_on(live: World) -> None:
    with replicas(folders(live, "a", "b")) as running:
        wait_until(lambda: len(live.recotap.stored) == 6)
        frozen, other, lost = hanging(live, running, *"ab")
        frozen.signal(signal.SIGSTOP)
        try:
            live.recotap.faults.clear()
            wait_until(lambda: not held_by(live, frozen), at_most=TTL_S + 3)
            wait_until(lambda: delivered(live) >= 6 + 3 * len(lost))
        finally:
            frozen.signal(signal.SIGCONT)
        assert frozen.hear("lane.lost")["source"] in lost
        passes = len(frozen.said("pass.finished"))
        wait_until(lambda: takes_part(live, frozen, passes), what="it takes part again")
        assert (frozen.stop(), other.stop()) == (0, 0)
        assert not [
            each.said("pass.failed") + each.said("pass.bug") for each in (frozen, other) if each.said("pass.bug")
        ]
    assert books(live) == (0, 0, True)


def test_a_stop_meets_the_deadline_and_gives_the_lane_to_another_replica_at_once(live: World) -> None:
    with replicas(folders(live, "a")) as running:
        wait_until(lambda: len(live.recotap.stored) == 3)
        released(live)
        live.recotap.faults.add(Fault("slow", match="sales-activities", seconds=0.3, count=None))
        drop(live, "a", 1500, part="b")
        wake(live)
        one = wait_until(lambda: next((each for each in running if held_by(live, each)), None))
        wait_until(lambda: len(live.recotap.stored) > 3)
        began, before = time.monotonic(), epochs(live)
        assert one.stop() == 0
        assert time.monotonic() - began < 3 + 2 + 0.5
        wait_until(lambda: epochs(live)["a"] > before["a"], at_most=TTL_S - 2)
        live.recotap.faults.clear()
        wait_until(lambda: delivered(live) == 1503)
        assert next(each for each in running if each is not one).stop() == 0
    assert books(live) == (0, 0, True)


def test_a_long_import_makes_room_for_overdue_sources(live: World) -> None:
    live.recotap.faults.add(Fault("slow", match="sales-activities", seconds=0.2, count=None))
    folders(live, "long", "small", every="500ms", passes=1, turn="500ms")
    drop(live, "long", 1500, part="b")
    with replicas(live, 1) as (one,):
        wait_until(lambda: [line["lane"] for line in one.said("pass.finished")].count("small") >= 2)
        assert len(live.recotap.stored) < 1500
        assert one.stop() == 0
    assert books(live) == (0, 0, True)


def test_an_operator_is_heard_within_5_s_and_only_the_sources_concerned_are_read(live: World, command: Command) -> None:
    folders(live, "a", "b")
    drop(live, "a", 1, part="b", contact_email="")
    with replicas(live) as running:
        wait_until(lambda: len(live.recotap.stored) == 6)
        wait_until(lambda: not [held for each in running for held in held_by(live, each)])
        before = epochs(live)
        drop(live, "a", 1, part="b")
        began = time.monotonic()
        assert command("retry", "--reason", "no_contact", "-c", live.config_file).code == 0
        wait_until(lambda: len(live.recotap.stored) == 7, at_most=6)
        assert time.monotonic() - began < 5
        assert epochs(live)["b"] == before["b"]
        assert [each.stop() for each in running] == [0, 0]


def test_of_two_new_sources_over_one_portal_that_are_read_at_once_one_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise all of it would be sent twice, under two names."""
    refuse = pins.refuse_stranger

    def slowly(*of: Any) -> None:
        refuse(*of)
        time.sleep(0.2)

    monkeypatch.setattr(pins, "refuse_stranger", slowly)
    world.calls(3)
    for name in ("a", "b"):
        world.configure(f"sources.{name}", **world.source(external_id=f"{name}-{{kind}}-{{id}}"))
    config, ledger = world.config(), cast("Any", world.handle)
    with ledger.replica("run") as replica, ThreadPoolExecutor(2) as pool:
        replica.enrol(["a", "b"])
        sources = {source.name: source for source in config.sources}
        results = [
            pool.submit(
                wiring.one_pass, config, ledger=lane.ledger, sources=[sources[lane.source]], stop=StopRequest(),
                now=world.now,
            )
            for lane in (replica.take(), replica.take())
        ]  # fmt: skip
        assert sorted(each.result(30).exit_code for each in results) == [0, 78]
    assert len(world.recotap.stored) == 3


def test_a_pass_that_finds_nothing_new_waits_seldom_for_the_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its begin, two windows, the source's clock and its end. The take and the release come to that."""
    from syncd.ledger import postgres_session  # imports psycopg

    world.calls(3)
    for _ in range(2):
        world.sync()
        world.later(minutes=10)
    commits: list[str] = []
    execute = postgres_session.Session.execute

    def counted(session: Any, sql: str, *values: Any) -> Any:
        commits.extend([sql] if sql == "COMMIT" else [])
        return execute(session, sql, *values)

    config, ledger = world.config(), cast("Any", world.handle)
    with ledger.replica("run") as replica:
        replica.enrol(["hubspot"])
        lane = replica.take()
        monkeypatch.setattr(postgres_session.Session, "execute", counted)
        result = wiring.one_pass(config, ledger=lane.ledger, sources=config.sources, stop=StopRequest(), now=world.now)
    assert result.exit_code == 0
    assert len(commits) == 5
