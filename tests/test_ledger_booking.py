"""Book a page: rows, payloads, counter and watermark together, or none of them."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from syncd import clock
from syncd.errors import LedgerError
from syncd.ledger import RECOTAP, Booked, LedgerHandle
from syncd.lifecycle.states import State, Verdict
from tests.conftest import ON_SQLITE
from tests.ledgers import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    ask,
    book,
    due,
    due_names,
    payload,
    ref,
    reports,
    row,
    send,
    stranger,
)
from tests.ledgers import reading as look

I, P, E, X = State.INCOMPLETE, State.PENDING, State.EXCLUDED, State.DEAD  # noqa: E741 - the letters of states.py
LATER = NOW + HOUR


def watermark(ledger, stream="calls"):
    return ledger.stream("hubspot", stream).watermark


def seen(ledger):
    return ask(ledger, "SELECT sum(seen) FROM streams")[0][0]


class TestPage:
    def test_each_record_becomes_one_row_that_says_all_that_is_known(self, ledger):
        book(ledger, look(1, modified_at=NOW - SECOND, occurred_at=NOW - DAY, owner_id="17", domain="acme.com"))
        assert row(ledger) == {
            "id": 1, "stream_id": 1, "crm_id": "1", "external_activity_id": "hubspot-call-1", "kind": "call",
            "state": "pending", "reason": None, "verdict": None, "detail": None,
            "modified_at": "2026-06-01T11:59:59.000Z", "occurred_at": "2026-05-31T12:00:00.000Z",
            "first_seen_at": "2026-06-01T12:00:00.000Z", "updated_at": None,
            "next_attempt_at": "2026-06-01T12:00:00.000Z", "waiting_since": None, "missing_since": None,
            "refused_since": None, "refusals": 0, "unknown": 0, "isolated": 0, "last_post": 0,
            "changed_after_delivery": 0, "owner_id": "17", "domain": "acme.com", "body": payload("1"),
        }  # fmt: skip

    @pytest.mark.parametrize("state", [P, I, E, X, State.DELIVERED])
    def test_owner_and_domain_are_of_the_last_reading_that_told_them(self, ledger, state):
        first = look(1, P if state is State.DELIVERED else state, "internal", owner_id="17", domain="acme.com")
        book(ledger, first)
        if state is State.DELIVERED:
            send(ledger)
        assert (row(ledger)["owner_id"], row(ledger)["domain"]) == ("17", "acme.com")
        book(ledger, replace(first, owner_id="18", domain=None), now=LATER)
        assert (row(ledger)["owner_id"], row(ledger)["domain"]) == ("18", "acme.com")

    def test_a_row_of_an_older_ledger_takes_owner_and_domain_when_it_is_read_again(self, ledger):
        book(ledger, look(1))
        assert (row(ledger)["owner_id"], row(ledger)["domain"]) == (None, None)
        book(ledger, look(1, owner_id="17", domain="acme.com"))
        assert (row(ledger)["owner_id"], row(ledger)["domain"]) == ("17", "acme.com")

    def test_it_says_what_it_changed(self, ledger):
        assert book(ledger, look(1), look(2, I, "no_contact"), look(3, E, "internal"), look(4, X)) == Booked(new=4)
        assert book(ledger, look(1, title="x"), look(2), look(5), now=LATER) == Booked(new=1, changed=2)
        assert book(ledger, look(1, title="x"), look(2), now=LATER) == Booked()

    def test_only_what_is_pending_has_a_payload(self, ledger):
        book(ledger, look(1), look(2, I, "no_contact"), look(3, E, "internal"), look(4, X, "unreadable"))
        assert ask(ledger, "SELECT crm_id FROM payloads JOIN activities ON id = activity_id") == [("1",)]

    def test_a_record_that_stands_twice_on_a_page_is_booked_once_as_it_was_last(self, ledger):
        booked = book(ledger, look(1, title="first"), look(2), look(1, title="last", modified_at=LATER))
        assert booked.new == 2
        assert json.loads(row(ledger)["body"])["title"] == "last"
        assert ledger.balanced()

    def test_a_record_read_again_is_no_second_row(self, ledger):
        for _ in range(3):
            book(ledger, look(1), look(2))
        assert ledger.counts()["pending"] == 2
        assert seen(ledger) == 2

    def test_the_same_id_in_two_streams_is_two_activities(self, ledger):
        book(ledger, look(1))
        book(ledger, look(1, kind="email"), stream="emails")
        assert ledger.counts()["pending"] == 2
        assert ledger.balanced()

    def test_a_page_without_activities_moves_its_watermark_only(self, ledger):
        assert book(ledger, refs=[ref(1), ref(2)], watermark=NOW) == Booked()
        assert watermark(ledger) == NOW
        assert seen(ledger) == 0

    def test_a_page_of_thousands_is_one_page(self, ledger):
        assert book(ledger, *(look(crm_id) for crm_id in range(5000))).new == 5000
        assert ledger.counts()["pending"] == seen(ledger) == 5000

    def test_what_another_stream_holds_is_not_touched(self, ledger):
        book(ledger, look(1), watermark=NOW)
        before = row(ledger)
        book(ledger, look(2, kind="email"), refs=[ref(1, modified_at=LATER)], stream="emails", watermark=LATER)
        assert row(ledger) == before
        assert watermark(ledger) == NOW


class TestWatermark:
    def test_there_is_none_before_something_was_read(self, ledger):
        assert watermark(ledger) is None
        book(ledger)
        assert watermark(ledger) is None

    def test_it_goes_forward_with_what_was_booked(self, ledger):
        for at in (NOW, LATER):
            book(ledger, watermark=at)
            assert watermark(ledger) == at

    def test_it_never_goes_back(self, ledger):
        book(ledger, watermark=LATER)
        book(ledger, look(1), watermark=NOW)
        assert watermark(ledger) == LATER

    def test_a_page_that_read_nothing_leaves_it_where_it_is(self, ledger):
        book(ledger, watermark=NOW)
        book(ledger, look(1), watermark=None)
        assert watermark(ledger) == NOW

    def test_it_waits_for_nothing_that_cannot_be_sent(self, ledger):
        book(ledger, look(1, I, "no_contact"), look(2, X), look(3), watermark=NOW)
        send(ledger, Verdict.REFUSED)
        book(ledger, watermark=LATER)
        assert watermark(ledger) == LATER

    def test_each_stream_has_its_own(self, ledger):
        book(ledger, watermark=NOW)
        book(ledger, stream="emails", watermark=LATER)
        assert (watermark(ledger), watermark(ledger, "emails")) == (NOW, LATER)


@ON_SQLITE
class TestOneTransaction:
    """A page that fails anywhere leaves nothing of itself."""

    @pytest.fixture
    def before(self, ledger):
        book(ledger, look(1), look(2, I, "no_contact"), watermark=NOW)
        return self.whole(ledger)

    def whole(self, ledger):
        with stranger(ledger) as db:
            return list(db.iterdump())

    @pytest.mark.parametrize(
        "trigger",
        [
            "BEFORE INSERT ON activities WHEN NEW.crm_id = '4'",
            "BEFORE INSERT ON payloads WHEN NEW.activity_id = 4",
            "BEFORE UPDATE ON activities",
            "BEFORE DELETE ON payloads",
            "BEFORE UPDATE ON streams",
        ],
    )
    def test_whatever_write_fails(self, ledger, before, trigger):
        ledger._db.execute(
            f"CREATE TEMP TRIGGER fault {trigger.replace(' ON ', ' ON main.')} BEGIN SELECT RAISE(FAIL, 'fault'); END"
        )
        with pytest.raises(Exception, match="fault"):
            book(ledger, look(3), look(4), look(1, E, "internal"), look(2), watermark=LATER)
        assert self.whole(ledger) == before
        ledger._db.execute("DROP TRIGGER fault")
        assert book(ledger, look(3), look(4), look(1, E, "internal"), look(2), watermark=LATER).new == 2
        assert watermark(ledger) == LATER

    def test_when_syncd_is_killed_before_the_commit(self, ledger, before, tmp_path):
        with ledger.transaction():
            book(ledger, look(3), watermark=LATER)
            copy = tmp_path / "copy"
            copy.mkdir()
            for part in tmp_path.glob("ledger.db*"):
                (copy / part.name).write_bytes(part.read_bytes())
        with LedgerHandle(copy / "ledger.db").open() as found:
            assert watermark(found) == NOW
            assert found.counts() == {**found.counts(), "pending": 1, "incomplete": 1}
            assert found.balanced()

    def test_an_inner_transaction_is_part_of_the_outer(self, ledger, before):
        def fail():
            with ledger.transaction():
                book(ledger, look(3), watermark=LATER)
                send(ledger)
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        assert self.whole(ledger) == before

    def test_after_a_failure_the_next_transaction_is_a_whole_one(self, ledger, before):
        with pytest.raises(RuntimeError), ledger.transaction(), ledger.transaction():
            raise RuntimeError
        book(ledger, look(3))
        assert self.whole(ledger) != before


class TestBooks:
    def test_what_was_seen_is_counted_apart_from_the_rows(self, ledger):
        book(ledger, look(1), look(2, I, "no_contact"))
        book(ledger, look(3, kind="email"), stream="emails")
        assert ask(ledger, "SELECT stream, seen FROM streams ORDER BY 1") == [("calls", 2), ("emails", 1)]

    def test_they_balance_through_every_state(self, ledger):
        assert ledger.balanced()
        book(ledger, look(1), look(2, I, "no_contact"), look(3, E, "internal"), look(4, X), look(5), look(6))
        assert ledger.balanced()
        send(ledger, Verdict.CREATED, limit=1)
        send(ledger, Verdict.SKIPPED, limit=1)
        book(ledger, look(2), look(3, I, "no_contact"))
        assert ledger.balanced()
        assert sum(ledger.counts().values()) == seen(ledger) == 6

    @pytest.mark.parametrize("state", ["delivered", "incomplete"])
    def test_a_row_deleted_by_hand_shows(self, ledger, state):
        book(ledger, look(1), look(2, I, "no_contact"))
        send(ledger)
        with stranger(ledger) as db:
            assert db.execute("DELETE FROM activities WHERE state = ?", [state]).rowcount == 1
        assert not ledger.balanced()

    def test_all_rows_of_a_stream_deleted_by_hand_show(self, ledger):
        book(ledger, look(1))
        with stranger(ledger) as db:
            db.execute("DELETE FROM activities")
        assert not ledger.balanced()


class TestRefresh:
    def test_a_change_refreshes_payload_and_times(self, ledger):
        book(ledger, look(1))
        book(ledger, look(1, title="new", modified_at=LATER, occurred_at=NOW), now=LATER)
        found = row(ledger)
        assert json.loads(found["body"])["title"] == "new"
        assert (found["modified_at"], found["occurred_at"]) == ("2026-06-01T13:00:00.000Z", "2026-06-01T12:00:00.000Z")
        assert (found["first_seen_at"], found["updated_at"]) == ("2026-06-01T12:00:00.000Z", "2026-06-01T13:00:00.000Z")

    def test_nothing_new_writes_nothing(self, ledger):
        book(ledger, look(1))
        before = row(ledger)
        book(ledger, look(1), now=LATER)
        assert row(ledger) == before

    def test_what_leaves_pending_loses_its_payload_and_what_comes_back_gets_the_new_one(self, ledger):
        book(ledger, look(1, title="old"))
        book(ledger, look(1, I, "no_contact"))
        assert row(ledger)["body"] is None
        book(ledger, look(1, title="new"))
        assert json.loads(row(ledger)["body"])["title"] == "new"

    def test_a_refused_one_that_changed_goes_out_again_at_once(self, ledger):
        book(ledger, look(1))
        send(ledger, Verdict.FAILED)
        assert due(ledger, now=NOW + SECOND) == []
        book(ledger, look(1, title="better"), now=NOW + SECOND)
        assert due_names(ledger, now=NOW + SECOND) == ["1"]

    def test_a_refused_one_whose_payload_did_not_change_keeps_its_back_off(self, ledger):
        book(ledger, look(1))
        send(ledger, Verdict.FAILED, "account unknown")
        book(ledger, look(1, modified_at=LATER), now=NOW + SECOND)
        assert due(ledger, now=NOW + SECOND) == []
        assert (row(ledger)["refusals"], row(ledger)["detail"]) == (1, "account unknown")

    def test_a_record_known_as_it_stands_is_left_alone_unless_it_is_delivered(self, ledger):
        book(ledger, look(1), look(2, I, "no_contact"))
        before = row(ledger), row(ledger, 2)
        assert book(ledger, refs=[ref(1, modified_at=LATER), ref(2, modified_at=LATER)]) == Booked()
        assert (row(ledger), row(ledger, 2)) == before


class TestChangedAfterDelivery:
    @pytest.fixture(autouse=True)
    def _delivered(self, ledger):
        book(ledger, look(1))
        assert send(ledger) == ["1"]

    def total(self, ledger):
        return reports(ledger).status(version="1", now=NOW)["changed_after_delivery"]

    def test_a_later_modification_is_counted_by_its_ref_alone(self, ledger):
        booked = book(ledger, refs=[ref(1, modified_at=LATER)], now=LATER)
        assert booked == Booked(changed_after_delivery=1)
        assert self.total(ledger) == 1

    def test_the_same_modification_seen_again_is_not_counted_again(self, ledger):
        book(ledger, refs=[ref(1, modified_at=LATER)])
        assert book(ledger, refs=[ref(1, modified_at=LATER)]) == Booked()
        assert book(ledger, refs=[ref(1, modified_at=LATER + DAY)]).changed_after_delivery == 1
        assert self.total(ledger) == 1

    def test_each_of_a_page_is_counted(self, ledger):
        book(ledger, look(2), look(3))
        send(ledger)
        refs = [ref(crm_id, modified_at=LATER) for crm_id in (1, 2, 3, 4)]
        assert book(ledger, refs=refs).changed_after_delivery == 3

    def test_the_modification_that_was_delivered_is_no_change(self, ledger):
        assert book(ledger, refs=[ref(1)]) == Booked()
        assert self.total(ledger) == 0

    def test_it_is_never_sent_again_nor_moved_nor_dated_anew(self, ledger):
        before = row(ledger)
        book(ledger, refs=[ref(1, modified_at=LATER)], now=LATER)
        book(ledger, look(1, modified_at=LATER + DAY), now=LATER)
        assert due(ledger, now=LATER + DAY) == []
        after = row(ledger)
        changed = {key for key in after if after[key] != before[key]}
        assert changed == {"modified_at", "changed_after_delivery"}

    def test_a_reading_of_it_notes_the_change_too(self, ledger):
        book(ledger, look(1, modified_at=LATER))
        assert self.total(ledger) == 1
        assert row(ledger)["body"] is None


class TestLookUps:
    def ids(self, ledger, now=NOW, limit=100, stream="calls"):
        due = ledger.due_look_ups("hubspot", stream, now=now, limit=limit)
        return [crm_id for _, crm_id in due]

    def test_what_is_incomplete_is_due_when_its_time_has_come(self, ledger):
        book(ledger, look(1, I, "no_contact"), look(2, I, "settling", due_at=NOW + MINUTE))
        assert self.ids(ledger) == []
        assert self.ids(ledger, NOW + MINUTE) == ["2"]
        assert self.ids(ledger, NOW + 15 * MINUTE) == ["2", "1"]

    def test_what_a_wrong_clock_put_off_to_next_year_is_due(self, ledger):
        book(ledger, look(1, I, "no_contact"), now=NOW + 300 * DAY)
        assert self.ids(ledger) == ["1"]

    def test_nothing_else_is_ever_due_by_itself(self, ledger):
        book(ledger, look(1), look(2), look(3), look(4, E, "internal"), look(5, X))
        send(ledger, Verdict.SKIPPED, limit=1)
        send(ledger, Verdict.CREATED, limit=1)
        assert self.ids(ledger, NOW + 400 * DAY) == []

    def test_the_oldest_come_first_and_by_stream(self, ledger):
        book(ledger, *(look(crm_id, I, "no_contact") for crm_id in range(4)), now=NOW + MINUTE)
        book(ledger, look(4, I, "no_contact"))
        book(ledger, look(9, I, "no_contact", kind="email"), stream="emails")
        assert self.ids(ledger, LATER, limit=3) == ["4", "0", "1"]
        assert self.ids(ledger, LATER) == ["4", "0", "1", "2", "3"]
        assert self.ids(ledger, LATER, stream="emails") == ["9"]
        assert self.ids(ledger, LATER, stream="meetings") == []

    def test_completion_makes_it_due_to_go_out_and_not_to_be_looked_up(self, ledger):
        book(ledger, look(1, I, "no_contact"))
        book(ledger, look(1), now=NOW + 15 * MINUTE)
        assert self.ids(ledger, LATER) == []
        assert due_names(ledger, now=NOW + 15 * MINUTE) == ["1"]

    def test_each_look_that_finds_it_unchanged_puts_it_off_by_the_schedule(self, ledger):
        book(ledger, look(1, I, "no_contact"))
        looks = []
        now = NOW
        while now < NOW + 4 * DAY:
            now += 5 * MINUTE
            if self.ids(ledger, now):
                looks.append(now - NOW)
                book(ledger, look(1, I, "no_contact"), now=now)
        assert looks == [15 * MINUTE, HOUR, 6 * HOUR, DAY, 2 * DAY, 3 * DAY, 4 * DAY]

    def test_two_misses_an_hour_apart_mean_deleted(self, ledger):
        book(ledger, look(1, I, "no_contact"), look(2, I, "no_contact"))
        stream = ledger.stream_id("hubspot", "calls")
        ledger.book_missing(stream, ["1", "unheard-of"], now=NOW)
        ledger.book_missing(stream, ["1"], now=NOW + MINUTE)
        assert (row(ledger)["state"], row(ledger)["reason"]) == ("incomplete", "not_found")
        ledger.book_missing(stream, ["1"], now=LATER)
        assert (row(ledger)["state"], row(ledger)["reason"]) == ("excluded", "deleted")
        assert row(ledger, 2)["state"] == "incomplete"
        assert ledger.balanced()

    def test_a_miss_of_what_a_page_completed_meanwhile_does_not_take_it_out_of_the_queue(self, ledger):
        """The look-up was asked before, and answered after, the page that completed it."""
        book(ledger, look(1))
        send(ledger, Verdict.UNREACHABLE)
        ledger.book_missing(ledger.stream_id("hubspot", "calls"), ["1"], now=NOW + MINUTE)
        assert due_names(ledger, now=LATER) == ["1"]

    def test_thirty_days_without_completion_end_in_death(self, ledger):
        book(ledger, look(1, I, "no_contact"))
        book(ledger, look(1, I, "no_contact"), now=NOW + 30 * DAY)
        assert (row(ledger)["state"], row(ledger)["reason"]) == ("dead", "no_contact")
        assert self.ids(ledger, NOW + 400 * DAY) == []


def test_a_claim_names_each_record_by_its_stream(ledger):
    book(ledger, look(1), look(2))
    claim = ledger.intend(due(ledger), now=NOW)
    stream = ledger.stream_id("hubspot", "calls")
    assert {activity.record for activity in claim.activities} == {(stream, "1"), (stream, "2")}


class TestSourcesAndStreams:
    def test_a_stream_is_made_once(self, ledger, tmp_path):
        first = ledger.stream_id("hubspot", "calls")
        assert ledger.stream_id("hubspot", "calls") == first
        assert ledger.stream_id("hubspot", "emails") != first
        assert ledger.stream_id("other", "calls") != first
        ledger._streams.clear()
        assert ledger.stream_id("hubspot", "calls") == first

    def test_a_source_keeps_the_portal_it_was_met_with(self, ledger):
        ledger.introduce("hubspot", identity="42", external_id="{source}-{kind}-{id}")
        ledger.introduce("other", identity=None, external_id="{kind}/{id}")
        ledger.introduce("hubspot", identity=None, external_id="{kind}-{id}")  # it would not tell this time
        assert ledger.sources() == {"hubspot": ("42", "{kind}-{id}"), "other": (None, "{kind}/{id}")}
        ledger.introduce("other", identity="43", external_id="{kind}/{id}")
        ledger.introduce("hubspot", identity="44", external_id="{kind}-{id}")
        assert ledger.sources() == {"hubspot": ("44", "{kind}-{id}"), "other": ("43", "{kind}/{id}")}

    def test_a_source_has_rows_once_an_activity_is_booked(self, ledger):
        ledger.stream_id("hubspot", "calls")
        assert not ledger.has_rows("hubspot")
        book(ledger, look(1))
        assert ledger.has_rows("hubspot")
        assert not ledger.has_rows("other")

    def test_a_window_read_to_its_end_clears_the_error_and_keeps_the_last_sweep(self, ledger):
        stream = ledger.stream_id("hubspot", "calls")
        other = ledger.stream_id("hubspot", "emails")
        ledger.window_failed(stream, "no connection")
        ledger.window_failed(other, "no scope")
        ledger.window_finished(stream, now=NOW, swept_at=NOW - MINUTE)
        ledger.window_finished(stream, now=LATER, swept_at=None)
        sql = "SELECT last_error, last_success_at, swept_at FROM streams ORDER BY id"
        assert ask(ledger, sql) == [
            (None, "2026-06-01T13:00:00.000Z", "2026-06-01T11:59:00.000Z"), ("no scope", None, None)
        ]  # fmt: skip
        assert ledger.stream("hubspot", "calls").swept_at == NOW - MINUTE

    def test_a_failed_window_keeps_when_it_last_went_well(self, ledger):
        stream = ledger.stream_id("hubspot", "calls")
        ledger.window_finished(stream, now=NOW, swept_at=NOW)
        ledger.window_failed(stream, "no connection")
        assert ask(ledger, "SELECT last_error, last_success_at FROM streams") == [
            ("no connection", "2026-06-01T12:00:00.000Z")
        ]

    def test_a_stream_that_its_rule_does_not_read_has_no_last_success(self, ledger):
        for stream, rule, at in (("calls", {"read": True}, NOW), ("emails", {"read": False}, NOW - DAY)):
            ledger.note_rule(ledger.stream_id("hubspot", stream), rule)
            ledger.window_finished(ledger.stream_id("hubspot", stream), now=at, swept_at=None)
        assert ledger.last_success() == {"hubspot": NOW}
        assert ledger.last_success([("hubspot", "calls")]) == {}

    @pytest.mark.parametrize(("newest_first", "on", "back"), [(False, MINUTE, -MINUTE), (True, -MINUTE, MINUTE)])
    def test_the_position_in_a_range_never_moves_back(self, ledger, newest_first, on, back):
        ledger.add_range(ledger.stream_id("hubspot", "calls"), NOW - DAY, NOW + DAY, why="backfill", now=NOW)
        (each,) = ledger.ranges("hubspot")
        ledger._db.execute("UPDATE ranges SET newest_first = ?", [int(newest_first)])
        for at in (NOW, NOW + on, NOW + back, NOW + on):
            ledger.range_read_to(each.id, at, newest_first=newest_first)
            ledger.range_read_to(each.id, at + 9 * on, newest_first=not newest_first)
        assert ledger.ranges("hubspot")[0].read_to == NOW + on


class TestPauses:
    def test_a_pause_holds_until_its_time_and_then_is_over(self, ledger):
        ledger.pause_until("hubspot", LATER, "the day's calls are used up", now=NOW)
        assert ledger.pause("hubspot", LATER - SECOND) == (LATER, "the day's calls are used up")
        assert ledger.pause("hubspot", LATER) is None
        assert ledger.pause("@recotap", NOW) is None

    def test_recotap_pauses_under_a_name_that_no_source_can_have(self):
        assert RECOTAP == "@recotap"

    def test_a_new_word_replaces_the_old(self, ledger):
        ledger.pause_until("hubspot", NOW + DAY, "a day", now=NOW)
        ledger.pause_until("hubspot", LATER, "an hour", now=NOW)
        assert ledger.pause("hubspot", NOW) == (LATER, "an hour")

    def test_one_that_a_wrong_clock_booked_for_next_year_is_none(self, ledger):
        ledger.pause_until("hubspot", NOW + 300 * DAY, "a day", now=NOW)
        assert ledger.pause("hubspot", NOW) is None

    def test_one_that_was_booked_by_a_clock_that_was_ahead_is_none(self, ledger):
        """A minute that a clock twenty hours ahead booked would else be twenty hours, without a request."""
        ahead = NOW + timedelta(hours=20)
        ledger.pause_until("hubspot", ahead + MINUTE, "a minute", now=ahead)
        assert ledger.pause("hubspot", ahead) is not None
        assert ledger.pause("hubspot", NOW) is None
        assert reports(ledger).status(version="0", now=NOW)["pauses"] == {}

    def test_what_is_over_is_forgotten_and_nothing_else(self, ledger):
        ledger.pause_until("hubspot", NOW, "over", now=NOW)
        ledger.pause_until("@recotap", NOW + SECOND, "not yet", now=NOW)
        ledger.unpause(NOW)
        assert ask(ledger, "SELECT name FROM pauses") == [("@recotap",)]


class TestStore:
    def test_a_connector_finds_again_what_it_put_and_when(self, ledger):
        ledger.keep("hubspot", {"owners": [{"id": "1"}], "labels": None}, NOW)
        ledger.keep("hubspot", {"labels": {"a": "ä"}}, LATER)
        ledger.keep("other", {"owners": 1}, NOW)
        ledger.keep("other", {}, LATER)
        assert ledger.store("hubspot") == {"owners": ([{"id": "1"}], NOW), "labels": ({"a": "ä"}, LATER)}
        assert ledger.store("other") == {"owners": (1, NOW)}
        assert ledger.store("third") == {}


class TestKnown:
    def test_it_tells_the_modification_time_and_whether_it_is_delivered(self, ledger):
        book(ledger, look(1), look(2, modified_at=LATER, occurred_at=NOW), look(3, I, "no_contact"))
        send(ledger, limit=1)
        assert ledger.known("hubspot", "calls", ["1", "2", "9"]) == {
            "1": ("2026-06-01T12:00:00.000Z", True), "2": ("2026-06-01T13:00:00.000Z", False)
        }  # fmt: skip
        assert ledger.known("hubspot", "emails", ["1"]) == {}
        assert ledger.known("other", "calls", ["1"]) == {}

    def test_an_unknown_stream_has_not_been_read(self, ledger):
        state = ledger.stream("hubspot", "calls")
        assert (state.watermark, state.swept_at) == (None, None)


@ON_SQLITE
def test_a_ledger_that_fails_says_so_as_a_ledger(ledger):
    with stranger(ledger) as db:
        db.execute("DROP TABLE payloads")
    with pytest.raises(LedgerError, match="SQLite says SQLITE_ERROR"):
        book(ledger, look(1))
    assert ask(ledger, "SELECT count(*) FROM activities") == [(0,)]


def test_times_stand_in_the_file_with_three_digits_so_that_they_sort(ledger):
    book(ledger, look(1, modified_at=NOW + timedelta(microseconds=123456)), now=NOW + timedelta(microseconds=1))
    times = [value for value in row(ledger).values() if isinstance(value, str) and value.startswith("20")]
    assert {len(value) for value in times} == {24}


class TestDoubtOfTheClock:
    def test_there_is_none_at_first_and_it_lasts_until_the_clock_is_trusted(self, ledger):
        assert not ledger.clock_doubted()
        ledger.doubt_clock(NOW)
        assert ledger.clock_doubted()
        ledger.trust_clock(NOW)
        assert not ledger.clock_doubted()

    @pytest.mark.parametrize("ahead", [10 * HOUR, 400 * DAY])
    def test_when_it_ends_what_waits_by_a_time_of_then_is_due(self, ledger, ahead):
        ledger.doubt_clock(NOW + ahead)
        book(ledger, look("waits", State.INCOMPLETE, "settling"), now=NOW + ahead, certain=False)
        book(ledger, look("refused"), look("out", State.EXCLUDED, "internal"), now=NOW + ahead, certain=False)
        send(ledger, Verdict.FAILED, now=NOW + ahead)
        ledger.trust_clock(NOW)
        assert row(ledger, "waits")["next_attempt_at"] == row(ledger, "refused")["next_attempt_at"] == clock.text(NOW)
        assert row(ledger, "out")["next_attempt_at"] is None

    def test_without_a_doubt_before_nothing_moves(self, ledger):
        book(ledger, look("waits", State.INCOMPLETE, "no_contact"))
        before = row(ledger, "waits")
        ledger.trust_clock(NOW)
        assert row(ledger, "waits") == before
