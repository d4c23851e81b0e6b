"""Every command, run by a user who may not enter or write the places that it needs: an exit code and a remedy."""

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import pytest

from syncd.cli import main as cli
from tests.conftest import Command
from tests.planted import KINDS, NOBODY, ROOT_ONLY, as_user, plant, state
from tests.world import World

COMMANDS = [
    "check", "status", "status --json", "health", "explain 1", "retry 1", "retry --state dead", "sync",
    "sync --dry-run", "preview 1", "run",
]  # fmt: skip


def run(*arguments: object) -> str:
    """Run a command in this process. Returns its exit code and its output."""
    said = io.StringIO()
    sys.argv = ["syncd", *map(str, arguments)]
    code: object = 0
    with redirect_stdout(said), redirect_stderr(said):
        try:
            cli.main()
        except SystemExit as left:
            code = left.code or 0
    return f"{code}\n{said.getvalue()}"


LOADED: set[str] = set()  # in this process, which runs many of these tests


@pytest.fixture
def ready(live: World, command: Command, monkeypatch: pytest.MonkeyPatch) -> World:
    """A ledger, and every module loaded: another user may not read where Python lies."""
    live.call()
    live.configure("recotap", api_key="env:OPEN_KEY")
    live.configure("sources.hubspot", access_token="env:OPEN_TOKEN")
    monkeypatch.setenv("OPEN_KEY", live.box.key)
    monkeypatch.setenv("OPEN_TOKEN", live.box.token)
    live.write_config().chmod(0o644)
    for line in ["sync"] if LOADED else COMMANDS[:-1]:
        command(*line.split(), "-c", live.config_file)
    import syncd.daemon.service  # noqa: F401

    LOADED.add("every module")
    for each in live.config_file.parents[:-1]:
        if each.name != "tmp":
            each.chmod(0o755)
    return live


@ROOT_ONLY
@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.parametrize("closed", ["the ledger's directory", "the one above it", "the ledger", "the lock"])
def test_without_permission_it_is_74_with_a_remedy_and_no_bug(ready: World, line: str, closed: str) -> None:
    place = {
        "the ledger's directory": ready.ledger.parent, "the one above it": ready.path / "above",
        "the ledger": ready.ledger, "the lock": Path(f"{ready.ledger}.lock"),
    }[closed]  # fmt: skip
    if closed == "the one above it":
        place.mkdir()
        ready.ledger.parent.rename(place / "ledger")
        ready.configure("ledger", path=str(place / "ledger" / "ledger.db"))
        ready.write_config().chmod(0o644)
    if closed in ("the ledger", "the lock"):
        ready.ledger.parent.chmod(0o777)
    place.chmod(0o600 if place.is_file() else 0o700)
    before = state(ready.path)
    said = as_user(NOBODY, lambda: run(*line.split(), "-c", ready.config_file))
    assert "Traceback" not in said
    assert "bug" not in said
    assert said.startswith("74\n"), said
    assert "→" in said
    assert state(ready.path) == before


@ROOT_ONLY
@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_runs_from_a_directory_that_the_caller_may_not_enter(
    ready: World, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without -c each looks for a configuration in the current directory first, then in /etc."""
    home = ready.path / "root"
    home.mkdir(mode=0o700)
    monkeypatch.chdir(home)
    monkeypatch.delenv("SYNCD_CONFIG", raising=False)
    monkeypatch.setattr("syncd.config.reading.SEARCHED", (Path("config/syncd.toml"), ready.config_file))
    said = as_user(NOBODY, lambda: run(*line.split()))
    assert "Traceback" not in said
    assert said.startswith("74\n"), said  # the ledger's directory, which is root's: the configuration was read


@ROOT_ONLY
@pytest.mark.parametrize("closed", ["the file", "its directory"])
@pytest.mark.parametrize("named", ["before", "after", "variable"])
def test_a_configuration_that_is_closed_is_78_however_it_is_named(
    ready: World, closed: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ready.path / "etc" / "syncd.toml"
    place.parent.mkdir(mode=0o755)
    place.write_text(ready.config_file.read_text())
    place.chmod(0o600 if closed == "the file" else 0o644)
    place.parent.chmod(0o755 if closed == "the file" else 0o700)
    monkeypatch.setenv("SYNCD_CONFIG", str(place) if named == "variable" else "elsewhere.toml")
    for line in ("status", "sync", "check", "run"):
        arguments = {"before": ("-c", place, line), "after": (line, "--config", place), "variable": (line,)}[named]
        said = as_user(NOBODY, partial(run, *arguments))
        assert said.startswith("78\n"), said
        assert "cannot be read: Permission denied" in said
        assert "give syncd's user the right to read it" in said


@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.parametrize("kind", ["link to a file", "FIFO", "directory"])
def test_something_else_in_the_place_of_the_ledger_is_74_for_every_command(
    ready: World, command: Command, line: str, kind: str
) -> None:
    ready.ledger.unlink()
    plant(kind, ready.ledger)
    before = state(ready.ledger.parent)
    ran = command(*line.split(), "-c", ready.config_file)
    assert (ran.code, "Traceback" in ran.err) == (74, False), ran.err
    assert "→" in ran.err + ran.out
    assert state(ready.ledger.parent) == before


@pytest.mark.parametrize("kind", KINDS)
def test_something_else_in_the_place_of_the_lock_is_74(ready: World, command: Command, kind: str) -> None:
    lock = Path(f"{ready.ledger}.lock")
    lock.unlink()
    plant(kind, lock)
    before = state(ready.ledger.parent)
    for line in ("sync", "run", "health"):
        ran = command(*line.split(), "-c", ready.config_file)
        assert (ran.code, "ledger.db.lock" in ran.err + ran.out) == (74, True), ran.err
        assert state(ready.ledger.parent) == before


@pytest.mark.parametrize("ledger", ["there", "not yet"])
@pytest.mark.parametrize("kind", KINDS)
def test_check_says_that_a_pass_cannot_use_the_lock(ready: World, command: Command, kind: str, ledger: str) -> None:
    lock = Path(f"{ready.ledger}.lock")
    lock.unlink()
    plant(kind, lock)
    if ledger == "not yet":
        ready.ledger.unlink()
    before = state(ready.ledger.parent)
    ran = command("check", "-c", ready.config_file)
    assert ran.code == 74
    assert any(line.startswith("error ledger: ") and f"({lock})" in line for line in ran.out.splitlines())
    assert state(ready.ledger.parent) == before


@ROOT_ONLY
@pytest.mark.parametrize("ledger", ["there", "not yet"])
def test_check_says_that_a_lock_of_root_s_shuts_the_service_out(ready: World, ledger: str) -> None:
    lock = Path(f"{ready.ledger}.lock")
    ready.ledger.parent.chmod(0o777)
    if ledger == "not yet":
        ready.ledger.unlink()
    else:
        os.chown(ready.ledger, NOBODY, NOBODY)
    lock.chmod(0o600)
    said = as_user(NOBODY, lambda: run("check", "-c", ready.config_file))
    assert said.startswith("74\n"), said
    assert f"Permission denied ({lock})" in said
