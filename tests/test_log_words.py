"""Every event of the log has plain words, in the text form of the log and in deploy/LOG.md."""

import ast
import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import structlog

from syncd import log
from syncd.log import WORDS
from tests import sources

ROOT = Path(__file__).parents[1]
CALLS = ("debug", "info", "warning", "error", "exception")
EVENT = re.compile(r"[a-z_]+\.[a-z_]+")


@cache
def calls() -> tuple[tuple[str, ast.Call, str], ...]:
    """Return (place, call, event) of each call that logs an event. `failed` logs the one that it is given."""
    return tuple(_calls())


def _calls() -> Iterator[tuple[str, ast.Call, str]]:
    for module in sources.modules():
        for node in sources.nodes(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                texts = [each.value for each in node.args if isinstance(each, ast.Constant)]
                events = [each for each in texts if isinstance(each, str) and EVENT.fullmatch(each)]
                if events and node.func.attr in (*CALLS, "failed"):
                    yield f"{module.path}:{node.lineno}", node, events[0]


def test_every_event_of_the_code_has_words_and_no_other() -> None:
    assert {event for _, _, event in calls()} | {"library.said"} == {*WORDS}


def test_the_words_are_short_and_all_different() -> None:
    assert len({*WORDS.values()}) == len(WORDS)
    for words in WORDS.values():
        assert len(words.split()) <= 9
        assert not words.endswith(".")


def test_the_page_of_the_log_lists_the_same() -> None:
    rows = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| (.+?) \|$", (ROOT / "deploy" / "LOG.md").read_text(), re.MULTILINE)
    assert rows == [*WORDS.items()]


def test_whoever_reads_a_warning_or_an_error_reads_what_to_do() -> None:
    for place, call, _ in calls():
        assert isinstance(call.func, ast.Attribute)
        if call.func.attr in ("warning", "error", "exception"):
            assert "hint" in {each.arg for each in call.keywords}, place


def test_an_id_is_no_fact_above_debug() -> None:
    for place, call, _ in calls():
        assert isinstance(call.func, ast.Attribute)
        names = {each.arg or "" for each in call.keywords}
        if call.func.attr != "debug":
            assert not {name for name in names if re.search(r"(^|_)ids?$", name)} - {"pid"}, place


@pytest.mark.parametrize(("as_json", "told"), [(False, "pull.finished: a stream was read "), (True, '"pull.finished"')])
def test_the_text_form_adds_the_words(as_json: bool, told: str) -> None:
    stream = io.StringIO()
    log.configure(stream=stream, as_json=as_json)
    structlog.get_logger().info("pull.finished", source="hubspot")
    structlog.get_logger().info("something.else")
    assert told in stream.getvalue()
    assert "something.else:" not in stream.getvalue()
