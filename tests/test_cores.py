"""A crash leaves no copy of the keys on the disk, and nobody reads them from memory."""

import builtins
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.cli import cores
from tests.daemons import daemon
from tests.planted import NOBODY, ROOT_ONLY, as_user

ROOT = Path(__file__).parent.parent
# A command in a process that raises its limit first, and afterwards looks at itself.
COMMAND = """
import contextlib, ctypes, os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
from syncd.cli.main import main
sys.argv = ["syncd", *sys.argv[1:]]
with contextlib.suppress(SystemExit):
    main()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)
os.abort()
"""


@pytest.mark.parametrize("line", [["status", "-c", "none.toml"], ["sync", "-c", "none.toml"], ["check"], ["run"]])
def test_every_command_forbids_core_dumps_before_it_reads_a_key(tmp_path, line):
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *line], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGABRT
    assert done.stdout.splitlines()[-1] == "(0, 0) 0", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_daemon_that_is_aborted_leaves_no_core(live):
    with daemon(live.config_file) as running:
        running.hear("run.started")
        limits = Path(f"/proc/{running.pid}/limits").read_text()
        assert next(line for line in limits.splitlines() if line.startswith("Max core")).split()[4:6] == ["0", "0"]
        running.signal(signal.SIGABRT)
        assert running.process.wait(20) == -signal.SIGABRT
    assert not list(live.path.rglob("core*"))


@ROOT_ONLY
def test_another_process_of_the_same_user_cannot_read_its_memory():
    def act():
        cores.forbid()
        child = os.getpid()
        reader = os.fork()
        if reader == 0:
            try:
                Path(f"/proc/{child}/environ").read_bytes()
            except PermissionError:
                os._exit(7)
            os._exit(0)
        _, status = os.waitpid(reader, 0)
        return f"{os.waitstatus_to_exitcode(status)} {Path(f'/proc/{child}/mem').stat().st_uid}"

    assert as_user(NOBODY, act) == "7 0"


def test_where_there_is_neither_ctypes_nor_a_limit_nothing_fails(monkeypatch):
    def none(name, *rest, **more):
        if name == "ctypes":
            raise ImportError(name)
        return real(name, *rest, **more)

    def refuse(*_):
        raise ValueError("not allowed to raise maximum limit")

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", none)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    cores.forbid()
