"""A ledger in PostgreSQL has one holder at a time, and a holder that lost it can write nothing."""

from pathlib import Path

import pytest

from syncd.errors import LedgerError, LedgerHeld
from syncd.ledger.dialect import IN_FLIGHT, by_index, holds, listed, pairs
from tests.ledgers import NOW, URL, ask, book, due, in_postgres, reading

pytest.importorskip("psycopg")
postgres = pytest.importorskip("syncd.ledger.postgres")
lease = pytest.importorskip("syncd.ledger.postgres_lease")
session = pytest.importorskip("syncd.ledger.postgres_session")


@pytest.fixture
def handle(tmp_path: Path):
    if not URL:
        pytest.skip("SYNCD_TEST_POSTGRES names no database")
    return in_postgres(tmp_path)


def expire(handle):
    with handle._session() as db:
        db.execute("UPDATE meta SET held_until = clock_timestamp() - make_interval(secs => 1)")


def test_one_holds_it_at_a_time(handle):
    assert handle.holder() is None
    with handle.hold("run") as still_held:
        assert still_held()
        assert handle.holder().startswith("`syncd run`, process ")
        with pytest.raises(LedgerHeld, match="held by `syncd run`"), handle.hold("sync"):
            pass
    assert handle.holder() is None


def test_a_holder_that_does_not_renew_loses_it_and_writes_nothing_more(handle, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_S", 60)
    with handle.hold("run"), handle.open() as old:
        book(old, reading(1))
        before = ask(old, "SELECT * FROM activities")
        expire(handle)
        other = type(handle)(handle.url + " application_name=other", handle.schema)
        with other.hold("sync") as theirs:
            assert theirs()
            for write in (
                lambda: book(old, reading(2)),
                lambda: old.intend(due(old), now=NOW),
                lambda: old.unpause(NOW),
            ):
                with pytest.raises(LedgerHeld, match="was taken by another syncd"):
                    write()
            assert not postgres._HELD[handle].is_held()
            assert ask(old, "SELECT * FROM activities") == before
            assert ask(old, "SELECT count(*) FROM posts") == [(0,)]


def test_a_lost_lease_is_noticed_at_the_next_renewal(handle, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    with handle.hold("run") as still_held:
        with handle._session() as db:
            db.execute("UPDATE meta SET token = 'another'")
        waits = 0
        while still_held() and waits < 100:
            lease.time.sleep(0.05)
            waits += 1
        assert not still_held()


def test_an_operator_writes_beside_the_holder(handle):
    with handle.hold("run"), handle.open() as ledger:
        book(ledger, reading(1))
        with handle.operate() as operator:
            assert operator.retry((), state="pending", reason=None, now=NOW) == 1
        book(ledger, reading(2))
    assert handle.exists()


def test_where_there_is_none_a_reader_says_so(handle):
    assert not handle.exists()
    with pytest.raises(LedgerError, match="there is no ledger at"), handle.read():
        pass


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (f"id IN {listed('ids')}", "id = ANY (%(ids)s)"),
        (f"reason NOT IN {listed('waits')}", "reason <> ALL (%(waits)s)"),
        (f"FROM activities {by_index('ended')} WHERE", "FROM activities WHERE"),
        (holds("crm_id || ' '", "part"), "strpos(lower(crm_id || ' '), %(part)s) > 0"),
        ("VALUES (?, ?) ON CONFLICT", "VALUES (%s, %s) ON CONFLICT"),
        ("x LIKE '%' AND a = :a::bigint", "x LIKE '%%' AND a = %(a)s::bigint"),
    ],
)
def test_each_name_of_the_dialect_has_another_text(sql, expected):
    assert session.translated(sql).text == expected


def test_nothing_of_sqlite_is_left_of_the_others():
    for sql in (IN_FLIGHT, pairs("keys", "one", "two")):
        assert "json_each" not in session.translated(sql).text
        assert "json_extract" not in session.translated(sql).text
