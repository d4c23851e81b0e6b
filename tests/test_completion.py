"""Bash, zsh and fish complete the commands and options."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from tests.conftest import Command

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture(autouse=True)
def parser_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build the parser of each test: Typer looks at the environment meanwhile."""
    monkeypatch.setattr(typer.main, "get_command", inspect.unwrap(typer.main.get_command))


def ask(monkeypatch: pytest.MonkeyPatch, shell: str, line: str) -> None:
    """Set the variables with which the script of a shell asks for the completions of a line."""
    words = line.split(" ")
    for name, value in {
        "_SYNCD_COMPLETE": f"complete_{shell}", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script_of_its_own(monkeypatch: pytest.MonkeyPatch, command: Command, shell: str) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    ran = command("--show-completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert f"_SYNCD_COMPLETE=complete_{shell}" in ran.out
    assert "syncd" in ran.out


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "found", "others"),
    [
        ("syncd st", "status", "sync"), ("syncd config s", "schema", "example"),
        ("syncd retry --d", "--dry-run", "--state"), ("syncd sync --log-format j", "json", "text"),
    ],
)  # fmt: skip
def test_each_shell_is_told_what_fits(
    monkeypatch: pytest.MonkeyPatch, command: Command, shell: str, line: str, found: str, others: str
) -> None:
    ask(monkeypatch, shell, line)
    ran = command()
    assert ran.code == 0
    assert found in ran.out
    assert others not in ran.out.replace(found, "").split("\n")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("syncd list --state de", "delivered dead"), ("syncd retry --state de", "dead"),
        ("syncd retry --reason no_con", "no_contact no_contact_email"), ("syncd list --kind ", "call email"),
        ("syncd health --probe ", "alive ready fresh"), ("syncd -c FILE list --source ", "hubspot sales"),
        ("syncd sync -c FILE --source h", "hubspot"), ("syncd resume -c FILE ", "recotap hubspot sales"),
        ("syncd ledger trust -c FILE s", "sales"), ("syncd list -c /nowhere.toml --source ", ""),
        ("syncd resume -c /nowhere.toml ", "recotap"),
    ],
)  # fmt: skip
def test_values_that_syncd_knows_are_completed(
    monkeypatch: pytest.MonkeyPatch, command: Command, tmp_path: Path, line: str, found: str
) -> None:
    """Sources come from the configuration. Its keys need not be readable, and its mistakes do not show."""
    file = tmp_path / "syncd.toml"
    table = '[sources.{}]\nconnector = "hubspot"\naccess_token = "env:UNSET"\nstart = 2026-01-01T00:00:00Z\n'
    file.write_text('[recotap]\napi_key = "env:UNSET"\n' + table.format("hubspot") + table.format("sales"))
    ask(monkeypatch, "bash", line.replace("FILE", str(file)))
    ran = command()
    assert (ran.code, ran.out.split(), ran.err) == (0, found.split(), "")


def test_bash_completes_a_command_by_that_script(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    script = command("--show-completion", "bash").out
    ask = "COMP_WORDS=(syncd backf); COMP_CWORD=1; _syncd_completion syncd; printf '%s\\n' \"${COMPREPLY[@]}\""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shell = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{ask}"], env={**os.environ, "PATH": path}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert (shell.stdout, shell.stderr) == ("backfill\n", "")
