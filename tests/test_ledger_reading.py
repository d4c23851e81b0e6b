"""Read the ledger: status and explain exactly as the contract says, ids found, and `retry`."""

import json
from datetime import UTC, datetime
from itertools import product

import pytest

from syncd.errors import NoSuchActivity
from syncd.ledger import schema
from syncd.lifecycle.states import State, Verdict
from tests.conftest import ON_SQLITE
from tests.ledgers import DAY, HOUR, MINUTE, NOW, SECOND, ask, book, due, due_names, ref, reports, row, send
from tests.ledgers import reading as look

I, P, E, X = State.INCOMPLETE, State.PENDING, State.EXCLUDED, State.DEAD  # noqa: E741 - the letters of states.py
LATER = NOW + HOUR


@pytest.fixture
def varied(ledger):
    """A ledger with an activity in every state, named after it."""
    book(ledger, look("skipped"))
    send(ledger, Verdict.SKIPPED, "not a target account")
    book(ledger, look("delivered"))
    send(ledger)
    book(ledger, look("pending"))
    send(ledger, Verdict.FAILED, "its word")
    book(ledger, look("incomplete", I, "no_contact"), look("excluded", E, "internal"), look("dead", X, "unreadable"))
    return ledger


def status(ledger):
    return reports(ledger).status(version="1.2.3", now=NOW)


PENDING_BY_CAUSE = {"backing_off": {"failed": 1, "too_large": 0, "suspect": 0}, "refused": 0}
PENDING = dict.fromkeys(("failed", "refused", "too_large", "suspect"), 0)


class TestStatus:
    def test_of_an_empty_ledger_it_is_the_document_of_the_contract(self, ledger):
        assert status(ledger) == {
            "version": "1.2.3", "at": "2026-06-01T12:00:00.000Z",
            "ledger": {"path": str(ledger.handle), "schema": schema.VERSION, "bytes": ledger.handle.size()},
            "activities": {
                "pending": 0, "incomplete": 0, "delivered": 0, "skipped": 0, "excluded": 0, "dead": 0
            },
            "pending": {"due": 0, "backing_off": {"failed": 0, "too_large": 0, "suspect": 0}, "refused": 0},
            "verdicts": {"created": 0, "duplicate": 0, "foreign_duplicate": 0}, "adopted": 0, "adoption": None,
            "rewound": None, "changed_after_delivery": 0, "twins": 0, "filtered": [], "seen": 0, "balanced": True,
            "reasons": {"pending": PENDING, "incomplete": {}, "excluded": {}, "dead": {}},
            "sources": [], "ranges": [], "oldest_pending_at": None, "next_attempt_at": None, "pauses": {},
            "recotap": dict.fromkeys(("host", "last_answer_at", "last_error", "paused_until", "silent_since"))
            | {"batch": 50, "key_refused": False},
            "clock_skew_s": None, "clock_confirmed": True, "last_pass": None, "lanes": [], "replicas": [],
        }  # fmt: skip

    def test_it_is_one_json_document(self, varied):
        assert json.loads(json.dumps(status(varied))) == status(varied)

    def test_it_counts_each_state(self, varied):
        assert status(varied)["activities"] == dict.fromkeys(State, 1) == varied.counts()
        assert status(varied)["seen"] == 6
        assert status(varied)["balanced"] is True

    def test_a_row_deleted_by_hand_shows(self, varied):
        varied._db.execute("DELETE FROM activities WHERE state = 'dead'")
        assert status(varied)["balanced"] is False
        assert status(varied)["seen"] == 6

    def test_it_counts_the_verdicts_of_what_is_delivered_and_they_add_up(self, ledger):
        book(ledger, *(look(crm_id) for crm_id in range(6)), look("failed"))
        for verdict, count in [(Verdict.CREATED, 3), (Verdict.DUPLICATE, 2), (Verdict.FOREIGN_DUPLICATE, 1)]:
            send(ledger, verdict, limit=count)
        send(ledger, Verdict.FAILED)
        assert status(ledger)["verdicts"] == {"created": 3, "duplicate": 2, "foreign_duplicate": 1}
        assert sum(status(ledger)["verdicts"].values()) == status(ledger)["activities"]["delivered"]

    def test_it_counts_reasons_where_there_are_some(self, ledger):
        book(ledger, look(1, I, "no_contact"), look(2, I, "no_contact"), look(3, I, "settling"))
        book(ledger, look(4, E, "internal"), look(5, X, "unreadable"), look(6, X), look(7))
        assert status(ledger)["reasons"] == {
            "pending": PENDING, "incomplete": {"no_contact": 2, "settling": 1}, "excluded": {"internal": 1},
            "dead": {"unreadable": 1, "unknown": 1},
        }  # fmt: skip

    def test_it_says_how_far_each_stream_was_read(self, ledger):
        book(ledger, look(1, kind="email"), stream="emails", watermark=NOW)
        stream = ledger.stream_id("hubspot", "calls")
        ledger.window_finished(stream, now=LATER, swept_at=NOW)
        ledger.window_failed(stream, "no connection")
        ledger.pause_until("hubspot", LATER, "quota", now=NOW)
        calls, emails = status(ledger)["sources"]
        assert calls == {
            "source": "hubspot", "stream": "calls", "watermark": None, "seen": 0,
            "last_success_at": "2026-06-01T13:00:00.000Z", "last_error": "no connection",
            "swept_at": "2026-06-01T12:00:00.000Z", "paused_until": "2026-06-01T13:00:00.000Z",
        }  # fmt: skip
        assert (emails["stream"], emails["watermark"], emails["seen"]) == ("emails", "2026-06-01T12:00:00.000Z", 1)

    def test_sources_and_streams_are_in_order(self, ledger):
        for source, stream in product("ba", "zy"):
            ledger.stream_id(source, stream)
        assert [(each["source"], each["stream"]) for each in status(ledger)["sources"]] == [
            ("a", "y"), ("a", "z"), ("b", "y"), ("b", "z")
        ]  # fmt: skip

    def test_it_names_the_pauses(self, ledger):
        ledger.pause_until("@recotap", LATER, "HTTP 429", now=NOW)
        assert status(ledger)["pauses"] == {"@recotap": {"until": "2026-06-01T13:00:00.000Z", "reason": "HTTP 429"}}

    def test_it_says_since_when_the_oldest_waits_and_when_the_next_thing_happens(self, ledger):
        book(ledger, look(1, I, "no_contact"), now=NOW - DAY)
        book(ledger, look(2), now=NOW)
        book(ledger, look(3), now=LATER)
        assert status(ledger)["oldest_pending_at"] == "2026-06-01T12:00:00.000Z"
        assert status(ledger)["next_attempt_at"] == "2026-05-31T12:15:00.000Z"
        send(ledger)
        book(ledger, look(1, E, "internal"))
        assert status(ledger)["oldest_pending_at"] is None
        assert status(ledger)["next_attempt_at"] is None

    @pytest.mark.parametrize(
        "first", ["fresh", "blameless", "named", "backed off", "alone", "in flight", "waits", "waits too"]
    )
    def test_the_next_attempt_is_the_first_of_every_queue(self, ledger, first):
        book(ledger, *(look(n, occurred_at=NOW + n * SECOND) for n in (0, 1, 2, 3, 4, 7)))
        book(ledger, look(5, I, "no_contact"))
        book(ledger, look(6, I, "no_contact", kind="email"), stream="emails")
        places = {
            "fresh": (0, "last_post = 0"), "blameless": (1, "last_post = 1"),
            "backed off": (2, "last_post = 1, refusals = 1"), "alone": (3, "last_post = 1, refusals = 1, isolated = 1"),
            "named": (7, "last_post = 1, isolated = 1"), "in flight": (4, "last_post = -1"),
            "waits": (5, "last_post = 0"), "waits too": (6, "last_post = 0"),
        }  # fmt: skip
        db = ledger._db
        db.execute(
            "INSERT INTO posts (id, at, members) SELECT 1, '', '[' || id || ']' FROM activities WHERE crm_id = '4'"
        )
        for name, (crm_id, place) in places.items():
            at = "2026-06-01T00:00:00.000Z" if name == first else "2026-06-02T00:00:00.000Z"
            db.execute(f"UPDATE activities SET {place}, next_attempt_at = ? WHERE crm_id = ?", [at, str(crm_id)])
        assert status(ledger)["next_attempt_at"] == "2026-06-01T00:00:00.000Z"
        db.execute("UPDATE activities SET next_attempt_at = NULL WHERE crm_id IN ('5', '6')")
        due_now = datetime(2000, 1, 1, tzinfo=UTC)
        assert ledger.next_send_at() == due_now
        db.execute("DELETE FROM activities WHERE crm_id IN ('0', '1', '4', '7')")
        db.execute("UPDATE posts SET members = NULL")
        assert ledger.next_send_at() == datetime(2026, 6, 1 if first in ("backed off", "alone") else 2, tzinfo=UTC)

    @pytest.mark.parametrize("isolated", [0, 1])
    def test_a_row_whose_back_off_is_over_is_due(self, ledger, isolated):
        book(ledger, look(1), look(2))
        send(ledger, Verdict.FAILED)
        ledger._db.execute("UPDATE activities SET isolated = ?", [isolated])
        ledger._db.execute("UPDATE activities SET next_attempt_at = '2026-06-01T12:00:00.000Z' WHERE crm_id = '1'")
        assert status(ledger)["pending"] == PENDING_BY_CAUSE | {"due": 1}

    def test_it_says_how_the_last_pass_ended(self, ledger):
        ledger.end_pass(ledger.begin_pass(NOW), exit_code=69, now=LATER)
        number = ledger.begin_pass(LATER)
        assert status(ledger)["last_pass"] == {
            "started_at": "2026-06-01T13:00:00.000Z", "finished_at": None, "exit_code": None
        }  # fmt: skip
        ledger.end_pass(number, exit_code=0, now=LATER + SECOND)
        assert status(ledger)["last_pass"] == {
            "started_at": "2026-06-01T13:00:00.000Z", "finished_at": "2026-06-01T13:00:01.000Z", "exit_code": 0
        }  # fmt: skip

    @ON_SQLITE
    def test_its_size_is_that_of_the_file_and_its_wal(self, ledger):
        before = status(ledger)["ledger"]["bytes"]
        book(ledger, look(1, note="x" * 100_000))
        assert status(ledger)["ledger"]["bytes"] > before + 100_000

    @ON_SQLITE
    def test_its_figures_are_of_one_moment_though_a_pass_books_meanwhile(self, ledger):
        """Else a script that adds them up would see books that do not balance."""
        book(ledger, look(0))
        count = iter(range(1, 1000))
        with ledger.handle.read() as glance:
            glance._db.conn.set_trace_callback(lambda sql: book(ledger, look(next(count))))
            document = status(glance)
            glance._db.conn.set_trace_callback(None)
        assert next(count) > 5
        assert document["seen"] == sum(document["activities"].values())

    def test_it_can_be_asked_within_a_transaction_too(self, ledger):
        with ledger.transaction():
            book(ledger, look(1))
            assert status(ledger)["seen"] == 1
        assert status(ledger)["seen"] == 1


class TestExplain:
    def test_it_is_the_document_of_the_contract(self, ledger):
        book(ledger, look(1, I, "no_contact", modified_at=NOW - SECOND))
        assert reports(ledger).explain("hubspot-call-1") == {
            "external_activity_id": "hubspot-call-1", "source": "hubspot", "stream": "calls", "crm_id": "1",
            "kind": "call", "occurred_at": "2026-05-31T12:00:00.000Z", "state": "incomplete", "reason": "no_contact",
            "verdict": None, "first_seen_at": "2026-06-01T12:00:00.000Z", "updated_at": "2026-06-01T12:00:00.000Z",
            "delivered_at": None, "next_attempt_at": "2026-06-01T12:15:00.000Z",
            "modified_at": "2026-06-01T11:59:59.000Z", "detail": None, "changed_after_delivery": False, "attempts": [],
            "clock_confirmed": True, "twins": [], "domain": None, "owner": None, "paused_until": None,
            "rewound_at": None, "payload": None, "payload_read_at": None, "refused_since": None,
            "waiting_since": "2026-06-01T12:00:00.000Z",
        }  # fmt: skip

    def test_it_tells_each_attempt_in_order_and_the_one_under_way(self, ledger):
        book(ledger, look(1), look(2))
        send(ledger, Verdict.UNANSWERED, "HTTP 502")
        send(ledger, Verdict.FAILED, "account unknown", now=LATER)
        ledger.intend(due(ledger, now=NOW + DAY), now=NOW + DAY)
        assert reports(ledger).explain("hubspot-call-1")["attempts"] == [
            {"at": "2026-06-01T12:00:00.000Z", "verdict": "unanswered", "detail": "HTTP 502"},
            {"at": "2026-06-01T13:00:00.000Z", "verdict": "failed", "detail": "account unknown"},
            {"at": "2026-06-02T12:00:00.000Z", "verdict": "under_way", "detail": None},
        ]

    def test_it_tells_what_came_of_it_and_when(self, ledger):
        book(ledger, look(1))
        send(ledger, Verdict.UNANSWERED, now=NOW + MINUTE)
        assert reports(ledger).explain("hubspot-call-1")["updated_at"] == "2026-06-01T12:01:00.000Z"
        send(ledger, Verdict.DUPLICATE, "already exists", now=LATER)
        book(ledger, refs=[ref(1, modified_at=LATER)], now=NOW + DAY)
        found = reports(ledger).explain("hubspot-call-1")
        assert (found["state"], found["verdict"], found["changed_after_delivery"]) == ("delivered", "duplicate", True)
        assert found["delivered_at"] == found["updated_at"] == "2026-06-01T13:00:00.000Z"
        assert found["next_attempt_at"] is None

    def test_a_post_that_did_not_deliver_dates_no_delivery(self, varied):
        for crm_id in ("pending", "skipped"):
            assert reports(varied).explain(f"hubspot-call-{crm_id}")["delivered_at"] is None

    def test_what_never_moved_was_last_moved_when_it_was_first_seen(self, ledger):
        book(ledger, look(1))
        ledger.intend(due(ledger), now=LATER)
        found = reports(ledger).explain("hubspot-call-1")
        assert found["updated_at"] == found["first_seen_at"]


class TestFind:
    def test_by_external_id_and_by_the_crm_s(self, ledger):
        book(ledger, look(1), look(11))
        assert reports(ledger).find("hubspot-call-1") == reports(ledger).find("1") == ["hubspot-call-1"]

    def test_one_crm_id_may_name_several(self, ledger):
        book(ledger, look(1))
        book(ledger, look(1, kind="email"), stream="emails")
        assert sorted(reports(ledger).find("1")) == ["hubspot-call-1", "hubspot-email-1"]

    def test_an_id_that_is_both_names_its_activity_once(self, ledger):
        book(ledger, look("a", source="x", kind="call"))
        with ledger.transaction():
            ledger._db.execute("UPDATE activities SET crm_id = external_activity_id")
        assert reports(ledger).find("x-call-a") == ["x-call-a"]

    def test_a_short_id_of_salesforces_names_the_long_one(self, ledger):
        book(ledger, look("00TDn0XrEVxZSGXM04"), look("00TDn0XrEVxZSGxM0A"))
        assert reports(ledger).find("00TDn0XrEVxZSGX") == ["hubspot-call-00TDn0XrEVxZSGXM04"]
        with pytest.raises(NoSuchActivity):
            reports(ledger).find("00TDn0XrEVxZSG")

    @pytest.mark.parametrize("wanted", ["2", "", "hubspot-call-", "%", "1' OR '1"])
    def test_an_id_that_is_not_held_says_what_may_be_the_reason(self, ledger, wanted):
        book(ledger, look(1))
        with pytest.raises(NoSuchActivity) as caught:
            reports(ledger).find(wanted)
        assert caught.value.message == f"the ledger holds no activity {wanted!r}"
        assert "next pass" in caught.value.hint
        assert caught.value.exit_code == 66


class TestSample:
    def test_it_names_the_latest_few_of_a_state(self, ledger):
        book(ledger, *(look(crm_id) for crm_id in range(5)), look(9, X))
        assert reports(ledger).sample("pending", 2) == ["hubspot-call-4", "hubspot-call-3"]
        assert reports(ledger).sample("dead", 2) == ["hubspot-call-9"]
        assert reports(ledger).sample("excluded", 2) == []


class TestRetry:
    @pytest.fixture
    def retry(self, varied):
        def retry(*ids, state=None, reason=None, now=LATER):
            with varied.handle.operate() as operator:
                return operator.retry(ids, state=state, reason=reason, now=now)

        return retry

    def due(self, ledger, now=LATER):
        looked_up = ledger.due_look_ups("hubspot", "calls", now=now, limit=100)
        return {crm_id for _, crm_id in looked_up} | set(due_names(ledger, now=now))

    @pytest.mark.parametrize("name", ["pending", "incomplete", "excluded", "dead", "skipped"])
    def test_what_it_names_is_due_at_once_whatever_its_state(self, varied, retry, name):
        assert retry(name, now=NOW + SECOND) == 1
        assert self.due(varied, NOW + SECOND) == {name}
        assert row(varied, name)["state"] == name

    def test_what_is_delivered_is_never_sent_again(self, varied, retry):
        assert retry("delivered") == 0
        assert retry(state="delivered") == 0
        assert "delivered" not in self.due(varied)

    def test_by_state_by_reason_or_by_both(self, varied, retry):
        assert retry(state="dead", now=NOW) == 1
        assert self.due(varied, NOW) == {"dead"}
        assert retry(reason="internal", now=NOW) == 1
        assert self.due(varied, NOW) == {"dead", "excluded"}
        assert retry(state="incomplete", reason="internal") == 0
        assert retry(state="incomplete", reason="no_contact", now=NOW) == 1
        assert self.due(varied, NOW) == {"dead", "excluded", "incomplete"}

    def test_several_ids_of_either_kind_and_twice_the_same(self, varied, retry):
        assert retry("dead", "hubspot-call-dead", "hubspot-call-skipped") == 2
        assert retry("dead", "skipped", state="dead") == 1

    def test_everything_but_what_is_delivered_where_nothing_is_named(self, varied, retry):
        assert retry() == 5

    def test_one_id_that_is_not_held_and_nothing_is_made_due(self, varied, retry):
        before = self.due(varied, NOW)
        with pytest.raises(NoSuchActivity, match="'missing'"):
            retry("dead", "missing", now=NOW)
        assert self.due(varied, NOW) == before

    def test_it_moves_no_state_and_touches_no_books(self, varied, retry):
        before = status(varied)
        retry()
        after = status(varied)
        assert {key for key in after if after[key] != before[key]} <= {"next_attempt_at", "ledger"}

    def test_what_it_brought_up_and_was_seen_to_be_no_different_rests_again(self, varied, retry):
        retry("dead", "excluded", "skipped")
        book(varied, look("dead", X, "unreadable"), look("excluded", E, "internal"), look("skipped", I, "no_contact"))
        assert self.due(varied, LATER + DAY) == {"pending", "incomplete"}
        assert varied.counts() == dict.fromkeys(State, 1)

    def test_what_it_brought_up_and_is_complete_now_goes_out(self, varied, retry):
        retry("dead", "excluded", "skipped", "incomplete")
        book(varied, look("dead"), look("excluded"), look("skipped"), look("incomplete"), now=LATER)
        sent = [name for _ in range(3) for name in send(varied, Verdict.CREATED, now=LATER)]
        assert sorted(sent) == ["dead", "excluded", "incomplete", "pending", "skipped"]

    def test_without_it_a_skipped_one_stays_though_its_record_changed(self, varied):
        book(varied, look("skipped", modified_at=LATER))
        assert row(varied, "skipped")["state"] == "skipped"

    def test_what_it_brought_up_and_is_gone_rests_again_as_it_was(self, varied, retry):
        retry("dead", "excluded", "skipped")
        varied.book_missing(varied.stream_id("hubspot", "calls"), ["dead", "excluded", "skipped"], now=LATER)
        assert varied.counts() == dict.fromkeys(State, 1)
        assert self.due(varied, LATER) == {"pending", "incomplete"}

    def test_it_waits_for_a_daemon_s_short_transactions_and_works_beside_an_open_ledger(self, varied, retry):
        book(varied, look("new"))
        assert retry("new") == 1
        assert ask(varied, "SELECT next_attempt_at FROM activities WHERE crm_id = 'new'") == [
            ("2026-06-01T13:00:00.000Z",)
        ]
