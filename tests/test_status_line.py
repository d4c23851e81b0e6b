"""The status line of `systemctl status`."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta

from syncd.daemon import status_line
from syncd.errors import Exit, Unavailable
from syncd.lifecycle.states import Verdict
from syncd.passes.dispatch import Totals
from syncd.passes.report import PassResult, StreamTotals

AT = datetime(2026, 10, 5, 9, 0, tzinfo=UTC)
NEXT = datetime(2026, 10, 5, 9, 5, tzinfo=UTC)


def outcome(code: Exit = Exit.OK) -> PassResult:
    verdicts = Counter({Verdict.CREATED: 2, Verdict.DUPLICATE: 1, Verdict.REFUSED: 4})
    return PassResult(code, Totals(posts=1, sent=7, verdicts=verdicts), {("crm", "calls"): StreamTotals(new=5)})


def idle(
    came: PassResult | None = None, failure: Unavailable | None = None, ended_at: datetime | None = AT, **counts: int
) -> str:
    line = status_line.idle(came, failure, ended_at=ended_at, counts=counts, next_at=NEXT, now=AT)
    return re.sub(r"\d\d:\d\d:\d\d", "T", line)


def test_a_time_of_another_day_has_its_date():
    later = NEXT + timedelta(days=30)
    line = status_line.idle(outcome(), None, ended_at=AT, counts={}, next_at=later, now=AT)
    assert re.search(r"next at 2026-11-0\d \d\d:\d\d:\d\d$", line)


def test_after_a_good_pass_what_it_brought_what_waits_and_when_it_goes_on():
    assert idle(outcome(), pending=0, incomplete=12, delivered=900) == (
        "T ok, 5 new, 3 delivered; 12 incomplete; next at T"
    )


def test_before_the_first_pass():
    assert idle(ended_at=None) == "no pass yet; next at T"


def test_after_a_pass_that_failed_why():
    assert idle(outcome(Exit.UNAVAILABLE), Unavailable("Recotap cannot be reached"), pending=3) == (
        "T FAILED: Recotap cannot be reached; 3 pending; next at T"
    )


def test_after_a_pass_that_gave_something_up():
    assert idle(outcome(Exit.DIED), dead=1) == "T ended with 3 (died); 1 dead; next at T"


def test_a_long_reason_is_cut():
    assert len(idle(None, Unavailable("x" * 900))) < 220


def test_while_a_pass_is_under_way_what_it_is_at_and_what_was_amiss_before():
    assert status_line.running(("crm",), where="", read=0, delivered=0) == "reading crm"
    assert status_line.running((), where="", read=0, delivered=0) == "sending"
    assert status_line.running(
        ("crm",), where="crm calls", read=400, delivered=50, failure=Unavailable("it was down")
    ) == ("reading crm calls: 400 read, 50 delivered so far; before it FAILED: it was down")


def test_a_pass_that_does_not_go_on():
    assert status_line.stuck(("crm",), where="crm calls", for_s=1000) == "STUCK for 17 min in crm calls: see the log"


def test_a_replica_names_its_lanes_those_that_wait_and_one_that_fails():
    assert status_line.lanes([], 8, overdue=0, failures={}) == "0 of 8 slots in use"
    names = [f"org{number}" for number in range(6)]
    failures = {"org9": Unavailable("it is down"), "org8": Unavailable("so is this")}
    assert status_line.lanes(names, 6, overdue=3, failures=failures) == (
        "6 of 6 slots in use: org0, org1, org2, org3, …; 3 overdue; org9 and 1 more FAILED: it is down"
    )
    assert status_line.lanes(["a"], 8, overdue=0, failures={"b": Unavailable("no")}) == (
        "1 of 8 slots in use: a; b FAILED: no"
    )
