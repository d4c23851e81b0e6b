"""A ledger in PostgreSQL has one holder at a time, and a holder that lost it can write nothing."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from syncd.errors import LedgerError, LedgerHeld
from syncd.ledger import RECOTAP, recount
from syncd.ledger.dialect import IN_FLIGHT, by_index, holds, listed, pairs
from syncd.lifecycle.states import State
from tests.ledgers import HOUR, NOW, POOLER, URL, ask, attempts, book, crm_ids, due, in_postgres, reading, stranger

psycopg = pytest.importorskip("psycopg")
postgres = pytest.importorskip("syncd.ledger.postgres")
lease = pytest.importorskip("syncd.ledger.postgres_lease")
session = pytest.importorskip("syncd.ledger.postgres_session")


@pytest.fixture
def handle(tmp_path: Path):
    if not URL:
        pytest.skip("SYNCD_TEST_POSTGRES names no database")
    return in_postgres(tmp_path)


def book_of(ledger, source, *readings):
    ledger.book(ledger.stream_id(source, "calls"), [], readings, now=NOW)


def expire(handle):
    with handle._session() as db:
        db.execute("UPDATE lanes SET until = clock_timestamp() - make_interval(secs => 1) WHERE token IS NOT NULL")


def test_processes_that_begin_together_make_the_tables_once(handle):
    together = threading.Barrier(4)

    def begin(_):
        with closing(handle.connected()) as db:
            assert handle._version(db) is None
            together.wait()
            handle._require(db, create=True)
            return handle._version(db)

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(begin, range(4)))) == 1


def test_one_holds_it_at_a_time(handle):
    assert handle.holder() is None
    with handle.hold("run") as hold:
        assert hold.is_held()
        assert handle.holder().startswith("`syncd run`, process ")
        with pytest.raises(LedgerHeld, match="held by `syncd run`"), handle.hold("sync"):
            pass
    assert handle.holder() is None


def test_a_command_that_ends_by_an_exception_frees_it_at_once(handle):
    with pytest.raises(SystemExit), handle.hold("backfill"):
        raise SystemExit(0)
    assert handle.holder() is None


def test_a_holder_that_does_not_renew_loses_it_and_writes_nothing_more(handle, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_S", 60)
    with handle.hold("run") as mine, mine.ledger.open() as old:
        book(old, reading(1))
        before = ask(old, "SELECT * FROM activities")
        expire(handle)
        with handle.hold("sync") as theirs:
            assert theirs.is_held()
            for write in (
                lambda: book(old, reading(2)),
                lambda: old.intend(due(old), now=NOW),
                lambda: old.unpause(NOW),
            ):
                with pytest.raises(LedgerHeld, match="was taken by another syncd"):
                    write()
            assert not mine.is_held()
            assert ask(old, "SELECT * FROM activities") == before
            assert ask(old, "SELECT count(*) FROM posts") == [(0,)]


def test_a_lost_lease_is_noticed_at_the_next_renewal(handle, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    with handle.hold("run") as hold:
        with handle._session() as db:
            db.execute("UPDATE lanes SET token = 'another'")
        waits = 0
        while hold.is_held() and waits < 100:
            lease.time.sleep(0.05)
            waits += 1
        assert not hold.is_held()


def test_a_renewal_notes_that_the_holder_has_written_and_only_then(handle, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_S", 60)
    with handle.hold("run") as hold, hold.ledger.open() as ledger, lease.Renewals(handle.connected) as renewals:
        renewals.add(hold.ledger.lease)
        taken_at = handle.written_at()
        renewals.renew()
        assert hold.is_held()
        assert handle.written_at() == taken_at
        book(ledger, reading(1))
        assert handle.written_at() == taken_at
        renewals.renew()
        assert handle.written_at() > taken_at


def test_renewals_go_on_over_another_connection_if_theirs_breaks(handle, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_S", 60)
    with handle.hold("run") as hold, lease.Renewals(handle.connected) as renewals:
        renewals.add(hold.ledger.lease)
        renewals.renew()
        (pid,) = renewals._db.execute("SELECT pg_backend_pid()").fetchone()
        ask(handle, f"SELECT pg_terminate_backend({pid})")
        renewals.renew()  # notices it
        until = ask(handle, "SELECT max(until) FROM lanes")
        renewals.renew()
        assert ask(handle, "SELECT max(until) FROM lanes") > until
        assert hold.is_held()


def test_a_dead_holder_is_waited_for_and_a_living_one_is_named_at_once(handle, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_S", 60)
    with handle.hold("run"):
        began = time.monotonic()
        with pytest.raises(LedgerHeld, match="held by `syncd run`"), handle.hold("sync"):
            pass
        assert time.monotonic() - began < 2
        with handle._session() as db:  # it has not renewed for 9 s
            db.execute("UPDATE lanes SET until = clock_timestamp() + make_interval(secs => 1)")
        with handle.hold("sync") as theirs:
            assert theirs.is_held()
        assert 0.9 < time.monotonic() - began < 4


def test_two_hold_different_sources_and_nobody_holds_all_beside_them(handle):
    with handle.hold("sync", ["hubspot"]) as one, handle.hold("sync", ["salesforce"]) as other:
        assert one.is_held()
        assert other.is_held()
        for sources in (None, ["hubspot"], ["other", "salesforce"]):
            with pytest.raises(LedgerHeld), handle.hold("sync", sources):
                pass
        assert handle.holder() == lease.who("sync")
    with handle.hold("adopt"), pytest.raises(LedgerHeld, match="held by `syncd adopt`"), handle.hold("sync", ["new"]):
        pass


# -- lanes ----------------------------------------------------------------------------------


@pytest.fixture
def replica(handle, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_S", 60)
    with handle.replica("run") as one:
        yield one


def lanes(handle, column):
    return dict(ask(handle, f"SELECT source, {column} FROM lanes WHERE source <> '@ledger'"))


def test_a_replica_takes_each_lane_once_the_most_overdue_first(handle, replica):
    replica.enrol(["a", "b", "c"])
    ask(handle, "UPDATE lanes SET next_pass_at = clock_timestamp() - interval '9 s' WHERE source = 'b' RETURNING 1")
    ask(handle, "UPDATE lanes SET next_pass_at = clock_timestamp() + interval '1 h' WHERE source = 'c' RETURNING 1")
    first = replica.take()
    assert (first.source, first.epoch, first.was_orphan) == ("b", 1, False)
    assert 9 <= first.late_s < 12
    assert first.is_held()
    assert replica.overdue() == 1
    assert replica.take().source == "a"
    assert replica.take() is None
    assert replica.overdue() == 0
    first.release(0.0)
    assert not first.is_held()
    again = replica.take()
    assert (again.source, again.epoch, again.was_orphan) == ("b", 2, False)
    again.release(60.0)
    assert replica.take() is None


def test_an_orphan_is_taken_first_and_no_sooner_than_its_lease_ends(handle, replica):
    replica.enrol(["a", "b"])
    assert {replica.take().source, replica.take().source} == {"a", "b"}
    ask(handle, "UPDATE lanes SET until = clock_timestamp() + interval '0.3 s' WHERE source = 'b' RETURNING 1")
    assert replica.take() is None
    time.sleep(0.4)
    taken = replica.take()
    assert (taken.source, taken.was_orphan, taken.epoch) == ("b", True, 2)


def test_an_orphan_is_taken_before_a_lane_that_waits_longer(handle, replica):
    replica.enrol(["orphan"])
    replica.take()
    expire(handle)
    replica.enrol(["late"])
    ask(handle, "UPDATE lanes SET next_pass_at = clock_timestamp() - interval '1 h' WHERE source = 'late' RETURNING 1")
    assert replica.take().source == "orphan"


def test_a_request_during_a_pass_is_not_lost(handle, replica):
    replica.enrol(["a"])
    taken = replica.take()
    ask(handle, "UPDATE lanes SET wake_at = clock_timestamp() RETURNING 1")
    taken.release(3600.0)
    again = replica.take()
    assert again is not None
    again.release(3600.0)
    assert replica.take() is None


def test_a_lane_keeps_when_its_source_is_to_be_read_and_how_often_it_failed(handle, replica):
    replica.enrol(["a"])
    first = replica.take()
    assert first.reads_in_s <= 0
    assert first.failures == 0
    first.release(0.0, reads_in_s=600.0, failures=2)
    assert replica.failing() == {"a"}
    second = replica.take()
    assert 590 < second.reads_in_s <= 600
    assert second.failures == 2
    second.release(0.0, failures=0)
    third = replica.take()
    assert 590 < third.reads_in_s <= 600, "a release that names no time leaves it as it was"
    third.release(None)
    assert (replica.failing(), replica.take().reads_in_s > 590) == (frozenset(), True)


def test_a_lane_that_was_woken_is_to_be_read_even_if_its_taker_dies(handle, replica):
    replica.enrol(["a", "b"])
    for each in (replica.take(), replica.take()):
        each.release(600.0, reads_in_s=600.0)
    assert replica.take() is None
    replica.wake(["a"])
    assert replica.take().reads_in_s <= 0
    assert replica.take() is None, "the other one was not woken"
    expire(handle)
    orphan = replica.take()
    assert (orphan.source, orphan.was_orphan, orphan.reads_in_s <= 0) == ("a", True, True)


def test_a_replica_without_a_lane_still_works_on_the_ledger_until_it_ends_or_dies(handle, monkeypatch):
    with handle.replica("run") as one:
        assert handle.holder() is None
        one.report(slots=8, held=0)
        assert handle.holder() == lease.who("run")
        assert ask(handle, "SELECT slots, held FROM replicas") == [(8, 0)]
        ask(handle, "UPDATE replicas SET until = clock_timestamp() - interval '1 s' RETURNING 1")
        assert handle.holder() is None
        one.report(slots=8, held=0)
    assert handle.holder() is None
    with handle.hold("sync"):
        pass


def test_each_request_of_an_operator_wakes_the_lanes_concerned_alone(handle, replica):
    with handle.open() as ledger:
        for source in ("a", "b", "c"):
            wanted = State.INCOMPLETE if source == "c" else State.PENDING
            book_of(ledger, source, reading(source, wanted, "no_contact" if source == "c" else None, source=source))
            ledger.pause_until(source, NOW + HOUR, "quota", now=NOW)
        ledger.pause_until(RECOTAP, NOW + HOUR, "quota", now=NOW)
    replica.enrol([])
    for each in (replica.take(), replica.take(), replica.take()):
        each.release(600.0)

    def woken():
        names = {name for name, at in lanes(handle, "wake_at").items() if at is not None}
        ask(handle, "UPDATE lanes SET wake_at = NULL RETURNING 1")
        return names

    with handle.operate() as operator:
        operator.retry(["a-call-a"], state=None, reason=None, now=NOW)
        assert woken() == {"a"}
        operator.retry([], state=None, reason="no_contact", now=NOW)
        assert woken() == {"c"}
        operator.resume("b", now=NOW)
        assert woken() == {"b"}
        operator.resume(RECOTAP, now=NOW)
        assert woken() == {"a", "b"}, "those with something to send"
        operator.backfill([("a", "calls", NOW)], NOW - HOUR, None, now=NOW)
        assert woken() == {"a"}
        operator.trust_source("b", NOW)
        assert woken() == {"b"}
        operator.trust_recotap(NOW)
        assert woken() == {"a", "b"}


def test_a_lane_whose_writer_is_within_a_transaction_is_not_taken(handle, replica):
    replica.enrol(["hubspot"])
    taken = replica.take()
    with taken.ledger.open() as ledger:
        with ledger.transaction():
            expire(handle)
            assert replica.take() is None
        assert replica.take() is not None
        with pytest.raises(LedgerHeld, match="was taken by another syncd"):
            ledger.unpause(NOW)
    assert not taken.is_held()


def test_what_a_lane_sends_and_recovers_is_its_own(handle, replica):
    with handle.open() as ledger:
        for source in ("a", "b"):
            book_of(ledger, source, *(reading(f"{source}{n}", source=source) for n in range(3)))
    replica.enrol([])
    one, other = sorted((replica.take(), replica.take()), key=lambda each: each.source)
    with one.ledger.open() as of_a, other.ledger.open() as of_b:
        assert crm_ids(of_a, due(of_a)) == ["a0", "a1", "a2"]
        claim = of_a.intend(due(of_a), now=NOW)
        assert len(claim.activities) == 3
        assert of_b.next_send_at() is not None
        assert of_b.recover(now=NOW) == 0
        assert of_b.count_due(10, first_post=of_b.first_post(), now=NOW) == 3
        assert of_a.count_due(10, first_post=claim.post_id, now=NOW) == 0
        assert ask(handle, "SELECT token FROM posts") == [(one.ledger.lease.token,)]
    expire(handle)
    later = replica.take()
    with later.ledger.open() as again:
        assert again.recover(now=NOW) == (3 if later.source == "a" else 0)
    with replica.take().ledger.open() as again:
        again.recover(now=NOW)
    assert attempts(handle, "a0") == ["crashed"]
    assert ask(handle, "SELECT count(*) FROM activities WHERE unknown = 1") == [(3,)]


def test_a_pass_of_another_lane_is_not_taken_for_one_that_was_cut_short(handle, replica):
    replica.enrol(["a", "b"])
    one, other = replica.take(), replica.take()
    with one.ledger.open() as of_a, other.ledger.open() as of_b:
        of_a.begin_pass(NOW)
        of_b.begin_pass(NOW)
        assert ask(handle, "SELECT count(*) FROM passes WHERE finished_at IS NULL") == [(2,)]
    expire(handle)
    with replica.take().ledger.open() as again:
        again.begin_pass(NOW)
    assert ask(handle, "SELECT count(*) FROM passes WHERE finished_at IS NULL") == [(1,)]


def test_lanes_book_side_by_side_and_no_id_comes_twice(handle, replica):
    replica.enrol(["a", "b"])
    taken = [replica.take(), replica.take()]

    def fill(each):
        with each.ledger.open() as ledger:
            for n in range(20):
                book_of(ledger, each.source, *(reading(f"{each.source}{n}-{m}", source=each.source) for m in range(5)))

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(fill, taken)) == [None, None]
    assert ask(handle, "SELECT count(*), count(DISTINCT id) FROM activities") == [(200, 200)]
    with handle.read() as glance:
        assert glance.balanced()


def test_an_operator_writes_beside_the_holder(handle):
    with handle.hold("run") as hold, hold.ledger.open() as ledger:
        book(ledger, reading(1))
        with handle.operate() as operator:
            assert operator.retry((), state="pending", reason=None, now=NOW) == 1
        book(ledger, reading(2))
    assert handle.exists()


def test_alerts_keep_their_memory_within_a_transaction_of_the_holder(handle):
    with handle.hold("run") as hold, hold.ledger.open() as ledger, ledger.transaction():
        book(ledger, reading(1))
        with handle.alerting() as alerting:
            alerting.keep_alerts(["one"], NOW)
            assert alerting.kept_alerts() == ["one"]


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
    ("connection failed: … no pg_hba.conf entry for host …, SSL encryption", "refuses its user", "and pg_hba.conf"),
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
    ("connection timeout expired", "PostgreSQL cannot be reached", "start it, or correct the host"),
    (
        'connection failed: … FATAL:  permission denied for database "x"',
        "its user may not do that",
        "grant it CREATE and USAGE",
    ),
    (
        "connection failed: … FATAL:  unsupported startup parameter: options",
        "a pooler in front of PostgreSQL takes no options",
        "remove options from [ledger] url, and set search_path",
    ),
    (
        "connection failed: … FATAL:  server login has been failing, try again later",
        "PostgreSQL refuses the connection",
        "see [ledger] url and password. The log",
    ),
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
        ("?options=", "_that_is_not?options=", "no such database"),
        ("//syncd@", "//no_such_user@", "refuses its user"),
        ("?options=", "?options=-cdefault_transaction_read_only%3Don%20", "PostgreSQL is read-only"),
        ("?options=", "?sslmode=verify-full&sslrootcert=system&options=", "no verified TLS"),
    ],
)
def test_a_real_server_refuses_it_in_the_same_words(handle, old, new, message):
    if POOLER or old not in handle.url:
        pytest.skip("another database, or PgBouncer answers")
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


def test_two_new_sources_over_one_portal_know_of_each_other(handle, replica):
    """Both are read for the first time, at the same moment, by two replicas."""
    replica.enrol(["a", "b"])
    one, other = replica.take(), replica.take()
    with one.ledger.open() as first, other.ledger.open() as second, ThreadPoolExecutor(1) as pool:

        def meet():
            with second.transaction():
                second.lock_shared()
                return {name: identity for name, (identity, _) in second.sources().items()}

        with first.transaction():
            first.lock_shared()
            found = pool.submit(meet)
            time.sleep(0.2)
            assert not found.done()
            first.introduce(one.source, identity="portal 7", external_id="{id}")
        assert found.result(timeout=5) == {one.source: "portal 7"}


def test_two_first_passes_share_one_secret_of_the_keys(handle, replica):
    replica.enrol(["a", "b"])
    one, other = replica.take(), replica.take()
    with one.ledger.open() as first, other.ledger.open() as second, ThreadPoolExecutor(1) as pool:

        def make():
            with second.transaction():
                second.make_secret(NOW)
                return second.secret()

        with first.transaction():
            first.make_secret(NOW)
            made = pool.submit(make)
            time.sleep(0.2)
        assert made.result(timeout=5) == first.secret() is not None


def test_the_daily_count_of_two_holders_corrects_the_counts_once(handle, replica, monkeypatch):
    with handle.open() as ledger:
        book_of(ledger, "a", reading("a1", source="a"), reading("a2", source="a"))
        ledger.recount_daily(NOW, stopping=lambda: False)
    ask(handle, "UPDATE counts SET n = n + 1 RETURNING 1")
    replica.enrol(["a", "b"])
    one, other = replica.take(), replica.take()
    later = NOW + 30 * HOUR
    with one.ledger.open() as first, other.ledger.open() as second:
        counted = recount.count

        def both(db, ledger, *, stopping):
            monkeypatch.setattr(recount, "count", counted)
            found = counted(db, ledger, stopping=stopping)
            assert second.recount_daily(later, stopping=stopping).corrected
            return found

        monkeypatch.setattr(recount, "count", both)
        assert first.recount_daily(later, stopping=lambda: False) is None
    assert ask(handle, "SELECT sum(n) FROM counts") == [(2,)]


def test_a_transaction_that_wrote_nothing_waits_for_no_disk(handle, replica):
    replica.enrol(["hubspot"])
    taken = replica.take()
    with taken.ledger.open() as ledger:

        def ends(*statements: str) -> str:
            said: list[str] = []
            with ledger._db.tracer(lambda sql, _: said.append(sql)), ledger.transaction():
                for statement in statements:
                    ledger._db.execute(statement)
            return said[-1]

        ledger.pause_until("a", NOW + HOUR, "quota", now=NOW)
        assert ends() == "ROLLBACK"
        assert ends("SELECT 1", "DELETE FROM pauses WHERE name = 'b'") == "ROLLBACK"
        assert ends("DELETE FROM pauses WHERE name = 'b'", "UPDATE pauses SET reason = 'c'", "SELECT 1") == "COMMIT"
        assert ends("WITH gone AS (DELETE FROM pauses RETURNING name) SELECT name FROM gone") == "COMMIT"
        ledger.keep("hubspot", {"@key": 1}, NOW)
    assert ask(handle, "SELECT name FROM pauses") == []
    assert ask(handle, "SELECT value FROM store WHERE key = '@key'") == [("1",)]
