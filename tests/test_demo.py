"""The demonstration's texts, as a newcomer's terminal wraps them."""

import io
import shutil
from itertools import pairwise

import pytest
from rich.console import Console

from syncd.cli import demo
from syncd.errors import SyncdError

WIDTHS = (60, 80, 120)


def shown(*, width: int, by) -> list[str]:
    file = io.StringIO()
    by(Console(file=file, width=width, highlight=False))
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("text", ["INTRODUCTION", "FIRST", "SECOND"])
def test_a_paragraph_breaks_only_where_the_next_word_would_not_fit(text, width):
    paragraph = getattr(demo, text).format(version="1.2.3", hours=5)
    lines = shown(width=width, by=lambda console: console.print(paragraph))
    assert max(map(len, lines)) <= width
    assert all(len(line) + 1 + len(after.split()[0]) > width for line, after in pairwise(lines))


@pytest.mark.parametrize("width", WIDTHS)
def test_the_introduction_is_one_paragraph_and_an_empty_line(width):
    lines = shown(width=width, by=demo.introduce)
    assert lines[-1] == ""
    assert all(lines[:-1])
    assert lines[0].startswith("syncd ")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_next_steps_stand_indented_below_each_other(width):
    lines = shown(width=width, by=demo.show_next_steps)
    assert max(map(len, lines)) <= width
    assert [line[2:4] for line in lines if line[2:3].isdigit()] == ["1.", "2.", "3.", "4."]
    assert all(line.startswith("     ") for line in lines[1:] if not line[2:3].isdigit())
    if width >= 80:
        for command, _ in demo.NEXT_STEPS:
            assert any(line.endswith(f" {command}") for line in lines), "a command can be copied as one line"


def test_stand_ins_that_do_not_start_are_an_error_that_says_where_the_reason_shows(monkeypatch):
    monkeypatch.setattr(demo.sys, "executable", shutil.which("true"))
    with pytest.raises(SyncdError, match="the stand-ins did not start") as caught, demo._stand_ins(1, 1):
        pytest.fail("they did not start")
    assert caught.value.hint == "run `syncd sandbox` to see why"
