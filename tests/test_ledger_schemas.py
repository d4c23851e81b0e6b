"""A ledger of every earlier schema, kept as the SQL that made it, becomes a current one, whole or not at all."""

import signal
import sqlite3
import subprocess
import sys
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


KILLED = """
import os, sys
from pathlib import Path
from syncd.ledger import LedgerHandle, schema
step = int(sys.argv[2])
class Statements(tuple):
    def __iter__(self):
        for number, statement in enumerate((*tuple.__iter__(self), None)):
            if number == step:
                os.kill(os.getpid(), 9)
            yield statement
schema.V5 = Statements(schema.V5)
with LedgerHandle(Path(sys.argv[1])).open():
    pass
"""


@pytest.mark.parametrize("step", range(len(schema.V5) + 1))
def test_a_kill_at_any_step_leaves_schema_4(tmp_path, step):
    """In a process of its own, by SIGKILL. The last step is after the last statement, before the commit."""
    path = of_schema(4, tmp_path)
    before = dump(path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(step)], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert dump(path) == before
    with LedgerHandle(path).open() as ledger:
        assert ledger.balanced()
        assert kept(ledger) == counted(ledger)
