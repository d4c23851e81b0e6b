"""No statement of a pass, of the daemon or of `status`, `explain` and `health` reads the activities from end to end.

The statements are those that really ran, as SQLite's module was given them.
"""

import asyncio
import functools
import re
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.errors import NoSuchActivity
from syncd.ledger import Filter, LedgerHandle, file
from syncd.ledger.recount import COUNT
from syncd.metrics import gather
from syncd.passes.limits import Limits
from syncd.sandbox.standin.faults import Fault
from syncd.web.answers import Answers
from tests.world import OWN, World

ABOUT = re.compile(r"\b(activities|payloads|attempts|past_attempts|keys|twins)\b")
QUEUE = re.compile(r"INDEX (fresh|blameless|backed_off)$")  # holds pending rows alone, in the order of the statement
NAMED = re.compile(
    r"\((rowid|external_activity_id|activity_id|first_id|slot=\? AND hash|stream_id=\? AND crm_id)=\?"
)  # one activity
PLAIN = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)


class Nothing(dict[str, None]):
    """Bind NULL to every name: a plan does not depend on the values."""

    def __missing__(self, key: str) -> None:
        return None


class Recorder(sqlite3.Connection):
    """Keep the text of every statement."""

    statements: set[str] = set()  # noqa: RUF012 - of all connections

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self.statements.add(sql)
        return super().execute(sql, *values)

    def executemany(self, sql: str, values: Any, /) -> sqlite3.Cursor:
        self.statements.add(sql)
        return super().executemany(sql, values)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


@pytest.fixture
def statements(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Yield the statements that run from now on. The migrations have run."""
    connect = functools.partial(sqlite3.connect, factory=Recorder)
    monkeypatch.setattr(file, "sqlite3", type("Module", (), {**vars(sqlite3), "connect": staticmethod(connect)}))
    with LedgerHandle(world.ledger).open():
        Recorder.statements.clear()
    yield Recorder.statements
    Recorder.statements.clear()


def plans(path: Path, statements: set[str]) -> dict[str, list[str]]:
    """Return the steps of the plan of each statement that reads or writes rows of activities."""
    found = {}
    with sqlite3.connect(path) as db:
        for sql in filter(ABOUT.search, statements):
            if PLAIN.match(sql):
                values = [None] * sql.count("?") if "?" in sql else Nothing()
                found[sql] = [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    return found


def faults(steps: list[str]) -> list[str]:
    """Return the steps that grow with the ledger. A few rows that were named by their ids may be sorted."""
    read = [step for step in steps if re.search(r"\b(SCAN|SEARCH) (activities|past_attempts|keys|twins)\b", step)]
    named = all(NAMED.search(step) for step in read)
    scans = [step for step in read if step.startswith("SCAN") and not QUEUE.search(step)]
    return scans + [step for step in steps if "TEMP B-TREE" in step and read and not named]


def live(world: World, statements: set[str]) -> None:
    """Make passes with new and changed records, look-ups, refusals, duplicates and deliveries, and an idle one."""
    nobody = world.person("lena.quillmark", address=None)
    calls = world.calls(60)
    waiting = world.call(contacts=[nobody])
    world.email()
    world.call(hs_call_status="IN_PROGRESS")
    world.recotap.rule("refuse", ids=[f"hubspot-call-{calls[3]}"])
    world.recotap.rule("fail", ids=[f"hubspot-call-{calls[5]}"])
    world.sync()
    assert world.state(waiting) == "incomplete no_contact_email"
    assert world.row(calls[3])["verdict"] == "refused"
    world.later(minutes=20)
    world.hubspot.edit("calls", calls[7], hs_call_title="Another title")
    world.hubspot.associate("calls", waiting, "contacts", world.contact)
    world.sync()
    world.later(hours=8)
    world.sync()
    world.later(minutes=5)
    world.sync()
    assert world.state(waiting) == "delivered"
    assert statements


def test_no_statement_of_a_pass_scans(world: World, statements: set[str]) -> None:
    live(world, statements)
    found = plans(world.ledger, statements - {COUNT})  # once a day
    ran = sum("UPDATE activities" in sql for sql in found)
    assert ran >= 3, "intents and verdicts (one statement), deliveries, and re-reads ran"
    assert any("INSERT INTO activities" in sql for sql in found)
    assert not (wrong := [(sql, steps) for sql, steps in found.items() if faults(steps)]), wrong[0]


def test_no_statement_of_a_look_up_before_sending_scans(world: World, statements: set[str]) -> None:
    calls = world.calls(60)
    world.recotap.set(keys=["another"])
    world.sync()
    world.recotap.set(keys=[world.box.key])
    world.later(hours=3)
    world.hubspot.delete("calls", calls[0])
    statements.clear()
    world.sync()
    assert world.delivered == {*calls[1:]}
    found = plans(world.ledger, statements - {COUNT})
    assert sum("read_at" in sql for sql in found) >= 5, "what is due, stale, read again and changed"
    assert not (wrong := [(sql, steps) for sql, steps in found.items() if faults(steps)]), wrong[0]


def test_no_statement_of_a_limited_pass_scans(world: World, statements: set[str]) -> None:
    calls = world.calls(60)
    world.recotap.rule("refuse", ids=[f"hubspot-call-{calls[0]}"])
    world.recotap.faults.add(Fault(match="sales-activities", status=503, headers={"Retry-After": "3600"}, count=1))
    world.sync()
    world.later(hours=1, minutes=1)
    statements.clear()
    world.sync(limits=Limits(most=10))
    world.sync(limits=Limits(only={"hubspot": {"calls": [calls[50]]}}))
    assert (len(world.delivered), world.row(calls[0])["verdict"]) == (10, "refused")
    found = plans(world.ledger, statements - {COUNT})
    for part in (":most", ":only", "SELECT id FROM activities WHERE stream_id"):
        assert any(part in sql for sql in found), part
    assert not (wrong := [(sql, steps) for sql, steps in found.items() if faults(steps)]), wrong[0]


def test_no_statement_about_copies_scans(world: World, statements: set[str]) -> None:
    world.configure("rules", own_domains=[OWN], same_activity="exclude")
    at = world.now() - timedelta(hours=2)
    calls = [world.call(ago=timedelta(hours=2, seconds=-number), happened=at) for number in range(15)]
    first = calls[0]
    world.recotap.rule("fail", ids=[f"hubspot-call-{first}"])
    world.sync()
    assert world.state(calls[1]) == "excluded duplicate_of"
    assert world.row(calls[1])["twins"]
    world.hubspot.edit("calls", first, hs_call_status="IN_PROGRESS")
    world.later(hours=2)
    world.sync()
    assert len(world.delivered & set(calls[1:])) == 1, "one of the copies"
    found = plans(world.ledger, statements - {COUNT})
    forgets = {sql for sql in found if "day < :oldest" in sql}  # once a day, as the count
    for part in ("INTO keys", "JOIN keys", "INTO twins", "FROM twins"):
        assert any(part in sql for sql in found), part
    assert not (wrong := [(sql, steps) for sql, steps in found.items() if sql not in forgets and faults(steps)]), wrong[
        0
    ]


def test_no_statement_of_a_pass_after_a_crash_or_a_doubt_about_the_clock_scans(
    world: World, statements: set[str]
) -> None:
    world.calls(3)
    world.call(hs_call_status="IN_PROGRESS")
    world.sync()
    with LedgerHandle(world.ledger).open() as ledger:
        ledger.intend(ledger.due(1, first_post=99, now=world.now()), now=world.now())
        ledger.doubt_clock(world.now())
    with LedgerHandle(world.ledger).open() as ledger:
        ledger.recover(now=world.now())
        ledger.trust_clock(world.now())
        ledger.book_missing(1, ["1"], now=world.now())
    found = plans(world.ledger, statements - {COUNT})
    assert any("payloads) AND next_attempt_at >" in sql for sql in found), "the doubt was resolved"
    assert not (wrong := [(sql, steps) for sql, steps in found.items() if faults(steps)]), wrong[0]


def test_no_question_of_an_operator_or_of_the_daemon_scans(world: World, statements: set[str]) -> None:
    calls = world.calls(3)
    world.sync()
    statements.clear()
    world.status()
    world.row(calls[0])
    with LedgerHandle(world.ledger).operate() as glance:
        glance.find(f"hubspot-call-{calls[0]}")
        with pytest.raises(NoSuchActivity):
            glance.find("a" * 15)
        glance.sources_to_look_up(world.now())
        glance.next_send_at()
        glance.silent_since()
        glance.last_success()
        glance.balanced()
        glance.counts()
        glance.has_rows("hubspot")
        glance.retry([calls[0]], state=None, reason=None, now=world.now())
        glance.retry([], state="dead", reason=None, now=world.now())
    found = plans(world.ledger, statements)
    assert len(found) >= 10
    assert not (wrong := [(sql, steps) for sql, steps in found.items() if faults(steps)]), wrong[0]


def test_no_statement_of_the_status_page_scans(world: World, statements: set[str]) -> None:
    (call,) = world.calls(1)
    world.sync()
    statements.clear()
    answers = Answers(world.config())
    assert asyncio.run(answers.page()).status == 200
    assert asyncio.run(answers.activity(call)).status == 200
    asyncio.run(answers.probe("ready"))
    found = plans(world.ledger, statements)
    assert len(found) >= 10, "those that read activities"
    assert not (wrong := [(sql, steps) for sql, steps in found.items() if faults(steps)]), wrong[0]


def test_no_metric_reads_an_activity_beyond_those_of_status(world: World, statements: set[str]) -> None:
    world.calls(3)
    world.sync()
    world.status()
    known = set(statements)
    with LedgerHandle(world.ledger).reports() as glance:
        gather(glance, world.config(), world.now())
    new = statements - known
    assert len([sql for sql in new if "counts" in sql or "days" in sql or "posts" in sql]) >= 3
    found = plans(world.ledger, new)
    assert not (wrong := [(sql, steps) for sql, steps in found.items() if faults(steps)]), wrong[0]
    assert [sql for sql in found if "EXISTS" not in sql] == [], "but for whether a source has any row"


def test_no_list_of_failures_scans(world: World, statements: set[str]) -> None:
    world.call(contacts=[])
    world.sync()
    statements.clear()
    with LedgerHandle(world.ledger).reports() as glance:
        assert glance.failures()
        glance.delivered_domains()
        glance.passes(50)
    found = plans(world.ledger, statements)
    assert len(found) >= 7
    indexes = re.compile(r"INDEX (ended|look_ups|withheld|fresh|blameless|backed_off)\b")  # hold no delivered row
    for sql, steps in found.items():
        read = [step for step in steps if re.search(r"\b(SCAN|SEARCH) activities\b", step)]
        assert read
        newest = "SEARCH activities"  # the greatest id
        assert all(indexes.search(step) or "(rowid" in step or step == newest for step in read), (sql, steps)
    ended = [steps for sql, steps in found.items() if "INDEXED BY ended" in sql]
    assert len(ended) == 2
    assert all("COVERING INDEX ended" in step for steps in ended for step in steps), "no row is read, none is sorted"


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(states=["dead"], reason="refused"),
        Filter(source="hubspot", kind="call", domain="amber-bolts.com"),
        Filter(owners={"hubspot": ["1", "2"]}),
    ],
)
def test_a_list_reads_the_latest_rows_first_and_sorts_none(world: World, statements: set[str], wanted: Filter) -> None:
    """It ends with the last row that is asked for."""
    world.call()
    world.sync()
    statements.clear()
    with LedgerHandle(world.ledger).reports() as glance:
        glance.activities(wanted, limit=10)
    ((_, steps),) = plans(world.ledger, statements).items()
    assert "SCAN activities" in steps
    assert not [step for step in steps if "TEMP B-TREE" in step]


def test_a_list_of_pending_activities_reads_no_other(world: World, statements: set[str]) -> None:
    world.call()
    world.sync()
    statements.clear()
    with LedgerHandle(world.ledger).reports() as glance:
        glance.activities(Filter(states=["pending"]), limit=10)
    ((_, steps),) = plans(world.ledger, statements).items()
    assert any("SEARCH activities USING INTEGER PRIMARY KEY (rowid=?)" in step for step in steps)
    assert not [step for step in steps if step.startswith("SCAN activities") or "TEMP B-TREE" in step]
