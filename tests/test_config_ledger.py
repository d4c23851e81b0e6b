"""[ledger]: a file or PostgreSQL, never both, and what PostgreSQL needs."""

import importlib.util
from pathlib import Path

import pytest

from syncd.config import Config, explained, load
from syncd.errors import ConfigError
from syncd.ledger import LedgerHandle, chosen
from tests.conftest import Command
from tests.world import World

URL = 'url = "postgresql://syncd@db.example.com/syncd"'


@pytest.fixture
def read(tmp_path: Path, world: World):
    def read(lines: str, **environ: str) -> Config:
        text = world.write_config().read_text()
        before, _, after = text.partition("[ledger]\n")
        file = tmp_path / "other.toml"
        file.write_text(f"{before}[ledger]\n{lines}\n{after.partition(chr(10))[2]}")
        return load(file, environ=environ, now=world.now())

    return read


@pytest.fixture
def problems(read):
    def problems(lines: str, **environ: str) -> dict[str, str]:
        with pytest.raises(ConfigError) as caught:
            read(lines, **environ)
        return {each.path: f"{each.message}; {each.hint}" for each in caught.value.problems}

    return problems


def test_the_address_and_a_reference_to_the_password_choose_postgresql(read, tmp_path):
    pytest.importorskip("psycopg")
    (tmp_path / "password").write_text("canary-word\n")
    (tmp_path / "password").chmod(0o600)
    ledger = chosen(read(f'{URL}\npassword = "file:{tmp_path}/password"\nmaster_key = "none"').ledger)
    assert str(ledger) == "postgresql://db.example.com/syncd"
    assert ledger.password.read_line() == "canary-word"
    assert "canary-word" not in repr(ledger)
    assert (ledger.folder(), ledger.private_files(), ledger.free_bytes()) == (None, {}, None)


def test_the_master_key_is_a_reference_or_none(read, problems, tmp_path):
    pytest.importorskip("psycopg")
    key = tmp_path / "master"
    key.write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
    key.chmod(0o600)
    ledger = chosen(read(f'{URL}\nmaster_key = "file:{key}"').ledger)
    assert ledger.master_key.read_line() == key.read_text().strip()
    assert key.read_text().strip() not in repr(ledger)
    assert chosen(read(f'{URL}\nmaster_key = "none"').ledger).master_key is None
    assert chosen(read('path = "ledger.db"\nmaster_key = ""').ledger) == LedgerHandle(tmp_path.cwd() / "ledger.db")
    for lines in (URL, f'{URL}\nmaster_key = ""'):
        needed = problems(lines)["ledger.master_key"]
        assert "is needed with url: PostgreSQL does not overwrite erased payloads" in needed
        assert 'set it to the place of a key, which `openssl rand -base64 32` makes, or to "none"' in needed
    found = problems('path = "ledger.db"\nmaster_key = "none"')
    assert found == {"ledger.master_key": "is only for a ledger in PostgreSQL; set url too, or remove it"}
    assert "expected env:NAME" in problems(f'{URL}\nmaster_key = "{key.read_text().strip()}"')["ledger.master_key"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "canary-word",
            "expected 32 bytes in base64, as `openssl rand -base64 32` prints; put the ledger's own key there",
        ),
        ("c2hvcnQ=", "32` prints. It holds 5; put the ledger's own key there."),
        ("", "is not set or empty; put the key there, or name another place"),
        (None, "cannot be read (No such file or directory); put the key there, or name another place"),
    ],
)
def test_a_master_key_that_is_none_is_told_with_the_other_mistakes(problems, tmp_path, text, message):
    if text is not None:
        (tmp_path / "master").write_text(text)
        (tmp_path / "master").chmod(0o600)
    found = problems(f'{URL}\nmaster_key = "file:{tmp_path}/master"')
    assert message in found["ledger.master_key"]
    assert "canary-word" not in str(found)


def test_a_variable_may_name_postgresql_for_a_file_that_names_a_path(read):
    url = {"SYNCD_LEDGER__URL": "postgresql://syncd@db.example.com/syncd", "SYNCD_LEDGER__MASTER_KEY": "none"}
    assert read('path = "ledger.db"', **url, SYNCD_LEDGER__PATH="").ledger.url == url["SYNCD_LEDGER__URL"]
    assert isinstance(chosen(read('path = "ledger.db"\nurl = ""\npassword = ""').ledger), LedgerHandle)


def test_every_mistake_is_told_at_once(problems):
    found = problems(f'path = "ledger.db"\n{URL}\npassword = "canary-word"')
    assert found.keys() == {"ledger", "ledger.password", "ledger.master_key"}
    assert "either path or url" in found["ledger"]
    found = problems('url = "postgresql://syncd:canary-word@db.example.com/syncd"\npassword = "env:NO_SUCH_WORD"')
    assert found.keys() == {"ledger.url", "ledger.password", "ledger.master_key"}
    assert "canary-word" not in str(found)
    assert "set url too, or remove it" in problems('path = "l.db"\npassword = "env:HOME"')["ledger.password"]
    assert "expected an address such as postgresql://" in problems('url = "ledger.db"')["ledger.url"]


def test_without_psycopg_the_key_and_the_extra_are_named(read, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "psycopg" else found(name))
    with pytest.raises(ConfigError) as caught:
        read(f'{URL}\nmaster_key = "none"')
    (problem,) = caught.value.problems
    assert (caught.value.exit_code, problem.path, problem.hint) == (78, "ledger.url", "pip install 'syncd[postgres]'")
    assert read('path = "ledger.db"').ledger.url == ""


@pytest.mark.parametrize("written", [{}, {"path": ""}])
def test_config_show_has_no_path_beside_postgresql(world: World, command: Command, written: dict[str, str]) -> None:
    world.configure("ledger", **written, url="postgresql://syncd@db.example.com/syncd", master_key="none")
    lines = world.write_config().read_text().splitlines()
    kept = [line for line in lines if written or not line.startswith("path = ")]
    world.config_file.write_text("\n".join(kept))
    shown = [line for line in command("config", "show", "-c", world.config_file).out.splitlines() if "ledger." in line]
    assert shown == [
        'ledger.url = "postgresql://syncd@db.example.com/syncd"  # file',
        'ledger.password = ""  # default',
        'ledger.master_key = "none"  # file',
    ]


def test_no_output_has_the_password(world: World, command: Command, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("canary-word")
    ledger = {"url": "postgresql://syncd@127.0.0.1:1/syncd", "password": f"file:{tmp_path}/password"}
    world.configure("ledger", path="", **ledger, master_key="none")
    file = world.write_config()
    shown = {".".join(each.key): each.value for each in explained(file, environ={})[1]}
    assert shown["ledger.password"] == f"file:{tmp_path}/password"
    for words in ("config show", "status", "status --json", "health", "check --offline", "sync", "failures"):
        ran = command(*words.split(), "-c", file)
        assert "canary-word" not in ran.out + ran.err
        if words == "status":
            assert ran.code == 74
            assert "PostgreSQL cannot be reached" in ran.err
            assert "start it, or correct the host and port" in ran.err
