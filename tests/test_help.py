"""The help of every command fits a terminal of 80 columns, and the README has every command."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from syncd.cli.commands import app
from syncd.cli.commands.examples import EXAMPLES
from tests.conftest import Command

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `syncd ([a-z -]+?)(?: ID| NAME| FROM TO| \[NAME\]| \[ID\]\.\.\.)?` \| (.*) \|$", re.MULTILINE)
TABLE = dict(ROW.findall(README.split("## Commands\n")[1]))


def commands(command: Any, path: str = "") -> dict[str, Any]:
    """Return each command by its path, the program itself by ""."""
    inner = getattr(command, "commands", {})
    found = {path: command}
    for name, each in inner.items():
        found |= commands(each, f"{path} {name}".strip())
    return found


COMMANDS = commands(get_command(app))


def first_sentence(command: Any) -> str:
    return str(command.help).split("\n")[0]


@pytest.fixture(autouse=True)
def a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("path", COMMANDS)
def test_no_line_of_a_help_is_cut_or_wider_than_80_columns(path: str, command: Command) -> None:
    ran = command(*path.split(), "--help")
    lines = ran.out.splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert lines[0].startswith(f"Usage: syncd {path}".rstrip())
    assert max(map(len, lines)) <= 80
    assert not any("..." in line or "…" in line for line in lines if "[ARGS]..." not in line and "[ID]..." not in line)


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_is_one_short_sentence_in_the_list_and_has_plain_metavars(path: str, command: Command) -> None:
    parent, _, name = path.rpartition(" ")
    sentence = first_sentence(COMMANDS[path])
    assert re.fullmatch(r"[A-Z][^;…]+\.", sentence)
    if path:
        assert len(sentence) <= 55
        listed = " ".join(command(*parent.split(), "--help").out.split())
        assert f" {name} {sentence}" in listed
    shown = command(*path.split(), "--help").out
    assert not re.search(r"[{<]|\[\[", shown)
    assert all(len(line.split()) > 1 for line in shown.splitlines() if line.startswith("  --")), "each has a text"


@pytest.mark.parametrize("path", COMMANDS)
def test_h_is_help(path: str, command: Command) -> None:
    assert command(*path.split(), "-h") == command(*path.split(), "--help")


def test_a_wrong_command_line_names_help(command: Command) -> None:
    assert "Try 'syncd sync --help' for help." in command("sync", "--dry").err


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_help_ends_with_examples_that_the_command_line_understands(name: str, command: Command) -> None:
    shown = [line.strip() for line in command(name, "--help").out.partition("Examples:\n")[2].splitlines() if line]
    assert [line.split("  ")[0] for line in shown] == [line for line, _ in EXAMPLES[name]]
    for line, gloss in EXAMPLES[name]:
        program, called, *arguments = line.split()
        assert (program, called, gloss.endswith(".")) == ("syncd", name, False)
        context = COMMANDS[name].make_context(name, arguments)
        assert {given for given, value in context.params.items() if value}


def test_ids_are_called_id_in_the_usage(command: Command) -> None:
    assert command("explain", "--help").out.startswith("Usage: syncd explain [OPTIONS] ID\n")
    assert command("retry", "--help").out.startswith("Usage: syncd retry [OPTIONS] [ID]...\n")


def test_the_readme_has_exactly_these_commands_in_this_order_with_their_first_sentences() -> None:
    alone = {path: each for path, each in COMMANDS.items() if not hasattr(each, "commands")}
    assert [(path, first_sentence(each).rstrip(".")) for path, each in alone.items() if path] == [*TABLE.items()]


def test_the_program_lists_its_commands_under_headings_in_the_order_of_use(command: Command) -> None:
    lines = command("--help").out.partition("\n\nSet up:\n")[2].splitlines()
    assert [line[:-1] for line in lines if re.fullmatch(r"[A-Z]\w+:", line)] == ["Work", "See", "Repair", "Other"]
    assert [line.split()[0] for line in lines if re.match(r"  [a-z-]+ ", line)] == [
        path for path in COMMANDS if path and " " not in path
    ]
    assert [*COMMANDS][:7] == ["", "init", "check", "scope", "preview", "sync", "run"]
