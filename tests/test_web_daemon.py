"""The status page of a running daemon: its probes, its stop, its reload, and what it costs if it is off."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from syncd.errors import Exit
from syncd.sandbox import Fault
from tests.conftest import Command
from tests.daemons import ROOT, daemon, wait_until
from tests.pages import Client, free_port
from tests.world import World

EXTRAS = {"starlette", "jinja2", "uvicorn", "prometheus_client", "apprise"}
# At the end, list the modules of the extras that are loaded.
WITNESS = """
import atexit, json, os, sys
def tell():
    loaded = sorted(name for name in %r if name in sys.modules)
    with open(os.environ["TOLD"], "w") as file:
        json.dump({"loaded": loaded, "syncd": "syncd" in sys.modules}, file)
atexit.register(tell)
"""


def with_page(world: World, **web: str) -> Client:
    """Configure a pass every 300 ms and a page on a free port."""
    client = Client(free_port())
    world.configure("schedule", every="300ms")
    world.configure("web", listen=f"127.0.0.1:{client.port}", **web)
    world.write_config()
    return client


def test_the_daemon_serves_its_page_and_its_probes_until_it_ends(live: World) -> None:
    live.calls(3)
    client = with_page(live)
    with daemon(live.config_file) as running:
        started = running.hear("web.started")
        assert started["address"] == f"127.0.0.1:{client.port}"
        running.hear("pass.finished", 2)
        assert client("/livez").body == b"ok\n"
        assert client("/readyz").status == 200
        assert "All is well: 3 delivered" in client().words
        live.sql("UPDATE streams SET seen = seen + 1")
        wait_until(lambda: client("/readyz").status == 503)
        assert client("/livez").status == 200, "a restart would not help"
        with socket.create_connection(("127.0.0.1", client.port)) as silent:
            silent.sendall(b"GET /")
            began = time.monotonic()
            assert running.stop() == 0
            assert time.monotonic() - began < 4.0
    assert running.said("run.finished")
    with pytest.raises(ConnectionRefusedError):
        client()


def test_passes_go_on_while_many_ask_and_a_pass_holds_up_no_page(live: World) -> None:
    client = with_page(live)
    with daemon(live.config_file) as running:
        running.hear("pass.finished", 2)
        hang = live.hubspot.faults.add(Fault("hang", seconds=5, count=1))
        wait_until(lambda: hang.hits)
        assert client().status == 200, "while a pass waits for its CRM"
        assert client("/livez").status == 200
        assert running.stop(at_most=40) == 0


def test_an_address_in_use_ends_the_start_with_78_and_a_remedy(live: World, command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        live.configure("web", listen=f"127.0.0.1:{taken.getsockname()[1]}")
        ran = command("run", "-c", live.write_config())
    assert ran.code == Exit.CONFIG
    assert "web.listen" in ran.err
    assert "another program listens there" in ran.err


def test_other_machines_without_a_token_end_the_start_with_78(live: World, command: Command) -> None:
    live.configure("web", listen="0.0.0.0:8321")
    ran = command("run", "-c", live.write_config())
    assert ran.code == Exit.CONFIG
    assert "web.token" in ran.err


def test_a_reload_takes_a_new_token_and_keeps_the_address(live: World) -> None:
    token = live.path / "web-token"
    token.write_text("the-first")
    token.chmod(0o600)
    client = with_page(live, token=f"file:{token}")
    with daemon(live.config_file) as running:
        running.hear("pass.finished")
        assert client(Authorization="Bearer the-first").status == 200
        token.write_text("the-second")
        running.signal(signal.SIGHUP)
        running.hear("config.in_force")
        assert client(Authorization="Bearer the-first").status == 401
        assert client(Authorization="Bearer the-second").status == 200
        live.configure("web", listen="127.0.0.1:1")
        live.write_config()
        running.signal(signal.SIGHUP)
        refused = running.hear("config.problem")
        assert (refused["key"], refused["hint"]) == ("web.listen", "restart syncd for another address")
        live.configure("web", listen="")
        live.write_config()
        running.signal(signal.SIGHUP)
        assert running.hear("config.problem", 2)["key"] == "web.listen"
        assert client(Authorization="Bearer the-second").status == 200, "to remove it needs a restart too"
        assert running.stop() == 0


@pytest.mark.parametrize("line", [["--version"], ["sync"], ["run"]])
def test_without_a_page_none_of_its_modules_is_loaded(live: World, tmp_path: Path, line: list[str]) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITNESS % EXTRAS)
    told = tmp_path / "told.json"
    live.configure("schedule", every="300ms")
    given = line if line == ["--version"] else [*line, "-c", str(live.write_config())]
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "TOLD": str(told)}
    with subprocess.Popen(
        [sys.executable, "-m", "syncd", *given], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        if line == ["run"]:
            assert process.stderr
            assert any(b"pass.finished" in log for log in process.stderr)
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(told.read_text()) == {"loaded": [], "syncd": True}
