"""Lanes that share a Recotap key send no more at once than one lane may, and a pause of one stops them all."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import Any

import pytest

from syncd import clock
from syncd.errors import Exit, LedgerHeld
from syncd.ledger.key_sharing import POLL_MOST_S, POLL_S, Standing, admission
from syncd.lifecycle.states import Verdict
from syncd.passes.dispatch import Push
from syncd.recotap.sender import Sender
from syncd.sandbox import Sandbox
from tests.ledgers import NOW, URL, WEEK, ask, due, in_postgres, judge, reading, stranger

LANES = 20
ALONE = Standing()
ACCEPTED: dict[str, Any] = {
    "activityType": "call",
    "occurredAt": "2026-05-31T09:00:00Z", "domain": "amber-bolts.example", "ownerEmail": "ada@lanternfield.example",
    "contacts": [{"email": "kaya@amber-bolts.example", "name": "Kaya Ivorstone"}],
}  # fmt: skip


# -- the decision ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("standing", "room"),
    [
        (ALONE, 4),
        (Standing(open_posts=3), 1),
        (Standing(open_posts=4), 0),
        (Standing(open_posts=9), 0),
        (Standing(others=1), 1),
        (Standing(open_posts=2, ahead=1, others=3), 1),
        (Standing(open_posts=2, ahead=2, others=3), 0),
        (Standing(ahead=4, others=4), 0),
        (Standing(is_failing=True), 1),
        (Standing(is_failing=True, open_posts=1), 0),
        (Standing(is_failing=True, ahead=1, others=1), 0),
        (Standing(closed_s=0.1), 0),
        (Standing(pause=(NOW, "HTTP 429")), 0),
    ],
)
def test_a_lane_gets_the_room_that_others_leave(standing: Standing, room: int) -> None:
    assert admission(standing, 4).room == room


def test_the_room_of_all_lanes_together_is_never_more_than_there_is() -> None:
    """Whatever waits: each lane in turn takes what it gets, as the lock lets one decide at a time."""
    random = Random(1)
    for _ in range(500):
        most, open_posts, queue = random.randint(1, 8), random.randint(0, 4), random.randint(0, 6)
        failing = random.random() < 0.3
        for place in random.sample(range(queue + 1), queue + 1):
            found = Standing(open_posts, ahead=place, others=queue, is_failing=failing)
            open_posts += (room := admission(found, most).room)
            assert not room or open_posts <= (1 if failing else most)


def test_a_lane_asks_the_later_the_more_lanes_are_ahead() -> None:
    waits = [admission(Standing(open_posts=4, ahead=ahead, others=ahead), 4).wait_s for ahead in range(20)]
    assert waits[0] == POLL_S
    assert waits == sorted(waits)
    assert waits[-1] == POLL_MOST_S
    assert admission(Standing(closed_s=7.5), 4).wait_s == 7.5


# -- twenty lanes on one key ----------------------------------------------------------------


class Lane:
    """One lane that a replica has taken, and that sends as a pass does, over a connection of its own."""

    def __init__(self, handle: Any, source: str, opened: ExitStack, box: Sandbox) -> None:
        self.handle = handle
        self.source = source
        self.ledger = opened.enter_context(handle.open())
        self.stream = self.ledger.stream_id(source, "calls")
        self.names: list[str] = []
        self._sender = opened.enter_context(
            Sender(
                base_url=box.recotap_url, api_key=box.key, timeout_s=5.0, concurrency=4, now=clock.now,
                may_leave=handle.is_trusted,
            )
        )  # fmt: skip
        self._returned: SimpleQueue[Any] = SimpleQueue()
        self._woken = threading.Event()

    def book(self, count: int) -> None:
        """Book activities that the sandbox accepts."""
        self.names = [f"{self.source}-call-{number}" for number in range(count)]
        readings = [
            replace(
                reading(number), external_activity_id=name, payload=json.dumps({"externalActivityId": name, **ACCEPTED})
            )
            for number, name in enumerate(self.names)
        ]
        self.ledger.book(self.stream, [], readings, now=clock.now())

    def begin(self) -> Push:
        """Begin the sending of a pass."""
        return Push(
            self.ledger, self._sender, concurrency=4, max_age=WEEK, now=clock.now, monotonic=time.monotonic,
            answered=self._answered,
        )  # fmt: skip

    def _answered(self, returned: Any) -> None:
        self._returned.put(returned)
        self._woken.set()

    def run(self) -> Push:
        """Send until nothing is left to send in this pass, as the engine does."""
        push = self.begin()
        try:
            while not push.idle:
                self._woken.clear()
                with self.ledger.transaction() if not self._returned.empty() else nullcontext():
                    while not self._returned.empty():
                        push.settle(self._returned.get())
                    jobs = push.claim()
                push.send(jobs)
                self._woken.wait(min(push.wait_s() or 0.5, 0.5))
        finally:
            push.close()
        return push


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


@pytest.fixture
def handle(tmp_path: Path) -> Any:
    if not URL:
        pytest.skip("SYNCD_TEST_POSTGRES names no database")
    return in_postgres(tmp_path)


@pytest.fixture
def lanes(handle: Any, box: Sandbox) -> Iterator[list[Lane]]:
    """Twenty lanes of one ledger on one key."""
    with ExitStack() as opened:
        replica = opened.enter_context(handle.replica("run"))
        replica.enrol([f"org{number:02}" for number in range(LANES)])
        taken = [replica.take() for _ in range(LANES)]
        yield [Lane(each.ledger, each.source, opened, box) for each in sorted(taken, key=lambda each: each.source)]


def test_one_lane_decides_at_a_time_and_sees_what_the_one_before_it_has_booked(lanes: list[Lane]) -> None:
    one, other = lanes[:2]
    for lane in (one, other):
        lane.book(2)

    def room(lane: Lane, booked: threading.Event, may_end: threading.Event) -> int:
        with lane.ledger.transaction():
            found = lane.ledger.admit(1, timeout_s=5.0, now=clock.now())
            if found.room:
                lane.ledger.intend(due(lane.ledger, limit=1), now=clock.now())
            booked.set()
            assert may_end.wait(10)
        return int(found.room)

    booked, may_end, over = threading.Event(), threading.Event(), threading.Event()
    over.set()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(room, one, booked, may_end)
        assert booked.wait(10)
        second = pool.submit(room, other, threading.Event(), over)
        time.sleep(0.1)
        assert not second.done()
        may_end.set()
        assert (first.result(), second.result()) == (1, 0)


def test_a_lane_that_asks_no_more_keeps_no_place_and_a_post_past_its_deadline_no_room(lanes: list[Lane]) -> None:
    one, other, last = lanes[:3]
    for lane in lanes[:3]:
        lane.book(2)

    def asks(lane: Lane) -> int:
        with lane.ledger.transaction():
            return int(lane.ledger.admit(1, timeout_s=5.0, now=clock.now()).room)

    with one.ledger.transaction():
        assert asks(one) == 1
        one.ledger.intend(due(one.ledger), now=clock.now())
    assert (asks(other), asks(last)) == (0, 0)
    with stranger(one.handle) as db:
        db.execute("UPDATE posts SET over_at = clock_timestamp()")
        assert asks(last) == 0, "the other one asked first"
        db.execute("UPDATE key_queue SET until = clock_timestamp() WHERE token = ?", [other.handle.lease.token])
        assert asks(last) == 1
    assert ask(one.handle, "SELECT * FROM key_queue") == []


def expire(lane: Lane) -> None:
    """Let the lease of a lane end, as if its holder stood still."""
    with stranger(lane.handle) as db:
        db.execute("UPDATE lanes SET until = clock_timestamp() WHERE source = ?", [lane.source])


def test_a_holder_that_stood_still_lets_no_post_leave_and_the_next_one_waits_for_those_that_left(
    handle: Any, box: Sandbox
) -> None:
    with ExitStack() as opened:
        replica = opened.enter_context(handle.replica("run"))
        replica.enrol(["org"])

        def take() -> Lane:
            return Lane(replica.take().ledger, "org", opened, box)

        old = take()
        old.book(60)
        push = old.begin()
        jobs = push.claim()
        assert [len(job.activities) for job in jobs] == [50]
        old.handle.lease.lose()  # it stood still for longer than it may trust its lease
        push.send(jobs)
        push.settle(old._returned.get(timeout=20))
        with pytest.raises(LedgerHeld):
            push.send([])
        push.close()
        assert not box.recotap.received
        assert ask(handle, "SELECT count(*), sum(unknown) FROM activities WHERE verdict IS NULL") == [(60, 0)]

        for crashed in (50, 0):  # the second time, another holder takes it over before the time is up
            expire(old)
            new = take()
            now = clock.now()
            assert new.ledger.recover(now=now) == crashed
            first = new.ledger.first_post()
            assert len(new.ledger.due(50, first_post=first, now=now)) == 10
            assert new.ledger.count_due(100, first_post=first, now=now) == 10
            assert new.ledger.next_send_at() < now
        new.names = old.names
        assert new.run().totals.verdicts == {Verdict.CREATED: 10}
        assert new.begin().idle
        after_s = (new.ledger.next_send_at() - now).total_seconds()
        assert 5 < after_s < 7 + 1
        with handle.reports() as reports:
            held = reports.explain(old.names[0])
        assert clock.instant(held["next_attempt_at"]) == new.ledger.next_send_at()
        assert [each["verdict"] for each in held["attempts"]] == ["crashed"]
        with stranger(handle) as db:
            db.execute("UPDATE held_back SET until = clock_timestamp()")
        assert new.ledger.next_send_at() < now
        assert new.run().totals.verdicts == {Verdict.CREATED: 50}
        assert delivered_once(box, [new])


def test_what_a_holder_has_seen_the_end_of_is_held_back_by_nobody(handle: Any, box: Sandbox) -> None:
    with ExitStack() as opened:
        replica = opened.enter_context(handle.replica("run"))
        replica.enrol(["org"])
        old = Lane(replica.take().ledger, "org", opened, box)
        old.book(20)

        def claim(count: int) -> None:
            with old.ledger.transaction():
                old.ledger.admit(4, timeout_s=5.0, now=clock.now())
                old.ledger.intend(due(old.ledger, limit=count), now=clock.now())

        claim(5)
        assert old.ledger.recover(now=clock.now()) == 5, "its own: its threads are over"
        assert ask(handle, "SELECT * FROM held_back") == []
        claim(5)
        old.ledger.end_posts()
        claim(4)
        expire(old)
        new = Lane(replica.take().ledger, "org", opened, box)
        assert new.ledger.recover(now=clock.now()) == 9
        held = {row[0] for row in ask(handle, "SELECT activity_id FROM held_back")}
        assert len(held) == 4


def test_the_end_of_a_pass_leaves_the_payloads_of_other_lanes_alone(handle: Any, lanes: list[Lane]) -> None:
    """A payload that another lane books meanwhile would be deleted with the table."""
    one, other = lanes[:2]
    one.book(2)
    pass_id = one.ledger.begin_pass(clock.now())
    claim = one.ledger.intend(due(one.ledger), now=clock.now())
    assert judge(one.ledger, claim, Verdict.CREATED) == 0
    with one.ledger._db.tracer(lambda *_: other.book(len(other.names) + 1)):
        one.ledger.end_pass(pass_id, exit_code=0, now=clock.now())
    assert len(other.names) > 1
    (left,) = ask(handle, "SELECT count(*) FROM payloads JOIN activities ON id = activity_id WHERE state = 'pending'")
    assert left == (len(other.names) + 1,)


def all_at_once(lanes: list[Lane]) -> list[Push]:
    with ThreadPoolExecutor(len(lanes)) as pool:
        return list(pool.map(Lane.run, lanes))


def delivered_once(box: Sandbox, lanes: list[Lane]) -> bool:
    return Counter(box.recotap.received) == Counter(name for lane in lanes for name in lane.names)


def test_no_more_posts_are_in_flight_than_one_lane_may_have_and_a_long_backlog_starves_nobody(
    box: Sandbox, lanes: list[Lane]
) -> None:
    box.recotap.latency_s = 0.1
    for lane in lanes:
        lane.book(10)
    lanes[0].book(900)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lanes[0].run)
        while len(box.recotap.traffic.arrivals) < 3:
            time.sleep(0.01)
        pushes = all_at_once(lanes[1:])
    assert [push.stop for push in (first.result(), *pushes)] == [None] * LANES
    assert delivered_once(box, lanes)
    assert 1 < box.recotap.traffic.most_in_flight() <= 4
    is_long = [arrival.ids[0].startswith("org00") for arrival in box.recotap.traffic.arrivals]
    assert is_long.count(True) == 18
    assert is_long[: is_long.index(False) + 18].count(True) < 12, "the others came in between"


def test_a_429_that_one_lane_meets_stops_all_within_one_post_each(box: Sandbox, lanes: list[Lane]) -> None:
    box.recotap.latency_s = 0.05
    for lane in lanes:
        lane.book(100)
    box.recotap.faults.add("answer", method="POST", status=429, headers={"Retry-After": "3"}, skip=8)
    pushes = all_at_once(lanes)
    assert [push.stop for push in pushes] == [None] * LANES
    arrivals = [*box.recotap.traffic.arrivals]
    began = arrivals[8].at_ms
    while_closed = [arrival for arrival in arrivals if began < arrival.at_ms < began + 3000]
    by_lane = Counter(arrival.ids[0].partition("-")[0] for arrival in while_closed)
    assert max(by_lane.values(), default=0) <= 1, "what was in flight, or booked before the 429 was"
    probe = next(arrival for arrival in arrivals if arrival.at_ms >= began + 3000)
    assert probe.in_flight == 1
    assert box.recotap.traffic.most_in_flight() <= 4
    assert {*box.recotap.stored} == {name for lane in lanes for name in lane.names}
    assert box.recotap.doubled == 0


def test_a_long_pause_that_one_lane_is_asked_for_holds_all_until_it_is_lifted(box: Sandbox, lanes: list[Lane]) -> None:
    box.recotap.latency_s = 0.2
    for lane in lanes:
        lane.book(20)
    box.recotap.faults.add("answer", method="POST", status=429, headers={"Retry-After": "3600"}, skip=2)
    pushes = all_at_once(lanes)
    stops = [push.stop for push in pushes if push.stop]
    assert len(stops) >= 4
    assert sorted({stop.message.partition(" until")[0] for stop in stops}) == [
        "Recotap asks for a pause (HTTP 429)", "Recotap pauses",
    ]  # fmt: skip
    assert len(box.recotap.traffic.arrivals) <= LANES - 4
    with lanes[0].handle.reports() as reports:
        (name,) = reports.status(version="", now=clock.now())["pauses"]
    with replace(lanes[0].handle, lease=None).operate() as operator:
        assert list(operator.resume(name, now=clock.now())) == [name]
    (left_s,) = ask(lanes[0].handle, "SELECT extract(epoch FROM closed_until - clock_timestamp())::float FROM recotap")
    assert left_s[0] < 2
    assert [push.stop for push in all_at_once(lanes)] == [None] * LANES
    assert {*box.recotap.stored} == {name for lane in lanes for name in lane.names}


def test_one_post_that_fails_after_an_outage_does_not_end_the_pass(box: Sandbox, lanes: list[Lane]) -> None:
    """Otherwise a poison message, or two, could hold up all others for ever."""
    one = lanes[0]
    one.book(120)
    box.recotap.faults.add("unavailable", method="POST", count=2)
    stop = one.run().stop
    assert stop
    assert stop.exit_code == Exit.UNAVAILABLE
    box.recotap.faults.add("unavailable", method="POST")
    assert one.run().stop is None
    assert {*box.recotap.stored} == {*one.names}
    assert ask(one.handle, "SELECT failing, closed_until, cause FROM recotap") == [(False, None, None)]


def test_an_outage_costs_all_lanes_the_posts_in_flight_and_one_probe(box: Sandbox, lanes: list[Lane]) -> None:
    for lane in lanes:
        lane.book(60)
    box.recotap.faults.add("unavailable", method="POST", count=None)
    pushes = all_at_once(lanes)
    stops = [push.stop for push in pushes]
    assert all(stop and stop.exit_code == Exit.UNAVAILABLE for stop in stops)
    assert all(stop and stop.message.startswith("Recotap cannot be reached (HTTP 503") for stop in stops)
    assert len(box.recotap.traffic.arrivals) <= 4 + 1
    box.recotap.forget()
    assert all(push.stop for push in all_at_once(lanes[:4])), "it lasts"
    assert len(box.recotap.traffic.arrivals) <= 2 * 4
    box.recotap.faults.clear()
    again = all_at_once(lanes)
    assert [push.stop for push in again] == [None] * LANES
    assert {*box.recotap.stored} == {name for lane in lanes for name in lane.names}
    assert box.recotap.doubled == 0
