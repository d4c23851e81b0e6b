"""The ledger keeps counts of its rows in the transactions that move them, and deliveries by day and lateness."""

from dataclasses import replace

import pytest

from syncd.ledger import AttemptResult
from syncd.ledger.counts import EVER
from syncd.lifecycle.states import State, Verdict
from tests.conftest import ON_SQLITE
from tests.ledgers import DAY, HOUR, MINUTE, NOW, SECOND, WEEK, ask, book, counted, due, half, kept, ref, reports, send
from tests.ledgers import reading as look

I, E, X = State.INCOMPLETE, State.EXCLUDED, State.DEAD  # noqa: E741 - as the other tests of the ledger

WITHOUT_BODY = replace(look(9), payload="\ud800")  # SQLite writes its row, and then refuses its payload


def days(ledger):
    """Return the deliveries as {(day, since): {bound in seconds: deliveries}}."""
    found = {}
    for day, since, within, n in ask(ledger, "SELECT day, since, within, sum(n) FROM days GROUP BY 1, 2, 3"):
        found.setdefault((day, since), {})[within] = n
    return found


def writes(ledger):
    """Return the list to which each statement that writes `counts` is added, as it runs."""
    found = []
    ledger._db.conn.set_trace_callback(lambda sql: found.append(sql) if "INTO counts" in sql else None)
    return found


class TestCounts:
    def test_each_state_reason_and_verdict_has_a_count_of_its_own(self, ledger):
        book(ledger, look(1), look(2, I, "no_contact"), look(3, E, "internal"), look(4, X, "unreadable"), look(5))
        book(ledger, look(6, kind="email"), stream="emails")
        assert kept(ledger) == {
            (1, "pending", "", "", 0): 2, (1, "incomplete", "no_contact", "", 0): 1,
            (1, "excluded", "internal", "", 0): 1, (1, "dead", "unreadable", "", 0): 1, (2, "pending", "", "", 0): 1,
        }  # fmt: skip
        send(ledger, Verdict.UNANSWERED, limit=1)
        send(ledger, Verdict.CREATED, now=NOW + MINUTE)
        book(ledger, refs=[ref(5, modified_at=NOW + DAY)])
        assert kept(ledger) == counted(ledger)
        assert sum(n for (_, state, *_), n in kept(ledger).items() if state == "delivered") == 2

    def test_one_post_may_hold_rows_of_several_counts(self, ledger):
        book(ledger, *map(look, range(4)))
        book(ledger, *(look(n, kind="email") for n in range(4)), stream="emails")
        batch = due(ledger)
        claim = ledger.intend(batch, now=NOW)
        said = [Verdict.UNANSWERED, Verdict.FAILED, Verdict.CREATED, Verdict.DUPLICATE] * 2
        judged = [AttemptResult(each.id, verdict) for each, verdict in zip(batch, said, strict=True)]
        ledger.record_verdicts(claim.post_id, judged, now=NOW, max_age=WEEK, random=half)
        assert kept(ledger) == counted(ledger)
        assert send(ledger, now=NOW + DAY)
        assert kept(ledger) == counted(ledger)

    @ON_SQLITE
    def test_a_page_and_a_post_write_a_count_once_not_once_a_row(self, ledger):
        seen = writes(ledger)
        book(ledger, *map(look, range(200)))
        assert len(seen) == 1
        send(ledger)
        assert len(seen) == 3, "one row of the table for what leaves, and one for what arrives"

    def test_what_a_transaction_undoes_is_not_counted(self, ledger):
        book(ledger, look(1))

        def fail():
            with ledger.transaction():
                book(ledger, look(2), look(3, I, "no_contact"))
                send(ledger)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert kept(ledger) == counted(ledger) == {(1, "pending", "", "", 0): 1}
        book(ledger, look(4))
        assert kept(ledger) == counted(ledger) == {(1, "pending", "", "", 0): 2}

    def test_a_row_that_cannot_be_written_counts_as_it_was_written_then(self, ledger):
        book(ledger, look(1, I, "no_contact"), look(2, I, "no_contact", detail="\ud800"), look(3), WITHOUT_BODY)
        assert kept(ledger) == counted(ledger)
        assert ledger.balanced()
        book(ledger, replace(WITHOUT_BODY, crm_id="1", modified_at=NOW + DAY), now=NOW + DAY)
        assert kept(ledger) == counted(ledger)

    def test_a_verdict_that_cannot_be_written_counts_once(self, ledger):
        book(ledger, look(1), look(2))
        batch = due(ledger)
        claim = ledger.intend(batch, now=NOW)
        judged = [AttemptResult(each.id, Verdict.FAILED, "\ud800") for each in batch]
        ledger.record_verdicts(claim.post_id, judged, now=NOW, max_age=WEEK, random=half)
        assert kept(ledger) == counted(ledger)

    def test_a_row_deleted_by_hand_leaves_its_count_and_seen_stays(self, ledger):
        book(ledger, look(1), look(2, I, "no_contact"), look(3))
        send(ledger, limit=1)
        ledger._db.execute("DELETE FROM activities WHERE state = 'delivered'")
        assert kept(ledger) == counted(ledger)
        assert not ledger.balanced()
        assert ledger.counts()["delivered"] == 0
        assert reports(ledger).status(version="1", now=NOW)["seen"] == 3


class TestDays:
    @pytest.mark.parametrize(
        ("late", "within"),
        [
            (-HOUR, 10), (0 * HOUR, 10), (10 * SECOND, 10), (11 * SECOND, 30), (MINUTE, 60), (2 * HOUR, 4 * 3600),
            (30 * DAY, 30 * 86_400), (30 * DAY + SECOND, EVER), (4000 * DAY, EVER),
        ],
    )  # fmt: skip
    def test_a_delivery_counts_by_its_day_and_by_the_least_bound_of_its_lateness(self, ledger, late, within):
        book(ledger, look(1, occurred_at=NOW - late), now=NOW - MINUTE)
        send(ledger)
        assert days(ledger) == {("2026-06-01", "seen"): {60: 1}, ("2026-06-01", "occurred"): {within: 1}}

    def test_the_rows_of_one_post_may_be_late_by_different_bounds(self, ledger):
        book(ledger, *(look(n, occurred_at=NOW - n * MINUTE) for n in (0, 2, 4, 20)))
        book(ledger, look(5, kind="email", occurred_at=NOW - DAY), stream="emails", now=NOW - HOUR)
        send(ledger)
        assert days(ledger) == {
            ("2026-06-01", "seen"): {10: 4, 3600: 1},
            ("2026-06-01", "occurred"): {10: 1, 300: 2, 3600: 1, 86_400: 1},
        }

    def test_only_deliveries_count_and_each_counts_once(self, ledger):
        book(ledger, look(1), look(2))
        send(ledger, Verdict.UNANSWERED, limit=1)
        send(ledger, Verdict.SKIPPED, limit=1)
        assert days(ledger) == {}
        send(ledger, Verdict.DUPLICATE, now=NOW + DAY)
        assert days(ledger) == {("2026-06-02", "seen"): {86_400: 1}, ("2026-06-02", "occurred"): {7 * 86_400: 1}}

    def test_days_are_kept_for_ninety_days(self, ledger):
        book(ledger, look(1), look(2))
        send(ledger, limit=1)
        send(ledger, now=NOW + DAY)
        ledger.begin_pass(NOW + 90 * DAY)
        assert {day for day, _ in days(ledger)} == {"2026-06-01", "2026-06-02"}
        ledger.begin_pass(NOW + 91 * DAY)
        assert {day for day, _ in days(ledger)} == {"2026-06-02"}
