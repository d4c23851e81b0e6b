"""A pass counts a source's rows by kind once a day, and `check` and `status` show what no stream reads."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from connectors.hubspot import HubSpot
from syncd.cli import printing
from syncd.cli import scope as cli_scope
from syncd.connector import Context, RowKind, Scope
from syncd.errors import Exit, Stopped, Unavailable
from syncd.ledger import LedgerHandle
from syncd.normalize.rules import Rules
from syncd.passes import kept_scopes, scopes
from syncd.passes.dry_run import DryRun
from syncd.passes.store import PassStore
from syncd.signals import StopRequest
from tests.conftest import Command
from tests.world import World

READ = RowKind("calls", {"hs_call_status": "COMPLETED"}, 40, "call")
LOST = RowKind("calls", {"hs_call_status": "QUEUED"}, 12, None)
OTHERS = RowKind("notes", {}, 5, None)


@dataclass
class Asked:
    """The requests for a scope, and their answer."""

    answer: Callable[[], Scope] = lambda: Scope([READ, LOST, OTHERS], ["look here"])
    since: list[datetime] = field(default_factory=list)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Replace HubSpot's scope by one that the test decides."""
    asked = Asked()

    def scope(self: Any, since: datetime) -> Scope:
        asked.since.append(since)
        return asked.answer()

    monkeypatch.setattr(HubSpot, "scope", scope, raising=False)
    return asked


def kept(world: World) -> Any:
    found = world.sql("SELECT value FROM store WHERE key = ?", kept_scopes.KEPT)
    return json.loads(found[0][0]) if found else None


def two_passes(world: World) -> None:
    """Make the first pass, and one an hour later, in which the first refresh is due."""
    world.sync()
    world.later(minutes=61)
    world.sync()


def test_the_first_pass_asks_nothing_the_next_one_after_an_hour_does_and_then_one_a_day(
    world: World, asked: Asked
) -> None:  # fmt: skip
    world.call()
    world.sync()
    world.later(minutes=50)
    world.sync()
    assert asked.since == []
    world.later(minutes=11)
    world.sync()
    assert asked.since == [world.now() - timedelta(days=30)]
    for _ in range(23):
        world.later(hours=1)
        world.sync()
    assert len(asked.since) == 1
    world.later(hours=1)
    world.sync()
    assert len(asked.since) == 2
    assert [each["count"] for each in kept(world)["kinds"]] == [40, 12, 5]


def test_a_changed_table_of_a_stream_makes_a_refresh_due_at_once(world: World, asked: Asked) -> None:
    source = world.config().sources[0]
    store = PassStore({}, world.now)
    store.put(scopes.DUE, scopes._next(source, world.now() + timedelta(hours=5)))
    assert not scopes._is_due(store, source, world.now())
    store.put(scopes.DUE, {**scopes._next(source, world.now() + timedelta(hours=5)), "tables": "another"})
    assert scopes._is_due(store, source, world.now())


def test_a_clock_that_was_set_back_by_months_puts_no_refresh_off_for_months(world: World, asked: Asked) -> None:
    world.sync()
    world.at -= timedelta(days=100)
    world.sync()
    assert len(asked.since) == 1


@pytest.mark.parametrize("error", [Unavailable("HubSpot: too slow", hint="wait"), RuntimeError("a bug")])
def test_a_failure_fails_nothing_keeps_what_is_kept_and_is_tried_again_in_an_hour(
    world: World, asked: Asked, error: Exception
) -> None:  # fmt: skip
    two_passes(world)
    before = kept(world)
    asked.answer = lambda: (_ for _ in ()).throw(error)
    world.later(days=1)
    call = world.call()
    with structlog.testing.capture_logs() as logs:
        result = world.sync()
    assert (result.exit_code, result.errors, world.state(call)) == (Exit.OK, (), "delivered")
    (line,) = [each for each in logs if each["event"].startswith("scope.")]
    again = "no activity is affected, and a pass counts again in an hour. `syncd scope` counts at once"
    assert line["hint"] == (again if isinstance(error, Unavailable) else "report it. No activity is affected")
    assert kept(world) == before
    world.later(minutes=50)
    world.sync()
    assert len(asked.since) == 2
    world.later(minutes=11)
    world.sync()
    assert len(asked.since) == 3


def test_counts_that_the_ledger_cannot_hold_are_a_bug_of_the_connector_and_fail_nothing(
    world: World, asked: Asked
) -> None:  # fmt: skip
    asked.answer = lambda: Scope([RowKind("calls", {"status": cast("Any", b"done")}, 1, "call")])
    world.sync()
    world.later(hours=2)
    call = world.call()
    with structlog.testing.capture_logs() as logs:
        assert world.sync().exit_code == Exit.OK
    told = [(each["event"], each["hint"]) for each in logs if each["event"].startswith("scope.")]
    assert told == [("scope.bug", "report it. No activity is affected")]
    assert (world.state(call), kept(world)) == ("delivered", None)


def test_a_stop_ends_a_refresh_and_the_next_pass_makes_it(world: World, asked: Asked) -> None:
    world.sync()
    world.later(hours=2)
    answer, stop = asked.answer, StopRequest()

    def stopped() -> Scope:
        stop.request(15)
        raise Stopped("stopped by a signal")

    asked.answer = stopped
    assert world.sync(stop=stop).exit_code == Exit.SIGTERM
    assert kept(world) is None
    asked.answer = answer
    world.sync()
    assert kept(world) is not None


def test_a_paused_source_and_a_dry_run_are_not_asked(world: World, asked: Asked) -> None:
    world.sync()
    world.later(hours=2)
    list(DryRun(world.config().sources, world.config().rules.to_rules(), ledger=LedgerHandle(world.ledger),
                stop=StopRequest(), now=world.now).readings())  # fmt: skip
    world.sql(
        "INSERT INTO pauses (name, until, reason) VALUES ('hubspot', ?, 'quota')",
        (world.now() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    )
    world.sync()
    assert asked.since == []


class Silent:
    """A connector of a plug-in that counts nothing by kind."""

    streams = ()

    def __init__(self, config: Any, context: Context) -> None: ...

    def close(self) -> None: ...


def test_a_connector_without_a_scope_is_none_the_worse(world: World) -> None:
    source = replace(world.config().sources[0], connector=cast("Any", Silent))
    store = PassStore({scopes.DUE: (scopes._next(source, world.now()), world.now())}, world.now)
    scopes.refresh_if_due(source, cast("Any", Silent(None, cast("Any", None))), store, Rules(), world.now())
    assert store.take_changes() == {}
    (answer,) = cli_scope.answers(world.config(), [source], world.now())
    assert (answer.error, answer.document["warnings"]) == (None, [cli_scope.SILENT])


def test_the_log_has_the_counts_and_the_warnings(world: World, asked: Asked) -> None:
    world.sync()
    world.later(hours=2)
    with structlog.testing.capture_logs() as logs:
        world.sync()
    (counted,) = [each for each in logs if each["event"] == "scope.counted"]
    (warned,) = [each for each in logs if each["event"] == "scope.warned"]
    assert (counted["call"], counted["email"], counted["unread"]) == (40, 0, 17)
    assert (warned["error"], "syncd scope" in warned["hint"]) == ("look here", True)


# -- status and check ---------------------------------------------------------------------


def test_status_shows_what_is_not_read(world: World, asked: Asked, command: Command) -> None:
    world.write_config()
    assert json.loads(command("status", "-c", world.config_file, "--json").out or "{}").get("unread", []) == []
    two_passes(world)
    document = json.loads(command("status", "-c", world.config_file, "--json").out)
    assert document["unread"] == [
        {"source": "hubspot", "what": "calls hs_call_status=QUEUED", "count": 12, "looks_like": "call"},
        {"source": "hubspot", "what": "notes", "count": 5, "looks_like": None},
    ]
    assert document["warnings"] == [{"source": "hubspot", "message": "look here"}]
    out = command("status", "-c", world.config_file).out
    assert "needs you: hubspot: look here" in out
    assert "not read: hubspot calls hs_call_status=QUEUED: 12\n" in out
    assert "not read: rows of other kinds: 5, see `syncd scope`" in out


def test_check_shows_what_is_not_read_and_each_warning(world: World, asked: Asked, command: Command) -> None:
    two_passes(world)
    out = command("check", "-c", world.config_file).out
    assert "ok    hubspot: kinds of rows: not read, though it looks like a call or an email" in out
    assert "calls hs_call_status=QUEUED (12)" in out
    assert "warn  hubspot: kinds of rows: look here" in out
    assert "`syncd scope` shows all rows by kind. README explains which rows are calls and emails" in out
    assert "notes" not in out


def test_check_says_if_all_is_read(world: World, asked: Asked, command: Command) -> None:
    asked.answer = lambda: Scope([READ, OTHERS])
    two_passes(world)
    assert (
        "kinds of rows: all that look like a call or an email are read" in command("check", "-c", world.config_file).out
    )


# -- syncd scope --------------------------------------------------------------------------


def test_the_command_shows_each_kind_with_its_mark_in_a_line_of_its_own(
    world: World, asked: Asked, command: Command
) -> None:  # fmt: skip
    asked.answer = lambda: Scope([READ, RowKind("calls", {"x": "y" * 70}, 3, None, approximate=True)], ["look here"])
    ran = command("scope", "-c", world.write_config(), "--days", "7")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].split() == ["hubspot", "call", "40", "calls", "hs_call_status=COMPLETED"]
    assert lines[1].split() == ["hubspot", "not", "read", "about", "3", "calls", f"x={'y' * 70}"]
    assert lines[2].split() == ["hubspot", "warning", "look", "here"]
    assert len(lines) == 3
    assert not world.ledger.exists(), "it writes nothing"


def test_the_command_in_json_is_the_contracts_document(world: World, asked: Asked, command: Command) -> None:
    ran = command("scope", "-c", world.write_config(), "--json")
    document = json.loads(ran.out)
    assert ran.code == 0
    (source,) = document["sources"]
    assert (source["source"], source["warnings"]) == ("hubspot", ["look here"])
    assert source["kinds"][0] == {
        "object": "calls", "fields": {"hs_call_status": "COMPLETED"}, "count": 40, "read_as": "call",
        "approximate": False,
    }  # fmt: skip
    since = datetime.fromisoformat(document["since"])
    assert abs(asked.since[0] - since) < timedelta(milliseconds=2)


@pytest.mark.parametrize("days", ["0", "3651"])
def test_days_have_bounds(world: World, command: Command, days: str) -> None:
    ran = command("scope", "-c", world.write_config(), "--days", days)
    assert (ran.code, "from 1 to 3650" in " ".join(ran.err.split())) == (2, True)


def test_one_source_that_fails_stops_no_other_and_gives_the_exit_code(
    world: World, asked: Asked, command: Command
) -> None:  # fmt: skip
    world.configure("sources.hubspot")
    world.configure("sources.second", **world.source())
    answers: Iterator[Scope | Exception] = iter([Unavailable("HubSpot: no answer", hint="see the page"), Scope([READ])])

    def answer() -> Scope:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    asked.answer = answer
    ran = command("scope", "-c", world.write_config(), "--json")
    document = json.loads(ran.out)
    assert (ran.code, [len(each["kinds"]) for each in document["sources"]]) == (69, [0, 1])
    assert document["sources"][0]["error"] == "HubSpot: no answer"
    assert "hubspot was not counted:\nsyncd: HubSpot: no answer\n  → see the page" in ran.err
    asked.answer = lambda: (_ for _ in ()).throw(Unavailable("HubSpot: no answer"))
    assert command("scope", "-c", world.config_file, "--source", "second").err.startswith("second was not counted:")


def test_a_terminal_folds_long_lines_below_their_text(
    world: World, asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    for width in (60, 80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr("syncd.cli.scope.sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
        lines: list[str] = []
        monkeypatch.setattr(printing, "line", lines.append)
        kind = {"object": "Task", "fields": {"a": "b" * 30, "c": "d" * 30, "e": "f" * 30}, "count": 3,
                "read_as": None, "approximate": False}  # fmt: skip
        cli_scope.show(cli_scope.Answer("salesforce", {"kinds": [kind], "holders": [], "warnings": []}))
        assert max(map(len, lines)) <= width
        assert "".join("".join(lines).split()).endswith("f" * 30)
