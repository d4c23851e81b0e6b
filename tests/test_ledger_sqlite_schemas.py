"""A ledger of every earlier schema, kept as the SQL that made it, becomes a current one, whole or not at all."""

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from syncd.ledger import LedgerHandle, schema
from syncd.ledger.counts import EVER
from tests.ledgers import NOW, ask, attempts, counted, kept, reports, row, send

ROOT = Path(__file__).parents[1]
SCHEMAS = sorted(int(file.stem) for file in (ROOT / "tests" / "ledger_schemas").glob("*.sql"))
DELIVERED = {"1": "created", "2": "duplicate", "9": "foreign_duplicate"}


def of_schema(number, folder):
    """Write a ledger of that schema, and return its path."""
    path = folder / f"ledger-{number}.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript((ROOT / "tests" / "ledger_schemas" / f"{number}.sql").read_text(encoding="utf-8"))
    path.chmod(0o600)
    return path


def dump(path):
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump()), db.execute("PRAGMA user_version").fetchone()


def test_each_earlier_schema_is_kept():
    assert list(range(1, schema.VERSION)) == SCHEMAS


@pytest.mark.parametrize("line", ["status", "status --json", "explain 1", "list", "failures", "passes", "retry 1"])
def test_a_command_on_an_older_one_says_how_to_migrate_it_and_changes_nothing(live, command, line):
    live.ledger.parent.mkdir(mode=0o700)
    of_schema(SCHEMAS[-1], live.ledger.parent).rename(live.ledger)
    before = live.ledger.read_bytes()
    ran = command(*line.split(), "-c", live.write_config())
    assert (ran.code, ran.out) == (74, "")
    assert f"is of an older syncd (schema {SCHEMAS[-1]}, this one reads {schema.VERSION})" in ran.err
    assert "run `syncd sync`, or restart `syncd run`" in ran.err
    assert live.ledger.read_bytes() == before


@pytest.mark.parametrize("number", SCHEMAS)
def test_its_rows_and_attempts_are_carried_over_and_counted(tmp_path, number):
    path = of_schema(number, tmp_path)
    before = ask(path, "SELECT crm_id, state, reason, verdict, detail, changed_after_delivery FROM activities")
    with LedgerHandle(path).open() as ledger:
        assert ask(path, "PRAGMA user_version") == [(schema.VERSION,)]
        after = ask(path, "SELECT crm_id, state, reason, verdict, detail, changed_after_delivery FROM activities")
        assert after == before
        assert kept(ledger) == counted(ledger)
        assert ledger.balanced()
        assert ledger.recover(now=NOW) == 1, "the POST that was under way"
        assert {crm_id: row(ledger, crm_id)["verdict"] for crm_id in DELIVERED} == DELIVERED
        assert [attempts(ledger, crm_id) for crm_id in "1248"] == [
            ["created"], ["unanswered", "duplicate"], ["crashed"], ["refused"]
        ]  # fmt: skip
        assert sorted(send(ledger)) == ["5"]
        assert kept(ledger) == counted(ledger)
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]
    assert ask(path, "PRAGMA foreign_key_check") == []


@pytest.mark.parametrize("number", SCHEMAS)
def test_its_deliveries_are_counted_by_day_and_lateness(tmp_path, number):
    path = of_schema(number, tmp_path)
    with LedgerHandle(path).open():
        pass
    assert ask(path, "SELECT * FROM days ORDER BY 1, 2, 3, 4") == [
        ("2026-05-01", 1, "occurred", 86_400, 1), ("2026-05-01", 1, "seen", 10, 1),
        ("2026-05-03", 1, "occurred", 7 * 86_400, 1), ("2026-05-03", 1, "seen", 7 * 86_400, 1),
        ("2026-05-03", 2, "occurred", EVER, 1), ("2026-05-03", 2, "seen", 7 * 86_400, 1),
    ]  # fmt: skip


def test_status_says_the_same_of_a_ledger_whichever_schema_it_had(tmp_path):
    told = []
    for number in SCHEMAS:
        with LedgerHandle(of_schema(number, tmp_path)).open() as ledger:
            told.append(reports(ledger).status(version="1", now=NOW))
    for document in told:
        del document["ledger"]
    assert told[0]["activities"] == {
        "pending": 3, "incomplete": 1, "delivered": 3, "skipped": 1, "excluded": 1, "dead": 2
    }  # fmt: skip
    assert told[0]["reasons"]["dead"] == {"refused": 1, "unreadable": 1}
    assert told[0]["changed_after_delivery"] == 1
    assert all(document == told[0] for document in told)


def fatal(statements, step):
    """Yield the statements of a migration, and kill this process before the one with the number `step`."""
    for number, statement in enumerate((*statements, None)):
        if number == step:
            os.kill(os.getpid(), signal.SIGKILL)
        yield statement


def migrate_and_die(path, name, step):
    """Open the ledger in a fork of this process, which dies within the migration to the schema `name`."""
    child = os.fork()
    if child == 0:
        try:
            setattr(schema, name, fatal(getattr(schema, name), step))
            with LedgerHandle(path).open():
                pass
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("number", "step"),
    [(number, step) for number in (4, 5, 6) for step in range(len(getattr(schema, f"V{number + 1}")) + 1)],
)
def test_a_kill_at_any_step_leaves_the_schema_it_was(tmp_path, number, step):
    """The last step is after the last statement, before the commit."""
    path = of_schema(number, tmp_path)
    if number == 5:
        add_salesforce(path)
    before = dump(path)
    migrate_and_die(path, f"V{number + 1}", step)
    assert dump(path) == before
    with LedgerHandle(path).open() as ledger:
        assert ledger.balanced()
        assert kept(ledger) == counted(ledger)


# Sources of schema 5 with ids of tasks among their emails, and whether those are tasks of Salesforce.
SALESFORCE = {"tasks": True, "both": True, "unread": True, "older": True, "messages": True, "folder": False}
IDENTITIES = {"older": "00D5g000004DHWM", "folder": "drop-1"}
EMAILS_FROM = {"tasks": "Task", "both": "EmailMessage", "unread": "Task", "messages": "EmailMessage"}
AT = "2026-05-02T08:00:00.000Z"


def add_salesforce(path):
    """Add sources with emails of several states: "00T..." in the first, third and fifth place, except in `messages`."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO days VALUES ('2026-05-02', 1, 'seen', 10, 1)")  # of a stream that does not move
        for number, source in enumerate(SALESFORCE):
            db.execute("INSERT INTO sources VALUES (?, ?, '{source}-{kind}-{id}')", (source, IDENTITIES.get(source)))
            if source in EMAILS_FROM:
                values = (source, json.dumps(EMAILS_FROM[source]), AT)
                db.execute("INSERT INTO store VALUES (?, 'emails_from', ?, ?)", values)
            stream_id, count = 10 + number, 0 if source == "unread" else 6
            db.execute(
                "INSERT INTO streams (id, source, stream, seen, watermark, swept_at, start) "
                "VALUES (?, ?, 'emails', ?, ?, ?, '2026-01-01T00:00:00.000Z')",
                (stream_id, source, count, AT, AT),
            )
            db.execute(
                "INSERT INTO ranges (stream_id, since, until, why, created_at) VALUES (?, ?, ?, 'backfill', ?)",
                (stream_id, AT, AT, AT),
            )
            for place in range(count):
                _add_email(db, source, stream_id, 100 * (number + 1) + place, place)
        db.execute("DELETE FROM counts")
        db.execute(f"INSERT INTO counts {COUNTED_5}")
        db.execute(
            "INSERT OR REPLACE INTO days SELECT '2026-05-02', stream_id, since, 10, count(*) "
            "FROM activities, (SELECT 'seen' AS since UNION SELECT 'occurred') "
            "WHERE state = 'delivered' AND stream_id >= 10 GROUP BY 2, 3"
        )


COUNTED_5 = """
    SELECT stream_id, state, coalesce(reason, ''), coalesce(verdict, ''), changed_after_delivery, count(*)
    FROM activities GROUP BY 1, 2, 3, 4, 5
"""
STATES = [("delivered", None), ("delivered", None), ("pending", None), ("pending", None), ("incomplete", "no_contact"),
          ("excluded", "internal")]  # fmt: skip


def _add_email(db, source, stream_id, row_id, place):
    state, reason = STATES[place]
    is_task = source in ("tasks", "older") or (source != "messages" and place % 2 == 0)
    crm_id = f"{'00T' if is_task else '02s'}5g00000A{row_id:07d}"
    db.execute(
        "INSERT INTO activities (id, stream_id, crm_id, external_activity_id, kind, state, reason, verdict, "
        "modified_at, occurred_at, first_seen_at, updated_at, next_attempt_at) "
        "VALUES (?, ?, ?, ?, 'email', ?, ?, ?, ?, ?, ?, ?, ?)",
        (row_id, stream_id, crm_id, f"{source}-email-{crm_id}", state, reason,
         "created" if state == "delivered" else None, AT, AT, AT, AT if state == "delivered" else None,
         AT if state in ("pending", "incomplete") else None),
    )  # fmt: skip
    if state == "pending":
        db.execute("INSERT INTO payloads (activity_id, body) VALUES (?, '{}')", (row_id,))


def streams(path):
    sql = "SELECT source, stream, seen, watermark, swept_at, start FROM streams WHERE id >= 10 ORDER BY 1, 2"
    return {(source, stream): tuple(more) for source, stream, *more in ask(path, sql)}


def ids(path, source, stream):
    sql = "SELECT crm_id FROM activities JOIN streams ON streams.id = stream_id WHERE source = ? AND stream = ?"
    return sorted(crm_id for (crm_id,) in ask(path, sql, source, stream))


class TestEmailTasks:
    """Tasks that are emails get a stream of their own. The other rows of the source stay where they are."""

    @pytest.fixture
    def path(self, tmp_path):
        path = of_schema(5, tmp_path)
        add_salesforce(path)
        return path

    def test_they_move_with_a_copy_of_the_watermark(self, path):
        before = ask(path, "SELECT id, crm_id, external_activity_id, state, next_attempt_at FROM activities ORDER BY 1")
        with LedgerHandle(path).open() as ledger:
            assert kept(ledger) == counted(ledger)
            assert ledger.balanced()
        after = ask(path, "SELECT id, crm_id, external_activity_id, state, next_attempt_at FROM activities ORDER BY 1")
        assert after == before
        mark = (AT, AT, "2026-01-01T00:00:00.000Z")
        assert streams(path) == {
            ("tasks", "emails"): (0, *mark), ("tasks", "email_tasks"): (6, *mark),
            ("both", "emails"): (3, *mark), ("both", "email_tasks"): (3, *mark),
            ("unread", "emails"): (0, *mark), ("unread", "email_tasks"): (0, *mark),
            ("older", "emails"): (0, *mark), ("older", "email_tasks"): (6, *mark),
            ("messages", "emails"): (6, *mark), ("folder", "emails"): (6, *mark),
        }  # fmt: skip
        assert {crm_id[:3] for crm_id in ids(path, "both", "emails")} == {"02s"}
        assert {crm_id[:3] for crm_id in ids(path, "both", "email_tasks")} == {"00T"}
        assert {crm_id[:3] for crm_id in ids(path, "folder", "emails")} == {"00T", "02s"}
        assert ask(path, "PRAGMA foreign_key_check") == []

    def test_their_deliveries_are_counted_there(self, path):
        def days(of):
            sql = "SELECT day, since, within, sum(n) FROM days WHERE stream_id IN (SELECT id FROM streams WHERE "
            return ask(path, f"{sql} {of}) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3")

        before = days("id >= 10")
        with LedgerHandle(path).open():
            pass
        assert days("id >= 10") == before
        assert days("source = 'tasks' AND stream = 'emails'") == []
        two = [("2026-05-02", "occurred", 10, 2), ("2026-05-02", "seen", 10, 2)]
        assert days("source = 'tasks' AND stream = 'email_tasks'") == two
        one = [(*columns, 1) for *columns, _ in two]
        assert (
            days("source = 'both' AND stream = 'emails'") == days("source = 'both' AND stream = 'email_tasks'") == one
        )

    def test_what_is_still_to_be_read_follows_them(self, path):
        with LedgerHandle(path).open() as ledger:
            found = {source: [each.stream for each in ledger.ranges(source)] for source in SALESFORCE}
        assert found == {
            "tasks": ["email_tasks"], "both": ["emails", "email_tasks"], "unread": ["email_tasks"],
            "older": ["emails", "email_tasks"], "messages": ["emails"], "folder": ["emails"],
        }  # fmt: skip

    def test_they_are_sent_and_looked_up_from_there(self, path):
        with LedgerHandle(path).open() as ledger:
            ledger.recover(now=NOW)
            assert set(ids(path, "tasks", "email_tasks")) & set(send_all(ledger))
            assert len(ledger.due_look_ups("tasks", "email_tasks", now=NOW, limit=10)) == 1
            assert ledger.due_look_ups("tasks", "emails", now=NOW, limit=10) == []
            assert ledger.balanced()
            assert kept(ledger) == counted(ledger)


def send_all(ledger):
    """Send everything that is due, and return the CRM's ids."""
    sent = []
    while some := send(ledger):
        sent += some
    return sent


def test_the_settings_that_narrow_a_stream_are_kept(tmp_path):
    with LedgerHandle(of_schema(5, tmp_path)).open() as ledger:
        assert ledger.rules_of("hubspot") == {}
        ledger.note_rule(ledger.stream_id("hubspot", "calls"), {"match": [{"Type": "Call"}]})
        assert ledger.rules_of("hubspot") == {"calls": {"match": [{"Type": "Call"}]}}
