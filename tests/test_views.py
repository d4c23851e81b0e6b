"""What a command shows on a terminal of 60, 80 and 120 columns, and in a pipe: no word, id or setting is cut."""

import io
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from syncd import clock
from syncd.cli import accounts, closing, dry_run, printing, status, verification
from syncd.cli.accounts import Answer, Unknown
from syncd.cli.status import tables
from syncd.errors import Exit, NoSuchActivity
from syncd.ledger import LedgerHandle
from syncd.lifecycle.reasons import Reason
from syncd.passes.jobs import Totals
from syncd.passes.report import PassResult
from syncd.passes.verify import Compared
from tests.test_printing import AT, status_document
from tests.world import World

WHEN = clock.instant(AT)
WIDTHS = (60, 80, 120)
HINT = "give the externalActivityId or the CRM's id, as `syncd list --state incomplete --since 2026-01-01` prints them"


class Terminal(io.StringIO):
    """A terminal without a file behind it: COLUMNS tells its width."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        return self.getvalue().splitlines()


Put = Callable[[str], Terminal]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


@pytest.fixture(params=WIDTHS)
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Put:
    """Return a function that puts a terminal in the place of stdout or stderr. pytest's own takes the place before."""

    def put(name: str) -> Terminal:
        monkeypatch.setattr(sys, name, found := Terminal())
        return found

    return put


def test_an_error_and_its_hint_are_folded_between_words_behind_their_indent(columns: int, terminal: Put) -> None:
    err = terminal("stderr")
    printing.error(NoSuchActivity("the ledger holds no activity 'hubspot-call-4711'", hint=HINT))
    lines = err.lines()
    assert max(map(len, lines)) <= columns
    assert " ".join(" ".join(lines).split()).endswith(f"→ {HINT}")
    assert all(line.startswith("    ") for line in lines[2:])


def test_in_a_pipe_an_error_is_one_line_however_narrow_the_terminal_is(
    columns: int, capsys: pytest.CaptureFixture[str]
) -> None:
    printing.error(NoSuchActivity("the ledger holds no activity", hint=HINT))
    assert capsys.readouterr().err.splitlines()[1] == f"  → {HINT}"


def test_a_long_word_stays_whole_and_a_traceback_as_it_is(columns: int, terminal: Put) -> None:
    err = terminal("stderr")
    path = "/" + "x" * columns
    printing.note(f"  → look into {path}")
    assert path in err.getvalue()
    printing.block("  File  a\n" + "y" * 200)
    assert "  File  a\n" + "y" * 200 + "\n" in err.getvalue()


def test_a_terminal_without_a_size_has_80_columns(monkeypatch: pytest.MonkeyPatch, terminal: Put) -> None:
    err = terminal("stderr")
    monkeypatch.delenv("COLUMNS", raising=False)
    printing.note("word " * 40)
    assert 60 < max(map(len, err.lines())) <= 80


def test_a_pass_ends_in_whole_words(columns: int, terminal: Put, world: World) -> None:
    out = terminal("stdout")
    closing.say(LedgerHandle(world.ledger), PassResult(Exit.UNAVAILABLE, Totals()), 2)
    assert max(map(len, out.lines())) <= columns
    assert out.getvalue().split()[-1].endswith(".")


def test_status_breaks_neither_names_nor_settings_nor_commands(columns: int) -> None:
    where = Console(file=io.StringIO(), width=columns, force_terminal=True, color_system=None)
    at = {"watermark": AT, "last_success_at": AT, "last_error": None}
    streams = ("calls", "emails", "email_tasks", "voice_calls")
    document = status_document(
        sources=[{"source": name, "stream": stream, **at} for name in ("hubspot", "salesforce") for stream in streams],
        reasons={"incomplete": dict.fromkeys(map(str, Reason), 1234), "excluded": {}, "dead": {}},
    )
    status.show(document, where)
    assert isinstance(where.file, io.StringIO)
    said = where.file.getvalue()
    words = set(said.split())
    assert {"salesforce", *streams} <= words
    assert {"rules.default_owner_email"} <= set(re.findall(r"[\w.]+", said))
    assert max(len(line.rstrip()) for line in said.splitlines()) <= columns
    assert tables.NARROW in range(60, 80)


def test_the_aliases_to_copy_stay_one_line(columns: int, terminal: Put) -> None:
    """TOML allows no line break within them."""
    terminal("stdout")
    err = terminal("stderr")
    accounts.show(Answer(2, [Unknown("a-rather-long-name-of-a-company.example", 3, ["the-same-company.example"])], 0))
    assert (
        '    domain_aliases = { "a-rather-long-name-of-a-company.example" = "the-same-company.example" }' in err.lines()
    )


def test_verify_shows_a_stream_in_whole_words(columns: int, terminal: Put) -> None:
    out = terminal("stdout")
    verification.show(Compared("salesforce", "email_tasks", crm=123_456, ledger=123_456, since=WHEN), ["00T"])
    assert max(map(len, out.lines())) <= columns
    assert " ".join(out.getvalue().split()).startswith("salesforce email_tasks: 123,456 in the CRM, 123,456 in the")


def test_a_dry_run_without_activities_says_so(columns: int, terminal: Put) -> None:
    err = terminal("stderr")
    dry_run.show({"activities": [], "pending_already": 0, "errors": []})
    assert err.getvalue().startswith("the next pass would book nothing")
    dry_run.show({"activities": [], "pending_already": 0, "errors": [{"message": "no connection"}]})
    assert err.getvalue().count("would book nothing") == 1
    assert "meaning" not in err.getvalue()
    assert max(map(len, err.lines())) <= columns
