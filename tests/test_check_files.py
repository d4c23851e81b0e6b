"""The warnings of `syncd check` about files: each that others may read or write, by name and with the remedy."""

import os
import stat
from itertools import pairwise
from pathlib import Path

import pytest

from syncd.cli.check import files as check_files
from syncd.config import load
from tests.conftest import Command
from tests.planted import NOBODY, ROOT_ONLY, as_user
from tests.world import World


@pytest.fixture
def warned(live: World, command: Command):
    """Return a function that runs `check` and gives its warnings, each with its hint."""
    live.call()
    command("sync", "-c", live.config_file)

    def warned() -> list[str]:
        ran = command("check", "-c", live.config_file)
        lines = ran.out.splitlines()
        assert ran.code == 0, "a warning is no failure"
        return [f"{line} {after.strip()}" for line, after in pairwise(lines) if line.startswith("warn")]

    return warned


def test_where_only_syncd_s_user_has_access_there_is_no_warning(warned):
    assert warned() == []


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o777])
def test_a_key_that_others_can_read_or_write(live, warned, mode):
    live.key_file.chmod(mode)
    live.token_file.chmod(mode)
    who = "everybody" if mode & 0o007 else "group 0"
    assert warned() == [
        f"warn  key file: {file} can be read by {who} → chmod 600 {file}" for file in (live.key_file, live.token_file)
    ]


def test_a_link_to_a_key_is_judged_by_what_it_leads_to(live, warned):
    """As Kubernetes mounts secrets: links to files that everybody can read, unless defaultMode says otherwise."""
    data = live.path / "..data"
    data.mkdir()
    live.key_file.rename(data / "key")
    live.key_file.symlink_to(data / "key")
    assert warned() == []
    (data / "key").chmod(0o644)
    assert len(warned()) == 1


def test_a_credential_is_judged_too_unless_its_directory_is_closed(live, warned, monkeypatch):
    directory = live.path / "credentials"
    directory.mkdir(mode=0o550)
    (directory / "recotap").write_text(live.box.key)
    (directory / "recotap").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    live.configure("recotap", api_key="credential:recotap")
    live.write_config()
    assert warned() == []
    directory.chmod(0o755)
    assert [line.partition(" → ")[0] for line in warned()] == [
        f"warn  key file: {directory / 'recotap'} can be read by group 0"
    ]


@pytest.mark.parametrize("mode", [0o666, 0o646])
def test_a_configuration_that_others_can_write(live, warned, mode):
    live.config_file.chmod(mode)
    assert warned() == [
        f"warn  configuration file: {live.config_file} can be written by everybody → chmod go-w {live.config_file}"
    ]


@pytest.mark.parametrize("table", ["recotap", "sources.hubspot"])
@pytest.mark.parametrize(("mode", "warns"), [(0o666, True), (0o646, True), (0o644, False), (0o444, False)])
def test_a_ca_file_that_others_can_write(live, table, mode, warns):
    file = live.path / "ca.pem"
    file.write_text("x")
    file.chmod(mode)
    live.configure(table, ca_file=str(file))
    found = [finding.message for finding in check_files.findings(load(live.write_config()))]
    assert found == [f"{file} can be written by everybody"] * warns


@pytest.mark.parametrize("what", ["configuration file", "key file", "CA file"])
@pytest.mark.parametrize(("mode", "warns"), [(0o777, True), (0o757, True), (0o1777, False), (0o3777, False)])
@pytest.mark.parametrize("level", ["its directory", "the one above", "of the link", "of its target"])
def test_a_directory_in_which_others_could_replace_a_file(live: World, what, mode, warns, level):
    """Kubernetes mounts secrets in a sticky directory that everybody can write."""
    outer, other = live.path / "outer", live.path / "other"
    place = outer / "inner"
    for each in (outer, place, other):
        each.mkdir(mode=0o755)
    content = {"configuration file": live.config_file, "key file": live.key_file}.get(what, live.config_file)
    file = place / "file"
    file.write_text(content.read_text())
    file.chmod(0o600)
    if level in ("of the link", "of its target"):
        (other / "link").symlink_to(file)
        file = other / "link"
    if what == "key file":
        live.configure("recotap", api_key=f"file:{file}")
    elif what == "CA file":
        live.configure("recotap", ca_file=str(file))
    config = live.write_config() if what != "configuration file" else file
    closed = {"the one above": outer, "of the link": other}.get(level, place)
    closed.chmod(mode)
    found = [finding for finding in check_files.findings(load(config)) if finding.what == what]
    assert [finding.message for finding in found] == [
        f"{file} can be replaced: {closed} can be written by everybody"
    ] * warns
    assert all(finding.warning and finding.hint == f"chmod go-w {closed}" for finding in found)


@pytest.mark.parametrize("name", ["ledger.db", "ledger.db.lock"])
@pytest.mark.parametrize("mode", [0o666, 0o640, 0o604])
def test_a_ledger_or_a_lock_that_others_can_open(live, warned, name, mode):
    file = live.ledger.with_name(name)
    file.chmod(mode)
    (line,) = warned()
    assert f"{file} has mode {mode:04o}, expected 0600" in line
    assert line.endswith(f"chmod 600 {file}")
    assert stat.S_IMODE(file.stat().st_mode) == mode, "check changes nothing"


@pytest.mark.parametrize(("mode", "warns"), [(0o777, True), (0o1777, False), (0o757, True), (0o755, False)])
def test_a_ledger_s_directory_that_others_can_write(live, warned, mode, warns):
    live.ledger.parent.chmod(mode)
    lines = warned()
    assert len(lines) == warns
    assert all(f"{live.ledger.parent} can be written by everybody" in line for line in lines)


@ROOT_ONLY
def test_a_ledger_s_directory_that_another_group_can_write(live, warned):
    os.chown(live.ledger.parent, 0, NOBODY)
    live.ledger.parent.chmod(0o770)
    assert ["can be written by group 65534" in line for line in warned()] == [True]


def test_plain_http_that_is_allowed(live, warned):
    live.configure("recotap", allow_insecure_http=True)
    live.write_config()
    assert ["allow_insecure_http" in line for line in warned()] == [True]
    found = check_files._plain_http("http://recotap.example")
    assert "unencrypted" in found.message
    assert found.hint == "use https:// and remove allow_insecure_http"


@ROOT_ONLY
@pytest.mark.parametrize(
    ("owner", "group", "mode", "expected"),
    [
        (0, NOBODY, 0o440, ""),  # the caller's group: a Kubernetes secret with fsGroup
        (0, 4321, 0o440, "group 4321"),
        (NOBODY, NOBODY, 0o440, f"group {NOBODY}"),
        (0, NOBODY, 0o444, "everybody"),
        (NOBODY, NOBODY, 0o400, ""),
    ],
)
def test_root_s_file_that_the_caller_reads_by_his_group_is_as_it_has_to_be(
    tmp_path: Path, owner, group, mode, expected
):
    file = tmp_path / "key"
    file.write_text("x")
    os.chown(file, owner, group)
    file.chmod(mode)
    status = file.stat()
    assert as_user(NOBODY, lambda: check_files.readable(status)) == expected


@pytest.mark.parametrize("key", ["client_id", "client_secret", "private_key", "session_id"])
def test_every_key_of_every_source_is_looked_at(live: World, key: str):
    file = live.path / "pem"
    file.write_text("x")
    ways = {
        "client_id": {"client_id": f"file:{file}", "client_secret": "env:PATH"},
        "client_secret": {"client_id": "env:PATH", "client_secret": f"file:{file}"},
        "private_key": {"client_id": "env:PATH", "username": "a@b.example", "private_key": f"file:{file}"},
        "session_id": {"session_id": f"file:{file}", "instance_url": "https://acme.my.salesforce.com"},
    }
    where = {} if key == "session_id" else {"login_url": "https://acme.my.salesforce.com"}
    live.configure(
        "sources.salesforce", connector="salesforce", start="2026-01-01T00:00:00Z", **where, **ways[key]
    )  # fmt: skip
    config = load(live.write_config(), environ={}, secrets=False)
    assert [finding.message for finding in check_files.findings(config)] == [f"{file} can be read by everybody"]
