"""A ledger that went back: nothing is lost or doubled, and what the lost part delivered counts as ours."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from syncd import clock
from syncd.errors import Exit
from syncd.ledger import LedgerHandle, Rewind
from syncd.ledger.lock import keep_standing, kept_standing, lock_file
from syncd.ledger.standing import Standing, went_back
from syncd.passes import adoption, rewinding
from tests.conftest import Command
from tests.ledgers import OF_SQLITE, URL
from tests.world import World

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
OLD_HISTORY = "0/00000000/0"


def backup(world: World) -> Callable[[], None]:
    """Copy the ledger. Returns how to put the copy back, without the lock or the server that knows better."""
    return _backup_of_tables(world) if URL else _backup_of_file(world)


def _backup_of_file(world: World) -> Callable[[], None]:
    copy = world.path / "backup.db"
    with closing(sqlite3.connect(world.ledger)) as db, closing(sqlite3.connect(copy)) as to:
        db.backup(to)

    def restore() -> None:
        for end in ("", "-wal", "-shm"):
            Path(f"{world.ledger}{end}").unlink(missing_ok=True)
        shutil.copy(copy, world.ledger)

    return restore


def _backup_of_tables(world: World) -> Callable[[], None]:
    """Copy the rows. The server then serves another history than the one in which the ledger was written."""
    tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
    names = [name for (name,) in world.sql(tables)]
    for name in names:
        world.sql(f"CREATE TABLE copy_of_{name} AS TABLE {name}")

    def restore() -> None:
        world.sql("SET session_replication_role = replica")
        for name in names:
            world.sql(f"DELETE FROM {name}")
            world.sql(f"INSERT INTO {name} SELECT * FROM copy_of_{name}")
        world.sql("SET session_replication_role = origin")
        world.sql("UPDATE meta SET history = ?", OLD_HISTORY)

    return restore


def verdicts(world: World) -> tuple[int, ...]:
    """Return how many are created, duplicate and foreign duplicates."""
    status = world.status()
    assert status["balanced"]
    return tuple(status["verdicts"].values())


def sync(world: World) -> list[str]:
    """Make a pass, and return the events of its warnings."""
    world.later(minutes=5)
    with capture_logs() as logs:
        world.sync()
    return [each["event"] for each in logs if each["log_level"] == "warning"]


def stored(world: World, crm_id: str) -> None:
    """Let Recotap have a call of somebody else."""
    world.recotap.stored[f"hubspot-call-{crm_id}"] = ({}, 1)


def unread(world: World) -> None:
    """Let no window be read to its end."""
    world.hubspot.faults.add("answer", match="calls/search", status=403, count=None)


class TestAPass:
    def test_what_the_lost_part_delivered_counts_as_ours_and_the_mark_ends_by_itself(self, world: World) -> None:
        before = world.calls(3)
        nameless = world.person("lena.marsh", address=None)
        waiting = world.call(contacts=[nameless])
        sync(world)
        restore = backup(world)
        world.later(hours=1)
        world.hubspot.edit("contacts", nameless, email="lena.marsh@amber-bolts.com")
        after = [*world.calls(4, first_ago=50 * MINUTE), world.email()]
        world.later(days=1)
        sync(world)
        assert world.delivered == {*before, waiting, *after}
        restore()
        warned = sync(world)
        assert (world.recotap.doubled, verdicts(world)) == (0, (3, 6, 0))
        assert warned.count("ledger.rewound") == 1
        assert "push.foreign" not in warned
        assert world.row(after[0])["attempts"][-1]["detail"] == adoption.REWOUND
        assert world.status()["rewound"] == {
            "at": clock.text(world.now()), "ended_at": clock.text(world.now()), "streams": []
        }  # fmt: skip
        assert "ledger.rewound" not in sync(world)

    def test_what_waited_in_the_backup_and_was_delivered_counts_as_ours(self, world: World) -> None:
        world.recotap.faults.add("unavailable", count=None)
        waiting = world.calls(3)
        sync(world)
        restore = backup(world)
        world.sql("UPDATE activities SET unknown = 0")  # as if no POST had left yet
        world.recotap.faults.clear()
        world.sql("DELETE FROM pauses")
        world.later(hours=1)
        sync(world)
        assert world.delivered == {*waiting}
        restore()
        world.sql("UPDATE activities SET unknown = 0")
        world.sql("DELETE FROM pauses")
        assert "ledger.rewound" in sync(world)
        assert (world.recotap.doubled, verdicts(world)) == (0, (0, 3, 0))

    def test_a_record_made_after_the_mark_that_somebody_else_sent_stays_foreign(self, world: World) -> None:
        world.calls(2)
        sync(world)
        restore = backup(world)
        world.later(hours=1)
        lost = world.call(ago=30 * MINUTE)
        sync(world)
        restore()
        unread(world)
        sync(world)
        assert world.status()["rewound"]["streams"] == ["hubspot calls", "hubspot emails"]
        world.hubspot.faults.clear()
        world.later(hours=2)
        new = world.call(ago=30 * MINUTE)
        stored(world, new)
        sync(world)
        assert world.row(lost)["verdict"] == "duplicate"
        assert world.row(new)["verdict"] == "foreign_duplicate"
        assert world.status()["rewound"]["ended_at"] is not None

    def test_a_record_first_seen_after_the_end_stays_foreign(self, world: World) -> None:
        world.calls(2)
        sync(world)
        restore = backup(world)
        world.later(hours=1)
        sync(world)
        restore()
        sync(world)
        logged_late = world.call(ago=MINUTE, happened=world.now() - 2 * HOUR)
        stored(world, logged_late)
        sync(world)
        assert world.row(logged_late)["verdict"] == "foreign_duplicate"

    def test_what_was_first_seen_within_it_counts_when_it_is_sent_later(self, world: World) -> None:
        world.calls(2)
        sync(world)
        restore = backup(world)
        world.later(hours=1)
        nameless = world.person("lena.marsh", address=None)
        lost = world.call(ago=30 * MINUTE, contacts=[nameless])
        sync(world)
        restore()
        sync(world)
        row = world.row(lost)
        assert (row["state"], row["rewound_at"]) == ("incomplete", world.status()["rewound"]["at"])
        stored(world, lost)
        world.hubspot.edit("contacts", nameless, email="lena.marsh@amber-bolts.com")
        world.later(days=1)
        sync(world)
        assert (world.row(lost)["verdict"], world.row(lost)["rewound_at"]) == ("duplicate", None)

    def test_a_range_that_is_left_keeps_the_mark_of_its_stream(self, world: World) -> None:
        world.calls(2)
        sync(world)
        restore = backup(world)
        sync(world)
        restore()
        stream = world.sql("SELECT id FROM streams WHERE stream = 'calls'")[0][0]
        world.sql(
            "INSERT INTO ranges (id, stream_id, since, until, why, created_at, next_attempt_at) "
            "VALUES (9, ?, '2026-01-01T00:00:00.000Z', '2026-02-01T00:00:00.000Z', 'backfill', ?, ?)",
            stream, clock.text(world.now()), clock.text(world.now() + HOUR),
        )  # fmt: skip
        sync(world)
        assert world.status()["rewound"]["streams"] == ["hubspot calls"]
        old = world.call(ago=world.now() - datetime(2026, 1, 15, tzinfo=UTC))
        stored(world, old)
        world.later(hours=1)
        sync(world)
        assert world.row(old)["verdict"] == "duplicate"
        assert world.status()["rewound"]["streams"] == []

    def test_a_stream_that_is_not_read_any_more_keeps_no_mark(self, world: World) -> None:
        world.calls(2)
        sync(world)
        restore = backup(world)
        sync(world)
        restore()
        world.configure("sources.hubspot", calls={"read": False})
        sync(world)
        assert world.status()["rewound"]["streams"] == []

    def test_a_pass_that_ends_early_leaves_the_mark_and_a_second_one_warns_no_more(self, world: World) -> None:
        world.calls(2)
        sync(world)
        restore = backup(world)
        sync(world)
        restore()
        unread(world)
        assert "ledger.rewound" in sync(world)
        at = world.status()["rewound"]["at"]
        assert "ledger.rewound" not in sync(world)
        assert world.status()["rewound"]["at"] == at

    def test_a_second_time_begins_a_mark_of_its_own(self, world: World) -> None:
        world.calls(2)
        sync(world)
        restore = backup(world)
        for _ in range(2):
            world.later(hours=1)
            lost = world.call(ago=30 * MINUTE)
            sync(world)
            restore()
            assert "ledger.rewound" in sync(world)
            assert world.row(lost)["verdict"] == "duplicate"
        assert world.status()["rewound"]["at"] == clock.text(world.now())

    def test_a_ledger_that_goes_on_is_never_marked(self, world: World) -> None:
        for _ in range(3):
            world.call()
            assert sync(world) == []
        assert world.status()["rewound"] is None
        stored(world, foreign := world.call(ago=HOUR))
        sync(world)
        assert world.row(foreign)["verdict"] == "foreign_duplicate"


@OF_SQLITE
class TestAFile:
    """The lock's file tells. If it tells nothing, nothing is claimed."""

    @pytest.fixture
    def restored(self, world: World) -> World:
        """Return a world whose ledger was put back."""
        world.calls(2)
        sync(world)
        restore = backup(world)
        world.call(ago=MINUTE)
        sync(world)
        restore()
        return world

    def test_a_backup_of_the_moment_between_two_posts_of_a_pass_is_noticed(self, world: World) -> None:
        world.calls(120)
        sync(world)
        world.sql("DELETE FROM posts WHERE id = (SELECT max(id) FROM posts)")  # no pass is missing
        assert "ledger.rewound" in sync(world)

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"standing": 5}', '{"standing": ["", null, 3]}', "\udcff"])
    def test_a_lock_that_tells_nothing_claims_nothing(self, restored: World, text: str) -> None:
        lock_file(restored.ledger).write_bytes(text.encode("utf-8", "surrogateescape"))
        assert "ledger.rewound" not in sync(restored)
        assert restored.status()["rewound"] is None

    def test_a_lock_that_was_removed_or_restored_too_claims_nothing(self, restored: World) -> None:
        lock_file(restored.ledger).unlink()
        assert "ledger.rewound" not in sync(restored)

    def test_another_ledger_in_its_place_is_not_marked(self, restored: World) -> None:
        restored.ledger.unlink()
        assert "ledger.rewound" not in sync(restored)
        assert restored.status()["rewound"] is None

    def test_who_holds_it_is_told_beside_how_far_it_was(self, world: World) -> None:
        world.calls(2)
        sync(world)
        handle = LedgerHandle(world.ledger)
        known = kept_standing(world.ledger)
        assert known is not None
        assert (known.passes, known.posts) == (1, 1)
        with handle.hold("test"):
            assert str(handle.holder()).startswith("`syncd test`, process ")
            assert kept_standing(world.ledger) == known
        assert (handle.holder(), kept_standing(world.ledger)) == (None, known)

    def test_without_a_lock_none_is_made(self, tmp_path: Path) -> None:
        keep_standing(tmp_path / "ledger.db", Standing("a", 1, 1))
        assert [*tmp_path.iterdir()] == []

    def test_a_reader_of_status_and_of_check_and_of_explain_is_told(self, live: World, command: Command) -> None:
        nameless = live.person("lena.marsh", address=None)
        waiting = live.call(contacts=[nameless])
        assert command("sync", "-c", live.write_config()).code == 0
        restore = backup(live)
        assert command("sync", "-c", live.config_file).code == 0
        restore()
        unread(live)
        assert command("sync", "-c", live.config_file).code == Exit.UNAVAILABLE
        told = command("status", "-c", live.config_file).out
        assert "went back: the ledger is older than its deliveries" in told
        assert "still to be read again: hubspot calls, hubspot emails" in told
        checked = command("check", "-c", live.config_file).out
        assert "went back to an earlier state, and hubspot calls, hubspot emails are to be read again" in checked
        assert "let the next passes read them" in checked
        assert "Recotap may have it" in command("explain", waiting, "-c", live.config_file).out
        live.hubspot.faults.clear()
        assert command("sync", "-c", live.config_file).code == 0
        assert "all was read again by" in command("status", "-c", live.config_file).out
        assert "went back to an earlier" not in command("check", "-c", live.config_file).out


@pytest.mark.parametrize(
    ("kept", "found", "is_back"),
    [
        (None, Standing("a", 3, 5), False),
        (Standing("a", 3, 5), Standing("a", 3, 5), False),
        (Standing("a", 3, 5), Standing("a", 4, 9), False),
        (Standing("a", 3, 5), Standing("a", 2, 5), True),
        (Standing("a", 3, 5), Standing("a", 3, 4), True),
        (Standing("a", 3, 5), Standing("b", 1, 1), False),
        (Standing("", 3, 5), Standing("", 1, 1), False),
    ],
)
def test_a_file_went_back_if_one_of_its_numbers_fell(kept: Standing | None, found: Standing, is_back: bool) -> None:
    assert went_back(kept, found) is is_back


@pytest.mark.parametrize(
    ("seen", "modified", "occurred", "ended", "is_ours"),
    [
        (-HOUR, -HOUR, -HOUR, None, True),
        (-HOUR, -HOUR, -HOUR, DAY, True),
        (-HOUR, HOUR, HOUR, None, True),
        (HOUR, -HOUR, HOUR, None, True),
        (HOUR, HOUR / 2, -HOUR, None, True),
        (HOUR, HOUR / 2, HOUR / 3, None, False),
        (HOUR, HOUR / 2, None, None, False),
        (HOUR, MINUTE, MINUTE, None, True),
        (HOUR, 3 * MINUTE, 3 * MINUTE, None, False),
        (2 * HOUR, -HOUR, -HOUR, HOUR, False),
        (HOUR, -HOUR, -HOUR, HOUR, True),
        (2 * HOUR, -HOUR, -HOUR, -DAY, True),
    ],
    ids=[
        "in the ledger before", "and it has ended", "held before, changed since", "planned, and known before",
        "changed since", "made since", "made since, at an unknown time", "made before by the CRM's clock",
        "made since by the CRM's clock", "first seen after the end", "at the end", "an end of an earlier time",
    ],
)  # fmt: skip
def test_the_lost_part_may_have_delivered_what_existed_and_was_seen_in_time(
    seen: timedelta, modified: timedelta, occurred: timedelta | None, ended: timedelta | None, is_ours: bool
) -> None:
    ends = {} if ended is None else {("crm", "calls"): AT + ended}
    rewind = Rewind(AT, ends, {"crm": 2 * MINUTE})
    happened = None if occurred is None else AT + occurred
    found = rewind.covers("crm", "calls", first_seen_at=AT + seen, modified_at=AT + modified, occurred_at=happened)
    assert found is is_ours


def test_the_hint_says_when_there_is_nothing_to_do() -> None:
    assert "if a backup was restored or PostgreSQL has failed over" in rewinding.HINT
