"""Fakes of Recotap in memory, and a fixture that sends from a real ledger to them.

`Recotap` obeys its requests and responds with bodies like the vendor's, which `responses.read` parses. `ManualPoster`
waits for the test's response. Neither sleeps, and `Clock` moves if the fixture has to wait.
"""

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import Any

from syncd.connector import Ref
from syncd.ledger import RECOTAP, Ledger, LedgerHandle
from syncd.lifecycle.states import State, Verdict
from syncd.lifecycle.transitions import Reading
from syncd.passes.dispatch import Poster, Push, SendingStopped, Totals
from syncd.recotap import responses
from syncd.recotap.responses import BatchResult
from tests.ledgers import file_of, reports

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PATIENCE_S = 20.0  # seconds that a test waits for a thread before it fails


class Clock:
    """A wall clock and monotonic clock that only the test moves."""

    def __init__(self) -> None:
        self.at = START
        self.waited = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - START).total_seconds()

    def tick(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds, milliseconds=1)
        self.waited += seconds


@dataclass
class AfterWork:
    """A response that replaces the real one after the POST is processed."""

    then: Any


@dataclass
class Recotap:
    """A create-only store. It validates the whole body first, then processes each item by itself."""

    concurrency: int = 4
    style: str = "nested"  # the form of a 400: nested, flat or opaque
    poison: set[str] = field(default_factory=set)  # ids for which the whole body is refused
    fells: set[str] = field(default_factory=set)  # ids for which the body gets a 500, with nothing stored
    fails: dict[str, str] = field(default_factory=dict)  # id to error text
    skips: set[str] = field(default_factory=set)
    omits: Counter[str] = field(default_factory=Counter)  # id -> how often it is stored but omitted from the results
    most: int = 50  # items in one body; more get a 413
    too_large: set[str] = field(default_factory=set)  # ids for which the body gets a 413
    script: list[Any] = field(
        default_factory=list
    )  # responses to the next POSTs: (status, headers, body); None: a normal one
    when: Callable[[int], Any] = lambda number: None  # the same, by the POST's number
    watch: Callable[[Sequence[str]], None] = lambda ids: None  # called before a POST is processed
    stored: Counter[str] = field(default_factory=Counter)
    bodies: dict[str, str] = field(default_factory=dict)
    posts: list[list[str]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    most_in_time: int = 50  # items in one body; more meet a time-out, with nothing stored
    blocks: set[str] = field(default_factory=set)  # ids for which a firewall answers 403
    looks: int = 0  # smallest requests
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def probe(self) -> BatchResult:
        """Answer the smallest request: badly if an outage is next, which that ends, otherwise well."""
        with self._lock:
            self.looks += 1
            ordered = self.script[0] if self.script else self.when(len(self.posts) + 1)
            result = _of_probe(ordered.then if isinstance(ordered, AfterWork) else ordered)
            if self.script and result.outcome != "answered":
                self.script.pop(0)
            return result

    def post(self, sent: Sequence[tuple[str, str]], *, late_s: float = 0.0) -> BatchResult:
        ids = [name for name, _ in sent]
        with self._lock:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            self.posts.append(ids)
            ordered = self.script.pop(0) if self.script else self.when(len(self.posts))
        try:
            self.watch(ids)
            with self._lock:
                return self._answer(sent, ids, ordered)
        finally:
            with self._lock:
                self.in_flight -= 1

    def _answer(self, sent: Sequence[tuple[str, str]], ids: list[str], ordered: Any) -> BatchResult:
        if isinstance(ordered, AfterWork):
            self._work(sent)
            ordered = ordered.then
        if isinstance(ordered, BatchResult):
            self.statuses.append(0)
            return ordered
        done = ordered or self._work(sent)
        if isinstance(done, BatchResult):
            self.statuses.append(0)
            return done
        status, headers, body = done
        self.statuses.append(status)
        text = body if isinstance(body, str) else json.dumps(body)
        return responses.read(status, headers, text, ids, now=START)

    def _work(self, sent: Sequence[tuple[str, str]]) -> Any:
        ids = [name for name, _ in sent]
        assert 1 <= len(ids) <= 50, "the vendor takes 1 to 50"
        assert len(set(ids)) == len(ids)
        if self.blocks & set(ids):
            return 403, {}, {"message": "Forbidden"}
        if len(ids) > self.most or self.too_large & set(ids):
            return 413, {}, {"statusCode": 413, "message": "request entity too large"}
        culprits = [index for index, name in enumerate(ids) if name in self.poison]
        if culprits:
            return 400, {}, self._refusal(culprits)
        if len(ids) > self.most_in_time:
            return LOST
        if self.fells & set(ids):
            return 500, {}, {"statusCode": 500, "message": "Internal server error"}
        results = [result for name, body in sent if (result := self._store(name, body))]
        statuses = Counter(result["status"] for result in results)
        summary = {"total": len(ids), **{status: statuses[status] for status in ("created", "failed", "skipped")}}
        return 200, {}, {"statusCode": 200, "data": {"results": results, "summary": summary}}

    def _refusal(self, culprits: list[int]) -> Any:
        if self.style == "opaque":
            return {"statusCode": 400, "message": "Bad Request", "customMessage": "Validation failed", "data": None}
        if self.style == "flat":
            return {"statusCode": 400, "message": [f"activities.{i}.domain should not be empty" for i in culprits]}
        rule = {"property": "domain", "children": [], "constraints": {"isNotEmpty": "domain should not be empty"}}
        children = [{"property": str(index), "children": [rule]} for index in culprits]
        return {"statusCode": 400, "message": "Bad Request", "data": [{"property": "activities", "children": children}]}

    def _store(self, name: str, body: str) -> dict[str, Any] | None:
        if name in self.skips:
            return {"externalActivityId": name, "status": "skipped", "reason": "Only call and email are supported"}
        if self.stored[name]:
            error = f"Activity with externalActivityId '{name}' already exists."
            return {"externalActivityId": name, "status": "failed", "error": error}
        if name in self.fails:
            return {"externalActivityId": name, "status": "failed", "error": self.fails[name]}
        self.stored[name] += 1
        self.bodies[name] = body
        if self.omits[name] > 0:
            self.omits[name] -= 1
            return None
        return {"externalActivityId": name, "status": "created"}


def _of_probe(ordered: Any) -> BatchResult:
    if isinstance(ordered, BatchResult):
        return ordered if ordered.outcome in ("down", "unreachable") else BatchResult("answered")
    if ordered is None or ordered[0] < 401:
        return BatchResult("answered")
    status, headers, body = ordered
    return responses.read_probe(status, headers, body if isinstance(body, str) else json.dumps(body), now=START)


class HeldPost:
    """A POST that waits for the test's response."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids
        self._answer: SimpleQueue[BatchResult] = SimpleQueue()

    def answer(self, answer: BatchResult) -> None:
        self._answer.put(answer)

    def wait(self) -> BatchResult:
        return self._answer.get(timeout=PATIENCE_S)


class ManualPoster:
    """A poster whose POSTs each wait for the test's response."""

    def __init__(self) -> None:
        self._held: SimpleQueue[HeldPost] = SimpleQueue()
        self._all: list[HeldPost] = []

    def post(self, sent: Sequence[tuple[str, str]], *, late_s: float = 0.0) -> BatchResult:
        held = HeldPost([name for name, _ in sent])
        self._all.append(held)
        self._held.put(held)
        return held.wait()

    def probe(self) -> BatchResult:
        """Ask the test, like a POST of nothing."""
        return self.post([])

    def next(self) -> HeldPost:
        return self._held.get(timeout=PATIENCE_S)

    def let_go(self) -> None:
        """Respond to every waiting POST, so that no thread outlives its test."""
        for held in self._all:
            held.answer(LOST)

    def none(self) -> bool:
        return self._held.empty()


Http = tuple[int, dict[str, str], Any]  # status, headers in lower case, body
DOWN: Http = (503, {}, {"statusCode": 503, "message": "Service Unavailable"})
LOST = BatchResult("down", "no answer within the deadline", stored=True)
NO_CONNECTION = BatchResult("unreachable", "no connection")


def all_created(ids: Iterable[str]) -> BatchResult:
    """Return the result of a 200 in which all items are created."""
    return BatchResult("answered", verdicts={name: responses.ItemResult(Verdict.CREATED) for name in ids})


class SendingFixture:
    """A ledger on disk and sending passes over it like the engine's, without a CRM."""

    def __init__(self, ledger: Ledger, poster: Poster, *, concurrency: int = 4, seed: int = 1) -> None:
        self.ledger = ledger
        self.poster = poster
        self.concurrency = concurrency
        self.clock = Clock()
        self.random = Random(seed)
        self.returned: SimpleQueue[Any] = SimpleQueue()
        self.stream = ledger.stream_id("hubspot", "calls")
        self.max_age = timedelta(days=7)

    def book(self, *names: str, at: datetime | None = None) -> list[str]:
        """Book pending activities by name, oldest first."""
        first = at or START - timedelta(days=1)
        readings = [
            Reading(
                crm_id=name, modified_at=START, external_activity_id=name, kind="call",
                occurred_at=first + timedelta(seconds=index), wanted=State.PENDING, payload=payload(name),
            )
            for index, name in enumerate(names)
        ]  # fmt: skip
        self.ledger.book(self.stream, [Ref(name, START) for name in names], readings, now=self.clock.now())
        return list(names)

    def book_many(self, count: int, prefix: str = "a", *, at: datetime | None = None) -> list[str]:
        """Book `count` activities, oldest first, and return their names."""
        return self.book(*(f"{prefix}-{number:04}" for number in range(count)), at=at)

    def push(self, poster: Poster | None = None) -> Push:
        """Start the sending of a pass."""
        return Push(
            self.ledger, poster or self.poster, concurrency=self.concurrency, max_age=self.max_age,
            now=self.clock.now, monotonic=self.clock.monotonic, answered=self.returned.put, rng=self.random,
        )  # fmt: skip

    def settle(self, push: Push) -> None:
        """Settle the next POST that returns."""
        push.settle(self.returned.get(timeout=PATIENCE_S))

    def run(self, push: Push, *, most_posts: int = 10_000) -> Push:
        """Send and settle until nothing is left, as the engine does. Waits move the clock."""
        while True:
            push.pump()
            assert push.totals.posts <= most_posts, "the pass does not end"
            if push.in_flight:
                self.settle(push)
            elif push.idle:
                break
            else:
                assert push.wait_s() > 0, "activities are left, but none is in flight and nothing delays them"
                self.clock.tick(push.wait_s())
        push.close()
        return push

    def sync(self) -> tuple[Totals, SendingStopped | None]:
        """Make one pass."""
        push = self.run(self.push())
        return push.totals, push.stop

    def row(self, name: str) -> dict[str, Any]:
        """Return an activity's row, read through a separate connection."""
        return self.rows(f"SELECT * FROM activities WHERE external_activity_id = '{name}'")[0]

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows of a query through a separate connection, which sees only committed ones."""
        with closing(sqlite3.connect(file_of(self.ledger))) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql)]

    def states(self) -> Counter[str]:
        return Counter(row["state"] for row in self.rows("SELECT state FROM activities"))

    def verdicts(self, state: str = "delivered") -> Counter[str]:
        return Counter(row["verdict"] for row in self.rows(f"SELECT verdict FROM activities WHERE state = '{state}'"))

    def attempts(self, name: str) -> list[str]:
        """Return the verdicts on one activity, the oldest first."""
        return [attempt["verdict"] for attempt in reports(self.ledger).explain(name)["attempts"]]

    def paused_until(self) -> datetime | None:
        pause = self.ledger.pause(RECOTAP, self.clock.now())
        return None if pause is None else pause[0]


def payload(name: str) -> str:
    """Return the payload of an invented activity as JSON."""
    person = {"email": f"{name}@amber-bolts.example", "name": "Kaya Ivorstone", "phone": "+1 415 555 0101"}
    return json.dumps({"externalActivityId": name, "activityType": "call", "callTitle": "Roof", "contacts": [person]})


@contextmanager
def opened(path: Path, poster: Poster, **how: Any) -> Iterator[SendingFixture]:
    """Open a ledger and yield a fixture over it."""
    with LedgerHandle(path / "ledger.db").open() as ledger:
        yield SendingFixture(ledger, poster, **how)
