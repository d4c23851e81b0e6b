"""One exit code is reported, and every other cause is shown: in the log, in the result, in `status`, by the daemon."""

import json
from collections import Counter

from syncd.daemon import status_line
from syncd.errors import Exit, SyncdError, Unauthorized, Unavailable
from syncd.ledger import RECOTAP
from syncd.passes.dispatch import Totals
from syncd.passes.report import PassResult
from syncd.sandbox import Fault
from tests.conftest import Command
from tests.test_status_line import AT, NEXT
from tests.world import World


def unbalanced(live: World) -> None:
    """Book two rows and remove one by hand. Then one call waits, HubSpot refuses the token, and Recotap is down."""
    live.calls(2, contacts=[])
    live.sync()
    live.call()
    live.recotap.faults.add(Fault(match="sales-activities", status=500, count=None))
    live.sync()
    live.sql("DELETE FROM activities WHERE id = 2")
    live.hubspot.faults.add(Fault(match="/crm/", status=401, count=None))


def test_a_pass_over_unbalanced_books_says_4_and_keeps_the_errors_of_the_sources_and_of_recotap(live: World) -> None:
    unbalanced(live)
    result = live.sync()
    assert result.exit_code == Exit.UNBALANCED, "design 4.2: before 77 and 69"
    assert {error.exit_code for error in result.errors} == {4, 69, 77}
    assert {name: int(error.exit_code) for name, error in result.failed.items()} == {"hubspot": 77, RECOTAP: 69}
    status = live.status()
    assert [each["last_error"] for each in status["sources"]] == [
        f"HubSpot, {stream} search: the access token was refused (401)" for stream in ("calls", "emails")
    ]
    assert status["recotap"]["last_error"] == result.failed[RECOTAP].message


def test_the_log_has_each_cause_with_its_remedy_and_the_exit_codes_that_4_hides(live: World, command: Command) -> None:
    unbalanced(live)
    ran = command("sync", "-c", live.write_config())
    lines = [json.loads(line) for line in ran.err.splitlines()]
    told = {line["event"]: line for line in lines if line["level"] == "error"}
    assert ran.code == 4
    assert told.keys() == {"pull.failed", "push.failed", "books.unbalanced"}
    assert all(line["error"] and line["hint"] for line in told.values())
    assert (lines[-1]["event"], lines[-1]["exit_code"], lines[-1]["hidden_codes"]) == ("pass.finished", 4, [77, 69])


def test_status_exits_with_4_and_shows_the_errors_of_the_source_and_of_recotap(live: World, command: Command) -> None:
    unbalanced(live)
    result = live.sync()
    ran = command("status", "-c", live.write_config())
    words = " ".join(ran.out.split())
    assert ran.code == 4
    assert "the books do not balance" in words
    assert f"Recotap, last error: {result.failed[RECOTAP].message}" in words
    assert "hubspot calls" in words
    assert "hubspot emails" in words
    assert words.count("the access token was refused (401)") == 3, "for each stream, and among what needs the operator"


def test_a_pass_with_one_cause_hides_nothing(live: World, command: Command) -> None:
    live.hubspot.faults.add(Fault(match="/crm/", status=401, count=None))
    ran = command("sync", "-c", live.write_config())
    assert ran.code == 77
    assert "hidden_codes" not in ran.err


def line_of(code: Exit, failure: SyncdError | None, *errors: SyncdError) -> str:
    outcome = PassResult(code, Totals(verdicts=Counter()), errors=errors)
    return status_line.idle(outcome, failure, ended_at=AT, counts={}, next_at=NEXT, now=AT)


def test_the_daemon_s_status_line_names_a_second_cause() -> None:
    books = SyncdError("the books do not balance")
    books.exit_code = Exit.UNBALANCED
    refused, gap = Unauthorized("HubSpot refuses the token"), Unavailable("hubspot does not serve 1 span")
    assert "FAILED: HubSpot refuses the token; also: the books do not balance" in line_of(
        Exit.UNBALANCED, refused, refused, books
    )
    assert "ended with 4 (unbalanced); also: hubspot does not serve 1 span" in line_of(
        Exit.UNBALANCED, None, gap, books
    )
    assert "also" not in line_of(Exit.UNBALANCED, None, books)
    assert "also" not in line_of(Exit.UNAUTHORIZED, refused, refused)
