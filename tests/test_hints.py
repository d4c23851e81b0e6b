"""Judge the hints of syncd and its connectors: sentences instead of chains, and commands that exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.cli.commands import app

ROOT = Path(__file__).parent.parent
OURS = sorted({*(ROOT / "syncd").rglob("*.py"), *(ROOT / "connectors").rglob("*.py")})
PARTS = ("sandbox", "testing")  # stand-ins and tools for tests give no hints
A_HINT = re.compile(r"(?i)hint|remedy|action")


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield each text of a module that is a hint: a keyword, a variable or a constant of such a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword):
            names = [node.arg or ""]
        elif isinstance(node, ast.Assign):
            names = [*map(ast.unparse, node.targets)]
        else:
            continue
        if any(map(A_HINT.search, names)):
            parts = (each.value for each in ast.walk(node.value) if isinstance(each, ast.Constant))
            yield from (part for part in parts if isinstance(part, str))


def hints() -> Iterator[tuple[str, str]]:
    """Yield the file and the text of each hint."""
    for file in OURS:
        if not set(PARTS) & set(file.relative_to(ROOT).parts):
            for text in texts(ast.parse(file.read_text("utf-8"))):
                yield str(file.relative_to(ROOT)), text


def test_there_are_hints_to_judge() -> None:
    assert len([*hints()]) > 150


def test_a_hint_is_sentences_and_no_chain_of_semicolons() -> None:
    assert [(file, text) for file, text in hints() if re.search(r";(\s|$)", text)] == []


def test_a_hint_names_commands_that_exist() -> None:
    known = {each.name for each in app.registered_commands} | {each.name for each in app.registered_groups}
    named = [(file, name) for file, text in hints() for name in re.findall(r"`syncd ([a-z][a-z-]*)", text)]
    assert len(named) > 20
    assert [each for each in named if each[1] not in known] == []


@pytest.mark.parametrize("text", ["hint = 'wait; then call'", "f(hint=f'{a}; wait')", "X_HINT = ('wait; '\n'then')"])
def test_a_chain_is_found(text: str) -> None:
    assert any(re.search(r";(\s|$)", each) for each in texts(ast.parse(text)))
