"""`syncd support-bundle`: what a maintainer needs, and nothing personal."""

import json
import stat
import zipfile
from pathlib import Path

import pytest

from syncd import clock
from syncd.cli import support
from syncd.config.origins import FILE, Setting
from tests.conftest import Command
from tests.world import World

SUBJECT = "Canary subject zebra-41"
OWNER = "oda.canarowner@lanternfield-sales.com"
DOMAIN = "canary-customer.com"


def opened(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


@pytest.fixture
def used(world: World) -> World:
    """A world with a delivered call, one that waits, and a configuration that names people."""
    owner = world.hubspot.owner(OWNER, "Oda", "Canarowner")
    contact = world.person("quellbrunn.canaria", firstname="Canaria", lastname="Quellbrunn")
    world.call(hubspot_owner_id=owner, contacts=[contact], hs_call_title=SUBJECT)
    world.call(hubspot_owner_id=owner, contacts=[], hs_call_title=SUBJECT)
    world.sync()
    return world


def test_it_has_what_a_maintainer_asks_for_and_nothing_personal(
    used: World, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCD_RULES__NOT_OWNERS", f'["{OWNER}"]')
    monkeypatch.setenv("SYNCD_RULES__EXCLUDE_DOMAINS", f'["{DOMAIN}"]')
    monkeypatch.setenv("SYNCD_RULES__DEFAULT_OWNER_EMAIL", f"x.{OWNER}")
    path = tmp_path / "bundle.zip"
    ran = command("support-bundle", "-c", used.write_config(), "--output", path)
    assert (ran.code, ran.out.strip()) == (0, str(path))
    assert "without" not in ran.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = opened(path)
    assert [*found] == ["README.txt", "about.json", "config.toml", "status.json", "failures.json", "passes.json",
                        "ledger.json", "schema.sql"]  # fmt: skip
    whole = "".join(found.values()).casefold()
    for canary in (SUBJECT, OWNER, DOMAIN, "canaria", "quellbrunn", "canarowner", used.box.token, used.box.key):
        assert canary.casefold() not in whole
    about = json.loads(found["about.json"])
    assert about["libraries"]["httpx"]
    assert None not in about["libraries"].values()
    assert json.loads(found["status.json"])["seen"] == 2
    assert json.loads(found["failures.json"]) == [
        {"state": "incomplete", "cause": "no_contact", "count": 1, "domains": 0}
    ]
    assert len(json.loads(found["passes.json"])) == 1
    ledger = json.loads(found["ledger.json"])
    assert ledger["intact"]
    assert all(plan for plan in ledger["plans"].values())
    assert "CREATE TABLE activities" in found["schema.sql"].replace('"', "")
    assert 'rules.not_owners = "(1 entries)"' in found["config.toml"]
    assert all(name in found["README.txt"] for name in found if name != "README.txt")


def test_a_part_that_fails_leaves_the_others(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.toml").write_text("[sources")
    ran = command("support-bundle", "-c", tmp_path / "broken.toml")
    assert ran.code == 0
    assert ran.err.startswith(
        "without config.toml, status.json, failures.json, passes.json, ledger.json, schema.sql: 1 "
    )
    assert "not TOML" in ran.err
    (path,) = tmp_path.glob("syncd-support-*Z.zip")
    found = opened(path)
    assert found["status.json"].startswith("could not be collected: ")
    assert json.loads(found["about.json"])["python"]


def test_a_mistake_in_a_key_that_may_name_somebody_tells_the_key_alone(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = '[rules.domain_aliases]\n"Jo Quux" = 3\n[sources.s]\nconnector = "salesforce"\n'
    named = '[sources.s.calls.values.direction]\n"quux called" = 3\n[[sources.s.calls.except]]\n"quux.Field" = 3\n'
    (tmp_path / "broken.toml").write_text(table + named)
    ran = command("support-bundle", "-c", tmp_path / "broken.toml")
    (path,) = tmp_path.glob("syncd-support-*Z.zip")
    told = ran.err + "".join(opened(path).values())
    assert "sources.s.calls.values: invalid" in told
    assert "quux" not in told.lower()


def test_it_replaces_no_file_and_names_a_place_that_it_cannot_write(tmp_path: Path, command: Command) -> None:
    taken = tmp_path / "taken.zip"
    taken.write_text("mine")
    assert command("support-bundle", "--output", taken).code == 2
    assert taken.read_text() == "mine"
    ran = command("support-bundle", "--output", tmp_path / "missing" / "bundle.zip")
    assert ran.code == 2
    assert "cannot be written" in ran.err


def test_no_home_directory_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    content, failed = support.archive({"a": lambda: f"{tmp_path}/ledger.db"}, clock.now())
    (tmp_path / "a.zip").write_bytes(content)
    assert opened(tmp_path / "a.zip") == {"a": "~/ledger.db"}
    assert not failed


def test_addresses_in_any_key_are_replaced() -> None:
    shown = support.settings([Setting(("sources", "x", "note"), f"ask {OWNER}", FILE)])
    assert OWNER not in shown
