"""`syncd forget` leaves no byte of a person in the tables of PostgreSQL, or says why it could not rewrite them."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from syncd.ledger import forgetting
from tests.ledgers import NOW, URL, book, contents, in_postgres, reading, send

pytest.importorskip("psycopg")
erasure = pytest.importorskip("syncd.ledger.postgres_erasure")

PERSON = b"kaya.ivorstone@amber-bolts.com"


@pytest.fixture
def handle(tmp_path: Path) -> Any:
    """A ledger that has sent one activity with the person and forgotten another one, without a rewrite."""
    if not URL:
        pytest.skip("SYNCD_TEST_POSTGRES names no database")
    made = in_postgres(tmp_path, encrypted=False)
    with made.open() as ledger:
        contact = {"email": PERSON.decode()}
        book(ledger, reading(1, contacts=[contact]))
        send(ledger)
        book(ledger, reading(2, contacts=[contact]))
        ledger.keep("hubspot", {"owners": [["7", PERSON.decode(), "Kaya"]]}, NOW)
        ledger.keep("hubspot", {"owners": []}, NOW)
        with ledger.transaction():
            ledger._db.execute("UPDATE activities SET detail = :text", {"text": PERSON.decode()})
            ledger._db.execute("UPDATE activities SET detail = NULL")
            ledger._db.execute("DELETE FROM payloads")
    return made


def holding(handle: Any) -> set[str]:
    """Return the relations that still hold the person's address."""
    return {name for name, content in contents(handle) if PERSON in content}


def rebuilt(handle: Any, *, is_held: bool = False) -> str:
    with handle.forget() as forget:
        return str(forget.rebuild(is_held=is_held))


def test_dead_rows_keep_nothing(handle):
    assert holding(handle) == {"payloads", "store", "activities"}, "otherwise this test shows nothing"
    assert rebuilt(handle) == ""
    assert holding(handle) == set()


def test_each_table_in_which_an_erasure_writes_is_rewritten():
    assert {table for table, *_ in forgetting._TEXTS} | {"payloads", "store"} == {*erasure.TABLES}


def test_beside_a_read_that_began_before_it_it_says_so_and_the_next_one_is_done(handle, monkeypatch):
    monkeypatch.setattr(erasure, "READERS_S", 0.1)
    with closing(handle.connected()) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM posts")
        assert (
            rebuilt(handle)
            == erasure.READ
            == "another program reads the ledger, so PostgreSQL still has earlier content"
        )
        reader.execute("COMMIT")
    monkeypatch.setattr(erasure, "READERS_S", 10)  # autovacuum may read too
    assert rebuilt(handle) == ""
    assert holding(handle) == set()


def test_a_table_that_another_program_keeps_locked_is_not_waited_for(handle, monkeypatch):
    monkeypatch.setattr(erasure, "LOCK_S", 0.05)
    with closing(handle.connected()) as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE store IN ACCESS SHARE MODE")
        assert rebuilt(handle) == erasure.READ
        assert holding(handle) == {"store"}, "the others are rewritten"
        other.execute("COMMIT")
    assert rebuilt(handle) == ""


def test_a_large_table_is_not_rewritten_beside_another_syncd(handle, monkeypatch):
    monkeypatch.setattr(erasure, "LARGE", 1)
    said = rebuilt(handle, is_held=True)
    assert said.startswith("too large to be rewritten while another syncd uses it: streams, ranges, store, payloads")
    assert "payloads" in holding(handle)
    monkeypatch.setattr(erasure, "LARGE", 10**9)
    assert rebuilt(handle, is_held=True) == ""
    assert holding(handle) == set()
