"""The manual page is what the commands' help makes of it, and no line of it is a command to troff by accident."""

import re
from pathlib import Path

import pytest
import typer

from syncd import __version__
from syncd.cli import manual
from syncd.cli.commands import app
from syncd.errors import Exit

FILE = Path(__file__).parents[1] / "deploy" / "man" / "syncd.1"
PAGE = manual.page().replace("\\-", "-")
COMMANDS = dict(manual.commands("syncd", typer.main.get_command(app)))


def test_the_page_that_ships_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == manual.page(), "python -m syncd.cli.manual > deploy/man/syncd.1"
    assert f'"syncd {__version__}"' in manual.page()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_options_and_examples(name: str) -> None:
    parts = [part for part in PAGE.split("\n.SS ") if re.match(rf"{name}(?: \[.*)?\n", part)]
    assert len(parts) == 1
    part = parts[0].partition("\n.SH ")[0]
    command = COMMANDS[name]
    for option in command.params:
        assert option.param_type_name == "argument" or option.hidden or option.opts[-1] in part
    assert ("Examples:" in part) == bool(command.epilog)


def test_every_exit_code_has_its_meaning() -> None:
    assert [*manual.CODES] == [*Exit]


@pytest.mark.parametrize(
    ("written", "shown"),
    [(".TH x", r"\&.TH x"), ("'quoted'", r"\&'quoted'"), ("a-b", r"a\-b"), (r"a\b", r"a\eb"), ("plain", "plain")],
)
def test_a_text_is_no_command_to_troff(written: str, shown: str) -> None:
    assert list(manual._lines(written)) == [shown]


def test_lines_are_short_and_no_paragraph_is_lost() -> None:
    assert all(len(line) <= 120 for line in PAGE.splitlines())
    for command in COMMANDS.values():
        assert re.sub(r"\s+", "", command.help) in re.sub(r"\s+|\.PP", "", PAGE)
