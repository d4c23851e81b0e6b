"""The first words of `syncd status`: whether all is well, waits or needs the operator, and the next action."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from syncd import clock
from syncd.cli.commands import app
from syncd.errors import Exit
from syncd.ledger import LedgerHandle
from syncd.reporting import facts
from syncd.reporting.overview import Level, is_overdue, points, summary
from syncd.reporting.times import Times
from syncd.sandbox import Fault
from syncd.types.schedule import Schedule
from tests.conftest import Command
from tests.test_printing import status_document
from tests.world import World

NOW = datetime(2026, 10, 5, 9, tzinfo=UTC)
TIMES = Times(NOW)
DONE = {"started_at": clock.text(NOW), "finished_at": clock.text(NOW), "exit_code": 0}
WELL: dict[str, Any] = {"last_pass": DONE, "held_by": "`syncd run`, process 12"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


def ago(**delta: float) -> str:
    return clock.text(NOW - timedelta(**delta))


def stream(**values: Any) -> dict[str, Any]:
    known = {"source": "hubspot", "stream": "calls", "watermark": None, "last_success_at": ago(hours=1)}
    return {**known, "last_error": None, **values}


def recotap(**values: Any) -> dict[str, Any]:
    return {**status_document()["recotap"], **values}


def ended(code: int) -> dict[str, Any]:
    return {"last_pass": {**DONE, "exit_code": code}}


def gap(why: str = "gap") -> dict[str, Any]:
    return {"source": "hubspot", "stream": "calls", "why": why, "since": ago(days=2), "until": ago(days=1),
            "read_to": None, "last_error": None, "next_attempt_at": None}  # fmt: skip


PAUSE = {"until": clock.text(NOW + timedelta(hours=3)), "reason": "the daily quota is used up"}
REASONS: dict[str, dict[str, int]] = {"incomplete": {}, "excluded": {}, "dead": {}}

# One change of a document that is well: the level, words of the sentence or the point, and of the action.
CASES: dict[str, tuple[dict[str, Any], Level, str, str]] = {
    "unbalanced": ({"balanced": False}, Level.NEEDS_YOU, "the books do not balance", "restore a backup"),
    "clock": ({"clock_confirmed": False}, Level.NEEDS_YOU, "no server confirms this machine's clock",
              "`syncd check` compares all clocks"),
    "key": ({"recotap": recotap(key_refused=True, last_error="x")}, Level.NEEDS_YOU, "refuses the key", "check"),
    "pause of Recotap": ({"pauses": {"@recotap": PAUSE}}, Level.WAITING, "Recotap pauses .*in 3 h", "resume recotap"),
    "pause of a source": ({"pauses": {"hubspot": PAUSE}}, Level.WAITING, "hubspot pauses until",
                          "nothing. If its cause is gone: `syncd resume hubspot`"),
    "outage": ({"recotap": recotap(last_error="no connection", silent_since=ago(hours=2))}, Level.WAITING,
               "Recotap stopped taking activities 2 h ago: no connection", "tries again"),
    "error": ({"recotap": recotap(last_error="no connection")}, Level.WAITING, "taking activities: no", "again"),
    "long outage": ({"recotap": recotap(last_error="no connection", silent_since=ago(hours=40))}, Level.NEEDS_YOU,
                    "40 h ago|1 day ago", "restore the connection"),
    "source": ({"sources": [stream(last_error="answered 503")]}, Level.WAITING,
               r"hubspot calls cannot be read \(last success: 60 min ago\): answered 503", "tries again"),
    "source for days": ({"sources": [stream(last_error="answered 503", last_success_at=ago(days=3))]}, Level.NEEDS_YOU,
                        "3 days ago", "syncd check"),
    "source never": ({"sources": [stream(last_error="x", last_success_at=None)]}, Level.NEEDS_YOU, "never", "check"),
    "source refused": ({"sources": [stream(last_error="refused (401)")], **ended(77)}, Level.NEEDS_YOU, "401", "check"),
    "source misfit": ({"sources": [stream(last_error="no such field")], **ended(78)}, Level.NEEDS_YOU, "such", "check"),
    "a gap": ({"ranges": [gap()]}, Level.WAITING, "hubspot does not serve a span of",
              "nothing: they are tried again by themselves. If it lasts, ask the CRM's support"),
    "gaps": ({"ranges": [gap(), gap()]}, Level.WAITING, "hubspot does not serve 2 spans of", "CRM's support"),
    "a backfill": ({"ranges": [gap("backfill")]}, Level.WAITING, "a span of hubspot .* is not read", "reads on"),
    "an earlier start": ({"ranges": [gap("start"), gap("start")]}, Level.WAITING, "2 spans of hubspot .* are not read",
                         "nothing: each pass reads on"),
    "never read": ({"held_by": None, "never_read": [{"source": "hubspot", "stream": "calls"},
                                                    {"source": "hubspot", "stream": "emails"}]}, Level.WAITING,
                   r"hubspot was never read to its end \(calls, emails\)", "`syncd sync` reads it"),
    "first import": ({"last_pass": None, "never_read": [{"source": "files", "stream": "calls"}]}, Level.WAITING,
                     "files was never read", "nothing: the syncd that runs"),
    "adoption": ({"adoption": {"adopted": 3, "began_at": ago(hours=1), "ended_at": None}}, Level.WAITING,
                 "an adoption goes on", "nothing: it ends when all of its span is read"),
    "no pass": ({"last_pass": None, "held_by": None}, Level.NEEDS_YOU, "no pass has run yet",
                "`syncd sync` makes one, `syncd run` one after another"),
    "overdue": ({"overdue": True, "held_by": None}, Level.NEEDS_YOU, "no syncd runs, and the last pass",
                "start `syncd run`, or let a timer start `syncd sync`"),
    "interrupted": ({"held_by": None, "last_pass": {**DONE, "finished_at": None, "exit_code": None}}, Level.WAITING,
                    "the last pass was interrupted", "`syncd sync` goes on"),
    "bug": (ended(1), Level.NEEDS_YOU, "exit code 1: a bug stopped it", "report it with the traceback"),
    "gave up": (ended(3), Level.NEEDS_YOU, "exit code 3: it gave activities up",
                "`syncd failures` groups them by cause"),
    "disk": (ended(74), Level.NEEDS_YOU, "exit code 74: the ledger could not be used",
            "`syncd check` names the remedy"),
    "refused": (ended(77), Level.NEEDS_YOU, "exit code 77: credentials were refused, or a scope is missing",
                "`syncd check` names the remedy"),
    "misfit": (ended(78), Level.NEEDS_YOU, "exit code 78: the configuration does not fit",
            "`syncd check` names the remedy"),
    "redacted": ({"reasons": {**REASONS, "incomplete": {"redacted": 2}}}, Level.NEEDS_YOU, "2 activities are held",
                 "grant the missing scope"),
    "refusals": ({"pending": {"due": 0, "backing_off": {}, "refused": 3}}, Level.NEEDS_YOU, "Recotap refuses 3",
                 "`syncd failures` shows Recotap's words and the remedy"),
    "failures": ({"pending": {"due": 0, "backing_off": {"failed": 1, "suspect": 0}, "refused": 0}}, Level.WAITING,
                 "1 activity is backing off", "nothing: they are sent again. `syncd failures` shows why"),
    "dead": ({"activities": {**status_document()["activities"], "dead": 2, "skipped": 1}}, Level.NOTE,
             "3 activities are", "`syncd failures` groups them"),
    "lacking": ({"reasons": {**REASONS, "incomplete": {"no_contact": 1, "settling": 5, "redacted": 0}}}, Level.NOTE,
                "1 activity is waiting for data", "syncd list --state incomplete"),
    "gone": ({"sources_gone": ["files"], "sources": [stream(source="files", last_error="x", last_success_at=None)]},
             Level.NEEDS_YOU, "source files is not in the configuration", "put its table back"),
    "warning": ({"warnings": [{"source": "hubspot", "message": "no calls"}],
                 "unread": [{"count": 3, "looks_like": "call"}]}, Level.NEEDS_YOU, "hubspot: no calls",
                "`syncd scope` shows all rows by kind"),
    "unread": ({"unread": [{"count": 3, "looks_like": "call"}, {"count": 9, "looks_like": None}]}, Level.NOTE,
               "3 rows look like calls or emails", "`syncd scope` shows them by kind"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_trouble_is_one_point_with_its_level_and_action(case: str) -> None:
    change, level, words, action = CASES[case]
    (point,) = points(status_document(**{**WELL, **change}), TIMES)
    assert point.level is level
    assert re.search(words, point.text)
    assert action in point.action
    assert summary(status_document(**{**WELL, **change}), TIMES)["level"] == ("ok" if level is Level.NOTE else level)


def test_the_commands_of_actions_exist() -> None:
    program: Any = get_command(app)
    known = {*program.commands}
    told = [point.action for change, *_ in CASES.values() for point in points(status_document(**WELL | change), TIMES)]
    named = {name for action in told for name in re.findall(r"`syncd ([a-z]+)", action)}
    assert named <= known
    assert len(named) >= 7


def test_the_most_urgent_point_makes_the_sentence_and_the_others_follow() -> None:
    changes = {**CASES["dead"][0], **CASES["source"][0], **CASES["unbalanced"][0], **CASES["pause of Recotap"][0]}
    found = summary(status_document(**WELL | changes), TIMES)
    assert found["text"] == "Needs you: the books do not balance: rows were removed by hand (2 more below)."
    assert [point["level"] for point in found["points"]] == ["needs_you", "waiting", "waiting", "note"]


def test_without_points_all_is_well() -> None:
    counts = {**status_document()["activities"], "delivered": 1234, "pending": 5, "incomplete": 6}
    found = summary(status_document(**WELL, activities=counts), TIMES)
    assert found == {
        "level": "ok", "points": [],
        "text": "All is well: 1,234 delivered, 5 to be sent, 6 waiting for data or time.",
    }  # fmt: skip


def test_a_paused_source_is_told_once_and_a_first_pass_under_way_is_well() -> None:
    both = {"pauses": {"hubspot": PAUSE}, "sources": [stream(last_error="quota")]}
    assert len([*points(status_document(**WELL | both), TIMES)]) == 1
    assert [*points(status_document(**WELL | {"last_pass": None}), TIMES)] == []


@pytest.mark.parametrize(
    "told",
    [
        {"pauses": {"hubspot": PAUSE}},
        {"sources": [stream(last_error="answered 503", last_success_at=None)]},
        {"last_pass": None, "held_by": None},
    ],
)
def test_a_source_that_was_never_read_is_told_once(told: dict[str, Any]) -> None:
    unread = [{"source": "hubspot", "stream": "calls"}]
    assert len([*points(status_document(**WELL | told | {"never_read": unread}), TIMES)]) == 1
    (_, point) = points(status_document(**WELL | {"never_read": unread, "ranges": [gap("backfill")]}), TIMES)
    assert "span of hubspot" in point.text


def test_an_adoption_that_has_ended_and_a_range_of_a_source_that_is_gone_are_no_points() -> None:
    ended = {"adopted": 3, "began_at": ago(hours=2), "ended_at": ago(hours=1)}
    assert [*points(status_document(**WELL, adoption=ended), TIMES)] == []
    (point,) = points(status_document(**WELL, ranges=[gap("backfill")], sources_gone=["hubspot"]), TIMES)
    assert "not in the configuration" in point.text


def test_status_does_not_call_it_well_while_a_source_was_never_read(live: World, command: Command) -> None:
    """A canary reads no window."""
    (call,) = live.calls(1)
    assert command("-c", live.config_file, "sync", "--only", call).code == 0
    found = json.loads(command("-c", live.config_file, "status", "--json").out)
    assert {"source": "hubspot", "stream": "emails"} in found["never_read"]
    assert found["summary"]["text"].startswith("Waiting: hubspot was never read to its end (")
    assert command("-c", live.config_file, "sync").code == 0
    found = json.loads(command("-c", live.config_file, "status", "--json").out)
    assert (found["never_read"], found["summary"]["level"]) == ([], "ok")


@pytest.mark.parametrize(
    ("schedule", "silent", "overdue"),
    [
        ({"every": "5m"}, timedelta(minutes=119), False),
        ({"every": "5m"}, timedelta(minutes=121), True),
        ({"every": "1d"}, timedelta(days=2), False),
        ({"every": "1d"}, timedelta(days=4), True),
        ({"cron": "0 * * * *"}, timedelta(hours=5), True),
    ],
)
def test_a_pass_is_overdue_after_three_intervals_but_not_within_two_hours(
    schedule: dict[str, str], silent: timedelta, overdue: bool
) -> None:
    last = {**DONE, "finished_at": clock.text(NOW - silent)}
    wanted = Schedule.model_validate(schedule)
    assert is_overdue(status_document(last_pass=last), wanted, NOW) is overdue
    assert is_overdue(status_document(last_pass=last, held_by="`syncd run`, process 1"), wanted, NOW) is False
    assert is_overdue(status_document(), wanted, NOW) is False


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "just now"), (1.9, "just now"), (-1, "just now"), (3, "3 s ago"), (89, "89 s ago"), (90, "1 min ago"),
        (5399, "89 min ago"), (5400, "1 h ago"), (129_599, "35 h ago"), (129_600, "1 day ago"), (172_800, "2 days ago"),
        (-60, "in 60 s"), (-7200, "in 2 h"), (-864_000, "in 10 days"),
    ],
)  # fmt: skip
def test_ages(seconds: float, told: str) -> None:
    assert TIMES.age(clock.text(NOW - timedelta(seconds=seconds))) == told


def test_a_time_that_no_zone_can_show_stays_in_utc(in_zone: Callable[[str], None]) -> None:
    in_zone("Asia/Kolkata")
    assert Times(NOW, local=True).at("9999-12-31T23:59:59.999Z") == "9999-12-31T23:59:59.999Z"
    assert Times(NOW, local=True).at("2026-10-05T09:00:00.000Z") == "2026-10-05T14:30"
    assert (TIMES.at(None), TIMES.aged(None), TIMES.age(None), TIMES.zone) == ("-", "-", "never", "UTC")
    in_zone("UTC")
    assert Times(NOW, local=True).zone == "UTC"


@pytest.mark.parametrize(
    ("read_to", "newest_first", "told"),
    [
        (ago(hours=42), False, f"(a backfill), read up to {ago(hours=42)}, 25% of it"),
        (ago(hours=42), True, f"(a backfill), read down to {ago(hours=42)}, 75% of it"),
        (ago(days=9), False, f", read up to {ago(days=9)}, 0% of it"),
        (ago(hours=1), False, f", read up to {ago(hours=1)}, 100% of it"),
        (None, False, "(a backfill)"),
    ],
)
def test_a_range_shows_how_much_of_it_is_read(read_to: str | None, newest_first: bool, told: str) -> None:
    each = gap("backfill") | {"read_to": read_to, "newest_first": newest_first}
    (line,) = [line for line in facts.notes(status_document(ranges=[each]), TIMES) if line.startswith("to read")]
    assert line.endswith(told)


def test_a_range_without_length_is_read_whole() -> None:
    each = gap() | {"read_to": ago(days=1), "since": ago(days=1)}
    assert "100% of it" in " ".join(facts.notes(status_document(ranges=[each]), TIMES))


# -- from the ledger --------------------------------------------------------------------------------


def test_pending_is_split_into_due_backing_off_and_refused(world: World) -> None:
    failed, refused = world.calls(2), world.call()
    world.recotap.rule("fail", ids=[f"hubspot-call-{each}" for each in failed])
    world.recotap.rule("refuse", ids=[f"hubspot-call-{refused}"])
    world.sync()
    backing_off = {"failed": 2, "too_large": 0, "suspect": 0}
    assert world.status()["pending"] == {"due": 0, "backing_off": backing_off, "refused": 1}
    world.recotap.faults.add(Fault(match="sales-activities", status=503, count=None))
    world.call()
    world.sync()
    assert world.status()["pending"] == {"due": 1, "backing_off": backing_off, "refused": 1}
    world.sql("UPDATE activities SET next_attempt_at = ? WHERE crm_id IN (?, ?)", "2026-01-01", failed[0], refused)
    assert world.status()["pending"] == {"due": 3, "backing_off": backing_off | {"failed": 1}, "refused": 0}


def test_no_more_than_so_many_due_rows_are_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = world.calls(3)
    world.recotap.rule("fail", ids=[f"hubspot-call-{each}" for each in failed])
    world.sync()
    world.sql("UPDATE activities SET next_attempt_at = '2026-01-01T00:00:00.000Z'")
    monkeypatch.setattr("syncd.ledger.reports.DUE_MOST", 2)
    assert world.status()["pending"]["due"] == 2
    assert world.status()["pending"]["backing_off"]["failed"] == 1


def test_status_begins_with_the_summary_and_names_who_runs(live: World, command: Command) -> None:
    live.call()
    live.sync()
    file = live.write_config()
    said = command("status", "-c", file).out.splitlines()
    assert said[0] == "summary: All is well: 1 delivered, 0 to be sent, 0 waiting for data or time."
    assert "running: no syncd" in said
    with LedgerHandle(live.ledger).hold("run"):
        document = json.loads(command("status", "--json", "-c", file).out)
        assert "running: `syncd run`, process " in command("status", "-c", file).out
    assert document["held_by"].startswith("`syncd run`, process ")
    assert (document["summary"]["level"], document["overdue"]) == ("ok", False)


def test_a_refused_key_comes_first_in_status(live: World, command: Command) -> None:
    live.call()
    live.recotap.faults.add(Fault(match="sales-activities", status=401, count=None))
    live.recotap.faults.add(Fault(match="accounts", status=401, count=None))
    assert command("sync", "-c", live.write_config()).code == Exit.UNAUTHORIZED
    said = command("status", "-c", live.config_file).out.splitlines()
    assert said[0] == "summary: Needs you: Recotap refuses the key."
    assert "needs you: Recotap refuses the key → give syncd a key that Recotap accepts: `syncd check`" in said
    assert "Recotap, key: refused" in said


def test_status_reads_the_books_beside_a_lock_that_it_may_not_open(live: World, command: Command) -> None:
    live.call()
    live.sync()
    lock = live.ledger.with_name(f"{live.ledger.name}.lock")
    lock.unlink()
    lock.symlink_to(live.path / "elsewhere")
    ran = command("status", "-c", live.write_config())
    assert (ran.code, ran.err) == (0, "")
    assert "running: unknown: the ledger at " in ran.out
    assert ran.out.startswith("summary: All is well: 1 delivered")
