"""[alerts]: its addresses, which are references, and its mistakes."""

import importlib.util
from datetime import timedelta
from pathlib import Path

import pytest

from syncd.config import Config, explained, load
from syncd.errors import ConfigError
from syncd.privacy.redaction import redact
from syncd.types.secrets import HIDDEN, Secret

FILE = """
[recotap]
api_key = "env:TEST_RECOTAP_KEY"
[rules]
own_domains = ["lanternfield.io"]
[sources.hubspot]
connector = "hubspot"
access_token = "env:TEST_TOKEN"
start = 2026-01-01T00:00:00Z
[alerts]
"""
ADDRESS = "ntfys://canary-topic-7f3a@ntfy.example.com/syncd"
BEAT = "https://beats.example.com/ping/canary-uuid-41d5"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"TEST_RECOTAP_KEY": "a-key-of-recotap", "TEST_TOKEN": "a-token-of-hubspot", "TEST_ADDRESS": ADDRESS,
              "TEST_BEAT": BEAT, "TEST_WORDS": "hello world", "TEST_MAIL": "mailto:x"}  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def read(tmp_path: Path, table: str) -> Config:
    file = tmp_path / "syncd.toml"
    file.write_text(FILE + table)
    return load(file, environ={})


def problems(tmp_path: Path, table: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, table)
    return {each.path: f"{each.message} {each.hint}" for each in caught.value.problems}


def test_without_the_table_nothing_is_sent(tmp_path: Path) -> None:
    alerts = read(tmp_path, "").alerts
    assert not alerts.is_set
    assert (alerts.after, alerts.backlog, alerts.disk_free) == (timedelta(minutes=10), timedelta(hours=6), 10**9)


def test_addresses_are_references_and_the_heartbeat_may_stand_in_the_file(tmp_path: Path) -> None:
    alerts = read(tmp_path, f'urls = ["env:TEST_ADDRESS"]\nheartbeat_url = "{BEAT}/"\nafter = "0s"').alerts
    assert alerts.urls == [Secret("env", "TEST_ADDRESS")]
    assert alerts.heartbeat_url is not None
    assert alerts.heartbeat_url.read() == BEAT
    assert alerts.after == timedelta(0)
    assert BEAT not in f"{alerts!r} {alerts}"
    assert "canary" not in redact(f"{ADDRESS} {BEAT}")
    alerts = read(tmp_path, 'heartbeat_url = "env:TEST_BEAT"').alerts
    assert alerts.heartbeat_url == Secret("env", "TEST_BEAT")


def test_all_mistakes_come_at_once_with_the_key_and_no_value(tmp_path: Path) -> None:
    table = f"""
urls = ["{ADDRESS}", "env:TEST_WORDS", "env:TEST_MAIL", "env:TEST_NOWHERE"]
heartbeat_url = "ftp://beats.example.com"
after = "soon"
backlog = "0s"
disk_free = "lots"
color = "red"
"""
    found = problems(tmp_path, table)
    assert set(found) == {f"alerts.{key}" for key in ("urls.0", "heartbeat_url", "after", "backlog", "disk_free",
                                                      "color")}  # fmt: skip
    assert "never the secret itself" in found["alerts.urls.0"]
    assert "canary" not in str(found)
    found = problems(tmp_path, 'urls = ["env:TEST_WORDS", "env:TEST_MAIL", "env:TEST_NOWHERE", "env:TEST_ADDRESS"]\n'
                               'heartbeat_url = "env:TEST_WORDS"')  # fmt: skip
    assert set(found) == {f"alerts.{key}" for key in ("urls.0", "urls.1", "urls.2", "heartbeat_url")}
    assert "ntfys://" in found["alerts.urls.0"]
    assert "TEST_NOWHERE is not set" in found["alerts.urls.2"]
    assert "hello" not in str(found)


def test_without_apprise_the_key_and_the_extra_are_named_and_a_heartbeat_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "apprise" else found(name))
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, 'urls = ["env:TEST_ADDRESS"]')
    (problem,) = caught.value.problems
    assert caught.value.exit_code == 78
    assert (problem.path, problem.hint) == ("alerts.urls", "pip install 'syncd[alerts]'")
    assert read(tmp_path, 'heartbeat_url = "env:TEST_BEAT"').alerts.is_set


def test_show_prints_references_and_hides_what_is_none(tmp_path: Path) -> None:
    file = tmp_path / "syncd.toml"
    file.write_text(f'{FILE}urls = ["env:TEST_ADDRESS", "env:{ADDRESS}"]\nheartbeat_url = "{BEAT}"')
    settings = {each.key: each.value for each in explained(file, environ={})[1]}
    first, second = settings["alerts", "urls"]
    assert first == "env:TEST_ADDRESS"
    assert "canary" not in second
    assert settings["alerts", "heartbeat_url"] == HIDDEN
    file.write_text(FILE)
    assert {each.key: each.value for each in explained(file, environ={})[1]}["alerts", "heartbeat_url"] == ""
