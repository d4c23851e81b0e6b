"""A ledger that is copied to or from PostgreSQL: its keys, its lanes, and the history that it begins."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncd.errors import ConfigError, LedgerError
from syncd.ledger import AnyLedger
from syncd.ledger.copying import copy
from syncd.ledger.sealed import is_secret
from tests.copies import dump, fill, place
from tests.ledgers import NOW, URL, GivenKey, ask, stranger

pytestmark = pytest.mark.skipif(not URL, reason="SYNCD_TEST_POSTGRES names no database")
OTHER = GivenKey("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")


def copied(source: Any, target: Any) -> str:
    return copy(source, target, keep=False, now=NOW).sha256


def with_key(handle: Any, key: GivenKey) -> Any:
    return replace(handle, master_key=key)


@pytest.fixture
def filled(tmp_path: Path) -> Callable[[str], AnyLedger]:
    """Return a function that makes a filled ledger of a kind."""

    def make(kind: str) -> AnyLedger:
        source = place(tmp_path, kind)
        fill(source)
        return source

    return make


@pytest.mark.parametrize("kind", ["file", "server"])
def test_payloads_and_values_are_encrypted_with_the_key_of_the_copy_alone(
    kind: str, filled: Any, tmp_path: Path
) -> None:
    source, target = filled(kind), with_key(place(tmp_path, "server", "b"), OTHER)
    before = dump(source)
    first = copied(source, target)
    assert dump(target) == before
    bodies = ask(target, "SELECT body FROM payloads")
    secrets = [value for key, value in ask(target, "SELECT key, value FROM store") if is_secret(key)]
    assert bodies
    assert secrets
    assert {text[:4] for text in [*secrets, *(body for (body,) in bodies)]} == {"gcm:"}
    with (
        pytest.raises(ConfigError, match="was encrypted with another key"),
        with_key(target, GivenKey()).open(),
    ):
        pass
    back = place(tmp_path, "file", "c")
    assert copied(target, back) == first
    assert dump(back) == before


def test_a_payload_that_cannot_be_decrypted_is_named_with_its_remedy(filled: Any, tmp_path: Path) -> None:
    source, target = filled("server"), place(tmp_path, "file", "b")
    with stranger(source) as db:
        db.execute("DELETE FROM data_keys WHERE name <> 'store'")
    with pytest.raises(LedgerError, match="holds a payload that cannot be decrypted") as caught:
        copied(source, target)
    assert "run `syncd ledger rekey --lost --yes`, then `syncd sync`" in caught.value.hint
    source.require_use()


def test_a_ledger_with_another_key_is_not_replaced(filled: Any, tmp_path: Path) -> None:
    source, file = filled("server"), place(tmp_path, "file", "b")
    copied(source, file)
    before = dump(source)
    with pytest.raises(ConfigError, match="was encrypted with another key"):
        copied(file, with_key(source, OTHER))
    assert dump(source) == before
    file.require_use()


def test_a_copy_is_no_ledger_that_went_back(filled: Any, tmp_path: Path) -> None:
    """The server's history goes on while the ledger is elsewhere."""
    source, file = filled("server"), place(tmp_path, "file", "b")
    copied(source, file)
    with stranger(source) as db:
        db.execute("UPDATE meta SET history = '1/00000001/1'")
    copied(file, source)
    with source.open() as ledger:
        assert not ledger.went_back()
    assert ask(source, "SELECT history FROM meta") != [("",)]


def test_a_replica_finds_a_lane_of_each_source_of_the_copy(filled: Any, tmp_path: Path) -> None:
    target: Any = place(tmp_path, "server", "b")
    copied(filled("file"), target)
    with target.replica("run") as replica:
        replica.enrol([])
        taken = replica.take()
        with taken.ledger.open() as ledger:
            assert ledger.recover(now=NOW) == 2
        taken.release(None)
    assert taken.source == "hubspot"
