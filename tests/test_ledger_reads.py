"""The ledger knows when the record of a pending row was last read, and which rows are stale."""

from datetime import timedelta

import pytest

from syncd.ledger.reads import is_stale, read_at
from syncd.lifecycle.states import State, Verdict
from tests.conftest import ON_SQLITE
from tests.ledgers import HOUR, MINUTE, NOW, SECOND, ask, book, due, due_names, row, send
from tests.ledgers import reading as look


def stale(ledger, now):
    """Return the CRM's ids of the due activities that are stale."""
    names = ledger.crm_ids([each.id for each in due(ledger, now=now) if each.stale_in])
    return sorted(names.values())


def reads(ledger):
    return dict(ask(ledger, "SELECT crm_id, read_at FROM payloads JOIN activities ON id = activity_id"))


def test_a_row_is_stale_an_hour_after_it_was_read(ledger):
    book(ledger, look(1))
    assert stale(ledger, NOW + HOUR - SECOND) == []
    assert stale(ledger, NOW + HOUR) == ["1"]
    assert {each.stale_in for each in due(ledger, now=NOW + HOUR)} == {ledger.stream_id("hubspot", "calls")}


def test_a_row_is_stale_if_a_clock_that_was_ahead_read_it(ledger):
    book(ledger, look(1), now=NOW + 2 * HOUR)
    assert stale(ledger, NOW) == ["1"]


def test_a_row_of_an_older_syncd_is_stale(ledger):
    book(ledger, look(1))
    ledger._db.execute("UPDATE payloads SET read_at = NULL")
    assert stale(ledger, NOW) == ["1"]


@pytest.mark.parametrize("age_s", [-1, 0, 1, 3599, 3600, 3601, 10**7])
def test_the_statement_and_the_function_agree(ledger, age_s):
    book(ledger, look(1), now=NOW - timedelta(seconds=age_s))
    assert is_stale(read_at(NOW - timedelta(seconds=age_s)), NOW) == bool(stale(ledger, NOW))
    assert ledger.stale_of([1, 2], NOW) == set(map(int, stale(ledger, NOW)))


@pytest.mark.parametrize("verdict", [Verdict.UNREACHABLE, Verdict.UNANSWERED])
def test_a_row_that_recotap_may_have_is_never_stale(ledger, verdict):
    book(ledger, look(1))
    send(ledger, verdict)
    assert stale(ledger, NOW + 9 * HOUR) == (["1"] if verdict is Verdict.UNREACHABLE else [])


@ON_SQLITE
@pytest.mark.parametrize("by_id", [True, False])
def test_a_reading_that_changes_nothing_is_noted_in_one_statement(ledger, by_id):
    book(ledger, look(1), look(2), look(3))
    ran = []
    ledger._db.conn.set_trace_callback(ran.append)
    book(ledger, look(1), look(2), now=NOW + HOUR, looked_up_at=NOW + HOUR - MINUTE if by_id else None)
    ledger._db.conn.set_trace_callback(None)
    at = read_at(NOW + HOUR - MINUTE if by_id else NOW + HOUR)
    assert reads(ledger) == {"1": at, "2": at, "3": read_at(NOW)}
    assert sum("UPDATE payloads" in sql for sql in ran) == 1
    assert not any("UPDATE activities" in sql for sql in ran)


def test_a_changed_payload_is_kept_with_its_time(ledger):
    book(ledger, look(1))
    book(ledger, look(1, note="x"), now=NOW + HOUR, looked_up_at=NOW + MINUTE)
    assert reads(ledger) == {"1": read_at(NOW + MINUTE)}
    assert '"note": "x"' in row(ledger)["body"]


def test_an_older_version_changes_neither_the_payload_nor_its_time(ledger):
    """A search may lag behind the look-up that was booked before it."""
    book(ledger, look(1, note="new", modified_at=NOW))
    for note in ("old", "new"):
        book(ledger, look(1, note=note, modified_at=NOW - HOUR), now=NOW + HOUR)
        assert '"note": "new"' in row(ledger)["body"]
        assert reads(ledger) == {"1": read_at(NOW)}


def test_a_stale_row_that_is_not_found_waits(ledger):
    book(ledger, look(1), look(2))
    stream = ledger.stream_id("hubspot", "calls")
    ledger.book_missing(stream, ["1"], now=NOW + HOUR - SECOND)
    assert due_names(ledger, now=NOW + HOUR) == ["1", "2"]
    ledger.book_missing(stream, ["1"], now=NOW + HOUR)
    assert due_names(ledger, now=NOW + HOUR) == ["2"]
    assert (row(ledger)["state"], row(ledger)["reason"], row(ledger)["body"]) == ("incomplete", "not_found", None)
    assert ledger.balanced()
    book(ledger, look(1), now=NOW + HOUR + MINUTE)
    assert row(ledger)["state"] == State.PENDING
    assert reads(ledger)["1"] == read_at(NOW + HOUR + MINUTE)


def test_rows_of_skip_are_passed_over_in_the_order_of_the_sender(ledger):
    book(ledger, *(look(n, occurred_at=NOW - n * HOUR) for n in range(1, 8)))
    found = ledger.due(9, first_post=1, now=NOW)
    skip = {each.id for each in found[:3]} | {found[4].id}
    left = [each for each in found if each.id not in skip]
    for limit in (1, 2, 3, 9):
        assert ledger.due(limit, first_post=1, now=NOW, skip=skip) == left[:limit]
    assert ledger.due(2, first_post=1, now=NOW, skip={each.id for each in found}) == []


def test_a_queue_that_is_skipped_whole_gives_way_to_the_next(ledger):
    book(ledger, look(1))
    send(ledger, Verdict.UNREACHABLE)
    book(ledger, look(2))
    (fresh,) = due(ledger)
    (retried,) = ledger.due(9, first_post=ledger.first_post(), now=NOW, skip={fresh.id})
    assert ledger.crm_ids([retried.id]) == {retried.id: "1"}
