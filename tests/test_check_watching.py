"""What `syncd check` says about the status page and the alerts: whether they could work, without a request."""

import socket
from collections.abc import Callable

import pytest

from syncd import web
from syncd.cli.check import watching
from syncd.connector import Finding
from syncd.errors import Exit
from syncd.ledger import LedgerHandle
from tests.conftest import Command
from tests.pages import free_port, served
from tests.world import World

Say = Callable[[], Finding]


@pytest.fixture
def said(world: World) -> Say:
    """Return a function that gives the only finding."""

    def said() -> Finding:
        (found,) = watching.findings(world.config())
        return found

    return said


def test_without_both_nothing_is_said(world: World) -> None:
    assert list(watching.findings(world.config())) == []


def test_a_free_address_is_well_and_stays_free(world: World, said: Say) -> None:
    port = free_port()
    world.configure("web", listen=f"127.0.0.1:{port}")
    found = said()
    assert (found.ok, found.what) == (True, "status page")
    assert f"127.0.0.1:{port} is free" in found.message
    socket.create_server(("127.0.0.1", port)).close()


def test_an_address_of_another_program_is_an_error(world: World, said: Say) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        world.configure("web", listen=f"127.0.0.1:{taken.getsockname()[1]}")
        found = said()
        with LedgerHandle(world.ledger).hold("sync"):
            assert said() == found, "only the daemon has a page"
    assert (found.ok, found.warning, found.exit_code) == (False, False, Exit.CONFIG)
    assert found.message.startswith("web.listen: cannot listen on 127.0.0.1:")
    assert found.hint == "another program listens there: stop it, or choose another port"


def test_a_running_daemon_has_the_address_or_needs_a_restart(world: World, said: Say) -> None:
    with LedgerHandle(world.ledger).hold("run"):
        with served(world):
            found = said()
            assert found.ok
            assert "in use, as expected while `syncd run`, process " in found.message
        found = said()
    assert (found.ok, found.warning) == (False, True)
    assert "nothing is served on 127.0.0.1:" in found.message
    assert found.hint.startswith("restart it, unless it runs in another container")


@pytest.mark.parametrize(("host", "code"), [("syncd-4711.invalid", Exit.OK), ("192.0.2.1", Exit.CONFIG)])
def test_a_name_may_be_known_in_the_daemon_s_container_only(world: World, said: Say, host: str, code: int) -> None:
    """`docker compose run syncd check` has another address than the daemon, whose service the name means."""
    world.configure("web", listen=f"{host}:8321", token=f"file:{world.key_file}")
    found = said()
    assert (found.ok, found.warning, found.exit_code) == (False, code == Exit.OK, code)
    assert found.message.startswith(f"web.listen: cannot listen on {host}:8321: ")
    assert ("if the daemon runs in another container" in found.hint) is (code == Exit.OK)


def test_a_missing_extra_is_an_error_before_the_address_is_tried(
    world: World, said: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "find_spec", lambda name: None if name == "jinja2" else object())
    world.configure("web", listen="192.0.2.1:80", token=f"file:{world.key_file}")
    found = said()
    assert (found.ok, found.exit_code, found.hint) == (False, Exit.CONFIG, "pip install 'syncd[web]'")
    assert found.message == "web.listen: needs packages that are not installed: jinja2"


@pytest.mark.parametrize(
    ("urls", "beat", "text"),
    [(1, False, "1 address, and"), (2, True, "2 addresses and a heartbeat, and"), (0, True, "a heartbeat, and")],
)
def test_the_alerts_name_the_command_that_tries_them(
    world: World, said: Say, monkeypatch: pytest.MonkeyPatch, urls: int, beat: bool, text: str
) -> None:
    monkeypatch.setenv("ALERTS_URL", "ntfys://canary-topic@ntfy.example.com/syncd")
    monkeypatch.setenv("BEAT_URL", "https://beats.example.com/canary")
    world.configure("alerts", urls=["env:ALERTS_URL"] * urls, heartbeat_url="env:BEAT_URL" if beat else "")
    found = said()
    assert found.ok
    assert found.message.startswith(text)
    assert "`syncd alerts test`" in found.message
    assert "canary" not in str(found)


def test_the_command_says_it_among_what_concerns_this_machine(live: World, command: Command) -> None:
    token = live.path / "web-token"
    token.write_text("t0ken-4711")
    token.chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        live.configure("web", listen=f"127.0.0.1:{port}", token=f"file:{token}")
        ran = command("check", "--offline", "-c", live.write_config())
    assert ran.code == Exit.CONFIG
    machine = ran.out.partition("\nCRM")[0]
    assert f"status page: web.listen: cannot listen on 127.0.0.1:{port}: Address already in use" in machine
    assert f"key file: {token} can be read by everybody" in machine
