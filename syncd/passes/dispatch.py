"""Send the due activities: book the intents of the next batches, and act on the result of each POST.

The circuit breaker says how many POSTs may be in flight, and `BatchSize` how many activities each of them carries.
`Choosing` takes them from the due rows and from the queues of `waiting`. A failed probe stops sending for this pass.

This module knows neither HTTP nor SQL. All decisions about sending are here, in `choosing`, `breaker` and `batch_size`.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

import structlog

from syncd import clock
from syncd.errors import Exit
from syncd.ledger import RECOTAP, SENDING, AttemptResult, Ledger, RecordKey
from syncd.lifecycle.states import MEANINGS, Verdict
from syncd.passes import judging
from syncd.passes.adoption import Adopting
from syncd.passes.batch_size import BatchSize
from syncd.passes.breaker import PROBE_AFTER_S, Breaker, Circuit
from syncd.passes.choosing import Choosing
from syncd.passes.gate import Gate
from syncd.passes.jobs import LOOK, Batch, Job, Poster, PostReturned, SendingStopped, Totals
from syncd.passes.pausing import pausing
from syncd.passes.stale import StaleRows
from syncd.passes.waiting import Waiting
from syncd.recotap.responses import FIREWALL_HINT, BatchResult
from syncd.recotap.sender import BATCH, KEY_HINT, URL_HINT

log = structlog.get_logger()

NOTHING_LOST = "nothing is lost and nothing to do: the next pass goes on by itself"
WITHHELD_HINT = "nothing: whoever holds the ledger sends it. If it comes again and again, see the load of this machine"
VALIDATION_HINT = "its validation may have changed: `syncd explain ID` shows what it says. Look for a newer syncd"
DEADLINE_S = 30.0  # of a POST, if the poster does not say
LONGEST_WAIT_S = 60.0  # a longer pause outlives the pass: the ledger keeps it
MOST_REFUSALS_IN_A_ROW = 2 * BATCH  # 400s and 403s without one acceptance: it is not the items' fault
MOST_SUSPECT_PROBES = 2  # suspects that fail in a row, though Recotap answers otherwise: it takes no activity at all


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
        stale: StaleRows | None = None,
    ) -> None:
        """`certain` tells whether a server confirms the clock. It is called before a verdict that ages an activity.

        `stale` holds back what is to be looked up first. None: everything goes out as it stands.
        """
        self._ledger = ledger
        self._adopting = Adopting(ledger)
        self._stale = stale or StaleRows(ledger, (), now=now)
        self._certain = certain
        self._poster = poster
        self._max_age = max_age
        self._now = now
        self._answered = answered
        self._random = rng or random.Random()
        self._breaker = Breaker(concurrency, monotonic=monotonic, random=self._random.random)
        timeout_s = getattr(poster, "timeout_s", DEADLINE_S)
        self._gate = Gate(ledger, concurrency, timeout_s, now=now, monotonic=monotonic, random=self._random.random)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="post")
        self._waiting = Waiting()
        self._refusals = 0  # 400s and 403s in a row
        self._kept: dict[str, Any] = _kept(ledger)
        self._size = BatchSize(BATCH, self._kept)
        first = ledger.first_post()
        self._choosing = Choosing(self._waiting, self._breaker, self._size, self._stale, first, now, self._random)
        self._answers = False  # Recotap has answered something since the last outage
        self._suspect_probes = 0  # that failed in a row
        self._last_answer_at: datetime | None = None  # about an activity
        self._carried: set[RecordKey] = set()  # the records of the POSTs under way
        self._is_withheld = False  # a POST did not leave, because the ledger may be another process's by now
        self.in_flight = 0
        self.stop: SendingStopped | None = None
        self.totals = Totals()

    def pump(self) -> None:
        """Claim and send as many batches as may be in flight now."""
        self.send(self.claim())

    def claim(self) -> list[Job]:
        """Book the intents of as many POSTs as may be in flight now, in one transaction.

        `send` them once it is committed, which is later if the caller has opened one. If nothing is due, none opens.
        """
        jobs: list[Job] = []
        with ExitStack() as transaction:
            while self._may_send() and self._is_admitted(transaction):
                if not self._answers and self._choosing.must_look:
                    self.in_flight += 1
                    return [*jobs, LOOK]
                batch = self._choosing.next()
                if not batch.activities:
                    break
                if not jobs:
                    transaction.enter_context(self._ledger.transaction())
                if job := self._intend(batch):
                    jobs.append(job)
        return jobs

    def _intend(self, batch: Batch) -> Job | None:
        """Return the job of `batch`, or None if a re-read has taken all of it out of `pending`."""
        if batch.silent:
            self.totals.silent -= len(batch.activities)
        claim = self._ledger.intend(batch.activities, now=self._now())
        if not claim.activities:
            self._choosing.end_trial(batch.trial)
            return None
        self._stale.claimed(claim.activities)
        self._carried.update(activity.record for activity in claim.activities)
        self._gate.take()
        self.in_flight += 1
        self.totals.posts += 1
        self.totals.sent += len(claim.activities)
        shared_probe = self._gate.is_probing
        probe = shared_probe or self._breaker.state is not Circuit.CLOSED
        return Job(
            claim.post_id, claim.activities, probe, batch.suspect, batch.trial, shared_probe, clock.since_boot_s()
        )

    def send(self, jobs: Sequence[Job]) -> None:
        """Let the POSTs leave whose intents are committed. LedgerHeld if an earlier one was withheld."""
        if self._is_withheld:
            raise self._ledger.handle.lost()
        for job in jobs:
            self._threads.submit(self._run, job)

    def _run(self, job: Job) -> None:
        try:
            sent = [(a.external_activity_id, a.body) for a in job.activities]
            late_s = clock.since_boot_s() - job.booked_s
            answer = self._poster.post(sent, late_s=late_s) if sent else self._poster.probe()
            if answer.outcome == "withheld":
                log.warning("post.withheld", activities=len(sent), hint=WITHHELD_HINT)
        except Exception as error:  # noqa: BLE001 - a bug: the verdict is unknown, and the pass must not hang for it
            answer = BatchResult("down", f"a bug in the sender ({type(error).__name__})", stored=True)
        self._answered((job, answer))

    def wait_s(self) -> float:
        """Return for how many seconds nothing may be sent, or 0."""
        return max(self._breaker.wait_s(), self._gate.wait_s())

    def carries_any(self, stream_id: int, crm_ids: Iterable[str]) -> bool:
        """Tell whether a POST under way carries one of a stream's records."""
        return not self._carried.isdisjoint((stream_id, crm_id) for crm_id in crm_ids)

    @property
    def takes_whole_requests(self) -> bool:
        """Whether Recotap takes activities, so that it is worth while to look up more than the next batch."""
        return self.stop is None and self._choosing.takes_whole_requests

    @property
    def idle(self) -> bool:
        """Tell whether nothing is in flight and nothing is left to send in this pass."""
        if self.in_flight:
            return False
        return self.stop is not None or not (self._choosing.has_any or self._stale.busy)

    # -- the next batch -------------------------------------------------------------------

    def _may_send(self) -> bool:
        if self.stop or self._is_withheld or not self._breaker.permits(self.in_flight):
            return False
        return not self.in_flight or not self._choosing.has_only_suspects  # the first POST needs no query

    def _is_admitted(self, transaction: ExitStack) -> bool:
        """Tell whether the other lanes of the key leave room. If there is room, `transaction` is open from then on."""
        if not self._gate.is_shared or self._gate.room:
            return True
        if self._gate.wait_s() or not self._choosing.has_any:
            return False
        found = self._gate.ask(transaction)
        if found.standing.pause is not None:
            self.hold_back(*found.standing.pause)
        elif self._gate.has_failed_since(found):
            self._end(Exit.UNAVAILABLE, f"Recotap cannot be reached ({found.standing.cause})", NOTHING_LOST)
        return self.stop is None and self._gate.room > 0

    # -- the result of a request ----------------------------------------------------------

    def settle(self, returned: PostReturned) -> None:
        """Book the verdicts of one POST, and queue the rest."""
        job, answer = returned
        self._carried.difference_update(activity.record for activity in job.activities)
        self.in_flight -= 1
        self._gate.ask_again()
        match answer.outcome:
            case "answered" | "refused" | "too_large" | "blocked":
                self._has_answered(job, answer)
            case "unauthorized":
                self._book_all(job, Verdict.UNAUTHORIZED, answer)
                self._end(Exit.UNAUTHORIZED, f"Recotap refuses the key ({answer.detail})", KEY_HINT)
            case "wrong_url":
                self._book_all(job, Verdict.WRONG_URL, answer)
                self._end(Exit.CONFIG, f"Recotap's base URL is wrong ({answer.detail})", URL_HINT)
            case "throttled":
                self._send_again(job, Verdict.THROTTLED, answer)
                self._breaker.throttle()
                self._outage(job, answer)
            case "unreachable":
                self._send_again(job, Verdict.UNREACHABLE, answer)
                self._outage(job, answer)
            case "down":
                self._suspend(job, answer)
            case "withheld":  # its attempt stays open for the next holder
                self._is_withheld = True
        if job.trial and answer.outcome != "answered":
            proves = answer.outcome in ("down", "too_large")
            self._size.trial_ended(len(job.activities), passed=False if proves else None)
        self._keep(self._size.to_keep())

    def hold_back(self, until: datetime, reason: str) -> None:
        """Send nothing in this pass, because Recotap asked for a pause in an earlier one."""
        message = pausing("Recotap", until, reason).message
        hint = f"{NOTHING_LOST}, or at once after `syncd resume recotap`"
        self.stop = SendingStopped(Exit.UNAVAILABLE, message, hint)

    def close(self) -> None:
        """End the threads. Call it when nothing is in flight."""
        self._threads.shutdown(wait=True)

    def keep_result(self) -> None:
        """Keep what `status` tells of Recotap: its last answer, and why sending stopped. Call it after the last POST.

        A pass that had nothing to send changes nothing.
        """
        if self.totals.posts or self.stop is not None:
            answered = {} if self._last_answer_at is None else {"last_answer_at": clock.text(self._last_answer_at)}
            error, code = (None, None) if self.stop is None else (self.stop.message, int(self.stop.exit_code))
            host = getattr(self._poster, "host", None)
            self._keep({**answered, "host": host, "last_error": error, "exit_code": code})

    def _has_answered(self, job: Job, answer: BatchResult) -> None:
        """Act on an answer about activities, or on that of the smallest request."""
        if not job.activities:
            self._answers = True
            return
        count = len(job.activities)
        if job.probe and self._breaker.failing:
            self._size.recovered(count)
        if job.shared_probe or (job.probe and self._breaker.failing):
            self._ledger.open_key()
        self._breaker.record_success(probe=job.probe, answered=answer.outcome != "blocked")
        self._answers, self._suspect_probes = not self._breaker.failing, 0
        self._last_answer_at = self._now()
        if answer.outcome == "too_large":
            self._shrink(job, answer)
        elif answer.outcome != "answered":
            self._sort_out(job, answer)
        else:
            self._refusals = 0
            self._size.trial_ended(count, passed=True) if job.trial else self._size.passed(count)
            self._book(job, judging.answered(job.activities, answer.verdicts))

    def _sort_out(self, job: Job, answer: BatchResult) -> None:
        """Separate the culprits of a 400 or 403 from the rest: by the indexes that it names, otherwise by halving."""
        self._refusals += 1
        alone, blocked = len(job.activities) == 1, answer.outcome == "blocked"
        if alone and blocked:
            self._block(job, answer)
        elif alone or answer.culprits:
            self._book(job, judging.refused(job.activities, answer))
            innocents = [a for index, a in enumerate(job.activities) if not alone and index not in answer.culprits]
            self._waiting.send_again(innocents)
        else:
            self._book_all(job, Verdict.BYSTANDER, answer)
            self._waiting.send_again(job.activities, halved=True)
        if self._refusals >= MOST_REFUSALS_IN_A_ROW:
            message = f"Recotap refused {self._refusals} requests in a row ({answer.detail})"
            self._end(Exit.UNAVAILABLE, message, FIREWALL_HINT if blocked else VALIDATION_HINT)

    def _block(self, job: Job, answer: BatchResult) -> None:
        """Blame an activity that a firewall refuses alone, if Recotap has answered others. Otherwise try it last."""
        (activity,) = job.activities
        if self._breaker.has_answered or activity.isolated:
            self._book(job, [AttemptResult(activity.id, Verdict.REFUSED, f"a firewall refuses it: {answer.detail}")])
            return
        self._book_all(job, Verdict.UNREACHABLE, answer)
        if job.suspect:
            self._end(Exit.UNAVAILABLE, f"no activity gets through to Recotap ({answer.detail})", FIREWALL_HINT)
        else:
            self._waiting.suspect(job.activities, silent=False)

    def _shrink(self, job: Job, answer: BatchResult) -> None:
        if len(job.activities) == 1:
            self._size.one_was_the_cause()
            self._book_all(job, Verdict.TOO_LARGE, answer)
            return
        self._size.too_large(len(job.activities))
        self._book_all(job, Verdict.BYSTANDER, answer)
        self._waiting.send_again(job.activities, halved=True)

    def _send_again(self, job: Job, verdict: Verdict, answer: BatchResult) -> None:
        self._book_all(job, verdict, answer)
        self._waiting.send_again(job.activities)

    def _suspend(self, job: Job, answer: BatchResult) -> None:
        """Queue a batch that met an outage as suspect, in halves if it was suspect already.

        A trial that fails shows no outage, unless Recotap asks for a pause.
        """
        verdict = Verdict.UNANSWERED if answer.stored else Verdict.UNREACHABLE
        if job.suspect and len(job.activities) == 1:
            self._suspend_one(job, answer, verdict)
            return
        if job.activities:
            if answer.stored and not job.suspect and not job.trial:
                self._size.failed(len(job.activities))
            self._book_all(job, verdict, answer)
            self._waiting.suspect(job.activities, silent=answer.stored, halved=job.suspect)
        if not job.trial or answer.retry_after:
            self._outage(job, answer)

    def _suspend_one(self, job: Job, answer: BatchResult, verdict: Verdict) -> None:
        """Judge an activity that fails alone, after it has failed among others.

        It is to blame if others got through. As the probe of an outage it is first set aside for another suspect. If
        that fails too, Recotap takes no activity at the moment.
        """
        (activity,) = job.activities
        probing = job.probe and self._breaker.failing
        self._suspect_probes += probing
        if probing and self._suspect_probes < MOST_SUSPECT_PROBES and self._waiting.has_probe:
            self._book_all(job, verdict, answer)
            self._waiting.set_aside(activity, silent=answer.stored)
            self._outage(job, answer, ends=False)
            return
        blamed = self._breaker.has_answered or activity.isolated
        if blamed:
            self._size.one_was_the_cause()
        self._book_all(job, Verdict.SUSPECT if blamed else verdict, answer)
        self._outage(job, answer, ends=probing and (not blamed or self._suspect_probes >= MOST_SUSPECT_PROBES))

    def _outage(self, job: Job, answer: BatchResult, *, ends: bool | None = None) -> None:
        """Open the circuit. Stop sending if the probe failed or `ends`, or if Recotap asks for a long pause."""
        wait = answer.retry_after or 0.0
        if ends is None:
            # An outage that is older than this pass says nothing of it: perhaps a poison message met it.
            probes = self._breaker.failing or (job.shared_probe and not self._gate.began_in_outage)
            ends = job.probe and (probes or not job.activities)
        if wait >= LONGEST_WAIT_S:
            until = self._now() + timedelta(seconds=wait)
            self._end(Exit.UNAVAILABLE, f"Recotap asks for a pause ({answer.detail})", NOTHING_LOST, until)
        elif ends:
            hint = f"{answer.hint}. Nothing is lost" if answer.hint else NOTHING_LOST
            self._end(Exit.UNAVAILABLE, f"Recotap cannot be reached ({answer.detail})", hint)
        self._breaker.record_failure(retry_after_s=wait)
        # Until this pass may probe. A long pause is kept beside that, and `syncd resume` lifts it.
        closed_s = self._breaker.wait_s() if wait < LONGEST_WAIT_S else PROBE_AFTER_S
        self._ledger.close_key(closed_s, answer.detail, probe_failed=ends and not job.suspect)
        self._answers = False

    def _end(self, exit_code: Exit, message: str, hint: str, pause_until: datetime | None = None) -> None:
        if self.stop is None:
            self.stop = SendingStopped(exit_code, message, hint, pause_until)
            if pause_until is not None:
                self._ledger.pause_until(RECOTAP, pause_until, message, now=self._now())

    def _book_all(self, job: Job, verdict: Verdict, answer: BatchResult) -> None:
        self._book(job, [AttemptResult(activity.id, verdict, answer.detail) for activity in job.activities])

    def _book(self, job: Job, results: Sequence[AttemptResult]) -> None:
        if not results:  # the smallest request
            return
        certain = not any(MEANINGS[result.verdict].fault for result in results) or self._certain()
        with self._ledger.transaction():
            results = self._adopting.judge(results, self._now())
            self.totals.died += self._ledger.record_verdicts(
                job.post_id, results, now=self._now(), max_age=self._max_age, random=self._random.random,
                certain=certain,
            )  # fmt: skip
        verdicts = [result.verdict for result in results]
        self.totals.verdicts.update(verdicts)
        self.totals.silent += verdicts.count(Verdict.UNANSWERED)

    def _keep(self, facts: Mapping[str, Any]) -> None:
        """Keep facts about Recotap for the next pass and for `status`. Writes if they have changed."""
        known = {**self._kept, **facts}
        if known != self._kept:
            self._ledger.keep(RECOTAP, {SENDING: known}, self._now())
            self._kept = known


def _kept(ledger: Ledger) -> dict[str, Any]:
    kept, _ = ledger.store(RECOTAP).get(SENDING, (None, None))
    return kept if isinstance(kept, dict) else {}


__all__ = ["NOTHING_LOST", "PostReturned", "Poster", "Push", "SendingStopped", "Totals"]
