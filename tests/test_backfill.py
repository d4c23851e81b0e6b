"""`syncd backfill` books a span, and the next passes read it without sending anything twice."""

from datetime import timedelta
from pathlib import Path

import pytest

from syncd import clock
from syncd.cli import check
from tests.conftest import Command
from tests.orgs import OrgWorld

START = "2026-01-01T00:00:00.000Z"


def not_read(world: OrgWorld) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", world.now)
        found = list(check.findings(world.config(), world.config().sources))
    return [each.what for each in found if "not read under" in each.message]


def widen(world: OrgWorld) -> None:
    world.configure("sources.salesforce.calls", match=[{"TaskSubtype": "Call"}, {"Type": "Call"}])
    world.later(minutes=30)


def test_a_backfill_reads_what_the_old_match_left_out_and_sends_nothing_twice(tmp_path: Path, command: Command) -> None:
    with OrgWorld(tmp_path) as world:
        world.configure("sources.salesforce.calls", match=[{"TaskSubtype": "Call"}])
        held = world.task(ago=timedelta(days=2))
        missed = {
            world.task(TaskSubtype="Task", Type="Call", ago=timedelta(days=days)) for days in (3, 4)
        }  # before the sweep
        world.sync()
        widen(world)
        world.sync()
        assert world.delivered == {held}
        assert not_read(world) == ["salesforce: calls"]
        file = world.write_config()
        ran = command("backfill", "--since", "2020-01-01", "-c", file)
        assert (ran.code, ran.out.count("in the next passes")) == (0, 3)
        assert "salesforce calls: 2020-01-01T00:00:00.000Z to " in ran.out
        assert command("backfill", "--since", "2020-01-01", "-c", file).code == 0
        assert world.sql("SELECT why, count(*) FROM ranges") == [("backfill", 3)], "asked twice, booked once"
        assert f"salesforce emails: 2020-01-01T00:00:00.000Z to {START}" in ran.out, "its windows begin at `start`"
        assert not_read(world) == []
        world.sync()
        assert world.delivered == {held, *missed}
        assert world.sql("SELECT verdict, count(*) FROM activities GROUP BY 1") == [("created", 3)]
        assert world.sql("SELECT count(*) FROM ranges") == [(0,)]
        assert not_read(world) == []


def test_a_span_that_is_shorter_than_what_is_unread_leaves_the_message(tmp_path: Path, command: Command) -> None:
    with OrgWorld(tmp_path) as world:
        world.configure("sources.salesforce.calls", match=[{"TaskSubtype": "Call"}])
        world.task(ago=timedelta(days=2))
        world.sync()
        widen(world)
        world.sync()
        since = (world.now() - timedelta(days=3)).date()
        assert command("backfill", "--since", since, "-c", world.write_config()).code == 0
        assert not_read(world) == ["salesforce: calls"]


def test_what_the_windows_read_is_not_booked(tmp_path: Path, command: Command) -> None:
    with OrgWorld(tmp_path) as world:
        world.sync()
        ran = command("backfill", "--since", "2026-01-01", "-c", world.write_config())
        assert (ran.code, ran.out.startswith("nothing to read")) == (0, True)
        assert world.sql("SELECT count(*) FROM ranges") == [(0,)]


def test_a_stream_that_holds_nothing_is_read_up_to_its_start(tmp_path: Path, command: Command) -> None:
    with OrgWorld(tmp_path) as world:
        world.sync()
        old = world.task(ago=timedelta(days=400))
        assert command("backfill", "--since", "2025-01-01", "-c", world.write_config()).code == 0
        world.sync()
        assert world.delivered == {old}


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (("--since", "yesterday"), "expected a date or a time"),
        (("--since", "2999-01-01"), "lies in the future"),
        (("--since", "2026-02-01", "--until", "2026-01-01"), "--until is not later"),
        (("--since", "2026-02-01", "--source", "nowhere"), "is not configured"),
        ((), "--since"),
    ],
)
def test_a_wrong_span_is_2_and_books_nothing(
    tmp_path: Path, command: Command, times: tuple[str, ...], told: str
) -> None:
    with OrgWorld(tmp_path) as world:
        world.task()
        world.sync()
        ran = command("backfill", *times, "-c", world.write_config())
        assert (ran.code, told in " ".join(ran.err.split())) == (2, True), ran.err
        assert world.sql("SELECT count(*) FROM ranges") == [(0,)]
