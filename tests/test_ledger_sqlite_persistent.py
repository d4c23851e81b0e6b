"""A connection that stays open for years beside others that come and go, in this process and in others."""

import fcntl
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.errors import LedgerHeld
from syncd.ledger import LedgerHandle, LedgerReader, PersistentReader
from tests.ledgers import NOW, book, reading, stranger

GONE = -1  # what is answered where the ledger cannot be read


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with LedgerHandle(path).open() as ledger:
        book(ledger, reading(1), watermark=NOW)
    return path


@pytest.fixture
def lookout(path: Path) -> Iterator[PersistentReader]:
    lookout = LedgerHandle(path).persistent()
    yield lookout
    lookout.close()


def rows(lookout: PersistentReader) -> int:
    return lookout.ask(lambda glance: sum(glance.counts().values()), otherwise=GONE)


def elsewhere(path: Path, statement: str) -> None:
    """Do it in another process, which opens the ledger and leaves it."""
    line = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute(sys.argv[2]).fetchall(); db.close()"
    subprocess.run([sys.executable, "-c", line, str(path), statement], check=True)


def test_it_sees_what_others_have_booked_since(path, lookout):
    assert rows(lookout) == 1
    with LedgerHandle(path).open() as ledger:
        book(ledger, reading(2))
        assert rows(lookout) == 2
    assert rows(lookout) == 2


def test_another_process_that_leaves_does_not_take_the_wal_away_under_it(path, lookout):
    """It did, once every pass opened and closed the file itself: from then on each pass ended with an I/O error."""
    assert rows(lookout) == 1
    for number in range(2, 5):
        with LedgerHandle(path).open() as ledger:
            elsewhere(path, "SELECT count(*) FROM activities")
            assert path.with_name("ledger.db-wal").exists()
            book(ledger, reading(number))
        assert rows(lookout) == number
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_ledger_that_is_not_there_yet_is_seen_once_it_is(tmp_path):
    lookout = LedgerHandle(tmp_path / "later.db").persistent()
    assert rows(lookout) == GONE
    with LedgerHandle(tmp_path / "later.db").open():
        assert rows(lookout) == 0
    lookout.close()


def test_a_backup_put_in_its_place_is_read_from_then_on(path, lookout, tmp_path):
    with LedgerHandle(tmp_path / "backup.db").open() as ledger:
        for number in range(5):
            book(ledger, reading(number))
    assert rows(lookout) == 1
    lookout.ask(LedgerReader.requests, otherwise=0)
    for part in ("", "-wal", "-shm"):
        path.with_name(f"ledger.db{part}").unlink(missing_ok=True)
    (tmp_path / "backup.db").rename(path)
    assert rows(lookout) == 5


def test_a_damaged_ledger_is_an_answer_not_an_exception(path, lookout):
    path.write_bytes(b"nothing of the kind" * 500)
    assert rows(lookout) == GONE


def test_it_does_not_hold_up_the_truncation_of_the_wal(path, lookout):
    assert rows(lookout) == 1
    with LedgerHandle(path).open() as ledger:
        book(ledger, reading(2))
        ledger.tidy()
        assert path.with_name("ledger.db-wal").stat().st_size == 0


def test_a_reader_that_never_ends_costs_a_pass_next_to_nothing_and_the_wal_its_truncation_alone(path):
    """As Litestream, which holds a read transaction so that nobody else resets the WAL."""
    with LedgerHandle(path).open() as ledger, stranger(path) as backup:
        backup.execute("BEGIN")
        backup.execute("SELECT count(*) FROM activities").fetchone()
        book(ledger, reading(2))
        began = time.monotonic()
        ledger.tidy()
        assert time.monotonic() - began < 2
        assert path.with_name("ledger.db-wal").stat().st_size > 0
        backup.execute("COMMIT")
        ledger.tidy()
        assert path.with_name("ledger.db-wal").stat().st_size == 0


def test_what_an_operator_asks_for_is_counted(path, lookout):
    assert lookout.ask(LedgerReader.requests, otherwise=-1) == 0
    for count in (1, 2):
        with LedgerHandle(path).operate() as operator:
            operator.retry((), state="pending", reason=None, now=NOW)
        assert lookout.ask(LedgerReader.requests, otherwise=-1) == count


class TestTheHolder:
    def test_nobody_or_whoever_signed(self, path):
        assert LedgerHandle(path).holder() is None, "no lock file yet"
        with LedgerHandle(path).hold("run"):
            assert LedgerHandle(path).holder().startswith("`syncd run`, process ")
        assert LedgerHandle(path).holder() is None

    def test_a_look_at_who_holds_it_keeps_nobody_out(self, path):
        """It shares the lock for an instant: whoever starts then waits it out, and is not told 75."""
        with LedgerHandle(path).hold("sync"):
            pass
        lock = path.with_name("ledger.db.lock").open()
        fcntl.flock(lock, fcntl.LOCK_SH)
        threading.Timer(0.04, lock.close).start()
        with LedgerHandle(path).hold("sync"):
            pass

    def test_a_holder_that_could_not_sign_is_a_holder(self, path):
        with LedgerHandle(path).hold("sync"):
            pass
        with path.with_name("ledger.db.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert LedgerHandle(path).holder() == "another syncd"
            with pytest.raises(LedgerHeld, match="another syncd"), LedgerHandle(path).hold("sync"):
                pass
