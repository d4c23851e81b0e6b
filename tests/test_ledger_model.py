"""Whatever happens to the ledger in whatever order, the books stay true: a model runs beside it and compares."""

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from syncd.ledger import AttemptResult
from syncd.lifecycle.states import MEANINGS, MOVES, State, Verdict
from tests.ledgers import ENGINES, MINUTE, WEEK, Ticking, ask, book, counted, crm_ids, half, kept, names, ref
from tests.ledgers import reading as look

IDS = st.integers(0, 7)
LOOKS = st.tuples(IDS, st.sampled_from(["pending", "pending", "incomplete", "excluded", "dead"]), st.integers(0, 2))
BAD = dict.fromkeys(("incomplete", "excluded", "dead"), "detail") | {"pending": "payload"}  # a surrogate stands here
ROWS = """
    SELECT crm_id, state, verdict, next_attempt_at, waiting_since, unknown, body IS NOT NULL,
        (SELECT count(*) FROM attempts WHERE activity_id = activities.id AND attempts.verdict IS NULL)
    FROM activities LEFT JOIN payloads ON activity_id = activities.id
"""


class LedgerLife(RuleBasedStateMachine):
    """Pages, posts, verdicts, crashes and retries as one syncd makes them: in one thread, pass by pass."""

    engine = ""  # a key of ENGINES

    @initialize()
    def start(self):
        self.clock = Ticking()
        self.place = Path(tempfile.mkdtemp(prefix="syncd-model-"))
        self.handle = ENGINES[self.engine](self.place)
        self.seen, self.unknown, self.delivered = set(), set(), {}
        self.watermark = None
        self.before = {}
        self.open_it()

    def open_it(self):
        self.opened = ExitStack()
        self.ledger = self.opened.enter_context(self.handle.open())
        self.stream = self.ledger.stream_id("hubspot", "calls")
        self.begin_pass()

    def begin_pass(self):
        self.claims, self.first_post = [], self.ledger.first_post()

    def teardown(self):
        if hasattr(self, "opened"):
            self.opened.close()
            shutil.rmtree(self.place)

    @property
    def in_flight(self):
        return {int(crm_id) for claim in self.claims for crm_id in names(claim.activities)}

    @rule(by=st.sampled_from([1, 5, 20, 60, 24 * 60, 8 * 24 * 60, 31 * 24 * 60]))
    def time_passes(self, by):
        self.clock.tick(by * MINUTE)

    @rule(looks=st.lists(LOOKS, max_size=5), ago=st.none() | st.integers(0, 60))
    def a_page_is_read(self, looks, ago):
        now = self.clock()
        readings = [
            look(crm_id, State(wanted), "internal", modified_at=now, occurred_at=now, title=title)
            for crm_id, wanted, title in looks
            if crm_id not in self.in_flight  # the engine lets them land first
        ]
        watermark = None if ago is None else now - ago * MINUTE
        booked = book(self.ledger, *readings, now=now, watermark=watermark)
        new = {int(each.crm_id) for each in readings} - self.seen
        assert booked.new == len(new)
        self.seen |= new
        if watermark is not None:
            self.watermark = max(self.watermark or watermark, watermark)

    @rule(looks=st.lists(LOOKS, max_size=3), which=st.integers(0, 2))
    def a_page_holds_a_reading_that_cannot_be_written(self, looks, which):
        now = self.clock()
        readings = [
            replace(
                look(crm_id, State(wanted), "internal", modified_at=now, occurred_at=now, title=title),
                **({BAD[wanted]: "\ud800"} if nth == which else {}),
            )
            for nth, (crm_id, wanted, title) in enumerate(looks)
            if crm_id not in self.in_flight
        ]
        booked = book(self.ledger, *readings, now=now)
        new = {int(each.crm_id) for each in readings} - self.seen
        assert booked.new == len(new)
        self.seen |= new

    @rule(ids=st.sets(IDS))
    def known_records_are_seen_again(self, ids):
        book(self.ledger, refs=[ref(crm_id, modified_at=self.clock()) for crm_id in ids], now=self.clock())

    @rule()
    def what_is_due_is_looked_up_and_not_found(self):
        found = self.ledger.due_look_ups("hubspot", "calls", now=self.clock(), limit=3)
        self.ledger.book_missing(self.stream, [crm_id for _, crm_id in found], now=self.clock())

    @rule(limit=st.integers(1, 4))
    def a_post_leaves(self, limit):
        batch = self.ledger.due(limit, first_post=self.first_post, now=self.clock())
        ids = set(map(int, crm_ids(self.ledger, batch)))
        assert not ids & (self.in_flight | set(self.delivered))
        if batch:
            claim = self.ledger.intend(batch, now=self.clock())
            assert [each.id for each in claim.activities] == [each.id for each in batch]
            assert {each.unknown for each in claim.activities if each.id in self.unknown} <= {True}
            self.claims.append(claim)

    @precondition(lambda self: self.claims)
    @rule(which=st.integers(0, 9), verdicts=st.lists(st.sampled_from(Verdict), min_size=4, max_size=4))
    def its_answer_comes(self, which, verdicts):
        claim = self.claims.pop(which % len(self.claims))
        judgements = []
        for claimed, verdict in zip(claim.activities, verdicts, strict=False):
            assert claimed.unknown == (claimed.id in self.unknown)
            judgements.append(AttemptResult(claimed.id, verdict))
            if MEANINGS[verdict].unknown:
                self.unknown.add(claimed.id)
            if MEANINGS[verdict].state is State.DELIVERED:
                self.delivered[int(*names([claimed]))] = verdict
        self.ledger.record_verdicts(claim.post_id, judgements, now=self.clock(), max_age=WEEK, random=half)

    @precondition(lambda self: not self.claims)
    @rule()
    def a_pass_ends_and_another_begins(self):
        self.ledger.end_pass(self.ledger.begin_pass(self.clock()), exit_code=0, now=self.clock())
        self.begin_pass()

    @rule()
    def syncd_is_killed_and_started_again(self):
        self.unknown |= {claimed.id for claim in self.claims for claimed in claim.activities}
        open_attempts = len(self.in_flight)
        self.opened.close()
        self.open_it()
        assert self.ledger.recover(now=self.clock()) == open_attempts
        self.begin_pass()

    @rule(state=st.none() | st.sampled_from(State))
    def the_operator_asks_for_a_retry(self, state):
        with self.handle.operate() as operator:
            operator.retry((), state=state, reason=None, now=self.clock())

    @invariant()
    def the_books_are_true(self):
        rows = {int(crm_id): rest for crm_id, *rest in ask(self.ledger, ROWS)}
        assert set(rows) == self.seen
        assert self.ledger.balanced()
        assert kept(self.ledger) == counted(self.ledger)
        assert ask(self.ledger, "SELECT coalesce(sum(n), 0) FROM days WHERE since = 'seen'") == [(len(self.delivered),)]
        assert self.ledger.stream("hubspot", "calls").watermark == self.watermark
        for crm_id, (state, verdict, due_at, waiting_since, unknown, has_payload, open_attempts) in rows.items():
            old = self.before.get(crm_id, state)
            assert old == state or (State(old), State(state)) in MOVES, f"{old} became {state}"
            assert has_payload == (state == "pending")
            assert (due_at is not None) or state not in ("pending", "incomplete")
            assert (waiting_since is not None) == (state == "incomplete")
            assert open_attempts == (crm_id in self.in_flight)
            assert self.delivered.get(crm_id) == (verdict if state == "delivered" else None)
            assert unknown in (0, 1)
        self.before = {crm_id: state for crm_id, (state, *_) in rows.items()}


class SqliteLife(LedgerLife):
    engine = "sqlite"


class PostgresLife(LedgerLife):
    engine = "postgres"


SETTINGS = settings(
    max_examples=40, stateful_step_count=30, deadline=timedelta(seconds=5),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
TestSqliteLife = SqliteLife.TestCase
TestSqliteLife.settings = SETTINGS
if "postgres" in ENGINES:
    TestPostgresLife = PostgresLife.TestCase
    TestPostgresLife.settings = settings(SETTINGS, max_examples=10)  # a step takes longer there
