"""A connection to PostgreSQL relies on no session, and each failure to connect has its remedy."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from syncd.errors import LedgerError
from tests.ledgers import NOW, POOLER, URL, ask, book, in_postgres, reading
from tests.poolers import error, pooler, served, start_up

psycopg = pytest.importorskip("psycopg")
connection = pytest.importorskip("syncd.ledger.postgres_connection")
postgres = pytest.importorskip("syncd.ledger.postgres")
lease = pytest.importorskip("syncd.ledger.postgres_lease")
session = pytest.importorskip("syncd.ledger.postgres_session")

# Texts of a pooler, which has SQLSTATE 08P01 for each of them.
POOLED = [
    ('database "x" does not exist', "PostgreSQL has no such database"),
    ('password authentication failed for user "x"', "refuses its user"),
    ("client_login_timeout (server down)", "the connection to PostgreSQL was lost"),
]


@pytest.mark.parametrize(("text", "message"), POOLED)
def test_what_a_pooler_says_of_postgresql_is_told_by_its_text(text, message):
    ledger = postgres.PostgresLedger("postgresql://syncd@db.example.com/syncd")
    with pytest.raises(LedgerError, match=message), ledger.explained():
        raise psycopg.errors.lookup("08P01")(text)


def test_a_server_that_speaks_another_language_refuses_it_and_is_not_called_away():
    def refuse(client: socket.socket) -> None:
        with client:
            start_up(client)
            client.sendall(error("ВАЖНО", "28P01", "пользователь canary не прошёл проверку"))

    with served(refuse) as port, pytest.raises(LedgerError, match="PostgreSQL refuses the connection") as caught:
        postgres.PostgresLedger(f"postgresql://syncd@127.0.0.1:{port}/syncd").exists()
    assert caught.value.hint == "see [ledger] url and password. The log of PostgreSQL says why"


@pytest.fixture
def handle(tmp_path: Path):
    if not URL:
        pytest.skip("SYNCD_TEST_POSTGRES names no database")
    return in_postgres(tmp_path)


OF_A_SESSION = pytest.mark.skipif(bool(POOLER), reason="PgBouncer shares the sessions")
SHOWN = """
    SELECT current_setting('idle_in_transaction_session_timeout'), current_setting('lock_timeout'),
        current_setting('jit')
"""
OF_A_TRANSACTION = ("9s", "7s", "off")


def shown(db: Any) -> tuple[str, ...]:
    return tuple(db.execute(SHOWN).fetchone())


def test_a_transaction_that_stands_still_ends_before_a_new_lease_would():
    """Otherwise the lane of a writer that froze would be locked for longer than it is leased."""
    assert int(session.SETTINGS["idle_in_transaction_session_timeout"].removesuffix("s")) <= lease.TRUST_S
    waits_s = int(session.SETTINGS["lock_timeout"].removesuffix("s"))
    assert waits_s <= lease.TTL_S - lease.RENEW_S, "it may wait for another one of the same writer"


@OF_A_SESSION
def test_each_transaction_has_its_settings_whatever_the_session_has(handle):
    with handle.open() as ledger:
        db = ledger._db
        assert shown(db) == OF_A_TRANSACTION, "so far as nobody is in between"
        db.execute("SET idle_in_transaction_session_timeout = 0")
        db.execute("SET lock_timeout = 0")
        db.execute("SET jit = on")
        for begin in (handle.writing, handle.snapshot):
            with begin(db):
                assert shown(db) == OF_A_TRANSACTION
            assert shown(db) == ("0", "0", "on")


@contextmanager
def pooled(*, drops: bool) -> Iterator[str]:
    """Yield the address of the tests' database behind a pooler."""
    parts = urlsplit(URL)
    with served(pooler((parts.hostname or "", parts.port or 5432), drops=drops)) as port:
        yield parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}").geturl()


@pytest.mark.usefixtures("handle")
@pytest.mark.parametrize("drops", [False, True])
def test_behind_a_pooler_that_takes_no_options_each_transaction_has_them(drops):
    with pooled(drops=drops) as url:
        for _ in range(2):
            session = connection.connect(url)
            assert shown(session) == ("0", "0", "on")
            session.execute("BEGIN")
            assert shown(session) == OF_A_TRANSACTION
            session.execute("ROLLBACK")
            session.close()


@OF_A_SESSION
@pytest.mark.parametrize("drops", [False, True])
def test_an_address_whose_search_path_a_pooler_does_not_pass_on_is_refused(handle, drops):
    """Otherwise a pass would fill another ledger, in the schema public."""
    own = handle.url.partition("?")[2]
    with (
        pooled(drops=drops) as url,
        pytest.raises(LedgerError, match="a pooler in front of PostgreSQL takes no options") as caught,
        postgres.PostgresLedger(f"{url}?{own}").open(),
    ):
        pass
    assert "set search_path with ALTER ROLE" in caught.value.hint
    assert ask(handle, "SELECT to_regclass('public.meta') IS NULL") == [(True,)]


def test_a_cut_network_is_noticed_while_the_lease_lasts_unless_the_address_says_otherwise(handle):
    for more, expected in (("", ("5", "10000")), ("&keepalives_idle=77&tcp_user_timeout=55000", ("77", "55000"))):
        session = connection.connect(handle.url + more)
        found = session._connection.info.get_parameters()
        assert (found["keepalives_idle"], found["tcp_user_timeout"]) == expected
        session.close()


def test_a_process_that_stands_still_with_the_key_of_all_lanes_loses_it_sooner(handle):
    with handle.open() as ledger:
        for lock in (ledger.lock_shared, lambda: ledger.admit(4, timeout_s=30.0, now=NOW)):
            with ledger.transaction():
                lock()
                assert shown(ledger._db) == ("3s", *OF_A_TRANSACTION[1:])
            with ledger.transaction():
                assert shown(ledger._db) == OF_A_TRANSACTION


def test_a_process_that_stands_still_in_a_transaction_loses_it(handle):
    def stand_still() -> None:
        with handle.open() as ledger, ledger.transaction():
            book(ledger, reading(1))
            ledger._db.execute("SET LOCAL idle_in_transaction_session_timeout = 50")
            time.sleep(0.3)
            book(ledger, reading(2))

    with pytest.raises(LedgerError, match="the connection to PostgreSQL was lost"):
        stand_still()
    assert ask(handle, "SELECT count(*) FROM activities") == [(0,)]
