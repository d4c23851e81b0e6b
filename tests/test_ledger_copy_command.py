"""`syncd ledger copy`: its arguments, its outcome, and the commands that the old ledger then refuses."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncd.cli import copying as screen
from syncd.ledger import LedgerHandle
from tests.conftest import Command
from tests.ledgers import OF_SQLITE, URL
from tests.test_sync_on_terminal import on_terminal
from tests.world import World

ADDRESS = "postgresql://syncd@127.0.0.1/syncd"


@pytest.fixture
def synced(live: World, command: Command) -> World:
    """A ledger of one pass."""
    live.call()
    assert command("sync", "-c", live.config_file).code == 0
    return live


@pytest.fixture
def copied(synced: World, command: Command) -> Callable[..., Any]:
    """Return a function that copies the ledger."""
    return lambda *more: command("ledger", "copy", synced.ledger, *more, "-c", synced.config_file)


@OF_SQLITE
def test_after_a_move_the_old_ledger_refuses_and_the_new_one_goes_on(
    synced: World, command: Command, copied: Any, tmp_path: Path
) -> None:
    there = tmp_path / "new" / "ledger.db"
    ran = copied(there)
    assert ran.code == 0
    figures, equal = ran.out.splitlines()
    assert figures.startswith(f"{synced.ledger} is copied to {there}: 1 activities, ")
    assert equal.startswith("both are equal in every row: sha256 ")
    assert ran.err == f"{screen.MOVED}\n"
    for name in (
        "sync",
        "run",
        "retry --state dead",
        "resume hubspot",
        "ledger recount",
        "backfill --since 2026-01-01",
    ):
        ran = command(*name.split(), "-c", synced.config_file)
        assert ran.code == 78, name
        assert f"the ledger at {synced.ledger} was moved to {there} at 20" in ran.err
        assert "→ let [ledger] name the new place. The way back is `syncd ledger copy` from there to here" in ran.err
    assert command("status", "-c", synced.config_file).code == 0
    synced.configure("ledger", path=str(there))
    second = synced.call()
    assert command("sync", "-c", synced.write_config()).code == 0
    assert second in synced.delivered
    assert len(synced.recotap.stored) == 2


@OF_SQLITE
def test_a_copy_for_reading_is_refused_by_a_pass_and_answers_questions(
    synced: World, command: Command, copied: Any, tmp_path: Path
) -> None:
    there = tmp_path / "copy.db"
    with LedgerHandle(synced.ledger).hold("run"):
        ran = copied("--keep", there, "--json")
    document = json.loads(ran.out)
    assert (ran.code, document["moved"], document["rows"]["activities"]) == (0, False, 1)
    assert document["seen"] == {"hubspot/calls": 1, "hubspot/emails": 0}
    assert command("sync", "-c", synced.config_file).code == 0
    synced.configure("ledger", path=str(there))
    ran = command("sync", "-c", synced.write_config())
    assert ran.code == 78
    assert "for reading only" in ran.err
    assert len(json.loads(command("list", "--json", "-c", synced.config_file).out)) == 1


@OF_SQLITE
def test_wrong_arguments_are_told_and_nothing_is_made(synced: World, copied: Any, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    for arguments, words in (
        ([synced.ledger], "FROM and TO are the same ledger"),
        ([synced.ledger.parent / ".." / "ledger" / "ledger.db"], "FROM and TO are the same ledger"),
        ([""], "TO: expected a path or an address of PostgreSQL"),
        (["mysql://syncd@127.0.0.1/syncd"], "TO: expected an address such as postgresql://"),
        (["postgresql://syncd:quiet-otter@127.0.0.1/syncd"], "TO: holds a password: remove it"),
        ([ADDRESS, "--to-password", "quiet-otter"], "TO: expected env:NAME, file:PATH or credential:NAME"),
        ([ADDRESS, "--to-key", "quiet-otter"], "TO: expected env:NAME, file:PATH or credential:NAME"),
        ([ADDRESS], "TO needs --to-key REF, or none to encrypt nothing there"),
        ([tmp_path / "copy.db", "--to-key", "none"], "TO is a file, which has no master key"),
        ([tmp_path / "copy.db", "--to-password", "env:PASSWORD"], "TO is a file, which has no password"),
        ([tmp_path / "copy.db", "--from-password", "env:PASSWORD"], "FROM is a file, which has no password"),
    ):
        ran = copied(*arguments)
        told = " ".join(ran.err.split())
        assert (ran.code, ran.out) == (2, ""), told
        assert words in told
        assert "quiet-otter" not in told
    assert sorted(tmp_path.rglob("*")) == before


@OF_SQLITE
def test_without_psycopg_the_package_to_install_is_named(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ran = copied(ADDRESS, "--to-key", "none")
    assert ran.code == 78
    assert "needs the package psycopg, which is not installed" in ran.err
    assert "pip install 'syncd[postgres]'" in ran.err


@pytest.mark.parametrize(
    ("configured", "given", "read"),
    [
        (ADDRESS, "", "env:OF_THE_FILE"), (ADDRESS, "env:OF_THE_OPTION", "env:OF_THE_OPTION"),
        (f"{ADDRESS}2", "", "None"), (f"{ADDRESS}2", "env:OF_THE_OPTION", "env:OF_THE_OPTION"),
    ],
)  # fmt: skip
def test_password_and_key_are_those_of_the_options_or_of_the_same_address_in_the_file(
    configured: str, given: str, read: str, tmp_path: Path
) -> None:
    pytest.importorskip("psycopg")
    from types import SimpleNamespace

    from syncd.cli.commands.copying import _ledger
    from syncd.config import LedgerConfig

    ledger = LedgerConfig.model_validate({"url": configured, "password": "env:OF_THE_FILE", "master_key": "env:KEY"})
    config: Any = SimpleNamespace(ledger=ledger)
    key = "" if configured == ADDRESS else "env:KEY"
    found: Any = _ledger(config, "TO", ADDRESS, password=given, key=key)
    assert (found.url, str(found.password), str(found.master_key)) == (ADDRESS, read, "env:KEY")


@OF_SQLITE
def test_a_terminal_sees_both_steps(synced: World, tmp_path: Path) -> None:
    code, shown = on_terminal(synced, "ledger", "copy", str(synced.ledger), str(tmp_path / "copy.db"))
    assert code == 0
    for step in ("rows copied", "rows compared"):
        assert re.search(rf"{step} .* (\d+)/\1 ", shown), shown


@pytest.mark.skipif(not URL, reason="SYNCD_TEST_POSTGRES names no database")
def test_a_world_moves_into_a_file_and_back(live: World, command: Command, tmp_path: Path) -> None:
    live.call()
    assert command("sync", "-c", live.config_file).code == 0
    url, file = live.handle.url, tmp_path / "ledger.db"  # type: ignore[union-attr]
    assert command("ledger", "copy", url, file, "-c", live.config_file).code == 0
    ran = command("sync", "-c", live.config_file)
    assert (ran.code, f"was moved to {file}" in ran.err) == (78, True)
    key = f"file:{live.path / 'ledger.key'}"
    live.configure("ledger", path=str(file), url="", master_key="")
    second = live.call()
    assert command("sync", "-c", live.write_config()).code == 0
    assert second in live.delivered
    ran = command("ledger", "copy", file, url, "--to-key", key, "--json", "-c", live.config_file)
    assert json.loads(ran.out)["rows"]["activities"] == 2
    assert os.environ["SYNCD_TEST_POSTGRES"].partition("@")[0] not in ran.out
    live.configure("ledger", path="", url=url, master_key=key)
    third = live.call()
    assert command("sync", "-c", live.write_config()).code == 0
    assert {second, third} <= live.delivered
    assert len(live.recotap.stored) == 3
