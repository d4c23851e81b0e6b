"""Bash, zsh and fish complete the commands and options."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Command

SHELLS = ("bash", "zsh", "fish")


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
