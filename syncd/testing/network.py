"""The network part of the suite: limits, clocks, retries, outages and credentials."""

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from unittest import SkipTest

from syncd.connector import Finding
from syncd.errors import Exit, Unauthorized, Unavailable
from syncd.testing.captured import captured
from syncd.testing.crm import FAULTS, RETRY_AFTER_S, FaultName, NetworkCrm
from syncd.testing.harness import LATE_S, Harness, harnesses
from syncd.testing.isolation import IsolationConformance
from syncd.testing.outages import BRIEF_S, assert_outage, assert_private, assert_stops, expect_error

TRIES = 3  # per request, the first included (design, promise 8)
TIMEOUT = timedelta(seconds=0.1)
PAUSE = timedelta(minutes=1)  # a longer wait pauses the source, in the ledger
ENDLESS_FAULTS: tuple[FaultName, ...] = ("hang", "drip")  # these take real time


class NetworkConformance(IsolationConformance):
    """The network part, for `class TestMyCrm(ConnectorConformance, NetworkConformance)`."""

    # -- windows ------------------------------------------------------------------------

    def test_more_records_than_one_query_can_give_are_all_read(self, crm: NetworkCrm) -> None:
        """A window, or one instant, with more rows than the CRM allows a query is read in full."""
        count = crm.query_rows + max(crm.cuts) + 1
        for name, shape in {"each its own instant": range(count), "all in one instant": [3] * count}.items():
            for harness in harnesses(crm):
                harness.fill(shape)
                harness.read(until=harness.at(count))
                harness.assert_complete(name)

    def test_an_open_window_ends_by_the_crms_clock(self, crm: NetworkCrm) -> None:
        """The window ends at the CRM's present, even if the local clock is an hour off either way."""
        for skew in (timedelta(hours=-1), timedelta(hours=1)):
            for harness in harnesses(crm):
                harness.skew = skew
                now = harness.crm_now()
                early = harness.put(now - timedelta(seconds=4))
                harness.put(now + timedelta(seconds=30))
                connector = harness.connect()
                pages = harness.read(connector=connector)
                assert set(harness.books) == {early}, f"with a local clock that is {skew} off"
                end = pages[-1].complete_until
                assert end is not None
                assert now - timedelta(seconds=2) - crm.granule <= end <= crm.now(), "the end is the CRM's present"
                assert connector.count(harness.stream, harness.window(None)) == 1, "count's open end is the same"

    def test_each_pass_learns_the_crms_clock(self, crm: NetworkCrm) -> None:
        """Every pass passes the Date of responses to Context.clock, however far it is off."""
        for skew in (timedelta(0), timedelta(hours=-1), timedelta(days=365)):
            for harness in harnesses(crm):
                harness.skew = skew
                harness.read()
                told = harness.clock.report("the CRM")
                assert told is not None, "the connector passes each response to Context.clock"
                assert told.skew_s is not None, "this CRM sends a Date"
                assert abs(told.skew_s + skew.total_seconds()) < 2

    def test_a_date_that_is_wrong_or_stands_still_loses_nothing(self, crm: NetworkCrm) -> None:
        """From the second pass on, windows reach the present and skip no record, whatever Date the CRM sends."""
        serve = getattr(crm, "serve_date", None)
        if serve is None:
            raise SkipTest("this CRM can only send its clock's Date")
        day = timedelta(days=1)
        for skew in (None, timedelta(0), -day, day):
            for harness in harnesses(crm):
                serve(skew, frozen=skew is not None)
                for number in range(4):
                    crm_id = harness.put(harness.crm_now() - timedelta(seconds=4))
                    harness.read(overlap=timedelta(seconds=10))
                    assert number == 0 or crm_id in harness.books, f"pass {number + 1} with a Date of {skew}"
                    crm.advance(600)
                harness.assert_complete(f"with a Date of {skew}")
                serve(timedelta(0), frozen=False)

    # -- retries ------------------------------------------------------------------------

    def test_a_request_is_tried_three_times_with_growing_jittered_waits(self, crm: NetworkCrm) -> None:
        """An unavailable CRM gets three tries, with waits that grow and are jittered."""
        first_waits = set()
        for _ in range(3):
            for harness in harnesses(crm):
                crm.fail("unavailable", times=None)
                before = crm.requests()
                expect_error(Unavailable, harness.read)
                assert crm.requests() - before == TRIES, f"{crm.requests() - before} tries"
                assert len(harness.slept) == TRIES - 1, "it calls context.sleep between two tries"
                assert harness.slept == sorted(set(harness.slept)), "waits grow"
                assert 0.1 <= harness.slept[0] <= harness.slept[-1] < PAUSE.total_seconds(), "waits are sensible"
                first_waits.add(round(harness.slept[0], 6))
        assert len(first_waits) > 1, "waits are jittered"

    def test_a_failure_of_any_request_is_survived(self, crm: NetworkCrm) -> None:
        """A pass reads everything if any one request fails once."""
        for harness in harnesses(crm):
            harness.fill(range(2 * max(crm.cuts)))
            requests = _requests_of_a_pass(harness)
            for skip in range(requests):
                _survives(crm, harness, "unavailable", skip)
            for fault in ("reset", "html_200", "cut_json"):
                for skip in sorted({0, 1, requests // 2, requests - 1}):
                    _survives(crm, harness, fault, skip)

    def test_an_outage_from_any_request_on_loses_nothing(self, crm: NetworkCrm) -> None:
        """After an outage from any request on, the next passes read everything."""
        for harness in harnesses(crm):
            harness.fill(number // 2 for number in range(2 * max(crm.cuts) + 1))
            for skip in range(_requests_of_a_pass(harness)):
                for times in (TRIES, None)[: 2 - skip % 2]:  # of one request alone, or of everything
                    _start_over(harness)
                    # A new time shown at an old position does not complete the window up to that time.
                    harness.edit(harness.put(harness.at(0)), late_by=LATE_S)
                    crm.advance(5)
                    crm.fail("unavailable", times=times, skip=skip)
                    with suppress(Unavailable):
                        harness.read()
                    crm.heal()
                    harness.catch_up()
                    harness.assert_complete(f"an outage after {skip} requests")

    def test_retry_after_is_waited_for(self, crm: NetworkCrm) -> None:
        """The next try waits for the time of Retry-After, and no longer than a minute."""
        for harness in harnesses(crm):
            harness.fill(range(3))
            crm.fail("retry_after")
            harness.read()
            assert RETRY_AFTER_S <= max(harness.slept, default=0) < PAUSE.total_seconds(), f"it waited {harness.slept}"
            harness.assert_complete()

    def test_a_silent_server_costs_no_more_than_its_deadlines(self, crm: NetworkCrm) -> None:
        """A request ends after `timeout`, whether no byte arrives or one now and then."""
        for fault in ENDLESS_FAULTS:
            for harness in harnesses(crm):
                harness.fill(range(2 * max(crm.cuts)))  # two requests at least
                for skip in (0, 1) if fault == "hang" else (0,):
                    crm.fail(fault, times=None, skip=skip)
                    connector = harness.connect(timeout=TIMEOUT)
                    with captured() as output:
                        began = time.monotonic()
                        output.add([expect_error(Unavailable, partial(harness.read, connector=connector))])
                        lasted_s = time.monotonic() - began
                    crm.heal()
                    assert lasted_s < TRIES * TIMEOUT.total_seconds() + BRIEF_S, f"{fault}: it took {lasted_s:.1f} s"
                    assert_private(crm, output)

    def test_a_stop_ends_the_waiting_between_two_tries(self, crm: NetworkCrm) -> None:
        """A stop during a back-off raises Stopped, not an outage, and ends the tries."""
        for harness in harnesses(crm):
            harness.fill(range(3))
            crm.fail("unavailable", times=None)
            for calls in range(TRIES):
                assert_stops(harness, calls, harness.read)

    def test_a_stop_is_checked_before_each_request(self, crm: NetworkCrm) -> None:
        """context.sleep is called before each request, with 0 if need be, so that a long window can be stopped."""
        for harness in harnesses(crm):
            harness.fill(range(3 * max(crm.cuts)))
            before = crm.requests()
            harness.read()
            assert harness.calls >= crm.requests() - before, "a request without a call of sleep before it"

    # -- lasting failures ---------------------------------------------------------------

    def test_garbage_is_an_outage_not_a_crash(self, crm: NetworkCrm) -> None:
        """HTML, half of a JSON body and broken connections raise Unavailable or Malformed after three tries."""
        for fault in ("html_200", "cut_json", "reset"):
            for harness in harnesses(crm):
                harness.fill(range(3))
                crm.fail(fault, times=None)
                before = crm.requests()
                expect_error(Unavailable, harness.read)
                assert crm.requests() - before <= TRIES, f"{fault}: {crm.requests() - before} tries"

    def test_a_used_up_quota_pauses_the_source(self, crm: NetworkCrm) -> None:
        """A used-up quota raises Unavailable with `pause_until`, at least a minute ahead, and no wait."""
        for harness in harnesses(crm):
            harness.fill(range(4 * max(crm.cuts)))  # four requests at least
            for skip in (0, 3):
                _start_over(harness)
                crm.fail("quota", times=None, skip=skip)
                before = crm.requests()
                error = expect_error(Unavailable, harness.read)
                assert error.pause_until is not None, "the error has `pause_until`"
                assert error.pause_until >= harness.now() + PAUSE, "a minute at least, by the local clock"
                assert crm.requests() - before <= skip + TRIES, "no further request"
                crm.heal()
                harness.read()
                harness.assert_complete()

    def test_refused_credentials_are_reported_at_once(self, crm: NetworkCrm) -> None:
        """Refused credentials raise Unauthorized without a wait or a retry, except one new login."""
        for harness in harnesses(crm):
            harness.fill(range(2 * max(crm.cuts)))  # two requests at least
            for skip in (0, 1):  # from the start, or after one request, e.g. a login
                _start_over(harness)
                crm.fail("unauthorized", times=None, skip=skip)
                before = crm.requests()
                expect_error(Unauthorized, harness.read)
                assert crm.requests() - before <= skip + 3, f"{crm.requests() - before} requests"
                assert harness.slept == [], "no wait"
                assert Exit.UNAUTHORIZED in _codes(harness.connect().check()), "check() reports it"
                crm.heal()

    def test_a_missing_permission_affects_its_stream_alone(self, crm: NetworkCrm) -> None:
        """A permission that one stream lacks raises Unauthorized there. The other streams are read."""
        names = [stream.name for stream in crm.connector.streams]
        for forbidden in names if len(names) > 1 else ():
            crm.forbid(forbidden)
            for harness in [Harness(crm, name) for name in names]:
                with harness:
                    ids = harness.fill(range(3))
                    if harness.stream != forbidden:
                        harness.read()
                        harness.assert_complete()
                        assert set(harness.look_up(ids)[0]) == set(ids)
                        continue
                    expect_error(Unauthorized, harness.read)
                    assert harness.slept == [], "no wait"
            crm.heal()

    def test_any_fault_ends_in_an_error_that_helps_and_tells_nothing_private(self, crm: NetworkCrm) -> None:
        """Every method raises only the contract's errors, with hints. check() reports instead of raising."""
        for fault in (each for each in FAULTS if each not in ENDLESS_FAULTS):
            for harness in harnesses(crm):
                assert_outage(harness, fault, partial(crm.fail, fault, times=None))


def _start_over(harness: Harness) -> None:
    """Empty the books and the store, as before the first pass."""
    harness.clear_books()
    harness.store.kept.clear()


def _requests_of_a_pass(harness: Harness) -> int:
    """Return the number of requests of a first pass."""
    before = harness.crm.requests()
    _start_over(harness)
    harness.read()
    harness.assert_complete()
    return harness.crm.requests() - before


def _survives(crm: NetworkCrm, harness: Harness, fault: FaultName, skip: int) -> None:
    _start_over(harness)
    crm.fail(fault, skip=skip)
    harness.read()
    crm.heal()
    harness.assert_complete(f"{fault} after {skip} requests")


def _codes(findings: Sequence[Finding]) -> set[int]:
    return {each.exit_code for each in findings if not each.ok and not each.warning}


__all__ = ["NetworkConformance"]
