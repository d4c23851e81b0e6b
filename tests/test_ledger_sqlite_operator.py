"""An operator's command and a running pass write one ledger from two processes, and neither fails for the other."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from syncd.ledger import LedgerHandle, file, operator
from tests.ledgers import NOW, ask, book, send
from tests.ledgers import reading as look

ROOT = Path(__file__).parents[1]
RETRY = """
import sys
from pathlib import Path
from tests.ledgers import NOW, DAY
from syncd.ledger import LedgerHandle
with LedgerHandle(Path(sys.argv[1])).operate() as operator:
    print(operator.retry(sys.argv[3:], state=sys.argv[2] or None, reason=None, now=NOW + DAY))
"""
BUSY_PASS = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
print("locked", flush=True)
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    db.execute("BEGIN IMMEDIATE")
    time.sleep(0.3)
    db.execute("COMMIT")
"""
DUE = "SELECT count(*) FROM activities WHERE next_attempt_at = '2026-06-02T12:00:00.000Z'"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


def fill(path, dead):
    """Write a ledger of `dead` rows that syncd gave up."""
    with LedgerHandle(path).open() as ledger:
        stream = ledger.stream_id("hubspot", "calls")
        insert = """
            INSERT INTO activities (stream_id, crm_id, external_activity_id, kind, state, modified_at, first_seen_at)
            VALUES (?, ?, ?, 'call', 'dead', '', '')
        """
        with ledger.transaction():
            rows = [(stream, str(n), f"hubspot-call-{n}") for n in range(dead)]
            ledger._db.conn.executemany(insert, rows)


def retry(path, state, *ids):
    return subprocess.Popen(
        [sys.executable, "-c", RETRY, str(path), state, *ids], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def finished(process):
    """Return the count that the command printed, at its end."""
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return int(out)


def test_a_pass_gets_its_turns_while_a_command_makes_many_rows_due(path):
    rows = 40 * operator.CHUNK
    fill(path, rows)
    between, longest = set(), 0.0
    with LedgerHandle(path).open() as ledger, retry(path, "dead") as command:
        while command.poll() is None:
            began = time.monotonic()
            book(ledger, look(f"new-{began}"))
            longest = max(longest, time.monotonic() - began)
            between |= {ask(path, DUE)[0][0]}
        assert finished(command) == rows
    assert len(between - {0, rows}) >= 5, "the pass wrote between the command's transactions"
    assert all(count % operator.CHUNK == 0 for count in between)
    assert longest < file.BUSY_MS / 1000
    assert ask(path, DUE) == [(rows,)]


def test_a_command_waits_for_a_pass_that_writes_nearly_all_the_time(path):
    fill(path, 3)
    script = [sys.executable, "-c", BUSY_PASS, str(path), "3"]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as busy:
        assert busy.stdout.readline() == "locked\n"
        with retry(path, "", "hubspot-call-1", "2") as command:
            assert finished(command) == 2
        busy.wait(timeout=60)
    assert ask(path, "SELECT requests FROM operator") == [(1,)]


def test_a_command_has_more_time_than_a_pass(path):
    fill(path, 1)
    with LedgerHandle(path).operate() as commands:
        assert commands._db.execute("PRAGMA busy_timeout").fetchone() == (30_000,)
        assert file.BUSY_MS < file.OPERATOR_MS


def test_rows_are_chosen_before_the_file_is_locked_and_each_chunk_is_followed_by_a_rest(path, monkeypatch):
    """If the command read while it held the lock, a ledger of millions of rows would keep a pass waiting."""
    fill(path, 3 * operator.CHUNK)
    seen, rests = [], []
    monkeypatch.setattr(operator.time, "sleep", rests.append)
    with LedgerHandle(path).operate() as commands:
        commands._db.conn.set_trace_callback(seen.append)
        assert commands.retry([], state="dead", reason=None, now=NOW) == 3 * operator.CHUNK
    told = [sql.split()[0] for sql in seen]
    inside = [
        sql.split("WHERE")[1]
        for nth, sql in enumerate(seen)
        if told[:nth].count("BEGIN") > told[:nth].count("COMMIT") and "UPDATE activities" in sql
    ]
    assert told.count("BEGIN") == 4, "three chunks, and the word to the daemon"
    assert inside
    assert len(rests) == 3
    assert min(rests) > 0
    assert all("id IN (SELECT value FROM json_each(" in where for where in inside)


@pytest.mark.parametrize(("ids", "state", "chosen"), [((), "pending", "_matching"), (("1", "2"), None, "_named")])
def test_a_row_that_moved_between_the_choice_and_the_write_is_left_alone(path, monkeypatch, ids, state, chosen):
    with LedgerHandle(path).open() as ledger, LedgerHandle(path).operate() as commands:
        book(ledger, look(1), look(2))
        rows = list(getattr(commands, chosen)(*([state, None] if state else [ids])))
        monkeypatch.setattr(commands, chosen, lambda *_: rows)
        send(ledger, limit=1)
        assert commands.retry(ids, state=state, reason=None, now=NOW) == 1


def test_the_space_of_a_backlog_is_given_back_in_short_transactions(path):
    with LedgerHandle(path).open() as ledger:
        book(ledger, *(look(n, title="x" * 3000) for n in range(6000)))
        for _ in range(12):
            send(ledger, limit=500)
        before = ask(path, "PRAGMA freelist_count")[0][0]
        seen = []
        ledger._db.conn.set_trace_callback(seen.append)
        ledger.end_pass(ledger.begin_pass(NOW), exit_code=0, now=NOW)
        steps = [sql for sql in seen if "incremental_vacuum" in sql]
    assert before > 3000
    assert len(steps) == before // 1000 + 1
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA freelist_count").fetchone()[0] < 10
