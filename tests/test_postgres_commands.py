"""Every command answers for a ledger in PostgreSQL as for one in a file: the same JSON keys and the same exit codes."""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from syncd.config import load
from syncd.metrics import render
from syncd.metrics.gathering import gather
from syncd.passes import engine
from syncd.sandbox import Rule
from tests.conftest import Command, Ran
from tests.ledgers import POOLER, URL
from tests.test_exit_codes import READ
from tests.world import World

pytestmark = pytest.mark.skipif(not URL, reason="SYNCD_TEST_POSTGRES names no database")

OF_A_SESSION = pytest.mark.skipif(bool(POOLER), reason="PgBouncer takes no options")
GROUPS = ("alerts", "config", "ledger")
PERSON = "kaya.ivorstone@amber-bolts.com"
# Each command in an order in which all have something to do. ID: of an activity. The code is that of both kinds.
COMMANDS = {
    "status --json": 0, "status": 0, "list --json": 0, "list": 0, "explain ID --json": 0, "explain ID": 0,
    "failures --json": 0, "failures": 0, "passes --json": 0, "passes": 0, "health --json": 69, "accounts --json": 0,
    "scope --json": 0, "preview --json": 0, "check --json": 0, "check --offline": 0, "verify --json": 0,
    "verify --quick --json": 0, "config show": 0, "config check": 0, "alerts test": 78, "sync --dry-run --json": 0,
    "support-bundle -o bundle.zip": 0, "retry ID": 0, "retry --state incomplete": 0, "resume hubspot": 0, "sync": 0,
    "verify --repair --json": 0, "backfill --since 2026-02-01": 0, "ledger recount": 0, "ledger trust recotap": 0,
    "ledger trust hubspot": 0, "adopt --since 2026-01-01 --yes": 0, "forget": 0, "status --json ": 0,
}  # fmt: skip


def fill(world: World, *, in_postgres: bool) -> None:
    """Make one pass, which leaves rows in several states."""
    password = world.path / "password"
    password.write_text("canary-word\n")
    password.chmod(0o600)
    if in_postgres:
        world.configure("ledger", password=f"file:{password}")
    else:
        world._shared = None
    for title, contacts in (("one", None), ("two", None), ("three", []), ("SMS four", None), ("five", None)):
        world.call(contacts=contacts, hs_call_title=title)
    world.configure("sources.hubspot", calls={"except": [{"hs_call_title": "SMS *"}]})
    world.recotap.rules.append(Rule("fail", when=lambda item: item.get("callTitle") == "two"))
    world.recotap.rules.append(Rule("skip", when=lambda item: item.get("callTitle") == "five"))
    world.sync()


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], World]]:
    """Make a filled world of a kind."""
    monkeypatch.setattr(engine, "WAKE_S", 0.02)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    with ExitStack() as stack:

        def make(kind: str) -> World:
            (tmp_path / kind).mkdir()
            world = stack.enter_context(World(tmp_path / kind, real_time=True))
            fill(world, in_postgres=kind == "postgres")
            world.write_config()
            return world

        yield make


@pytest.fixture
def broken(make: Callable[[str], World], request: pytest.FixtureRequest) -> World:
    """A world over PostgreSQL with the fault of the test's parameter."""
    world = make("postgres")
    request.param(world)
    world.write_config()
    return world


def shape(value: Any) -> Any:
    """Return the keys of a JSON document, and the kinds of its values. Lists have the shapes of their members."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in sorted(value.items())}
    if isinstance(value, list):
        return [json.loads(each) for each in sorted({json.dumps(shape(each)) for each in value})]
    return type(value).__name__


def run(world: World, command: Command, lines: Iterable[str]) -> Iterator[tuple[str, Ran]]:
    """Yield each command with its result."""
    call = min(world.delivered)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(world.path)
        for line in lines:
            patch.setattr("sys.stdin", io.StringIO(f"{PERSON}\n"))
            yield line, command(*line.replace("ID", call).split(), "-c", world.config_file)


def test_each_command_has_the_keys_and_the_exit_code_that_it_has_for_a_file(
    make: Callable[[str], World], command: Command
) -> None:
    worlds = {kind: make(kind) for kind in ("sqlite", "postgres")}
    found = {kind: dict(run(world, command, COMMANDS)) for kind, world in worlds.items()}
    for ran in found.values():
        assert {line: each.code for line, each in ran.items()} == COMMANDS
    shapes = {
        kind: {line: shape(json.loads(each.out)) for line, each in ran.items() if "--json" in line}
        for kind, ran in found.items()
    }
    assert shapes["postgres"] == shapes["sqlite"]
    said = "".join(each.out + each.err for each in found["postgres"].values())
    assert "canary-word" not in said
    handle = worlds["postgres"].handle
    assert json.loads(found["postgres"]["status --json"].out)["ledger"]["path"] == str(handle)
    assert found["postgres"]["status"].out.count(str(handle)) == found["sqlite"]["status"].out.count("ledger.db")
    with ZipFile(worlds["postgres"].path / "bundle.zip") as bundle:
        texts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    assert not [name for name, text in texts.items() if "could not be collected" in text or "canary-word" in text]
    assert "server_version" in texts["ledger.json"]


def test_the_metrics_are_those_of_a_file(make: Callable[[str], World]) -> None:
    found = {}
    for kind in ("sqlite", "postgres"):
        world = make(kind)
        with world.handle.reports() as glance:
            text, _ = render(gather(glance, world.config(), world.now()), openmetrics=False)
        found[kind] = {line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE")}
    assert found["postgres"] == found["sqlite"]


def test_the_table_names_every_command() -> None:
    assert {" ".join(line.split()[: 2 if line.split()[0] in GROUPS else 1]) for line in COMMANDS} == READ.keys() - {
        "run", "ledger rekey", "ledger copy",  # each has tests of its own
    }  # fmt: skip


# -- faults of PostgreSQL ---------------------------------------------------------------------


def refused(world: World) -> None:
    world.configure("ledger", url="postgresql://syncd@127.0.0.1:1/syncd")


def stranger_to_it(world: World) -> None:
    world.configure("ledger", url=f"{URL.replace('//syncd@', '//no_such_user@')}")


def read_only(world: World) -> None:
    url = load(world.write_config()).ledger.url
    world.configure("ledger", url=f"{url}%20-cdefault_transaction_read_only%3Don")


def full(world: World) -> None:
    at_each_write(world, "RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'")


def cut(world: World) -> None:
    at_each_write(world, "PERFORM pg_terminate_backend(pg_backend_pid())")


def at_each_write(world: World, do: str) -> None:
    body = f"BEGIN {do}; RETURN NULL; END"
    world.sql(f"CREATE FUNCTION at_each_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $${body}$$")
    for table in ("activities", "store", "operator", "passes", "ranges", "forgotten", "pauses"):
        world.sql(f"CREATE TRIGGER each BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION at_each_write()")


WRITING = {"sync", "retry --state incomplete", "backfill --since 2026-02-01", "ledger recount", "ledger trust hubspot",
           "adopt --since 2026-01-01 --yes", "forget"}  # fmt: skip
READING = {"status", "list", "explain ID", "failures", "passes", "verify --quick"}
FAULTS = [
    (refused, "PostgreSQL cannot be reached", WRITING | READING),
    (stranger_to_it, "PostgreSQL refuses its user or the password", WRITING | READING),
    pytest.param(read_only, "PostgreSQL is read-only there", WRITING, marks=OF_A_SESSION),
    (full, "the disk of PostgreSQL is full", WRITING),
    (cut, "the connection to PostgreSQL was lost", WRITING),
]


@pytest.mark.parametrize(("broken", "message", "lines"), FAULTS, indirect=["broken"])
def test_each_fault_is_told_and_is_74_as_for_a_file(
    broken: World, command: Command, message: str, lines: set[str]
) -> None:
    for line, ran in run(broken, command, sorted(lines)):
        assert (line, ran.code) == (line, 74), ran.err
        assert message in " ".join(ran.err.split()), line
        assert PERSON not in ran.err


@pytest.mark.parametrize("broken", [pytest.param(read_only, marks=OF_A_SESSION)], indirect=True)
def test_reports_read_a_standby(broken: World, command: Command) -> None:
    assert {line: ran.code for line, ran in run(broken, command, sorted(READING))} == dict.fromkeys(READING, 0)


@pytest.mark.parametrize("broken", [pytest.param(read_only, marks=OF_A_SESSION)], indirect=True)
def test_check_says_that_no_pass_could_write_there(broken: World, command: Command) -> None:
    ((_, ran),) = run(broken, command, ["check --offline"])
    assert ran.code == 74
    assert "PostgreSQL is read-only there" in ran.out
