"""Judge the hints of syncd and its connectors: sentences, commands that exist, and a test for each."""

import ast
import re
from pathlib import Path

import pytest

from syncd.cli.commands import app
from tests import house, sources


def test_there_are_hints_to_judge() -> None:
    assert len(sources.hints()) > 300


def test_a_hint_is_sentences_and_no_chain_of_semicolons() -> None:
    assert [*filter(chained, sources.hints())] == []


def chained(hint: sources.Hint) -> bool:
    return any(re.search(r";(\s|$)", piece) for piece in hint.pieces)


def test_a_hint_names_commands_that_exist() -> None:
    known = {each.name for each in app.registered_commands} | {each.name for each in app.registered_groups}
    texts = [(str(hint), piece) for hint in sources.hints() for piece in hint.pieces]
    named = [(hint, name) for hint, text in texts for name in re.findall(r"`syncd ([a-z][a-z-]*)", text)]
    assert len(named) > 20
    assert [each for each in named if each[1] not in known] == []


def test_a_test_has_four_words_in_a_row_of_each_hint() -> None:
    """A hint that no test produces may be wrong, or may never be shown."""
    judged = [each for each in sources.hints() if each.windows]
    tested = sources.tested((window for each in judged for window in each.windows), without=Path(__file__).name)
    assert len(judged) > 350
    assert [str(each) for each in judged if not each.windows & tested] == []


@pytest.mark.parametrize(
    "text",
    [
        "hint = 'wait; then call'",
        "f(hint=f'{a}; wait')",
        "X_HINT = ('wait; '\n'then')",
        "def hint(a):\n    return f'{a}; wait'",
        "def f(a, *, hint='wait; then'): ...",
        "def f(a, hint='wait; then', b=0): ...",
        "def f(a, hint): ...\nf(1, 'wait; then')",
        "class E:\n    def __init__(self, a, hint): ...\nE(1, '' if a else 'wait; then')",
        "class E:\n    a: int\n    hint: str\nE(1, {'a': 'wait; then'}[a])",
    ],
)
def test_a_hint_is_found_wherever_it_is_given(text: str) -> None:
    module = house.Module("module", "module.py", text, ast.parse(text))
    assert any(map(chained, sources.hints_in(module)))
