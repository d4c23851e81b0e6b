"""Two processes share the lanes of a ledger, freeze and answer late. A model knows the owners and Recotap."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from syncd.errors import LedgerHeld
from syncd.ledger import AttemptResult
from syncd.lifecycle.states import Verdict
from tests.ledgers import ENGINES, MINUTE, WEEK, Ticking, ask, counted, half, kept, reading

SOURCES = ("a", "b")


class Part:
    """One taking of a lane: the process's ledger, and its POSTs without a verdict."""

    def __init__(self, taken):
        self.taken = taken
        self.opened = ExitStack()
        self.ledger = self.opened.enter_context(taken.ledger.open())
        self.posts = []  # (claim, the verdicts if it has arrived)


class Lanes:
    def __init__(self):
        from syncd.ledger import postgres_lease

        self.open = ExitStack()
        self.open.enter_context(pytest.MonkeyPatch.context()).setattr(postgres_lease, "RENEW_S", 3600)
        self.handle = ENGINES["postgres"](Path(tempfile.gettempdir()))
        self.clock = Ticking()
        self.replicas = [self.open.enter_context(self.handle.replica("run")) for _ in range(2)]
        self.replicas[0].enrol(SOURCES)
        self.parts = [{}, {}]  # source: what the process believes to hold
        self.owner = {}  # source: the part that took it last and has not released it
        self.sink, self.booked = set(), set()
        self.late = []  # POSTs of a process that has lost its lane
        for process in range(2):  # so that most of what follows has something to work on
            self.a_lane_is_taken(process)
            self.a_page_is_read(process, range(4))

    def close(self):
        for parts in self.parts:
            for part in parts.values():
                part.opened.close()
        self.open.close()

    def part(self, pick, wanted=lambda part: True):
        """Return one of the parts that are `wanted`, with its process. None if there is none."""
        for process in range(2):  # a process takes a lane whenever one is free
            self.a_lane_is_taken(process)
        found = [(process, part) for process in range(2) for part in self.parts[process].values() if wanted(part)]
        return found[pick % len(found)] if found else (None, None)

    def writes(self, process, part, write):
        """Write, if the part still owns its lane. Otherwise it must be refused, and the process drops the lane."""
        if self.owner.get(part.taken.source) is part:
            return write()
        with pytest.raises(LedgerHeld):
            write()
        self.drop(process, part)
        return None

    def drop(self, process, part):
        self.late += [post for post in part.posts if post[1] is None]
        part.opened.close()
        if self.parts[process].get(part.taken.source) is part:
            del self.parts[process][part.taken.source]

    def a_lane_is_taken(self, process):
        taken = self.replicas[process].take()
        if taken is None:
            return
        if old := self.parts[process].get(taken.source):
            self.drop(process, old)
        part = self.parts[process][taken.source] = self.owner[taken.source] = Part(taken)
        part.ledger.recover(now=self.clock())
        part.first_post = part.ledger.first_post()

    def a_page_is_read(self, pick, ids):
        process, part = self.part(pick)
        if part is None:
            return
        source, now = part.taken.source, self.clock.tick(MINUTE)
        flying = {each.external_activity_id for claim, _ in part.posts for each in claim.activities}
        readings = [reading(n, source=source, modified_at=now) for n in ids]
        readings = [each for each in readings if each.external_activity_id not in flying]  # the engine lets them land

        def write():
            part.ledger.book(part.ledger.stream_id(source, "calls"), [], readings, now=now)
            self.booked |= {each.external_activity_id for each in readings}

        self.writes(process, part, write)

    def activities_are_claimed(self, pick, limit):
        process, part = self.part(pick, lambda part: part.ledger.due(1, first_post=part.first_post, now=self.clock()))
        if part is None:
            return
        due = part.ledger.due(limit, first_post=part.first_post, now=self.clock())
        claim = self.writes(process, part, lambda: part.ledger.intend(due, now=self.clock()))
        if claim is not None and claim.activities:
            part.posts.append([claim, None])

    def a_post_arrives(self, pick):
        """Also that of a process which was frozen meanwhile: nothing can keep it back."""
        waiting = [post for parts in self.parts for part in parts.values() for post in part.posts if post[1] is None]
        waiting += self.late
        if waiting:
            post = waiting[pick % len(waiting)]
            self.late = [each for each in self.late if each is not post]
            self.arrive(post)

    def arrive(self, post):
        post[1] = []
        for each in post[0].activities:
            known = each.external_activity_id in self.sink
            verdict = (Verdict.DUPLICATE if each.unknown else Verdict.FOREIGN_DUPLICATE) if known else Verdict.CREATED
            post[1].append(AttemptResult(each.id, verdict))
            self.sink.add(each.external_activity_id)

    def a_post_ends(self, pick, arrives):
        """Recotap answers, or the time is over."""
        self.activities_are_claimed(pick, 1)
        process, part = self.part(pick, lambda part: part.posts)
        if part is None:
            return
        post = part.posts[0]
        if arrives and post[1] is None:
            self.arrive(post)
        results = post[1] or [AttemptResult(each.id, Verdict.UNANSWERED) for each in post[0].activities]
        self.settle(process, part, post, results)

    def settle(self, process, part, post, results):
        part.posts.remove(post)
        how = {"now": self.clock(), "max_age": WEEK, "random": half}
        self.writes(process, part, lambda: part.ledger.record_verdicts(post[0].post_id, results, **how))

    def a_lane_is_taken_over(self, source):
        """Its holder is frozen, or cannot reach PostgreSQL, and the other process looks for work."""
        self.end_lease(source)
        self.a_lane_is_taken(int(self.owner.get(source) is self.parts[0].get(source)))

    def end_lease(self, source):
        """Let the next process that looks take the lane. Until then its holder may write."""
        ask(
            self.handle,
            "UPDATE lanes SET until = clock_timestamp() - interval '1 s' WHERE source = ? RETURNING 1",
            source,
        )

    def a_lane_is_released(self, pick):
        process, part = self.part(pick, lambda part: not part.posts)
        if part is not None:
            part.taken.release(0.0)
            self.drop(process, part)
            if self.owner.get(part.taken.source) is part:
                del self.owner[part.taken.source]

    def an_operator_retries(self, state):
        with self.handle.operate() as operator:
            operator.retry((), state=state, reason=None, now=self.clock())

    def the_books_are_true(self):
        assert kept(self.handle) == counted(self.handle)
        with self.handle.read() as glance:
            assert glance.balanced()
        rows = dict(ask(self.handle, "SELECT external_activity_id, verdict FROM activities"))
        assert set(rows) == self.booked
        assert "foreign_duplicate" not in rows.values()
        held = dict(ask(self.handle, "SELECT source, token FROM lanes WHERE token IS NOT NULL"))
        assert held == {source: part.taken.ledger.lease.token for source, part in self.owner.items()}

    def finish(self):
        """One more process takes over everything: each activity is in Recotap once, and the ledger knows it."""
        ask(self.handle, "UPDATE lanes SET until = clock_timestamp() - interval '1 s' RETURNING 1")
        with self.handle.replica("run") as last:
            while (taken := last.take()) is not None:
                with taken.ledger.open() as ledger:
                    ledger.recover(now=self.clock())
                    first = ledger.first_post()
                    while due := ledger.due(50, first_post=first, now=self.clock.tick(WEEK)):
                        post = [ledger.intend(due, now=self.clock()), None]
                        self.arrive(post)
                        ledger.record_verdicts(
                            post[0].post_id, post[1], now=self.clock(), max_age=10 * WEEK, random=half
                        )
        rows = ask(self.handle, "SELECT external_activity_id, state, verdict FROM activities")
        assert {name for name, state, _ in rows if state == "delivered"} == self.booked == self.sink
        assert "foreign_duplicate" not in {verdict for *_, verdict in rows}
        assert ask(self.handle, "SELECT count(*) FROM posts WHERE members IS NOT NULL") == [(0,)]


NUMBER = st.integers(0, 10)
PROCESS, SOURCE = st.integers(0, 1), st.sampled_from(SOURCES)
STEPS = st.one_of(
    st.tuples(st.just("a_page_is_read"), NUMBER, st.lists(st.integers(0, 7), min_size=1, max_size=4, unique=True)),
    st.tuples(st.just("activities_are_claimed"), NUMBER, st.integers(1, 3)),
    st.tuples(st.just("a_post_arrives"), NUMBER),
    st.tuples(st.just("a_post_ends"), NUMBER, st.sampled_from([True, True, False])),
    st.tuples(st.just("a_lane_is_taken_over"), SOURCE),
    st.tuples(st.just("a_lane_is_taken_over"), SOURCE),
    st.tuples(st.just("end_lease"), SOURCE),
    st.tuples(st.just("a_lane_is_taken"), PROCESS),
    st.tuples(st.just("a_lane_is_released"), NUMBER),
    st.tuples(st.just("an_operator_retries"), st.sampled_from(["pending", "dead", None])),
)


@pytest.mark.skipif("postgres" not in ENGINES, reason="SYNCD_TEST_POSTGRES names no database")
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])
@given(steps=st.lists(STEPS, min_size=60, max_size=60))
def test_nothing_is_lost_or_doubled_and_nobody_writes_who_lost_the_lane(steps):
    lanes = Lanes()
    try:
        for name, *values in steps:
            getattr(lanes, name)(*values)
            lanes.the_books_are_true()
        lanes.finish()
    finally:
        lanes.close()
