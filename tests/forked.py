"""Run command lines in forked children, so that one import of syncd serves them all.

A child differs from a new process only in its imported modules, and in the parser of all commands, which is built.
Before it runs the command, it opens, closes or redirects its streams as a shell does, then creates Python's streams
over them as Python does at its start. It ends like any process, by SystemExit and Python's finalization.
"""

import gc
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]

# The shell syntax of each.
STREAMS = {
    "as usual": "", "no stderr": "2>&-", "no stdout": ">&-", "no stdin": "<&-", "none at all": "<&- >&- 2>&-",
    "full stdout": ">/dev/full", "full stderr": "2>/dev/full", "gone reader": "| head -0",
}  # fmt: skip


def _redirect(streams: str, out: int, err: int) -> None:
    """Redirect 0, 1 and 2 as `streams` names it."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    if streams == "gone reader":
        reading, writing = os.pipe()
        os.dup2(writing, 1)
        os.close(reading)
        os.close(writing)
        return
    for word in STREAMS[streams].split():
        number = {"<": 0, ">": 1, "2": 2}[word[0]]
        if word.endswith("&-"):
            os.close(number)
        else:
            os.dup2(os.open("/dev/full", os.O_WRONLY), number)


def _standard(number: int, like: Any) -> Any:
    """Return a standard stream as Python creates it at its start, or None if it is closed."""
    try:
        os.fstat(number)
    except OSError:
        return None
    raw = io.FileIO(number, "w" if number else "r", closefd=False)
    buffered = io.BufferedWriter(raw) if number else io.BufferedReader(raw)
    return io.TextIOWrapper(buffered, like.encoding, like.errors, line_buffering=number == 2)


def _child(case: dict[str, Any], out: int, err: int) -> NoReturn:
    os.environ.clear()
    os.environ.update(case["environ"])
    os.chdir(case["cwd"])
    before = sys.stdin, sys.stdout, sys.stderr  # as this interpreter creates them
    _redirect(case["streams"], out, err)
    made = [_standard(number, like) for number, like in enumerate(before)]
    sys.stdin, sys.stdout, sys.stderr = made
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = made  # type: ignore[misc]
    sys.argv = ["syncd", *case["line"]]
    importlib.import_module(case.get("main", "syncd.cli.main")).main()
    raise SystemExit(0)


def _run(case: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            _child(case, out.fileno(), err.fileno())
        _, status = os.waitpid(pid, 0)
        for file in (out, err):
            file.seek(0)
        said = {"out": out.read().decode(errors="replace"), "err": err.read().decode(errors="replace")}
        return {"code": os.waitstatus_to_exitcode(status), **said}


def _start(case: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        flags = os.O_WRONLY | os.O_APPEND
        _child(case, os.open(case["output"], flags), os.open(case["errors"], flags))
    return pid


def _code(pid: int) -> int | None:
    """Return the exit code of a child, or None if it still runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


class Started:
    """A child that runs beside the test, with the methods of subprocess.Popen."""

    def __init__(self, pid: int, interpreter: "subprocess.Popen[str]") -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._interpreter = interpreter

    def poll(self) -> int | None:
        """Return its exit code, or None if it still runs."""
        if self.returncode is None:
            self.returncode = _ask(self._interpreter, "code", self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it exits, and return its exit code. Raises subprocess.TimeoutExpired."""
        ends = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if ends is not None and time.monotonic() > ends:
                raise subprocess.TimeoutExpired("syncd", timeout or 0.0)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _ask(interpreter: "subprocess.Popen[str]", order: str, about: Any) -> Any:
    assert interpreter.stdin
    assert interpreter.stdout
    interpreter.stdin.write(json.dumps([order, about]) + "\n")
    interpreter.stdin.flush()
    return json.loads(interpreter.stdout.readline())


class Interpreters:
    """Interpreters that have imported syncd: one for all cases, unless variables act on Python's own start."""

    def __init__(self) -> None:
        self._started: dict[Any, subprocess.Popen[str]] = {}

    def run(self, cases: list[dict[str, Any]], environ: Mapping[str, str]) -> list[dict[str, Any]]:
        """Run cases one after another: `line`, a list of arguments, and `streams`, a name of STREAMS."""
        shared = {"environ": {**os.environ, **environ}, "cwd": str(ROOT)}
        ran: list[dict[str, Any]] = _ask(self._interpreter(environ), "run", [{**shared, **case} for case in cases])
        return ran

    def start(
        self, line: list[str], *, environ: Mapping[str, str], cwd: Path, output: Path, errors: Path | None = None,
        streams: str = "as usual", main: str = "syncd.cli.main",
    ) -> Started:  # fmt: skip
        """Start a command with the whole of its environment. What it writes is appended to files, or to one file.

        An interpreter imports `main` before all else, so that it may change what the others import.
        """
        for file in (output, errors or output):
            file.open("ab").close()  # the test may read it before the child has opened it
        preloaded = {name: value for name, value in environ.items() if name == "LD_PRELOAD"}
        interpreter = self._interpreter(preloaded, main)
        case = {
            "line": line, "environ": dict(environ), "cwd": str(cwd), "output": str(output),
            "errors": str(errors or output), "streams": streams, "main": main,
        }  # fmt: skip
        return Started(_ask(interpreter, "start", case), interpreter)

    def _interpreter(self, environ: Mapping[str, str], main: str = "syncd.cli.main") -> "subprocess.Popen[str]":
        named = {name: value for name, value in environ.items() if name.startswith(("PYTHON", "LC_", "LD_"))}
        key = (main, *sorted(named.items()))
        if key not in self._started:
            self._started[key] = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "tests.forked", main], cwd=ROOT, env={**os.environ, **named},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="ascii",
            )  # fmt: skip
        return self._started[key]

    def close(self) -> None:
        """End them. Each must end with 0."""
        for process in self._started.values():
            process.communicate(timeout=20)
        assert {process.returncode for process in self._started.values()} <= {0}


@cache
def interpreters() -> Interpreters:
    """Return those that all tests of this process share. The fixture `interpreters_end_well` closes them."""
    return Interpreters()


# All that commands import, late imports too: a child that imports for itself takes a quarter of a second more.
PRELOADED = (
    "_ctypes asyncio ctypes pydantic.type_adapter typer._adapters syncd.cli.commands syncd.cli.check syncd.cli.demo"
    " syncd.cli.explanation syncd.reporting.health syncd.cli.status.tables syncd.config syncd.daemon.service syncd.log"
    " syncd.passes.wiring connectors.hubspot"
)


def _build_the_parser() -> None:
    """Build the parser of all commands for all children. Each would take 13 ms of CPU for it, as a process does."""
    from syncd.cli.commands import app

    typer_main: Any = sys.modules["typer.main"]
    typer_main.get_command = cache(typer_main.get_command)
    typer_main.get_command(app)


def main() -> None:
    """Obey an order a line: `run` cases to their ends, `start` one, or tell the exit `code` of one."""
    orders: dict[str, Callable[[Any], Any]] = {
        "run": lambda cases: [_run(case) for case in cases], "start": _start, "code": _code,
    }  # fmt: skip
    for module in (*sys.argv[1:], *PRELOADED.split()):
        importlib.import_module(module)
    _build_the_parser()
    gc.collect()
    gc.freeze()  # or each child, as it ends, would visit and so copy the memory of all modules: 0.3 s of CPU
    for line in iter(sys.stdin.readline, ""):
        order, about = json.loads(line)
        print(json.dumps(orders[order](about)), flush=True)


if __name__ == "__main__":
    main()
