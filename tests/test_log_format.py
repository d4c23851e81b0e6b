"""`sync` and `run` write the log in the form that `--log-format` asks for."""

import json

import pytest

from syncd import daemon, log
from syncd.cli import progress
from tests.conftest import Command
from tests.test_log import Terminal
from tests.world import World


def is_json(text: str) -> bool:
    return all(line.startswith("{") and json.loads(line) for line in text.splitlines())


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_pass_logs_in_the_form_that_is_asked_for(live: World, command: Command, form: str) -> None:
    live.call()
    ran = command("sync", "--log-format", form, "-c", live.config_file)
    assert (ran.code, ran.out, is_json(ran.err)) == (0, "", form == "json")
    assert "pull.finished" in ran.err
    assert "\x1b" not in ran.err


def test_another_form_is_2(live: World, command: Command) -> None:
    ran = command("sync", "--log-format", "xml", "-c", live.config_file)
    assert (ran.code, ran.out) == (2, "")
    assert "json" in ran.err


@pytest.mark.parametrize(("form", "as_json"), [("json", True), ("text", False), (None, None)])
def test_the_daemon_logs_in_that_form(
    command: Command, monkeypatch: pytest.MonkeyPatch, form: str | None, as_json: bool | None
) -> None:
    told = []
    monkeypatch.setattr(log, "configure", lambda verbose, *, as_json: told.append(as_json))
    monkeypatch.setattr(daemon, "run", lambda file: 0)
    assert command("run", *(["--log-format", form] if form else [])).code == 0
    assert told == [as_json]


@pytest.mark.parametrize(("as_json", "bars"), [(True, False), (False, True), (None, True)])
def test_logs_in_json_have_no_bars_between_them(
    monkeypatch: pytest.MonkeyPatch, as_json: bool | None, bars: bool
) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    with progress.watching(as_json=as_json) as observer:
        assert (observer is not None) is bars
