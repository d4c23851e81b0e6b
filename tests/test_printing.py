"""Escape all text for people, wherever it comes from."""

import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import structlog
from rich.console import Console

from syncd import log
from syncd.cli import explanation, preview, printing, status
from syncd.cli.progress_bars import ProgressBars
from syncd.connector import Finding
from syncd.daemon import status_line
from syncd.errors import ConfigError, Problem, Unavailable
from syncd.ledger import Booked
from syncd.text import visible
from tests.conftest import Command
from tests.world import World

ATTACKS = {
    "ESC": "\x1b]0;owned\x07\x1b[31mred\x1b[2J", "C1": "\x9b31mred\x9d0;t\x9c", "line break": "a\nforged\tline\rb",
    "separators": "a\u2028forged\u2029b\x85c", "bidi": "\u202egnp.exe\u2066", "markup": "[red]x[/] [bold]",
    "unbalanced": "[/x] [/]", "link": "[link=http://x.example]y[/link]", "emoji name": ":smile:", "backslash": "x\\",
    "surrogate": "\ud83d", "NUL": "a\x00b", "DEL": "\x7f", "zero width": "a\u200b\ufeffb", "tag": "\U000e0041",
}  # fmt: skip
AT = "2026-03-02T09:00:00.000Z"


def is_harmless(said: str) -> bool:
    return all(line.isprintable() for line in said.replace("\t", "").split("\n"))


@pytest.fixture(params=ATTACKS)
def attack(request: pytest.FixtureRequest) -> str:
    return ATTACKS[request.param]


def shown(attack: str, said: str) -> bool:
    """Tell whether the text stands there to be read, and not as markup."""
    return "".join(visible(attack).split()) in "".join(said.split())


def console() -> Console:
    return Console(file=io.StringIO(), width=1000, force_terminal=False)


def text_of(where: Console) -> str:
    assert isinstance(where.file, io.StringIO)
    return where.file.getvalue()


class Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def test_rich_is_asked_unless_the_answer_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator can have a pipe coloured, as by `FORCE_COLOR=1 syncd status | less -R`."""
    answers = set()
    for terminal, force, compatible in product((False, True), (None, "", "1"), (None, "", "0", "1")):
        monkeypatch.setattr("sys.stdout", Stream(terminal))
        for name, value in (("FORCE_COLOR", force), ("TTY_COMPATIBLE", compatible)):
            monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name, raising=False)
        found = printing.terminal() is not None
        assert found is Console().is_terminal, (terminal, force, compatible)
        answers.add((terminal, found))
    assert len(answers) == 4


def status_document(**values: Any) -> dict[str, Any]:
    """Return a document of `syncd status` with nothing in it but `values`."""
    return {
        "at": AT, "seen": 1, "balanced": True, "clock_confirmed": True, "next_attempt_at": None, "twins": 0,
        "activities": dict.fromkeys(("pending", "incomplete", "delivered", "skipped", "excluded", "dead"), 0),
        "verdicts": {}, "reasons": {"incomplete": {}, "excluded": {}, "dead": {}}, "filtered": [], "pauses": {},
        "pending": {"due": 0, "backing_off": {}, "refused": 0}, "sources": [], "ranges": [], "unread": [],
        "warnings": [], "sources_gone": [], "held_by": None, "overdue": False, "last_pass": None,
        "lanes": [], "replicas": [],
        "recotap": {"host": None, "last_answer_at": None, "last_error": None, "paused_until": None, "batch": 50,
                    "key_refused": False, "silent_since": None},
        **values,
    }  # fmt: skip


def said_to(where: Console, show: Callable[[Console], None]) -> str:
    """Return what `show` prints on a terminal, or on stdout if `where` is none."""
    with redirect_stdout(io.StringIO()) as piped:
        show(where)
    return text_of(where) if where.is_terminal else piped.getvalue()


def shown_status(document: dict[str, Any], where: Console) -> str:
    return said_to(where, partial(status.show, document))


def hostile(attack: str) -> dict[str, Any]:
    return status_document(
        twins=1,
        filtered=[{"source": attack, "stream": attack, "entry": attack, "count": 1}],
        reasons={"incomplete": {}, "dead": {attack: 1}, "excluded": {"filtered": 1}},
        pauses={attack: {"until": AT, "reason": attack}, "@recotap": {"until": AT, "reason": attack}},
        sources=[{"source": attack + "2", "stream": attack, "watermark": None, "last_success_at": None,
                  "last_error": attack}],
        ranges=[{"source": attack, "stream": attack, "since": AT, "until": AT, "why": "gap", "read_to": None,
                 "last_error": attack, "next_attempt_at": None}],
        recotap={"host": attack, "last_answer_at": None, "last_error": attack, "paused_until": AT, "batch": 50,
                 "key_refused": False, "silent_since": None},
        unread=[{"source": attack, "what": attack, "count": 1, "looks_like": "call"}],
        warnings=[{"source": attack, "message": attack}], sources_gone=[attack], held_by=attack,
        last_pass={"started_at": AT, "finished_at": None, "exit_code": None},
        lanes=[{"source": attack, "state": "overdue", "holder": attack, "late_s": 400.0}],
        replicas=[{"name": attack, "slots": 8, "lanes": 0, "renewed_s": 1.0, "is_alive": True}],
    )  # fmt: skip


@pytest.mark.parametrize("terminal", [False, True])
def test_status_escapes_sources_streams_errors_reasons_and_pauses(attack: str, terminal: bool) -> None:
    where = Console(file=io.StringIO(), width=1000, force_terminal=terminal, color_system=None)
    said = shown_status(hostile(attack), where)
    assert is_harmless(said)
    assert shown(attack, said)
    assert said.count("forged") in (0, 32 if terminal else 42), "in each of its places"
    assert not re.search("(?m)^forged", said)


LONG = "HubSpot, calls search: the access token was refused (401); " * 3


def long_document() -> dict[str, Any]:
    names = [("hubspot", "calls"), ("salesforce-of-the-north", "email_tasks")]
    stream = {"watermark": AT, "last_success_at": AT, "last_error": LONG}
    return status_document(
        next_attempt_at=AT, pauses={"@recotap": {"until": AT, "reason": LONG}},
        sources=[{"source": source, "stream": name, **stream} for source, name in names],
        ranges=[{"source": "hubspot", "stream": "calls", "since": AT, "until": AT, "why": "gap", "read_to": AT,
                 "last_error": LONG, "next_attempt_at": AT}],
        recotap={"host": "eapi.recotap.com", "last_answer_at": AT, "last_error": LONG, "paused_until": AT, "batch": 50,
                 "key_refused": False, "silent_since": AT},
        last_pass={"started_at": AT, "finished_at": AT, "exit_code": 0},
        activities={"pending": 1_234_567, "incomplete": 0, "delivered": 0, "skipped": 0, "excluded": 0, "dead": 9},
        pending={"due": 1_000_000, "backing_off": {"failed": 234_560}, "refused": 7},
    )  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 120])
def test_status_on_a_terminal_breaks_no_time_across_lines(width: int, in_zone: Callable[[str], None]) -> None:
    """Not beside long names, nor beside a long error. The times are in the local zone, and each has its age."""
    in_zone("Asia/Kolkata")
    where = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    said = shown_status(long_document(), where)
    assert max(len(line) for line in said.splitlines()) <= width
    assert said.count("2026-03-02T14:30") == len(re.findall(r"2026-03", said)) == 15
    assert "times: IST, UTC+05:30" in said
    assert "09:00" not in said
    assert "1,234,567" in said


def test_status_in_a_pipe_is_one_fact_a_line_in_utc_however_narrow_the_terminal_is() -> None:
    said = shown_status(long_document(), Console(file=io.StringIO(), width=20, force_terminal=False))
    lines = said.splitlines()
    assert lines[0].startswith("summary: Needs you: Recotap refuses 7 of the pending activities")
    assert f"source hubspot calls, last success: {AT} (just now)" in lines
    assert f"last error: hubspot calls: {LONG}" in lines
    assert "pending, refused: 7 (Recotap's validation, or a firewall before it, refuses this one)" in lines
    assert "pending, due: 1000000 (goes out in the next pass that reaches Recotap)" in lines
    assert f"Recotap, takes nothing since: {AT} (just now)" in lines
    assert not set(said) & set("│─┼━╭")


def explained(attack: str) -> dict[str, Any]:
    return {
        "external_activity_id": attack, "source": attack, "stream": attack, "crm_id": attack, "kind": "call",
        "occurred_at": AT, "first_seen_at": AT, "updated_at": AT, "state": "pending", "reason": attack,
        "verdict": "failed", "detail": attack, "next_attempt_at": AT, "changed_after_delivery": False,
        "clock_confirmed": True, "twins": [attack], "url": attack, "domain": attack, "owner": attack,
        "paused_until": None, "rewound_at": None, "gives_up_at": AT, "payload": {attack: [attack]},
        "payload_read_at": None, "attempts": [{"at": AT, "verdict": "failed", "detail": attack}],
    }  # fmt: skip


@pytest.mark.parametrize("terminal", [False, True])
def test_explain_escapes_ids_details_attempts_and_the_payload(attack: str, terminal: bool) -> None:
    where = Console(file=io.StringIO(), width=1000, force_terminal=terminal, color_system=None)
    said = said_to(where, partial(explanation.show, explained(attack), datetime.fromisoformat(AT)))
    assert is_harmless(said)
    assert shown(attack, said)
    assert not re.search("(?m)^forged", said)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_explain_folds_long_texts_on_a_terminal_and_not_in_a_pipe(width: int) -> None:
    document = explained("a") | {"detail": LONG, "payload": None}
    folded, whole = (
        said_to(
            Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None),
            partial(explanation.show, document, datetime.fromisoformat(AT)),
        )
        for terminal in (True, False)
    )
    assert max(len(line) for line in folded.splitlines()) <= width
    assert f"detail        {LONG}" in whole.splitlines()


def test_explain_has_times_in_the_local_zone_on_a_terminal_and_names_it(in_zone: Callable[[str], None]) -> None:
    in_zone("Asia/Kolkata")
    local, piped = (
        said_to(
            Console(file=io.StringIO(), width=100, force_terminal=terminal, color_system=None),
            partial(explanation.show, explained("a"), datetime.fromisoformat(AT)),
        )
        for terminal in (True, False)
    )
    assert re.search(r"(?m)^happened +2026-03-02T14:30 ", local)
    assert re.search(r"(?m)^times +IST, UTC\+05:30 *$", local)
    assert f"happened      {AT} " in piped
    assert "times" not in piped


def test_errors_findings_and_rows_are_escaped(attack: str, capsys: pytest.CaptureFixture[str]) -> None:
    from syncd.cli.commands.options import print_finding

    printing.error(Unavailable(attack, hint=attack))
    printing.error(ConfigError([Problem(attack, attack, attack)], where=attack))
    print_finding(Finding(attack, False, attack, attack))
    printing.row(attack, attack)
    said = capsys.readouterr()
    assert is_harmless(said.err)
    assert is_harmless(said.out)
    assert said.out.count("\n") == 3
    assert said.out.splitlines()[-1].count("\t") == 1
    assert shown(attack, said.out)


def test_json_is_ascii_and_the_same_value(attack: str, capsys: pytest.CaptureFixture[str]) -> None:
    printing.document({attack: attack})
    said = capsys.readouterr().out
    assert said.isascii()
    assert is_harmless(said)
    assert json.loads(said) == {attack: attack}


@pytest.mark.parametrize("terminal", [True, False])
def test_a_log_line_holds_nothing_that_a_terminal_obeys(
    attack: str, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    monkeypatch.setenv("NO_COLOR", "1")
    stream = Stream()
    log.configure(stream=stream)
    structlog.get_logger().error("pull.failed", error=attack, what={attack: [attack]}, **{attack: 1})
    try:
        raise TypeError(attack)
    except TypeError as error:
        structlog.get_logger().error("pull.bug", exc_info=error)
    assert is_harmless(stream.getvalue())
    assert not re.search("(?m)^forged", stream.getvalue())


def test_a_log_line_of_4_mb_is_truncated_before_it_is_searched() -> None:
    stream = io.StringIO()
    log.configure(stream=stream)
    structlog.get_logger().error("pull.failed", error="kaya@amber-bolts.example " * 160_000)
    assert len(stream.getvalue()) < 10_000


def test_the_daemons_status_line_is_one_harmless_line(attack: str) -> None:
    now = datetime(2026, 3, 2, tzinfo=UTC)
    line = status_line.idle(
        None, Unavailable(attack), ended_at=now, counts={}, next_at=now + timedelta(hours=1), now=now
    )
    assert line.isprintable()
    assert status_line.running(("x",), where="y", read=1, delivered=0, failure=Unavailable(attack)).isprintable()


def test_progress_bars_show_a_streams_name_as_it_is(attack: str) -> None:
    where = Console(file=io.StringIO(), width=300, force_terminal=True, color_system=None, force_interactive=True)
    with ProgressBars(where) as bars:
        bars.read("hubspot", attack, Booked(new=1), 1)
    said = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", text_of(where)).replace("\r", "")  # the bars' own movements
    assert is_harmless(said)
    assert shown(attack, said)


def test_a_preview_escapes_the_records_texts_and_the_origins(attack: str, capsys: pytest.CaptureFixture[str]) -> None:
    document = {
        "external_activity_id": attack, "state": "incomplete", "reason": "no_contact", "detail": attack, "missing": [],
        "payload": {"callTitle": attack, "contacts": [{"name": attack}]},
        "provenance": {"callTitle": {"from": attack, "rule": attack}},
    }  # fmt: skip
    where = console()
    preview.show(document, where)
    preview.show(document)
    piped = capsys.readouterr().out
    for said in (text_of(where), piped):
        assert is_harmless(said)
        assert shown(attack, said)
    assert {line.count("\t") for line in piped.splitlines()} == {4}


def test_an_attack_in_the_ledger_reaches_no_terminal(live: World, command: Command, tmp_path: Path) -> None:
    live.call(contacts=[])
    command("sync", "-c", live.config_file)
    everything = "".join(text for name, text in ATTACKS.items() if name != "surrogate")
    for sql in ("UPDATE activities SET detail = ?, reason = ?", "UPDATE streams SET last_error = ?, stream = ? || id"):
        live.sql(sql, everything, everything)
    live.sql("UPDATE activities SET external_activity_id = ?, crm_id = ?", everything, everything)
    live.sql(
        "INSERT INTO pauses (name, until, reason) VALUES (?, '2999-01-01T00:00:00.000Z', ?)", everything, everything
    )
    for line in (["status"], ["status", "--json"], ["check"], ["health"], ["sync", "--dry-run"]):
        ran = command(*line, "-c", live.config_file)
        assert is_harmless(ran.out), line
        assert is_harmless(ran.err), line
        assert "Traceback" not in ran.err
    for line in (["explain", everything], ["explain", everything, "--json"]):
        ran = command(*line, "-c", live.config_file)
        assert (ran.code, is_harmless(ran.out)) == (0, True)
