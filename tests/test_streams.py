"""Every command with standard streams that are closed, full, closed early or not UTF-8: never a bug."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.forked import STREAMS, Interpreters, interpreters
from tests.world import World

ROOT = Path(__file__).parents[1]
SYNCD = f"{shlex.quote(sys.executable)} -W error -m syncd"
PLAIN = {"COLUMNS": "120", "NO_COLOR": "1"}
# Each command, whether it writes to stdout, and its own exit code.
COMMANDS = {
    "--help": (True, 0), "--version": (True, 0), "status --help": (True, 0),
    "sync --dry-run": (True, 0), "preview {id}": (True, 0), "sync": (False, 0), "check": (True, 0),
    "health": (True, 69), "health --json": (True, 69),
    "status": (True, 0), "status --json": (True, 0), "explain {id}": (True, 0), "explain {id} --json": (True, 0),
    "retry --state incomplete": (True, 0),
    "explain nowhere": (False, 66), "status -c /nowhere.toml": (False, 78), "retry": (False, 2),
}  # fmt: skip
ENCODINGS = {
    "C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, "Latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ASCII": {"PYTHONIOENCODING": "ascii"}, "ASCII, strictly": {"PYTHONIOENCODING": "ascii:strict"},
}  # fmt: skip
BUGS = ("Traceback", "a bug", "Exception ignored", "BrokenPipe", "UnicodeEncodeError", "Aborted", "Warning")


@pytest.fixture(scope="module")
def forks() -> Interpreters:
    return interpreters()


@pytest.fixture(scope="module")
def filled(forks: Interpreters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A ledger with something of each kind in it, for all commands: none of them spoils it for the next."""
    with World(tmp_path_factory.mktemp("filled"), real_time=True) as world:
        world.calls(3)
        world.call(contacts=[])
        for _ in range(2):  # by the second pass the servers' clocks are known: no check has to wait for them
            (ran,) = ran_with(forks, world, ["sync"], ["as usual"])
            assert ran["code"] == 0, ran
            time.sleep(1.1)
        yield world


def environ(world: World) -> dict[str, str]:
    return {**PLAIN, "SYNCD_CONFIG": str(world.write_config())}


def ran_with(
    forks: Interpreters, world: World, lines: Iterable[str], streams: Iterable[str], **more: str
) -> list[dict[str, Any]]:
    """Run each line with each of these streams, in a child each. There is something new to read."""
    world.call(ago=timedelta(minutes=5))
    split = [[word.format(id=incomplete(world)) for word in line.split()] for line in lines]
    return forks.run(
        [{"line": line, "streams": name} for line in split for name in streams], {**environ(world), **more}
    )


def incomplete(world: World) -> str:
    if not world.ledger.exists():
        return ""
    return str(world.sql("SELECT external_activity_id FROM activities WHERE state = 'incomplete'")[0][0])


def must_be_well(ran: dict[str, Any], code: int, *, prints: bool, streams: str) -> None:
    """Check that the streams change only the readable output of a command."""
    said = ran["out"] + ran["err"]
    assert ran["code"] == (0 if streams == "gone reader" and prints else code), (streams, said)
    assert not [bug for bug in BUGS if bug in said], (streams, said)
    if streams in ("as usual", "no stderr", "no stdin", "full stderr"):
        assert bool(ran["out"]) == prints, streams
    told = "standard output is incomplete: No space left" in ran["err"]
    assert told == (streams == "full stdout" and prints), (streams, said)
    if streams == "gone reader" and prints:
        notes = [line for line in ran["err"].splitlines() if json.loads(line)["event"] != "config.found"]
        assert notes == [], "nothing is said about it: a log has what it always has"


@pytest.mark.parametrize("line", COMMANDS)
def test_a_stream_that_is_closed_or_full_keeps_the_commands_exit_code(
    forks: Interpreters, filled: World, line: str
) -> None:
    """A reader that closes early, as `head`, ends it with 0 and in silence."""
    prints, code = COMMANDS[line]
    for streams, ran in zip(STREAMS, ran_with(forks, filled, [line], STREAMS), strict=True):
        must_be_well(ran, code, prints=prints, streams=streams)
    assert filled.status()["balanced"]
    assert filled.ledger.read_bytes()[:15] == b"SQLite format 3", "nobody has written into it"


def test_a_process_of_its_own_does_as_a_forked_one(filled: World) -> None:
    """The shell closes and redirects, and Python starts with that: for each stream once, all at the same time."""
    shells = {
        streams: subprocess.Popen(
            ["bash", "-c", f"set -o pipefail; {SYNCD} status --json {words}"], cwd=ROOT, text=True,
            env={**os.environ, **environ(filled)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for streams, words in STREAMS.items()
    }  # fmt: skip
    for streams, process in shells.items():
        out, err = process.communicate(timeout=60)
        must_be_well({"code": process.returncode, "out": out, "err": err}, 0, prints=True, streams=streams)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_encoding_stops_a_command_or_its_hints(forks: Interpreters, filled: World, encoding: str) -> None:
    filled.sql("UPDATE streams SET last_error = 'Zoë → 日本 🙂'")
    results = ran_with(forks, filled, COMMANDS, ["as usual"], **ENCODINGS[encoding])
    for (line, (prints, code)), ran in zip(COMMANDS.items(), results, strict=True):
        must_be_well(ran, code, prints=prints, streams="as usual")
        if line.endswith("--json"):
            json.loads(ran["out"])
        if line.startswith("explain nowhere"):
            assert "give the externalActivityId" in ran["err"], "the hint"
    whole = subprocess.run(
        shlex.split(f"{SYNCD} explain nowhere"), cwd=ROOT, env={**os.environ, **environ(filled), **ENCODINGS[encoding]},
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    hint = whole.stderr.decode(errors="replace")
    assert (whole.returncode, hint) == (66, results[list(COMMANDS).index("explain nowhere")]["err"])


@pytest.mark.parametrize("streams", [name for name, words in STREAMS.items() if words and "|" not in words])
def test_the_daemon_runs_and_stops_whatever_its_streams_are(
    forks: Interpreters, filled: World, tmp_path: Path, streams: str
) -> None:
    env = {**os.environ, "SYNCD_CONFIG": str(filled.config_file)}
    before = filled.status()["last_pass"]["started_at"]
    output = tmp_path / "said"
    process = forks.start(["run"], environ=env, cwd=ROOT, output=output, streams=streams)
    try:
        for _ in range(300):
            last = filled.status()["last_pass"]
            if last["started_at"] != before and last["finished_at"]:
                break
            signal.sigtimedwait([], 0.1)
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    finally:
        process.kill()
    said = output.read_text()
    assert code == 0, said
    assert not [bug for bug in BUGS if bug in said]
    assert filled.status()["balanced"]


DEMO = "demo --calls 5 --emails 3"


@pytest.mark.parametrize("streams", ["no stderr", "no stdout", "full stdout", "full stderr", "gone reader"])
def test_the_demo_ends_well_whatever_its_streams_are(forks: Interpreters, streams: str) -> None:
    (ran,) = forks.run([{"line": DEMO.split(), "streams": streams}], PLAIN)
    assert ran["code"] == 0, ran
    assert not [bug for bug in BUGS if bug in ran["out"] + ran["err"]]


def test_the_demo_ends_well_if_its_reader_leaves_after_a_line() -> None:
    command = f"set -o pipefail; {SYNCD} {DEMO} | head -1"
    ran = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not [bug for bug in BUGS if bug in ran.stdout + ran.stderr]
