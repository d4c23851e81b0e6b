"""Run command lines in forked children, so that one import of syncd serves them all.

A child differs from a new process only in its imported modules. Before it runs the command, it opens, closes or
redirects its streams as a shell does, then creates Python's streams over them as Python does at its start. It ends
like any process, by SystemExit and Python's finalization.
"""

import gc
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from syncd.cli import main as cli

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
    before = sys.stdin, sys.stdout, sys.stderr  # as this interpreter creates them
    _redirect(case["streams"], out, err)
    made = [_standard(number, like) for number, like in enumerate(before)]
    sys.stdin, sys.stdout, sys.stderr = made
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = made  # type: ignore[misc]
    sys.argv = ["syncd", *case["line"]]
    cli.main()
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


class Interpreters:
    """Interpreters that have imported syncd: one for each environment, for any number of cases."""

    def __init__(self) -> None:
        self._started: dict[tuple[tuple[str, str], ...], subprocess.Popen[str]] = {}

    def run(self, cases: list[dict[str, Any]], environ: Mapping[str, str]) -> list[dict[str, Any]]:
        """Run cases one after another: `line`, a list of arguments, and `streams`, a name of STREAMS."""
        key = tuple(sorted(environ.items()))
        if key not in self._started:
            self._started[key] = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "tests.forked"], cwd=ROOT, env={**os.environ, **environ},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="ascii",
            )  # fmt: skip
        process = self._started[key]
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(cases) + "\n")
        process.stdin.flush()
        results: list[dict[str, Any]] = json.loads(process.stdout.readline())
        return results

    def close(self) -> None:
        """End them. Each must end with 0."""
        for process in self._started.values():
            process.communicate(timeout=20)
        assert {process.returncode for process in self._started.values()} <= {0}


# All that commands import, late imports too: a child that imports for itself takes a quarter of a second more.
PRELOADED = (
    "_ctypes asyncio ctypes pydantic.type_adapter typer._adapters syncd.cli.commands syncd.cli.check syncd.cli.demo"
    " syncd.cli.health syncd.cli.render syncd.config syncd.log syncd.passes.wiring connectors.hubspot"
)


def main() -> None:
    """Read a line of cases at a time, run them, and write their results in one line."""
    for module in PRELOADED.split():
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # or each child, as it ends, would visit and so copy the memory of all modules: 0.3 s of CPU
    for line in iter(sys.stdin.readline, ""):
        print(json.dumps([_run(case) for case in json.loads(line)]), flush=True)


if __name__ == "__main__":
    main()
