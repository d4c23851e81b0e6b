"""What sending learns of Recotap: the size of batches, the item that crashes it, the text that a firewall refuses."""

import tracemalloc
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.connector import Ref
from syncd.errors import Exit
from syncd.ledger import RECOTAP, SENDING
from syncd.lifecycle.states import State
from syncd.passes import waiting
from syncd.passes.waiting import MOST_SUSPECTS
from syncd.recotap.responses import BatchResult
from tests import simulated
from tests.fake_recotap import (
    DOWN,
    LOST,
    NO_CONNECTION,
    START,
    AfterWork,
    ManualPoster,
    Recotap,
    opened,
)
from tests.simulated import SlowRecotap, simulate
from tests.test_dispatch import HOUR, HTML_400, _reading, later, sizes, throttled

WEEK = timedelta(days=7)


@pytest.fixture
def recotap() -> Recotap:
    return Recotap()


@pytest.fixture
def desk(tmp_path, recotap):
    with opened(tmp_path, recotap) as desk:
        yield desk


class OnlyPosts(Recotap):
    """A Recotap that answers its smallest request whatever becomes of POSTs."""

    def probe(self) -> BatchResult:
        self.looks += 1
        return BatchResult("answered")


def kept(desk):
    return desk.ledger.store(RECOTAP)[SENDING][0]


class TestBatchSize:
    def test_a_server_too_slow_for_fifty_gets_halves_and_a_backlog_of_20_000_takes_no_working_day(self, tmp_path):
        """The ideal is 1.44 h: 800 POSTs of 26 s, four at a time. Full batches that are halved each took 10 h."""
        found = simulated.main(tmp_path, 4_000)
        assert found["states"] == Counter({"delivered": 4_000})
        assert found["hours"] < 0.4
        assert found["timed_out"] <= 8
        assert found["most_waiting"] <= 8 * 50

    def test_the_next_pass_begins_with_the_size_that_the_last_one_found(self, tmp_path, recotap):
        recotap.most_in_time = 25
        with opened(tmp_path, recotap, concurrency=1) as desk:
            desk.book_many(200)
            desk.sync()
            assert kept(desk)["batch"] == 25
            recotap.posts.clear()
            desk.book_many(60, "b")
            desk.sync()
            assert sizes(recotap) == [25, 25, 10]

    def test_a_pass_that_is_killed_has_kept_the_size(self, tmp_path, recotap):
        recotap.most_in_time = 25
        with opened(tmp_path, recotap, concurrency=1) as desk:
            desk.book_many(200)
            push = desk.push()
            while kept_size(desk) == 50:
                push.pump()
                desk.settle(push)
                desk.clock.tick(push.wait_s())
            assert kept_size(desk) == 25
            push.close()

    def test_once_the_server_is_fast_again_the_batches_grow_in_the_same_pass(self, tmp_path):
        recotap = SlowRecotap(base_s=1.0, per_item_s=4.0)  # 7 at most
        with opened(tmp_path, ManualPoster(), concurrency=2) as desk:
            desk.book_many(4_000)

            def watch(push):
                if push.totals.posts > 100:
                    recotap.per_item_s = 0.01

            push = simulate(desk, recotap, watch=watch)
            assert push.stop is None
            assert desk.states() == {"delivered": 4_000}
            assert kept(desk)["batch"] == 50
            assert recotap.sizes[50] > 10

    def test_a_larger_try_that_fails_opens_no_circuit_and_its_activities_arrive(self, tmp_path):
        recotap = SlowRecotap(base_s=1.0, per_item_s=1.0)
        with opened(tmp_path, ManualPoster()) as desk:
            desk.book_many(2_000)
            push = simulate(desk, recotap)
            assert push.stop is None
            assert desk.states() == {"delivered": 2_000}
        assert recotap.sizes[50] > 1, "it was tried"
        assert recotap.sizes[1] == 1, "one probe, after the first time-out"

    def test_an_outage_that_ends_in_the_pass_leaves_full_batches_once_enough_got_through(self, tmp_path, recotap):
        recotap.script = [None, DOWN]
        with opened(tmp_path, recotap, concurrency=1) as desk:
            desk.book_many(1_000)
            assert desk.sync()[1] is None
            assert kept(desk)["batch"] == 50
        assert recotap.statuses.count(503) == 1

    def test_a_rest_that_is_no_larger_than_a_batch_is_no_trial_and_its_failure_is_an_outage(self, tmp_path, recotap):
        recotap.when = lambda number: DOWN if number > 10 else None
        with opened(tmp_path, recotap, concurrency=1) as desk:
            desk.ledger.keep(RECOTAP, {SENDING: {"batch": 5}}, START)
            desk.book_many(53)
            totals, stop = desk.sync()
        assert (totals.posts, stop.exit_code) == (11, Exit.UNAVAILABLE)

    def test_a_trial_that_is_too_large_is_a_failed_one_and_none_of_its_activities_suffers(self, tmp_path, recotap):
        recotap.most = 25
        with opened(tmp_path, recotap, concurrency=1) as desk:
            desk.ledger.keep(RECOTAP, {SENDING: {"batch": 25}}, START)
            desk.book_many(400)
            assert desk.sync()[1] is None
            assert desk.states() == {"delivered": 400}
            assert (kept(desk)["batch"], kept(desk)["grow_after"]) == (25, 20)
        assert recotap.statuses.count(413) == 1

    def test_a_trial_that_nothing_was_left_for_comes_later_in_the_same_pass(self, tmp_path, recotap):
        with opened(tmp_path, recotap, concurrency=1) as desk:
            desk.ledger.keep(RECOTAP, {SENDING: {"batch": 5}}, START)
            desk.book_many(50)
            push = desk.push()
            while desk.states()["delivered"] < 50:
                push.pump()
                desk.settle(push)
            push.pump()
            desk.book_many(70, "later")
            desk.run(push)
            assert kept(desk)["batch"] == 10
        assert 10 in sizes(recotap)


def kept_size(desk):
    return desk.ledger.store(RECOTAP).get(SENDING, ({}, None))[0].get("batch", 50)


class TestMemory:
    def test_the_activities_that_wait_are_bounded_whatever_the_backlog(self, tmp_path, recotap, monkeypatch):
        monkeypatch.setattr(waiting, "MOST_SUSPECTS", 100)
        most = 0
        with opened(tmp_path, recotap) as desk:
            names = desk.book_many(900)
            push = desk.push()
            recotap.watch = lambda ids: None
            recotap.when = lambda number: HTML_400 if len(recotap.posts[-1]) > 1 else None  # fails, but not by size
            while not push.idle or push.in_flight:
                push.pump()
                most = max(most, len(push._waiting))
                if push.in_flight:
                    desk.settle(push)
                else:
                    desk.clock.tick(push.wait_s())
            push.close()
            assert recotap.stored == Counter(names)
        assert 100 <= most <= 100 + 4 * 50

    def test_the_bound_is_a_few_batches(self):
        assert MOST_SUSPECTS <= 1000

    def test_no_payload_of_what_waits_is_in_memory(self, tmp_path, recotap):
        body = "x" * 100_000
        with opened(tmp_path, recotap, concurrency=1) as desk:
            names = [f"a-{number:04}" for number in range(500)]
            for first in range(0, 500, 50):
                readings = [replace(_reading(name, note=body), crm_id=name) for name in names[first : first + 50]]
                desk.ledger.book(desk.stream, [Ref(r.crm_id, START) for r in readings], readings, now=START)
            recotap.when = lambda number: HTML_400 if len(recotap.posts[-1]) > 1 else None
            push = desk.push()
            tracemalloc.start()
            while len(push._waiting) < 400:
                push.pump()
                desk.settle(push)
                desk.clock.tick(push.wait_s())
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            push.close()
        assert peak < 20_000_000, "one batch of 5 MB is in flight, and 40 MB wait"


class TestCrash:
    """One activity makes the server fail whenever it is in the body."""

    @pytest.mark.parametrize("seed", range(8))
    @pytest.mark.parametrize("at", [0, 7, 19])
    def test_one_of_twenty_is_blamed_in_the_pass_that_delivers_all_others(self, tmp_path, recotap, seed, at):
        with opened(tmp_path, recotap, seed=seed) as desk:
            names = desk.book_many(20)
            recotap.fells = {names[at]}
            totals, stop = desk.sync()
            assert stop is None
            assert (totals.silent, desk.states()) == (0, {"delivered": 19, "pending": 1})
            row = desk.row(names[at])
            assert (row["verdict"], row["refusals"]) == ("suspect", 1)
            assert kept(desk)["batch"] == 50, "the size was not the cause"
            assert desk.sync()[0].posts == 0, "it backs off"

    def test_it_is_dead_after_max_age_and_no_pass_fails_meanwhile(self, desk, recotap):
        names = desk.book_many(20)
        recotap.fells = {names[3]}
        died = 0
        while desk.clock.at < START + WEEK + 7 * HOUR:
            totals, stop = desk.sync()
            assert stop is None
            assert totals.posts <= 20
            died += totals.died
            later(desk, HOUR)
        row = desk.row(names[3])
        assert (row["state"], row["reason"], died) == ("dead", "suspect", 1)

    @pytest.mark.parametrize("outage", [DOWN, LOST, NO_CONNECTION])
    @pytest.mark.parametrize("fault", ["fells", "poison", "blocks", "too_large"])
    def test_in_an_outage_one_to_blame_is_not_sent_and_not_blamed_and_the_pass_fails(
        self, desk, recotap, outage, fault
    ):
        names = desk.book_many(20)
        setattr(recotap, fault, {names[3]})
        desk.sync()
        before = desk.row(names[3])
        later(desk)
        recotap.posts.clear()
        recotap.when = lambda number: outage
        assert desk.sync()[1].exit_code == Exit.UNAVAILABLE
        assert recotap.posts == []
        assert desk.row(names[3]) == before

    @pytest.mark.parametrize("count", [1, 2, 20, 50])
    def test_if_no_post_gets_through_none_is_blamed_even_if_the_smallest_request_is_answered(self, tmp_path, count):
        recotap = OnlyPosts(when=lambda number: DOWN)
        with opened(tmp_path, recotap) as desk:
            desk.book_many(count)
            for _ in range(3):
                totals, stop = desk.sync()
                assert stop.exit_code == Exit.UNAVAILABLE
                assert totals.posts <= 3, "the batch and two probes"
                later(desk)
            assert {row["refusals"] for row in desk.rows("SELECT refusals FROM activities")} == {0}

    def test_a_refused_key_found_by_the_look_before_a_suspect_is_told(self, desk, recotap):
        names = desk.book_many(20)
        recotap.fells = {names[3]}
        desk.sync()
        later(desk)
        recotap.when = lambda number: (401, {}, {"statusCode": 401, "message": "Invalid API key"})
        assert desk.sync()[1].exit_code == Exit.UNAUTHORIZED

    def test_a_crash_of_one_among_slow_batches_is_found_all_the_same(self, tmp_path, recotap):
        recotap.most_in_time = 12
        with opened(tmp_path, recotap) as desk:
            names = desk.book_many(300)
            recotap.fells = {names[150]}
            for _ in range(3):
                desk.sync()
                later(desk, 7 * HOUR)
            assert recotap.stored == Counter(names) - Counter([names[150]])
            assert desk.row(names[150])["verdict"] == "suspect"


class TestFirewall:
    """A 403 that is not Recotap's, while a probe finds that the key is accepted."""

    @pytest.mark.parametrize("at", [0, 24, 25, 49])
    def test_one_text_is_refused_alone_and_49_are_delivered_in_the_same_pass(self, desk, recotap, at):
        names = desk.book_many(50)
        recotap.blocks = {names[at]}
        totals, stop = desk.sync()
        assert stop is None
        assert totals.posts <= 1 + 13
        assert recotap.stored == Counter(names) - Counter([names[at]])
        row = desk.row(names[at])
        assert (row["state"], row["verdict"], row["refusals"]) == ("pending", "refused", 1)
        assert "firewall" in row["detail"]

    def test_later_passes_succeed_with_it_alone_and_it_dies_as_refused(self, desk, recotap):
        names = desk.book_many(50)
        recotap.blocks = {names[7]}
        while desk.clock.at < START + WEEK + 7 * HOUR:
            assert desk.sync()[1] is None
            later(desk, 6 * HOUR)
        assert (desk.row(names[7])["state"], desk.row(names[7])["reason"]) == ("dead", "refused")

    @pytest.mark.parametrize("count", [1, 5, 50, 400])
    def test_if_nothing_gets_through_no_text_is_to_blame_and_the_pass_fails(self, desk, recotap, count):
        names = desk.book_many(count)
        recotap.blocks = set(names)
        totals, stop = desk.sync()
        assert stop.exit_code == Exit.UNAVAILABLE
        assert "firewall" in stop.hint
        assert totals.posts <= 104
        assert {row["refusals"] for row in desk.rows("SELECT refusals FROM activities")} == {0}
        recotap.blocks = set()
        assert desk.sync()[1] is None
        assert recotap.stored == Counter(names)

    def test_many_texts_among_others_are_each_refused_alone(self, desk, recotap):
        names = desk.book_many(200)
        recotap.blocks = {names[n] for n in (0, 1, 2, 49, 50, 120, 199)}
        for _ in range(2):
            assert desk.sync()[1] is None
        assert recotap.stored == Counter(names) - Counter(recotap.blocks)
        assert desk.verdicts("pending") == {"refused": 7}


class TestSilence:
    """The number of activities without a readable answer, which the pass reports."""

    def test_what_was_lost_and_then_delivered_is_not_silent(self, desk, recotap):
        desk.book_many(120)
        recotap.script = [AfterWork(LOST)]
        totals, _ = desk.sync()
        assert (totals.silent, totals.verdicts["unanswered"]) == (0, 50)

    def test_what_an_answer_does_not_name_is_silent(self, desk, recotap):
        names = desk.book_many(10)
        recotap.omits = Counter(names[:3])
        assert desk.sync()[0].silent == 3

    def test_what_is_left_of_an_outage_is_silent(self, desk, recotap):
        desk.book_many(120)
        recotap.when = lambda number: LOST
        assert desk.sync()[0].silent == 51

    def test_what_leaves_pending_while_it_waits_is_not_silent_any_more(self, tmp_path, recotap):
        with opened(tmp_path, recotap, concurrency=1) as desk:
            desk.book("a", "b")
            recotap.script = [LOST]
            push = desk.push()
            push.pump()
            desk.settle(push)
            for name in "ab":
                gone = replace(_reading(name), wanted=State.EXCLUDED, reason="internal", payload=None)
                desk.ledger.book(desk.stream, [Ref(name, START)], [gone], now=START)
            desk.run(push)
            assert push.totals.silent == 0


# -- whatever comes ---------------------------------------------------------------------------

outages = st.sampled_from([
    None, DOWN, LOST, NO_CONNECTION, AfterWork(LOST), AfterWork((500, {}, "")), throttled(), throttled(3), HTML_400,
    (413, {}, ""), (403, {}, "<html>"), (400, {}, {"message": "Bad Request"}),
])  # fmt: skip
odd = st.lists(st.integers(0, 119), max_size=4, unique=True)


@settings(max_examples=18, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([50, 25, 7, 1]), st.sampled_from(["nested", "flat", "opaque"]), odd, odd, odd,
    st.lists(outages, max_size=25), st.integers(1, 4), st.integers(0, 2**16),
)  # fmt: skip
def test_the_healthy_are_delivered_once_and_each_poisoned_one_is_blamed(
    tmp_path_factory, most, style, crashing, blocked, refused, script, concurrency, seed
):
    recotap = Recotap(script=list(script), style=style, most_in_time=most)
    with opened(tmp_path_factory.mktemp("push"), recotap, concurrency=concurrency, seed=seed) as desk:
        names = desk.book_many(120)
        recotap.fells, recotap.blocks = {names[n] for n in crashing}, {names[n] for n in blocked}
        recotap.poison = {names[n] for n in refused}
        poisoned = recotap.fells | recotap.blocks | recotap.poison
        waiting_most = 0
        for number in range(12):
            desk.book_many(1, f"fresh{number}")  # proves in each pass that others get through
            before = Counter(name for ids in recotap.posts for name in ids)
            push = desk.run(desk.push())
            waiting_most = max(waiting_most, len(push._waiting))
            sent = Counter(name for ids in recotap.posts for name in ids) - before
            assert max(sent.values()) <= 24, "in one pass: splits, a probe, and what an outage repeats"
            assert desk.ledger.balanced()
            later(desk, 7 * HOUR)
            desk.ledger.unpause(desk.clock.at)
        rows = {row["external_activity_id"]: row for row in desk.rows("SELECT * FROM activities")}
        healthy = set(rows) - poisoned
        assert {name for name in healthy if rows[name]["state"] != "delivered"} == set()
        assert recotap.stored == Counter(healthy), "nothing is doubled, and nothing poisoned is stored"
        assert {rows[name]["verdict"] for name in poisoned} <= {"suspect", "refused"}
        assert all(rows[name]["refusals"] > 0 for name in poisoned)
        assert desk.sync()[1] is None, "and they alarm nobody"


@pytest.mark.parametrize("seed", range(6))
def test_random_weather_never_blames_the_healthy_for_good(tmp_path, seed):
    random = Random(seed)
    recotap = Recotap(most_in_time=random.choice([50, 20]))
    with opened(tmp_path, recotap, seed=seed) as desk:
        names = desk.book_many(300)
        recotap.when = lambda number: random.choice([None, None, DOWN, AfterWork(LOST), NO_CONNECTION])
        for _ in range(6):
            desk.sync()
            later(desk, HOUR)
        recotap.when = lambda number: None
        for _ in range(4):
            desk.sync()
            later(desk, 7 * HOUR)
        assert recotap.stored == Counter(names)
        assert desk.states() == {"delivered": 300}
