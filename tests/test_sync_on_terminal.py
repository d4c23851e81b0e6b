"""On a terminal `syncd sync` asks before the first pass, shows how far it is, and ends in one sentence."""

import io
import os
import pty
import re
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import typer
from rich.console import Console

from connectors.hubspot import HubSpot
from syncd.cli import asking, closing, first_sync
from syncd.cli.progress_bars import ProgressBars
from syncd.errors import Exit, Stopped, Unavailable
from syncd.ledger import Booked, LedgerHandle
from syncd.lifecycle.states import Verdict
from syncd.passes import counting
from syncd.passes.dispatch import Totals
from syncd.passes.report import NullObserver, PassResult, StreamTotals
from syncd.sandbox.standin.faults import Fault
from tests.conftest import Command
from tests.orgs import OrgWorld
from tests.poisoned import poisoned
from tests.test_log import Terminal
from tests.world import World


class Counting(NullObserver):
    """An observer that asks for totals."""

    wants_totals = True

    def __init__(self) -> None:
        self.totals: dict[tuple[str, str], int] = {}
        self.seen: Counter[tuple[str, str]] = Counter()

    def expected(self, source: str, stream: str, count: int) -> None:
        self.totals[source, stream] = count

    def read(self, source: str, stream: str, booked: Booked, count: int) -> None:
        self.seen[source, stream] += count


def on_terminal(world: World, *arguments: str, typed: str = "") -> tuple[int, str]:
    """Run a command with all three streams on a terminal. Return its exit code and what it showed, without colours."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    command = [sys.executable, "-m", "syncd", *arguments, "-c", str(world.config_file)]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        os.write(master, typed.encode())
        shown = b""
        try:
            while select.select([master], [], [], 30)[0]:
                shown += os.read(master, 65536)
        except OSError:  # the other end is closed
            pass
        os.close(master)
    return process.returncode, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "")


# -- before the first pass ------------------------------------------------------------------


def test_the_first_sync_says_how_much_there_is_and_asks(live: World) -> None:
    live.calls(3)
    live.email()
    code, shown = on_terminal(live, "sync", typed="y\n")
    assert code == 0
    assert "hubspot calls, changed since 2026-01-01: 3\n" in shown
    assert "hubspot emails, changed since 2026-01-01: 1\n" in shown
    assert "Up to 4 activities will be sent, and Recotap takes nothing back.\n" in shown
    assert len(live.delivered) == 4
    assert re.search(r"\nDone in \d+ s: read 4, sent 4 \(4 created\)\. Next: nothing, or `syncd run`", shown)
    assert "3/3" in shown


def test_no_ends_it_before_anything_is_read(live: World, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    live.call()
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stderr", said := Terminal())
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: False)
    assert command("sync", "-c", live.config_file).code == 0
    assert "nothing was read, nothing was sent" in said.getvalue()
    assert not live.ledger.exists()


def confirmed(world: World, monkeypatch: pytest.MonkeyPatch, answer: Any) -> bool:
    """Return whether a sync goes on after `answer`."""

    def confirm(*_: object, **__: object) -> bool:
        if isinstance(answer, bool):
            return answer
        raise answer

    monkeypatch.setattr(typer, "confirm", confirm)
    monkeypatch.setattr(asking, "sleep", lambda seconds: None)
    config = world.config()
    return first_sync.confirm(config, config.sources)


NEVER = AssertionError("it asks")


def test_it_asks_until_a_window_was_read_to_its_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.calls(2)
    assert not confirmed(world, monkeypatch, False)
    with poisoned(world.hubspot, "", path="/search"):
        world.sync()
    assert not confirmed(world, monkeypatch, False)
    world.sync()
    assert confirmed(world, monkeypatch, NEVER)


def test_it_does_not_ask_if_the_ledger_is_held_or_unreadable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with LedgerHandle(world.ledger).hold("run"):
        assert confirmed(world, monkeypatch, NEVER)
    world.ledger.write_bytes(b"this is not a database, and far too short for one" * 100)
    assert confirmed(world, monkeypatch, NEVER)


def test_ctrl_c_at_the_question_ends_with_130(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(typer.Exit) as left:
        confirmed(world, monkeypatch, typer.Abort())
    assert left.value.exit_code == Exit.SIGINT


def test_a_stream_that_cannot_be_counted_says_why(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.calls(2)
    world.hubspot.set(tokens={})
    assert confirmed(world, monkeypatch, True)
    shown = capsys.readouterr().err
    assert re.search(r"hubspot calls, changed since 2026-01-01: not counted, .*token", shown)
    assert "0 activities or more will be sent" in shown


def test_a_source_that_cannot_begin_does_not_keep_the_others_from_being_counted(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(HubSpot):
        def __init__(self, config: Any, context: Any) -> None:
            raise Unavailable("no such proxy")

    world.call()
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: True)
    monkeypatch.setattr(asking, "sleep", lambda seconds: None)
    config = world.config()
    (source,) = config.sources
    assert first_sync.confirm(config, [replace(source, name="broken", connector=Broken), source])
    shown = capsys.readouterr().err
    assert "broken calls, changed since 2026-01-01: not counted, no such proxy\n" in shown
    assert "hubspot calls, changed since 2026-01-01: 1\n" in shown


def test_without_a_terminal_it_never_asks(live: World, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_sync, "confirm", lambda *_: pytest.fail("it asks"))
    live.call()
    with live.counted() as requests:
        assert command("sync", "-c", live.config_file).code == 0
    assert requests["search"] == 2, "and counts nothing"


@pytest.mark.parametrize("arguments", [["--yes"], ["--limit", "1"], ["--only", "4711"]])
def test_an_operator_who_said_how_much_is_not_asked(
    live: World, command: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr(first_sync, "confirm", lambda *_: pytest.fail("it asks"))
    command("sync", *arguments, "-c", live.config_file)


# -- meanwhile ------------------------------------------------------------------------------


def test_each_window_is_counted_with_one_request_if_somebody_looks(world: World) -> None:
    world.calls(5)
    world.email()
    with world.counted() as before:
        world.sync()
    world.later(minutes=5)
    observer = Counting()
    with world.counted() as requests:
        world.sync(observer=observer)
    assert observer.totals == {("hubspot", "calls"): 5, ("hubspot", "emails"): 1}
    assert observer.seen == observer.totals
    assert requests["search"] == before["search"] + 2


def test_a_window_that_cannot_be_counted_is_read_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> int:
        raise Unavailable("no total")

    monkeypatch.setattr(counting, "records", fails)
    call, observer = world.call(), Counting()
    assert world.sync(observer=observer).exit_code == Exit.OK
    assert (observer.totals, world.delivered) == ({}, {call})


def test_a_stop_while_counting_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*_: object) -> int:
        raise Stopped("stopped by a signal")

    monkeypatch.setattr(counting, "records", stops)
    with pytest.raises(Stopped):
        counting.announce(None, "calls", (), lambda event: None)  # type: ignore[arg-type]


def test_the_records_of_an_org_are_counted_too(orgs: OrgWorld) -> None:
    for _ in range(3):
        orgs.task()
    orgs.mail()
    observer = Counting()
    orgs.sync(observer=observer)
    assert observer.totals == observer.seen == {
        ("salesforce", "calls"): 3, ("salesforce", "emails"): 1, ("salesforce", "email_tasks"): 0,
    }  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_bars_show_totals_and_the_time_left(width: int) -> None:
    where = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, force_interactive=True)
    with ProgressBars(where) as bars:
        bars.expected("hubspot", "calls", 400)
        bars.read("hubspot", "calls", Booked(new=90), 100)
        bars.read("hubspot", "calls", Booked(new=20), 100)
        bars.read("hubspot", "emails", Booked(new=1), 5)
        bars.sent(Totals(posts=3, verdicts=Counter({Verdict.CREATED: 50})))
        bars._progress.refresh()  # otherwise ten times a second
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", where.file.getvalue())  # type: ignore[attr-defined]
        bars.read("hubspot", "calls", Booked(), 300)
        bars.expected("hubspot", "emails", 90)
    lines = shown.replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= width
    if width >= 80:
        assert any(re.search(r"from hubspot calls .*200/400 +110 new +\S+ left", line) for line in lines)
        assert any(re.search(r"from hubspot emails .*5/\? +1 new", line) for line in lines)
    assert "5/90" in where.file.getvalue(), "what was not read stays visible"  # type: ignore[attr-defined]
    assert "500/500" in where.file.getvalue(), "what comes on top raises the total"  # type: ignore[attr-defined]


# -- at the end -----------------------------------------------------------------------------


def outcome(code: Exit, *, read: int = 340, died: int = 0, **verdicts: int) -> PassResult:
    counts = Counter({Verdict(name): count for name, count in verdicts.items()})
    streams = {("hubspot", "calls"): StreamTotals(read=read - 10), ("hubspot", "emails"): StreamTotals(read=10)}
    return PassResult(code, Totals(posts=3, sent=sum(verdicts.values()), verdicts=counts, died=died), streams)


def held(pending: int = 0, **incomplete: int) -> dict[str, Any]:
    return {
        "activities": {"pending": pending, "incomplete": sum(incomplete.values())},
        "reasons": {"incomplete": incomplete},
    }


def test_a_pass_ends_in_one_sentence() -> None:
    result = outcome(Exit.OK, created=118, duplicate=2, bystander=40, unanswered=3)
    assert closing.told(result, 12.2, held(no_contact=5, settling=2)) == (
        "Done in 12 s: read 340, sent 120 (118 created, 2 duplicate), 7 wait for data (no_contact 5, settling 2). "
        "Next: `syncd list --state incomplete`."
    )
    many = held(pending=3, no_contact=5, settling=2, no_domain=1, unfinished=1)
    assert "9 wait for data (no_contact 5, settling 2, no_domain 1, …), 3 wait to be sent." in closing.told(
        result, 1, many
    )
    assert closing.told(outcome(Exit.OK, read=10), 200, held()) == (
        "Done in 3 min 20 s: read 10, sent 0. Next: nothing, or `syncd run` to let passes follow."
    )
    assert "Next: `syncd status` shows when they are sent." in closing.told(result, 1, held(pending=3))


@pytest.mark.parametrize("code", [code for code in Exit if code not in (Exit.USAGE, Exit.HELD)])
def test_each_exit_code_has_a_beginning_and_a_next_step(code: Exit) -> None:
    said = closing.told(outcome(code, read=10, failed=1), 1, held())
    begins = {Exit.OK: "Done", Exit.DIED: "Done", Exit.SIGINT: "Stopped", Exit.SIGTERM: "Stopped"}
    assert said.startswith(begins.get(code, "Ended with errors"))
    assert re.search(r"sent 1 \(1 failed\)\. Next: .+\.$", said)
    assert (code == Exit.OK) == ("nothing, or `syncd run`" in said)
    assert "\n" not in said


@pytest.mark.parametrize("code", [code for code in Exit if code not in (Exit.USAGE, Exit.HELD)])
def test_no_two_exit_codes_that_call_for_different_steps_say_the_same(code: Exit) -> None:
    said = {each: closing.told(outcome(each), 1, held()).partition("Next")[2] for each in Exit}
    alike = {each for each in Exit if said[each] == said[code]} - {Exit.USAGE, Exit.HELD}
    assert alike == {code} or alike == {Exit.SIGINT, Exit.SIGTERM}


def test_an_id_that_nobody_knows_decides_the_next_step(
    live: World, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", said := Terminal())
    assert command("sync", "--only", "4711", "-c", live.config_file).code == Exit.NO_SUCH_ACTIVITY
    assert "Next: look the id up in the CRM" in said.getvalue()


@pytest.mark.parametrize(
    ("limit", "follows"), [("1", "then `syncd sync` reads and sends the rest"), ("9", "`syncd run`")]
)
def test_after_a_canary_the_rest_is_next(
    live: World, command: Command, monkeypatch: pytest.MonkeyPatch, limit: str, follows: str
) -> None:
    live.calls(3)
    monkeypatch.setattr("sys.stderr", said := Terminal())
    assert command("sync", "--limit", limit, "-c", live.config_file).code == 0
    assert follows in " ".join(said.getvalue().split())


def test_it_is_printed_on_the_terminal_whichever_stream_that_is(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result, ledger = world.sync(), LedgerHandle(world.ledger)
    for out, err in ((True, True), (False, True), (False, False)):
        monkeypatch.setattr("sys.stdout.isatty", lambda out=out: out)
        monkeypatch.setattr("sys.stderr.isatty", lambda err=err: err)
        closing.say(ledger, result, 1.0)
        said = capsys.readouterr()
        assert ("Done in" in said.out, "Done in" in said.err) == (out, err and not out)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    closing.say(LedgerHandle(world.path / "none.db"), result, 1.0)
    assert "Done in 1 s: read 0, sent 0. Next" in capsys.readouterr().err


@pytest.mark.parametrize(("form", "is_said"), [("text", True), ("json", False)])
def test_a_log_in_json_has_no_sentence_after_it(
    live: World, command: Command, monkeypatch: pytest.MonkeyPatch, form: str, is_said: bool
) -> None:
    monkeypatch.setattr("sys.stderr", said := Terminal())
    assert command("sync", "--yes", "--log-format", form, "-c", live.config_file).code == 0
    assert ("Done in" in said.getvalue()) is is_said


def refuse_the_token(world: World) -> None:
    world.hubspot.set(tokens={})


def take_recotap_down(world: World) -> None:
    world.recotap.faults.add(Fault(match="sales-activities", status=503, headers={"Retry-After": "3600"}, count=None))


def remove_a_row(world: World) -> None:
    world.sync()
    world.sql("DELETE FROM activities")


@pytest.mark.parametrize(
    ("harm", "code", "follows"),
    [
        (refuse_the_token, Exit.UNAUTHORIZED, "renew the key or grant the scope that is named above"),
        (take_recotap_down, Exit.UNAVAILABLE, "nothing, the next pass goes on"),
        (remove_a_row, Exit.UNBALANCED, "`syncd ledger recount`"),
    ],
)
def test_a_pass_that_failed_says_so_and_what_to_do(
    live: World, command: Command, monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[World], None], code: Exit, follows: str,
) -> None:  # fmt: skip
    live.call()
    harm(live)
    monkeypatch.setattr("sys.stderr", said := Terminal())
    assert command("sync", "--yes", "-c", live.config_file).code == code
    assert re.search(rf"Ended with errors in \d+ s: read \d+, sent \d+.*\. Next: {follows}", said.getvalue())
