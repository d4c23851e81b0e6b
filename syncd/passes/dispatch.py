"""Send the due activities: choose the next batch, and act on its result.

The circuit breaker says how many POSTs may be in flight. What is left of a batch waits in one of two queues:

- `again`: Recotap stored none of it (bystanders of a 400, halves of a batch that is too large). It goes out first.
- `suspect`: it met a time-out or a 5xx. It goes out last, one batch at a time, and is split when it fails again, so
  that the healthy activities are delivered in the same pass.

An activity that fails alone is a poison message. It is retried after everything else, one at a time. It is never the
probe, because its failure does not prove an outage. A failed probe stops sending for this pass.

This module knows neither HTTP nor SQL. All decisions about sending are here and in `breaker`.
"""

import json
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from syncd import clock
from syncd.errors import Exit
from syncd.ledger import RECOTAP, AttemptResult, Claim, Claimed, Ledger, Sendable
from syncd.lifecycle.states import MEANINGS, Verdict
from syncd.passes.breaker import Breaker, Circuit
from syncd.privacy.redaction import redact, redact_value
from syncd.privacy.scrubbing import scrub, truncate
from syncd.recotap.responses import BatchResult, ItemResult
from syncd.recotap.sender import BATCH, KEY_HINT, URL_HINT

NOTHING_LOST = "nothing is lost and nothing to do: the next pass goes on by itself"
LONGEST_WAIT_S = 60.0  # a longer pause outlives the pass: the ledger keeps it
MOST_REFUSALS_IN_A_ROW = 2 * BATCH  # 400s without one acceptance: it is not the items' fault


class Poster(Protocol):
    """Sends one batch. In production it is `recotap.sender.Sender`."""

    def post(self, sent: Sequence[tuple[str, str]]) -> BatchResult:
        """POST (externalActivityId, JSON object) pairs and return the result. Never raises."""


@dataclass(slots=True)
class Totals:
    """Counts of one pass's POSTs, activities and verdicts."""

    posts: int = 0
    sent: int = 0
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    died: int = 0


@dataclass(frozen=True, slots=True)
class SendingStopped:
    """The cause that ended sending in this pass. No activity is to blame."""

    exit_code: Exit
    message: str
    hint: str
    pause_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    post_id: int
    activities: tuple[Claimed, ...]
    probe: bool
    suspect: bool


PostReturned = tuple[_Job, BatchResult]  # a POST that has come back, to be passed to `Push.settle`


class Push:
    """Send the due activities of one pass. Call `settle`, `claim` and `send` in the ledger's thread.

    POSTs run in threads of their own, which call `answered(token)` when a POST has returned.
    Pass the token to `settle`.
    """

    def __init__(
        self,
        ledger: Ledger,
        poster: Poster,
        *,
        concurrency: int,
        max_age: timedelta,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        answered: Callable[[PostReturned], None],
        rng: random.Random | None = None,
        certain: Callable[[], bool] = lambda: True,
    ) -> None:
        """`certain` tells whether a server confirms the clock. It is called before a verdict that ages an activity."""
        self._ledger = ledger
        self._certain = certain
        self._poster = poster
        self._max_age = max_age
        self._now = now
        self._answered = answered
        self._random = rng or random.Random()
        self._breaker = Breaker(concurrency, monotonic=monotonic, random=self._random.random)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="post")
        self._first_post = ledger.first_post()
        self._again: deque[tuple[Sendable, ...]] = deque()
        self._suspect: deque[tuple[Sendable, ...]] = deque()
        self._refusals = 0  # 400s in a row
        self._batch = BATCH
        self.in_flight = 0
        self.stop: SendingStopped | None = None
        self.totals = Totals()

    def pump(self) -> None:
        """Claim and send as many batches as may be in flight now."""
        self.send(self.claim())

    def claim(self) -> list[_Job]:
        """Book the intents of as many POSTs as may be in flight now, in one transaction.

        `send` them once it is committed, which is later if the caller has opened one. If nothing is due, none opens.
        """
        jobs: list[_Job] = []
        with ExitStack() as transaction:
            while self._may_send():
                batch, suspect = self._next()
                if not batch:
                    break
                if not jobs:
                    transaction.enter_context(self._ledger.transaction())
                claim = self._ledger.intend(batch, now=self._now())
                if claim.activities:  # otherwise a re-read has taken all of a queued batch out of `pending`
                    jobs.append(self._job(claim, suspect))
        return jobs

    def _job(self, claim: Claim, suspect: bool) -> _Job:
        self.in_flight += 1
        self.totals.posts += 1
        self.totals.sent += len(claim.activities)
        return _Job(claim.post_id, claim.activities, probe=self._breaker.state is not Circuit.CLOSED, suspect=suspect)

    def send(self, jobs: Sequence[_Job]) -> None:
        """Let the POSTs leave whose intents are committed."""
        for job in jobs:
            self._threads.submit(self._run, job)

    def _run(self, job: _Job) -> None:
        try:
            answer = self._poster.post([(a.external_activity_id, a.body) for a in job.activities])
        except Exception as error:  # noqa: BLE001 - a bug: the verdict is unknown, and the pass must not hang for it
            answer = BatchResult("down", f"a bug in the sender ({type(error).__name__})", stored=True)
        self._answered((job, answer))

    def _may_send(self) -> bool:
        if self.stop or not self._breaker.permits(self.in_flight):
            return False
        return not self.in_flight or not self._only_suspects()  # the first POST needs no query

    def wait_s(self) -> float:
        """Return for how many seconds nothing may be sent, or 0."""
        return self._breaker.wait_s()

    @property
    def idle(self) -> bool:
        """Tell whether nothing is in flight and nothing is left to send in this pass."""
        if self.in_flight:
            return False
        return self.stop is not None or not (self._again or self._suspect or self._due(1))

    def _only_suspects(self) -> bool:
        if self._again:
            return False
        due = self._due(1)
        return due[0].isolated if due else bool(self._suspect)

    def _due(self, limit: int) -> Sequence[Sendable]:
        due = self._ledger.due(limit, first_post=self._first_post, now=self._now())
        return [activity for activity in due if not (self._breaker.failing and activity.crashes_server)]

    def _next(self) -> tuple[Sequence[Sendable], bool]:
        """Choose the next batch, and tell whether it is suspect."""
        if self._breaker.failing:
            return self._probe()
        if self._again:
            return self._again.popleft(), False
        due = self._due(self._batch)
        if due and not due[0].isolated:
            return due, False
        refused = [activity for activity in due if not activity.crashes_server]
        if refused:
            return refused, True
        return (self._suspect.popleft(), True) if self._suspect else (due[:1], True)

    def _probe(self) -> tuple[Sequence[Sendable], bool]:
        """Choose a single activity as the probe, if possible one that has not just failed.

        So a request that the server may still be working on is not repeated at once,
        and a poison message is not taken for an outage.
        """
        if self._again:
            first, *rest = self._again.popleft()
            if rest:
                self._again.appendleft(tuple(rest))
            return (first,), False
        due = self._due(1)
        if due or not self._suspect:
            return due, False
        batch = self._suspect.pop()
        chosen = self._random.randrange(len(batch))
        rest = [*batch[:chosen], *batch[chosen + 1 :]]
        if rest:
            self._suspect.append(tuple(rest))
        return (batch[chosen],), True

    def settle(self, returned: PostReturned) -> None:
        """Book the verdicts of one POST, and queue the rest."""
        job, answer = returned
        self.in_flight -= 1
        match answer.outcome:
            case "answered":
                self._breaker.record_success(probe=job.probe)
                self._refusals = 0
                self._book(job, [_of_item(activity, answer.verdicts) for activity in job.activities])
            case "refused":
                self._breaker.record_success(probe=job.probe)
                self._sort_out(job, answer)
            case "too_large":
                self._breaker.record_success(probe=job.probe)
                self._shrink(job, answer)
            case "unauthorized":
                self._book_all(job, Verdict.UNAUTHORIZED, answer)
                self._end(Exit.UNAUTHORIZED, f"Recotap refuses the key ({answer.detail})", KEY_HINT)
            case "wrong_url":
                self._book_all(job, Verdict.WRONG_URL, answer)
                self._end(Exit.CONFIG, f"Recotap's base URL is wrong ({answer.detail})", URL_HINT)
            case "throttled":
                self._book_all(job, Verdict.THROTTLED, answer)
                self._again.append(job.activities)
                self._breaker.throttle()
                self._outage(job, answer)
            case "unreachable":
                self._book_all(job, Verdict.UNREACHABLE, answer)
                self._again.append(job.activities)
                self._outage(job, answer)
            case "down":
                self._suspend(job, answer)
                self._outage(job, answer)

    def hold_back(self, until: datetime, reason: str) -> None:
        """Send nothing in this pass, because Recotap asked for a pause in an earlier one."""
        self.stop = SendingStopped(
            Exit.UNAVAILABLE, f"Recotap pauses until {clock.text(until)}: {reason}", NOTHING_LOST
        )

    def close(self) -> None:
        """End the threads. Call it when nothing is in flight."""
        self._threads.shutdown(wait=True)

    def _sort_out(self, job: _Job, answer: BatchResult) -> None:
        """Separate the culprits of a 400 from the rest: by the indexes that it names, otherwise by halving."""
        self._refusals += 1
        if len(job.activities) == 1:
            rules = answer.culprits.get(0, "refused by Recotap's validation without a word why")
            self._book(job, [AttemptResult(job.activities[0].id, Verdict.REFUSED, rules)])
        elif answer.culprits:
            named = answer.culprits
            verdicts = [
                AttemptResult(activity.id, Verdict.REFUSED, named[index])
                if index in named
                else AttemptResult(activity.id, Verdict.BYSTANDER, answer.detail)
                for index, activity in enumerate(job.activities)
            ]
            self._book(job, verdicts)
            innocents = tuple(a for index, a in enumerate(job.activities) if index not in named)
            if innocents:
                self._again.append(innocents)
        else:
            self._book_all(job, Verdict.BYSTANDER, answer)
            self._again.extend(_halves(job.activities))
        if self._refusals >= MOST_REFUSALS_IN_A_ROW:
            message = f"Recotap refused {self._refusals} requests in a row (HTTP 400)"
            hint = "its validation may have changed: `syncd explain ID` shows what it says; look for a newer syncd"
            self._end(Exit.UNAVAILABLE, message, hint)

    def _shrink(self, job: _Job, answer: BatchResult) -> None:
        if len(job.activities) == 1:
            self._batch = BATCH  # this activity was the cause: the others may go in full batches again
            self._book_all(job, Verdict.TOO_LARGE, answer)
            return
        self._batch = max(1, min(self._batch, len(job.activities) // 2))
        self._book_all(job, Verdict.BYSTANDER, answer)
        self._again.extend(_halves(job.activities))

    def _suspend(self, job: _Job, answer: BatchResult) -> None:
        """Queue a batch that met an outage as suspect, in halves if it was suspect already.

        If one activity is left and others got through, it is the cause: it is sent alone from now on.
        """
        verdict = Verdict.UNANSWERED if answer.stored else Verdict.UNREACHABLE
        if not job.suspect:
            self._suspect.append(job.activities)
        elif len(job.activities) > 1:
            self._suspect.extendleft(reversed(_halves(job.activities)))
        elif self._breaker.has_answered or job.activities[0].crashes_server:
            verdict = Verdict.SUSPECT
        self._book_all(job, verdict, answer)

    def _outage(self, job: _Job, answer: BatchResult) -> None:
        """Open the circuit. Stop sending if the probe failed, or if Recotap asks for a long pause."""
        wait = answer.retry_after or 0.0
        if wait >= LONGEST_WAIT_S:
            until = self._now() + timedelta(seconds=wait)
            self._end(Exit.UNAVAILABLE, f"Recotap asks for a pause ({answer.detail})", NOTHING_LOST, until)
        elif job.probe and self._breaker.failing:
            hint = f"{answer.hint}; nothing is lost" if answer.hint else NOTHING_LOST
            self._end(Exit.UNAVAILABLE, f"Recotap cannot be reached ({answer.detail})", hint)
        self._breaker.record_failure(retry_after_s=wait)

    def _end(self, exit_code: Exit, message: str, hint: str, pause_until: datetime | None = None) -> None:
        if self.stop is None:
            self.stop = SendingStopped(exit_code, message, hint, pause_until)
            if pause_until is not None:
                self._ledger.pause_until(RECOTAP, pause_until, message, now=self._now())

    def _book_all(self, job: _Job, verdict: Verdict, answer: BatchResult) -> None:
        self._book(job, [AttemptResult(activity.id, verdict, answer.detail) for activity in job.activities])

    def _book(self, job: _Job, results: Sequence[AttemptResult]) -> None:
        certain = not any(MEANINGS[result.verdict].fault for result in results) or self._certain()
        self.totals.died += self._ledger.record_verdicts(
            job.post_id, results, now=self._now(), max_age=self._max_age, random=self._random.random,
            certain=certain,
        )  # fmt: skip
        self.totals.verdicts.update(result.verdict for result in results)


def _halves(activities: tuple[Claimed, ...]) -> tuple[tuple[Claimed, ...], tuple[Claimed, ...]]:
    middle = (len(activities) + 1) // 2
    return activities[:middle], activities[middle:]


def _of_item(activity: Claimed, verdicts: Mapping[str, ItemResult]) -> AttemptResult:
    """Return the result of one activity of a 200.

    Its fate is unknown if the response does not name it. A duplicate is ours if an earlier attempt may have stored it.
    """
    item = verdicts.get(activity.external_activity_id)
    if item is None:
        return AttemptResult(activity.id, Verdict.UNANSWERED, "the answer does not name it")
    verdict = item.verdict
    if verdict is Verdict.DUPLICATE and not activity.unknown:
        verdict = Verdict.FOREIGN_DUPLICATE
    return AttemptResult(activity.id, verdict, None if item.detail is None else _told(item.detail, activity))


def _told(text: str, activity: Claimed) -> str:
    """Redact and scrub a text. The payload counts in both forms, as a subject may hold an address."""
    payload = json.loads(activity.body)
    return redact(scrub(redact(truncate(text)), [payload, redact_value(payload)]))
