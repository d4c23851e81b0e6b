"""The exit codes that many commands share: usage, configuration, ledger, a bug, SIGINT, another syncd, a CRM.

The others are those of what a command does, e.g. 4 and 69 of `sync`. The tests of each command have them.
"""

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from syncd.ledger import LedgerHandle
from tests.conftest import Command
from tests.test_documents import COMMANDS
from tests.world import World

# Each command that reads the configuration, with the arguments that it needs.
READ = {
    "accounts": "", "adopt": "--since 2026-01-01 --yes", "alerts test": "", "backfill": "--since 2026-01-01",
    "check": "", "config check": "", "config show": "", "explain": "1", "failures": "", "forget": "", "health": "",
    "ledger copy": "ledger/ledger.db copy.db", "ledger recount": "", "ledger rekey": "--lost",
    "ledger trust": "recotap", "list": "", "passes": "", "preview": "", "resume": "hubspot", "retry": "1", "run": "",
    "scope": "", "status": "", "support-bundle": "", "sync": "", "verify": "",
}  # fmt: skip
WITHOUT = {"config example", "config schema", "demo", "init", "sandbox"}  # they read none
ANYWAY = {"support-bundle"}  # it is for a syncd that is broken, and says what it lacks
SHOWN = {"config show"}  # it reads the file itself, and shows each value with its origin
FIRST = {"adopt", "check", "preview", "scope", "sync"}  # they need no ledger
ASKING = {"adopt", "check", "forget", "preview", "scope", "sync", "sync --dry-run", "verify", "verify --repair"}
HOLDING = {"adopt", "ledger copy", "run", "sync", "verify --repair"}
Codes = Callable[[Iterable[str]], dict[str, int]]


@pytest.fixture
def codes(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Codes:
    """Return a function that runs commands, and returns the exit code of each."""
    monkeypatch.chdir(tmp_path)

    def run(names: Iterable[str]) -> dict[str, int]:
        found = {}
        for name in sorted(names):
            monkeypatch.setattr("sys.stdin", io.StringIO("zoe.quill@amber-bolts.example\n"))
            ran = command(*name.split(), *READ.get(name, "").split(), "-c", tmp_path / "syncd.toml")
            found[name] = ran.code
        return found

    return run


def all_are(code: int, names: Iterable[str]) -> dict[str, int]:
    return dict.fromkeys(sorted(names), code)


def test_the_tables_name_every_command() -> None:
    assert COMMANDS.keys() == READ.keys() | WITHOUT
    assert {name.partition(" --")[0] for name in ASKING | HOLDING} <= READ.keys()


def test_an_option_that_a_command_does_not_know_is_2(command: Command) -> None:
    found = {name: command(*name.split(), "--no-such-option").code for name in sorted(COMMANDS)}
    assert found == all_are(2, COMMANDS)


def test_a_mistake_in_the_configuration_is_78(codes: Codes, tmp_path: Path) -> None:
    (tmp_path / "syncd.toml").write_text("[recotap]\ntime_out = 1\n")
    assert codes(READ) == all_are(78, READ) | all_are(0, ANYWAY)


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (ZeroDivisionError, 1)])
def test_sigint_is_130_and_a_bug_is_1(
    codes: Codes, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], code: int
) -> None:
    def fail(*_: object, **more: object) -> None:
        raise error

    monkeypatch.setattr("syncd.config.load", fail)
    names = READ.keys() - {"run"} - ANYWAY - SHOWN
    assert codes(names) == all_are(code, names)


def test_a_ledger_that_is_not_there_is_74_for_all_that_need_one(live: World, codes: Codes) -> None:
    names = READ.keys() - FIRST - {"alerts test", "config check", "config show", "run", "support-bundle"}
    assert codes(names) == all_are(74, names)


def test_a_ledger_that_another_syncd_holds_is_75_for_all_that_hold_it(live: World, codes: Codes) -> None:
    ledger = LedgerHandle(live.ledger)
    with ledger.hold("run"), ledger.open():
        assert codes(HOLDING) == all_are(75, HOLDING)


@pytest.mark.parametrize(("fault", "code"), [("malformed_token", 77), ("daily", 69)])
def test_a_refused_token_is_77_and_a_used_up_quota_69_for_all_that_ask_a_crm(
    live: World, codes: Codes, fault: str, code: int
) -> None:
    live.call()
    assert codes(["sync"]) == {"sync": 0}
    live.hubspot.faults.add(fault, count=None)
    assert codes(ASKING) == all_are(code, ASKING)
