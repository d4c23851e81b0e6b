"""Due activities are sent oldest first. The intent is committed before, the verdicts after, and no payload stays."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from syncd import clock
from syncd.ledger import AttemptResult, LedgerHandle, writing
from syncd.lifecycle import states, transitions
from syncd.lifecycle.states import MEANINGS, IllegalMove, State, Verdict
from tests.conftest import ON_SQLITE
from tests.ledgers import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    WEEK,
    ask,
    attempts,
    book,
    crm_ids,
    due,
    due_names,
    half,
    judge,
    names,
    reports,
    row,
    send,
    stranger,
)
from tests.ledgers import reading as look

ROOT = Path(__file__).parent.parent
LATER = NOW + HOUR


class TestDue:
    def test_the_oldest_event_goes_first_whatever_was_read_first(self, ledger):
        book(ledger, look(1, occurred_at=NOW), look(2, occurred_at=NOW - 2 * DAY), look(3, occurred_at=NOW - DAY))
        assert due_names(ledger) == ["2", "3", "1"]

    def test_a_batch_has_at_most_what_is_asked_for(self, ledger):
        book(ledger, *(look(crm_id) for crm_id in range(5)))
        assert len(due(ledger, limit=3)) == 3
        assert len(due(ledger, limit=50)) == 5

    def test_it_says_what_is_needed_to_send_it(self, ledger):
        book(ledger, look(1))
        (claimed,) = ledger.intend(due(ledger), now=NOW).activities
        assert (claimed.id, claimed.external_activity_id, claimed.unknown) == (1, "hubspot-call-1", False)
        assert claimed.body == row(ledger)["body"]

    @ON_SQLITE
    def test_to_find_what_is_due_reads_no_payload(self, ledger):
        """The claim reads each body once, so a text that changes in between goes out as it is then."""
        book(ledger, look(1))
        read = []
        ledger._db.conn.set_authorizer(lambda action, table, column, *_: read.append((table, column)) or 0)
        batch = due(ledger)
        assert ("payloads", "body") not in read
        ledger._db.conn.set_authorizer(None)
        book(ledger, look(1, title="better"))
        assert json.loads(ledger.intend(batch, now=NOW).activities[0].body)["title"] == "better"

    def test_only_what_is_pending_goes_out(self, ledger):
        excluded, dead = look(2, State.EXCLUDED, "internal"), look(3, State.DEAD, "unreadable")
        book(ledger, look(1, State.INCOMPLETE, "no_contact"), excluded, dead)
        book(ledger, look(4))
        assert send(ledger) == ["4"]
        assert due(ledger, now=NOW + 400 * DAY) == []

    def test_new_ones_never_wait_behind_the_retries_of_old_ones(self, ledger):
        book(ledger, look(1, occurred_at=NOW - 9 * DAY))
        send(ledger, Verdict.UNREACHABLE)
        book(ledger, look(2))
        assert due_names(ledger, now=LATER) == ["2"]
        send(ledger, limit=1)
        assert due_names(ledger, now=LATER) == ["1"]

    def test_what_a_400_named_comes_last_and_only_with_its_like(self, ledger):
        book(ledger, look(1), look(2))
        claim = ledger.intend(due(ledger), now=NOW)
        judge(ledger, claim, Verdict.REFUSED, Verdict.FAILED)
        book(ledger, look(3))
        order = []
        while batch := due(ledger, now=LATER):
            order.append(crm_ids(ledger, batch))
            judge(ledger, ledger.intend(batch, now=LATER), Verdict.CREATED)
        assert order == [["3"], ["2"], ["1"]]

    def test_isolated_ones_are_marked_and_travel_together(self, ledger):
        book(ledger, look(1), look(2))
        send(ledger, Verdict.REFUSED)
        batch = due(ledger, now=LATER)
        assert [each.isolated for each in batch] == [True, True]

    def test_retries_go_by_the_time_they_are_due(self, ledger):
        book(ledger, look(1), look(2), look(3))
        for at, crm_id in ((3, "1"), (1, "2"), (2, "3")):
            with stranger(ledger) as db:
                db.execute("UPDATE activities SET last_post = 1, next_attempt_at = ? WHERE crm_id = ?",
                           [f"2026-06-01T11:00:0{at}.000Z", crm_id])  # fmt: skip
        assert due_names(ledger, first_post=9) == ["2", "3", "1"]

    def test_nothing_goes_out_twice_in_one_pass_by_itself(self, ledger):
        book(ledger, look(1))
        first_post = ledger.first_post()
        send(ledger, Verdict.UNANSWERED, first_post=first_post)
        assert due(ledger, first_post=first_post, now=NOW + DAY) == []
        assert due_names(ledger, now=NOW) == ["1"]  # the next pass

    @pytest.mark.parametrize("verdict", [v for v, m in MEANINGS.items() if m.state is State.PENDING and not m.fault])
    def test_after_an_outage_it_is_due_in_the_next_pass_at_once(self, ledger, verdict):
        book(ledger, look(1))
        send(ledger, verdict)
        assert due_names(ledger) == ["1"]

    @pytest.mark.parametrize("verdict", [v for v, m in MEANINGS.items() if m.fault])
    def test_after_a_word_about_itself_it_keeps_its_distance(self, ledger, verdict):
        book(ledger, look(1))
        send(ledger, verdict)
        back_off = 5 * MINUTE * 1.05
        assert due(ledger, now=NOW + back_off - SECOND) == []
        assert due_names(ledger, now=NOW + back_off) == ["1"]

    @pytest.mark.parametrize(("verdict", "wrong_by"), [(Verdict.UNREACHABLE, HOUR), (Verdict.FAILED, 300 * DAY)])
    def test_a_clock_that_was_ahead_for_a_pass_holds_nothing_up(self, ledger, verdict, wrong_by):
        book(ledger, look(1))
        send(ledger, verdict, now=NOW + wrong_by)
        assert due_names(ledger, now=NOW) == ["1"]

    def test_what_felled_recotap_on_its_own_says_so(self, ledger):
        book(ledger, look(1))
        send(ledger, Verdict.SUSPECT)
        assert [each.crashes_server for each in due(ledger, now=LATER)] == [True]
        send(ledger, Verdict.UNREACHABLE, now=LATER)
        assert [(each.crashes_server, each.isolated) for each in due(ledger, now=LATER)] == [(False, True)]


class TestARetryDuringAPost:
    """An operator asks while the activity is on its way. The verdict that is booked afterwards does not undo it."""

    def asked(self, ledger, verdict, *, at=NOW + SECOND):
        claim = ledger.intend(due(ledger), now=NOW)
        with ledger.handle.operate() as operator:
            assert operator.retry(["hubspot-call-1"], state=None, reason=None, now=at) == 1
        judge(ledger, claim, verdict, now=NOW + MINUTE)
        return row(ledger, 1)

    @pytest.mark.parametrize("verdict", [v for v, m in MEANINGS.items() if m.fault])
    def test_a_verdict_about_the_item_leaves_it_due(self, ledger, verdict):
        book(ledger, look(1))
        self.asked(ledger, verdict)
        assert due_names(ledger, now=NOW + MINUTE) == ["1"]

    def test_what_is_skipped_is_looked_up(self, ledger):
        book(ledger, look(1))
        assert self.asked(ledger, Verdict.SKIPPED)["next_attempt_at"] == clock.text(NOW + SECOND)

    def test_what_is_delivered_asks_for_nothing_more(self, ledger):
        book(ledger, look(1))
        assert self.asked(ledger, Verdict.CREATED)["next_attempt_at"] is None

    def test_one_from_before_the_post_is_answered_by_it(self, ledger):
        book(ledger, look(1))
        self.asked(ledger, Verdict.FAILED, at=NOW)
        assert due_names(ledger, now=NOW + MINUTE) == []


@ON_SQLITE
def test_nothing_that_a_page_or_a_post_asks_reads_a_table_from_end_to_end(ledger):
    """A backlog or a ledger of 200,000 is not read for each batch of 50."""
    book(ledger, look(1), look(2), look(3, State.INCOMPLETE, "no_contact"))
    send(ledger, Verdict.UNREACHABLE, limit=1)
    stream = ledger.stream_id("hubspot", "calls")
    statements = []
    ledger._db.conn.set_trace_callback(statements.append)
    book(ledger, look(2, title="new"), look(3), look(4), watermark=NOW)
    ledger.book_missing(stream, ["3"], now=NOW)
    ledger.known("hubspot", "calls", ["1"])
    ledger.due_look_ups("hubspot", "calls", now=NOW, limit=9)
    ledger.others("hubspot", "calls", {"1"}, limit=3)
    ledger.withheld("hubspot", "calls", now=NOW, after_id=0, limit=9)
    ledger.book_unserved(stream, {"3": "answered 500"}, now=NOW)
    send(ledger, Verdict.FAILED)
    send(ledger, Verdict.CREATED)
    ledger.intend(due(ledger), now=NOW)
    ledger.recover(now=NOW)
    ledger._db.conn.set_trace_callback(None)
    plans = [
        (step[3], sql)
        for sql in statements
        if sql.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE")
        for step in ask(ledger, f"EXPLAIN QUERY PLAN {sql}")
    ]
    short = ("fresh", "open_posts")  # indexes of what is new or under way, in the order wanted: read from their top
    tables = ("activities", "payloads", "past_attempts", "posts")
    scans = {
        (step, sql)
        for step, sql in plans
        if "TEMP B-TREE FOR ORDER" in step
        or (step.startswith("SCAN") and step.split()[1] in tables and step.split()[-1] not in short)
    }
    assert scans == set()
    assert any("USING INDEX fresh" in step for step, _ in plans)
    assert any("USING INDEX blameless" in step for step, _ in plans)
    assert any("USING INDEX backed_off" in step for step, _ in plans)
    assert any("USING INDEX look_ups" in step for step, _ in plans)


class TestIntend:
    def test_the_intent_is_committed_when_it_returns(self, ledger):
        book(ledger, look(1), look(2))
        claim = ledger.intend(due(ledger), now=LATER)
        posts = ask(ledger, "SELECT id, at, finished_at FROM posts")
        assert posts == [(claim.post_id, "2026-06-01T13:00:00.000Z", None)]
        assert attempts(ledger, 1) == attempts(ledger, 2) == [None]
        assert [row(ledger, crm_id)["last_post"] for crm_id in (1, 2)] == [-claim.post_id] * 2

    def test_the_order_of_the_batch_is_kept(self, ledger):
        book(ledger, *(look(crm_id, occurred_at=NOW - crm_id * HOUR) for crm_id in range(9)))
        batch = due(ledger)
        assert (
            [each.id for each in ledger.intend(batch, now=NOW).activities]
            == [each.id for each in batch]
            != sorted(each.id for each in batch)
        )

    def test_each_post_has_a_number_of_its_own_that_the_pass_could_tell_before(self, ledger):
        book(ledger, look(1), look(2))
        for _ in range(2):
            first = ledger.first_post()
            assert ledger.intend(due(ledger, limit=1), now=NOW).post_id >= first

    def test_the_present_intent_is_no_earlier_attempt(self, ledger):
        book(ledger, look(1))
        assert not ledger.intend(due(ledger), now=NOW).activities[0].unknown

    @pytest.mark.parametrize("verdict", [v for v, m in MEANINGS.items() if m.state is State.PENDING])
    def test_an_earlier_attempt_is_unknown_where_its_verdict_says_so(self, ledger, verdict):
        book(ledger, look(1))
        send(ledger, verdict)
        claim = ledger.intend(due(ledger, now=LATER), now=LATER)
        assert claim.activities[0].unknown is MEANINGS[verdict].unknown

    def test_what_was_unknown_once_stays_so_through_clear_answers(self, ledger):
        book(ledger, look(1))
        for verdict in (Verdict.UNANSWERED, Verdict.UNREACHABLE, Verdict.THROTTLED):
            send(ledger, verdict)
        assert ledger.intend(due(ledger), now=NOW).activities[0].unknown

    def test_a_batch_sent_again_in_the_same_pass_knows_what_became_of_it_before(self, ledger):
        """The result of `due` is old by then, and lacks the first attempt."""
        book(ledger, look(1))
        batch = due(ledger)
        judge(ledger, ledger.intend(batch, now=NOW), Verdict.UNANSWERED)
        assert ledger.intend(batch, now=NOW).activities[0].unknown

    def test_a_batch_that_waited_goes_out_as_the_record_stands_now(self, ledger):
        book(ledger, look(1, title="old"))
        batch = due(ledger)
        judge(ledger, ledger.intend(batch, now=NOW), Verdict.BYSTANDER)
        book(ledger, look(1, title="new"))
        claim = ledger.intend(batch, now=NOW)
        assert json.loads(claim.activities[0].body)["title"] == "new"

    def test_a_batch_that_waited_goes_out_without_what_is_not_pending_any_more(self, ledger):
        book(ledger, look(1), look(2))
        batch = due(ledger)
        judge(ledger, ledger.intend(batch, now=NOW), Verdict.BYSTANDER, Verdict.BYSTANDER)
        book(ledger, look(1, State.EXCLUDED, "internal"))
        claim = ledger.intend(batch, now=NOW)
        assert names(claim.activities) == ["2"]
        assert attempts(ledger, 1) == ["bystander"]

    def test_the_latest_twenty_attempts_of_an_activity_are_kept(self, ledger):
        book(ledger, look(1))
        send(ledger)
        book(ledger, look(2))
        for count in range(25):
            send(ledger, Verdict.UNREACHABLE, str(count))
        send(ledger, Verdict.CREATED, "the last")
        details = ask(ledger, "SELECT detail FROM attempts WHERE activity_id = 2 ORDER BY post_id")
        assert [detail for (detail,) in details] == [*map(str, range(6, 25)), "the last"]
        assert attempts(ledger, 1) == ["created"]

    @ON_SQLITE
    def test_what_one_that_failed_to_commit_would_have_sent_is_untouched(self, ledger):
        book(ledger, look(1))
        batch = due(ledger)
        ledger._db.execute(
            "CREATE TEMP TRIGGER fault BEFORE UPDATE ON main.activities BEGIN SELECT RAISE(FAIL, 'fault'); END"
        )
        with pytest.raises(Exception, match="fault"):
            ledger.intend(batch, now=NOW)
        assert ask(ledger, "SELECT count(*) FROM posts") == ask(ledger, "SELECT count(*) FROM attempts") == [(0,)]
        assert row(ledger)["last_post"] == 0


class TestJudge:
    @pytest.mark.parametrize("verdict", Verdict)
    def test_each_activity_stands_where_its_verdict_puts_it(self, ledger, verdict):
        book(ledger, look(1), look(2))
        claim = ledger.intend(due(ledger), now=NOW)
        judge(ledger, claim, verdict, Verdict.CREATED, now=LATER, detail="a word")
        assert row(ledger)["state"] == MEANINGS[verdict].state
        assert row(ledger)["verdict"] == verdict
        assert row(ledger)["detail"] == (None if MEANINGS[verdict].state is State.DELIVERED else "a word")
        assert row(ledger, 2)["state"] == "delivered"
        assert (row(ledger)["body"] is not None) == (MEANINGS[verdict].state is State.PENDING)

    @pytest.mark.parametrize("verdict", [v for v, m in MEANINGS.items() if m.state is State.DELIVERED])
    def test_deliveries_in_bulk_say_what_the_life_of_one_row_says(self, ledger, verdict):
        book(ledger, look(1))
        send(ledger, Verdict.FAILED, "a word")
        (before,) = (held.row for held in ledger._existing(1, ["1"]).values())
        send(ledger, verdict, now=LATER)
        (after,) = (held.row for held in ledger._existing(1, ["1"]).values())
        assert after == transitions.after_verdict(before, verdict, None, now=LATER, max_age=WEEK, random=half)

    def test_attempts_and_post_say_what_came_of_them_and_when(self, ledger):
        book(ledger, look(1), look(2))
        claim = ledger.intend(due(ledger), now=NOW)
        judge(ledger, claim, Verdict.CREATED, Verdict.FAILED, now=LATER, detail="a word")
        assert ask(ledger, "SELECT activity_id, verdict, detail FROM attempts ORDER BY 1") == [
            (1, "created", "a word"), (2, "failed", "a word")
        ]  # fmt: skip
        assert ask(ledger, "SELECT finished_at FROM posts") == [("2026-06-01T13:00:00.000Z",)]

    def test_it_books_only_what_the_post_it_names_brought(self, ledger):
        book(ledger, look(1), look(2))
        first = ledger.intend(due(ledger, limit=1), now=NOW)
        second = ledger.intend(due(ledger, limit=1), now=NOW)
        judge(ledger, first, Verdict.CREATED)
        assert ask(ledger, "SELECT id FROM posts WHERE finished_at IS NULL") == [(second.post_id,)]
        assert attempts(ledger, 2) == [None]
        assert row(ledger, 2)["state"] == "pending"

    def test_it_says_how_many_died(self, ledger):
        book(ledger, look(1), look(2), look(3))
        send(ledger, Verdict.FAILED, limit=2)
        claim = ledger.intend(due(ledger), now=NOW)
        assert judge(ledger, claim, Verdict.CREATED) == 0
        later = ledger.intend(due(ledger, now=NOW + WEEK), now=NOW + WEEK)
        assert judge(ledger, later, Verdict.FAILED, Verdict.FAILED, now=NOW + WEEK) == 2
        assert ledger.counts()["dead"] == 2
        assert ask(ledger, "SELECT count(*) FROM payloads") == [(0,)]

    def test_a_delivery_is_dated_by_its_verdict_for_good(self, ledger):
        book(ledger, look(1))
        send(ledger, now=LATER)
        assert reports(ledger).explain("hubspot-call-1")["delivered_at"] == "2026-06-01T13:00:00.000Z"
        book(ledger, look(1, modified_at=NOW + DAY), now=NOW + DAY)
        assert reports(ledger).explain("hubspot-call-1")["delivered_at"] == "2026-06-01T13:00:00.000Z"

    @ON_SQLITE
    @pytest.mark.parametrize(
        "trigger",
        [
            "BEFORE UPDATE OF state ON activities WHEN OLD.crm_id = '2'",
            "BEFORE DELETE ON payloads WHEN OLD.activity_id = 2",
            "BEFORE UPDATE ON activities WHEN OLD.crm_id = '3'",
            "BEFORE INSERT ON past_attempts WHEN NEW.activity_id = 3",
            "BEFORE UPDATE ON posts",
        ],
    )
    def test_verdicts_that_cannot_all_be_booked_are_not_booked_at_all(self, ledger, trigger):
        book(ledger, look(1), look(2), look(3))
        claim = ledger.intend(due(ledger), now=NOW)
        with stranger(ledger) as db:
            before = list(db.iterdump())
        ledger._db.execute(
            f"CREATE TEMP TRIGGER fault {trigger.replace(' ON ', ' ON main.')} BEGIN SELECT RAISE(FAIL, 'fault'); END"
        )
        with pytest.raises(Exception, match="fault"):
            judge(ledger, claim, Verdict.CREATED, Verdict.DUPLICATE, Verdict.FAILED)
        with stranger(ledger) as db:
            assert list(db.iterdump()) == before

    def test_a_verdict_on_what_is_not_pending_is_a_bug_and_books_nothing(self, ledger):
        book(ledger, look(1), look(2))
        claim = ledger.intend(due(ledger), now=NOW)
        book(ledger, look(1, State.INCOMPLETE, "no_contact"))
        with pytest.raises(IllegalMove, match="1 of 2 delivered activities were not pending"):
            judge(ledger, claim, Verdict.CREATED, Verdict.CREATED)
        assert row(ledger, 2)["state"] == "pending"
        with pytest.raises(IllegalMove):
            judge(ledger, claim, Verdict.SKIPPED, Verdict.CREATED)
        assert row(ledger, 2)["state"] == "pending"

    def test_nothing_to_judge_is_no_bug(self, ledger):
        book(ledger, look(1))
        claim = ledger.intend(due(ledger), now=NOW)
        assert judge(ledger, claim) == 0


class TestRecover:
    def test_what_a_crash_left_open_may_have_been_stored_and_is_due_at_once(self, ledger):
        book(ledger, *(look(crm_id) for crm_id in range(5)))
        ledger.intend(due(ledger, limit=2), now=NOW)
        ledger.intend(due(ledger, limit=2), now=NOW)
        assert ledger.recover(now=LATER) == 4
        assert [attempts(ledger, crm_id) for crm_id in range(5)] == [["crashed"]] * 4 + [[]]
        assert [row(ledger, crm_id)["unknown"] for crm_id in range(5)] == [1, 1, 1, 1, 0]
        assert ask(ledger, "SELECT count(*) FROM posts WHERE finished_at IS NULL") == [(0,)]
        assert due_names(ledger) == ["4"]
        send(ledger)
        assert [each.unknown for each in ledger.intend(due(ledger, now=LATER), now=LATER).activities] == [True] * 4

    def test_an_activity_of_an_answered_post_without_a_verdict_is_still_open(self, ledger):
        book(ledger, *map(look, range(3)))
        claim = ledger.intend(due(ledger), now=NOW)
        judge(ledger, claim, Verdict.CREATED)
        assert [attempts(ledger, crm_id) for crm_id in range(3)] == [["created"], [None], [None]]
        assert ledger.recover(now=LATER) == 2
        assert [attempts(ledger, crm_id) for crm_id in range(3)] == [["created"], ["crashed"], ["crashed"]]
        assert ledger.recover(now=LATER) == 0

    def test_where_nothing_is_open_nothing_happens(self, ledger):
        book(ledger, look(1), look(2))
        send(ledger, Verdict.FAILED, limit=1)
        before = row(ledger), row(ledger, 2)
        assert ledger.recover(now=LATER) == 0
        assert (row(ledger), row(ledger, 2)) == before

    def test_a_second_time_finds_nothing(self, ledger):
        book(ledger, look(1))
        ledger.intend(due(ledger), now=NOW)
        assert [ledger.recover(now=NOW), ledger.recover(now=NOW)] == [1, 0]

    def test_a_crash_costs_a_refused_one_none_of_its_week(self, ledger):
        book(ledger, look(1))
        send(ledger, Verdict.FAILED)
        ledger.intend(due(ledger, now=LATER), now=LATER)
        ledger.recover(now=NOW + 30 * DAY)
        found = row(ledger)
        assert (found["state"], found["refusals"], found["refused_since"]) == ("pending", 1, "2026-06-01T12:00:00.000Z")

    def test_a_process_killed_between_intent_and_verdict_leaves_it_to_the_next(self, tmp_path):
        script = (
            "import os, sys; sys.path.insert(0, sys.argv[2])\n"
            "from pathlib import Path\n"
            "from syncd.ledger import LedgerHandle\n"
            "from tests.ledgers import *\n"
            "from tests.ledgers import reading as look\n"
            "with LedgerHandle(Path(sys.argv[1])).open() as ledger:\n"
            "    book(ledger, *(look(crm_id) for crm_id in range(3)), watermark=NOW)\n"
            "    ledger.intend(due(ledger, limit=2), now=NOW)\n"
            "    os.kill(os.getpid(), 9)\n"
        )
        path = tmp_path / "ledger.db"
        done = subprocess.run([sys.executable, "-c", script, str(path), str(ROOT)], cwd=ROOT, timeout=60, check=False)
        assert done.returncode == -signal.SIGKILL
        with LedgerHandle(path).open() as ledger:
            assert ledger.balanced()
            assert ledger.stream("hubspot", "calls").watermark == NOW
            assert ledger.recover(now=NOW) == 2
            assert due_names(ledger) == ["2"]


class TestPasses:
    def test_a_pass_has_a_beginning_and_an_end(self, ledger):
        number = ledger.begin_pass(NOW)
        assert ask(ledger, "SELECT id, started_at, finished_at, exit_code FROM passes") == [
            (number, "2026-06-01T12:00:00.000Z", None, None)
        ]
        ledger.end_pass(number, exit_code=69, now=LATER)
        assert ask(ledger, "SELECT finished_at, exit_code FROM passes") == [("2026-06-01T13:00:00.000Z", 69)]

    def test_one_that_never_ended_is_under_way_no_more_once_another_begins(self, ledger):
        ledger.begin_pass(NOW)
        assert ledger.under_way_since() == NOW
        second = ledger.begin_pass(LATER)
        ledger.end_pass(second, exit_code=0, now=LATER)
        assert ledger.under_way_since() is None
        assert ask(ledger, "SELECT finished_at IS NULL, exit_code FROM passes ORDER BY id") == [(0, None), (0, 0)]

    def test_one_that_was_killed_can_be_booked_as_cut_short(self, ledger):
        ledger.begin_pass(NOW)
        ledger.cut_short(LATER)
        assert ledger.under_way_since() is None
        assert reports(ledger).status(version="0", now=LATER)["last_pass"]["exit_code"] is None

    def test_the_last_five_hundred_are_kept(self, ledger):
        with ledger.transaction():
            numbers = [ledger.begin_pass(NOW) for _ in range(510)]
        kept = [number for (number,) in ask(ledger, "SELECT id FROM passes ORDER BY id")]
        assert kept == numbers[-500:]
        assert writing.KEEP_PASSES == 500


class TestSilence:
    """`health` judges by the time since which Recotap has taken nothing."""

    def test_it_begins_with_the_first_post_that_brings_no_word_and_ends_with_the_next_that_does(self, ledger):
        book(ledger, look(1), look(2))
        assert ledger.silent_since() is None
        for hours in range(3):
            send(ledger, Verdict.UNREACHABLE, now=NOW + hours * HOUR)
        assert ledger.silent_since() == NOW
        claim = ledger.intend(due(ledger, now=LATER), now=LATER)
        assert ledger.silent_since() == NOW, "a POST under way says nothing yet"
        judgements = [
            AttemptResult(claim.activities[0].id, Verdict.FAILED),
            AttemptResult(claim.activities[1].id, Verdict.UNANSWERED),
        ]
        ledger.record_verdicts(claim.post_id, judgements, now=LATER, max_age=WEEK, random=half)
        assert ledger.silent_since() is None, "one word is enough"

    @pytest.mark.parametrize("verdict", sorted(states.SILENCES))
    def test_no_outage_is_a_word(self, ledger, verdict):
        book(ledger, look(1))
        send(ledger, verdict)
        assert ledger.silent_since() == NOW

    @pytest.mark.parametrize("verdict", [Verdict.SUSPECT, Verdict.CRASHED])
    def test_what_fells_the_server_alone_and_a_crash_of_ours_show_neither(self, ledger, verdict):
        book(ledger, look(1))
        send(ledger, verdict)
        assert ledger.silent_since() is None
        send(ledger, Verdict.THROTTLED, now=LATER)
        send(ledger, verdict, now=LATER)
        assert ledger.silent_since() == LATER

    def test_where_nothing_waits_nobody_is_silent(self, ledger):
        book(ledger, look(1))
        send(ledger, Verdict.UNAUTHORIZED)
        book(ledger, look(1, State.EXCLUDED, "internal", modified_at=LATER))
        assert ledger.silent_since() is None

    def test_each_verdict_is_one_or_the_other_or_neither(self):
        assert not states.ANSWERS & states.SILENCES
        assert set(Verdict) - states.ANSWERS - states.SILENCES == {Verdict.SUSPECT, Verdict.CRASHED}
