"""The texts of the code that operators read: no chain of sentences, and only commands that exist."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import typer

from syncd.cli import manual
from syncd.cli.commands import app
from tests import sources

COMMANDS = {name.removeprefix("syncd "): each for name, each in manual.commands("syncd", typer.main.get_command(app))}
GROUPS = {name.split()[0] for name in COMMANDS if " " in name}
CODE = re.compile(r"\b(SELECT|CREATE|INSERT|UPDATE)\b")
LISTS = {"daemon/status_line.py", "cli/demo.py", "sandbox"}  # facts in a line, apart by semicolons


def texts() -> Iterator[tuple[str, str]]:
    """Yield (place, text) of each string that is no docstring. What an f-string inserts is {}."""
    for module in sources.modules():
        nodes = sources.nodes(module)
        inner = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        docs = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and id(node) not in inner | docs):
                parts = node.values if isinstance(node, ast.JoinedStr) else [node]
                found = [each.value if isinstance(each, ast.Constant) else "{}" for each in parts]
                yield (
                    f"{module.path}:{node.lineno}",
                    "".join(each for each in found if isinstance(each, str)),
                )


@cache
def prose() -> list[tuple[str, str]]:
    return [(place, text) for place, text in texts() if not CODE.search(text)]


def test_no_sentence_is_chained_to_another_by_a_semicolon() -> None:
    chained = [(place, text) for place, text in prose() if re.search(r"\S; [a-z`]+[ .]", text)]
    assert [each for each in chained if not any(name in each[0] for name in LISTS)] == []


def test_each_command_that_a_text_names_exists_with_its_options() -> None:
    named = [(place, each.split()) for place, text in prose() for each in re.findall(r"`syncd ([a-z][^`]*)`", text)]
    assert len(named) > 60
    for place, words in named:
        name = " ".join(words[: 2 if words[0] in GROUPS else 1])
        assert name in COMMANDS or name in GROUPS, place
        known = {option for each in COMMANDS[name].params for option in each.opts}
        assert {each for each in words if re.match(r"-+[a-z]", each)} <= known | {"--help"}, place
