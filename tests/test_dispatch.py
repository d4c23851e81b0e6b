"""Test the sending of one pass: the next batch, and the effect of its answer on the rest of the pass."""

import itertools
import json
import threading
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from syncd.connector import Ref
from syncd.errors import Exit, LedgerHeld
from syncd.ledger import LedgerHandle
from syncd.lifecycle.states import State, Verdict
from syncd.lifecycle.transitions import Reading
from syncd.passes.dispatch import NOTHING_LOST, Push
from syncd.recotap.responses import BatchResult, ItemResult
from syncd.recotap.sender import KEY_HINT, URL_HINT, Sender
from syncd.sandbox import Sandbox
from tests.fake_recotap import (
    DOWN,
    LOST,
    NO_CONNECTION,
    START,
    AfterWork,
    Http,
    ManualPoster,
    Recotap,
    SendingFixture,
    all_created,
    opened,
    payload,
)
from tests.ledgers import reports

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
UNAUTHORIZED: Http = (401, {}, {"statusCode": 401, "message": "Invalid API key"})
WRONG_URL: Http = (404, {}, {"statusCode": 404, "message": "Cannot POST /sales-activities"})
HTML_400: Http = (400, {}, "<html>")

DOUBTED = '{"results": [{"externalActivityId": "a", "status": "created"}], "summary": {"created": 0}}'


def throttled(retry_after=None):
    return (429, {} if retry_after is None else {"retry-after": str(retry_after)}, {"message": "Too Many Requests"})


@pytest.fixture
def recotap() -> Recotap:
    return Recotap()


@pytest.fixture
def desk(tmp_path, recotap):
    with opened(tmp_path, recotap) as desk:
        yield desk


@pytest.fixture
def hand(tmp_path):
    """A desk whose POSTs the test answers one by one."""
    with opened(tmp_path, ManualPoster()) as desk:
        yield desk
        desk.poster.let_go()


def sizes(recotap):
    return [len(ids) for ids in recotap.posts]


def later(desk, by=DAY):
    desk.clock.at += by


def delivered_once(desk, recotap, names):
    """Every one of `names` is booked as delivered and stored once, and nothing else is."""
    assert recotap.stored == Counter(names)
    assert desk.states() == Counter({"delivered": len(names)})


def four_in_flight(hand):
    """Return a push whose first POST was answered, and the four POSTs that it has sent since."""
    hand.book_many(500)
    push = hand.push()
    push.pump()
    first = hand.poster.next()
    first.answer(all_created(first.ids))
    hand.settle(push)
    push.pump()
    return push, [hand.poster.next() for _ in range(4)]


def test_a_record_is_carried_from_its_intent_to_its_verdict(hand):
    hand.book_many(60)
    push = hand.push()
    push.pump()
    sent = hand.poster.next()
    assert all(push.carries_any(hand.stream, ["other", name]) for name in sent.ids)
    assert not push.carries_any(hand.stream, ["other"])
    assert not push.carries_any(hand.stream + 1, sent.ids)
    assert not push.carries_any(hand.stream, [])
    sent.answer(all_created(sent.ids))
    hand.settle(push)
    assert not push.carries_any(hand.stream, sent.ids)


class TestOrder:
    def test_a_backlog_goes_out_in_batches_of_at_most_fifty(self, desk, recotap):
        names = desk.book_many(120)
        totals, stop = desk.sync()
        assert sorted(sizes(recotap)) == [20, 50, 50]
        assert (totals.posts, totals.sent, totals.died, stop) == (3, 120, 0, None)
        assert totals.verdicts == Counter({Verdict.CREATED: 120})
        delivered_once(desk, recotap, names)
        assert desk.verdicts() == {"created": 120}

    def test_the_oldest_goes_first(self, tmp_path, recotap):
        with opened(tmp_path, recotap, concurrency=1) as desk:
            young = desk.book_many(60, "young", at=START - HOUR)
            old = desk.book_many(60, "old", at=START - DAY)
            desk.sync()
        assert list(itertools.chain(*recotap.posts)) == old + young

    def test_bodies_go_out_as_they_were_booked(self, desk, recotap):
        (name,) = desk.book("a")
        desk.sync()
        assert recotap.bodies == {name: payload(name)}

    def test_new_activities_go_before_the_retries_of_older_ones(self, desk, recotap):
        old = desk.book_many(3, "old", at=START - 9 * DAY)
        recotap.script = [AfterWork(LOST), DOWN]
        desk.sync()
        recotap.posts.clear()
        new = desk.book_many(2, "new")
        desk.sync()
        assert [sorted(ids) for ids in recotap.posts] == [new, old]

    def test_nothing_due_costs_nothing(self, desk, recotap):
        assert desk.sync()[0].posts == 0
        desk.book("a")
        desk.sync()
        assert desk.sync()[0].posts == 0
        assert len(recotap.posts) == 1

    def test_what_has_not_come_due_is_not_sent(self, desk, recotap):
        desk.book("a")
        recotap.fails = {"a": "boom"}
        desk.sync()
        assert desk.sync()[0].posts == 0
        later(desk)
        assert desk.sync()[0].posts == 1


class TestConcurrency:
    def test_the_first_post_of_a_pass_goes_alone(self, hand):
        names = hand.book_many(500)
        push = hand.push()
        push.pump()
        first = hand.poster.next()
        push.pump()
        assert push.in_flight == 1
        assert hand.poster.none()
        assert first.ids == names[:50]
        first.answer(all_created(first.ids))
        hand.settle(push)
        push.pump()
        assert push.in_flight == 4
        _answer_all(hand, push)

    def test_after_the_first_answer_the_configured_number_is_in_flight_and_never_more(self, tmp_path):
        together = threading.Barrier(3, timeout=20.0)
        recotap = Recotap()

        def watch(ids):
            if len(recotap.posts) > 1:
                together.wait()  # passes only when three are there at once

        recotap.watch = watch
        with opened(tmp_path, recotap, concurrency=3) as desk:
            names = desk.book_many(350)  # 1 + 6 batches
            desk.sync()
            assert recotap.most_in_flight == 3
            delivered_once(desk, recotap, names)

    def test_a_concurrency_of_one_is_one(self, tmp_path, recotap):
        with opened(tmp_path, recotap, concurrency=1) as desk:
            desk.book_many(300)
            desk.sync()
        assert recotap.most_in_flight == 1

    @pytest.mark.parametrize("answer", [
        BatchResult("refused", "HTTP 400"), BatchResult("too_large", "HTTP 413"), BatchResult("answered"),
    ])  # fmt: skip
    def test_any_answer_of_recotap_to_the_first_post_opens_up(self, hand, answer):
        hand.book_many(500)
        push = hand.push()
        push.pump()
        hand.poster.next().answer(answer)
        hand.settle(push)
        push.pump()
        assert push.in_flight == 4
        _answer_all(hand, push)


def _answer_all(desk, push):
    """Let everything through."""
    while True:
        push.pump()
        if not push.in_flight:
            break
        held = desk.poster.next()
        held.answer(all_created(held.ids))
        desk.settle(push)
    push.close()


class TestIntents:
    def test_an_intent_is_committed_before_its_post_and_the_verdict_after_it(self, desk, recotap):
        names = desk.book_many(120)
        found = []

        def watch(ids):
            sql = (
                "SELECT external_activity_id AS name, attempts.verdict, state, finished_at FROM attempts "
                "JOIN posts ON posts.id = post_id JOIN activities ON activities.id = activity_id"
            )
            rows = {row["name"]: row for row in desk.rows(sql)}
            found.append([rows.get(name) for name in ids])

        recotap.watch = watch
        desk.sync()
        rows = list(itertools.chain(*found))
        assert len(rows) == len(names)
        assert all(row["verdict"] is None and row["state"] == "pending" and not row["finished_at"] for row in rows)

    def test_after_the_pass_no_post_is_open_and_no_payload_is_left(self, desk):
        desk.book_many(120)
        desk.sync()
        assert desk.rows("SELECT * FROM posts WHERE finished_at IS NULL") == []
        assert desk.rows("SELECT * FROM attempts WHERE verdict IS NULL") == []
        assert desk.rows("SELECT * FROM payloads") == []

    def test_what_waits_in_a_heap_goes_out_as_it_was_last_read(self, tmp_path, recotap):
        """An innocent of a 400 whose record was edited before its second POST."""
        with opened(tmp_path, recotap, concurrency=1) as desk:
            desk.book("a", "b", "c")
            recotap.poison = {"a"}
            push = desk.push()
            push.pump()
            desk.settle(push)
            desk.ledger.book(desk.stream, [Ref("b", START)], [_reading("b", callTitle="Edited")], now=START)
            desk.run(push)
            assert json.loads(recotap.bodies["b"])["callTitle"] == "Edited"
            assert recotap.stored == Counter("bc")

    def test_a_heap_that_turns_out_empty_holds_up_nothing(self, tmp_path, recotap):
        with opened(tmp_path, recotap, concurrency=1) as desk:
            desk.book("a", "b")
            recotap.poison = {"a"}
            push = desk.push()
            push.pump()
            desk.settle(push)
            gone = replace(_reading("b"), wanted=State.EXCLUDED, reason="internal", payload=None)
            desk.ledger.book(desk.stream, [Ref("b", START)], [gone], now=START)
            desk.book("c")
            push.pump()
            assert push.in_flight == 1
            desk.run(push)
        assert recotap.posts == [["a", "b"], ["c"]]

    @pytest.mark.parametrize("wanted", [State.EXCLUDED, State.INCOMPLETE])
    def test_what_waits_in_a_heap_and_is_pending_no_more_is_not_sent(self, tmp_path, recotap, wanted):
        with opened(tmp_path, recotap, concurrency=1) as desk:
            desk.book("a", "b", "c")
            recotap.poison = {"a"}
            push = desk.push()
            push.pump()
            desk.settle(push)
            for name in "bc":
                reading = replace(_reading(name), wanted=wanted, reason="no_contact", payload=None)
                desk.ledger.book(desk.stream, [Ref(name, START)], [reading], now=START)
            desk.run(push)
            assert sizes(recotap) == [3]
            assert (push.totals.posts, push.totals.sent) == (1, 3)
            assert desk.row("b")["state"] == wanted.value
            assert not recotap.stored


def _reading(name, **more):
    body = json.dumps(json.loads(payload(name)) | more)
    return Reading(
        crm_id=name, modified_at=START, external_activity_id=name, kind="call", occurred_at=START - DAY,
        wanted=State.PENDING, payload=body,
    )  # fmt: skip


class TestOutage:
    @pytest.mark.parametrize("outage", [DOWN, LOST, NO_CONNECTION, throttled(), throttled(5), HTML_400, (200, {}, "")])
    def test_an_outage_from_the_beginning_costs_two_requests(self, desk, recotap, outage):
        desk.book_many(500)
        recotap.when = lambda number: outage
        totals, stop = desk.sync()
        assert sizes(recotap) == [50, 1]
        assert totals.posts == 2
        assert stop.exit_code == Exit.UNAVAILABLE
        assert stop.message.startswith("Recotap cannot be reached (")
        assert stop.hint == NOTHING_LOST == "nothing is lost and nothing to do: the next pass goes on by itself"
        assert stop.pause_until is None
        assert desk.states() == {"pending": 500}
        assert totals.died == 0

    def test_if_there_is_something_to_do_about_an_outage_it_is_said(self, tmp_path):
        class Distrusted:
            def post(self, sent, **late):
                return BatchResult("unreachable", "its CA is unknown", hint="name it in recotap.ca_file")

            def probe(self):
                return self.post([])

        with opened(tmp_path, Distrusted()) as desk:
            desk.book("a")
            _, stop = desk.sync()
        assert stop.message == "Recotap cannot be reached (its CA is unknown)"
        assert stop.hint == "name it in recotap.ca_file. Nothing is lost"

    def test_an_outage_costs_the_activities_nothing_and_the_next_pass_delivers_them(self, desk, recotap):
        names = desk.book_many(120)
        recotap.when = lambda number: DOWN
        for _ in range(20):
            desk.sync()
            later(desk)
        assert {row["refusals"] for row in desk.rows("SELECT refusals FROM activities")} == {0}
        assert (desk.row("a-0000")["verdict"], desk.row("a-0000")["detail"]) == ("unanswered", "HTTP 503")
        recotap.when = lambda number: None
        assert desk.sync()[1] is None
        delivered_once(desk, recotap, names)
        assert desk.verdicts().keys() == {"created"}

    @pytest.mark.parametrize("outage", [DOWN, LOST, NO_CONNECTION, throttled()])
    def test_an_outage_in_the_middle_costs_the_posts_in_flight_and_one_probe(self, desk, recotap, outage):
        desk.book_many(5000)
        recotap.when = lambda number: outage if number > 11 else None
        _, stop = desk.sync()
        assert 11 + 1 + 1 <= len(recotap.posts) <= 11 + 4 + 1
        assert sizes(recotap)[-1] == 1
        assert stop.exit_code == Exit.UNAVAILABLE
        assert desk.states() == {"delivered": 550, "pending": 4450}

    @pytest.mark.parametrize("outage", [LOST, (500, {}, "")])
    def test_the_probe_is_a_single_activity_that_was_not_in_the_failed_batch(self, desk, recotap, outage):
        names = desk.book_many(51)
        recotap.script = [outage]
        desk.sync()
        assert recotap.posts[:4] == [names[:50], names[50:], names[:25], names[25:50]]

    def test_where_only_the_failed_batch_is_left_one_of_it_is_the_probe(self, desk, recotap):
        names = desk.book_many(50)
        recotap.script = [LOST]
        assert desk.sync()[1] is None
        assert sizes(recotap) == [50, 1, 25, 24]
        delivered_once(desk, recotap, names)

    def test_innocents_of_a_400_that_meet_an_outage_go_out_in_batches_of_half_the_size(self, desk, recotap):
        names = desk.book_many(50)
        recotap.poison = {names[0]}
        recotap.when = lambda number: DOWN if number == 2 else None
        desk.sync()
        assert sizes(recotap) == [50, 49, 1, 24, 24]

    def test_jitter_needs_no_dice_from_outside(self, desk, recotap):
        desk.book("a")
        recotap.script = [DOWN]
        push = Push(
            desk.ledger, recotap, concurrency=1, max_age=7 * DAY, now=desk.clock.now,
            monotonic=desk.clock.monotonic, answered=desk.returned.put,
        )  # fmt: skip
        desk.run(push)
        assert recotap.stored == Counter("a")

    def test_the_probe_waits_until_all_that_was_in_flight_is_back(self, hand):
        push, posts = four_in_flight(hand)
        for count, post in enumerate(posts, 1):
            post.answer(LOST)
            hand.settle(push)
            hand.clock.tick(10)
            push.pump()
            assert push.in_flight == (4 - count or 1)
        probe = hand.poster.next()
        assert len(probe.ids) == 1
        probe.answer(all_created(probe.ids))
        hand.settle(push)
        push.pump()
        assert push.in_flight == 4
        _answer_all(hand, push)

    @pytest.mark.parametrize("outcome", ["answered", "refused", "too_large"])
    def test_a_late_answer_to_what_left_before_the_outage_does_not_reopen(self, hand, outcome):
        push, posts = four_in_flight(hand)
        posts[0].answer(LOST)
        hand.settle(push)
        for post in posts[1:]:
            post.answer(replace(all_created(post.ids), outcome=outcome))
            hand.settle(push)
        hand.clock.tick(10)
        push.pump()
        assert push.in_flight == 1
        assert len(hand.poster.next().ids) == 1
        push._threads.shutdown(wait=False)

    def test_before_the_probe_there_is_a_short_pause_with_jitter(self, desk, recotap):
        desk.book_many(60)
        push = desk.push()
        recotap.script = [DOWN]
        push.pump()
        desk.settle(push)
        assert 1.0 <= push.wait_s() <= 2.0
        push.pump()
        assert len(recotap.posts) == 1
        desk.run(push)

    @pytest.mark.parametrize("outage", [DOWN, LOST, throttled()])
    def test_what_an_outage_was_probed_with_in_vain_is_not_isolated_for_it(self, desk, recotap, outage):
        desk.book_many(1000)
        recotap.when = lambda number: (outage if number == 2 else DOWN) if number > 1 else None
        assert desk.sync()[1] is not None
        assert recotap.statuses[-1] == 503
        assert desk.rows("SELECT * FROM activities WHERE isolated") == []

    def test_recovery_within_the_pass_delivers_everything_in_it(self, desk, recotap):
        names = desk.book_many(500)
        recotap.when = lambda number: AfterWork(LOST) if number in (3, 5) else None
        assert desk.sync()[1] is None
        delivered_once(desk, recotap, names)
        assert desk.verdicts().keys() == {"created", "duplicate"}

    def test_after_the_outage_concurrency_comes_back(self, desk, recotap):
        recotap.script = [DOWN]
        together = threading.Barrier(4, timeout=20.0)

        def watch(ids):
            if len(ids) == 25 and "a-0050" not in ids and ids[0] > "a-0050":
                together.wait()

        desk.book_many(51 + 200)
        recotap.watch = watch
        desk.sync()
        assert recotap.most_in_flight == 4

    def test_a_second_outage_after_a_recovery_is_probed_again(self, desk, recotap):
        names = desk.book_many(1000)
        recotap.when = lambda number: DOWN if number in (2, 8, 15) else None
        assert desk.sync()[1] is None
        delivered_once(desk, recotap, names)

    def test_activities_that_met_an_outage_go_last_and_one_batch_at_a_time(self, tmp_path, recotap):
        with opened(tmp_path, recotap, concurrency=1) as desk:
            names = desk.book_many(160)
            recotap.script = [LOST]
            desk.sync()
        assert recotap.posts[-2:] == [names[:25], names[25:50]]
        assert sizes(recotap) == [50, 1, 25, 25, 25, 25, 9, 25, 25]

    def test_outages_that_do_not_end_within_the_pass_stop_it_and_say_why(self, desk, recotap):
        desk.book("a")
        recotap.when = lambda number: DOWN
        assert desk.sync()[1].message == "Recotap cannot be reached (HTTP 503)"


class TestRetryAfter:
    @pytest.mark.parametrize("status", [429, 503])
    def test_it_is_honoured_before_the_next_request(self, desk, recotap, status):
        names = desk.book_many(60)
        recotap.script = [(status, {"retry-after": "20"}, "")]
        push = desk.push()
        push.pump()
        desk.settle(push)
        assert 20.0 <= push.wait_s() <= 21.0
        desk.clock.tick(push.wait_s() - 0.5)
        push.pump()
        assert not push.in_flight
        assert not push.idle
        desk.run(push)
        assert push.stop is None
        delivered_once(desk, recotap, names)

    def test_the_longest_of_several_counts(self, hand):
        hand.book_many(500)
        push = hand.push()
        push.pump()
        first = hand.poster.next()
        first.answer(all_created(first.ids))
        hand.settle(push)
        push.pump()
        for wait in (30.0, 5.0, 10.0, 2.0):
            hand.poster.next().answer(BatchResult("throttled", "HTTP 429", retry_after=wait))
            hand.settle(push)
        assert 30.0 <= push.wait_s() <= 31.0
        hand.clock.tick(40)
        _answer_all(hand, push)

    def test_just_under_a_minute_is_waited_for_and_dies_with_the_pass(self, desk, recotap):
        desk.book("a")
        recotap.script = [throttled(59.9)]
        assert desk.sync()[1] is None
        assert desk.clock.waited >= 59.9
        assert desk.paused_until() is None

    @pytest.mark.parametrize("status", [429, 503])
    @pytest.mark.parametrize("seconds", [60, 3600])
    def test_a_minute_or_more_stops_the_pass_and_is_kept_in_the_ledger(self, desk, recotap, status, seconds):
        desk.book_many(60)
        recotap.script = [(status, {"retry-after": str(seconds)}, "")]
        totals, stop = desk.sync()
        assert totals.posts == 1
        assert stop.exit_code == Exit.UNAVAILABLE
        assert stop.message == f"Recotap asks for a pause (HTTP {status})"
        assert stop.hint == NOTHING_LOST
        assert stop.pause_until == desk.paused_until() == START + timedelta(seconds=seconds)
        assert desk.states() == {"pending": 60}

    def test_a_pass_that_is_held_back_sends_nothing(self, desk, recotap):
        desk.book("a")
        push = desk.push()
        push.hold_back(START + HOUR, "Recotap asks for a pause (HTTP 429)")
        desk.run(push)
        assert not recotap.posts
        assert push.idle
        assert push.stop.exit_code == Exit.UNAVAILABLE
        assert push.stop.message == (
            "Recotap pauses until 2026-03-02T10:00:00.000Z: Recotap asks for a pause (HTTP 429)"
        )
        assert push.stop.hint == f"{NOTHING_LOST}, or at once after `syncd resume recotap`"


class TestThrottling:
    def test_429_halves_the_number_in_flight_and_makes_nothing_suspect(self, hand):
        names = hand.book_many(1000)
        push = hand.push()
        push.pump()
        first = hand.poster.next()
        first.answer(BatchResult("throttled", "HTTP 429", retry_after=1.0))
        hand.settle(push)
        hand.clock.tick(push.wait_s())
        push.pump()
        probe = hand.poster.next()
        assert probe.ids == names[:1]
        probe.answer(all_created(probe.ids))
        hand.settle(push)
        push.pump()
        assert push.in_flight == 2
        assert hand.poster.next().ids == names[1:50]  # at once, not after everything else
        row = hand.row(names[5])
        assert (row["unknown"], row["isolated"], row["refusals"]) == (0, 0, 0)
        push._threads.shutdown(wait=False)

    def test_it_is_halved_again_and_never_below_one(self, tmp_path, recotap):
        with opened(tmp_path, recotap, concurrency=8) as desk:
            names = desk.book_many(1000)
            recotap.when = lambda number: throttled(1) if number in (1, 4, 7, 10, 13) else None
            push = desk.run(desk.push())
            assert push._breaker.limit == 1
            delivered_once(desk, recotap, names)


class TestStops:
    @pytest.mark.parametrize("status", [401, 403])
    def test_a_refused_key_stops_the_pass_with_77_and_keeps_everything(self, desk, recotap, status):
        desk.book_many(500)
        recotap.when = lambda number: (status, {}, {"statusCode": status, "message": "Forbidden"})
        totals, stop = desk.sync()
        assert totals.posts == 1
        assert (stop.exit_code, stop.hint) == (Exit.UNAUTHORIZED, KEY_HINT)
        assert stop.message == f"Recotap refuses the key (HTTP {status})"
        assert desk.states() == {"pending": 500}
        row = desk.row("a-0000")
        assert (row["verdict"], row["unknown"], row["refusals"]) == ("unauthorized", 0, 0)

    def test_a_wrong_url_stops_the_pass_with_78_and_says_what_it_should_look_like(self, desk, recotap):
        desk.book_many(500)
        recotap.when = lambda number: WRONG_URL
        totals, stop = desk.sync()
        assert totals.posts == 1
        assert (stop.exit_code, stop.hint) == (Exit.CONFIG, URL_HINT)
        assert stop.message == "Recotap's base URL is wrong (HTTP 404)"
        assert desk.states() == {"pending": 500}
        assert desk.row("a-0000")["verdict"] == "wrong_url"

    def test_a_key_that_dies_in_the_middle_costs_the_posts_in_flight_and_is_said_once(self, desk, recotap):
        desk.book_many(2000)
        recotap.when = lambda number: UNAUTHORIZED if number > 5 else None
        _, stop = desk.sync()
        assert stop.exit_code == Exit.UNAUTHORIZED
        assert 6 <= len(recotap.posts) <= 9

    def test_the_first_reason_to_stop_is_the_one_that_is_told(self, hand):
        push, posts = four_in_flight(hand)
        answers = [
            BatchResult("unauthorized", "HTTP 401"), BatchResult("wrong_url", "HTTP 404"), LOST,
            all_created(posts[3].ids),
        ]  # fmt: skip
        for post, answer in zip(posts, answers, strict=True):
            post.answer(answer)
            hand.settle(push)
        assert push.stop.exit_code == Exit.UNAUTHORIZED
        assert push.idle
        push.pump()
        assert not push.in_flight
        assert hand.states() == {"delivered": 100, "pending": 400}  # what was on its way is booked all the same
        push.close()

    def test_with_a_new_key_the_next_pass_delivers(self, desk, recotap):
        names = desk.book_many(120)
        recotap.script = [UNAUTHORIZED]
        desk.sync()
        assert desk.sync()[1] is None
        delivered_once(desk, recotap, names)

    def test_something_under_way_is_not_idle_though_the_pass_is_stopped(self, hand):
        hand.book("a")
        push = hand.push()
        push.pump()
        push.hold_back(START + HOUR, "why")
        assert not push.idle
        held = hand.poster.next()
        held.answer(all_created(held.ids))
        hand.settle(push)
        assert push.idle
        push.close()


class TestPoison:
    @pytest.mark.parametrize("at", [0, 24, 25, 49])
    @pytest.mark.parametrize(("style", "most"), [("nested", 2), ("flat", 2), ("opaque", 13)])
    def test_one_among_fifty_costs_2_more_requests_with_indexes_and_13_without(self, desk, recotap, style, most, at):
        names = desk.book_many(50)
        recotap.style, recotap.poison = style, {names[at]}
        totals, stop = desk.sync()
        assert len(recotap.posts) <= 1 + most
        assert stop is None
        assert recotap.stored == Counter(names) - Counter([names[at]])  # the innocents, in the same pass
        assert desk.states() == {"delivered": 49, "pending": 1}
        assert totals.verdicts[Verdict.REFUSED] == 1

    @pytest.mark.parametrize("style", ["nested", "opaque"])
    def test_several_in_several_batches_hold_up_none_of_the_others(self, desk, recotap, style):
        names = desk.book_many(300)
        recotap.style, recotap.poison = style, {names[n] for n in (0, 7, 49, 50, 51, 180, 299)}
        totals, stop = desk.sync()
        assert stop is None
        assert desk.states() == {"delivered": 293, "pending": 7}
        assert totals.verdicts[Verdict.REFUSED] == 7

    def test_what_the_400_says_of_the_culprit_is_kept(self, desk, recotap):
        desk.book("a", "b")
        recotap.poison = {"b"}
        desk.sync()
        row = desk.row("b")
        assert (row["verdict"], row["detail"], row["isolated"]) == ("refused", "domain: isNotEmpty", 1)
        assert row["next_attempt_at"] > row["updated_at"]
        assert desk.attempts("a") == ["bystander", "created"]
        assert reports(desk.ledger).explain("a")["attempts"][0]["detail"] == "HTTP 400"

    def test_a_culprit_that_was_sent_alone_keeps_what_the_400_says(self, desk, recotap):
        desk.book("a")
        recotap.poison = {"a"}
        desk.sync()
        assert desk.row("a")["detail"] == "domain: isNotEmpty"

    def test_a_culprit_that_stands_alone_without_a_word_says_so(self, desk, recotap):
        desk.book("a")
        recotap.poison, recotap.style = {"a"}, "opaque"
        desk.sync()
        assert desk.row("a")["detail"] == "refused by Recotap's validation without a word why"

    def test_a_single_one_is_the_culprit_whatever_index_the_400_names(self, desk, recotap):
        desk.book("a")
        recotap.script = [(400, {}, {"message": "activities.7.domain is empty"})]
        desk.sync()
        assert desk.row("a")["verdict"] == "refused"

    @pytest.mark.parametrize(("style", "posts"), [("nested", 1), ("opaque", 99)])
    def test_a_batch_of_nothing_else_ends(self, desk, recotap, style, posts):
        names = desk.book_many(50)
        recotap.style, recotap.poison = style, set(names)
        totals, stop = desk.sync()
        assert (totals.posts, stop) == (posts, None)
        assert totals.verdicts[Verdict.REFUSED] == 50

    def test_a_hundred_refusals_in_a_row_stop_the_pass(self, desk, recotap):
        names = desk.book_many(1000)
        recotap.style, recotap.poison = "opaque", set(names)
        totals, stop = desk.sync()
        assert stop.exit_code == Exit.UNAVAILABLE
        assert stop.message == "Recotap refused 100 requests in a row (HTTP 400)"
        assert stop.hint.startswith("its validation may have changed: `syncd explain ID` shows what it says. Look for")
        assert 100 <= totals.posts <= 103
        assert desk.states() == {"pending": 1000}

    def test_an_acceptance_in_between_begins_the_count_anew(self, desk, recotap):
        names = desk.book_many(300)
        recotap.style, recotap.poison = "opaque", set(names) - {names[49]}
        desk.concurrency = 1
        assert desk.sync()[0].posts > 103
        assert recotap.stored == Counter([names[49]])

    def test_culprits_travel_afterwards_only_with_their_like(self, desk, recotap):
        desk.book_many(3, "poison")
        recotap.poison = {"poison-0000", "poison-0001", "poison-0002"}
        desk.sync()
        later(desk)
        lost = desk.book_many(3, "lost")
        recotap.script = [DOWN, NO_CONNECTION]
        desk.sync()
        recotap.posts.clear()
        fresh = desk.book_many(3, "fresh")
        later(desk)
        desk.sync()
        assert [sorted(ids) for ids in recotap.posts] == [fresh, lost, sorted(recotap.poison)]

    def test_a_culprit_that_recotap_takes_later_is_delivered(self, desk, recotap):
        names = desk.book_many(10)
        recotap.poison = {names[3]}
        desk.sync()
        recotap.poison = set()
        later(desk)
        desk.sync()
        delivered_once(desk, recotap, names)

    def test_at_most_one_verdict_about_the_item_falls_in_one_pass(self, desk, recotap):
        names = desk.book_many(20)
        recotap.poison = set(names[:5])
        totals, _ = desk.sync()
        assert totals.verdicts[Verdict.REFUSED] == 5
        assert {desk.row(name)["refusals"] for name in names[:5]} == {1}


class TestTooLarge:
    def test_batches_become_smaller_until_they_fit_and_stay_so_for_the_pass(self, desk, recotap):
        names = desk.book_many(300)
        recotap.most = 12
        assert desk.sync()[1] is None
        delivered_once(desk, recotap, names)
        assert recotap.statuses.count(413) <= 1 + 2 + 4 + 2 * 3  # the first batch in full, then those in flight

    def test_the_next_batch_is_half_of_what_was_too_large(self, tmp_path, recotap):
        with opened(tmp_path, recotap, concurrency=1) as desk:
            desk.book_many(150)
            recotap.most = 25
            desk.sync()
        assert sizes(recotap) == [50, 25, 25, 25, 25, 25, 25]

    def test_a_server_that_takes_one_at_a_time_gets_one_at_a_time(self, tmp_path, recotap):
        with opened(tmp_path, recotap, concurrency=1) as desk:
            names = desk.book_many(70)
            recotap.most = 1
            desk.sync()
            delivered_once(desk, recotap, names)
        assert sizes(recotap)[-20:] == [1] * 20

    def test_one_that_is_too_large_alone_is_backed_off_and_holds_up_nobody(self, desk, recotap):
        names = desk.book_many(120)
        recotap.too_large = {names[10]}
        totals, stop = desk.sync()
        assert stop is None
        assert desk.states() == {"delivered": 119, "pending": 1}
        row = desk.row(names[10])
        assert (row["verdict"], row["isolated"], row["refusals"]) == ("too_large", 1, 1)
        assert totals.verdicts[Verdict.TOO_LARGE] == 1

    def test_once_it_is_found_the_others_travel_in_full_batches_again(self, tmp_path, recotap):
        with opened(tmp_path, recotap, concurrency=1) as desk:
            names = desk.book_many(1050)
            recotap.too_large = {names[10]}
            desk.sync()
            assert desk.states() == {"delivered": 1049, "pending": 1}
        assert len(recotap.posts) <= 13 + 20 + 1

    def test_bystanders_of_a_413_lose_nothing(self, desk, recotap):
        names = desk.book_many(50)
        recotap.most = 25
        desk.sync()
        assert desk.attempts(names[0]) == ["bystander", "created"]
        assert desk.row(names[0])["refusals"] == 0


class TestFellers:
    """An activity that makes the server answer 500 whenever it is in the body."""

    def passes(self, desk, count, apart=timedelta(minutes=5)):
        """Make passes, by default five minutes apart."""
        stops = []
        for _ in range(count):
            stops.append(desk.sync()[1])
            later(desk, apart)
        return stops

    @pytest.mark.parametrize("seed", range(5))
    def test_its_innocents_are_delivered_and_it_is_isolated(self, tmp_path, recotap, seed):
        with opened(tmp_path, recotap, seed=seed) as desk:
            names = desk.book_many(200)
            recotap.fells = {names[20]}
            self.passes(desk, 4)
            assert recotap.stored == Counter(names) - Counter([names[20]])
            assert desk.states() == {"delivered": 199, "pending": 1}
            row = desk.row(names[20])
            assert (row["verdict"], row["isolated"], row["unknown"]) == ("suspect", 1, 1)
            assert row["refusals"] > 0
            assert row["next_attempt_at"] > row["updated_at"]

    def test_with_something_to_probe_with_its_innocents_are_delivered_in_the_same_pass(self, desk, recotap):
        names = desk.book_many(100)
        recotap.fells = {names[0]}  # in the first half each time: the second supplies the probes
        _, stop = desk.sync()
        assert stop is None
        assert desk.states() == {"delivered": 99, "pending": 1}
        assert desk.row(names[0])["verdict"] == "suspect"

    def test_isolated_it_costs_a_pass_one_request_and_no_alarm(self, desk, recotap):
        names = desk.book_many(100)
        recotap.fells = {names[0]}
        desk.sync()
        for number in range(3):
            recotap.posts.clear()
            later(desk, 7 * HOUR)  # its back-off is over
            fresh = desk.book_many(60, f"more{number}")
            _, stop = desk.sync()
            assert stop is None
            assert sizes(recotap) == [50, 10, 1]
            assert recotap.posts[-1] == [names[0]]
            assert all(recotap.stored[name] == 1 for name in fresh)

    def test_isolated_it_raises_no_alarm_in_a_pass_with_nothing_else_either(self, desk, recotap):
        names = desk.book_many(100)
        recotap.fells = {names[0]}
        desk.sync()
        recotap.posts.clear()
        later(desk, 7 * HOUR)
        assert self.passes(desk, 3, apart=7 * HOUR) == [None] * 3
        assert recotap.posts == [[names[0]]] * 3
        assert desk.row(names[0])["verdict"] == "suspect"

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("fellers", [(3, 40), (0, 1, 2, 3), (10, 60, 110, 160), (49, 50, 51, 199)])
    def test_several_hold_up_none_of_the_others_and_later_passes_go_on(self, tmp_path, recotap, fellers, seed):
        with opened(tmp_path, recotap, seed=seed) as desk:
            names = desk.book_many(200)
            recotap.fells = {names[n] for n in fellers}
            self.passes(desk, 12)
            assert recotap.stored == Counter(names) - Counter(recotap.fells)
            fresh = desk.book_many(120, "more")
            assert desk.sync()[1] is None
            assert all(recotap.stored[name] == 1 for name in fresh)
            assert desk.verdicts("pending") == {"suspect": len(fellers)}

    def test_several_isolated_ones_are_tried_in_turn(self, desk, recotap):
        names = desk.book_many(200)
        recotap.fells = set(names[:3])
        self.passes(desk, 12)
        recotap.posts.clear()
        later(desk, 7 * HOUR)
        self.passes(desk, 3, apart=7 * HOUR)
        assert sorted(itertools.chain(*recotap.posts)) == names[:3]

    def test_they_never_hold_up_the_retry_of_what_a_400_named(self, desk, recotap):
        names = desk.book_many(200)
        recotap.fells, recotap.poison = set(names[1:3]), {names[0]}
        self.passes(desk, 12)
        recotap.poison = set()
        later(desk)
        assert self.passes(desk, 2) == [None, None]
        assert recotap.stored[names[0]] == 1

    def test_one_that_the_server_bears_again_is_delivered(self, desk, recotap):
        names = desk.book_many(200)
        recotap.fells = set(names[:3])
        self.passes(desk, 12)
        recotap.fells = set()
        later(desk, 7 * HOUR)
        desk.sync()
        delivered_once(desk, recotap, names)

    def test_alone_with_its_failures_it_is_isolated_once_others_got_through(self, desk, recotap):
        (name,) = desk.book("feller")
        recotap.fells = {name}
        assert desk.sync()[1].exit_code == Exit.UNAVAILABLE  # nothing tells it from an outage
        desk.book("fresh")
        desk.sync()
        assert desk.row(name)["verdict"] == "suspect"
        assert desk.sync()[1] is None

    def test_a_feller_that_was_stored_before_it_felled_is_ours_when_it_comes_out(self, desk, recotap):
        names = desk.book_many(60)
        recotap.when = lambda number: AfterWork(LOST) if names[0] in recotap.posts[-1] else None
        self.passes(desk, 6)
        recotap.when = lambda number: None
        desk.sync()
        delivered_once(desk, recotap, names)
        assert desk.row(names[0])["verdict"] == "duplicate"


class TestItems:
    def test_a_failed_item_backs_off_five_minutes_doubling_to_six_hours(self, desk, recotap):
        desk.book("a")
        recotap.fails = {"a": "Internal processing error"}
        waits = []
        for _ in range(10):
            desk.sync()
            row = desk.row("a")
            due = datetime.fromisoformat(row["next_attempt_at"])
            waits.append((due - desk.clock.at) / timedelta(minutes=1))
            desk.clock.at = due
        expected = [5, 10, 20, 40, 80, 160, 320, 360, 360, 360]
        assert waits == [pytest.approx(minutes * 1.05, rel=0.06) for minutes in expected]
        assert row["detail"] == "Internal processing error"
        assert row["refusals"] == 10

    def test_a_failed_item_holds_up_no_other(self, desk, recotap):
        names = desk.book_many(120)
        recotap.fails = {names[3]: "boom", names[70]: "boom"}
        assert desk.sync()[1] is None
        assert desk.states() == {"delivered": 118, "pending": 2}
        assert len(recotap.posts) == 3

    def test_all_that_die_in_a_pass_are_counted(self, desk, recotap):
        names = desk.book_many(60)
        recotap.fails = dict.fromkeys(names, "boom")
        desk.sync()
        later(desk, 8 * DAY)
        totals, _ = desk.sync()
        assert (totals.posts, totals.died) == (2, 60)

    def test_it_is_dead_max_age_after_the_first_verdict_and_is_counted_as_died(self, desk, recotap):
        desk.book("a", "b")
        recotap.fails = {"a": "boom"}
        died = []
        while desk.clock.at < START + timedelta(days=8):
            died.append(desk.sync()[0].died)
            later(desk, timedelta(hours=1))
        row = desk.row("a")
        assert (row["state"], row["reason"], row["detail"]) == ("dead", "failed", "boom")
        assert sum(died) == 1
        assert row["updated_at"] >= "2026-03-09T09:00"
        assert desk.rows("SELECT * FROM payloads") == []

    def test_a_skipped_item_is_skipped_for_good(self, desk, recotap):
        desk.book("a", "b")
        recotap.skips = {"a"}
        desk.sync()
        later(desk)
        desk.sync()
        assert len(recotap.posts) == 1
        row = desk.row("a")
        assert (row["state"], row["detail"]) == ("skipped", "Only call and email are supported")

    def test_what_recotap_says_is_kept_without_what_is_personal(self, desk, recotap):
        desk.book("a")
        recotap.fails = {"a": "Kaya Ivorstone <a@amber-bolts.example> +1 415 555 0101: Roof is odd"}
        desk.sync()
        assert desk.row("a")["detail"] == "[removed] <[removed]> [removed]: [removed] is odd"

    def test_a_title_with_an_address_in_it_is_stripped_whole(self, desk, recotap):
        title = "Merger with kaya@amber-bolts.example on Friday"
        desk.ledger.book(desk.stream, [], [_reading("a", callTitle=title)], now=START)
        recotap.fails = {"a": f"callTitle {title!r} is odd"}
        desk.sync()
        told = desk.row("a")["detail"]
        assert "Merger" not in told
        assert "Friday" not in told
        assert told.endswith("is odd")

    def test_an_item_that_is_not_answered_is_tried_once_a_pass_and_then_ours(self, desk, recotap):
        names = desk.book_many(10)
        recotap.omits = Counter({names[4]: 1})
        totals, stop = desk.sync()
        assert (totals.posts, stop) == (1, None)
        row = desk.row(names[4])
        assert (row["state"], row["verdict"], row["unknown"], row["refusals"]) == ("pending", "unanswered", 1, 0)
        assert row["detail"] == "the answer does not name it"
        desk.sync()
        assert desk.row(names[4])["verdict"] == "duplicate"
        delivered_once(desk, recotap, names)


class TestDuplicates:
    """ "Already exists" is ours only when an earlier attempt's outcome is not known."""

    @pytest.mark.parametrize("lost", [
        AfterWork(LOST), AfterWork((500, {}, "")), AfterWork((504, {}, "<html>")), AfterWork((408, {}, "")),
        AfterWork((200, {}, "<html>")), AfterWork((200, {}, '{"data": {"res')), AfterWork((204, {}, "")),
        AfterWork((200, {}, '{"data": {"results": []}}')),
        AfterWork((200, {}, '{"data": {"results": [{"externalActivityId": "a", "status": "?"}]}}')),
        AfterWork((200, {}, DOUBTED)),
    ])  # fmt: skip
    def test_after_an_answer_that_was_lost_it_is_ours(self, desk, recotap, lost):
        desk.book("a")
        recotap.script = [lost]
        desk.sync()
        later(desk)
        desk.sync()
        assert desk.row("a")["verdict"] == "duplicate"
        assert recotap.stored["a"] == 1

    def test_after_a_crash_it_is_ours(self, hand):
        hand.book("a")
        push = hand.push()
        push.pump()
        hand.poster.next().answer(LOST)  # the verdict is never booked
        hand.returned.get(timeout=20)
        push.close()
        assert hand.ledger.recover(now=START) == 1
        recotap = Recotap(stored=Counter("a"))
        hand.run(hand.push(recotap))
        assert hand.row("a")["verdict"] == "duplicate"

    def test_the_present_attempt_does_not_count(self, desk, recotap):
        desk.book("a")
        recotap.stored["a"] = 1
        totals, _ = desk.sync()
        assert desk.row("a")["verdict"] == "foreign_duplicate"
        assert desk.row("a")["state"] == "delivered"
        assert totals.verdicts == {Verdict.FOREIGN_DUPLICATE: 1}

    @pytest.mark.parametrize("known", [
        [UNAUTHORIZED], [WRONG_URL], [throttled(), throttled()], [NO_CONNECTION, NO_CONNECTION], [HTML_400, HTML_400],
        [(413, {}, "")], [(400, {}, {"message": "Bad Request"})],
        [(200, {}, '{"data": {"results": [{"externalActivityId": "a", "status": "failed", "error": "boom"}]}}')],
    ])  # fmt: skip
    def test_an_earlier_attempt_that_stored_nothing_for_sure_does_not_count(self, desk, recotap, known):
        desk.book("a")
        recotap.script = list(known)
        desk.sync()
        recotap.stored["a"] = 1  # by somebody else
        later(desk)
        desk.sync()
        assert desk.row("a")["verdict"] == "foreign_duplicate"

    def test_an_unknown_outcome_is_remembered_through_known_ones(self, desk, recotap):
        desk.book("a")
        recotap.script = [AfterWork(LOST), UNAUTHORIZED]
        desk.sync()
        recotap.script = [throttled(), throttled()]
        desk.sync()
        desk.sync()
        assert desk.row("a")["verdict"] == "duplicate"

    def test_within_one_pass_the_earlier_post_counts_too(self, desk, recotap):
        names = desk.book_many(51)
        recotap.script = [AfterWork(LOST)]
        desk.sync()
        assert desk.verdicts() == {"created": 1, "duplicate": 50}
        delivered_once(desk, recotap, names)


class TestWithheld:
    def test_a_post_that_may_not_leave_ends_sending_and_blames_nothing(self, hand):
        push, (first, second, *_) = four_in_flight(hand)
        first.answer(BatchResult("withheld"))
        hand.settle(push)
        second.answer(all_created(second.ids))
        hand.settle(push)
        assert push.claim() == []
        with pytest.raises(LedgerHeld):
            push.send([])
        assert hand.states() == {"delivered": 100, "pending": 400}
        for name in first.ids:
            row = hand.row(name)
            assert (row["verdict"], row["unknown"], hand.attempts(name)) == (None, 0, ["under_way"])

    def test_it_is_logged_once_a_post(self, hand):
        hand.book("a", "b")
        push = hand.push()
        with capture_logs() as logged:
            push.pump()
            hand.poster.next().answer(BatchResult("withheld"))
            hand.settle(push)
        (line,) = [each for each in logged if each["event"] == "post.withheld"]
        assert (line["activities"], line["hint"].startswith("nothing: whoever holds the ledger sends it")) == (2, True)


class TestBugs:
    def test_a_bug_in_the_poster_does_not_hang_the_pass_and_leaves_the_outcome_unknown(self, desk):
        class Broken:
            def post(self, sent, **late):
                raise KeyError("kaya@amber-bolts.example")

            def probe(self):
                return self.post([])

        desk.book("a")
        push = desk.run(desk.push(Broken()))
        assert push.totals.posts == 1
        assert push.stop.message == "Recotap cannot be reached (a bug in the sender (KeyError))"
        row = desk.row("a")
        assert (row["verdict"], row["unknown"]) == ("unanswered", 1)

    def test_close_waits_for_the_threads(self, desk):
        before = set(threading.enumerate())
        desk.book_many(300)
        desk.run(desk.push())
        assert set(threading.enumerate()) <= before


class TestStandIn:
    """The same over real HTTP."""

    @pytest.fixture
    def box(self):
        with Sandbox() as box:
            yield box

    @pytest.fixture
    def desk(self, tmp_path, box):
        with (
            Sender(
                base_url=box.recotap_url, api_key=box.key, timeout_s=5.0, concurrency=4, now=lambda: START
            ) as sender,
            opened(tmp_path, sender) as desk,
        ):
            yield desk

    def book(self, desk, count):
        """Book activities that the stand-in's validation accepts."""
        names = [f"a-{number:04}" for number in range(count)]
        more = {"occurredAt": "2026-03-01T09:00:00Z", "domain": "amber-bolts.example", "ownerEmail": "ada@lf.example"}
        readings = [replace(_reading(name, **more), crm_id=name) for name in names]
        desk.ledger.book(desk.stream, [], readings, now=START)
        return names

    def stored(self, box):
        return Counter({name: times for name, (_, times) in box.recotap.stored.items()})

    def test_a_backlog_arrives(self, box, desk):
        names = self.book(desk, 320)
        totals, stop = desk.sync()
        assert (totals.posts, stop) == (7, None)
        assert self.stored(box) == Counter(names)
        assert desk.verdicts() == {"created": 320}

    @pytest.mark.parametrize(("style", "most"), [("nested", 2), ("flat", 2), ("opaque", 13), ("bare", 13)])
    def test_a_poison_costs_what_was_promised(self, box, desk, style, most):
        names = self.book(desk, 50)
        box.recotap.style = style
        box.recotap.rule("refuse", ids=[names[33]])
        desk.sync()
        assert len(box.recotap.posts) <= 1 + most
        assert self.stored(box) == Counter(names) - Counter([names[33]])

    @pytest.mark.parametrize("rule", ["store_then_drop", "store_then_error", "html"])
    def test_an_answer_lost_after_storing_doubles_nothing(self, box, desk, rule):
        names = self.book(desk, 120)
        box.recotap.rule(rule, count=1)
        assert desk.sync()[1] is None
        assert self.stored(box) == Counter(names)
        assert desk.verdicts() == {"created": 70, "duplicate": 50}

    def test_a_feller_among_200_is_isolated(self, box, desk):
        names = self.book(desk, 200)
        box.recotap.rule("error", ids=[names[100]])
        for _ in range(4):
            desk.sync()
        assert self.stored(box) == Counter(names) - Counter([names[100]])
        assert desk.row(names[100])["verdict"] == "suspect"

    def test_an_outage_costs_two_requests_and_the_next_pass_goes_on(self, box, desk):
        names = self.book(desk, 120)
        fault = box.recotap.faults.add("unavailable", count=None)
        assert desk.sync()[1].exit_code == Exit.UNAVAILABLE
        assert fault.hits == 2
        box.recotap.faults.clear()
        assert desk.sync()[1] is None
        assert self.stored(box) == Counter(names)

    def test_a_wrong_key_is_said_once(self, box, desk):
        self.book(desk, 120)
        box.recotap.set(keys=["another"])
        assert desk.sync()[1].exit_code == Exit.UNAUTHORIZED
        assert box.recotap.requests["post"] == 1


# -- whatever comes ---------------------------------------------------------------------------

NAMES = [f"n-{number}" for number in range(6)]
verdicts = st.sampled_from([
    ItemResult(Verdict.CREATED), ItemResult(Verdict.DUPLICATE), ItemResult(Verdict.FAILED, "boom"),
    ItemResult(Verdict.UNANSWERED, "?"),
])  # fmt: skip
orders: st.SearchStrategy[object] = st.one_of(
    st.none(),
    st.just(AfterWork(LOST)),
    st.sampled_from([DOWN, LOST, NO_CONNECTION, UNAUTHORIZED, WRONG_URL, HTML_400, throttled(), throttled(90)]),
    st.sampled_from([(413, {}, ""), (400, {}, "{}"), (400, {}, '{"message": "activities.0.domain"}'), (200, {}, "")]),
    st.sampled_from([(200, {}, '{"data": {"results": []}}'), (400, {}, '{"message": "activities.99.domain"}')]),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(orders, max_size=40), st.integers(1, 4), st.integers(0, 2**16))
def test_nothing_is_booked_as_delivered_that_recotap_does_not_hold(tmp_path_factory, script, concurrency, seed):
    recotap = Recotap(script=list(script))
    with opened(tmp_path_factory.mktemp("push"), recotap, concurrency=concurrency, seed=seed) as desk:
        names = desk.book_many(130)
        for _ in range(4):
            desk.sync()
            later(desk, HOUR)
            booked = {row["external_activity_id"] for row in desk.rows(
                "SELECT external_activity_id FROM activities WHERE state = 'delivered'")}  # fmt: skip
            assert booked <= set(recotap.stored)
        assert all(times == 1 for times in recotap.stored.values())
        assert recotap.most_in_flight <= concurrency
        assert desk.ledger.balanced()
        recotap.script.clear()  # fine weather: whatever was backed off comes due, and everything arrives
        for _ in range(4):
            later(desk)
            desk.sync()
        delivered_once(desk, recotap, names)
        assert "foreign_duplicate" not in desk.verdicts()


class Weather(Recotap):
    """A Recotap of bad days: answers lost, 500 before and after storing, 429, 400 without a word, resets."""

    def __init__(self, random: Random, badness: float) -> None:
        super().__init__()
        self.random, self.badness = random, badness
        self.when = self.order

    def order(self, number):
        if self.random.random() > self.badness:
            return None
        return self.random.choice([
            AfterWork(LOST), AfterWork((500, {}, "")), AfterWork((200, {}, "<html>")), DOWN, LOST, NO_CONNECTION,
            throttled(), throttled(3), (400, {}, {"message": "Bad Request"}), (502, {}, "<html>"), None,
        ])  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_through_weeks_of_bad_days_and_crashes_each_activity_is_delivered_once_or_given_up_for_cause(tmp_path, seed):
    random = Random(seed)
    recotap = Weather(random, badness=random.choice([0.1, 0.3, 0.6]))
    recotap.style = random.choice(["nested", "flat", "opaque"])
    with LedgerHandle(tmp_path / "ledger.db").open() as ledger:
        desk = SendingFixture(ledger, recotap, concurrency=random.choice([1, 2, 4]), seed=seed)
        names: list[str] = []
        special = random.sample(range(400), 40)
        for number in range(40):
            if number < 8:
                fresh = desk.book_many(50, f"p{number}", at=desk.clock.at - HOUR)
                names += fresh
                if number == 0:
                    recotap.stored.update(foreign := fresh[7:9])  # somebody else was here first
            if number == 7:
                hard = [names[n] for n in special if not recotap.stored[names[n]]]
                recotap.poison, recotap.skips = set(hard[:3]), set(hard[3:5])
                recotap.fails = dict.fromkeys(hard[5:8], "boom")
                recotap.omits = Counter(hard[8:12])
            if random.random() < 0.3:
                _crash(desk, random)
            desk.sync()
            desk.clock.at += timedelta(minutes=random.choice([5, 60, 600]))
            ledger.unpause(desk.clock.at)
        recotap.badness = 0.0
        for _ in range(60):
            desk.sync()
            desk.clock.at += timedelta(hours=6)
        states = {row["external_activity_id"]: row for row in desk.rows("SELECT * FROM activities")}
        assert len(states) == len(names) == 400
        assert ledger.balanced()
        assert all(times == 1 for times in recotap.stored.values())
        delivered = {name for name, row in states.items() if row["state"] == "delivered"}
        assert delivered == set(recotap.stored)
        others = set(names) - delivered
        assert others <= set(hard[:8])
        assert {states[name]["state"] for name in others} <= {"dead", "skipped"}
        foreigners = {name for name, row in states.items() if row["verdict"] == "foreign_duplicate"}
        assert foreigners <= set(foreign)


def _crash(desk: SendingFixture, random: Random) -> None:
    """Throw a pass away with POSTs in flight, as a kill would. Recotap may have received them or not."""
    push = desk.push()
    push.pump()
    for _ in range(random.randrange(4)):
        if not push.in_flight:
            break
        desk.settle(push)
        desk.clock.tick(push.wait_s())
        push.pump()
    push.close()
    while push.in_flight:
        desk.returned.get(timeout=20)
        push.in_flight -= 1
    desk.ledger.recover(now=desk.clock.at)
