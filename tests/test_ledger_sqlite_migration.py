"""A ledger of schema 3, with attempts of every kind, becomes a current one, whole or not at all."""

import sqlite3
from contextlib import closing

import pytest

from syncd.ledger import LedgerHandle, place, schema
from syncd.lifecycle.states import Verdict
from tests.ledgers import DAY, NOW, ask, attempts, due_names, reports, row, send
from tests.test_ledger_sqlite_schemas import dump, migrate_and_die

AT = "2026-05-01T10:00:00.000Z"
TABLES = ("activities", "payloads", "posts", "attempts", "streams")
# crm_id, state, verdict, detail, last_post, unknown
ROWS = [
    ("1", "delivered", "created", None, 1, 0),
    ("2", "delivered", "duplicate", None, 2, 1),
    ("3", "pending", "failed", "no account", 2, 0),
    ("4", "pending", None, None, 3, 0),
    ("5", "pending", None, None, 0, 0),
    ("6", "delivered", "created", None, 1, 0),
    ("7", "incomplete", "failed", None, 1, 0),
    ("8", "dead", "refused", "a rule", 2, 0),
    ("9", "pending", "unreachable", None, 3, 1),
]
# activity, post, verdict, detail; no verdict: syncd was killed while POST 3 was under way
ATTEMPTS = [
    (1, 1, "created", None), (2, 1, "unanswered", "no word"), (2, 2, "duplicate", None), (3, 2, "failed", "no account"),
    (4, 3, None, None), (6, 1, "created", "with a word"), (7, 1, "failed", None), (8, 2, "refused", "a rule"),
    (9, 1, "crashed", None), (9, 3, None, None),
]  # fmt: skip


@pytest.fixture
def path(tmp_path):
    """Write a file as syncd wrote it with schema 3."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        for statement in (*schema.V1, *schema.V2, *schema.V3):
            db.execute(statement)
        db.execute("PRAGMA user_version = 3")
        db.execute("INSERT INTO streams (source, stream, seen) VALUES ('hubspot', 'calls', 9)")
        for number, finished in ((1, AT), (2, AT), (3, None)):
            db.execute("INSERT INTO posts (id, at, finished_at) VALUES (?, ?, ?)", (number, AT, finished))
        for number, (crm_id, state, verdict, detail, last_post, unknown) in enumerate(ROWS, 1):
            db.execute(
                "INSERT INTO activities (id, stream_id, crm_id, external_activity_id, kind, state, verdict, detail, "
                "modified_at, occurred_at, first_seen_at, next_attempt_at, last_post, unknown) "
                "VALUES (?, 1, ?, ?, 'call', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (number, crm_id, f"hubspot-call-{crm_id}", state, verdict, detail, AT, AT, AT,
                 AT if state == "pending" else None, last_post, unknown),
            )  # fmt: skip
            if state == "pending":
                db.execute("INSERT INTO payloads VALUES (?, ?)", (number, f'{{"id": {number}}}'))
        db.executemany("INSERT INTO attempts VALUES (?, ?, ?, ?)", ATTEMPTS)
    path.chmod(0o600)
    return path


def contents(path):
    """Return every row of the tables, of posts without their members."""
    found = {table: ask(path, f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES}
    return found | {
        "posts": [columns[:3] for columns in found["posts"]],
        "streams": [columns[:8] for columns in found["streams"]],  # without those that schema 5 adds
    }


def migrate(path):
    with LedgerHandle(path).open():
        pass


def test_everything_is_carried_over(path):
    before = contents(path)
    migrate(path)
    after = contents(path)
    in_flight = {4, 9}
    last_post, added = 20, 2  # the column, and the number of columns that schema 3 lacks
    assert [
        (*columns[:last_post], abs(columns[last_post]), *columns[last_post + 1 : -added])
        for columns in after["activities"]
    ] == before["activities"]
    assert {columns[0] for columns in after["activities"] if columns[last_post] < 0} == in_flight
    assert {columns[-1] for columns in after["payloads"]} == {None}, "nobody knows when they were read"
    after["payloads"] = [columns[:-1] for columns in after["payloads"]]
    assert {name: rows for name, rows in after.items() if name != "activities"} == {
        name: rows for name, rows in before.items() if name != "activities"
    }
    assert ask(path, "PRAGMA user_version") == [(schema.VERSION,)]
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]
    assert ask(path, "PRAGMA foreign_key_check") == []


def test_only_what_the_rows_do_not_say_keeps_an_attempt_of_its_own(path):
    migrate(path)
    kept = ask(path, "SELECT activity_id, post_id FROM past_attempts ORDER BY 1, 2")
    assert kept == [(2, 1), (3, 2), (6, 1), (7, 1), (8, 2), (9, 1)]
    assert ask(path, "SELECT id, members FROM posts") == [(1, None), (2, None), (3, "[4,9]")]


def test_a_pass_goes_on_where_the_old_one_was_killed(path):
    with LedgerHandle(path).open() as ledger:
        assert ledger.balanced()
        assert ledger.recover(now=NOW) == 2
        assert (attempts(ledger, 4), attempts(ledger, 9)) == (["crashed"], ["crashed", "crashed"])
        assert [row(ledger, crm_id)["unknown"] for crm_id in ("4", "9")] == [1, 1]
        assert [row(ledger, crm_id)["last_post"] for crm_id in ("4", "9")] == [3, 3]
        assert due_names(ledger, now=NOW) == ["5"]
        assert send(ledger) == ["5"]
        assert sorted(send(ledger, Verdict.DUPLICATE, now=NOW + DAY)) == ["3", "4", "9"]
        assert attempts(ledger, 9) == ["crashed", "crashed", "duplicate"]
        story = reports(ledger).explain("hubspot-call-1")["attempts"]
        assert story == [{"at": AT, "verdict": "created", "detail": None}]
        assert [each["detail"] for each in reports(ledger).explain("hubspot-call-6")["attempts"]] == ["with a word"]


@pytest.mark.parametrize(
    ("kind", "state", "verdict"),
    [
        ("sms", "pending", None),
        ("call", "sent", None),
        ("call", "delivered", "failed"),
        ("call", "delivered", None),
        ("call", "", None),
    ],
)
def test_the_checks_hold_as_before(path, kind, state, verdict):
    migrate(path)
    insert = """
        INSERT INTO activities (stream_id, crm_id, external_activity_id, kind, state, verdict, modified_at,
            first_seen_at)
        VALUES (1, 'new', 'new', ?, ?, ?, '', '')
    """
    with closing(sqlite3.connect(path)) as db:
        db.execute(insert, ("email", "delivered", "foreign_duplicate"))
        db.execute("DELETE FROM activities WHERE crm_id = 'new'")
        with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed"):
            db.execute(insert, (kind, state, verdict))


def test_a_row_that_is_deleted_takes_its_attempts_and_its_payload_along(path):
    with LedgerHandle(path).open() as ledger:
        ledger._db.execute("DELETE FROM activities WHERE id IN (2, 9)")
    assert ask(path, "SELECT count(*) FROM past_attempts WHERE activity_id IN (2, 9)") == [(0,)]
    assert ask(path, "SELECT count(*) FROM payloads WHERE activity_id IN (2, 9)") == [(0,)]


@pytest.mark.parametrize("step", range(0, len(schema.V4), 3))
def test_a_kill_at_any_step_leaves_version_3(path, step):
    before = dump(path)
    migrate_and_die(path, "V4", step)
    assert dump(path) == before
    migrate(path)
    assert ask(path, "PRAGMA user_version") == [(schema.VERSION,)]


def test_one_attempt_is_looked_up_by_its_activity(path):
    """Through the view, too: `explain` must not read the ledger from end to end."""
    migrate(path)
    plan = ask(path, "EXPLAIN QUERY PLAN SELECT * FROM attempts JOIN posts ON posts.id = post_id WHERE activity_id = 9")
    steps = [step for *_, step in plan]
    assert not [step for step in steps if step.startswith(("SCAN activities", "SCAN past_attempts"))], steps
    assert [step for step in steps if step.startswith("SCAN posts")] in ([], ["SCAN posts USING INDEX open_posts"])


def test_the_mode_stays_its_owners_alone(path):
    migrate(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_log_that_alone_holds_the_tables_is_recognized_by_either_spelling(path):
    """SQLite writes the name of a renamed table in quotes."""
    migrate(path)
    ((created,),) = ask(path, "SELECT sql FROM sqlite_schema WHERE name = 'activities'")
    assert any(created.encode().startswith(mark) for mark in place.MARKS)
