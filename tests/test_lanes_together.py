"""Lanes of one ledger, each in a pass of its own, keep the promises of one pass over all sources."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from syncd.errors import Exit
from syncd.ledger import Ledger
from syncd.passes import wiring
from syncd.signals import StopRequest
from tests.ledgers import URL, ask
from tests.world import World


@pytest.mark.skipif(not URL, reason="SYNCD_TEST_POSTGRES names no database")
def test_a_portal_under_two_names_is_read_under_one_though_two_lanes_meet_it_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.calls(3)
    for name in ("one", "two"):
        world.configure(f"sources.{name}", **world.source())
    config = world.config()
    both_met, introduce = threading.Barrier(2), Ledger.introduce

    def slow(self: Ledger, source: str, **how: Any) -> None:
        with suppress(threading.BrokenBarrierError):
            both_met.wait(1)
        introduce(self, source, **how)

    monkeypatch.setattr(Ledger, "introduce", slow)
    handle: Any = world.handle
    with handle.replica("run") as replica:
        replica.enrol(["one", "two"])

        def make_pass(_: int) -> Exit:
            lane = replica.take()
            (source,) = (each for each in config.sources if each.name == lane.source)
            return wiring.one_pass(
                config, ledger=lane.ledger, sources=[source], stop=StopRequest(), now=world.now
            ).exit_code

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(make_pass, range(2))) == [Exit.OK, Exit.CONFIG]
    assert ask(handle, "SELECT count(*) FROM sources") == [(1,)]
    assert len(world.recotap.stored) == 3
