"""The mark of an adoption: which activities that Recotap has already count as ours, and when it ends."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from syncd import clock
from syncd.connector import SourceConfig
from syncd.errors import Exit
from syncd.ledger import LedgerHandle, StreamState
from syncd.passes import adoption
from syncd.passes.windows import Span
from tests.orgs import OrgWorld
from tests.world import World

MONTH = datetime(2026, 2, 1, tzinfo=UTC)
SINCE = "2026-02-01T00:00:00.000Z"
DAY = timedelta(days=1)


def begin(world: World, since: datetime = MONTH) -> None:
    handle = LedgerHandle(world.ledger)
    with handle.hold("test"), handle.open() as ledger:
        adoption.begin(ledger, world.config().sources, since, world.now())


class TestTheMark:
    def mark(self, world: World) -> dict[str, object]:
        found = world.status()["adoption"]
        assert isinstance(found, dict)
        return found

    def foreign(self, world: World, crm_id: str) -> str:
        """Let Recotap have a call already, and return its verdict after the next pass."""
        world.recotap.stored[f"hubspot-call-{crm_id}"] = ({}, 1)
        world.sync()
        return str(world.row(crm_id)["verdict"])

    def test_it_ends_once_each_window_and_range_is_read(self, world: World) -> None:
        world.calls(2)
        world.sync()
        world.later(minutes=5)
        begin(world)
        assert world.sql("SELECT DISTINCT why, since FROM ranges") == [("backfill", SINCE)]
        world.hubspot.faults.add("answer", match="calls/search", status=500, count=None)
        assert world.sync().exit_code == Exit.UNAVAILABLE
        assert self.mark(world)["ended_at"] is None
        world.hubspot.faults.clear()
        world.later(minutes=5)
        world.sync()
        assert self.mark(world)["ended_at"] == world.status()["last_pass"]["finished_at"]

    def test_a_window_that_could_not_be_read_keeps_it(self, world: World) -> None:
        begin(world)
        world.hubspot.faults.add("answer", match="emails/search", status=403, count=None)
        assert world.sync().exit_code == Exit.UNAVAILABLE
        assert world.sql("SELECT count(*) FROM ranges") == [(0,)], "the first window begins at `start`"
        assert self.mark(world)["ended_at"] is None

    def test_a_range_that_is_left_keeps_it(self, world: World) -> None:
        world.call()
        world.sync()
        world.later(minutes=5)
        begin(world)
        world.sql("UPDATE ranges SET next_attempt_at = ?", clock.text(world.now() + DAY))
        world.sync()
        assert self.mark(world)["ended_at"] is None

    def test_what_happened_after_its_begin_is_foreign(self, world: World) -> None:
        """Only an older ledger counts. It is lost, so somebody else has sent this one."""
        begin(world)
        world.later(hours=2)
        assert self.foreign(world, world.call(ago=timedelta(minutes=30))) == "foreign_duplicate"
        world.later(minutes=5)
        old = world.call(ago=timedelta(minutes=20), happened=world.now() - timedelta(hours=3))
        assert self.foreign(world, old) == "foreign_duplicate", "it was first seen after the end"

    def test_what_was_first_seen_in_it_counts_when_it_is_sent_later(self, world: World) -> None:
        begin(world)
        nameless = world.person("lena.marsh", address=None)
        waiting = world.call(contacts=[nameless])
        world.sync()
        assert self.mark(world)["ended_at"] is not None
        world.hubspot.edit("contacts", nameless, email="lena.marsh@amber-bolts.com")
        world.later(days=1)
        assert self.foreign(world, waiting) == "duplicate"
        assert world.status()["adopted"] == 1

    def test_one_that_was_cut_short_is_not_begun_again_unless_it_is_to_reach_further_back(self, world: World) -> None:
        world.call()
        world.sync()
        world.later(minutes=5)
        begin(world)
        first, ranges = self.mark(world), world.sql("SELECT * FROM ranges")
        world.later(minutes=5)
        begin(world)
        begin(world, MONTH + timedelta(days=1))
        assert (self.mark(world), world.sql("SELECT * FROM ranges")) == (first, ranges)
        begin(world, MONTH - timedelta(days=1))
        assert self.mark(world)["since"] == "2026-01-31T00:00:00.000Z"

    def test_records_of_salesforce_are_adopted_too(self, orgs: OrgWorld) -> None:
        ids = {orgs.task(), orgs.task(ago=timedelta(days=2))}
        orgs.sync()
        shutil.rmtree(orgs.ledger.parent)
        begin(orgs)
        orgs.sync()
        assert (orgs.delivered, orgs.recotap.doubled) == (ids, 0)
        assert orgs.status()["verdicts"] == {"created": 0, "duplicate": 2, "foreign_duplicate": 0}
        assert orgs.status()["adopted"] == 2

    def test_without_one_nothing_is_relabelled(self, world: World) -> None:
        assert self.foreign(world, world.call()) == "foreign_duplicate"
        assert (world.status()["adoption"], world.status()["adopted"]) == (None, 0)


@pytest.mark.parametrize(
    ("since", "watermark", "span"),
    [
        (MONTH, None, None),
        (MONTH - 40 * DAY, None, Span(MONTH - 40 * DAY, MONTH - 10 * DAY - timedelta(milliseconds=1))),
        (MONTH, MONTH + DAY, Span(MONTH, MONTH + DAY)),
        (MONTH, MONTH - DAY, None),
    ],
    ids=["the window begins at start", "before the start", "behind the watermark", "after it"],
)
def test_a_range_is_added_for_what_the_windows_do_not_read(
    since: datetime, watermark: datetime | None, span: Span | None
) -> None:
    assert adoption.behind(since, StreamState(watermark), MONTH - 10 * DAY) == span


def test_the_cost_counts_from_the_earlier_of_the_time_and_the_next_window() -> None:
    config = SourceConfig(connector="hubspot", start=MONTH)
    for watermark, expected in ((None, MONTH), (MONTH + 9 * DAY, MONTH + 4 * DAY), (MONTH + DAY, MONTH + DAY)):
        found = adoption.reads_from(MONTH + 4 * DAY, StreamState(watermark), config, MONTH + 10 * DAY)
        assert found == expected - (config.overlap if watermark == expected else timedelta(0))
