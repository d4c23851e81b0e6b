"""The suite itself: it runs in parallel, and says in one line which tests lack node."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from syncd.ledger import file
from syncd.ledger.schema import MIGRATIONS
from tests import conftest

ROOT = Path(__file__).parents[1]
SOQL = "tests/test_salesforce_soql.py::test_the_parser_refuses"


def test_one_line_names_the_tests_that_lack_node(tmp_path: Path) -> None:
    """Run pytest as a user without node does, away from CI."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CI", "PYTEST_"))}
    line = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", SOQL]
    environ = {**kept, "PATH": str(tmp_path)}
    told = subprocess.run(line, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=100, check=False).stdout
    (count,) = re.findall(r"(?m)^(\d+) skipped in ", told)
    assert int(count) > 1
    assert re.findall("(?m)^.*node is missing: .*$", told) == [
        f"node is missing: {count} tests of SOQL's grammar were skipped (tests/soql)"
    ]


def test_the_whole_suite_runs_in_parallel_and_a_file_alone_does_not(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["addopts"]
    assert options[options.index("-n") + 1] == "auto"
    source = pytest.Config.ArgsSource
    for cores, workers in ((1, 3), (2, 6), (64, 8)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, cores=cores: set(range(cores)))
        for args_source, expected in ((source.TESTPATHS, workers), (source.ARGS, 0)):
            monkeypatch.setattr(request.config, "args_source", args_source)
            assert conftest.pytest_xdist_auto_num_workers(request.config) == expected


def test_the_copy_of_a_new_ledger_is_what_the_migrations_make(tmp_path: Path) -> None:
    """In the suite, each new ledger is a copy. Apart from that, nothing tells it from one that syncd made."""
    told = []
    for name in ("copied", "migrated"):
        with pytest.MonkeyPatch.context() as patch:
            if name == "migrated":  # a list that equals the other, so that the copy is not taken
                patch.setattr(file, "MIGRATIONS", [*MIGRATIONS])
            db = file.create(tmp_path / name)
        pragmas = [db.execute(f"PRAGMA {each}").fetchone() for each in ("journal_mode", "auto_vacuum", "user_version")]
        told.append([pragmas, *db.execute("SELECT * FROM sqlite_schema"), *db.conn.iterdump()])
        db.close()
    assert told[0] == told[1]
