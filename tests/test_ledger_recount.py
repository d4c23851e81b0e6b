"""The rows are counted once a day and by `syncd ledger recount`, which corrects the kept counts or exits 4."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from syncd.errors import Exit
from syncd.ledger import AnyLedger, Ledger, Operator, Recount, recount
from syncd.lifecycle.states import State
from tests.conftest import ON_SQLITE, Command
from tests.ledgers import DAY, HOUR, MINUTE, NOW, ask, book, counted, kept, send
from tests.ledgers import reading as look
from tests.world import World

AWAY = "UPDATE activities SET stream_id = 3 - stream_id WHERE crm_id = '1'"  # to the other stream, and back


@pytest.fixture
def ledger(handle: AnyLedger) -> Iterator[Ledger]:
    with handle.open() as ledger:
        book(ledger, *map(look, range(1, 8)), look(9, State.INCOMPLETE, "no_contact"))
        book(ledger, look(8, kind="email"), stream="emails")
        send(ledger, limit=3)
        yield ledger


@pytest.fixture
def operator(handle: AnyLedger, ledger: Ledger) -> Iterator[Operator]:
    with handle.operate() as operator:
        yield operator


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


def daily(ledger: Ledger, now: datetime) -> Recount | None:
    return ledger.recount_daily(now, stopping=lambda: False)


class TestRecount:
    def test_counts_that_are_right_stay(self, ledger: Ledger, operator: Operator) -> None:
        before = kept(ledger)
        found = operator.recount(now=NOW)
        assert (found.rows, found.unequal, found.wrong, found.corrected) == (9, (), {}, False)
        assert kept(ledger) == counted(ledger) == before

    @pytest.mark.parametrize(
        "by_hand",
        [
            "UPDATE counts SET n = n + 1", "DELETE FROM counts",
            "INSERT INTO counts VALUES (1, 'dead', 'x', '', 0, '', 3)",
            "UPDATE activities SET reason = 'no_domain' WHERE state = 'incomplete'",
        ],
    )  # fmt: skip
    def test_counts_that_are_wrong_are_corrected_by_the_rows(
        self, ledger: Ledger, operator: Operator, by_hand: str
    ) -> None:
        ledger._db.execute(by_hand)
        assert kept(ledger) != counted(ledger)
        found = operator.recount(now=NOW)
        assert found.corrected
        assert kept(ledger) == counted(ledger)
        assert ledger.balanced()

    def test_a_row_moved_by_hand_to_another_stream_shows_though_the_sum_is_right(
        self, ledger: Ledger, operator: Operator
    ) -> None:
        ledger._db.execute(AWAY)
        assert ledger.balanced(), "no row was deleted"
        before = kept(ledger)
        found = operator.recount(now=NOW)
        assert found.unequal == (("hubspot", "calls", 7, 8), ("hubspot", "emails", 2, 1))
        assert not found.corrected
        assert kept(ledger) == before
        assert not ledger.balanced(), "and it shows in every pass until the rows are right"
        ledger._db.execute(AWAY)
        assert not ledger.balanced()
        assert operator.recount(now=NOW).unequal == ()
        assert ledger.balanced()

    @ON_SQLITE
    def test_rows_that_were_deleted_unnoticed_or_added_show(self, ledger: Ledger, operator: Operator) -> None:
        ledger._db.execute("DROP TRIGGER uncounted")
        ledger._db.execute("DELETE FROM activities WHERE crm_id = '8'")
        ledger._db.execute(
            "INSERT INTO activities (stream_id, crm_id, external_activity_id, kind, state, modified_at, first_seen_at) "
            "VALUES (1, 'x', 'x', 'call', 'dead', '', '')"
        )
        assert ledger.balanced()
        assert operator.recount(now=NOW).unequal == (("hubspot", "calls", 9, 8), ("hubspot", "emails", 0, 1))
        assert not ledger.balanced()

    def test_it_counts_span_by_span_over_gaps(
        self, ledger: Ledger, operator: Operator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recount, "SPAN", 2)
        ledger._db.execute(
            "UPDATE activities SET id = 1001 WHERE id = (SELECT min(id) FROM activities WHERE state = 'delivered')"
        )
        found = operator.recount(now=NOW)
        assert (found.rows, found.unequal, found.wrong) == (9, (), {})

    def test_what_is_booked_between_the_count_and_the_correction_stays_counted(
        self, ledger: Ledger, operator: Operator
    ) -> None:
        ledger._db.execute("UPDATE counts SET n = n + 1")
        found = recount.count(operator._db, operator.handle, stopping=lambda: False)
        assert found
        book(ledger, look(20))
        send(ledger, limit=2)
        with ledger.transaction():
            recount.correct(ledger._db, found, NOW)
        assert kept(ledger) == counted(ledger)
        assert ledger.balanced()

    def test_two_who_counted_at_once_correct_once(self, ledger: Ledger, operator: Operator) -> None:
        ledger._db.execute("UPDATE counts SET n = n + 1")
        found = [recount.count(operator._db, operator.handle, stopping=lambda: False) for _ in range(2)]
        for each in found:
            assert each
            with ledger.transaction():
                recount.correct(ledger._db, each, NOW)
        assert kept(ledger) == counted(ledger)

    def test_a_pass_may_write_while_the_rows_are_counted(self, ledger: Ledger, operator: Operator) -> None:
        booked: list[int] = []

        def meanwhile() -> bool:
            booked.append(book(ledger, look(100 + len(booked))).new)
            return False

        found = recount.count(operator._db, operator.handle, stopping=meanwhile)
        assert booked == [1]
        assert found
        assert (found.rows, found.unequal, found.wrong) == (9, (), {}), "as of one moment"


class TestDaily:
    def test_the_rows_are_counted_once_a_day(self, ledger: Ledger) -> None:
        assert daily(ledger, NOW)
        assert daily(ledger, NOW + HOUR) is None
        assert daily(ledger, NOW + DAY - MINUTE) is None
        assert daily(ledger, NOW + DAY)
        assert daily(ledger, NOW), "a clock that was ahead booked the last one"

    def test_a_stop_ends_the_count_and_a_later_pass_makes_it(self, ledger: Ledger) -> None:
        assert ledger.recount_daily(NOW, stopping=lambda: True) is None
        assert not ledger._db.conn.in_transaction
        assert daily(ledger, NOW + MINUTE)

    def test_a_pass_counts_and_says_what_it_found_until_it_is_right_again(self, world: World) -> None:
        old = world.call(ago=9 * DAY)  # no window reads it again
        world.call()
        world.email()
        assert world.sync().exit_code is Exit.OK
        world.sql("UPDATE activities SET stream_id = 2 WHERE crm_id = ?", old)
        world.later(hours=20)
        assert world.sync().exit_code is Exit.OK, "no row is counted within the day"
        world.later(hours=5)
        with capture_logs() as logs:
            assert world.sync().exit_code is Exit.UNBALANCED
        (line,) = [line for line in logs if line["event"] == "books.recounted"]
        assert line["unequal"] == {"hubspot/calls": "1 of 2", "hubspot/emails": "2 of 1"}
        assert line["log_level"] == "warning"
        by_hand = "rows were changed by hand, or report a bug. `syncd ledger recount` counts again"
        assert line["hint"] == by_hand
        world.later(minutes=5)
        assert world.sync().exit_code is Exit.UNBALANCED
        world.sql("UPDATE activities SET stream_id = 1 WHERE kind = 'call'")
        world.later(hours=25)
        assert world.sync().exit_code is Exit.OK

    def test_a_pass_corrects_counts_and_says_nothing_if_they_are_right(self, world: World) -> None:
        world.call()
        with capture_logs() as logs:
            world.sync()
        assert "books.recounted" not in {line["event"] for line in logs}
        world.sql("UPDATE counts SET n = n + 1")
        world.later(minutes=5)
        assert world.sync().exit_code is Exit.UNBALANCED
        world.later(hours=25)
        with capture_logs() as logs:
            assert world.sync().exit_code is Exit.OK
        assert [line["corrected"] for line in logs if line["event"] == "books.recounted"] == [True]


class TestCommand:
    def test_it_says_that_the_counts_are_right_or_corrects_them(self, world: World, command: Command) -> None:
        world.call()
        world.sync()
        ran = command("ledger", "recount", "-c", world.config_file)
        assert (ran.code, ran.out, ran.err) == (0, "Rows counted: 1. The kept counts are right.\n", "")
        world.sql("UPDATE counts SET n = n + 1")
        assert command("status", "-c", world.config_file).code == 4
        ran = command("ledger", "recount", "-c", world.config_file)
        assert (ran.code, ran.out) == (0, "Rows counted: 1. The kept counts were wrong, and are right now.\n")
        assert command("status", "-c", world.config_file).code == 0

    def test_it_names_the_stream_whose_rows_are_missing_and_what_to_do(self, world: World, command: Command) -> None:
        world.call()
        world.sync()
        world.sql("DELETE FROM activities")
        ran = command("ledger", "recount", "-c", world.config_file)
        assert (ran.code, ran.out) == (4, "hubspot/calls: 0 rows, 1 were seen\n")
        assert "restore a backup" in ran.err
        assert ask(world.handle, "SELECT seen FROM streams WHERE stream = 'calls'") == [(1,)]

    def test_it_needs_no_hold(self, world: World, command: Command) -> None:
        world.call()
        world.sync()
        with world.handle.hold("run"):
            assert command("ledger", "recount", "-c", world.config_file).code == 0

    def test_without_a_ledger_it_says_so(self, world: World, command: Command) -> None:
        assert command("ledger", "recount", "-c", world.write_config()).code == 74
