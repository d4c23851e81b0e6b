"""A ledger in PostgreSQL has one holder at a time, and a holder that lost it can write nothing."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from syncd.errors import LedgerError, LedgerHeld
from syncd.ledger.dialect import IN_FLIGHT, by_index, holds, listed, pairs
from tests.ledgers import NOW, URL, ask, book, due, in_postgres, reading, stranger

psycopg = pytest.importorskip("psycopg")
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
    with handle.hold("run") as hold:
        assert hold.is_held()
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
        other = replace(handle, url=f"{handle.url}&application_name=other")
        with other.hold("sync") as theirs:
            assert theirs.is_held()
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
    with handle.hold("run") as hold:
        with handle._session() as db:
            db.execute("UPDATE meta SET token = 'another'")
        waits = 0
        while hold.is_held() and waits < 100:
            lease.time.sleep(0.05)
            waits += 1
        assert not hold.is_held()


def test_a_renewal_notes_that_the_holder_has_written_and_only_then(handle, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_S", 60)
    with handle.hold("run"), handle.open() as ledger, stranger(handle) as db:
        taken_at = handle.written_at()
        held = postgres._HELD[handle]
        assert held.renew(db)
        assert handle.written_at() == taken_at
        book(ledger, reading(1))
        assert handle.written_at() == taken_at
        assert held.renew(db)
        assert handle.written_at() > taken_at


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


# A state of SQLSTATE or the text of a failed connection, and the words of its message and remedy.
CAUSES = [
    ("53100", "the disk of PostgreSQL is full", "make room there. Nothing booked"),
    ("53300", "PostgreSQL has no connection left", "raise max_connections, or end other"),
    ("25006", "PostgreSQL is read-only", "url name the primary, e.g. with"),
    ("28P01", "refuses its user or the password", "see [ledger] url and password, and"),
    ("3D000", "PostgreSQL has no such database", "create it with createdb, or correct"),
    ("42501", "its user may not do that", "grant it CREATE and USAGE on"),
    ("42P07", "another program has tables", "give syncd a database or a schema"),
    ("42703", "another program has tables", "give syncd a database or a schema"),
    ("55P03", "another program keeps it locked", "end the long transaction that pg_stat_activity shows"),
    ("25P03", "connection to PostgreSQL was lost", "nothing, if PostgreSQL is back: the"),
    ("57P01", "connection to PostgreSQL was lost", "nothing, if PostgreSQL is back: the"),
    ("57P03", "PostgreSQL is starting or stopping", "nothing, if that ends soon: the next"),
    ("08006", "connection to PostgreSQL was lost", "nothing, if PostgreSQL is back: the"),
    ("XX001", "PostgreSQL finds it damaged", "keep a copy, restore a backup, then"),
    ("58030", "answers with errors", "look at that disk and at PostgreSQL's"),
    ("0A000", "PostgreSQL says 0A000", "run psql with the same address"),
    ("connection failed: … Connection refused", "PostgreSQL cannot be reached", "start it, or correct the host"),
    ("failed to resolve host", "PostgreSQL cannot be reached", "start it, or correct the host"),
    ("connection failed: … FATAL:  password authentication failed for user", "refuses its user", "and pg_hba.conf"),
    ("connection failed: … fe_sendauth: no password supplied", "refuses its user", "and pg_hba.conf"),
    ("connection failed: … FATAL:  no pg_hba.conf entry for host", "refuses its user", "and pg_hba.conf"),
    ('connection failed: … FATAL:  role "x" does not exist', "refuses its user", "and pg_hba.conf"),
    (
        'connection failed: … FATAL:  database "x" does not exist',
        "PostgreSQL has no such database",
        "create it with createdb",
    ),
    ("connection failed: … session is read-only", "PostgreSQL is read-only", "url name the primary"),
    (
        "connection failed: … FATAL:  sorry, too many clients already",
        "PostgreSQL has no connection left",
        "raise max_connections",
    ),
    ("connection failed: … FATAL:  the database system is starting up", "starting or stopping", "if that ends soon"),
    (
        "connection failed: … SSL error: certificate verify failed",
        "no verified TLS",
        "see sslrootcert in [ledger] url, and ssl",
    ),
    (
        "connection failed: … server does not support SSL",
        "no verified TLS connection to PostgreSQL",
        "see sslrootcert in [ledger] url, and ssl",
    ),
    ("consuming input failed: server closed the connection unexpectedly", "was lost", "Otherwise look at its log"),
    ("the connection is closed", "was lost", "Otherwise look at its log"),
    ("odd", "PostgreSQL says no reason", "run psql with the same address"),
]


@pytest.mark.parametrize(("cause", "message", "hint"), CAUSES)
def test_each_cause_has_its_remedy_and_no_text_of_the_server(cause, message, hint):
    ledger = postgres.PostgresLedger("postgresql://syncd@db.example.com/syncd")
    state = len(cause) == 5
    error = psycopg.errors.lookup(cause)("canary") if state else psycopg.OperationalError(f"{cause} canary")
    with pytest.raises(LedgerError) as caught, ledger.explained():
        raise error
    assert str(caught.value).startswith("the ledger at postgresql://db.example.com/syncd cannot be used: ")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "canary" not in caught.value.message + caught.value.hint


def test_a_row_that_breaks_a_rule_is_a_bug():
    ledger = postgres.PostgresLedger("postgresql://127.0.0.1/syncd")
    with pytest.raises(psycopg.IntegrityError), ledger.explained():
        raise psycopg.errors.UniqueViolation


def test_where_nobody_listens_it_cannot_be_reached(tmp_path):
    password = SimpleNamespace(read_line=lambda: "canary")
    ledger = postgres.PostgresLedger("postgresql://syncd@127.0.0.1:1/syncd", password)
    for ask_it in (ledger.exists, ledger.holder, ledger.require_lock, ledger.size, ledger.obstacle):
        with pytest.raises(LedgerError, match="PostgreSQL cannot be reached"):
            ask_it()
    assert not ledger.is_gone(), "that cannot be told"
    reader = ledger.persistent()
    assert reader.ask(lambda glance: glance.requests(), otherwise=-1) == -1

    def unreadable() -> str:
        raise ValueError("the file /x cannot be read")

    with pytest.raises(LedgerError, match="the file /x cannot be read") as caught:
        postgres.PostgresLedger(ledger.url, SimpleNamespace(read_line=unreadable)).exists()
    assert caught.value.hint == "put the password where [ledger] password says"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("/syncd_test?", "/no_such_database?", "no such database"),
        ("//syncd@", "//no_such_user@", "refuses its user"),
        ("?options=", "?options=-cdefault_transaction_read_only%3Don%20", "PostgreSQL is read-only"),
        ("?options=", "?sslmode=verify-full&sslrootcert=system&options=", "no verified TLS"),
    ],
)
def test_a_real_server_refuses_it_in_the_same_words(handle, old, new, message):
    if old not in handle.url:
        pytest.skip("another database")
    with pytest.raises(LedgerError, match=message), replace(handle, url=handle.url.replace(old, new, 1)).open():
        pass


def test_a_ledger_of_another_syncd_and_another_programs_tables_are_refused_and_stay(handle):
    with handle.open() as ledger:
        book(ledger, reading(1))
    with stranger(handle) as db:
        db.execute("UPDATE meta SET schema_version = 99")
    for opening in (handle.open, handle.read, handle.operate):
        with pytest.raises(LedgerError, match="has schema 99, and this syncd uses 8") as caught, opening():
            pass
        assert caught.value.hint == "install the syncd that wrote it. Nothing was changed"
    with stranger(handle) as db:
        db.execute("DROP TABLE meta")
    with pytest.raises(LedgerError, match="another program has tables in its schema"), handle.open():
        pass
    assert ask(handle, "SELECT count(*) FROM activities") == [(1,)]


def test_a_connection_that_is_cut_in_a_transaction_is_said_and_nothing_is_booked(handle):
    def cut() -> None:
        with handle.open() as ledger, ledger.transaction():
            book(ledger, reading(1))
            (pid,) = ledger._db.execute("SELECT pg_backend_pid()").fetchone()
            ask(handle, f"SELECT pg_terminate_backend({pid})")
            book(ledger, reading(2))

    with pytest.raises(LedgerError, match="was lost"):
        cut()
    assert ask(handle, "SELECT count(*) FROM activities") == [(0,)]


def test_it_can_be_examined_and_described(handle):
    assert handle.is_gone()
    assert handle.obstacle() is None
    with handle.open() as ledger:
        book(ledger, reading(1))
    assert not handle.is_gone()
    with handle.examine() as examination:
        assert (examination.schema(), examination.sound()) == (examination.newest, None)
        assert examination.size() == handle.size() > 0
    with handle.diagnose() as diagnosis:
        assert any(line.startswith("CREATE TABLE activities (id bigint NOT NULL") for line in diagnosis.schema())
        assert any("CREATE INDEX look_ups" in line for line in diagnosis.schema())
        assert diagnosis.sizes()["server_version"]
        plans = diagnosis.plans(NOW)
    assert len(plans) > 20
    assert all((plan and "Scan" in " ".join(plan)) or "Result" in " ".join(plan) for plan in plans.values())


def test_a_text_that_it_cannot_hold_is_the_fault_of_that_text(handle):
    with handle.open() as ledger, pytest.raises(ValueError, match="NUL"):
        ledger._db.execute("SELECT :text", {"text": "a\0b"})


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
