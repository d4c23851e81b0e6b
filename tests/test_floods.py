"""A tool that imports months of old mail is noticed, because all of it would be sent."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd.passes.floods import LEAST, PASSES, Usual
from tests.world import World


def after(*passes: int) -> Usual:
    """Return what is usual after passes with so many early activities."""
    usual = Usual()
    for early in passes:
        usual = Usual.of(usual.after(early).to_keep())
    return usual


@pytest.mark.parametrize(
    ("passes", "early", "expected"),
    [
        ((), 10_000, False),  # the first import
        ((5_000, 0), 10_000, False),
        ((0,) * PASSES, LEAST, True),
        ((0,) * PASSES, LEAST - 1, False),
        ((50,) * 100, 400, False),
        ((50,) * 100, 500, True),
        ((5_000, *(0,) * 100), 500, True),
    ],
)
def test_ten_times_the_usual_number_is_a_flood(passes: tuple[int, ...], early: int, expected: bool) -> None:
    assert after(*passes).is_flood(early) is expected


def test_a_flood_of_many_passes_is_not_reported_in_each() -> None:
    usual, reported = after(*(0,) * 10), []
    for early in (500, 500, 500, 200):
        reported.append(usual.is_flood(early))
        usual = usual.after(early)
    assert reported == [True, True, False, False], "at most twice"


def test_quiet_passes_come_to_rest() -> None:
    usual = after(*(0,) * PASSES)
    assert usual.after(0) == usual, "nothing is written then"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


def warnings(world: World) -> list[Any]:
    with capture_logs() as logs:
        result = world.sync()
    found = [each for each in logs if each["event"] == "history.flooded"]
    assert len(found) == len([each for each in result.warnings if "before its start" in each])
    assert [each["source"] for each in found] == [*result.flooded], "for the alerts"
    return found


def old(world: World, count: int) -> None:
    """Put calls of last year that the CRM gets now."""
    for number in range(count):
        world.call(
            ago=timedelta(minutes=20, seconds=number), happened=world.now() - timedelta(days=400, seconds=number)
        )


def test_a_pass_with_a_flood_says_so_and_explains_not_before(world: World) -> None:
    old(world, LEAST)
    for _ in range(PASSES):
        assert warnings(world) == [], "the first import"
        world.later(hours=1)
    for _ in range(40):
        world.sync()
    world.calls(LEAST)
    assert warnings(world) == [], "new ones are no flood"
    old(world, 10 * LEAST // 4)
    (flood,) = warnings(world)
    assert flood["source"] == "hubspot"
    assert f"{10 * LEAST // 4} new activities happened before its start, 2026-01-01" in flood["error"]
    assert "not_before" in flood["hint"]
    world.later(hours=1)
    assert warnings(world) == []


def test_a_range_that_the_operator_asks_for_is_no_flood(world: World) -> None:
    world.configure("sources.hubspot", start=world.now() - timedelta(hours=1))
    world.call(ago=timedelta(minutes=30))
    for _ in range(PASSES + 1):
        world.sync()
    for number in range(LEAST + 1):
        world.call(ago=timedelta(hours=60, seconds=number), happened=world.now() - timedelta(days=400))
    world.configure("sources.hubspot", start=world.now() - timedelta(days=3))
    assert warnings(world) == []
    assert len(world.delivered) == LEAST + 2
