"""Every command with standard streams that are closed, full, closed early or not UTF-8: never a bug."""

import json
import os
import shlex
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.world import World

pytestmark = pytest.mark.timeout(300)  # a process for each combination
ROOT = Path(__file__).parents[1]
SYNCD = f"{shlex.quote(sys.executable)} -W error -m syncd"
# Each command, whether it writes to stdout, and its own exit code.
COMMANDS = {
    "--help": (True, 0), "--version": (True, 0), "status --help": (True, 0),
    "sync": (False, 0), "sync --dry-run": (True, 0), "check": (True, 0),
    "health": (True, 69), "health --json": (True, 69),
    "status": (True, 0), "status --json": (True, 0), "explain {id}": (True, 0), "explain {id} --json": (True, 0),
    "retry --state incomplete": (True, 0),
    "explain nowhere": (False, 66), "status -c /nowhere.toml": (False, 78), "retry": (False, 2),
}  # fmt: skip
STREAMS = {
    "no stderr": "2>&-", "no stdout": ">&-", "no stdin": "<&-", "none at all": "<&- >&- 2>&-",
    "full stdout": ">/dev/full", "full stderr": "2>/dev/full",
}  # fmt: skip
ENCODINGS = {
    "C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, "Latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ASCII": {"PYTHONIOENCODING": "ascii"}, "ASCII, strictly": {"PYTHONIOENCODING": "ascii:strict"},
}  # fmt: skip
BUGS = ("Traceback", "a bug", "Exception ignored", "BrokenPipe", "UnicodeEncodeError", "Aborted", "Warning")


@pytest.fixture
def filled(live: World, command: Command) -> World:
    """A ledger with something of each kind in it."""
    live.calls(3)
    live.call(contacts=[])
    assert command("sync", "-c", live.config_file).code == 0
    live.calls(2, first_ago=timedelta(minutes=5))
    return live


def shell(world: World, line: str, streams: str = "", **environ: str) -> "subprocess.CompletedProcess[str]":
    name = world.sql("SELECT external_activity_id FROM activities WHERE state = 'incomplete'")[0][0]
    command = f"{SYNCD} {line.format(id=name)} {streams}"
    env = {**os.environ, "SYNCD_CONFIG": str(world.config_file), **environ}
    return subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=env, capture_output=True, text=True, errors="replace", timeout=60,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("line", COMMANDS)
def test_a_stream_that_is_closed_or_full_keeps_the_commands_exit_code(filled: World, line: str) -> None:
    prints, code = COMMANDS[line]
    for name, streams in STREAMS.items():
        ran = shell(filled, line, streams)
        said = ran.stdout + ran.stderr
        assert ran.returncode == code, (name, said)
        assert not [bug for bug in BUGS if bug in said], (name, said)
        if name in ("no stderr", "no stdin", "full stderr"):
            assert bool(ran.stdout) == prints, name
        if name == "full stdout":
            assert ("standard output is incomplete: No space left" in ran.stderr) == prints
    assert filled.status()["balanced"]
    assert filled.ledger.read_bytes()[:15] == b"SQLite format 3", "nobody has written into it"


@pytest.mark.parametrize("line", [line for line, (prints, _) in COMMANDS.items() if prints])
def test_a_reader_that_closes_early_ends_a_command_with_0_and_in_silence(filled: World, line: str) -> None:
    name = filled.sql("SELECT external_activity_id FROM activities WHERE state = 'incomplete'")[0][0]
    reading, writing = os.pipe()
    os.close(reading)
    env = {**os.environ, "SYNCD_CONFIG": str(filled.config_file)}
    command = [sys.executable, "-m", "syncd", *line.format(id=name).split()]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=writing, stderr=subprocess.PIPE, text=True) as process:
        os.close(writing)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err == ""


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_encoding_stops_a_command_or_its_hints(filled: World, encoding: str) -> None:
    filled.sql("UPDATE streams SET last_error = 'Zoë → 日本 🙂'")
    for line, (_, code) in COMMANDS.items():
        ran = shell(filled, line, **ENCODINGS[encoding])
        said = ran.stdout + ran.stderr
        assert ran.returncode == code, said
        assert not [bug for bug in BUGS if bug in said], said
        if line.endswith("--json"):
            json.loads(ran.stdout)
        if line.startswith("explain nowhere"):
            assert "give the externalActivityId" in ran.stderr, "the hint"
    filled.sql("UPDATE streams SET last_error = NULL")


@pytest.mark.parametrize("streams", STREAMS)
def test_the_daemon_runs_and_stops_whatever_its_streams_are(filled: World, streams: str) -> None:
    env = {**os.environ, "SYNCD_CONFIG": str(filled.config_file)}
    before = filled.status()["last_pass"]["started_at"]
    command = f"exec {SYNCD} run {STREAMS[streams]}"
    with subprocess.Popen(
        ["bash", "-c", command], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            for _ in range(300):
                last = filled.status()["last_pass"]
                if last["started_at"] != before and last["finished_at"]:
                    break
                signal.sigtimedwait([], 0.1)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, out + err
    assert not [bug for bug in BUGS if bug in out + err]
    assert filled.status()["balanced"]


@pytest.mark.parametrize("streams", ["2>&-", ">&-", ">/dev/full", "2>/dev/full", "| head -1"])
def test_the_demo_ends_well_whatever_its_streams_are(streams: str) -> None:
    command = f"set -o pipefail; {SYNCD} demo --calls 5 --emails 3 {streams}"
    ran = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not [bug for bug in BUGS if bug in ran.stdout + ran.stderr]
