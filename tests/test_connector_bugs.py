"""A bug in one source's connector is that source's error. The other sources are checked and shown."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.jsonl import Jsonl
from syncd import clock
from syncd.cli import check
from syncd.cli.check import clocks as check_clocks
from syncd.connector import Context, Finding, Source
from syncd.errors import Exit
from syncd.ledger import LedgerHandle
from syncd.normalize.rules import Rules
from syncd.passes.dry_run import DryRun
from syncd.passes.store import PassStore
from syncd.signals import StopRequest
from tests.drops import Drop, call
from tests.world import OWN, World

CANARY = "kaya@amber-bolts.com"
MESSAGE = "a bug in the connector of bad: ValueError"
REPORT_IT = "report it with the traceback from the log"


def buggy(where: str) -> type[Jsonl]:
    """Return a connector that fails in one method, by an error that quotes a record."""

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise ValueError(CANARY)

    return type("Buggy", (Jsonl,), {where: fail})


def nonsense() -> type[Jsonl]:
    return type("Nonsense", (Jsonl,), {"check": lambda self: [None]})


def drop_at(path: Path, name: str) -> Drop:
    (path / name).mkdir()
    drop = Drop(path / name)
    drop.file("a.jsonl", call(name))
    return drop


@pytest.mark.parametrize("where", ["__init__", "identity", "owners", "fetch", "close"])
def test_a_dry_run_shows_the_other_sources(tmp_path: Path, where: str) -> None:
    bad, good = drop_at(tmp_path, "bad"), drop_at(tmp_path, "good")
    sources = [Source("bad", bad.config, buggy(where)), Source("good", good.config, Jsonl)]
    rules = Rules(own_domains=frozenset({"lanternfield.com"}))
    run = DryRun(sources, rules, ledger=LedgerHandle(bad.ledger), stop=StopRequest(), now=bad.now)
    assert "good" in [reading.crm_id for reading in run.readings()]
    assert {(error.message, error.hint, error.exit_code) for error in run.errors} == {(MESSAGE, REPORT_IT, Exit.BUG)}


@pytest.fixture
def found(world: World, tmp_path: Path) -> Callable[[type[Jsonl]], list[Finding]]:
    """Return a function that checks a source with this connector before a healthy one."""
    bad, good = drop_at(tmp_path, "bad"), drop_at(tmp_path, "good")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for name, drop in (("bad", bad), ("good", good)):
        world.configure(f"sources.{name}", connector="jsonl", path=str(drop.path), start=start)
    world.configure("rules", own_domains=[OWN])

    def checked(connector: type[Jsonl]) -> list[Finding]:
        sources = (Source("bad", bad.config, connector), Source("good", good.config, Jsonl))
        return list(check.findings(world.config(), sources))

    return checked


@pytest.mark.parametrize("where", ["__init__", "check", "identity", "owners", "close"])
def test_check_goes_on_after_a_bug(found: Callable[[type[Jsonl]], list[Finding]], where: str) -> None:
    findings = found(buggy(where))
    (bug,) = [each for each in findings if each.exit_code == Exit.BUG]
    assert (bug.what, bug.ok, bug.warning, bug.message, bug.hint) == ("bad: source", False, False, MESSAGE, REPORT_IT)
    subjects = {each.what for each in findings}
    assert {"good: folder", "recotap key", "clock of Recotap"} <= subjects
    assert not [each for each in findings if CANARY in each.message + each.hint]


def test_check_goes_on_after_findings_that_are_none(found: Callable[[type[Jsonl]], list[Finding]]) -> None:
    findings = found(nonsense())
    assert [each.message for each in findings if each.exit_code == Exit.BUG] == [
        "a bug in the connector of bad: AttributeError"
    ]
    assert "good: folder" in {each.what for each in findings}


def test_a_bug_while_a_clock_is_asked_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = Source("bad", drop_at(tmp_path, "bad").config, buggy("count"))
    context = Context("bad", PassStore({}, clock.now), clock.now, lambda seconds: None, read_only=True)
    clocks = check_clocks.Clocks(sleep=lambda seconds: None)
    clocks.add("bad", _Once(), lambda: check._ask(source, context))  # type: ignore[arg-type]
    (finding,) = list(clocks.findings())
    assert (finding.message, finding.exit_code, finding.ok) == (MESSAGE, Exit.BUG, False)


class _Once:
    """A clock that has told the time once, so `check` asks again."""

    moves = None

    def __init__(self) -> None:
        self._told: Iterator[object] = iter([object()])

    def report(self, server: str) -> object:
        return next(self._told, None)

    def known_in_s(self) -> float:
        return 0.0
