"""Fixtures of the end-to-end tests, and the way that the suite runs."""

import gc
import logging
import os
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
import trustme
import typer.main
from hypothesis import settings
from sqlite_utils import Database
from structlog.dev import ConsoleRenderer, plain_traceback

from syncd.cli import check
from syncd.cli import main as cli
from syncd.config import sources
from syncd.ledger import AnyLedger, Ledger, file
from syncd.ledger.schema import MIGRATIONS
from syncd.passes import engine, scopes
from syncd.sandbox.salesforce import certificate
from tests.forked import interpreters
from tests.ledgers import ENGINES
from tests.orgs import OrgWorld
from tests.world import World

# Otherwise each of the suite's hundreds of processes would compile syncd again, and each worker all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The same examples in every run, because people ignore a suite that fails at random. HYPOTHESIS_PROFILE=default tries
# new ones.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


# Three at a time for each core: many tests wait for a process more than they work. Each worker takes 300 MiB.
WORKERS_PER_CORE = 3
WORKERS_MOST = 8

ANY_TABLE = "SELECT 1 FROM sqlite_schema"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run the whole suite in parallel, and the files that a command line names in one process."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    return min(WORKERS_MOST, WORKERS_PER_CORE * len(os.sched_getaffinity(0)))


def pytest_collection_finish() -> None:
    """Spare the garbage collector the suite itself: 8,600 tests and their modules, which stay to the end."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name in one line the tests that were skipped for want of node or of the parser that npm installs."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", ())]
    skipped = Counter(
        reason.removeprefix("Skipped: ").partition(";")[0] for reason in reasons if "tests/soql" in reason
    )
    for reason, count in skipped.items():
        terminalreporter.write_line(f"{reason}: {count} tests of SOQL's grammar were skipped (tests/soql)", yellow=True)


@dataclass(frozen=True)
class Ran:
    """The result of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., Ran]


# Their passes count the CRM's rows by kind once a day. Others do not: their clocks run through weeks, and many count
# requests.
COUNTED = frozenset(
    f"test_{name}"
    for name in (
        "backfill", "commands", "demo", "hubspot_lifelike", "hubspot_scope", "jsonl_rules", "narrowing", "preview",
        "printing", "private_canary", "salesforce_lifelike", "salesforce_scope", "scope", "scope_refresh", "service",
        "unread_streams",
    )
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_daily_count(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no pass count the CRM's rows by kind, unless the test's module is about that."""
    if request.path.stem not in COUNTED:
        monkeypatch.setattr(scopes, "refresh_if_due", lambda *_: None)


@pytest.fixture(autouse=True)
def logs_end_with_the_test() -> Iterator[None]:
    """Remove loggers that would write to the captured stderr of a finished test."""
    before = list(logging.getLogger().handlers)
    # structlog's own default formats every local variable of a traceback: minutes, if one holds megabytes.
    plain = ConsoleRenderer(colors=False, exception_formatter=plain_traceback)
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, plain])
    yield
    structlog.reset_defaults()
    for handler in [each for each in logging.getLogger().handlers if each not in before]:
        if type(handler).__module__ == "syncd.log":
            logging.getLogger().removeHandler(handler)


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Move this machine to a time zone, and back at the end."""

    def move(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="session", autouse=True)
def entry_points_are_read_once() -> Iterator[None]:
    """Read the metadata of all installed packages once a process. syncd does so for each connector of a package.

    That takes 8 ms of CPU. Tests that install a connector start a process of their own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "installed", cache(sources.installed))
        yield


@pytest.fixture(scope="session", autouse=True)
def command_lines_are_built_once() -> Iterator[None]:
    """Build the parser of all commands once a process, as a user's process does. That takes 13 ms of CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session", autouse=True)
def new_ledgers_are_copies() -> Iterator[None]:
    """Copy each new ledger from one that the migrations made in this process. To run them takes 18 ms of CPU.

    `test_suite.py` compares both. Older ledgers are migrated, and processes of their own run all migrations.
    """
    migrate = file._set_up

    def copy(db: Database, path: Path) -> None:
        if vars(file)["MIGRATIONS"] is MIGRATIONS and file._version(db) == 0 and not db.execute(ANY_TABLE).fetchone():
            db.execute("PRAGMA journal_mode = WAL").fetchone()
            _new_ledger(migrate).backup(db.conn)
        migrate(db, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file, "_set_up", copy)
        yield


@cache
def _new_ledger(migrate: Callable[[Database, Path], None]) -> sqlite3.Connection:
    """Return a new ledger in memory."""
    made = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    migrate(Database(made, execute_plugins=False), Path(":memory:"))
    return made


@pytest.fixture(scope="session", autouse=True)
def interpreters_end_well() -> Iterator[None]:
    """End the interpreters from which tests forked commands. Each must end with 0."""
    yield
    if interpreters.cache_info().currsize:
        interpreters().close()


@pytest.fixture(scope="session", autouse=True)
def stand_ins_share_a_ca() -> Iterator[None]:
    """Use one invented CA a process for all stand-ins of Salesforce.

    To trust another CA, syncd reads the system's hundred certificates again: 30 ms of CPU.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificate, "trustme", SimpleNamespace(CA=cache(trustme.CA)))
        yield


# A test that looks into SQLite itself: its statements as they run, its triggers, its file. Other kinds run without it.
ON_SQLITE = pytest.mark.parametrize("handle", ["sqlite"], indirect=True)


@pytest.fixture(params=ENGINES)
def handle(request: pytest.FixtureRequest, tmp_path: Path) -> AnyLedger:
    """Name a ledger that does not exist yet, one of each kind."""
    return ENGINES[request.param](tmp_path)


@pytest.fixture
def ledger(handle: AnyLedger) -> Iterator[Ledger]:
    """Open a new ledger for writing."""
    with handle.open() as opened:
        yield opened


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Stand-ins, a place for a ledger, and one clock that only the test moves."""
    monkeypatch.setattr(engine, "WAKE_S", 0.02)  # otherwise each wait before a probe takes half a second
    with World(tmp_path) as made:
        yield made


@pytest.fixture
def orgs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OrgWorld]:
    """The same with a Salesforce org as the only source."""
    monkeypatch.setattr(engine, "WAKE_S", 0.02)
    with OrgWorld(tmp_path) as made:
        yield made


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The same by the machine's clock, for the command line and for other processes."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("SYNCD_CONFIG", raising=False)
    with World(tmp_path, real_time=True) as made:
        made.write_config()
        yield made


@pytest.fixture
def nap() -> Callable[[float], None]:
    """The sleep of `syncd check` in this process: none. A module that tests the wait has its own."""
    return lambda seconds: None


@pytest.fixture(autouse=True)
def checks_do_not_sleep(monkeypatch: pytest.MonkeyPatch, nap: Callable[[float], None]) -> None:
    """Spare each check 3 s for the clocks, and up to 30 s for limits and retries."""
    monkeypatch.setattr(check, "sleep", nap)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line in this process, as the user's shell would."""

    monkeypatch.setattr(gc, "freeze", lambda: None)  # this process goes on, and its garbage is to be collected

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["syncd", *map(str, arguments)])
        code: object = 0
        try:
            cli.main()
        except SystemExit as left:
            code = left.code or 0
        sys.stderr.flush()
        said = capsys.readouterr()
        assert isinstance(code, int)
        return Ran(code, said.out, said.err)

    return run
