"""A ledger in PostgreSQL is encrypted: no payload is read without the master key, and no activity is lost with it."""

from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest

from syncd.errors import ConfigError, LedgerError, LedgerHeld
from syncd.ledger.reader import RECOTAP
from tests.conftest import Command
from tests.ledgers import DAY, MINUTE, NOW, URL, GivenKey, ask, book, due, in_postgres, names, reading, row, send
from tests.world import World

Lost = pytest.importorskip("syncd.ledger.postgres_rekeying").Lost
pytestmark = pytest.mark.skipif(not URL, reason="SYNCD_TEST_POSTGRES names no database")
OTHER = GivenKey("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
RELATIONS = """
    SELECT relname FROM pg_class AS each WHERE pg_relation_filepath(oid) IS NOT NULL
        AND (relnamespace = to_regnamespace(current_schema()) OR oid IN (
            SELECT reltoastrelid FROM pg_class WHERE relnamespace = to_regnamespace(current_schema())))
        AND position(convert_to(?, 'UTF8') IN pg_read_binary_file(pg_relation_filepath(oid))) > 0
"""
LOGGED = """
    SELECT count(*) FROM pg_ls_waldir() WHERE name BETWEEN ? AND pg_walfile_name(pg_current_wal_lsn())
        AND position(convert_to(?, 'UTF8') IN pg_read_binary_file('pg_wal/' || name)) > 0
"""


@pytest.fixture
def handle(tmp_path: Path):
    return in_postgres(tmp_path)


@contextmanager
def opened(handle):
    with handle.hold("sync"), handle.open() as ledger:
        yield ledger


@contextmanager
def database(handle):
    with handle._session() as db:
        yield db


def age(handle, days: int = 2) -> None:
    """Make the keys of this day those of an earlier one."""
    with database(handle) as db:
        sql = "UPDATE data_keys SET name = to_char(name::date - make_interval(days => ?), 'YYYY-MM-DD') WHERE name <> ?"
        db.execute(sql, (days, "store"))


def keys(handle) -> list[str]:
    return [name for (name,) in ask(handle, "SELECT name FROM data_keys WHERE name <> 'store' ORDER BY name")]


@pytest.mark.parametrize("encrypted", [True, False])
def test_no_table_index_or_log_has_a_payload_or_a_value_of_a_connector(handle, encrypted):
    handle = handle if encrypted else replace(handle, master_key=None)
    word = f"canary{uuid4().hex}"
    with opened(handle) as ledger:
        (began,) = ask(handle, "SELECT pg_walfile_name(pg_current_wal_lsn())")
        book(ledger, reading(1, title=f"payload {word}"), reading(2, title=f"long {word} " * 1000))
        book(ledger, reading(2, title=f"changed {word}", modified_at=NOW + MINUTE))
        ledger.keep("hubspot", {"token": f"value {word}"}, NOW)
        ledger.make_secret(NOW)
        secret = ledger.secret().hex()
        with database(handle) as db:
            db.execute("CHECKPOINT")
            db.execute("SELECT pg_switch_wal()")
        for text, tables in ((f"payload {word}", "payloads"), (f"changed {word}", "payloads"), (word, None),
                             (f"value {word}", "store"), (secret, "store")):  # fmt: skip
            found = [name for (name,) in ask(handle, RELATIONS, text)]
            (logged,) = ask(handle, LOGGED, *began, text)
            if encrypted:
                assert (found, logged) == ([], (0,))
            else:
                assert logged > (0,)
                assert tables is None or tables in found
        assert ledger.store("hubspot")["token"][0] == f"value {word}"
        assert "changed" in row(ledger, 2)["body"]


def test_what_was_put_into_another_row_is_read_again_and_not_sent(handle):
    with opened(handle) as ledger:
        book(ledger, *map(reading, (1, 2, 3)))
        with database(handle) as db:
            db.execute("""
                UPDATE payloads SET body = other.body FROM payloads AS other
                WHERE payloads.activity_id + other.activity_id = 3
            """)
        claim = ledger.intend(due(ledger), now=NOW)
        assert names(claim.activities) == ["3"]
        assert ledger.due_look_ups("hubspot", "calls", now=NOW, limit=9) == [
            ("2026-06-01T12:00:00.000Z", "1"), ("2026-06-01T12:00:00.000Z", "2"),
        ]  # fmt: skip
        for crm_id in ("1", "2"):
            found = row(ledger, crm_id)
            assert (found["state"], found["reason"], found["body"]) == ("incomplete", "settling", None)
            assert found["detail"] == "its payload could not be decrypted: its record is read again"
        book(ledger, reading(1), reading(2), looked_up_at=NOW)
        assert sorted(send(ledger)) == ["1", "2"]
        assert ledger.balanced()


def test_a_row_that_recotap_may_have_stays_so_when_its_payload_is_lost(handle):
    with opened(handle) as ledger:
        book(ledger, reading(1))
        ledger.intend(due(ledger), now=NOW)
        assert ledger.recover(now=NOW) == 1
        with database(handle) as db:
            db.execute("DELETE FROM data_keys WHERE name <> 'store'")
        ledger._cipher._look()
        assert ledger.intend(due(ledger), now=NOW).activities == ()
        assert (row(ledger)["state"], row(ledger)["unknown"]) == ("incomplete", 1)
        book(ledger, reading(1), looked_up_at=NOW)
        assert (row(ledger)["state"], row(ledger)["unknown"]) == ("pending", 1)


def test_another_page_replaces_a_lost_payload(handle):
    with opened(handle) as ledger:
        book(ledger, reading(1))
        with database(handle) as db:
            db.execute("UPDATE payloads SET body = body || 'AAAA'")
        assert row(ledger)["body"] is None
        book(ledger, reading(1))
        assert send(ledger) == ["1"]


@pytest.mark.parametrize(
    ("key", "message", "hint"),
    [
        (OTHER, "was encrypted with another key than [ledger] master_key", "set master_key to the key of this"),
        (None, 'is encrypted, and [ledger] master_key is "none"', "set [ledger] master_key to the ledger's"),
        (GivenKey("c2hvcnQ="), "expected 32 bytes in base64", "put the ledger's own key there."),
    ],
)
def test_another_key_opens_nothing_and_changes_nothing(handle, key, message, hint):
    with opened(handle) as ledger:
        book(ledger, reading(1))
        ledger.keep("hubspot", {"token": "word"}, NOW)
    other = replace(handle, master_key=key)
    before = ask(handle, "SELECT id, wrapped FROM data_keys ORDER BY id")
    with other.hold("sync"), pytest.raises(ConfigError) as caught, other.open():
        pass
    assert caught.value.exit_code == 78
    assert message in caught.value.message
    assert hint in caught.value.hint
    with other.reports() as reports, pytest.raises(ConfigError):
        reports.explain("hubspot-call-1")
    with other.reports() as reports, pytest.raises(ConfigError):
        reports.store("hubspot")
    with other.reports() as reports:
        assert reports.counts()["pending"] == 1, "counts need no key"
    assert ask(handle, "SELECT id, wrapped FROM data_keys ORDER BY id") == before


def test_a_ledger_without_a_key_may_get_one(handle):
    plain = replace(handle, master_key=None)
    with opened(plain) as ledger:
        book(ledger, reading(1))
        ledger.keep("hubspot", {"token": "word"}, NOW)
        ledger.keep(RECOTAP, {"@doubt": False}, NOW)
        ledger.make_secret(NOW)
        secret = ledger.secret()
    with opened(handle) as ledger:
        assert ledger.store("hubspot")["token"][0] == "word"
        assert ledger.secret() == secret
        sealed = dict(ask(handle, "SELECT key, substr(value, 1, 4) FROM store"))
        assert sealed == {"token": "gcm:", "@sameness": "gcm:", "@doubt": "fals"}
        assert send(ledger) == ["1"]


def test_the_master_key_is_changed_by_wrapping_the_keys_again(handle):
    with opened(handle) as ledger:
        book(ledger, reading(1))
        ledger.keep("hubspot", {"token": "word"}, NOW)
        bodies = ask(handle, "SELECT body FROM payloads")
        with pytest.raises(LedgerHeld), replace(handle, master_key=OTHER).rekeying():
            pass
    with replace(handle, master_key=OTHER).rekeying() as keys:
        with pytest.raises(ConfigError, match="neither key opens 2 of the 2 keys") as caught:
            keys.rewrap(GivenKey(OTHER.text[::-1].replace("=", "") + "="))
        assert "name the key with which the ledger was encrypted" in caught.value.hint
        assert (keys.rewrap(handle.master_key), keys.rewrap(handle.master_key)) == (2, 0)
        assert keys.lost() == Lost()
    with handle.hold("sync"), pytest.raises(ConfigError), handle.open():
        pass
    with opened(replace(handle, master_key=OTHER)) as ledger:
        assert ledger.store("hubspot")["token"][0] == "word"
        assert ask(handle, "SELECT body FROM payloads") == bodies
        assert send(ledger) == ["1"]


def test_with_a_lost_key_no_activity_is_lost(handle):
    """The operator gives up what it encrypted. The records of what waited are read again, and all of it is sent."""
    with opened(handle) as ledger:
        book(ledger, reading(1), reading(2))
        ledger.keep("hubspot", {"token": "word"}, NOW)
        ledger.make_secret(NOW)
        with handle.forget() as forget:
            forget.note("hash", NOW)
    other = replace(handle, master_key=OTHER)
    with other.rekeying() as keys:
        lost = keys.lost()
        assert (len(lost.keys), lost.payloads, lost.forgotten) == (2, 2, 1)
        assert lost.values == (("@recotap", "@sameness"), ("hubspot", "token"))
    with opened(handle) as ledger:
        assert ledger.store("hubspot")["token"][0] == "word", "so far nothing was changed"
    with other.rekeying() as keys:
        assert keys.give_up() == lost
        assert keys.lost() == replace(lost, keys=(), values=(), forgotten=0)
    with opened(other) as ledger:
        assert ledger.store("hubspot") == {}
        assert ledger.secret() is None
        assert ledger.forgotten() == frozenset()
        book(ledger, reading(3))
        assert send(ledger) == ["3"]
        assert [crm_id for _, crm_id in ledger.due_look_ups("hubspot", "calls", now=NOW, limit=9)] == ["1", "2"]
        book(ledger, reading(1), reading(2), looked_up_at=NOW)
        assert sorted(send(ledger)) == ["1", "2"]
        assert ledger.balanced()
        assert ledger.counts()["delivered"] == 3
    with replace(handle, master_key=None).reports():
        pass
    with pytest.raises(ConfigError) as caught, replace(handle, master_key=None).rekeying():
        pass
    assert "name the new key with [ledger] master_key, then" in caught.value.hint


def test_a_changed_value_is_an_error_with_a_remedy(handle):
    with opened(handle) as ledger:
        ledger.keep("hubspot", {"token": "word", "other": "text"}, NOW)
        with database(handle) as db:
            db.execute("UPDATE store SET value = (SELECT value FROM store WHERE key = 'other') WHERE key = 'token'")
        with pytest.raises(LedgerError, match="value token of hubspot cannot be decrypted") as caught:
            ledger.store("hubspot")
        assert "restore a backup of the ledger. If the key is lost, `syncd ledger rekey" in caught.value.hint


def test_the_key_of_a_day_goes_on_the_second_day_after_it(handle):
    with opened(handle) as ledger:
        book(ledger, reading(1), reading(2))
        assert len(keys(handle)) == 1
        age(handle, days=1)
    with opened(handle) as ledger:
        book(ledger, reading(3))
        ledger.end_pass(ledger.begin_pass(NOW), exit_code=0, now=NOW)
        assert len(keys(handle)) == 2, "a transaction of yesterday might still use it"
        age(handle, days=1)
    with opened(handle) as ledger:
        before = dict(ask(handle, "SELECT activity_id, body FROM payloads"))
        book(ledger, reading(4))
        ledger.end_pass(ledger.begin_pass(NOW), exit_code=0, now=NOW)
        assert len(keys(handle)) == 2
        after = dict(ask(handle, "SELECT activity_id, body FROM payloads"))
        assert [before[each] == after[each] for each in (1, 2, 3)] == [False, False, True]
        assert len(send(ledger)) == 4
        age(handle, days=1)
    with opened(handle) as ledger:
        (_, yesterday) = keys(handle)
        book(ledger, reading(5))
        ledger.end_pass(ledger.begin_pass(NOW), exit_code=0, now=NOW)
        assert keys(handle)[0] == yesterday, "although no payload needs it"
        assert len(keys(handle)) == 2


def test_no_lock_is_waited_for_to_drop_a_key(handle):
    with opened(handle) as ledger:
        book(ledger, reading(1), reading(2))
        age(handle)
    with opened(handle) as ledger, database(handle) as other:
        book(ledger, reading(3))
        other.execute("BEGIN")
        other.execute("SELECT 1 FROM payloads WHERE activity_id = 1 FOR UPDATE")
        ledger.end_pass(ledger.begin_pass(NOW), exit_code=0, now=NOW)
        assert len(keys(handle)) == 2
        other.execute("ROLLBACK")
        book(ledger, reading(4))
        ledger.end_pass(ledger.begin_pass(NOW), exit_code=0, now=NOW)
        assert len(keys(handle)) == 1
        assert len(send(ledger)) == 4


def test_a_key_stays_while_too_many_payloads_need_it(handle, monkeypatch):
    monkeypatch.setattr("syncd.ledger.postgres_keys.REWRITTEN", 1)
    with opened(handle) as ledger:
        book(ledger, reading(1), reading(2))
        age(handle)
    for left in (2, 1):
        with opened(handle) as ledger:
            book(ledger, reading(10 + left))
            ledger.end_pass(ledger.begin_pass(NOW), exit_code=0, now=NOW)
            assert len(keys(handle)) == left
            send(ledger, limit=1)
    assert ask(handle, "SELECT count(*) FROM payloads") == [(2,)]


def test_a_key_stays_if_the_transaction_that_needed_it_first_is_undone(handle):
    with opened(handle) as ledger:
        ledger.stream_id("hubspot", "calls")
        with suppress(KeyError), ledger.transaction():
            book(ledger, reading(1))
            raise KeyError
        book(ledger, reading(2))
    with opened(handle) as ledger:
        assert send(ledger) == ["2"]


def test_two_writers_share_the_key_of_a_day(handle):
    with opened(handle) as ledger:
        with database(handle) as one, database(handle) as two:
            first, second = handle.cipher(one), handle.cipher(two)
            first.check(), second.check()
            sealed = first.seal_body(1, "{}"), second.seal_body(1, "[]")
            assert (first.open_body(1, sealed[1]), second.open_body(1, sealed[0])) == ("[]", "{}")
        assert len(keys(handle)) == 1
        assert ledger.counts()["pending"] == 0


@dataclass(frozen=True)
class Somebody:
    """Recognize one address."""

    address: str

    def text(self, written: str) -> str:
        return written.replace(self.address, "")

    def without(self, value):
        return [each for each in value if each != self.address] if isinstance(value, list) else value

    def names(self, value) -> bool:
        return self.address in str(value)


def test_forget_finds_a_person_in_what_is_encrypted(handle):
    address = "kaya.ivorstone@amber-bolts.com"
    with opened(handle) as ledger:
        book(ledger, reading(1, contact="Kaya.Ivorstone@amber-bolts.com", other=address), reading(2), reading(3))
        ledger.keep("hubspot", {"people": [address, "other"], "token": "word"}, NOW)
        with database(handle) as db:
            db.execute("UPDATE payloads SET body = body || 'AAAA' WHERE activity_id = 3")
        with handle.forget() as forget:
            erased = forget.erase(Somebody(address), address, now=NOW, is_held=lambda: True, patience_s=0)
            assert (erased.payloads, erased.values) == (2, 1), "one may be in what cannot be opened"
        assert [row(ledger, each)["reason"] for each in (1, 2, 3)] == ["forgotten", None, "forgotten"]
        assert ledger.store("hubspot")["people"][0] == ["other"]
        assert ask(handle, "SELECT count(*) FROM store WHERE value NOT LIKE 'gcm:%' AND key NOT LIKE '@%'") == [(0,)]
        assert ledger.store("hubspot")["token"][0] == "word"


def test_the_secret_that_forget_makes_is_encrypted(handle):
    with opened(handle):
        pass
    with handle.forget() as forget:
        secret = forget.make_secret(NOW)
        assert forget.make_secret(NOW + DAY) == secret
    ((kept,),) = ask(handle, "SELECT value FROM store")
    assert kept.startswith("gcm:")
    assert secret.hex() not in kept


def test_the_command_shows_the_damage_and_changes_the_key(live: World, command: Command, tmp_path: Path):
    call = live.call()
    live.recotap.faults.add("unavailable", count=None)
    live.sync()
    live.recotap.faults.clear()
    file = live.write_config()
    assert "Nothing is lost." in command("ledger", "rekey", "--lost", "-c", file).out
    key, old = tmp_path / "ledger.key", tmp_path / "old.key"
    key.rename(old)
    key.write_text(OTHER.text)
    key.chmod(0o600)
    refused = command("explain", call, "-c", file)
    assert refused.code == 78
    assert "set master_key to the key of this ledger. If the key is lost, `syncd ledger" in refused.err
    shown = command("ledger", "rekey", "--lost", "-c", file)
    assert "Payloads whose records are read again: 1" in shown.out
    assert "nothing was changed: --lost --yes gives these up" in shown.err
    assert "master key: 2." in command("ledger", "rekey", "--old", f"file:{old}", "-c", file).out
    assert command("sync", "-c", file).code == 0
