"""The ledger finds the same call or email under another id while it books a page, and keeps who is whose copy."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd import clock
from syncd.ledger import Ledger
from syncd.lifecycle.sameness import MOST
from syncd.lifecycle.states import State, Verdict
from syncd.lifecycle.transitions import Reading
from tests.conftest import ON_SQLITE
from tests.ledgers import DAY, HOUR, MINUTE, NOW, SECOND, ask, book, counted, kept, reports, row, send
from tests.ledgers import reading as look

HELD = "hubspot-call-1"
BY_ID = -2945  # a slot of keys by id, and one of keys by likeness
ALIKE = 494_808


def call(crm_id: int, *marks: int, at: datetime = NOW - DAY, slot: int = ALIKE, **more: Any) -> Reading:
    """Return the reading of a complete call that has these marks."""
    keys = tuple((slot, mark, int(slot < 0)) for mark in marks)
    return replace(look(crm_id, occurred_at=at, **more), keys=keys)


def take(ledger: Ledger, *readings: Reading, now: datetime = NOW, **more: Any) -> Any:
    """Book a page under `same_activity = "exclude"`."""
    return book(ledger, *readings, now=now, exclude_copies=True, **more)


def state(ledger: Ledger, crm_id: int) -> str:
    found = row(ledger, crm_id)
    return " ".join(filter(None, (found["state"], found["reason"], found["detail"])))


def twins(ledger: Ledger) -> dict[str, str]:
    sql = """
        SELECT later.crm_id, earlier.crm_id FROM twins JOIN activities AS later ON later.id = activity_id
        JOIN activities AS earlier ON earlier.id = first_id
    """
    return dict(ask(ledger, sql))


def balanced(ledger: Ledger) -> bool:
    document = reports(ledger).status(version="1", now=NOW)
    return kept(ledger) == counted(ledger) and ledger.balanced() and document["twins"] == len(twins(ledger))


class TestReport:
    def test_a_copy_is_sent_and_counted_and_explain_names_both(self, ledger: Ledger) -> None:
        book(ledger, call(1, 7))
        book(ledger, call(2, 7), call(3, 8))
        assert twins(ledger) == {"2": "1"}
        assert sorted(send(ledger)) == ["1", "2", "3"]
        assert reports(ledger).explain("hubspot-call-1")["twins"] == ["hubspot-call-2"]
        assert reports(ledger).explain("hubspot-call-2")["twins"] == ["hubspot-call-1"]
        assert reports(ledger).explain("hubspot-call-3")["twins"] == []
        assert balanced(ledger)

    def test_copies_of_one_page_and_of_two_streams_are_found(self, ledger: Ledger) -> None:
        book(ledger, call(1, 7), call(2, 7))
        book(ledger, call(3, 7, source="salesforce"), stream="others")
        assert twins(ledger) == {"2": "1", "3": "1"}
        assert reports(ledger).status(version="1", now=NOW)["twins"] == 3 - 1

    def test_a_record_that_is_read_again_is_no_copy_of_itself(self, ledger: Ledger) -> None:
        book(ledger, call(1, 7))
        book(ledger, call(1, 7, modified_at=NOW + HOUR, callTitle="Another"), now=NOW + HOUR)
        send(ledger, now=NOW + HOUR)
        book(ledger, call(1, 7, modified_at=NOW + DAY), now=NOW + DAY)
        assert twins(ledger) == {}

    def test_one_key_of_several_is_enough_and_what_only_looks_alike_is_not(self, ledger: Ledger) -> None:
        book(ledger, call(1, 7, 8))
        book(ledger, call(2, 9, 8), call(3, 10), call(4, 7, at=NOW - DAY + 3 * MINUTE))
        assert twins(ledger) == {"2": "1"}

    def test_an_incomplete_activity_has_no_copy_until_it_is_complete(self, ledger: Ledger) -> None:
        waiting = replace(call(1, 7), wanted=State.INCOMPLETE, reason=None, payload=None)
        book(ledger, waiting)
        book(ledger, call(2, 7))
        assert twins(ledger) == {}
        book(ledger, call(1, 7, modified_at=NOW + HOUR), now=NOW + HOUR)
        assert twins(ledger) == {"1": "2"}, "the first that was fit to be sent is the first"

    @ON_SQLITE
    def test_a_page_without_a_copy_costs_its_inserts_and_no_query(self, ledger: Ledger) -> None:
        seen: list[str] = []
        ledger._db.conn.set_trace_callback(lambda sql: seen.append(sql) if " keys" in sql else None)
        book(ledger, *(call(number, number, number + 1000) for number in range(100)))
        assert len(seen) == 200
        assert all(sql.split()[0] == "INSERT" for sql in seen)

    def test_keys_are_written_with_their_page_or_not_at_all(self, ledger: Ledger) -> None:
        book(ledger)

        def fail() -> None:
            with ledger.transaction():
                book(ledger, call(1, 7))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        book(ledger, call(2, 7))
        assert twins(ledger) == {}

    def test_calls_of_one_stream_that_follow_each_other_are_no_copies(self, ledger: Ledger) -> None:
        book(ledger, call(1, 7, durationMinutes=0.5), call(2, 7, at=NOW - DAY + MINUTE, durationMinutes=0.5))
        book(ledger, call(3, 7, at=NOW - DAY + 20 * SECOND, durationMinutes=0.5))
        assert twins(ledger) == {"3": "1"}


class TestExclude:
    def test_a_later_one_is_excluded_while_the_first_is_pending_or_delivered(self, ledger: Ledger) -> None:
        take(ledger, call(1, 7))
        take(ledger, call(2, 7))
        assert state(ledger, 2) == f"excluded duplicate_of {HELD}"
        assert send(ledger) == ["1"]
        take(ledger, call(3, 7), now=NOW + DAY)
        assert state(ledger, 3) == f"excluded duplicate_of {HELD}"
        assert row(ledger, 3)["body"] is None
        assert reports(ledger).explain("hubspot-call-2")["twins"] == [HELD]
        assert balanced(ledger)

    def test_a_re_read_of_the_copy_changes_nothing(self, ledger: Ledger) -> None:
        take(ledger, call(1, 7), call(2, 7))
        take(ledger, call(2, 7, modified_at=NOW + HOUR, callTitle="Edited"), now=NOW + HOUR)
        assert state(ledger, 2) == f"excluded duplicate_of {HELD}"
        assert twins(ledger) == {"2": "1"}
        take(ledger, call(2, 70, modified_at=NOW + DAY), now=NOW + DAY)
        assert state(ledger, 2) == "pending", "the edit made it another call"
        assert twins(ledger) == {}
        assert balanced(ledger)

    @pytest.mark.parametrize(
        ("verdict", "max_age"), [(Verdict.SKIPPED, 7 * DAY), (Verdict.REFUSED, timedelta(0))], ids=["skipped", "dead"]
    )
    def test_the_copy_is_looked_up_and_sent_if_recotap_does_not_take_the_first(
        self, ledger: Ledger, verdict: Verdict, max_age: timedelta
    ) -> None:
        take(ledger, call(1, 7), call(2, 7))
        assert send(ledger, verdict, max_age=max_age) == ["1"]
        assert ledger.due_look_ups("hubspot", "calls", now=NOW, limit=9) == [(row(ledger, 2)["next_attempt_at"], "2")]
        take(ledger, call(2, 7), now=NOW + MINUTE, looked_up_at=NOW + MINUTE)
        assert state(ledger, 2) == "pending"
        assert send(ledger, now=NOW + MINUTE) == ["2"]
        assert twins(ledger) == {}
        take(ledger, call(3, 7), now=NOW + DAY)
        assert state(ledger, 3) == "excluded duplicate_of hubspot-call-2", "it has taken the key over"
        assert balanced(ledger)

    def test_the_copy_is_looked_up_if_the_first_is_edited_excluded_or_gone(self, ledger: Ledger) -> None:
        take(ledger, call(1, 7), call(2, 7))
        take(ledger, look(1, State.EXCLUDED, "internal", modified_at=NOW + HOUR), now=NOW + HOUR)
        assert [crm_id for _, crm_id in ledger.due_look_ups("hubspot", "calls", now=NOW + HOUR, limit=9)] == ["2"]
        take(ledger, call(2, 7), now=NOW + HOUR, looked_up_at=NOW + HOUR)
        assert state(ledger, 2) == "pending"
        take(ledger, call(1, 7, modified_at=NOW + DAY), now=NOW + DAY)
        assert state(ledger, 1) == "excluded duplicate_of hubspot-call-2"
        ledger.book_missing(1, ["2"], now=NOW + DAY)
        assert state(ledger, 2) == "incomplete not_found"
        assert [crm_id for _, crm_id in ledger.due_look_ups("hubspot", "calls", now=NOW + DAY, limit=9)] == ["1"]
        assert balanced(ledger)

    @pytest.mark.parametrize("first", [0, 1], ids=["the first comes first", "the copy comes first"])
    def test_both_may_change_in_one_page(self, ledger: Ledger, first: int) -> None:
        """Nothing would look the copy up later, because the first has left pending already."""
        take(ledger, call(1, 7), call(2, 7))
        page = [look(1, State.EXCLUDED, "internal", modified_at=NOW + HOUR), call(2, 7, modified_at=NOW + HOUR)]
        take(ledger, *(page if first == 0 else page[::-1]), now=NOW + HOUR)
        assert state(ledger, 2) == "pending"
        assert balanced(ledger)

    def test_a_copy_of_a_copy_is_sent_if_it_is_no_copy_of_the_first(self, ledger: Ledger) -> None:
        take(ledger, call(1, 7), call(2, 7, 8), call(3, 8))
        assert [state(ledger, crm_id).split()[0] for crm_id in (1, 2, 3)] == ["pending", "excluded", "pending"]

    def test_what_recotap_may_have_is_sent_again_whatever_it_is(self, ledger: Ledger) -> None:
        take(ledger, call(2, 7))
        send(ledger, Verdict.UNANSWERED)
        ledger._db.execute("UPDATE activities SET state = 'incomplete', next_attempt_at = NULL")
        take(ledger, call(1, 7))
        take(ledger, call(2, 7, modified_at=NOW + HOUR), now=NOW + HOUR)
        assert state(ledger, 2) == "pending"

    def test_one_look_up_that_misses_a_copy_proves_nothing(self, ledger: Ledger) -> None:
        take(ledger, call(1, 7), call(2, 7))
        send(ledger, Verdict.SKIPPED)
        ledger.book_missing(1, ["2"], now=NOW)
        assert state(ledger, 2) == "incomplete not_found"
        ledger.book_missing(1, ["2"], now=NOW + HOUR)
        assert state(ledger, 2) == "excluded deleted"
        assert balanced(ledger)

    def test_a_mark_that_very_many_have_names_no_activity(self, ledger: Ledger) -> None:
        calls = [call(number, 7, slot=BY_ID, at=NOW - DAY + number * MINUTE) for number in range(1, MOST + 6)]
        take(ledger, *calls[: MOST // 2])
        take(ledger, *calls[MOST // 2 :])
        assert len(twins(ledger)) == MOST
        assert ledger.counts()["pending"] == 5

    def test_a_key_of_a_row_that_is_gone_is_taken_over(self, ledger: Ledger) -> None:
        take(ledger, call(1, 7))
        ledger._db.execute("DELETE FROM activities")
        take(ledger, call(2, 7))
        assert state(ledger, 2) == "pending"
        take(ledger, call(3, 7))
        assert state(ledger, 3) == "excluded duplicate_of hubspot-call-2"

    def test_a_first_that_cannot_be_written_has_no_copies(self, ledger: Ledger) -> None:
        take(ledger, replace(call(1, 7), payload="\ud800"))
        take(ledger, call(2, 7))
        assert (state(ledger, 1).split()[0], state(ledger, 2)) == ("dead", "pending")


class TestKeys:
    def test_they_are_kept_for_thirty_days(self, ledger: Ledger) -> None:
        book(ledger, call(1, 7))
        book(ledger, call(2, 8), now=NOW + 20 * DAY)
        ledger.forget_keys(NOW + 29 * DAY)
        assert ask(ledger, "SELECT hash FROM keys") == [(7,), (8,)]
        ledger.forget_keys(NOW + 31 * DAY)
        assert ask(ledger, "SELECT hash FROM keys") == [(8,)]
        ledger.recount_daily(NOW + 51 * DAY, stopping=lambda: False)
        assert ask(ledger, "SELECT hash FROM keys") == []

    @ON_SQLITE
    def test_many_are_forgotten_in_short_transactions(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("syncd.ledger.sameness.AT_ONCE", 10)
        book(ledger, *(call(number, number) for number in range(25)))
        begun: list[str] = []
        ledger._db.conn.set_trace_callback(lambda sql: begun.append(sql) if "BEGIN" in sql else None)
        ledger.forget_keys(NOW + 31 * DAY)
        assert len(begun) == 3
        assert ask(ledger, "SELECT count(*) FROM keys") == [(0,)]

    def test_the_secret_is_made_once(self, ledger: Ledger) -> None:
        assert ledger.secret() is None
        ledger.make_secret(NOW)
        secret = ledger.secret()
        assert secret is not None
        assert len(secret) == 32
        ledger.make_secret(NOW + DAY)
        assert ledger.secret() == secret


def test_what_except_leaves_out_is_counted_by_entry(ledger: Ledger) -> None:
    def left_out(crm_id: int, entry: int, **more: Any) -> Reading:
        return look(crm_id, State.EXCLUDED, "filtered", detail=f"except, entry {entry}", **more)

    book(ledger, left_out(1, 1), left_out(2, 2), left_out(3, 2), look(4, State.EXCLUDED, "internal"))
    book(ledger, left_out(5, 1, kind="email"), stream="emails")
    assert reports(ledger).status(version="1", now=NOW)["filtered"] == [
        {"source": "hubspot", "stream": "calls", "entry": "except, entry 1", "count": 1},
        {"source": "hubspot", "stream": "calls", "entry": "except, entry 2", "count": 2},
        {"source": "hubspot", "stream": "emails", "entry": "except, entry 1", "count": 1},
    ]
    book(ledger, left_out(1, 2, modified_at=NOW + HOUR), look(2, modified_at=NOW + HOUR), now=NOW + HOUR)
    ledger._db.execute("DELETE FROM activities WHERE crm_id = '3'")
    found = {each["entry"]: each["count"] for each in reports(ledger).status(version="1", now=NOW)["filtered"][:1]}
    assert found == {"except, entry 2": 1}
    assert kept(ledger) == counted(ledger)
    assert reports(ledger).status(version="1", now=NOW)["reasons"]["excluded"] == {"filtered": 2, "internal": 1}


def empty(ledger: Ledger) -> None:
    """Forget everything, which costs less than another ledger."""
    ledger._db.execute("PRAGMA synchronous = OFF")
    for table in ("activities", "posts", "keys", "counts"):
        ledger._db.execute(f"DELETE FROM {table}")
    ledger._db.execute("UPDATE streams SET seen = 0")


IDS, MARKS = st.integers(1, 4), st.sets(st.integers(1, 3), max_size=2)
PLAYED = st.one_of(
    st.tuples(st.just("complete"), st.lists(st.tuples(IDS, MARKS), min_size=1, max_size=3), st.booleans()),
    st.tuples(st.sampled_from(["waits", "excluded", "missing", "retry"]), IDS),
    st.tuples(
        st.just("send"), st.sampled_from([Verdict.CREATED, Verdict.SKIPPED, Verdict.REFUSED, Verdict.UNANSWERED])
    ),
)


def play(ledger: Ledger, move: tuple[Any, ...], now: datetime) -> None:
    match move:
        case "complete", page, by_id:
            readings = [call(crm_id, *sorted(marks), modified_at=now) for crm_id, marks in page]
            take(ledger, *readings, now=now, looked_up_at=now if by_id else None)
        case "waits", crm_id:
            take(ledger, look(crm_id, State.INCOMPLETE, "no_contact", modified_at=now), now=now)
        case "excluded", crm_id:
            take(ledger, look(crm_id, State.EXCLUDED, "internal", modified_at=now), now=now)
        case "missing", crm_id:
            ledger.book_missing(1, [str(crm_id)], now=now)
        case "retry", crm_id:
            sql = "UPDATE activities SET next_attempt_at = ? WHERE crm_id = ? AND state NOT IN ('delivered', 'pending')"
            ledger._db.execute(sql, (clock.text(now), str(crm_id)))
        case "send", verdict:
            send(ledger, verdict, now=now, max_age=timedelta(0))


@ON_SQLITE
@given(moves=st.lists(PLAYED, max_size=14))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_no_copy_waits_for_a_first_that_is_not_sent(
    ledger: Ledger, moves: list[tuple[Any, ...]]
) -> None:
    """Every `duplicate_of` stands behind one that is pending or delivered, or a look-up is due. The books balance."""
    stuck = """
        SELECT crm_id FROM activities AS copy WHERE reason = 'duplicate_of' AND next_attempt_at IS NULL AND NOT EXISTS (
            SELECT 1 FROM twins JOIN activities AS first ON first.id = first_id
            WHERE activity_id = copy.id AND first.state IN ('pending', 'delivered')
                AND copy.detail = first.external_activity_id)
    """
    empty(ledger)
    for hour, move in enumerate([("complete", [(9, set())], False), *moves]):
        play(ledger, move, NOW + hour * HOUR)
        assert ledger._db.execute(stuck).fetchall() == []
    assert balanced(ledger)
