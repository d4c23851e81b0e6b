"""The command line as its user meets it: results, logs, exit codes and prohibitions."""

import gc
import json
import os
import pty
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from syncd.cli import printing
from syncd.config import sources
from syncd.sandbox import Fault
from tests.conftest import Command
from tests.forked import Started, interpreters
from tests.world import START, World

ROOT = Path(__file__).parent.parent
SYNCD = [sys.executable, "-W", "error", "-m", "syncd"]


@contextmanager
def child(*arguments: object, **how: Any) -> Iterator["subprocess.Popen[str]"]:
    """Run a command in a process of its own, which does not outlive the test."""
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    with subprocess.Popen([*SYNCD, *map(str, arguments)], cwd=ROOT, text=True, **how) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@contextmanager
def forked(path: Path, *arguments: object) -> Iterator[Started]:
    """Run a command in a forked process, which does not outlive the test. It writes to `out` and `err` in `path`."""
    process = interpreters().start(
        [*map(str, arguments)], environ=os.environ, cwd=ROOT, output=path / "out", errors=path / "err"
    )
    try:
        yield process
    finally:
        process.kill()


def keys(document: dict[str, Any]) -> set[str]:
    return set(document)


def test_only_short_commands_do_without_the_garbage_collector(
    live: World, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its runs over the imported classes take a tenth of their time. A pass and the daemon need it."""
    live.sync()
    seen: list[bool] = []
    monkeypatch.setattr("syncd.cli.printing.document", lambda _: seen.append(gc.isenabled()))
    monkeypatch.setattr("syncd.cli.printing.line", lambda _: seen.append(gc.isenabled()))
    for line, enabled in (("status --json", False), ("list --json", False), ("passes --json", False),
                          ("health --json", False), ("resume", True), ("config check", True),
                          ("check", True)):  # fmt: skip
        seen.clear()
        command(*line.split(), "-c", live.write_config())
        assert (set(seen), gc.isenabled()) == ({enabled}, True), line


def test_a_pass_has_the_garbage_collector_and_a_bug_switches_it_on(
    live: World, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def break_down(*_: object, **__: object) -> None:
        seen.append(gc.isenabled())
        raise RuntimeError

    monkeypatch.setattr("syncd.passes.wiring.sync", break_down)
    monkeypatch.setattr("syncd.cli.commands.books.read_config", break_down)
    for line, enabled in (("sync", True), ("status", False)):
        assert command(line, "-c", live.write_config()).code == 1
        assert (seen.pop(), gc.isenabled()) == (enabled, True)


@pytest.mark.parametrize(("line", "spared"), [("passes", 1), ("config check", 0)])
def test_a_short_command_ends_without_a_collection(
    line: str, spared: int, live: World, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would visit the classes of all libraries, which takes a fifth of the command's time."""
    live.sync()
    frozen: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(gc.isenabled()))
    command(*line.split(), "-c", live.write_config())
    assert frozen == [False] * spared, "frozen before it is enabled"


HEAVY = (
    "structlog", "rich", "asyncio", "httpx", "requests", "urllib3", "hubspot", "apscheduler", "psycopg",
    "syncd.recotap.sender", "syncd.passes.engine", "syncd.passes.events", "syncd.normalize.normalizer",
)  # fmt: skip


def test_commands_that_read_the_ledger_import_nothing_that_only_a_pass_or_a_terminal_needs(live: World) -> None:
    """Imports are most of their time, and a probe starts `health` every 30 s. One process runs them all."""
    call = live.call()
    live.sync()
    read = ("list", f"explain {call}", "failures", "status", "status --json", "list --csv", "passes", "health")
    code = f"""if True:
        import sys
        from syncd.cli import main as cli
        for line in {read!r}:
            sys.argv = ["syncd", *line.split(), "-c", {str(live.write_config())!r}]
            try:
                cli.main()
                ended = 0
            except SystemExit as left:
                ended = left.code or 0
            print([line, ended, [name for name in {HEAVY!r} if name in sys.modules]], file=sys.stderr)
    """
    environ = {name: value for name, value in os.environ.items() if name not in printing.FORCED}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    ended = {"health": 69}  # no daemon holds the ledger
    assert done.stderr.splitlines() == [str([line, ended.get(line, 0), []]) for line in read]


# -- where the configuration is -----------------------------------------------------------


def test_the_configuration_is_named_before_or_after_the_command_or_by_the_environment(
    live: World, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = live.config_file
    assert command("-c", file, "sync").code == 0
    assert command("--config", file, "status").code == 0
    assert command("status", "-c", file).code == 0
    assert command("-c", tmp_path / "another.toml", "status", "-c", file).code == 0, "the nearer one holds"
    monkeypatch.setenv("SYNCD_CONFIG", str(file))
    assert command("status").code == 0
    monkeypatch.delenv("SYNCD_CONFIG")
    (tmp_path / "here" / "config").mkdir(parents=True)
    (tmp_path / "here" / "config" / "syncd.toml").write_text(file.read_text())
    monkeypatch.chdir(tmp_path / "here")
    assert command("status").code == 0


def test_a_configuration_that_is_not_there_is_78_and_says_where_it_was_looked_for(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = command("sync", "-c", tmp_path / "none.toml")
    assert (ran.code, ran.out) == (78, "")
    assert "none.toml" in ran.err
    assert "Traceback" not in ran.err


def test_every_mistake_is_reported_at_once_with_its_path_and_no_request_is_made(live: World, command: Command) -> None:
    live.configure("recotap", concurency=3, timeout="soon")
    live.configure("sources.hubspot", start="yesterday", access_token="pat-na1-literal-secret")
    ran = command("sync", "-c", live.write_config())
    assert ran.code == 78
    for path in ("recotap.concurency", "recotap.timeout", "sources.hubspot.start", "sources.hubspot.access_token"):
        assert f"  {path}: " in ran.err
    assert ran.err.count("expected") >= 3, "what would be right"
    assert "pat-na1-literal-secret" not in ran.err
    assert not live.hubspot.requests
    assert not live.recotap.requests
    assert not live.ledger.exists()


def test_version_and_help_name_every_command(command: Command) -> None:
    assert re.fullmatch(r"syncd \d+\.\d+\S*\n", command("--version").out)
    shown = command("--help").out
    assert all(name in shown for name in ("sync", "status", "check", "explain", "retry", "sandbox", "demo"))


@pytest.mark.parametrize(
    "line",
    [
        "synk", "sync --dry", "sync --source nowhere", "explain", "retry", "retry --state delivered", "retry --state x",
        "status --yaml",
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_2(live: World, command: Command, line: str) -> None:
    command("-c", live.config_file, "sync")
    ran = command("-c", live.config_file, *line.split())
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err


# -- sync ---------------------------------------------------------------------------------


def test_sync_delivers_says_so_in_json_lines_on_stderr_and_nothing_on_stdout(live: World, command: Command) -> None:
    live.calls(60)
    ran = command("sync", "-c", live.config_file)
    lines = [json.loads(line) for line in ran.err.splitlines()]
    assert (ran.code, ran.out) == (0, "")
    assert [line["event"] for line in lines] == ["pull.finished", "pull.finished", "push.finished", "pass.finished"]
    assert (lines[0]["source"], lines[0]["stream"], lines[0]["new"]) == ("hubspot", "calls", 60)
    assert len(live.delivered) == 60


def test_sync_of_one_source_reads_it_alone_and_sends_all_that_is_due(live: World, command: Command) -> None:
    live.configure("sources.hubspot")
    live.configure("sources.other", **live.source(access_token="file:/nowhere/token"))
    ran = command("sync", "-c", live.write_config(), "--source", "hubspot")
    assert ran.code == 78, "the whole configuration must be right all the same"
    live.tables["sources.other"]["access_token"] = f"file:{live.token_file}"
    live.call()
    assert command("sync", "-c", live.write_config(), "--source", "hubspot").code == 0
    assert len(live.delivered) == 1
    assert {row[0] for row in live.sql("SELECT source FROM streams")} == {"hubspot"}


def test_3_says_that_something_died_in_this_pass(live: World, command: Command) -> None:
    live.configure("recotap", max_age="1ms")
    call = live.call()
    live.recotap.rule("fail")
    file = live.write_config()
    assert command("sync", "-c", file).code == 0
    time.sleep(0.01)
    assert command("sync", "-c", file).code == 3
    assert command("sync", "-c", file).code == 0
    assert live.state(call) == "dead failed"


def test_4_says_that_the_books_do_not_balance(live: World, command: Command) -> None:
    live.calls(3, contacts=[])
    command("sync", "-c", live.config_file)
    live.sql("DELETE FROM activities WHERE id = 2")
    live.sql("UPDATE streams SET watermark = '2099-01-01T00:00:00.000Z'")  # so that it is not simply read again
    assert command("sync", "-c", live.config_file).code == 4
    ran = command("status", "-c", live.config_file)
    assert ran.code == 4
    assert "do not balance" in ran.out
    assert json.loads(command("status", "-c", live.config_file, "--json").out)["balanced"] is False
    assert command("check", "-c", live.config_file).code == 4


def test_69_keeps_what_was_read_and_a_used_up_day_asks_nothing_more(live: World, command: Command) -> None:
    live.call()
    live.hubspot.faults.add("daily", match="emails/search")
    ran = command("sync", "-c", live.config_file)
    assert ran.code == 69
    assert "daily limit" in ran.err
    assert len(live.delivered) == 1
    with live.counted() as requests:
        ran = command("sync", "-c", live.config_file)
    assert (ran.code, requests) == (69, {})
    assert "pauses until" in ran.err


def test_69_for_recotap_that_asks_for_a_long_pause(live: World, command: Command) -> None:
    live.call()
    live.recotap.faults.add("too_many", headers={"Retry-After": "3600"})
    assert command("sync", "-c", live.config_file).code == 69
    with live.counted() as requests:
        assert command("sync", "-c", live.config_file).code == 69
    assert "post" not in requests
    assert "pause: recotap until" in command("status", "-c", live.config_file).out


@pytest.mark.parametrize("what", ["newer", "garbage", "cut", "directory", "under a file"])
def test_74_for_a_ledger_that_cannot_be_used_says_what_to_do_and_changes_nothing(
    live: World, command: Command, what: str, tmp_path: Path
) -> None:
    live.call()
    command("sync", "-c", live.config_file)
    if what == "newer":
        live.sql("PRAGMA user_version = 99")
        live.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    elif what == "garbage":
        live.ledger.write_text("not a ledger at all " * 100)
    elif what == "cut":
        live.ledger.write_bytes(live.ledger.read_bytes()[:40_000])
    elif what == "directory":
        live.ledger.unlink()
        live.ledger.mkdir()
    else:
        live.configure("ledger", path=str(live.key_file / "ledger.db"))
        live.write_config()
    before = live.ledger.read_bytes() if live.ledger.is_file() else b""
    live.call()
    ran = command("sync", "-c", live.config_file)
    assert ran.code == 74, ran.err
    assert "→" in ran.err
    assert "Traceback" not in ran.err
    assert len(live.delivered) == 1
    assert before == (live.ledger.read_bytes() if live.ledger.is_file() else b"")
    for line in ("status", "explain 1", "check"):
        assert command(*line.split(), "-c", live.config_file).code == 74, line


def test_74_for_a_full_disk_loses_nothing(live: World, command: Command) -> None:
    ids = live.calls(400)

    def a_small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    # A child that measures coverage would have no room for what it measured.
    bare = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    with child("sync", "-c", live.config_file, preexec_fn=a_small_disk, env=bare) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 74
    assert "Traceback" not in err
    assert command("sync", "-c", live.config_file).code == 0
    assert live.delivered == set(ids)
    assert not live.recotap.doubled
    assert live.status()["verdicts"]["foreign_duplicate"] == 0


def test_75_at_once_and_the_holder_is_named_while_others_still_look(live: World, command: Command) -> None:
    call = live.call(contacts=[])
    command("sync", "-c", live.config_file)
    with live.handle.hold("run"), live.counted() as requests:
        ran = command("sync", "-c", live.config_file)
        assert (ran.code, requests) == (75, {})
        assert f"`syncd run`, process {os.getpid()}" in ran.err
        for line in ("status", "status --json", f"explain {call}", "check", f"retry {call}", "sync --dry-run"):
            assert command(*line.split(), "-c", live.config_file).code == 0, line
    assert command("sync", "-c", live.config_file).code == 0


def test_77_for_a_refused_token_a_missing_scope_and_a_refused_key(live: World, command: Command) -> None:
    live.call()
    live.token_file.write_text("pat-na1-00000000-not-this-one")
    ran = command("sync", "-c", live.config_file)
    assert ran.code == 77
    assert f"file:{live.token_file}" in ran.err, "the hint says where the new one belongs"
    assert "not-this-one" not in ran.err

    live.token_file.write_text("sandbox-token\n")
    live.hubspot.set(tokens={"sandbox-token": ["crm.objects.contacts.read", "crm.objects.owners.read"]})
    ran = command("sync", "-c", live.config_file)
    assert ran.code == 77
    assert "crm.objects.companies.read" in ran.err

    live.hubspot.token("sandbox-token")
    live.key_file.write_text("dead-key")
    assert command("sync", "-c", live.config_file).code == 77
    live.key_file.write_text(live.box.key)
    assert command("sync", "-c", live.config_file).code == 0
    assert len(live.delivered) == 1


def test_a_connector_that_cannot_be_loaded_is_named_and_the_others_run(
    live: World, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = live.call()
    monkeypatch.setitem(sources.BUILT_IN, "ours", "a_package_that_is_gone:Ours")
    live.configure("sources.theirs", connector="ours", start=START)
    live.configure("sources.hubspot", **live.source())
    ran = command("sync", "-c", live.write_config())
    assert ran.code == 78
    assert "sources.theirs.connector" in ran.err
    assert "the connector 'ours' cannot be loaded (ModuleNotFoundError)" in ran.err
    assert live.delivered == {call}
    ran = command("check", "-c", live.config_file)
    assert ran.code == 78
    assert "cannot be loaded" in ran.out
    assert "accepted by portal" in ran.out, "the others are checked too"


def test_of_several_causes_the_first_of_the_contract_is_the_code(live: World, command: Command) -> None:
    live.call()
    command("sync", "-c", live.config_file)
    live.hubspot.faults.add("daily")
    live.call()
    live.recotap.set(keys=["another"])
    live.configure("recotap", base_url=live.box.recotap_url.replace("v1", "v7"))
    assert command("sync", "-c", live.config_file).code == 69
    live.sql("DELETE FROM pauses")
    live.hubspot.faults.clear()
    assert command("sync", "-c", live.config_file).code == 77
    live.hubspot.faults.add("daily")
    assert command("sync", "-c", live.config_file).code == 77, "77 before 69"
    live.sql("DELETE FROM pauses")
    live.sql("UPDATE streams SET seen = seen + 1")
    assert command("sync", "-c", live.config_file).code == 4, "4 before 77"
    assert command("sync", "-c", live.write_config()).code == 78, "78 before 4: a wrong base URL"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_pass_within_a_deadline_and_the_next_one_goes_on(
    live: World, command: Command, number: signal.Signals, code: int
) -> None:
    ids = live.calls(5)
    live.configure("sources.hubspot", timeout="1s")
    arrived = threading.Event()
    live.hubspot.faults.add("hang", match="emails/search", seconds=30)
    live.hubspot.on_request = lambda index, kind: arrived.set() if live.hubspot.requests["search"] >= 2 else None
    with forked(live.path, "sync", "-c", live.write_config()) as process:
        assert arrived.wait(30)
        began = time.monotonic()
        process.send_signal(number)
        ended = process.wait(30)
        took = time.monotonic() - began
    out, err = ((live.path / name).read_text() for name in ("out", "err"))
    assert (ended, out) == (code, "")
    assert took < 1 + 2
    assert json.loads(err.splitlines()[-1])["event"] == "pass.finished"
    assert live.status()["last_pass"]["exit_code"] == code

    live.hubspot.faults.clear()
    assert command("sync", "-c", live.config_file).code == 0
    assert live.delivered == set(ids)


def test_a_second_signal_ends_it_at_once(live: World, command: Command) -> None:
    live.call()
    arrived = threading.Event()
    live.recotap.faults.add("hang", match="sales-activities", seconds=30)
    live.recotap.on_request = lambda index, kind: arrived.set()
    with forked(live.path, "sync", "-c", live.config_file) as process:
        assert arrived.wait(30)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 143
    live.recotap.faults.clear()
    assert command("sync", "-c", live.config_file).code == 0
    assert live.status()["activities"]["delivered"] == 1


# -- sync --dry-run -----------------------------------------------------------------------


def test_a_dry_run_shows_what_would_be_sent_and_makes_no_ledger(live: World, command: Command) -> None:
    call, incomplete = live.call(), live.call(contacts=[])
    live.email(hs_email_status="BOUNCED")
    with live.counted() as requests:
        ran = command("sync", "--dry-run", "-c", live.config_file)
    shown = {fields[0]: fields[2:] for fields in (line.split("\t") for line in ran.out.splitlines())}
    assert ran.code == 0
    assert shown[f"hubspot-call-{call}"] == ["pending", ""]
    assert shown[f"hubspot-call-{incomplete}"] == ["incomplete", "no_contact"]
    assert len(shown) == 3
    assert "would be excluded (not_sent): 1" in ran.err
    assert "post" not in requests
    assert not live.ledger.parent.exists(), "not even its directory"


def test_a_dry_run_leaves_an_existing_ledger_as_it_is_to_the_byte(live: World, command: Command) -> None:
    live.calls(3)
    live.recotap.faults.add("too_many", headers={"Retry-After": "3600"})
    command("sync", "-c", live.config_file)
    new = live.call()
    before = {path.name: path.read_bytes() for path in live.ledger.parent.iterdir()}
    ran = command("sync", "-c", live.config_file, "--dry-run")
    assert {path.name: path.read_bytes() for path in live.ledger.parent.iterdir()} == before
    assert ran.code == 0
    assert [line.split("\t")[0] for line in ran.out.splitlines()] == [f"hubspot-call-{new}"]
    assert "pending in the ledger already: 3" in ran.err
    assert not live.delivered


@pytest.mark.parametrize(("fault", "code"), [("daily", 69), ("malformed_token", 77)])
def test_a_dry_run_that_fails_says_so_by_the_same_codes(live: World, command: Command, fault: str, code: int) -> None:
    live.hubspot.faults.add(fault, match="search", count=None)
    ran = command("sync", "--dry-run", "-c", live.config_file)
    assert (ran.code, ran.out) == (code, "")
    assert "→" in ran.err
    assert not live.ledger.exists()


def test_a_dry_run_ends_at_a_signal(live: World) -> None:
    live.configure("sources.hubspot", timeout="1s")
    arrived = threading.Event()
    live.hubspot.faults.add("hang", match="search", seconds=30)
    live.hubspot.on_request = lambda index, kind: arrived.set() if kind == "search" else None
    with forked(live.path, "sync", "--dry-run", "-c", live.write_config()) as process:
        assert arrived.wait(30)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


# -- check --------------------------------------------------------------------------------


def lines_of(out: str) -> dict[str, str]:
    """Return mark by subject."""
    found = (re.match(r"(ok|warn|error) +(.+?): ", line) for line in out.splitlines())
    return {match[2]: match[1] for match in found if match}


def test_check_says_ok_for_everything_and_changes_nothing(live: World, command: Command) -> None:
    live.email()
    with live.counted() as requests:
        ran = command("check", "-c", live.config_file)
    assert ran.code == 0
    assert set(lines_of(ran.out).values()) == {"ok"}
    assert {"configuration", "ledger", "recotap key", "hubspot"} <= set(lines_of(ran.out))
    assert "portal 12345678" in ran.out
    for scope in ("contacts.read", "companies.read", "owners.read", "sales-email-read"):
        assert scope in ran.out
    assert "post" not in requests
    assert not live.ledger.parent.exists()


def test_check_says_of_each_failure_what_to_do(live: World, command: Command) -> None:
    def errors() -> tuple[int, str]:
        ran = command("check", "-c", live.write_config())
        lines = ran.out.splitlines()
        wrong = [at for at, line in enumerate(lines) if line.startswith("error")]
        assert all(lines[at + 1].startswith("      → ") for at in wrong), ran.out
        return ran.code, "\n".join(lines[at] for at in wrong)

    live.hubspot.set(tokens={"sandbox-token": ["crm.objects.contacts.read"]})
    code, said = errors()
    assert code == 77
    assert "crm.objects.companies.read" in said
    assert "crm.objects.owners.read" in said
    live.hubspot.set(tokens={})
    assert errors()[0] == 77
    live.hubspot.token("sandbox-token")
    live.key_file.write_text("wrong-key")
    code, said = errors()
    assert (code, said.splitlines()) == (77, ["error recotap key: refused (HTTP 401)"])
    live.key_file.write_text(live.box.key)
    live.configure("recotap", base_url=live.box.recotap_url + "/crm/x")
    assert errors()[0] == 78
    live.tables.clear()
    live.hubspot.faults.add("unavailable", count=None)
    assert errors()[0] == 69
    live.hubspot.faults.clear()
    live.recotap.faults.add("close", count=None)
    assert errors()[0] == 69
    live.recotap.faults.clear()
    assert errors() == (0, "")


def test_check_notices_a_source_that_is_not_whom_the_ledger_knows(live: World, command: Command) -> None:
    live.call()
    command("sync", "-c", live.config_file)
    live.hubspot.set(portal_id=999, tokens={"new-token-of-another-portal": []})
    live.token_file.write_text("new-token-of-another-portal")
    live.hubspot.token("new-token-of-another-portal")
    ran = command("check", "-c", live.config_file)
    assert ran.code == 78
    assert "999" in ran.out


def test_check_tells_of_a_pause_and_asks_all_the_same(live: World, command: Command) -> None:
    live.hubspot.faults.add("daily")
    command("sync", "-c", live.config_file)
    ran = command("check", "-c", live.config_file)
    assert ran.code == 0
    assert lines_of(ran.out)["hubspot"] == "ok"
    assert "warn  hubspot: pause: " in ran.out


# -- status, explain, retry ---------------------------------------------------------------


def test_status_in_json_is_one_document_with_every_key_of_the_contract(live: World, command: Command) -> None:
    live.call()
    live.call(contacts=[])
    live.email(hs_email_status="BOUNCED")
    command("sync", "-c", live.config_file)
    ran = command("status", "-c", live.config_file, "--json")
    document = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert keys(document) >= {
        "version", "ledger", "activities", "verdicts", "changed_after_delivery", "seen", "balanced", "reasons",
        "sources", "oldest_pending_at", "next_attempt_at", "last_pass",
    }  # fmt: skip
    assert keys(document["ledger"]) >= {"path", "schema", "bytes"}
    assert document["activities"] == {
        "pending": 0, "incomplete": 1, "delivered": 1, "skipped": 0, "excluded": 1, "dead": 0,
    }  # fmt: skip
    assert document["verdicts"] == {"created": 1, "duplicate": 0, "foreign_duplicate": 0}
    assert document["reasons"] == {
        "pending": {"failed": 0, "refused": 0, "too_large": 0, "suspect": 0},
        "incomplete": {"no_contact": 1}, "excluded": {"not_sent": 1}, "dead": {},
    }  # fmt: skip
    assert (document["seen"], document["balanced"]) == (3, True)
    assert [(each["source"], each["stream"]) for each in document["sources"]] == [
        ("hubspot", "calls"), ("hubspot", "emails"),
    ]  # fmt: skip
    wanted = {"source", "stream", "watermark", "last_success_at", "last_error", "paused_until"}
    assert all(keys(each) >= wanted for each in document["sources"])
    assert keys(document["last_pass"]) >= {"started_at", "finished_at", "exit_code"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document["sources"][0]["watermark"])


def test_status_for_people_shows_states_verdicts_reasons_and_watermarks(live: World, command: Command) -> None:
    live.call()
    live.call(contacts=[])
    command("sync", "-c", live.config_file)
    out = command("status", "-c", live.config_file).out
    for words in (
        "delivered",
        "created",
        "incomplete",
        "no_contact",
        "the books balance",
        "hubspot",
        "calls",
        "exit code 0",
    ):
        assert words in out


def test_status_tells_why_pending_activities_wait(live: World, command: Command) -> None:
    failed, refused = live.call(), live.call()
    live.calls(2)
    live.recotap.rule("fail", ids=[f"hubspot-call-{failed}"])
    live.recotap.rule("refuse", ids=[f"hubspot-call-{refused}"])
    live.sync()
    live.recotap.faults.add(Fault(match="sales-activities", status=503, count=None))
    live.call()
    live.sync()
    document = live.status()
    assert document["activities"]["pending"] == 3, "one of them waits for Recotap alone"
    assert document["reasons"]["pending"] == {"failed": 1, "refused": 1, "too_large": 0, "suspect": 0}
    out = command("status", "-c", live.write_config()).out
    assert "pending, refused: 1 (Recotap's validation, or a firewall before it, refuses this one)\n" in out
    assert "pending, backing off (failed): 1 (Recotap answered that this one failed)\n" in out
    assert "pending, due: 1 (goes out in the next pass that reaches Recotap)\n" in out
    assert "too_large" not in out


def test_explain_takes_either_id_and_its_json_has_every_key_of_the_contract(live: World, command: Command) -> None:
    call = live.call()
    live.recotap.rule("fail", count=1, text="Account could not be resolved")
    command("sync", "-c", live.config_file)
    ran = command("explain", call, "--json", "-c", live.config_file)
    document = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert keys(document) >= {
        "external_activity_id", "source", "stream", "crm_id", "kind", "occurred_at", "state", "reason", "verdict",
        "first_seen_at", "updated_at", "delivered_at", "next_attempt_at", "attempts",
    }  # fmt: skip
    assert keys(document["attempts"][0]) >= {"at", "verdict", "detail"}
    assert document == json.loads(command("explain", f"hubspot-call-{call}", "--json", "-c", live.config_file).out)
    out = command("explain", call, "-c", live.config_file).out
    for words in (
        f"hubspot-call-{call}",
        "pending",
        "failed",
        "Account could not be resolved",
        "sent in the first pass",
    ):
        assert words in out


def test_explain_of_an_unknown_id_is_66_and_of_an_ambiguous_one_2(live: World, command: Command) -> None:
    call = live.call()
    live.hubspot.put("emails", {"hs_email_status": "BOUNCED"}, id=call, modified_at=live.now() - timedelta(hours=1))
    command("sync", "-c", live.config_file)
    ran = command("explain", "4711", "-c", live.config_file)
    assert (ran.code, ran.out) == (66, "")
    assert "→ give the externalActivityId or the CRM's id. A draft, and what was last changed before" in ran.err
    ran = command("explain", call, "-c", live.config_file)
    assert ran.code == 2
    assert f"hubspot-call-{call}" in ran.err
    assert f"hubspot-email-{call}" in ran.err


def test_before_the_first_pass_there_is_nothing_to_show_and_nothing_is_made(live: World, command: Command) -> None:
    for line in ("status", "status --json", "explain 1", "retry 1"):
        ran = command(*line.split(), "-c", live.config_file)
        assert (ran.code, ran.out) == (74, ""), line
        assert "the first `syncd sync` makes it" in ran.err
    assert not live.ledger.parent.exists()


def test_retry_makes_what_it_names_due_in_the_next_pass_and_moves_no_state(live: World, command: Command) -> None:
    live.configure("recotap", max_age="1ms")
    file = live.write_config()
    failing, other, waiting = live.call(), live.call(), live.call(contacts=[])
    live.recotap.rule("fail", ids=[f"hubspot-call-{failing}"])
    command("sync", "-c", file)
    time.sleep(0.01)
    command("sync", "-c", file)
    assert live.state(failing) == "dead failed"
    live.recotap.clear_rules()
    live.hubspot.associate("calls", waiting, "contacts", live.contact)

    ran = command("retry", "--state", "dead", "-c", file)
    assert (ran.code, ran.out) == (0, "1 due in the next pass\n")
    assert live.state(failing) == "dead failed"
    assert command("retry", "--reason", "no_contact", "-c", file).out.startswith("1 due")
    assert command("retry", f"hubspot-call-{other}", "-c", file).out.startswith("nothing to retry")
    assert command("retry", "4711", "-c", file).code == 66
    command("sync", "-c", file)
    assert live.delivered == {failing, other, waiting}


def test_retry_sends_what_is_backed_off_in_the_next_pass(live: World, command: Command) -> None:
    call = live.call()
    live.recotap.rule("fail", count=1)
    command("sync", "-c", live.config_file)
    command("sync", "-c", live.config_file)
    assert live.state(call) == "pending"
    command("retry", call, "-c", live.config_file)
    command("sync", "-c", live.config_file)
    assert live.state(call) == "delivered"


def test_retry_looks_what_recotap_skipped_up_and_sends_it_again(live: World, command: Command) -> None:
    call = live.call()
    live.recotap.rule("skip", count=1, text="Only call and email activity types are supported")
    command("sync", "-c", live.config_file)
    assert live.state(call) == "skipped"
    command("retry", "--state", "skipped", "-c", live.config_file)
    command("sync", "-c", live.config_file)
    assert live.state(call) == "delivered"


# -- on a terminal, and the sandbox -------------------------------------------------------


def test_sync_shows_progress_on_a_terminal(live: World) -> None:
    live.calls(120)
    live.recotap.latency_s = 0.05
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    with child("sync", "-c", live.config_file, stderr=slave, env=environment) as process:
        os.close(slave)
        shown = _read_all(master)
        out, _ = process.communicate(timeout=30)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert (process.returncode, out) == (0, "")
    assert "from hubspot calls" in plain
    assert "120/120" in plain
    assert "to Recotap" in plain
    assert "pass.finished" in plain
    assert '{"event"' not in plain, "no JSON where somebody looks"


def _read_all(master: int) -> str:
    parts = []
    try:
        while select.select([master], [], [], 30)[0]:
            part = os.read(master, 65536)
            if not part:
                break
            parts.append(part)
    except OSError:  # the other end is closed
        pass
    os.close(master)
    return b"".join(parts).decode()


def test_sandbox_serves_both_stand_ins_until_it_is_told_to_stop() -> None:
    with child("sandbox", "--calls", 5, "--emails", 5, "--contacts", 5, "--companies", 2) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert {"hubspot_url", "hubspot_token", "recotap_url", "recotap_key"} <= keys(told)
    assert told["world"]["calls"] == 5


def test_demo_runs_the_real_thing_against_stand_ins_and_says_so(tmp_path: Path) -> None:
    with child("demo", "--calls", 60, "--emails", 40, env={**os.environ, "TMPDIR": str(tmp_path)}) as process:
        out, _ = process.communicate(timeout=60)
    flat = " ".join(out.split())
    assert process.returncode == 0
    assert "stand-in" in flat
    assert "0 of them doubled" in flat
    assert "the books balance" in flat
    assert "not read: salesforce Task TaskSubtype=" in flat, "an org has rows that look like calls and are none"
    assert "wrote it, or it is a support case" in flat, "the tools' rows are among those of the stand-ins"
    assert not any(tmp_path.rglob("*.db")), "nothing is left behind"


def test_verbose_logs_each_page_and_each_post_and_otherwise_a_pass_is_a_few_lines(
    live: World, command: Command
) -> None:
    calls = live.calls(120)
    said = command("sync", "-v", "-c", live.config_file).err
    assert said.count("post.settled") == 3
    assert "page.booked" in said
    assert all(said.count(f'"{name}"') == 1 for name in calls), "each id that was sent"
    assert all(said.count(f'"{name.rpartition("-")[2]}"') == 1 for name in calls), "each record that was read"
    calls = live.calls(120)
    said = command("sync", "-c", live.config_file).err
    assert "post.settled" not in said
    assert not any(name in said for name in calls)
    assert len(said.splitlines()) <= 6


def test_an_interrupt_while_a_command_is_imported_is_130_without_a_traceback(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "syncd.cli.commands", Interrupted("syncd.cli.commands"))
    ran = command("status")
    assert (ran.code, ran.out, ran.err) == (130, "", "")
