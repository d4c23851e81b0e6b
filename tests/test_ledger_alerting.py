"""What the ledger tells the alerts, and what it keeps for them."""

import sqlite3
import time
from contextlib import closing
from datetime import timedelta

from syncd.ledger import AnyLedger
from syncd.lifecycle.states import State, Verdict
from tests.conftest import ON_SQLITE
from tests.ledgers import NOW, book, reading, send

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def due_since(handle: AnyLedger, *, after: timedelta) -> list[timedelta]:
    """Return for each due row how long it had waited, `after` NOW."""
    with handle.alerting() as alerting:
        return sorted(NOW + after - at for at in alerting.due_since(NOW + after).values())


def test_an_activity_is_due_since_it_was_complete_however_often_an_outage_returned_it(handle: AnyLedger) -> None:
    with handle.open() as ledger:
        book(ledger, reading(1), reading(2, State.INCOMPLETE, "no_contact"), now=NOW)
        assert due_since(handle, after=HOUR) == [HOUR]
        for number in range(3):
            send(ledger, Verdict.UNREACHABLE, now=NOW + 5 * MINUTE * (number + 1))
        assert due_since(handle, after=HOUR) == [HOUR - 5 * MINUTE], "since the first attempt"
        book(ledger, reading(2, modified_at=NOW + HOUR), now=NOW + HOUR)
        assert due_since(handle, after=2 * HOUR) == [HOUR, 2 * HOUR - 5 * MINUTE], "not since it was first seen"
        send(ledger, now=NOW + 2 * HOUR)
        send(ledger, now=NOW + 2 * HOUR)  # one that was tried before does not travel with one that was not
        assert due_since(handle, after=3 * HOUR) == []


def test_an_activity_that_backs_off_is_not_due_before_its_time(handle: AnyLedger) -> None:
    with handle.open() as ledger:
        book(ledger, reading(1), now=NOW)
        send(ledger, Verdict.REFUSED, now=NOW)
        assert due_since(handle, after=MINUTE) == []
        assert [0 < waited / MINUTE < 60 for waited in due_since(handle, after=HOUR)] == [True]


def test_the_memory_is_kept_and_a_write_waits_for_a_pass_and_not_the_other_way_round(handle: AnyLedger) -> None:
    with handle.open() as ledger, handle.alerting() as alerting:
        assert alerting.kept_alerts() is None
        with ledger.transaction():
            book(ledger, reading(1))
            assert alerting.kept_alerts() is None, "a reader waits for no writer"
        began = time.monotonic()
        alerting.keep_alerts({"conditions": {"balanced": "…"}}, NOW)
        assert time.monotonic() - began < 1
        book(ledger, reading(2))
    with handle.alerting() as alerting:
        assert alerting.kept_alerts() == {"conditions": {"balanced": "…"}}
        alerting.keep_alerts({}, NOW + MINUTE)
        assert alerting.kept_alerts() == {}
        assert alerting.requests() == 0, "it makes the daemon do nothing"


@ON_SQLITE
def test_the_question_names_a_bounded_number_of_rows(handle: AnyLedger) -> None:
    with handle.open() as ledger:
        book(ledger, *(reading(number) for number in range(300)), now=NOW)
    assert len(due_since(handle, after=HOUR)) == 200
    with closing(sqlite3.connect(str(handle))) as db:
        from syncd.ledger.alerting import _DUE_SINCE

        plan = [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {_DUE_SINCE}", {"most": 1, "now": ""})]
    assert not [
        step for step in plan if step.startswith("SCAN activities") or ("past_attempts" in step and "SCAN" in step)
    ]
    assert [step for step in plan if "activities USING INTEGER PRIMARY KEY" in step]
